"""What random transforms draw: in torchvision's order and number, from torch's global generator."""

import math
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import lt
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.errors import EmptyImageError, InputShapeError, PipelineTypeError, PipelineValueError
from learned_transforms.images.formats import Window
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops import Shape
from learned_transforms.layers.given import check_value
from learned_transforms.layers.noise import Noise

Outcome = bool | tuple[tuple[str, Any], ...]
"""What was drawn for a transform: whether it is applied; or, where it is, params for its layer."""


class Twin:
    """A transform of our own that says in terms of layers what a client's does; nothing calls it, and no file names it.

    Where no layer takes an image, the client's own object runs.
    """


def single(value: float) -> float:
    """A number rounded to float32, in which torchvision compares."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def after(value: float) -> float:
    """The float32 that follows."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


ADJUSTING = (
    *("RandomInvert", "RandomPosterize", "RandomSolarize"),
    *("RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize"),
)
COINS: dict[type, Callable[[float], float]] = {
    **dict.fromkeys((v1.RandomHorizontalFlip, v1.RandomVerticalFlip, v1.RandomGrayscale), single),
    **dict.fromkeys((v2.RandomHorizontalFlip, v2.RandomVerticalFlip, v2.RandomGrayscale), single),
    **dict.fromkeys((getattr(v2, name) for name in ADJUSTING), single),
    **dict.fromkeys((getattr(v1, name) for name in ADJUSTING), float),
    v2.RandomApply: single,
    v1.RandomApply: after,
}
"""Transforms that toss a coin, at p = 0 and p = 1 too: from p to the number that what is drawn must be below."""


class Buffers(threading.local):
    """Tensors to draw into, by dtype and length, for one thread: they save an allocation at every call.

    Attributes:
        visible: torch looks into the call, and must see what is drawn.
    """

    def __init__(self) -> None:
        self.visible = False
        self.kept: dict[tuple[torch.dtype, int], Tensor] = {}


BUFFERS = Buffers()
default_dtype, function_mode = torch.get_default_dtype, torch._C._is_torch_function_mode_enabled
ALL_BITS, HALF = -(2**63), 2**32 - 1
"""The least int64, from which on numbers have 64 random bits; and the low half of them."""


def buffer_of(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    buffer = BUFFERS.kept.get((dtype, count))
    if buffer is None:
        with torch.inference_mode(False):
            buffer = BUFFERS.kept[dtype, count] = torch.empty(count, dtype=dtype, device="cpu")
    return buffer


def usual() -> bool:
    """Whether torch draws float32 on the CPU, into memory of ours.

    A default device, or another dtype, draws other numbers; and what torch looks into it must see.
    """
    return default_dtype() is torch.float32 and not function_mode() and not BUFFERS.visible


def draw(count: int) -> list[float]:
    """What ``torch.rand(1)``, called ``count`` times, would give."""
    if not usual():
        return [torch.rand(1).item() for _ in range(count)]
    values: list[float] = buffer_of(count).uniform_().tolist()
    return values


def chance(transform: Any) -> float:
    """The number that a draw must be below for a transform to be applied."""
    return COINS[type(transform)](transform.p)


def toss(chances: Sequence[float]) -> tuple[bool, ...]:
    """Whether each of several coins falls: drawn together, which gives what one by one would.

    Args:
        chances: of each, see :func:`chance`.
    """
    return tuple(map(lt, draw(len(chances)), chances))


def below(stop: int) -> int:
    """A whole number from 0 up to ``stop``, excluded."""
    drawn = buffer_of(1, torch.int64).random_(stop) if usual() else torch.randint(stop, (1,))
    return int(drawn.item())


def two_below(first: int, second: int) -> tuple[int, int]:
    """What :func:`below` would draw for one number and then another: of 64 random bits, the high half and the low."""
    if not usual():
        return below(first), below(second)
    drawn = int(buffer_of(1, torch.int64).random_(ALL_BITS, None).item())
    return (drawn >> 32 & HALF) % first, (drawn & HALF) % second


def resized_crop(transform: Any, size: tuple[int, int], limited: bool = True) -> Window:
    """Where :class:`RandomResizedCrop` cuts: up to ten tries of an area and a ratio, then the middle.

    Raises:
        EmptyImageError: the middle has no pixels, and ``limited`` says that the image is a tensor; Pillow goes on.
    """
    window = part_of(transform, size)
    if limited and 0 in window[2:]:
        raise EmptyImageError(
            f"A part of {window[2:]} of an image of {size} (rows, columns) is left with nothing: none has a ratio of "
            f"{tuple(transform.ratio)}. Pass another ratio, or larger images."
        )
    return window


def part_of(transform: Any, size: tuple[int, int]) -> Window:
    height, width = size
    if not usual():
        params = v2.RandomResizedCrop.make_params(as_v2(transform), [torch.empty(1, height, width, device="cpu")])
        return params["top"], params["left"], params["height"], params["width"]
    for w, h in lengths(transform, height * width):
        if 0 < w <= width and 0 < h <= height:
            return *two_below(height - h + 1, width - w + 1), h, w
    ratio = width / height
    if ratio < min(transform.ratio):
        w, h = width, round(width / min(transform.ratio))
    elif ratio > max(transform.ratio):
        w, h = round(height * max(transform.ratio)), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def lengths(transform: Any, area: int) -> Iterator[tuple[int, int]]:
    """The sides of up to ten parts of an area, each of a share and a ratio that are drawn."""
    buffer = buffer_of(1)
    low, high = log_ratio(transform)
    for _ in range(10):
        target = area * buffer.uniform_(*transform.scale).item()
        ratio = buffer.uniform_(low, high).exp_().item()
        yield round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))


