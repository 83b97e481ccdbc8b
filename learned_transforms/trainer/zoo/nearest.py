"""Which pixels a teacher takes that computes none: the offset of nearest-neighbor resizes, from coded images."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic

NEAREST_PLACES = (Arithmetic("float32"), Arithmetic("float64"), Arithmetic("float64", running=True))
"""How positions may be computed."""

FINEST = 64
"""Offsets are simple numbers: the largest denominator that is tried."""

SPREAD = 149
"""Odd; from each row to the next, levels change by this (modulo 256), so that a blur of them tells no other place."""

MOST = 4096
"""Rows or columns that a coded image can have."""

Resizer = Callable[[Tensor, tuple[int, int]], Tensor]
"""From uint8 levels ``[3, H, W]`` and (rows, columns) to levels of that size."""


def coded(height: int, width: int) -> Tensor:
    """Return an image whose every pixel tells where it lies, uint8 ``[3, height, width]``; neither side above
    ``MOST``."""
    rows, columns = torch.arange(height)[:, None].expand(-1, width), torch.arange(width).expand(height, -1)
    return torch.stack([rows * SPREAD % 256, columns * SPREAD % 256, rows // 256 * 16 + columns // 256]).to(torch.uint8)


def picked(teacher: Resizer, n_in: tuple[int, int], n_out: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns that a teacher takes.

    Raises:
        TeacherError: it does not take whole rows and columns.
    """
    answer = teacher(coded(*n_in), n_out)
    low, left, high = answer.long()
    low, left = (levels * pow(SPREAD, -1, 256) % 256 for levels in (low, left))
    rows, columns = (low + high // 16 * 256)[:, 0], (left + high % 16 * 256)[0]
    whole = len(rows) == n_out[0] and len(columns) == n_out[1] and rows.max() < n_in[0] and columns.max() < n_in[1]
    if not whole or not coded(*n_in)[:, rows][:, :, columns].equal(answer):
        raise TeacherError("The teacher does not resize by taking whole rows and columns of its input.")
    return rows, columns


def learn_offset(teacher: Resizer, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return the offset ``[1]`` with which output pixel ``i`` is input pixel ``floor((i + offset) * n_in / n_out)``.

    Args:
        teacher: resizes by taking pixels, alike along rows and columns.
        sizes: (n_in, n_out) to ask for, odd and without a common divisor, so that no position lies on a border of
            pixels, where rounding would decide.

    Raises:
        TeacherError: no offset explains its answers.
    """
    low, high = -math.inf, math.inf
    for n_in, n_out in sizes:
        for taken in picked(teacher, (n_in, n_in), (n_out, n_out)):
            index = torch.arange(n_out)
            start, stop = ((taken + end) * (n_out / n_in) - index for end in (0.0, 1.0))
            # Positions outside the image are moved to its edges, which bound nothing on that side.
            low = max(low, float(start[taken > 0].max()))
            high = min(high, float(stop[taken < n_in - 1].min()))
    return torch.tensor([simplest_number(low, high)], dtype=torch.float64)


def simplest_number(low: float, high: float) -> float:
    """Return the number of the smallest denominator between two bounds, the lower one included."""
    for denominator in range(1, FINEST + 1):
        number = math.ceil(low * denominator) / denominator
        if low <= number < high:
            return number
    raise TeacherError(f"No offset explains which pixels the teacher takes: found bounds of {low:.6g} and {high:.6g}.")
