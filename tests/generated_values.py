"""What the sources of generated cases name: images of every kind, samples, transforms of the user's own."""

import collections
import dataclasses
import io
import random
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

MODULES = (collections, random, np, torch, v1, Image, nn, tv_tensors, v2)
"""Of which sources speak, by the names that they have here."""


class Subclass(Tensor):
    """A tensor of a class of the user's."""


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclasses.dataclass
class Record:
    image: Any
    label: Any


class Views:
    """Several views of one image, as training by contrast takes them: it has ``transforms``, and is no Compose."""

    def __init__(self, *transforms: Any) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> list[Any]:
        return [transform(image) for transform in self.transforms]


class Resized(v2.Resize):
    """A subclass that overrides nothing."""


class Cropped(v2.RandomCrop):
    """A subclass that draws in its own way."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {**super().make_params(flat_inputs), "top": 0, "left": 0}


class Halved(v2.Transform):
    """A transform of the user's own."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return v2.functional.resize(inpt, [4, 3])


def hooked(transform: Any) -> Any:
    """With a hook that changes what it gives."""
    transform.register_forward_hook(lambda module, inputs, output: v2.functional.horizontal_flip(output))
    return transform


def redrawn(transform: Any) -> Any:
    """With a method of the instance replaced."""
    transform.transform = lambda inpt, params: v2.functional.vertical_flip(inpt)
    return transform


def tensor(shape: tuple[int, ...], dtype: torch.dtype = torch.uint8, fill: str = "random", key: int = 0) -> Tensor:
    """A tensor of values that depend on ``key`` alone."""
    generator = torch.Generator().manual_seed(key)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if dtype.is_complex:
        return torch.rand(shape, generator=generator).to(dtype)
    if dtype.is_floating_point:
        made = torch.rand(shape, generator=generator).to(dtype)
        special = {"extreme": (0.0, 1.0), "nan": (float("nan"), 0.5), "inf": (float("inf"), -float("inf"), 0.25)}
        special["wild"] = (-3.0, 1e4, 1e-30)
    else:
        limits = torch.iinfo(dtype)
        # torch's generator knows no full range of 64 bits.
        low, high = max(limits.min, -(2**62)), min(limits.max, 2**62)
        made = torch.randint(low, high + 1 if high < 2**62 else high, shape, generator=generator).to(dtype)
        special = {"extreme": (limits.min, limits.max), "small": (0, 1, 255)}
    if fill == "constant":
        made = torch.full(shape, 1 if dtype.is_floating_point else 77).to(dtype)
    if fill in special:
        among = torch.tensor(special[fill]).to(dtype)
        chosen = among[torch.randint(0, len(among), shape, generator=generator)]
        made = torch.where(torch.rand(shape, generator=generator) < 0.3, chosen, made) if fill != "extreme" else chosen
    return made


def laid(image: Tensor, layout: str) -> Tensor:
    """The same values in memory that is laid out otherwise."""
    if layout == "channels_last" and image.ndim == 4:
        return image.contiguous(memory_format=torch.channels_last)
    if layout == "interleaved" and image.ndim >= 3:
        return image.movedim(-3, -1).contiguous().movedim(-1, -3)
    if layout == "transposed":
        return image.mT.contiguous().mT if image.ndim >= 2 else image
    if layout == "strided":
        wide = image.new_zeros((*image.shape[:-1], 2 * image.shape[-1]))
        wide[..., ::2] = image
        return wide[..., ::2]
    if layout == "cropped" and image.ndim >= 2:
        large = image.new_zeros((*image.shape[:-2], image.shape[-2] + 3, image.shape[-1] + 5))
        large[..., 1 : 1 + image.shape[-2], 2 : 2 + image.shape[-1]] = image
        return large[..., 1 : 1 + image.shape[-2], 2 : 2 + image.shape[-1]]
    if layout == "expanded" and image.ndim and image.shape[0]:
        return image[:1].expand(image.shape)
    if layout == "every other" and image.ndim:
        return torch.stack([image, image], 1).flatten(0, 1)[::2]
    return image


