"""Inputs and pipelines as Python source, and the check of a case against torchvision: what test_generated.py draws from.

A case is text, so that a failure prints what reproduces it: ``check(Case("[v2.Resize(5)]", "tensor((3, 9, 7))"))``.
Run as a script, it tries many cases and lists the kinds of failures: ``python tests/generated.py SEED COUNT``.
"""

import collections
import collections.abc
import dataclasses
import io
import json
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision.transforms as v1
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.catalog import ROWS
from learned_transforms.containers import COMPOSES, CONTAINERS

Source = st.SearchStrategy[str]

CALLS = 3
"""In a row: the second and the third take ways that were prepared before."""

FLOATS = 1e-6
"""Of full range: what floats may differ by."""


class Difference(AssertionError):
    """What differs: a kind, and the particulars."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class Case(NamedTuple):
    """Source of a list of transforms (or of one Compose), of an input, and of a change between the calls.

    Attributes:
        several: the input is a tuple of arguments.
    """

    pipeline: str
    input: str
    change: str = ""
    several: bool = False
    seed: int = 0


# What the sources are made of.


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


NAMES = {name: value for name, value in globals().items() if not name.startswith("_")}


# Sources of arguments. ``call`` writes one call; what stands by name may be left out.


def call(name: str, *required: Source, **optional: Source) -> Source:
    return st.tuples(st.tuples(*required), st.fixed_dictionaries({}, optional=optional)).map(
        lambda drawn: f"{name}({', '.join([*drawn[0], *(f'{k}={v}' for k, v in drawn[1].items())])})"
    )


def among(*values: Any) -> Source:
    """One of some values, or sources where they are strings."""
    return st.sampled_from([value if isinstance(value, str) else repr(value) for value in values])


def scalar(*numbers: float) -> Source:
    """A number, now and then as NumPy or torch write it."""
    dtypes = ("int64", "int32", "uint8") if all(isinstance(n, int) for n in numbers) else ("float64", "float32")
    spelled = [f"np.{dtype}({n})" for n in numbers for dtype in dtypes] + [f"torch.tensor({n})" for n in numbers]
    return st.one_of(among(*numbers), among(*numbers), st.sampled_from(spelled))


def several(*groups: tuple[float, ...]) -> Source:
    """Numbers in some container."""
    forms = ("{0}", "{1}", "{0}", "{1}", "torch.tensor({1})", "np.array({1})", "np.array({1}, np.float32)")
    forms = (*forms, "[np.float64(x) for x in {0}]", "torch.tensor({1}).double()", "[torch.tensor(x) for x in {0}]")
    forms = (*forms, "collections.UserList({1})", "torch.Size([int(x) for x in {0}])", "(x for x in {0})")
    return st.tuples(st.sampled_from(groups), st.sampled_from(forms)).map(
        lambda drawn: drawn[1].format(tuple(drawn[0]), list(drawn[0]))
    )


def mostly(usual: Source, rare: Source) -> Source:
    return st.integers(0, 7).flatmap(lambda n: rare if n == 7 else usual)


FLAG = among(True, False)
CHANCE = mostly(among(0.0, 1.0, 0.5, 1), scalar(0.3, 0.7))
LENGTH = mostly(among(1, 5, 8, 17, 30), scalar(4, 9))
SIZE = mostly(among(1, 7, (5, 9), [8, 6], (12, 30), [9], (33, 4), 20), several((5, 9), (4,), (10, 3)))
MODES = ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "LANCZOS", "BOX", "HAMMING")
MODE = mostly(
    among(*(f"v2.InterpolationMode.{mode}" for mode in MODES[:4])),
    among(*(f"v2.InterpolationMode.{mode}" for mode in MODES), *range(4), "'bilinear'"),
)
FILL = mostly(
    among(0, 7, 255, 0.5, (1, 2, 3), [9], None),
    st.one_of(
        scalar(3, 200),
        several((1, 2, 3), (7,), (0.1, 0.2, 0.3)),
        among("{tv_tensors.Image: 3, tv_tensors.Mask: 1, 'others': 0}", "'random'", -1, 300),
    ),
)
PADDING = mostly(among(0, 2, (1, 3), [1, 2, 3, 4], 5), st.one_of(several((2, 1), (1, 2, 0, 3)), scalar(2)))
PADDING_MODE = among("'constant'", "'edge'", "'reflect'", "'symmetric'")
RANGE = mostly(among(0.4, (0.5, 1.5), [0.9, 1.1], 0), st.one_of(scalar(0.2), several((0.7, 1.2))))
HUE = mostly(among(0.1, (-0.2, 0.3), 0.5, 0), scalar(0.3))
MEAN = mostly(
    among([0.5], (0.485, 0.456, 0.406), (0.1, 0.2), [0.5, 0.5, 0.5, 0.5]),
    st.one_of(several((0.5,), (0.485, 0.456, 0.406)), scalar(0.5)),
)
STD = mostly(
    among([0.25], (0.229, 0.224, 0.225), (0.1, 0.2), [0.5, 0.5, 0.5, 0.5]),
    st.one_of(several((0.25,), (0.229, 0.224, 0.225), (0.5, 0, 0.5)), scalar(0.5)),
)
DTYPE = among(*(f"torch.{d}" for d in ("float32", "uint8", "float32", "float64", "float16", "int32", "uint16", "bool")))


def catalogued(api: str) -> list[Source]:
    """Transforms that layers stand for."""
    resized = {"interpolation": MODE, "antialias": among(True, False, None)}
    scaled = {"scale": among((0.3, 1.0), [0.08, 1]), "ratio": among((0.5, 2.0), (1, 1))}
    if api == "v2":
        resized["antialias"] = FLAG
    own = [
        call("v2.RandomChannelPermutation"),
        call("v2.RandomPhotometricDistort", p=CHANCE, brightness=among((0.8, 1.2)), hue=among((-0.1, 0.1))),
        call("v2.RGB"),
        call("v2.ToDtype", mostly(DTYPE, among("{tv_tensors.Image: torch.float32, 'others': None}")), scale=FLAG),
        call("v2.ToImage"),
        call("v2.ToPureTensor"),
        call("v2.Identity"),
    ]
    return [
        call(f"{api}.Resize", SIZE, **resized),
        call(f"{api}.Resize", LENGTH, max_size=mostly(among(None, 31, 40), scalar(31)), **resized),
        call(f"{api}.RandomResizedCrop", SIZE, **scaled, **resized),
        call(f"{api}.CenterCrop", SIZE),
        call(
            f"{api}.RandomCrop", SIZE, padding=PADDING, pad_if_needed=FLAG, fill=FILL, padding_mode=PADDING_MODE
        ),
        call(f"{api}.Pad", PADDING, fill=FILL, padding_mode=PADDING_MODE),
        call(f"{api}.RandomHorizontalFlip", p=CHANCE),
        call(f"{api}.RandomVerticalFlip", p=CHANCE),
        call(f"{api}.Grayscale", num_output_channels=mostly(among(1, 3), scalar(1, 3))),
        call(f"{api}.RandomGrayscale", p=CHANCE),
        call(f"{api}.RandomInvert", p=CHANCE),
        call(f"{api}.RandomPosterize", mostly(among(0, 3, 8), scalar(4)), p=CHANCE),
        call(f"{api}.RandomSolarize", mostly(among(0, 100, 0.5, 255), scalar(128, 7)), p=CHANCE),
        call(f"{api}.RandomAdjustSharpness", mostly(among(0, 0.5, 2), scalar(1.5)), p=CHANCE),
        call(f"{api}.RandomAutocontrast", p=CHANCE),
        call(f"{api}.RandomEqualize", p=CHANCE),
        call(f"{api}.ColorJitter", brightness=RANGE, contrast=RANGE, saturation=RANGE, hue=HUE),
        call(
            f"{api}.GaussianBlur",
            mostly(among(3, (5, 1), [3, 7]), st.one_of(several((3, 5)), scalar(3))),
            sigma=mostly(among(1.0, (0.1, 2.0), [0.5, 0.5]), st.one_of(scalar(0.8), several((0.3, 1.1)))),
        ),
        call(
            f"{api}.RandomErasing",
            p=CHANCE,
            scale=among((0.02, 0.33), (0.3, 1)),
            value=mostly(among(0, 7.5, "'random'", (1, 2, 3)), st.one_of(scalar(9), several((1, 2, 3)))),
            inplace=FLAG,
        ),
        call(f"{api}.LinearTransformation", among("torch.eye(12)", "torch.eye(48) * 2"), among("torch.zeros(12)")),
        call(f"{api}.FiveCrop", SIZE),
        call(f"{api}.TenCrop", SIZE, vertical_flip=FLAG),
        call(f"{api}.Normalize", MEAN, STD, inplace=FLAG),
        call(f"{api}.ToTensor"),
        call(f"{api}.ConvertImageDtype", DTYPE),
        call(f"{api}.PILToTensor"),
        call(f"{api}.ToPILImage", mode=among(None, "'RGB'", "'L'", "'RGBA'")),
        *(own if api == "v2" else []),
    ]


def uncatalogued(api: str) -> list[Source]:
    """Transforms of torchvision that no layer stands for."""
    warped = {"interpolation": among("v2.InterpolationMode.BILINEAR", "v2.InterpolationMode.NEAREST"), "fill": FILL}
    own = [
        call("v2.ScaleJitter", among((9, 12)), scale_range=among((0.5, 1.5))),
        call("v2.RandomShortestSize", among([7, 9]), max_size=among(20)),
        call("v2.RandomResize", among(5), among(9)),
        call("v2.RandomZoomOut", fill=FILL, p=CHANCE),
        call("v2.RandomIoUCrop"),
        call("v2.SanitizeBoundingBoxes", labels_getter=among("'default'", None)),
        call("v2.ClampBoundingBoxes"),
        call("v2.ConvertBoundingBoxFormat", among("'CXCYWH'", "'XYWH'")),
        call("v2.GaussianNoise", sigma=among(0.1)),
        call("v2.JPEG", among(50, (20, 90))),
        call("v2.UniformTemporalSubsample", among(2)),
    ]
    return [
        call(f"{api}.RandomRotation", among(30, (10, 20)), expand=FLAG, **warped),
        call(f"{api}.RandomAffine", among(10), translate=among((0.1, 0.2)), scale=among((0.8, 1.1)), **warped),
        call(f"{api}.RandomPerspective", p=CHANCE, **warped),
        call(f"{api}.ElasticTransform", alpha=among(5.0)),
        call(f"{api}.AutoAugment"),
        call(f"{api}.RandAugment", num_ops=among(1, 2)),
        call(f"{api}.TrivialAugmentWide"),
        call(f"{api}.AugMix", mixture_width=among(1, 2)),
        *(own if api == "v2" else []),
    ]


FOREIGN = (
    *("lambda x: x", "np.asarray", "np.array", "torch.flatten", "list", "str", "type", "len", "torch.as_tensor"),
    *("lambda x: x.convert('RGB')", "lambda x: x.convert('L')", "lambda x: x.convert('RGBA')", "lambda x: x.copy()"),
    *("lambda x: x.float()", "lambda x: x.numpy()", "lambda x: x.mean()", "lambda x: x.squeeze()", "lambda x: x[0]"),
    *("lambda x: x[..., ::2]", "lambda x: x.unsqueeze(0)", "lambda x: x / 255", "lambda x: (x, 3)", "lambda x: None"),
    *("lambda x: {'image': x, 'label': 3}", "lambda x: x.transpose(0, 1)", "lambda x: x.to(torch.float64)"),
    *("lambda x: x.add_(1)", "lambda x: x.size", "lambda x: x['image']", "lambda x: [x, x]", "tv_tensors.Image"),
    *("lambda x: x.requires_grad_()", "lambda x: x.rotate(90)", "lambda x: np.asarray(x).astype('float32')"),
    *("lambda x: random.random()", "lambda x: torch.stack(tuple(x))", "Image.fromarray", "tv_tensors.wrap"),
    *("lambda x: x.as_subclass(Subclass)", "v1.functional.hflip", "v2.functional.to_image", "nn.Identity()"),
)
"""Functions of the user's: they change types and shapes, or raise."""

