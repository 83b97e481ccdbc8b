"""Learning under known rules for sizes: which part of an answer is looked at, and where a resample lies in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from learned_transforms.errors import EmptyImageError, TeacherError
from learned_transforms.images.formats import shape_of, to_tensor
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.ops import Gather, Shape, Stage
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import Cropping, Flipping
from learned_transforms.layers.grid import evaluate_on, settled_grid
from learned_transforms.layers.letterbox import CropOrPad, Transpose
from learned_transforms.layers.resize import Resampling
from learned_transforms.layers.size_rules import SizeRule
from learned_transforms.trainer.data.sources import Teacher
from learned_transforms.trainer.search.placement import Line, PlacedResampling, ResizePlacement
from learned_transforms.trainer.sizes.rules import Place, Rules

MOST_SAMPLES, SAMPLES = 72, 40
"""Rows or columns of an answer that are learned from, at most; of more, about so many."""

STEPS = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73)
"""Distances between them: primes, so that they meet each phase of a kernel."""

TRAINING_SIZES = (
    *((32, 32), (36, 40), (48, 48), (56, 60), (64, 64), (72, 80), (96, 96), (112, 120), (128, 128), (160, 160)),
    *((192, 200), (256, 256), (288, 300)),
)
FEWEST_ROWS = 16
"""That a kernel is learned from."""

BEST_SCALES, MOST_AREA = (1.08, 2.6), 128 * 128
"""How far a kernel is best stretched where it is learned: it is antialiased, and has few taps; and up to how many
pixels of the image that is worth its time."""


def samples(place: Place) -> Keep:
    """Return which of the rows or columns that are kept are learned from."""
    if place.kept <= MOST_SAMPLES:
        return Keep(0, 1, place.kept)
    # A step that divides what an axis is resized to would meet few phases, or one.
    steps = [step for step in STEPS if place.full % step]
    step = min(steps, key=lambda step: abs(place.kept / step - SAMPLES))
    return Keep(0, step, (place.kept - 1) // step + 1)


def seen_part(rules: Rules, answer: Tensor, size: Size) -> Tensor:
    """Return the part of an answer ``[C, H, W]`` to an image of ``size`` that is learned from: upright, without what
    lies around.

    Raises:
        TeacherError: it has another size than the rules say.
    """
    layout = layout_of(rules, size)
    frame = tuple(place.frame for place in layout)
    upright = answer.mT if rules.swapped else answer
    if tuple(upright.shape[-2:]) != frame:
        raise TeacherError(f"Expected an answer of {frame} (rows, columns), got {tuple(upright.shape[-2:])}.")
    axes = [axis for axis, on in zip((-2, -1), rules.flips, strict=True) if on]
    upright = upright.flip(axes) if axes else upright  # Of no axes it would copy all.
    rows, columns = (slice(place.first, place.first + place.kept, samples(place).step) for place in layout)
    return upright[:, rows, columns].contiguous()


def layout_of(rules: Rules, size: Size) -> tuple[Place, Place]:
    """Return the layout of an answer.

    Raises:
        TeacherError: nothing is left of an image of this size.
    """
    try:
        return rules.layout(size)
    except EmptyImageError as error:
        raise TeacherError(str(error)) from error


def partly(teacher: Teacher, rules: Rules) -> Teacher:
    """Return a teacher of which only that part of each answer is seen."""

    def answer(image: Any) -> Tensor:
        _, height, width = shape_of(image)
        return seen_part(rules, to_tensor(teacher(image)), (height, width))

    return answer


def whole_answer(rules: Rules, size: Size) -> bool:
    """Return whether all of the image is learned from in the answer to an image of this size."""
    return all(samples(place).step == 1 for place in layout_of(rules, size))


def shows(rules: Rules, size: Size) -> bool:
    """Return whether an answer to an image of this size shows what becomes of it: a resize by a few rows at least."""
    try:
        layout = rules.layout(size)
    except EmptyImageError:
        return False
    still = rules.resizes and any(place.length == place.full for place in layout)
    return not still and all(min(place.kept, place.length) >= FEWEST_ROWS for place in layout)


def training_size(rules: Rules, wanted: Size) -> Size:
    """Return a size of image at which a resize shows itself best: the one that is wanted, if it does."""
    sizes = [wanted, *TRAINING_SIZES] if rules.resizes else [wanted]

    def worth(size: Size) -> tuple[bool, bool, int]:
        if not shows(rules, size):
            return True, True, size[0] * size[1]
        area, scales = size[0] * size[1], [place.length / place.full for place in rules.layout(size)]
        best = area <= MOST_AREA and all(BEST_SCALES[0] <= scale <= BEST_SCALES[1] for scale in scales)
        return False, not best, area if size != wanted else 0

    return min(sizes, key=worth)


SAME = Rules(SizeRule("same"))


@dataclass(frozen=True)
class Ruled(ResizePlacement):
    """A placement that follows rules, of which the part that is learned from is seen."""

    rules: Rules = SAME

    def lines(self, size: Size) -> tuple[Line, Line]:
        """Return the parts of the axes that are resized, and kept."""
        rows, columns = (Line(p.low, p.length, p.full, p.start, samples(p).step) for p in layout_of(self.rules, size))
        return rows, columns

    def parts(self, layer: Resampling, output: Size) -> list[tuple[Layer, Params]]:
        made = PlacedResampling(layer.kernel, layer.shift, layer.arithmetic, self, layer.width)
        made.picked = layer.picked
        return [(made, {"size": output})]

    def stages(self, layer: Resampling, shape: Shape, output: Size, relaxed: bool = False) -> list[Stage]:
        layout = layout_of(self.rules, (shape[1], shape[2]))
        found: list[Stage] = []
        if self.rules.box is not None:
            rows, columns = (Keep(place.low, 1, place.length) for place in layout)
            found.append(Gather(rows=rows, columns=columns))
            shape = found[-1].output(shape)
        if self.resized:
            part, params = self.on_grid(layer, {"size": tuple(place.full for place in layout)})
            found += part.stages(shape, params, relaxed)
        rows, columns = (Keep(p.start, samples(p).step, samples(p).count) for p in layout)
        return [*found, Gather(rows=rows, columns=columns)]

    def matrices(self, kernel: Tensor, shift: Tensor, inputs: Size, output: Size) -> tuple[Tensor, Tensor] | None:
        found = []
        layout = layout_of(self.rules, inputs)
        rows, columns = layout
        grid = settled_grid(self.grid, (rows.length, columns.length), (rows.full, columns.full))
        for axis, place in enumerate(layout):
            keep = samples(place)
            if keep.count != output[axis]:
                return None
            if self.resized and place.length != place.full:
                matrix = evaluate_on(grid, kernel, shift[axis], place.length, place.full, self.antialias).dense()
            else:
                matrix = torch.eye(place.length, dtype=torch.float64, device=kernel.device)
            kept = matrix[place.start : place.start + place.kept : keep.step]
            found.append(pad(kept, (place.low, inputs[axis] - place.low - place.length)))
        return found[0], found[1]

    def __str__(self) -> str:
        return str(self.rules) + ("" if self.antialias or not self.resized else ", no antialiasing")


def finished(layers: Sequence[Layer], params: Sequence[Params]) -> list[tuple[Layer, Params]]:
    """Layers with what placements that follow rules come to for any size."""
    made: list[tuple[Layer, Params]] = []
    for layer, given in zip(layers, params, strict=True):
        if not (isinstance(layer, PlacedResampling) and isinstance(layer.placement, Ruled)):
            made.append((layer, given))
            continue
        rules = layer.placement.rules
        if rules.box is not None:
            cut = {"frame": rules.box.to_json(), "place": (rules.box_place,) * 2, "fill": (0.0,)}
            made.append((CropOrPad(), cut))
        if layer.placement.resized:
            made.append(layer.placement.on_grid(layer.plain, {"size": size_param(rules.resize)}))
    return made


def size_param(rule: SizeRule) -> object:
    """Return a rule as the ``size`` of a resize, in the simplest form."""
    if rule == SizeRule("fixed", rule.numbers):
        return tuple(int(n) for n in rule.numbers)
    if rule == SizeRule("short", rule.numbers):
        return (int(rule.numbers[0]),)
    return rule.to_json()


def behind(rules: Rules, levels: bool) -> list[tuple[Layer, Params]]:
    """Return the layers that put what was learned into the frame of the answer, and turn it.

    Args:
        rules: of the answer.
        levels: what was learned gives uint8 levels, rather than floats.
    """
    made: list[tuple[Layer, Params]] = []
    if rules.frame is not None:
        centered = rules.place == ("torchvision", "torchvision") and rules.frame.kind == "fixed"
        if centered and not any(rules.fill or ()):
            made.append((Cropping(), {"size": tuple(int(n) for n in rules.frame.numbers)}))
        else:
            fill = rules.fill or (0.0,)
            made.append((CropOrPad(), {"frame": rules.frame.to_json(), "place": rules.place, "fill": fill}))
    for axis, on in zip(("vertical", "horizontal"), rules.flips, strict=True):
        if on:
            made.append((Flipping(), {"axis": axis}))
    if rules.swapped:
        made.append((Transpose(), {"levels": levels}))
    return made


def ruled_placements(rules: Rules) -> list[Ruled]:
    """With antialiasing, and without."""
    found = [Ruled(antialias=on, resized=rules.resizes, rules=rules) for on in (True, False)]
    return found if rules.resizes else found[:1]
