"""Images as processors take them: one or many, PIL, tensors or arrays, with the channels first or last."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import ProcessorInputError, check_choice
from learned_transforms.images.formats import MODES
from learned_transforms.images.pytree import describe_leaf

CHANNELS = (1, 3, 4)
"""How many channels an axis of them may have."""

LAYOUTS = {"channels_first": 0, "channels_last": -1}
"""Where the channels are, by the name that processors have for it."""


def flat_images(images: Any) -> list[Any]:
    """All images, one by one, of one, a batch, a list, or a list of lists.

    Raises:
        ProcessorInputError: none of these.
    """
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, Tensor | np.ndarray) and images.ndim in (3, 4):
        return [images] if images.ndim == 3 else list(images)
    if isinstance(images, list | tuple) and images:
        return [one for image in images for one in flat_images(image)]
    raise ProcessorInputError(
        f"Expected an image, a batch of them, or a list of images, got {describe_leaf(images)}. Pass PIL images, uint8 "
        "arrays or uint8 tensors."
    )


def ready(image: Any, to_rgb: bool, layout: str | None) -> Any:
    """Return an RGB or L PIL image, or a uint8 tensor ``[C, H, W]`` in the memory of what was given where that is
    possible.

    Raises:
        ProcessorInputError: another mode, dtype, device or layout.
    """
    if isinstance(image, Image.Image):
        if to_rgb and (image.mode != "RGB" or image.info.get("transparency") is not None):
            return opaque(image)
        if image.mode in MODES:
            return image
        raise ProcessorInputError(
            f'Expected an RGB or L image, got mode {image.mode}. Set "do_convert_rgb" to true, or use .convert("RGB").'
        )
    if isinstance(image, np.ndarray):
        image = tensor_of(image)
    if image.dtype != torch.uint8 or image.device.type != "cpu" or image.layout != torch.strided:
        raise ProcessorInputError(
            f"Expected uint8 images in the CPU's memory, got {image.dtype} on {image.device}. Floats in [0, 1] become "
            "levels by (image * 255).round().to(torch.uint8)."
        )
    image = channels_first(image.as_subclass(Tensor) if type(image) is not Tensor else image, layout)
    if len(image) == 4 or (to_rgb and len(image) not in (1, 3)):
        raise ProcessorInputError(
            f'Expected images of 1 or 3 channels, got {len(image)}. Drop alpha by image.convert("RGB").'
        )
    return image.expand(3, -1, -1) if to_rgb and len(image) == 1 else image


def opaque(image: Image.Image) -> Image.Image:
    """Return an RGB image of one of any mode; what is transparent stands before white."""
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def tensor_of(image: np.ndarray) -> Tensor:
    """Return an array as a tensor of the same shape; torch takes neither negative strides nor read-only memory."""
    if not image.flags.writeable or min(image.strides, default=0) < 0:
        image = image.copy()
    try:
        return torch.from_numpy(image)
    except TypeError as error:
        raise ProcessorInputError(f"Expected an array of uint8, got {image.dtype}: {error}.") from error


def channels_first(image: Tensor, layout: str | None) -> Tensor:
    """Return an image ``[C, H, W]`` of one whose channels are first or last; where both may be, they are first."""
    if layout is not None:
        check_choice("input_data_format", layout, LAYOUTS, ProcessorInputError)
    axis = LAYOUTS[layout] if layout is not None else next((a for a in (0, -1) if image.shape[a] in CHANNELS), None)
    if axis is None or 0 in image.shape:
        raise ProcessorInputError(
            f"Expected an image with its 1, 3 or 4 channels first or last, got {tuple(image.shape)}. Say where they "
            "are by input_data_format."
        )
    return image if axis == 0 else image.movedim(-1, 0)


def sizes(images: Sequence[Any]) -> list[tuple[int, int]]:
    """(rows, columns) of each."""
    return [(one.height, one.width) if isinstance(one, Image.Image) else (one.shape[1], one.shape[2]) for one in images]
