"""Images in and out: which form an image has, the tensor that holds its values, and the files it comes from."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageMode
from torch import Tensor
from torchvision import tv_tensors

from learned_transforms import modes
from learned_transforms.errors import DataError, InputShapeError, InputTypeError

CPU = torch.device("cpu")
MODES = ("RGB", "L")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""Of the files that are taken for images."""

Window = tuple[int, int, int, int]
"""Top, left, height, width of a part of an image."""

Call = Callable[..., Any]
"""``(image, window=None, factors=(), later=None) -> [..., C, H, W]``: what runs on a tensor, PIL image or array, of
which an array ``[H, W, C]`` may come; ``window``: only this part of it; ``factors``: what else was drawn for it, see
``ops.Slot``; ``later``: may take what is to run, and then None comes."""

Later = Callable[[Any, int, Any, Window | None, Sequence[float]], None]
"""Takes a native call, the address of an image and whose memory that is, its window, and its factors."""

DTYPES = {torch.uint8: "uint8", torch.float32: "float32"}
"""Of the images that layers take."""

HALVES = {torch.float16: "float16", torch.bfloat16: "bfloat16"}
"""Of those that layers may make of them besides: these are only copied and normalized then."""

ARRAYS = (np.ndarray, np.memmap)
"""Classes of arrays that hold images; others, such as masked ones, hold more than values."""

IMAGES = (Tensor, Image.Image, np.ndarray)
"""Classes of what holds images."""

CONTAINER_NAMES = ("pil", "tensor", "image", "numpy")
MARKED = {tv_tensors.Image: "image", tv_tensors.Video: "video"}
"""Containers of tensors of a class of their own."""

CLASSES = {container: kind for kind, container in MARKED.items()}


class Form(NamedTuple):
    """The form of an image.

    Attributes:
        container: ``"pil"``, ``"tensor"``, ``"image"`` (tv_tensors.Image), ``"video"`` (tv_tensors.Video) or
            ``"numpy"`` (HWC); ``"mask"`` of the masks beside an image, see ``runtime/masks.py``.
        dtype: ``"uint8"`` or ``"float32"``, and of what layers have made ``"float16"`` or ``"bfloat16"``, too; of
            masks, any that they come in.
        plain: one image, of one or three channels, which is what PIL images have.
        narrow: it has at most four channels, which torch resizes as levels.
        several: it is one of several images, which only v2 takes.
        arrays: there are arrays beside it.
        deep: it has more than one batch dimension.
        fresh: its values lie in memory that the transforms before have made, which nobody else sees.
        order: of torchvision's image in memory, see ``layout``; told only where a transform depends on it.
    """

    container: str
    dtype: str
    plain: bool = True
    narrow: bool = True
    several: bool = False
    arrays: bool = False
    deep: bool = False
    fresh: bool = False
    order: int = 0

    @property
    def half(self) -> bool:
        """Whether its values are of half precision."""
        return self.container != "mask" and self.dtype in HALVES.values()


def signature(image: Any) -> Any:
    """Return what two images share that are handled in one way: type, dtype or mode, size, layout, device; None: no
    image.

    What torch makes of tensors, and of what becomes one, depends on its threads, of which a worker has fewer than the
    process that it came from.
    """
    threads = torch.get_num_threads()
    if isinstance(image, Tensor):
        kind = type(image)
        if kind in MARKED:  # Of the tensor in them it is faster to ask.
            image = image.as_subclass(Tensor)
        try:
            stride = image.stride()
        except RuntimeError:  # Sparse and nested tensors have none.
            return None
        return kind, image.dtype, image.shape, stride, image.device, image.requires_grad, threads
    if isinstance(image, Image.Image):
        return image.mode, image.size, threads
    if isinstance(image, np.ndarray):
        return type(image), image.dtype, image.shape, image.strides, image.flags.writeable, threads
    return None


def place_of(image: Any) -> torch.device | None:
    """Return the device of a tensor or a PIL image; None: it is neither."""
    if isinstance(image, Tensor):
        return image.device
    return CPU if isinstance(image, Image.Image) else None