ALTERED = (
    "Resized(5)",
    "Resized((9, 4))",
    "Cropped(4)",
    "Halved()",
    "hooked(v2.Resize(6))",
    "hooked(v1.Grayscale())",
    "redrawn(v2.RandomHorizontalFlip(1))",
    "redrawn(v2.Grayscale(3))",
    "Views(v2.RandomHorizontalFlip(), v2.Resize(5))",
    "Views(v1.ToTensor(), v1.Compose([v1.CenterCrop(4), v1.ToTensor()]))",
)


def transform(api: str) -> Source:
    """One transform: mostly of the catalogue."""
    known, other = st.one_of(catalogued(api)), st.one_of(uncatalogued(api))
    functions = st.one_of(st.sampled_from(FOREIGN), st.sampled_from([f"{api}.Lambda({f})" for f in FOREIGN]))

    def held(inner: Source) -> Source:
        many = st.lists(inner, min_size=1, max_size=3).map(", ".join)
        chances = among("[1, 0, 2]", "[0.2, 0.5]", "None", "[1]")
        return st.one_of(
            call(f"{api}.RandomApply", many.map("[{}]".format), p=CHANCE),
            call(f"{api}.RandomChoice", many.map("[{}]".format), p=chances),
            call(f"{api}.RandomOrder", many.map("[{}]".format)),
            call(f"{api}.Compose", many.map("[{}]".format)),
            many.map("nn.Sequential({})".format),
            call(f"{api}.RandomApply", many.map("nn.ModuleList([{}])".format)),
        )

    single = st.integers(0, 19).flatmap(
        lambda n: known if n < 13 else other if n < 15 else functions if n < 18 else st.sampled_from(ALTERED)
    )
    return st.integers(0, 9).flatmap(lambda n: single if n < 8 else held(st.one_of(known, single)))


