"""Images in and out: which form an image has, the tensor that holds its values, and the files it comes from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from learned_transforms.errors import DataError, InputShapeError, InputTypeError

MODES = ("RGB", "L")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""Of the files that are taken for images."""

Window = tuple[int, int, int, int]
"""Top, left, height, width of a part of an image."""

Call = Callable[..., Tensor]
"""``(image, window=None, factors=()) -> [..., C, H, W]``: what runs on a tensor or PIL image; ``window``: only this
part of it; ``factors``: what else was drawn for it, see ``plan.Slot``."""

CONTAINERS = ("pil", "tensor", "image", "numpy")


class Form(NamedTuple):
    """The form of an image.

    Attributes:
        container: ``"pil"``, ``"tensor"``, ``"image"`` (tv_tensors.Image) or ``"numpy"`` (HWC).
        dtype: ``"uint8"`` or ``"float32"``.
        plain: one image, of one or three channels, which is what PIL images have.
        several: it is one of several images, which only v2 takes.
        deep: it has more than one batch dimension.
        fresh: its values lie in memory that the transforms before have made, which nobody else sees.
    """

    container: str
    dtype: str
    plain: bool = True
    several: bool = False
    deep: bool = False
    fresh: bool = False


def signature(image: Any) -> Any:
    """What two images share that are handled in one way: type, dtype or mode, size, layout, device; None: no image.

    What torch makes of tensors, and of what becomes one, depends on its threads, of which a worker has fewer than the
    process that it came from.
    """
    threads = torch.get_num_threads()
    if isinstance(image, Tensor):
        return type(image), image.dtype, image.shape, image.stride(), image.device, image.requires_grad, threads
    if isinstance(image, Image.Image):
        return image.mode, image.size, threads
    if isinstance(image, np.ndarray):
        return np.ndarray, image.dtype, image.shape, image.strides, image.flags.writeable, threads
    return None


def form_of(image: Any) -> Form | None:
    """The form of an image, or None for one that only torchvision itself takes: other modes and dtypes, no image.

    Raises:
        InputTypeError: a tensor of fewer than three dimensions, or an array that is no HWC uint8 image.
        InputShapeError: an image without channels or pixels.
    """
    if isinstance(image, Tensor):
        return tensor_form(image)
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise InputShapeError(f"Expected an image of at least 1 x 1 pixels, got {image.size} (width, height).")
        return Form("pil", "uint8") if image.mode in MODES else None
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise InputTypeError(
                f"Expected a uint8 array of shape (H, W, C) or (H, W), got {image.dtype} {image.shape}. "
                "Convert it to a tensor [..., C, H, W] for anything else."
            )
        check_shape((*image.shape[2:3], *image.shape[:2]), "(C, H, W)")
        return Form("numpy", "uint8", image.ndim == 2 or image.shape[2] in (1, 3))
    return None


def tensor_form(image: Tensor) -> Form | None:
    kind = type(image)
    if kind is not Tensor and kind is not tv_tensors.Image:
        return None
    if image.ndim < 3:
        raise InputTypeError(
            f"Expected an image tensor of shape [..., C, H, W], got {tuple(image.shape)}. "
            "Add the missing dimensions, for example with image[None]."
        )
    check_shape(tuple(image.shape[-3:]), "[..., C, H, W]")
    container = "image" if isinstance(image, tv_tensors.Image) else "tensor"
    dtype = {torch.uint8: "uint8", torch.float32: "float32"}.get(image.dtype)
    plain = image.ndim == 3 and image.shape[0] in (1, 3)
    return None if dtype is None else Form(container, dtype, plain, deep=image.ndim > 4)


def check_shape(shape: tuple[int, ...], order: str) -> None:
    if 0 in shape:
        raise InputShapeError(f"Expected at least one channel, row and column, got {shape} of {order}.")


def shape_of(image: Tensor | Image.Image) -> tuple[int, int, int]:
    """(C, H, W)."""
    if isinstance(image, Tensor):
        c, h, w = image.shape[-3:]
        return c, h, w
    return len(image.getbands()), image.height, image.width


def channels_last(image: Any) -> bool:
    """Whether the channels of each pixel lie side by side, in a batch ``[N, C, H, W]``."""
    if not isinstance(image, Tensor) or image.ndim != 4 or image.is_contiguous():
        return False
    return image.is_contiguous(memory_format=torch.channels_last)


def to_tensor(image: Any) -> Tensor:
    """The values of a PIL image (RGB or L), an HWC or HW array, or a tensor, as a plain tensor ``[..., C, H, W]``.

    Arrays and tensors share their memory with the result.

    Raises:
        InputTypeError: anything else.
    """
    if isinstance(image, Tensor):
        return image.as_subclass(Tensor)
    if isinstance(image, Image.Image) and image.mode in MODES:
        image = np.array(image)
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        # Torch takes neither negative strides nor read-only memory; flipped views are the usual case of the former.
        if not image.flags.writeable or min(image.strides) < 0:
            image = image.copy()
        return torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1)
    what = type(image).__name__
    if isinstance(image, Image.Image):
        what = f'a PIL image of mode {image.mode}. Convert it with .convert("RGB"), or "L" for gray'
    raise InputTypeError(f"Expected an RGB or L PIL image, an HWC array or a tensor [..., C, H, W], got {what}.")


def from_tensor(image: Tensor, container: str) -> Any:
    """A tensor of values in a container, of which it has the dtype."""
    if container == "image":
        return tv_tensors.Image(image)
    if container == "tensor":
        return image
    pixels = image.movedim(-3, -1).contiguous().numpy(force=True)
    if container == "numpy":
        return pixels
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def image_files(folder: Path) -> list[Path]:
    """Every image file below a folder, in order of name.

    Raises:
        DataError: it is no folder.
    """
    if not folder.is_dir():
        raise DataError(f"Expected a folder of images, but {folder} is not one.")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def read_file(path: Path) -> Image.Image:
    """An image out of a file, decoded: RGB and L as they are stored, other modes as RGB."""
    with Image.open(path) as image:
        return image.convert(image.mode if image.mode in MODES else "RGB")
