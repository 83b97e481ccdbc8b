"""How images lie in memory, as the native code reads them; and memory for what it makes."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from learned_transforms.errors import InputShapeError
from learned_transforms.kernels.stages import NAMES

MOST_INTERLEAVED = 4
"""Values of an interleaved pixel that the native code takes; wider ones are copied to planes first."""
TORCH = {name: dtype for dtype, name in NAMES.items()}


def misread(length: int, expected: int) -> InputShapeError:
    """Return the error of an image that exports another number of bytes than its pixels have."""
    return InputShapeError(f"Expected {expected} bytes of pixels, Pillow gave {length}.")


def output_of(call: Any, lead: Sequence[int], interleaved: bool) -> tuple[tuple[int, ...], torch.dtype]:
    """Return the shape in memory and dtype of what a native call gives, for ``lead`` dimensions of the batch."""
    c, h, w, dtype = call.output
    return (*lead, h, w, c) if interleaved else (*lead, c, h, w), TORCH[dtype]


@cache
def allocator(dtype: torch.dtype) -> Callable[..., Tensor]:
    """Return what makes tensors of a dtype in the CPU's memory, whatever the default device is."""
    with torch.inference_mode(False):
        return torch.empty(0, dtype=dtype, device="cpu").new_empty


def fitted(shape: Sequence[int], channel: int, row: int, pixel: int) -> tuple[int, int, int]:
    """Return the strides of an image of ``shape`` (C, H, W); along an axis of one value they may be anything: made to
    fit."""
    channels, _, width = shape
    return 1 if channels == 1 else channel, row, 1 if width == 1 else pixel


def readable(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether the native code reads images of ``shape`` (C, H, W): planes, or a few channels side by side."""
    channel, _, pixel = strides
    return pixel == 1 or (channel == 1 and shape[0] <= pixel <= MOST_INTERLEAVED)


def in_memory(image: Tensor) -> Tensor:
    """Return a tensor whose storage is shorter than itself, in memory of its own: zeros that torch never wrote down.

    Raises:
        InputShapeError: its storage was taken away.
    """
    if not image._is_zerotensor():
        have = image.untyped_storage().nbytes()
        raise InputShapeError(
            f"Expected an image whose memory holds {tuple(image.shape)} {image.dtype}, got a storage of {have} bytes: "
            "it was resized or freed. Pass a clone made before that."
        )
    return torch.zeros(image.shape, dtype=image.dtype)


def usable(image: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """Return the image as a tensor ``[C, H, W]`` or ``[N, C, H, W]`` that the native code reads: itself, a view, or a
    copy.

    Strides of one image come with it.
    """
    image = image.resolve_neg()
    if image.ndim > 4:
        image = image.flatten(0, -4)
    shape = image.shape[-3:]
    strides = fitted(shape, *image.stride()[-3:])
    if readable(shape, strides):
        return image, strides
    image = image.contiguous()
    return image, fitted(shape, *image.stride()[-3:])