def bracketed(api: str, steps: list[str], form: str) -> str:
    inner = ", ".join(steps)
    return {"Compose": f"{api}.Compose([{inner}])", "Sequential": f"nn.Sequential({inner})"}.get(form, f"[{inner}]")


def pipelines() -> Source:
    """Mostly of one api; some are a Compose or a Sequential already."""
    form = st.sampled_from(["list", "list", "Compose", "Sequential"])
    both = st.sampled_from(["v1", "v2", "v2"]).flatmap(
        lambda api: st.tuples(
            st.just(api), st.lists(mostly(transform(api), transform("v2")), min_size=1, max_size=5), form
        )
    )
    return both.map(lambda drawn: bracketed(*drawn))


# Sources of inputs.

SIZES = ((1, 1), (1, 9), (13, 1), (7, 11), (24, 33), (40, 40), (5, 60), (61, 4), (2, 2), (4, 4), (16, 16))
CHANNELS = (3, 3, 3, 1, 1, 2, 4, 5)
TORCH = [f"torch.{d}" for d in ("uint8", "int8", "int16", "int32", "int64", "uint16", "bool", "float16", "float32")]
TORCH += ["torch.float64", "torch.bfloat16", "torch.complex64"]
LAYOUTS = ("", "channels_last", "interleaved", "transposed", "strided", "cropped", "expanded", "every other")
FILLS = ("random", "random", "extreme", "constant", "nan", "inf", "wild", "small")
PIL_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "La", "RGBa", "I;16")
INFOS = ("", ", dpi=(72, 72)", ", transparency=0", ", transparency=(1, 2, 3)", ", comment=b'x'")


