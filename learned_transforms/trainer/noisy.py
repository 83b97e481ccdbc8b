"""Tables behind noise, such as that of JPEG: from flat parts of images, and smooth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from learned_transforms.trainer.pointwise import LEVELS

FLAT_SHARE = 0.25
"""Share of the pixels, those in the flattest surroundings, that a table is learned from: there, noise is least."""

SURROUNDINGS = 9
"""Pixels along a side."""

BANDWIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Levels over which a table may be smoothed."""

FOLDS = 4


def flattest(inputs: Tensor) -> Tensor:
    """For each pixel of levels ``[N, C, H, W]``, whether its surroundings are among the flattest: bool ``[N, H, W]``."""
    levels = inputs.float()
    reach = SURROUNDINGS // 2
    high = F.max_pool2d(levels, SURROUNDINGS, 1, reach)
    low = -F.max_pool2d(-levels, SURROUNDINGS, 1, reach)
    spread = (high - low).amax(1)
    return spread <= spread.flatten()[:: max(1, spread.numel() // 100_000)].quantile(FLAT_SHARE)


def smooth_tables(inputs: Tensor, targets: Tensor) -> Tensor:
    """Tables ``[C, 256]`` of levels, float64: local lines through noisy pairs of equal shape, as wide as held-out pairs
    bear.
    """
    flat = flattest(inputs)
    made = []
    for channel in range(inputs.shape[1]):
        x, y = inputs[:, channel][flat].long(), targets[:, channel][flat].double()
        fold = torch.arange(len(x)) % FOLDS
        widths = {}
        for width in BANDWIDTHS:
            errors = [
                (lines(x[fold != k], y[fold != k], width)[x[fold == k]] - y[fold == k]).abs().mean()
                for k in range(FOLDS)
            ]
            widths[width] = float(torch.stack(errors).mean())
        made.append(lines(x, y, min(widths, key=lambda width: widths[width])))
    return torch.stack(made).clamp(0, LEVELS - 1)


def lines(x: Tensor, y: Tensor, width: float) -> Tensor:
    """A table ``[256]``: at each level, the line of least squares through its surroundings, the nearer the heavier."""
    count = torch.bincount(x, minlength=LEVELS).double()
    mean = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, x, y) / count.clamp(min=1)
    distance = torch.arange(LEVELS)[None] - torch.arange(LEVELS)[:, None].double()
    # Far levels keep a trace of weight, so that those that no image shows get some value.
    weight = count * ((-0.5 * (distance / width) ** 2).exp() + 1e-9)
    s0, s1, s2 = weight.sum(1), (weight * distance).sum(1), (weight * distance**2).sum(1)
    t0, t1 = (weight * mean).sum(1), (weight * distance * mean).sum(1)
    found: Tensor = (s2 * t0 - s1 * t1) / (s0 * s2 - s1**2 + 1e-9)
    return found
