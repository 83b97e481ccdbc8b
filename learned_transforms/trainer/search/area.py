"""The family of resizes whose pixels are means of their parts of the image: which means, and in what arithmetic."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.grid import MEANS, grows
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.data.bundled import noise
from learned_transforms.trainer.search.choosing import COPYING, arithmetics
from learned_transforms.trainer.search.placement import UNROUNDED, ResizePlacement, resampling
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FoundForm, Labelled, Problem, attempt
from learned_transforms.trainer.sizes.ruled import Ruled

ELONGATED = ((300, 20), (20, 300))
FEW_IMAGES = 12
FEW = 0.15
"""Share of values that may differ behind means that are not rounded as the teacher does it."""


def areal(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Each kind of means."""
    yield "areas", area_form(problem)


def area_form(problem: Problem) -> FoundForm | str:
    rules, few = problem.rules, problem.train.rich(FEW_IMAGES)
    if problem.same_size or problem.channels[0] != problem.channels[1] or (rules is not None and not rules.resizes):
        return "outputs have the size of inputs, or other channels"
    every, check = [few, *problem.probes, *elongated(problem)], problem.val.part(slice(CHECK_IMAGES))
    places = [ResizePlacement(grid=grid) if rules is None else Ruled(grid=grid, rules=rules) for grid in MEANS]
    rough = replace(UNROUNDED, rounding="half_even" if few.quantized else "none")
    trials = [attempt([resampling(COPYING.values, COPYING.shift, rough, place)], every) for place in places]
    best = min(range(len(places)), key=lambda i: trials[i].worth)
    if trials[best].differing > FEW:
        return f"means of parts leave {trials[best].differing:.1%} of values different"
    # Images that grow may be summed in another way than those that shrink.
    kinds = {
        on: [part for part in (check, *problem.probes) if grows(*sizes(part, problem)) == on] for on in (True, False)
    }
    chosen = {on: best_arithmetic(parts, places[best]) for on, parts in kinds.items() if parts}
    shrinking, growing = chosen.get(False, chosen.get(True)), chosen.get(True)
    if shrinking is None:
        return "no images to choose an arithmetic by"
    place = replace(places[best], growing=None if growing == shrinking else growing)
    trial = attempt([resampling(COPYING.values, COPYING.shift, shrinking, place)], [check])
    layer = Resampling(COPYING.values, COPYING.shift, shrinking)
    layer.picked = ("kernel",)
    layers, params = zip(*place.parts(layer, problem.train.size), strict=True)
    return FoundForm(layers, params, [trial], ("size", "grid"), notes=[f"means of parts of the image: {place.grid}"])


def elongated(problem: Problem) -> Iterator[Labelled]:
    """Images that may grow along one axis and shrink along the other, by much: no others tell pairs from overlaps."""
    if problem.ask is None or problem.train.inputs.dtype != torch.uint8:
        return
    for height, width in ELONGATED:
        shape = problem.channels[0], height, width
        try:
            yield problem.ask(noise(FEW_IMAGES, shape, torch.Generator().manual_seed(height)))
        except TeacherError:
            continue  # A teacher that takes one size only is a good teacher all the same.


def sizes(part: Labelled, problem: Problem) -> tuple[Size, Size]:
    """Of images, and of what they are resized to, of which perhaps a part is seen."""
    inputs = part.inputs.shape[-2], part.inputs.shape[-1]
    if problem.rules is None:
        return inputs, part.size
    rows, columns = problem.rules.layout(inputs)
    return (rows.length, columns.length), (rows.full, columns.full)


def best_arithmetic(parts: Sequence[Labelled], place: ResizePlacement) -> Arithmetic:
    """Return the arithmetic with which the fewest values differ, on the first of the parts before all others."""

    def worth(arithmetic: Arithmetic) -> tuple[Any, Any]:
        layer = resampling(COPYING.values, COPYING.shift, arithmetic, place)
        return attempt([layer], parts[:1]).worth, attempt([layer], parts).worth

    return min(arithmetics(parts[0], plain=True), key=worth)