def log_ratio(transform: Any) -> tuple[float, float]:
    """Bounds of the logarithm of a RandomResizedCrop's or RandomErasing's ratio."""
    own = getattr(transform, "_log_ratio", None)
    if own is None or own.dtype == torch.float32:
        return logarithms(*transform.ratio)
    low, high = map(single, own.tolist())
    return low, high


@lru_cache
def logarithms(low: float, high: float) -> tuple[float, float]:
    """In float32, as torch has them."""
    first, second = torch.log(torch.tensor((low, high), dtype=torch.float32, device="cpu")).tolist()
    return first, second


def as_v2(transform: Any) -> Any:
    """A RandomResizedCrop or RandomErasing of v1 as one of v2; they draw alike."""
    if isinstance(transform, v2.Transform):
        return transform
    if isinstance(transform, v1.RandomErasing):
        return v2.RandomErasing(transform.p, transform.scale, transform.ratio, transform.value)
    return v2.RandomResizedCrop(transform.size, transform.scale, transform.ratio)


def sides(padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a padding argument: a number, (left and right, top and bottom), or all four."""
    given = [padding or 0] if isinstance(padding, int | None) else list(padding)
    if len(given) == 4:
        left, top, right, bottom = given
        return left, top, right, bottom
    across, down = given[0], given[-1]
    return across, down, across, down


def sides_of_crop(transform: Any) -> tuple[int, int, int, int]:
    """The same of a RandomCrop; v2 keeps (left, right, top, bottom)."""
    if isinstance(transform, v2.Transform) and transform.padding:
        left, right, top, bottom = transform.padding
        return left, top, right, bottom
    return sides(transform.padding)


def sides_around(transform: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom): by how much a RandomCrop pads an image of a size (rows, columns)."""
    left, top, right, bottom = sides_of_crop(transform)
    if transform.pad_if_needed:
        rows, columns = transform.size
        more = max(columns - size[1] - left - right, 0)
        left, right = left + more, right + more
        more = max(rows - size[0] - top - bottom, 0)
        top, bottom = top + more, bottom + more
    return left, top, right, bottom


def random_crop(transform: Any, size: tuple[int, int], limited: bool) -> Window:
    """Where :class:`RandomCrop` cuts, against the image without its padding: parts may lie outside."""
    new = isinstance(transform, v2.Transform)
    left, top, right, bottom = sides_around(transform, size)
    limited = limited and transform.padding_mode in ("reflect", "symmetric")
    rows, columns = transform.size
    if limited and not new:  # v1 pads before it looks at the size.
        check_padding((left, top, right, bottom), size, transform.padding_mode)
    height, width = size[0] + top + bottom, size[1] + left + right
    if height < rows or width < columns:
        padded = "padded " if transform.padding is not None else ""
        raise InputShapeError(
            f"Required crop size {(rows, columns)} is larger than {padded}input image size {(height, width)}. "
            "Pass pad_if_needed=True, or resize before."
        )
    # v1 draws neither number where the whole image is taken, v2 leaves out each that can only be 0.
    skip = new or (height == rows and width == columns)
    y = 0 if skip and height == rows else below(height - rows + 1)
    x = 0 if skip and width == columns else below(width - columns + 1)
    if limited and new:
        check_padding((left, top, right, bottom), size, transform.padding_mode)
    return y - top, x - left, rows, columns


WINDOWS: dict[type, Callable[[Any, tuple[int, int], bool], Window]] = {
    v1.RandomResizedCrop: resized_crop,
    v2.RandomResizedCrop: resized_crop,
    v1.RandomCrop: random_crop,
    v2.RandomCrop: random_crop,
}
"""Transforms that draw the part of the image to use: from the transform, (rows, columns), and whether padding may
mirror no more than the image has, as on tensors."""


def permutation(transform: Any, shape: Shape) -> Outcome:
    return (("order", tuple(torch.randperm(shape[0]).tolist())),)


def value_of(transform: Any) -> tuple[float, ...] | None:
    """What :class:`RandomErasing` writes, one number or one a channel; None: anything else."""
    value = transform.value if isinstance(transform.value, list | tuple) else [transform.value]
    return tuple(float(v) for v in value) if all(isinstance(v, int | float) for v in value) else None


def writes_noise(transform: Any) -> bool:
    """Whether :class:`RandomErasing` writes noise; v2 keeps None for it."""
    return transform.value is None or transform.value == "random"


def erasing(transform: Any, shape: Shape) -> Outcome:
    """Which part :class:`RandomErasing` overwrites: of up to ten tries, the first that is smaller than the image.

    Noise is drawn before the place of that part.
    """
    channels, height, width = shape
    value: Any = value_of(transform) or ()
    noisy = writes_noise(transform)
    if not toss((single(transform.p),))[0]:
        return False
    if not noisy:
        check_value(value, channels)
    if not usual():
        drawn = v2.RandomErasing.make_params(as_v2(transform), [torch.empty(shape, device="cpu")])
        value = Noise(drawn["v"], None) if noisy else value
        return tuple((drawn | {"v": None if drawn["v"] is None else value}).items())
    found: tuple[Any, ...] = 0, 0, height, width, None
    for h, w in lengths(transform, height * width):
        if h < height and w < width:
            value = Noise.drawn((channels, h, w)) if noisy else value
            found = *two_below(height - h + 1, width - w + 1), h, w, value
            break
    return tuple(zip("ijhwv", found, strict=True))


ERASING = (v1.RandomErasing, v2.RandomErasing)
PARAMS: dict[type, Callable[[Any, Shape], Outcome]] = {
    v2.RandomChannelPermutation: permutation,
    **dict.fromkeys(ERASING, erasing),
}
"""Transforms that draw params for their layer: from the transform and the shape (C, H, W) of the image."""


@contextmanager
def visible() -> Iterator[None]:
    """Draw where torch sees it, as torchvision does."""
    before, BUFFERS.visible = BUFFERS.visible, True
    try:
        yield
    finally:
        BUFFERS.visible = before


@contextmanager
def local(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from a generator of one's own; torch's global one is left as it was."""
    if generator is None:
        yield
        return
    if not isinstance(generator, torch.Generator):
        raise PipelineTypeError(
            f"Expected generator to be a torch.Generator, got {type(generator).__name__}. "
            "Make one of a seed with torch.Generator().manual_seed(seed)."
        )
    if generator.device.type != "cpu":
        raise PipelineValueError(f"Expected a generator of the CPU, got one of {generator.device}.")
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
