"""The family of unsharp masks: an image is compared with its smoothed self, and changed by a table of the difference.

The table tells gain, threshold and rounding at once. Smoothed images are found by what they leave: where they are the
teacher's, equal differences are changed alike.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from learned_transforms.ir.ops import BORDERS
from learned_transforms.layers.unsharp import DIFFERENCES, HIGHEST, UnsharpMasking
from learned_transforms.trainer.data.sources import noise
from learned_transforms.trainer.optim.fit import least_squares_inside
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.search.problem import Form, Labelled, Problem, attempt
from learned_transforms.trainer.search.spatial import SUM_LEVELS, near_grids, patches, trimmed

SIGMAS, FINER = tuple(0.3 * 1.1**n for n in range(38)), (17, 17, 17, 17)
"""Of boxes, in pixels: each that is tried first, and how many are tried between neighbours of the best, again and
again."""

FEW_IMAGES, MANY_IMAGES, CHECK_IMAGES = 12, 200, 200
REACH, PATCH_VALUES = 7, 24_000_000
EXPLAINED = 12.0
"""Mean square, in levels, that equal differences may differ by in what is made of them, for a table to be made."""

FEW = 0.05
"""Share of values that may differ behind a table."""

ALIKE = 1.01
SPECKS, SHARE = 128, 0.04
"""Images of one color with a share of other pixels: no others show differences that are large."""

NOTHING = torch.zeros(DIFFERENCES, dtype=torch.float64)


def unsharp(problem: Problem) -> Iterator[tuple[str, Form | str]]:
    """Boxes of each width, and a window that is a product of rows and columns."""
    yield "unsharp mask", unsharp_form(problem)


def unsharp_form(problem: Problem) -> Form | str:
    inputs = problem.train.inputs
    if inputs.shape != problem.train.targets.shape or not problem.train.quantised or inputs.dtype != torch.uint8:
        return "outputs have another shape than inputs, or are no levels"
    few = problem.train.rich(FEW_IMAGES)
    layers = [boxes(few), *windows(problem)]
    losses = [spread_by(layer, few) for layer in layers]
    best = min(losses)
    if best > EXPLAINED:
        return f"equal differences from smoothed images differ by a mean square of {best:.3g} levels"
    part = many(problem)
    layer = next(layer for layer, loss in zip(layers, losses, strict=True) if loss <= ALIKE * best)
    changes = changes_of(layer, part)
    check = problem.val.part(slice(CHECK_IMAGES))
    made = [alike(layer, changes, border) for border in ((None,) if layer.border is None else BORDERS)]
    trials = [attempt([each], [check]) for each in made]
    least = min(range(len(made)), key=lambda i: trials[i].worth)
    if trials[least].differing > FEW:
        return f"a table of differences from smoothed images leaves {trials[least].differing:.1%} of values different"
    smoothing = f"boxes of sigma {float(layer.sigma):.6g}" if layer.border is None else "a window"
    return Form([made[least]], [{}], trials, notes=[f"compared with the image that {smoothing} smoothed"])


def boxes(part: Labelled) -> UnsharpMasking:
    """The boxes that leave least, of the simplest sigma among equals."""

    def loss(sigma: Tensor) -> float:
        return spread_by(UnsharpMasking(NOTHING, sigma=sigma), part) if sigma > 0 else float("inf")

    tried = {sigma: loss(torch.tensor([sigma])) for sigma in SIGMAS}
    for count in FINER:
        order = sorted(tried)
        at = order.index(min(tried, key=tried.__getitem__))
        low, high = order[max(at - 1, 0)], order[min(at + 1, len(order) - 1)]
        tried |= {sigma: loss(torch.tensor([sigma])) for sigma in np.linspace(low, high, count).tolist()}
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
    shared = float((linear * outer).sum())
    if shared == 0.0:
        return
    factor = float(outer.square().sum()) / shared
    column, row = (side / factor for side in (column, row))
    column[reach], row[reach] = 1 - column.sum(), 1 - row.sum()
    grids = [values for _, values in near_grids(torch.stack([column, row]))]
    for sides, arithmetic in product(grids, SUM_LEVELS):
        window = trimmed(torch.outer(*sides))
        if window.any():
            yield UnsharpMasking(NOTHING, window=window, border=BORDERS[0], arithmetic=arithmetic)


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
    free = (part.targets > 0) & (part.targets < HIGHEST)
    if layer.border is not None:
        down, across = (length // 2 for length in layer.window.shape)
        free[..., :down, :] = free[..., free.shape[-2] - down :, :] = False
        free[..., :across] = free[..., free.shape[-1] - across :] = False
    return above[free], change[free]


def sums_of(above: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each difference, how many values there are, the sum of their changes, and that of the squares of these."""
    weights = torch.ones_like(change), change, change.square()
    counts, sums, squares = (torch.bincount(above, each, minlength=DIFFERENCES) for each in weights)
    return counts, sums, squares


def spread_by(layer: UnsharpMasking, part: Labelled) -> float:
    """The mean square by which changes for equal differences differ from their mean."""
    counts, sums, squares = sums_of(*compared(layer, part))
    return float((squares - sums.square() / counts.clamp(min=1)).sum() / counts.sum().clamp(min=1))


def changes_of(layer: UnsharpMasking, part: Labelled) -> Tensor:
    """The table of changes ``[511]``, on whole levels and halves; through straight lines where nothing was seen."""
    counts, sums, _ = sums_of(*compared(layer, part))
    known = counts.nonzero()[:, 0].numpy()
    seen = (2 * sums[known] / counts[known]).round().numpy() / 2
    every = np.arange(DIFFERENCES)
    slope = (seen[-1] - seen[0]) / max(1, known[-1] - known[0])
    beyond = np.clip(every - known[-1], 0, None) - np.clip(known[0] - every, 0, None)
    return torch.from_numpy(np.round(2 * (np.interp(every, known, seen) + slope * beyond)) / 2)


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
    """The same layer with a table of changes, and a border."""
    weights = {name: value for name, value in layer.named_parameters() if name != "changes"}
    return UnsharpMasking(changes, **weights, border=border, arithmetic=layer.arithmetic)
