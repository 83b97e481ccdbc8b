"""The teachers of the shipped weights. Here alone in the trainer are torchvision's transforms named.

What is learned comes from the answers of :func:`opaque` callables, never from the transforms themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.choices import Kind
from learned_transforms.transforms.warp import affine

TEACHER_KINDS: dict[str, Kind] = {"uint8": "uint8", "pil": "pil", "uint8_v1": "uint8", "float32": "float32"}
"""By name of the teacher that weights are learned from: how it takes images."""

TEACHER_NAMES = {**TEACHER_KINDS, "pil_v2": "pil"}
"""The same, with the teachers that are compared only."""

RESIZES = {
    "resize_bilinear": ("bilinear", True),
    "resize_bicubic": ("bicubic", True),
    "resize_lanczos": ("lanczos", True),
    "resize_hamming": ("hamming", True),
    "resize_box": ("box", True),
    "resize_bilinear_plain": ("bilinear", False),
    "resize_bicubic_plain": ("bicubic", False),
    "nearest": ("nearest", True),
    "nearest_exact": ("nearest-exact", True),
}
"""By role: interpolation, and whether images are antialiased (where that makes a difference), as torchvision has it."""

PILLOW = ("resize_bilinear", "resize_bicubic", "resize_lanczos", "resize_hamming", "resize_box", "nearest")
TENSORS = (
    "resize_bilinear",
    "resize_bicubic",
    "resize_lanczos",
    "resize_bilinear_plain",
    "resize_bicubic_plain",
    "nearest",
    "nearest_exact",
)
TAKEN = {
    "pil": PILLOW,
    "uint8": TENSORS,
    "uint8_v1": tuple(role for role in TENSORS if role != "resize_lanczos"),
    "float32": TENSORS,
}
"""Roles that a teacher has: Pillow always antialiases, and tensors know fewer interpolations."""

COLORS = {
    "brightness": "adjust_brightness",
    "contrast": "adjust_contrast",
    "saturation": "adjust_saturation",
    "sharpness": "adjust_sharpness",
    "hue": "adjust_hue",
    "autocontrast": "autocontrast",
    "equalize": "equalize",
    "gaussian_blur": "gaussian_blur",
}
"""By role: torchvision's function behind a layer of color."""

TINTED = {name: tuple(r for r in COLORS if name != "float32" or r != "equalize") for name in TEACHER_KINDS}
"""Roles of color that a teacher has: there is no histogram of floats."""

WARP_ROLES = {"warp_nearest": "nearest", "warp_bilinear": "bilinear", "warp_bicubic": "bicubic"}
"""By role: the interpolation of a warp."""

WARPED = {name: tuple(WARP_ROLES)[: 3 if name == "pil" else 2] for name in TEACHER_KINDS}
"""Roles of warps that a teacher has."""

INT32 = 2**30
"""What stands for 1 in images of 32-bit integers."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, for its evaluation pipeline."""


def api_of(name: str) -> Any:
    """``uint8``, ``float32`` and ``pil_v2`` are v2, ``pil`` and ``uint8_v1`` are v1."""
    return v1 if name in ("pil", "uint8_v1") else v2


def to_float(name: str) -> list[Any]:
    """Return the end of each pipeline: levels to floats in [0, 1]."""
    ends: dict[str, list[Any]] = {
        "uint8": [v2.ToDtype(torch.float32, scale=True)],
        "pil": [v1.ToTensor()],
        "uint8_v1": [v1.ConvertImageDtype(torch.float32)],
        "float32": [v2.ToDtype(torch.float32, scale=True)],
        "pil_v2": [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)],
    }
    return ends[name]


def seed_pipeline(name: str, flips: bool = True) -> list[Any]:
    """Resize, both flips (none in the seed's twin), grayscale, float; ``pil_v2`` takes tensors as well."""
    api = api_of(name)
    turned = [api.RandomHorizontalFlip(p=1), api.RandomVerticalFlip(p=1)] if flips else []
    return [api.Resize((28, 28), antialias=True), *turned, api.Grayscale(1), *to_float(name)]


