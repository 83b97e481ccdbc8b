"""Where a resample lies: a part of the input is resized, a part of that is kept; at one size, and at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import centered
from learned_transforms.ir.ops import Gather, Shape, Stage
from learned_transforms.ir.sizing import Size, output_size
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import Cropping
from learned_transforms.layers.grid import GridResampling, evaluate_on, settled_grid, step_of
from learned_transforms.layers.resize import Resampling


@dataclass(frozen=True)
class Line:
    """How one axis is resampled: ``length`` pixels from ``low`` on become ``full``, of which every ``step``-th from
    ``start`` on is kept.
    """

    low: int
    length: int
    full: int
    start: int
    step: int = 1
    grid: str = "centres"

    @property
    def scale(self) -> float:
        return step_of(self.grid, self.length, self.full)

    def centres(self, count: int) -> Tensor:
        """Return where the centres of ``count`` outputs lie, in input pixels."""
        first = 0.5 * self.scale if self.grid == "centres" else 0.5
        return self.low + (torch.arange(count).double() * self.step + self.start) * self.scale + first


@dataclass(frozen=True)
class ResizePlacement:
    """The same as a rule for any size.

    Attributes:
        box: params of the crop before, or None.
        size: of the resize; None: that of the output.
        crop: params of the crop behind, or None.
        antialias: see :class:`~learned_transforms.layers.resize.Resampling`.
        resized: something is resized at all.
        grid: on which outputs lie, out of ``grid.GRIDS`` and ``grid.MEANS``.
        growing: see :class:`~learned_transforms.layers.grid.GridResampling`.
    """

    box: Params | None = None
    size: tuple[int, ...] | None = None
    crop: Params | None = None
    antialias: bool = True
    resized: bool = True
    grid: str = "centres"
    growing: Arithmetic | None = None

    def parts(self, layer: Resampling, output: Size) -> list[tuple[Layer, Params]]:
        """Return the layers that it comes to, with their params."""
        size = output if self.size is None else self.size
        before: list[tuple[Layer, Params]] = [] if self.box is None else [(Cropping(), self.box)]
        resize: list[tuple[Layer, Params]] = [self.on_grid(layer, {"size": size})] if self.resized else []
        behind: list[tuple[Layer, Params]] = [] if self.crop is None else [(Cropping(), self.crop)]
        return before + resize + behind

    def on_grid(self, layer: Resampling, params: Params) -> tuple[Resampling, Params]:
        """Return the resize itself, with its params."""
        params = params if self.antialias else {**params, "antialias": False}
        if self.grid == "centres":
            return layer, params
        made = GridResampling(layer.kernel, layer.shift, layer.arithmetic, layer.width, self.growing)
        made.picked = layer.picked
        return made, {**params, "grid": self.grid}

    def stages(self, layer: Resampling, shape: Shape, output: Size, relaxed: bool = False) -> list[Stage]:
        """Return what it comes to for images of one shape."""
        found: list[Stage] = []
        for part, given in self.parts(layer, output):
            for stage in part.stages(shape, given, relaxed):
                found.append(stage)
                shape = stage.output(shape)
        return found or [Gather()]

    def matrices(self, kernel: Tensor, shift: Tensor, inputs: Size, output: Size) -> tuple[Tensor, Tensor] | None:
        """Return the row and the column matrix that a kernel comes to, not rounded; None where a crop leaves the
        image."""
        box = None if self.box is None else cut(self.box, inputs)
        inner = inputs if box is None else (box[0][1], box[1][1])
        full = inner if not self.resized else output_size(inner, output if self.size is None else self.size, None)
        kept = [(0, n) for n in full] if self.crop is None else cut(self.crop, full)
        grid = settled_grid(self.grid, inner, full)
        found = []
        for axis in (0, 1):
            start, count = kept[axis]
            low = 0 if box is None else box[axis][0]
            if (
                count != output[axis]
                or not inside(kept[axis], full[axis])
                or not inside((low, inner[axis]), inputs[axis])
            ):
                return None
            if self.resized:
                matrix = evaluate_on(grid, kernel, shift[axis], inner[axis], full[axis], self.antialias).dense()
            else:
                matrix = torch.eye(inner[axis], dtype=torch.float64, device=kernel.device)
            found.append(pad(matrix[start : start + count], (low, inputs[axis] - low - inner[axis])))
        return found[0], found[1]

    def __str__(self) -> str:
        words = [] if self.box is None else [f"cropped {where(self.box)}"]
        if self.size is not None and self.resized:
            words.append(f"resized to {' x '.join(map(str, self.size))}")
        words += [] if self.crop is None else [f"cropped {where(self.crop)}"]
        words += [] if self.grid == "centres" else [f"a grid of {self.grid}"]
        return ", ".join(words + ([] if self.antialias else ["no antialiasing"]))


UNROUNDED = Arithmetic("float64")
WHOLE_PLACEMENT = ResizePlacement()


def where(crop: Params) -> str:
    return " x ".join(map(str, crop["size"])) + (f" at {tuple(crop['start'])}" if "start" in crop else " in the middle")


def cut(crop: Params, size: Size) -> list[tuple[int, int]]:
    """For each axis, where a crop starts, and how long it is."""
    starts = crop.get("start") or [centered(n, n_out) for n, n_out in zip(size, crop["size"], strict=True)]
    return [
        (start + n if "start" in crop and start < 0 else start, length)
        for start, n, length in zip(starts, size, crop["size"], strict=True)
    ]


def inside(part: tuple[int, int], size: int) -> bool:
    return part[0] >= 0 and sum(part) <= size


def crops(starts: Sequence[int], size: Size, lengths: Size) -> Iterator[Params | None]:
    """Yield the rules by which a crop may start there: none, in the middle, so far from the beginning or from the
    end."""
    if size == lengths:
        yield None
        return
    if all(centered(n, n_out) == start for n, n_out, start in zip(size, lengths, starts, strict=True)):
        yield {"size": lengths}
    for chosen in product(*((start, start - n) for start, n in zip(starts, size, strict=True))):
        yield {"size": lengths, "start": chosen}


def placements(
    lines: tuple[Line, Line], inputs: Size, output: Size, antialias: bool, copied: bool
) -> list[ResizePlacement]:
    """Return the rules that come to these lines for this size, those to prefer among equals first.

    Args:
        lines: of the rows, and of the columns.
        inputs, output: the size.
        antialias: see :class:`ResizePlacement`.
        copied: each output is one input.
    """
    inner, full = ((lines[0].length, lines[1].length), (lines[0].full, lines[1].full))
    cropped = inputs != inner or full != output
    if cropped and full == inner and not copied:
        return []  # A resize to the same size does nothing: this is a filter.
    # Along an axis that keeps its length, all grids are one.
    grid = max((line.grid for line in lines), key=lambda name: name != "centres")
    sizes: list[tuple[int, ...] | None] = [None] if full == output else [full]
    if full != output and output_size(inner, (min(full),), None) == full:
        sizes.insert(0, (min(full),))
    found = []
    boxes = list(crops((lines[0].low, lines[1].low), inputs, inner))
    kept = list(crops((lines[0].start, lines[1].start), full, output))
    for box, crop in product(boxes, kept):
        if cropped and copied:
            found.append(ResizePlacement(box, None, crop, True, False))
        found += [ResizePlacement(box, size, crop, antialias, grid=grid) for size in sizes]
    return found


def resampling(
    kernel: Tensor, shift: Tensor, arithmetic: Arithmetic, placement: ResizePlacement, width: float = 1.0
) -> Resampling:
    """Return a resample with a placement, which most have none."""
    made = Resampling if placement == WHOLE_PLACEMENT else partial(PlacedResampling, placement=placement)
    return made(kernel, shift, arithmetic, width=width)


class PlacedResampling(Resampling):
    """A resample with a placement, while it is looked for; the placement's parts are what it comes to in the end.

    Params: ``size`` (rows, columns) of the output.
    """

    fixed = True

    def __init__(
        self, kernel: Tensor, shift: Tensor, arithmetic: Arithmetic, placement: ResizePlacement, width: float = 1.0
    ) -> None:
        super().__init__(kernel, shift, arithmetic, width)
        self.placement = placement

    @property
    def plain(self) -> Resampling:
        """The same without the placement."""
        made = Resampling(self.kernel, self.shift, self.arithmetic, self.width)
        made.picked = self.picked
        return made

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return self.placement.stages(self.plain, shape, params["size"], relaxed)

    def elastic(self, params: Params) -> bool:
        return False
