"""The family of unsharp masks: an image is compared with its smoothed self, and changed by a table of the difference.

The table tells gain, threshold and rounding at once. Smoothed images are found by what they leave: where they are the
teacher's, equal differences are changed alike.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from learned_transforms.ir.ops import FILTER_BORDERS
from learned_transforms.layers.cube import HIGHEST
from learned_transforms.layers.unsharp import DIFFERENCES, UnsharpMasking
from learned_transforms.trainer.data.bundled import noise
from learned_transforms.trainer.optim.fit import least_squares_inside
from learned_transforms.trainer.optim.snap import snap, snapped
from learned_transforms.trainer.search.arithmetics import SUM_LEVELS
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FoundForm, Labelled, Problem, attempt
from learned_transforms.trainer.search.spatial import patches, trimmed

SIGMAS, FINER, ROUNDS = tuple(0.3 * 1.1**n for n in range(38)), 17, 4
"""Of boxes, in pixels: those that are tried first, and how many between the neighbors of the best, again and again."""

FEW_IMAGES, MANY_IMAGES = 12, 200
REACH, PATCH_VALUES = 7, 24_000_000
"""Of the linear filter that tells the window, in pixels, and how many values of patches it is fitted to."""

EXPLAINED = 12.0
"""Mean square, in levels, that equal differences may differ by in what is made of them, for a table to be made."""

FEW = 0.05
"""Share of values that may differ behind a table."""

ALIKE = 1.001
"""Smoothed images that leave no more than this factor of the least are as good as each other: the simplest is taken."""

TINY, WILD = 1e-30, 4.0
"""Weights along a side of a window whose absolute values sum to more do not smooth."""

NEAR, WHOLE, MOST_GRIDS, NEAR_SLOPE = 0.005, 1e-9, 6, 2e-4
"""How far weights of a window may lie off a grid, and their sum off 1; how many grids are tried; and how far a multiple
of the difference may be off a simple one."""

SPECKS, SHARE = 128, 0.04
"""Images of one color with a share of other pixels: no others show differences that are large."""

NOTHING = torch.zeros(DIFFERENCES, dtype=torch.float64)


def unsharp(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Boxes of each width, and a window that is a product of rows and columns."""
    yield "unsharp mask", unsharp_form(problem)


def unsharp_form(problem: Problem) -> FoundForm | str:
    inputs = problem.train.inputs
    if inputs.shape != problem.train.targets.shape or not problem.train.quantized or inputs.dtype != torch.uint8:
        return "outputs have another shape than inputs, or are no levels"
    few = problem.train.rich(FEW_IMAGES)
    if not unclamped(few.targets).any():
        return "all answers are clamped"
    layers = [boxes(few), *windows(problem)]
    losses = [spread_by(layer, few) for layer in layers]
    best = min(losses)
    if best > EXPLAINED:
        return f"equal differences from smoothed images differ by a mean square of {best:.3g} levels"
    layer = next(layer for layer, loss in zip(layers, losses, strict=True) if loss <= ALIKE * best)
    check = problem.val.part(slice(CHECK_IMAGES))
    borders = (None,) if layer.border is None else FILTER_BORDERS
    made = [alike(layer, *chosen) for chosen in product(changes_of(layer, many(problem)), borders)]
    trials = [attempt([each], [check]) for each in made]
    least = min(range(len(made)), key=lambda i: trials[i].worth)
    if trials[least].differing > FEW:
        return f"a table of differences from smoothed images leaves {trials[least].differing:.1%} of values different"
    smoothing = f"boxes of sigma {float(layer.sigma):.6g}" if layer.border is None else "a window"
    return FoundForm([made[least]], [{}], trials, notes=[f"compared with the image that {smoothing} smoothed"])


def boxes(part: Labelled) -> UnsharpMasking:
    """Return the boxes that leave least, of the simplest sigma among equals."""

    def loss(sigma: Tensor) -> float:
        return spread_by(UnsharpMasking(NOTHING, sigma=sigma), part) if sigma > 0 else math.inf

    tried = {sigma: loss(torch.tensor([sigma])) for sigma in SIGMAS}
    for _ in range(ROUNDS):
        order = sorted(tried)
        at = order.index(min(tried, key=tried.__getitem__))
        low, high = order[max(at - 1, 0)], order[min(at + 1, len(order) - 1)]
        tried |= {sigma: loss(torch.tensor([sigma])) for sigma in np.linspace(low, high, FINER).tolist()}
    best = torch.tensor([min(tried, key=tried.__getitem__)], dtype=torch.float64)
    return UnsharpMasking(NOTHING, sigma=snap(best, loss, ALIKE - 1, 0.0, 1)[0][1])