def evaluation_pipeline(name: str) -> list[Any]:
    """ImageNet's: resize to 256, crop 224, float, normalize."""
    api = api_of(name)
    return [api.Resize(256, antialias=True), api.CenterCrop(224), *to_float(name), api.Normalize(MEAN, STD)]


def resize(name: str, role: str, size: Sequence[int]) -> Any:
    """torchvision's transform behind a resizing layer, to (rows, columns), or (length of the shorter side,)."""
    interpolation, antialias = RESIZES[role]
    api = api_of(name)
    return api.Resize(tuple(size), interpolation=api.InterpolationMode(interpolation), antialias=antialias)


def color(name: str, role: str) -> Callable[..., Any]:
    """torchvision's function of color: an image, and what its layer takes (factor; sigma, size), to an image."""
    function = getattr(api_of(name).functional, COLORS[role])

    def teacher(image: Any, *params: Any) -> Any:
        return function(image, *params)

    def blurred(image: Any, sigma: float, size: Sequence[int]) -> Any:
        return function(image, [size[1], size[0]], [sigma, sigma])

    return blurred if role == "gaussian_blur" else teacher


def resize_float64(role: str, image: Tensor, size: int) -> Tensor:
    """Resize to ``size`` x ``size`` on float64 tensors ``[C, H, W]``, which torch rounds nowhere."""
    made: Tensor = resize("float32", role, (size, size))(image)
    return made


def resize_int32(role: str, image: Tensor, size: int) -> Tensor:
    """Return the same in Pillow on images of 32-bit integers, which keep nine digits: float64 ``[1, H, W]`` of 0 to
    1."""
    made = np.array(resize("pil", role, (size, size))(whole_numbers(image)))
    return torch.from_numpy(made).double()[None] / INT32


class Move(NamedTuple):
    """An affine map.

    Attributes:
        angle: in degrees.
        scale: how much larger all becomes.
        shear: along x and y, in degrees.
        center: (x, y), in pixels, which stays where it is.
    """

    angle: float
    scale: float
    shear: tuple[float, float]
    center: tuple[float, float]


def warp_teacher(name: str, role: str, move: Move, fill: Sequence[float] = (0,)) -> Any:
    """torchvision's transform behind a warp, which draws nothing but this ``move``."""
    api = api_of(name)
    angle, scale, (x, y), center = move
    return api.RandomAffine(
        (angle, angle),
        scale=(scale, scale),
        shear=(x, x, y, y),
        interpolation=api.InterpolationMode(WARP_ROLES[role]),
        fill=list(fill),
        center=list(center),
    )


def matrix_of(name: str, move: Move, size: tuple[int, int]) -> tuple[float, ...]:
    """Return the matrix of a move for images of ``size`` (rows, columns): the rule of torchvision's draws, given."""
    api = "v1" if api_of(name) is v1 else "v2"
    how = move.angle, (0, 0), move.scale, move.shear, size, TEACHER_KINDS[name], api, move.center
    return affine(*how).matrix


def warp_float64(role: str, image: Tensor, move: Move) -> Tensor:
    """Warp float64 tensors ``[1, H, W]``, which torch rounds nowhere."""
    made: Tensor = warp_teacher("float32", role, move)(image)
    return made


def warp_int32(role: str, image: Tensor, move: Move) -> Tensor:
    """Return the same in Pillow on images of 32-bit integers."""
    made = np.array(warp_teacher("pil", role, move)(whole_numbers(image)))
    return torch.from_numpy(made).double()[None] / INT32


def whole_numbers(image: Tensor) -> Image.Image:
    """Return an image ``[1, H, W]`` of 0 to 1 as 32-bit integers."""
    return Image.fromarray((image[0] * INT32).round().to(torch.int32).numpy())


def opaque(transforms: Sequence[Any]) -> Callable[[Any], Any]:
    """Return the transforms as one callable that shows nothing of them."""

    def teacher(image: Any) -> Any:
        for transform in transforms:
            image = transform(image)
        return image

    return teacher
