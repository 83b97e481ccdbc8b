"""Tables behind noise, such as that of JPEG: medians over flat parts of images."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer.search.pointwise import LEVELS, lookup
from learned_transforms.trainer.search.problem import Form, Problem

NOISY = 0.5
"""A table is learned behind noise where it misses more than this share of the values that it was made from."""

FLAT_SHARE = 0.25
"""Share of the pixels, those in the flattest surroundings, that it is learned from: there, noise is least."""

MANY = 300
"""Of each level, that many pixels are learned from where the image has them, whatever their surroundings."""

SURROUNDINGS = 9
"""Pixels along a side."""

FEWEST = 30
"""Values that a level must have to be told; others lie between their neighbours."""

ALIKE = 1.5
"""Channels have one table whose own differ from it by less than so many levels, in the mean."""


def noisy_table(problem: Problem) -> Form | None:
    """The table of pairs whose targets are noisy; None where they are not, or there is a teacher to ask."""
    inputs, targets = problem.train.inputs, problem.train.targets
    levels = inputs.dtype == targets.dtype == torch.uint8
    if problem.ask is not None or not levels or inputs.shape != targets.shape:
        return None
    plain, _ = lookup(inputs.flatten(), targets.flatten())
    if float((plain[inputs.long()] != targets).double().mean()) <= NOISY:
        return None
    spread = spreads(inputs)
    enough = spread.flatten().kthvalue(max(1, int(FLAT_SHARE * spread.numel()))).values
    channels = [flattest(inputs[:, c], targets[:, c], spread, enough) for c in range(inputs.shape[1])]
    own = torch.stack([told(x, y) for x, y in channels])
    pooled = told(torch.cat([x for x, _ in channels]), torch.cat([y for _, y in channels]))
    counts = torch.stack([torch.bincount(x.long(), minlength=LEVELS) for x, _ in channels])
    apart = ((own - pooled).abs() * counts).sum(1) / counts.sum(1)
    values = pooled[None] if float(apart.max()) < ALIKE else own
    note = f"targets are noisy: a table of medians over the flattest {FLAT_SHARE:.0%} of the pixels"
    return Form.plain(Lookup(values.round().to(torch.uint8)), notes=[note])


def spreads(inputs: Tensor) -> Tensor:
    """For each pixel of levels ``[N, C, H, W]``, by how much those around it differ: ``[N, H, W]``."""
    levels = inputs.float()
    high = F.max_pool2d(levels, SURROUNDINGS, 1, SURROUNDINGS // 2)
    low = -F.max_pool2d(-levels, SURROUNDINGS, 1, SURROUNDINGS // 2)
    return (high - low).amax(1)


def flattest(levels: Tensor, targets: Tensor, spread: Tensor, enough: Tensor) -> tuple[Tensor, Tensor]:
    """The levels and targets whose surroundings spread no more than ``enough``, or are the flattest of their level."""
    order = levels.flatten().argsort()
    counts = torch.bincount(levels.flatten().long(), minlength=LEVELS)
    chosen = []
    for own in order.split(counts.tolist()):
        around = spread.flatten()[own]
        few = around.kthvalue(min(MANY, len(own))).values if len(own) else enough
        chosen.append(own[around <= torch.maximum(few, enough)])
    index = torch.cat(chosen)
    return levels.flatten()[index], targets.flatten()[index]


def told(levels: Tensor, targets: Tensor) -> Tensor:
    """Median targets ``[256]`` of levels that are frequent enough, float64, and straight lines between them."""
    values, _ = lookup(levels, targets)
    often = (torch.bincount(levels.long(), minlength=LEVELS) >= FEWEST).nonzero()[:, 0].numpy()
    if not len(often):
        return values.double()
    return torch.from_numpy(np.interp(np.arange(LEVELS), often, values.double().numpy()[often]))