@st.composite
def tensors(draw: Any, size: tuple[int, int] | None = None, kind: str | None = None) -> str:
    """A tensor, or a subclass of it."""
    h, w = size or draw(st.sampled_from(SIZES))
    c = draw(st.sampled_from(CHANNELS))
    shape: tuple[int, ...] = draw(
        st.sampled_from([(c, h, w)] * 8 + [(2, c, h, w), (1, c, h, w), (2, 2, c, h, w), (h, w), (w,), ()])
    )
    if size is None and draw(st.integers(0, 15)) == 15:
        shape = draw(st.sampled_from([(0, c, h, w), (c, 0, w), (c, h, 0), (0, h, w), (0, 0, 0)]))
    dtype = draw(st.one_of(st.sampled_from(["torch.uint8"]), st.sampled_from(["torch.float32"]), st.sampled_from(TORCH)))
    fill = draw(st.sampled_from(FILLS))
    made = f"tensor({shape}, {dtype}" + (f", {fill!r})" if fill != "random" else ")")
    layout = draw(st.sampled_from(("",) * 6 + LAYOUTS))
    made = f"laid({made}, {layout!r})" if layout else made
    kind = kind or draw(st.sampled_from(["", "", "", "Image", "Image", "Video", "Mask", "Subclass", "nn", "grad"]))
    if kind in ("Image", "Video", "Mask"):
        return f"tv_tensors.{kind}({made})"
    if kind == "Subclass":
        return f"{made}.as_subclass(Subclass)"
    if kind == "nn":
        return f"nn.Parameter({made}, requires_grad={'float' in dtype and draw(st.booleans())})"
    return f"{made}.requires_grad_()" if kind == "grad" and "float" in dtype else made


