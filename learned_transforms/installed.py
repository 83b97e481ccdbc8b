"""What the installed torch does where its versions and instruction sets differ: asked of it, never assumed."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal

import torch

WIDTH = 64
"""Pixels of the image that is resized: the middle between two of them falls on the middle pixel of an odd size."""

SIZES = {"small": 63, "large": 289}
"""To what size: ``WIDTH / size`` is rounded in float32 so that the middle pixel tells how its place was computed."""


@cache
def fuses(mode: Literal["bilinear", "bicubic"], large: bool) -> bool:
    """Whether positions are fused (one rounding) where floats are resized without antialiasing.

    Torch has another loop for small outputs; it is the compiler that fuses, in one of its loops and not in the other.

    Args:
        mode: as in ``torch.nn.functional.interpolate``.
        large: of outputs of more than 256 rows and columns in all; up to 64 otherwise.
    """
    # A thread of its own: whatever looks into torch's calls (fake tensors, vmap, a default device) ends at this one.
    with ThreadPoolExecutor(1) as thread:
        middle = thread.submit(middle_of, mode, SIZES["large" if large else "small"]).result()
    # With two roundings it lies right between -1 and 1; with one, it is beside.
    return middle != 0


def middle_of(mode: str, size: int) -> float:
    """The middle pixel of a row of zeros with -1 and 1 in its middle, resized."""
    row = torch.zeros(1, 1, 1, WIDTH, dtype=torch.float32, device="cpu")
    row[..., WIDTH // 2 - 1], row[..., WIDTH // 2] = -1, 1
    resized = torch.nn.functional.interpolate(row, (1, size), mode=mode, align_corners=False)
    return resized[0, 0, 0, size // 2].item()