def array(shape: tuple[int, ...], dtype: Any = np.uint8, layout: str = "", key: int = 0) -> np.ndarray:
    """An array of values that depend on ``key`` alone."""
    rng, dtype = np.random.RandomState(key), np.dtype(dtype)
    if dtype.kind == "f":
        made = rng.rand(*shape).astype(dtype)
    elif dtype.kind == "b":
        made = rng.rand(*shape) < 0.5
    else:
        limits = np.iinfo(dtype)
        made = rng.randint(max(limits.min, -(2**31)), min(limits.max, 2**31), shape, dtype=np.int64).astype(dtype)
    made = np.asarray(made).reshape(shape)
    if layout == "read-only":
        made.flags.writeable = False
    if layout == "fortran":
        return np.asfortranarray(made)
    if layout == "mirrored":
        return np.ascontiguousarray(made[:, ::-1])[:, ::-1] if made.ndim > 1 else made
    if layout == "upside down":
        return np.ascontiguousarray(made[::-1])[::-1]
    if layout == "expanded":
        return np.broadcast_to(made[:1], shape)
    if layout == "strided":
        return np.repeat(made, 2, 0)[::2]
    return made


def pil(mode: str, size: tuple[int, int], key: int = 0, **info: Any) -> Image.Image:
    """A PIL image of a mode, (width, height); ``info``: what it knows of its file."""
    w, h = size
    pixels = np.random.RandomState(key).randint(0, 256, (h, w, 4), dtype=np.uint8)
    if mode == "F":
        image = Image.fromarray((pixels[..., 0] / 255).astype(np.float32))
    elif mode == "I":
        image = Image.fromarray(pixels[..., 0].astype(np.int32) * 257)
    elif mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(pixels[..., 0], "L").convert("P")
        image.putpalette(list(pixels.flat)[:48] * 16)
    else:
        bands = {"1": "L", "LA": "LA", "La": "La", "PA": "LA"}.get(mode, mode)
        count = len(Image.new(bands, (1, 1)).getbands())
        image = Image.merge(bands, [Image.fromarray(np.ascontiguousarray(pixels[..., k])) for k in range(count)])
        image = image.convert(mode) if bands != mode else image
    image.info.update(info)
    return image


def boxes(size: tuple[int, int], form: str = "XYXY", count: int = 2, dtype: torch.dtype = torch.float32) -> Any:
    """Boxes on a canvas (rows, columns)."""
    h, w = size
    found = torch.tensor([[0, 0, max(w // 2, 1), max(h // 2, 1)], [w // 3, h // 4, w, h]] * 2)[:count].to(dtype)
    return tv_tensors.BoundingBoxes(found.reshape(-1, 4), format=form, canvas_size=size)


def points(size: tuple[int, int]) -> Any:
    h, w = size
    return tv_tensors.KeyPoints(torch.tensor([[0.0, 0.0], [w / 2, h / 3]]), canvas_size=size)


def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    pil("RGB", size).save(file, "PNG")
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def every(compose: Any) -> list[Any]:
    """Each transform, those in containers too."""
    found = []
    for transform in getattr(compose, "transforms", compose if isinstance(compose, nn.Sequential) else ()):
        if hasattr(transform, "transforms") or isinstance(transform, nn.Sequential):
            found += every(transform)
        elif not isinstance(transform, type(len) | type(every) | type):
            found.append(transform)
    return found


def change(transform: Any, name: str) -> None:
    """An argument, where it lies."""
    value = getattr(transform, name, None)
    if isinstance(value, list) and value:
        value[0] = value[0] + 2
    elif isinstance(value, Tensor | np.ndarray):
        value += 2


NAMES = {name: value for name, value in globals().items() if not name.startswith("_")}
"""By the name that a source has for it."""


def evaluated(source: str) -> Any:
    return eval(source, dict(NAMES))