def kind_of(image: Any) -> Any:
    """Return what images share that the same programs run: all of a signature but size and layout; None: no image."""
    threads = torch.get_num_threads()
    if isinstance(image, Tensor):
        shape = image.shape
        return (
            (type(image), image.dtype, shape[:-2], image.device, image.requires_grad, threads) if all(shape) else None
        )
    if isinstance(image, Image.Image):
        return (image.mode, threads) if all(image.size) else None
    if isinstance(image, np.ndarray):
        kind = type(image), image.dtype, image.ndim, image.shape[2:], image.flags.writeable, threads
        return kind if all(image.shape) else None
    return None


def form_of(image: Any) -> Form | None:
    """Return the form of an image, or None for what only torchvision itself takes or refuses.

    That is other modes and dtypes, subclasses of tensors, tensors without values, fewer than three dimensions, no
    pixels, and no image at all.
    """
    if isinstance(image, Tensor):
        return tensor_form(image)
    if isinstance(image, Image.Image):
        return Form("pil", "uint8") if image.mode in MODES and 0 not in image.size else None
    if is_picture(image):
        if 0 in image.shape:
            return None
        channels = 1 if image.ndim == 2 else image.shape[2]
        return Form("numpy", "uint8", channels in (1, 3), channels <= 4)
    return None


def is_picture(value: Any) -> bool:
    """Return whether it is an array of levels, [H, W] or [H, W, C]."""
    return type(value) in ARRAYS and value.dtype == np.uint8 and value.ndim in (2, 3)


def tensor_form(image: Tensor) -> Form | None:
    kind = type(image)
    if kind in MARKED:
        image = image.as_subclass(Tensor)
    dtype = DTYPES.get(image.dtype)
    known = dtype is not None and (kind is Tensor or kind in MARKED)
    if not known or image.layout != torch.strided or image.is_nested or image.is_meta or image.ndim < 3:
        return None
    if 0 in image.shape:
        return None
    container = MARKED.get(kind, "tensor")
    plain = image.ndim == 3 and image.shape[0] in (1, 3)
    return Form(container, str(dtype), plain, bool(image.shape[-3] <= 4), deep=image.ndim > 4)


def shape_of(image: Any) -> tuple[int, int, int]:
    """(C, H, W) of a tensor, a PIL image or an array."""
    if isinstance(image, Tensor):
        c, h, w = (image.shape if not modes.is_tracing() else modes.plain_shape(image))[-3:]
        return c, h, w
    if isinstance(image, np.ndarray):
        h, w, c = image.shape if image.ndim == 3 else (*image.shape, 1)
        return c, h, w
    return len(image.getbands()), image.height, image.width


