"""Tables behind noise, such as that of JPEG: medians, to which flat parts of images count most, smoothed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer.data.quantization import LEVELS
from learned_transforms.trainer.search.pointwise import lookup
from learned_transforms.trainer.search.problem import FoundForm, Problem

NOISY = 0.5
"""A table is learned behind noise where it misses more than this share of the values that it was made from."""

SURROUNDINGS, FLAT = 9, 16.0
"""Pixels along a side, in which those in flat surroundings are told: there, noise is least. They count by the inverse
cube of how many levels these spread, and so many more."""

STIFF = (1e-3, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""How much the bends of a table count against what was seen: candidates, by those pairs that it was not made from."""

FOLDS = 8
ALIKE = 1.5
"""Channels have one table whose own differ from it by less than so many levels, in the mean."""

Medians = tuple[Tensor, Tensor]
"""For each level ``[256]``, float64: what its pixels count together, and the median of their targets."""


def noisy_table(problem: Problem) -> FoundForm | None:
    """Return the table of pairs whose targets are noisy; None where they are not, or there is a teacher to ask."""
    inputs, targets = problem.train.inputs, problem.train.targets
    levels = inputs.dtype == targets.dtype == torch.uint8
    if problem.ask is not None or not levels or inputs.shape != targets.shape:
        return None
    plain, _ = lookup(inputs.flatten(), targets.flatten())
    if float((plain[inputs.long()] != targets).double().mean()) <= NOISY:
        return None
    counts = (spreads(inputs).double() + FLAT) ** -3
    channels = [medians(inputs[:, c], targets[:, c], counts) for c in range(inputs.shape[1])]
    stiffness = stiffness_of(inputs, targets, counts[:, None].expand(inputs.shape))
    own = torch.stack([smoothed(seen, stiffness) for seen in channels])
    pooled = smoothed(medians(inputs, targets, counts[:, None].expand(inputs.shape)), stiffness)
    share = torch.stack([seen[0] for seen in channels])
    apart = ((own - pooled).abs() * share).sum(1) / share.sum(1)
    values = pooled[None] if float(apart.max()) < ALIKE else own
    note = "targets are noisy: a table of medians, to which pixels in flat surroundings count most, smoothed"
    return FoundForm.plain(Lookup(values.round().clamp(0, LEVELS - 1).to(torch.uint8)), notes=[note])


def spreads(inputs: Tensor) -> Tensor:
    """For each pixel of levels ``[N, C, H, W]``, by how much those around it differ: ``[N, H, W]``."""
    levels = inputs.float()
    high = F.max_pool2d(levels, SURROUNDINGS, 1, SURROUNDINGS // 2)
    low = -F.max_pool2d(-levels, SURROUNDINGS, 1, SURROUNDINGS // 2)
    return (high - low).amax(1)


def medians(levels: Tensor, targets: Tensor, counts: Tensor) -> Medians:
    """Medians of targets, as if they lay evenly in their levels; pixels count differently, all three of one shape."""
    index = levels.flatten().long() * LEVELS + targets.flatten()
    joint = torch.bincount(index, counts.flatten(), minlength=LEVELS * LEVELS).view(LEVELS, LEVELS)
    total, up_to = joint.sum(1), joint.cumsum(1)
    level = (up_to * 2 < total[:, None]).sum(1, keepdim=True)
    own, below = (values.gather(1, level)[:, 0] for values in (joint, up_to - joint))
    return total, level[:, 0] - 0.5 + torch.where(own > 0, (total / 2 - below) / own, 0.5)


def smoothed(seen: Medians, stiffness: float) -> Tensor:
    """Return the table ``[256]``, float64, that is near to what was seen and bends little: straight where nothing
    was."""
    count, middle = seen[0] / seen[0].mean(), seen[1]
    bends = torch.eye(LEVELS, dtype=torch.float64).diff(n=2, dim=0)
    table: Tensor = torch.linalg.solve(torch.diag(count) + stiffness * bends.T @ bends, count * middle)
    return table


def stiffness_of(inputs: Tensor, targets: Tensor, counts: Tensor) -> float:
    """Return the most with which a table is as near as any to pairs that it was not made from, as far as these tell."""
    fold = torch.arange(len(inputs)) % FOLDS
    losses = torch.zeros(FOLDS, len(STIFF), dtype=torch.float64)
    for out in range(FOLDS):
        made, (count, middle) = (
            medians(inputs[kept], targets[kept], counts[kept]) for kept in (fold != out, fold == out)
        )
        for i, stiffness in enumerate(STIFF):
            losses[out, i] = (count * (smoothed(made, stiffness) - middle).square()).sum()
    more = losses - losses[:, [int(losses.sum(0).argmin())]]
    enough = more.mean(0) <= more.std(0) / FOLDS**0.5
    return max(stiffness for stiffness, chosen in zip(STIFF, enough.tolist(), strict=True) if chosen)