def windows(problem: Problem) -> Iterator[UnsharpMasking]:
    """Windows that are products of a column and a row, as a linear filter shows them: on grids, in each arithmetic."""
    reach = min(REACH, (min(problem.train.size) - 3) // 2)
    if reach < 1:
        return
    linear = least_squares_inside(*lined(problem.train, reach))[0, :-1].view(2 * reach + 1, -1)
    column, row = linear.sum(1), linear.sum(0)
    # The middle is of the image itself, too: what lies beside it tells the window, up to a factor.
    column[reach] = row[reach] = 0.0
    outer = torch.outer(column, row)
    sides = torch.stack([column, row]) * (linear * outer).sum() / outer.square().sum().clamp(min=TINY)
    sides[:, reach] = 1 - sides.sum(1)
    if not 0 < float(sides.abs().sum(1).max()) < WILD:
        return
    for near, arithmetic in product(whole_sums(sides), SUM_LEVELS):
        window = trimmed(torch.outer(*near))
        yield UnsharpMasking(NOTHING, window=window, border=FILTER_BORDERS[0], arithmetic=arithmetic)


def whole_sums(sides: Tensor) -> list[Tensor]:
    """Weights on the simplest grids on which they are near, and still sum to 1; and the weights themselves."""
    near = [values for _, values in snapped(sides) if float((values - sides).abs().max()) < NEAR]
    return [*[values for values in near if (values.sum(1) - 1).abs().max() < WHOLE][:MOST_GRIDS], sides]


def lined(part: Labelled, reach: int) -> tuple[Tensor, Tensor]:
    """Windows of images that show much, and their targets ``[1, samples]``."""
    images = PATCH_VALUES // (part.inputs[0].numel() * (2 * reach + 1) ** 2)
    inputs, targets = patches(part.rich(max(2, images)), reach, PATCH_VALUES)
    return inputs, targets[None]


def compared(layer: UnsharpMasking, part: Labelled) -> tuple[Tensor, Tensor]:
    """Of each value that is clamped to neither end: how far it lies above the smoothed image, from 0 for -255 on; and
    by how much it is changed, float64.
    """
    above = part.inputs.int() - layer.smoothed(part.inputs).int() + HIGHEST
    change = part.targets.double() - part.inputs
    free = unclamped(part.targets)
    if layer.border is not None:
        down, across = (length // 2 for length in layer.window.shape)
        free[..., :down, :] = free[..., free.shape[-2] - down :, :] = False
        free[..., :across] = free[..., free.shape[-1] - across :] = False
    return above[free], change[free]


def unclamped(targets: Tensor) -> Tensor:
    """Return which levels are neither the least nor the highest."""
    return (targets > 0) & (targets < HIGHEST)


def sums_of(above: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each difference, how many values there are, the sum of their changes, and that of the squares of these."""
    weights = torch.ones_like(change), change, change.square()
    counts, sums, squares = (torch.bincount(above, each, minlength=DIFFERENCES) for each in weights)
    return counts, sums, squares


def spread_by(layer: UnsharpMasking, part: Labelled) -> float:
    """Return the mean square by which changes for equal differences differ from their mean; infinite where all is
    clamped."""
    counts, sums, squares = sums_of(*compared(layer, part))
    if not counts.any():
        return math.inf
    return float((squares - sums.square() / counts.clamp(min=1)).sum() / counts.sum())


def changes_of(layer: UnsharpMasking, part: Labelled) -> Sequence[Tensor]:
    """Tables of changes ``[511]``: a multiple of the difference; and what was seen, in whole levels and halves, with
    straight lines where nothing was.
    """
    counts, sums, _ = sums_of(*compared(layer, part))
    every = torch.arange(DIFFERENCES, dtype=torch.float64) - HIGHEST
    slope = (every * sums).sum() / (every.square() * counts).sum().clamp(min=1)
    simple = next(values for _, values in snapped(slope) if abs(float(values - slope)) < NEAR_SLOPE)
    known = counts.nonzero()[:, 0]
    seen = (2 * sums[known] / counts[known]).round() / 2
    beyond = (every - every[known[-1]]).clamp(min=0) + (every - every[known[0]]).clamp(max=0)
    filled = torch.from_numpy(np.interp(every.numpy(), every[known].numpy(), seen.numpy())) + slope * beyond
    return every * simple, (2 * filled).round() / 2


def many(problem: Problem) -> Labelled:
    """Training images, and others with large differences where there is a teacher to ask."""
    part = problem.train.rich(MANY_IMAGES)
    if problem.ask is None:
        return part
    generator, shape = torch.Generator().manual_seed(0), problem.train.inputs.shape[1:]
    colors = noise(SPECKS, (shape[0], 1, 1), generator)
    others = torch.rand((SPECKS, 1, *shape[1:]), generator=generator) < SHARE
    more = problem.ask(torch.where(others, noise(SPECKS, (shape[0], shape[1], shape[2]), generator), colors))
    return Labelled(torch.cat([part.inputs, more.inputs]), torch.cat([part.targets, more.targets]))


def alike(layer: UnsharpMasking, changes: Tensor, border: str | None) -> UnsharpMasking:
    """Return the same layer with a table of changes, and a border."""
    weights = {name: value for name, value in layer.named_parameters() if name != "changes"}
    return UnsharpMasking(changes, **weights, border=border, arithmetic=layer.arithmetic)