def channels_last(image: Any) -> bool:
    """Return whether the channels of each pixel lie side by side, in a batch ``[N, C, H, W]``.

    Of a batch of one, torch goes by the first stride.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.is_contiguous():
        return False
    alone = len(image) == 1 and image.stride(0) < image[0].numel()
    return not alone and image.is_contiguous(memory_format=torch.channels_last)


def to_tensor(image: Any) -> Tensor:
    """Return the values of a PIL image (RGB or L), an HWC or HW array, or a tensor, as a plain tensor ``[..., C, H,
    W]``.

    Arrays and tensors share their memory with the result.

    Raises:
        InputTypeError: anything else.
    """
    if isinstance(image, Tensor):
        # A graph that torch builds loses sight of what changes its class.
        return image if type(image) is Tensor else image.as_subclass(Tensor)
    if isinstance(image, Image.Image) and image.mode in MODES:
        image = np.array(image)
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        # Torch takes neither negative strides nor read-only memory; flipped views are the usual case of the former.
        if not image.flags.writeable or min(image.strides) < 0:
            image = image.copy()
        return torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1)
    what = type(image).__name__
    if isinstance(image, Image.Image):
        what = f"a PIL image of mode {image.mode}. {conversion(image)}"
    raise InputTypeError(f"Expected an RGB or L PIL image, an HWC array or a tensor [..., C, H, W], got {what}.")


def conversion(image: Image.Image) -> str:
    """Return how to make an RGB or L image of one of another mode, in words."""
    scale = "Image.fromarray((np.asarray(image) / 257).astype(np.uint8))"
    first = "" if has_bytes(image) else f"; scale it to 8 bits first, 16 bits as in {scale}, or it is clipped to white"
    return f'Convert it with .convert("RGB"), or "L" for gray{first}'


def has_bytes(image: Image.Image) -> bool:
    """Return whether every value of a PIL image fits into 8 bits: not so for modes I, F, I;16 and their like."""
    return ImageMode.getmode(image.mode).typestr.endswith("1")


def as_rgb_or_l(image: Image.Image) -> Image.Image:
    """Return a PIL image of mode RGB or L as it is, of another mode as RGB; alpha is dropped.

    Raises:
        InputTypeError: a mode of more than 8 bits for a value, which Pillow would clip.
    """
    if image.mode in MODES:
        return image
    if not has_bytes(image):
        raise InputTypeError(f"Expected an image of 8 bits for each value, got mode {image.mode}. {conversion(image)}.")
    return image.convert("RGB")


def from_tensor(image: Tensor, container: str) -> Any:
    """Return a tensor of values in a container, of which it has the dtype."""
    kind = CLASSES.get(container)
    if kind is not None:
        return image.as_subclass(kind)  # As its constructor does, in a third of the time.
    if container in ("tensor", "mask"):
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


def read_file(path: str | os.PathLike[str]) -> Image.Image:
    """Return an image out of a file, decoded: RGB and L as they are stored, other modes as RGB, without alpha.

    Raises:
        InputTypeError: a mode of more than 8 bits for a value. OSError: no such file, or no image.
    """
    with Image.open(path) as image:
        return as_rgb_or_l(image.copy())


def check_values(image: Tensor) -> None:
    """Require a tensor of real numbers that lie in memory one by one.

    Raises:
        InputTypeError: a meta, nested, sparse, quantized, complex or named tensor.
    """
    if image.is_meta:
        found, remedy = "a tensor on the meta device, which has none", "Make images on the CPU"
    elif image.is_nested:
        found, remedy = "a nested tensor", "Give its tensors one by one: image.unbind()"
    elif image.layout != torch.strided:
        found, remedy = f"a tensor of layout {image.layout}", "Make it dense: image.to_dense()"
    elif image.is_quantized:
        found, remedy = f"a quantized tensor of {image.dtype}", "Make numbers of it: image.dequantize()"
    elif image.is_complex():
        found, remedy = f"complex numbers of {image.dtype}", "Take image.abs(), image.real or image.imag"
    elif any(names := getattr(image, "names", ())):  # Newer versions of torch have none.
        found, remedy = f"a tensor with names {names}", "Drop them: image.rename(None)"
    else:
        return
    raise InputTypeError(f"Expected a tensor of real numbers in memory, got {found}. {remedy}.")


def items(data: Any) -> Iterator[Any]:
    """Return the image files of a folder; what a Dataset, a sequence or a tensor holds, by number; what an iterable
    gives.

    Raises:
        DataError: none of these, or a tensor or an array that is no batch. InputTypeError: see :func:`check_values`.
    """
    if isinstance(data, Tensor):
        check_values(data)
    single = isinstance(data, np.ndarray) and (data.ndim < 3 or (data.ndim == 3 and data.shape[-1] in (1, 3, 4)))
    if single or (isinstance(data, Tensor) and data.ndim != 4):
        form = "[N, H, W, C]" if single else "[N, C, H, W]"
        raise DataError(f"Expected images {form}, got {tuple(data.shape)}. Of a single one, make image[None].")
    if isinstance(data, str | os.PathLike):
        return iter(image_files(Path(data)))
    if not isinstance(data, Mapping):
        if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            return (data[number] for number in range(len(data)))
        if isinstance(data, Iterable):
            return iter(data)
    raise DataError(f"Expected a folder, Dataset, tensor or iterable of images, got {type(data).__name__}.")


def image_in(item: Any) -> Any:
    """Return the image of what a Dataset gives: of a tuple such as (image, label) the first entry, of a path its file.

    Raises:
        InputTypeError: a file of a mode of more than 8 bits for a value; or see :func:`check_values`.
        InputShapeError: a tensor of fewer than three dimensions. OSError: no such file, or no image.
    """
    while isinstance(item, tuple | list) and item:
        item = item[0]
    if isinstance(item, Tensor):
        check_values(item)
        if item.ndim < 3:
            raise InputShapeError(
                f"Expected an image [..., C, H, W], got {tuple(item.shape)}. Of a gray one [H, W], make image[None]."
            )
    return read_file(item) if isinstance(item, str | os.PathLike) else item