@st.composite
def arrays(draw: Any) -> str:
    h, w = draw(st.sampled_from(SIZES))
    c = draw(st.sampled_from(CHANNELS))
    shape = draw(st.sampled_from([(h, w, c)] * 5 + [(h, w), (c, h, w), (2, h, w, c), (h, 0, 3), (w,)]))
    others = [f"np.{d}" for d in ("uint8", "float32", "float64", "uint16", "int16", "int32", "int64", "bool_", "int8")]
    dtype = draw(st.one_of(st.just("np.uint8"), st.sampled_from(others)))
    layout = draw(st.sampled_from(("", "", "read-only", "fortran", "mirrored", "upside down", "expanded", "strided")))
    return f"array({shape}, {dtype}" + (f", {layout!r})" if layout else ")")


@st.composite
def pictures(draw: Any, size: tuple[int, int] | None = None) -> str:
    h, w = size or draw(st.sampled_from(SIZES))
    mode = draw(st.one_of(st.sampled_from(["RGB", "RGB", "L"]), st.sampled_from(PIL_MODES)))
    return f"pil({mode!r}, {(w, h)}{draw(st.sampled_from(('',) * 4 + INFOS))})"


@st.composite
def samples(draw: Any) -> str:
    """Several leaves in a container."""
    size = draw(st.sampled_from(SIZES))
    image = st.one_of(tensors(size), tensors(size, "Image"), pictures(size), tensors())
    beside = st.sampled_from(
        [
            f"boxes({size})",
            f"boxes({size}, 'XYWH', 1)",
            f"boxes({size}, 'CXCYWH', 2, torch.int64)",
            f"boxes({size}, 'XYXY', 0)",
            f"points({size})",
            f"tv_tensors.Mask(tensor({size}))",
            f"tv_tensors.Mask(tensor((2, *{size}), torch.bool))",
            f"tv_tensors.Video(tensor((2, 3, *{size})))",
            *("3", "2.5", "'a string'", "None", "torch.tensor([1, 2])", "np.array([1.5, 2])", "True", "b'x'"),
            *("array((4, 5, 3))", "torch.tensor(7)", "np.float32(2)", "object", "[]", "{}"),
        ]
    )
    leaves = draw(st.lists(image, min_size=draw(st.sampled_from([0, 1, 1, 1])), max_size=2))
    leaves += draw(st.lists(beside, min_size=1, max_size=3))
    leaves = draw(st.permutations(leaves))
    form = draw(st.sampled_from(["tuple", "dict", "dict", "list", "Pair", "Record", "OrderedDict", "nested"]))
    named = ", ".join(f"{name!r}: {leaf}" for name, leaf in zip(("a", "b", "labels", "d", "e"), leaves, strict=False))
    if form == "tuple":
        return f"({', '.join(leaves)},)"
    if form == "list":
        return f"[{', '.join(leaves)}]"
    if form in ("Pair", "Record"):
        return f"{form}({leaves[0]}, {leaves[-1]})"
    if form == "OrderedDict":
        return f"collections.OrderedDict({{{named}}})"
    return f"{{{named}}}" if form == "dict" else f"({leaves[0]}, {{{named}}})"


OTHERS = among("None", "'no/such/path.png'", 3, 2.5, "png((6, 5))", "object()", "[]", "()", "{}", "torch.device('cpu')")


def single() -> Source:
    return st.integers(0, 19).flatmap(
        lambda n: tensors() if n < 8 else pictures() if n < 13 else arrays() if n < 16 else samples() if n < 19 else OTHERS
    )


CHANGES = (
    "for t in every(compose): t.p = 1.0",
    "for t in every(compose): t.size = [6, 5]",
    "for t in every(compose): t.mean, t.std = [0.1], [0.3]",
    "for t in every(compose): t.padding = [1, 1, 1, 1]",
    "for t in every(compose): t.antialias = False",
    "for t in every(compose): t.factor = t.sharpness_factor = 1.7",
    "for t in every(compose): change(t, 'mean')",
    "for t in every(compose): change(t, 'sigma')",
    "for t in every(compose): change(t, 'size')",
    "for t in every(compose): change(t, 'transformation_matrix')",
    "every(compose)[-1].forward = lambda *x: 'replaced'",
    "compose.transforms.append(v2.Grayscale())",
    "compose.transforms[-1] = v2.RandomHorizontalFlip(1.0)",
    "del compose.transforms[0]",
)
"""Made between the first call and the second."""


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


