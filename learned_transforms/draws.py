"""What random transforms draw, in torchvision's order and number, from torch's global generator."""

from collections.abc import Callable
from typing import Any

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2


def coin(transform: Any) -> bool:
    """Whether a transform with probability ``p`` is applied. The coin is tossed at p = 0 and p = 1 too."""
    return bool(torch.rand(1) < transform.p)


DRAWS: dict[type, Callable[[Any], bool]] = {
    v1.RandomHorizontalFlip: coin,
    v1.RandomVerticalFlip: coin,
    v2.RandomHorizontalFlip: coin,
    v2.RandomVerticalFlip: coin,
}
"""By class: draw, and tell whether the transform is applied."""


def applied(transform: Any) -> bool:
    """Draw for one transform; those that are not random draw nothing and are always applied."""
    draw = DRAWS.get(type(transform))
    return True if draw is None else draw(transform)
