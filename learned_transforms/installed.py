"""What the installed torch and torchvision do where versions and instruction sets differ: asked, never assumed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

A = TypeVar("A")

WIDTH = 64
"""Pixels of the image that is resized: the middle between two of them falls on the middle pixel of an odd size."""

SIZES = {"small": 63, "large": 289}
"""To what size: ``WIDTH / size`` is rounded in float32 so that the middle pixel tells how its place was computed."""


def aside(ask: Callable[..., A], *arguments: Any) -> A:
    """The answer, from a thread of its own: whatever looks into torch's calls here (fake tensors, vmap) ends at it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask, *arguments).result()


@cache
def fuses(mode: Literal["bilinear", "bicubic"], large: bool) -> bool:
    """Whether positions are fused (one rounding) where floats are resized without antialiasing.

    Torch has another loop for small outputs; it is the compiler that fuses, in one of its loops and not in the other.

    Args:
        mode: as in ``torch.nn.functional.interpolate``.
        large: of outputs of more than 256 rows and columns in all; up to 64 otherwise.
    """
    # With two roundings it lies right between -1 and 1; with one, it is beside.
    return aside(middle_of, mode, SIZES["large" if large else "small"]) != 0


def middle_of(mode: str, size: int) -> float:
    """The middle pixel of a row of zeros with -1 and 1 in its middle, resized."""
    row = torch.zeros(1, 1, 1, WIDTH, dtype=torch.float32, device="cpu")
    row[..., WIDTH // 2 - 1], row[..., WIDTH // 2] = -1, 1
    resized = torch.nn.functional.interpolate(row, (1, size), mode=mode, align_corners=False)
    return resized[0, 0, 0, size // 2].item()


@cache
def resizes_levels() -> bool:
    """Whether v2 resizes levels bilinearly as such; where it has no code for the processor, they go through floats."""
    return aside(levels_differ)


def levels_differ() -> bool:
    """Whether the resize of some levels differs from that of the same floats, rounded: a sixth of values does."""
    levels = (torch.arange(32 * 32, device="cpu") * 97 % 256).to(torch.uint8).view(1, 32, 32)
    through_floats = functional.resize(levels.to(torch.float32), [28, 28]).round().to(torch.uint8)
    return not functional.resize(levels, [28, 28]).equal(through_floats)


@cache
def resizes_by_lanczos() -> bool:
    """Whether v2 resizes tensors by Lanczos, which older torchvision refuses."""
    return aside(takes_lanczos)


def takes_lanczos() -> bool:
    try:
        functional.resize(torch.zeros(1, 4, 4, device="cpu"), [2, 2], InterpolationMode.LANCZOS)
    except (NotImplementedError, ValueError):
        return False
    return True