CHANGING = {"every": every, "change": change}


@st.composite
def cases(draw: Any) -> Case:
    change = draw(st.sampled_from(("",) * 40 + CHANGES))
    pipeline, key = draw(pipelines()), draw(st.integers(0, 3))
    if draw(st.integers(0, 24)) == 24 and "v1." not in pipeline:
        inner = draw(st.lists(st.one_of(single(), samples()), min_size=2, max_size=3))
        return Case(pipeline, f"({', '.join(inner)})", change, True, key)
    return Case(pipeline, draw(single()), change, False, key)


# The deliberate extensions of DESIGN.md, and what is certified as `rounding`: all that may differ.

CONVERTERS = (v1.ToTensor, v2.ToTensor, v2.ToImage, v1.ToPILImage, v2.ToPILImage, v1.PILToTensor, v2.PILToTensor)
KNOWN = (*ROWS, *CONTAINERS)


def is_picture(value: Any) -> bool:
    """A lone uint8 array [H, W, C] or [H, W]: transformed by ours, refused or handed back by torchvision."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3)


def on_array(transform: Any, value: np.ndarray) -> Any:
    """What a transform of the catalogue makes of a lone uint8 array: tensor arithmetic, an array again."""
    channels_first = torch.from_numpy(value.copy() if value.ndim == 3 else value[..., None].copy()).permute(2, 0, 1)
    return tree_map(lambda x: x.movedim(-3, -1).numpy() if type(x) is Tensor else x, transform(channels_first))


def flat(transforms: Any) -> Iterator[Any]:
    for transform in transforms:
        if type(transform) in COMPOSES:
            yield from flat(transform.transforms)
        elif type(transform) is nn.Sequential:
            yield from flat(transform)
        else:
            yield transform


class Expected:
    """torchvision's Compose, and on lone uint8 arrays what ours promises."""

    def __init__(self, pipeline: Any, api: Any) -> None:
        self.compose = api.Compose(pipeline) if isinstance(pipeline, list) else pipeline

    def __call__(self, *inputs: Any) -> Any:
        if len(inputs) != 1 or not is_picture(inputs[0]):
            return self.compose(*inputs)
        value = inputs[0]
        for transform in flat([self.compose]):
            array = is_picture(value) and type(transform) in KNOWN and type(transform) not in CONVERTERS
            value = on_array(transform, value) if array else transform(value)
        return value


ROUNDED = r"v1\.(Resize|RandomResizedCrop)\(|GaussianBlur\("
KEEPING = r"Flip|Crop|Resize|Pad|Compose|Sequential|Apply|Identity|ToTensor|ToImage|ToPILImage|ToPureTensor|Convert"
KEEPING += r"|Erasing|array|tensor|ModuleList|UserList|Size|float\d*|u?int\d*"


def levels(case: Case) -> float | None:
    """How many levels a value may differ by; None: any, since what is rounded goes through a transform that stretches."""
    found = re.search(ROUNDED, case.pipeline)
    if found is None or ("uint8" not in case.input and "(" not in case.input):
        return 0
    names = re.findall(r"(\w+)\(", case.pipeline[found.end() :])
    return 1 if all(re.search(KEEPING, name) for name in names) else None


# The check.


def seeded(key: int) -> None:
    torch.manual_seed(key)
    random.seed(key)
    np.random.seed(key)


def states() -> tuple[Any, ...]:
    return bytes(torch.get_rng_state().numpy()), random.getstate(), str(np.random.get_state())


@dataclasses.dataclass
class Outcome:
    """What one call gave or raised, the random state behind it, and its inputs as it left them."""

    given: tuple[Any, ...]
    value: Any = None
    raised: BaseException | None = None
    states: tuple[Any, ...] = ()


def evaluated(source: str) -> Any:
    return eval(source, dict(NAMES))


def outcomes(case: Case, wrap: Callable[[Any], Any], named: Callable[[Any], Any]) -> list[Outcome]:
    """Of each call in a row; a pipeline that cannot be made has one outcome."""
    seeded(case.seed)
    try:
        compose = wrap(evaluated(case.pipeline))
    except Exception as error:
        return [Outcome((), raised=error)]
    found = []
    for number in range(CALLS):
        inputs = evaluated(case.input)
        one = Outcome(inputs if case.several else (inputs,))
        seeded(case.seed + number)
        try:
            one.value = compose(*one.given)
        except Exception as error:
            one.raised = error
        one.states = states()
        found.append(one)
        if number == 0 and case.change:
            try:
                exec(case.change, {**NAMES, **CHANGING, "compose": named(compose)})
            except Exception:
                break
    return found


