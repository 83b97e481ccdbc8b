"""Parts of an image of a drawn area and ratio of sides, which RandomResizedCrop takes and RandomErasing overwrites."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.transforms.rng import buffer_of, round_float32


def lengths(transform: Any, area: int) -> Iterator[tuple[int, int]]:
    """Draw (width, height) of up to ten parts of an area, each of a share and a ratio."""
    buffer = buffer_of(1)
    low, high = log_ratio(transform)
    for _ in range(10):
        target = area * buffer.uniform_(*transform.scale).item()
        ratio = buffer.uniform_(low, high).exp_().item()
        yield round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))


def log_ratio(transform: Any) -> tuple[float, float]:
    """Return the bounds of the logarithm of a transform's ratio."""
    own = getattr(transform, "_log_ratio", None)
    if own is None or own.dtype == torch.float32:
        return logarithms(*transform.ratio)
    low, high = map(round_float32, own.tolist())
    return low, high


@lru_cache
def logarithms(low: float, high: float) -> tuple[float, float]:
    """Return logarithms in float32, as torch has them."""
    first, second = torch.log(torch.tensor((low, high), dtype=torch.float32, device="cpu")).tolist()
    return first, second


def as_v2(transform: Any) -> Any:
    """Return a RandomResizedCrop or RandomErasing of v1 as one of v2; they draw alike."""
    if isinstance(transform, v2.Transform):
        return transform
    if isinstance(transform, v1.RandomErasing):
        return v2.RandomErasing(transform.p, transform.scale, transform.ratio, transform.value)
    return v2.RandomResizedCrop(transform.size, transform.scale, transform.ratio)
