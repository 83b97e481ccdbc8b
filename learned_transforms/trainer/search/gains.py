"""The family of gains and offsets by position: vignettes, watermarks, dead pixels."""

from collections.abc import Iterator

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_size import PositionalGain
from learned_transforms.trainer.optim.snap import on_grid
from learned_transforms.trainer.search.problem import FoundForm, Labelled, Problem, attempt

ARITHMETICS = (Arithmetic("float32", rounding="half_even"), Arithmetic("float32", rounding="half_up"))
EXPLAINED = 4.0
"""Mean square, in levels, that rounding and clamping may leave."""

SIMPLE, GAIN_NEAR, OFFSET_NEAR = (1, 2, 4, 5, 8, 10, 20, 100), 4e-3, 0.5
"""Grids 1 / n that gains and offsets may lie on, and how far fitted ones may be off them, the latter in levels."""

MOST_VALUES = 30_000_000
CHECK_IMAGES = 100
REFINED_VALUES, REFINEMENTS = 4_000_000, 80
"""Values of the images on which gains are refined, and how often."""


def gained(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Yield a gain and an offset for each value."""
    yield "gain map", gain_map(problem)


def gain_map(problem: Problem) -> FoundForm | str:
    if problem.train.inputs.shape != problem.train.targets.shape:
        return "outputs have another shape than inputs"
    part = problem.train.part(slice(max(32, MOST_VALUES // problem.train.inputs[0].numel())))
    gain, offset = fitted(part)
    check = problem.val.part(slice(CHECK_IMAGES))
    error = (check.inputs.double() * gain + offset - check.targets.double()).square()
    if problem.train.quantized:
        error = error[(check.targets > 0) & (check.targets < 255)]
    left = float(error.mean()) if error.numel() else 0.0
    if left > EXPLAINED * problem.unit**2:
        return f"gains leave a mean square of {left / problem.unit**2:.3g} levels"
    if problem.train.quantized:
        gain, offset = within_roundings(gain, offset, refining(problem))
        layers = []
        for g, o in ((gain, offset), *simpler(gain, offset)):
            # What is cut off rather than rounded lies half a level higher.
            layers += [PositionalGain(g, o, way) for way in ARITHMETICS]
            layers.append(PositionalGain(g, o + 0.5, Arithmetic("float32", rounding="truncate")))
    else:
        layers = [PositionalGain(gain, offset, Arithmetic("float32"))]
    trials = [attempt([layer], [check]) for layer in layers]
    best = min(range(len(layers)), key=lambda i: trials[i].worth)
    return FoundForm([layers[best]], [{}], trials)


def simpler(gain: Tensor, offset: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Gains and offsets on simple grids: values that lie just between two levels are rounded as the teacher's then."""
    for denominator in SIMPLE:
        snapped, moved = on_grid(gain, denominator), on_grid(offset, denominator)
        if float((snapped - gain).abs().max()) < GAIN_NEAR and float((moved - offset).abs().max()) < OFFSET_NEAR:
            yield snapped, moved


def refining(problem: Problem) -> Labelled:
    """Images that tell gains to the last level: each gray all over, where the teacher can be asked."""
    shape = problem.train.inputs[0].shape
    most = max(32, REFINED_VALUES // problem.train.inputs[0].numel())
    if problem.ask is None or problem.train.inputs.dtype != torch.uint8:
        return problem.train.part(slice(most))
    return problem.ask(torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, *shape).contiguous())


def within_roundings(gain: Tensor, offset: Tensor, part: Labelled) -> tuple[Tensor, Tensor]:
    """Gains and offsets with which each value is rounded to its target, as far as there are any.

    Least squares again and again, to targets that are moved by up to half a level towards what came out.
    """
    x, y = part.inputs.double(), part.targets.double()
    for _ in range(REFINEMENTS):
        made = x * gain + offset
        # Above the highest level, and below the lowest, anything is as good.
        low, high = torch.where(y > 0, y - 0.5, -torch.inf), torch.where(y < 255, y + 0.5, torch.inf)
        wanted = made.clamp(low, high)
        if wanted.equal(made):
            break
        mean_x, mean_y = x.mean(0), wanted.mean(0)
        spread = (x - mean_x).square().sum(0)
        gain = torch.where(spread > 0, ((x - mean_x) * (wanted - mean_y)).sum(0) / spread.clamp(min=1e-12), gain)
        offset = mean_y - gain * mean_x
    return gain, offset


def fitted(part: Labelled) -> tuple[Tensor, Tensor]:
    """Gains and offsets ``[C, H, W]`` of least squares, float64, over values that are not clamped."""
    x, y = part.inputs.double(), part.targets.double()
    free = ((part.targets > 0) & (part.targets < 255)).double() if part.quantized else torch.ones_like(y)
    count = free.sum(0).clamp(min=1)
    mean_x, mean_y = (x * free).sum(0) / count, (y * free).sum(0) / count
    spread = ((x - mean_x).square() * free).sum(0)
    joint = ((x - mean_x) * (y - mean_y) * free).sum(0)
    gain = torch.where(spread > 0, joint / spread.clamp(min=1e-12), 0.0)
    # Where all values are clamped, they are what most of them are.
    clamped = free.sum(0) < 2
    gain = torch.where(clamped, 0.0, gain)
    return gain, torch.where(clamped, y.mean(0), mean_y - gain * mean_x)