def check(case: Case) -> None:
    """Compare each call with torchvision's.

    Raises:
        Difference: in anything but what is allowed.
    """
    try:
        api = v2 if "v2." in evaluated_source(case) else v1
        evaluated(case.pipeline), evaluated(case.input)
    except Exception:
        return  # torchvision's constructors refuse the arguments.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = outcomes(case, lambda pipeline: Expected(pipeline, api), lambda made: made.compose)
        found = outcomes(case, lt.LearnedCompose, lambda made: made)
    for number, (ours, theirs) in enumerate(zip(found, wanted, strict=False), 1):
        compare_outcomes(ours, theirs, levels(case), f"call {number}")
    if len(found) != len(wanted):
        raise Difference("length", f"{len(found)} calls, of {len(wanted)}: {found[-1].raised!r}")


def evaluated_source(case: Case) -> str:
    return case.pipeline


def compare_outcomes(ours: Outcome, theirs: Outcome, levels: float | None, where: str) -> None:
    if theirs.raised is not None:
        wanted = f"torchvision raises {told(theirs.raised)}"
        if ours.raised is None:
            raise Difference("no exception", f"{where}: {wanted}; ours gives {described(ours.value)}")
        if not isinstance(ours.raised, type(theirs.raised)):
            raise Difference("other exception", f"{where}: {wanted}; ours {told(ours.raised)}")
        return
    if ours.raised is not None:
        raise Difference("raises", f"{where}: {told(ours.raised)}; torchvision gives {described(theirs.value)}")
    compare(ours.value, theirs.value, levels, where)
    for name, one, other in zip(("torch", "random", "numpy"), ours.states, theirs.states, strict=True):
        if one != other:
            raise Difference("random state", f"{where}: of {name}")
    try:
        compare(ours.given, theirs.given, levels, where)
    except Difference as error:
        raise Difference("input modified", str(error)) from error
    compare_storage(ours, theirs, where)


def compare(found: Any, expected: Any, levels: float | None, where: str) -> None:
    """Two results: types, dtypes, shapes, values and what goes with them, through containers."""
    if type(found) is not type(expected):
        raise Difference("type", f"{where}: {described(found)}, expected {described(expected)}")
    if isinstance(expected, Tensor):
        compare_tensors(found, expected, levels, where)
    elif isinstance(expected, np.ndarray):
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            raise Difference("dtype or shape", f"{where}: {described(found)}, expected {described(expected)}")
        if expected.dtype.kind == "O":
            return
        compare_values(torch.from_numpy(found.copy()), torch.from_numpy(expected.copy()), levels, where)
    elif isinstance(expected, Image.Image):
        if (found.mode, found.size) != (expected.mode, expected.size):
            raise Difference("mode or size", f"{where}: {described(found)}, expected {described(expected)}")
        compare_values(torch.from_numpy(np.array(found)), torch.from_numpy(np.array(expected)), levels, where)
        if found.info != expected.info or found.getpalette() != expected.getpalette():
            raise Difference("info", f"{where}: {found.info}, expected {expected.info}")
    elif dataclasses.is_dataclass(expected) and not isinstance(expected, type):
        compare(vars(found), vars(expected), levels, where)
    elif isinstance(expected, collections.abc.Mapping):
        if list(found) != list(expected):
            raise Difference("keys", f"{where}: {list(found)}, expected {list(expected)}")
        for key in expected:
            compare(found[key], expected[key], levels, f"{where}[{key!r}]")
    elif isinstance(expected, list | tuple):
        if len(found) != len(expected):
            raise Difference("length", f"{where}: {len(found)}, expected {len(expected)}")
        for position, (one, other) in enumerate(zip(found, expected, strict=True)):
            compare(one, other, levels, f"{where}[{position}]")
    elif type(expected) is float:
        compare_values(torch.tensor([found]), torch.tensor([expected]), levels, where)
    elif type(expected).__eq__ is not object.__eq__ and found != expected:
        raise Difference("other value", f"{where}: {found!r}, expected {expected!r}"[:300])


