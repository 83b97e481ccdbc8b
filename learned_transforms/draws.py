"""What random transforms draw, in torchvision's order and number, from torch's global generator."""

import struct
import threading
from collections.abc import Callable, Sequence
from operator import lt
from typing import Any

import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.images import Window

COINS = {v1.RandomHorizontalFlip, v1.RandomVerticalFlip, v2.RandomHorizontalFlip, v2.RandomVerticalFlip}
"""Transforms that toss a coin, at p = 0 and p = 1 too, and draw nothing else."""


class Buffers(threading.local):
    """Tensors to draw into, by length, for one thread: they save an allocation at every call."""

    def __init__(self) -> None:
        self.kept: dict[int, Tensor] = {}


BUFFERS = Buffers()


def draw(count: int) -> list[float]:
    """What ``torch.rand(1)``, called ``count`` times, would give."""
    # A default device, or another dtype, draws other numbers: rand knows how.
    if torch.get_default_dtype() != torch.float32 or torch._C._is_torch_function_mode_enabled():
        values: list[float] = torch.rand(count).tolist()
        return values
    buffer = BUFFERS.kept.get(count)
    if buffer is None:
        with torch.inference_mode(False):
            buffer = BUFFERS.kept[count] = torch.empty(count)
    values = buffer.uniform_().tolist()
    return values


def toss(chances: Sequence[float]) -> tuple[bool, ...]:
    """Whether each of several coins falls, given its probability: together, which draws what one by one would draw.

    Args:
        chances: probabilities, rounded by :func:`single`.
    """
    return tuple(map(lt, draw(len(chances)), chances))


def single(value: float) -> float:
    """A number rounded to float32, in which torchvision compares."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def window_v1(transform: Any, image: Any) -> Window:
    top, left, height, width = transform.get_params(image, transform.scale, transform.ratio)
    return top, left, height, width


def window_v2(transform: Any, image: Any) -> Window:
    params = transform.make_params([image])
    return params["top"], params["left"], params["height"], params["width"]


WINDOWS: dict[type, Callable[[Any, Any], Window]] = {
    v1.RandomResizedCrop: window_v1,
    v2.RandomResizedCrop: window_v2,
}
"""Transforms that draw the part of the image to use, by class: from the transform and the image."""