def compare_tensors(found: Tensor, expected: Tensor, levels: float | None, where: str) -> None:
    if (found.dtype, found.shape, found.device) != (expected.dtype, expected.shape, expected.device):
        raise Difference("dtype or shape", f"{where}: {described(found)}, expected {described(expected)}")
    if found.requires_grad != expected.requires_grad:
        raise Difference("requires_grad", f"{where}: {found.requires_grad}, expected {expected.requires_grad}")
    for name in ("format", "canvas_size", "clamping_mode"):
        if getattr(found, name, None) != getattr(expected, name, None):
            raise Difference(name, f"{where}: {getattr(found, name)}, expected {getattr(expected, name)}")
    plain = found.detach().as_subclass(Tensor), expected.detach().as_subclass(Tensor)
    compare_values(*plain, levels, where)
    if layout(found) != layout(expected):
        raise Difference("layout", f"{where}: strides {found.stride()}, expected {expected.stride()}")


def layout(image: Tensor) -> tuple[bool, bool]:
    """Whether it is contiguous, and whether its channels lie last."""
    last = image.ndim == 4 and image.is_contiguous(memory_format=torch.channels_last)
    return image.is_contiguous(), last


def compare_values(found: Tensor, expected: Tensor, levels: float | None, where: str) -> None:
    if levels is None or not expected.numel():
        return
    if expected.dtype.is_complex:
        found, expected = torch.view_as_real(found), torch.view_as_real(expected)
    floating = expected.is_floating_point()
    if not floating and levels == 0:
        if not torch.equal(found, expected):
            far = (found.double() - expected.double()).abs()
            raise Difference("values", f"{where}: {int((far > 0).sum())} of {far.numel()} off, by {far.max():g}")
        return
    found, expected = found.double(), expected.double()
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        raise Difference("values, not finite", f"{where}: {int((finite != found.isfinite()).sum())} differ")
    if not torch.equal(found[~finite].nan_to_num(3), expected[~finite].nan_to_num(3)):
        raise Difference("values, not finite", where)
    if finite.any():
        scale = max(1.0, float(expected[finite].abs().max()))
        far = float((found - expected)[finite].abs().max())
        if far > (FLOATS * scale + levels / 255 * scale if floating else levels):
            raise Difference("values", f"{where}: off by {far:g}, of {scale:g}")


def compare_storage(ours: Outcome, theirs: Outcome, where: str) -> None:
    """The same objects, and the same memory, go from input to result."""
    mine, yours = (
        [(any(leaf is g for g in given), shares(leaf, given)) for leaf in tree_leaves(one.value)]
        for one in (ours, theirs)
        for given in [tree_leaves(one.given)]
    )
    for (is_mine, shares_mine), (is_yours, shares_yours) in zip(mine, yours, strict=True):
        if is_mine != is_yours:
            raise Difference("identity", f"{where}: the input itself: {is_mine}, expected {is_yours}")
        if shares_mine != shares_yours:
            raise Difference("storage", f"{where}: shared with the input: {shares_mine}, expected {shares_yours}")


def shares(leaf: Any, given: list[Any]) -> bool:
    return bool(memory(leaf) & {place for one in given for place in memory(one)})


def memory(leaf: Any) -> set[int]:
    if isinstance(leaf, Tensor):
        return {leaf.untyped_storage().data_ptr()} - {0}
    if isinstance(leaf, np.ndarray) and leaf.size:
        while isinstance(leaf.base, np.ndarray):
            leaf = leaf.base
        return {leaf.__array_interface__["data"][0]}
    return set()


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:160]!r}"


def described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape}"
    if isinstance(value, Image.Image):
        return f"PIL {value.mode} {value.size}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {', '.join(described(v) for v in value[:3])}"
    return f"{type(value).__name__} {value!r}"[:80]


# Many cases, for the marker and for a person.

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def drawn(number: int, count: int, do: Callable[[Case], None]) -> None:
    """So many cases of one seed."""

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], **QUIET)
    @given(case=cases())
    def run(case: Case) -> None:
        do(case)

    run()


def main(number: int, count: int) -> None:
    """Write each case before it runs, so that a crash shows the last, then what differed, a line each."""
    torch.set_num_threads(1)

    def do(case: Case) -> None:
        print("case\t" + json.dumps(case), flush=True)
        try:
            check(case)
        except Difference as error:
            print("differs\t" + json.dumps([error.kind, error.detail, list(case)]), flush=True)

    drawn(number, count, do)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
