"""Teachers as people deploy them, which take images of any size; and how a clone does on held-out photos."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from learned_transforms.errors import InputShapeError
from learned_transforms.trainer import Result
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, photo
from learned_transforms.trainer.data.sources import as_kind, as_tensor

SIZES = ((427, 640), (224, 224), (333, 250), (97, 211), (310, 83))
"""Of held-out photos; training sees the last two nowhere."""


class Deployed(NamedTuple):
    """A teacher, how it takes images, and what is asked of its clone: a tier, and CPU seconds."""

    teacher: Callable[[Any], Any]
    kind: str
    tier: str
    seconds: int
    count: int | None = None


def normalized(
    size: int | tuple[int, int], crop: int | None, mean: Any, std: Any, mode: Any = F.InterpolationMode.BILINEAR
) -> v2.Compose:
    """Resize, crop, normalize: the preprocessing of a published classifier."""
    cut = [] if crop is None else [v2.CenterCrop(crop)]
    floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    return v2.Compose([v2.Resize(size, interpolation=mode), *cut, *floats])


def letterbox(side: int, stride: int | None = None, enlarge: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """As YOLO: the long side gets ``side`` pixels; gray around it up to a square, or to multiples of ``stride``."""

    def run(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        ratio = min(side / height, side / width)
        ratio = ratio if enlarge else min(ratio, 1.0)
        wide, high = round(width * ratio), round(height * ratio)
        right, down = side - wide, side - high
        if stride:
            right, down = right % stride, down % stride
        if (height, width) != (high, wide):
            image = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
        top, bottom = round(down / 2 - 0.1), round(down / 2 + 0.1)
        before, after = round(right / 2 - 0.1), round(right / 2 + 0.1)
        return cv2.copyMakeBorder(image, top, bottom, before, after, cv2.BORDER_CONSTANT, value=(114, 114, 114))

    return run


def long_side(image: Image.Image, side: int = 48) -> Image.Image:
    width, height = image.size
    scale = side / max(width, height)
    return image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)


def multiples(image: Image.Image, of: int = 14) -> Image.Image:
    width, height = (max(of, length // of * of) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def thumbnail(image: Image.Image, side: int = 64) -> Image.Image:
    small = image.copy()
    small.thumbnail((side, side))
    return small


def other_rule(image: torch.Tensor) -> torch.Tensor:
    return F.resize(image, [48, 48] if image.shape[-2] > 200 else [48])


def other_kernel(image: Image.Image) -> Image.Image:
    mode = Image.Resampling.LANCZOS if image.width > 128 else Image.Resampling.BILINEAR
    return image.resize((32, 32), mode)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5,) * 3, (0.5,) * 3
BICUBIC = F.InterpolationMode.BICUBIC

DEPLOYED: Mapping[str, Deployed] = {
    "ImageNet preset 256/224": Deployed(normalized(256, 224, *IMAGENET), "pil", "exact", 240),
    "small preset 36/32": Deployed(normalized(36, 32, *IMAGENET), "pil", "exact", 90),
    "CLIP preset 32": Deployed(normalized(32, 32, *CLIP, BICUBIC), "pil", "exact", 90),
    "CLIP preset 224": Deployed(normalized(224, 224, *CLIP, BICUBIC), "pil", "exact", 240),
    "ViT preset 32": Deployed(normalized((32, 32), None, *HALF), "pil", "exact", 90),
    "SigLIP preset 32": Deployed(normalized((32, 32), None, *HALF, BICUBIC), "pil", "exact", 90),
    "SigLIP preset 224": Deployed(normalized((224, 224), None, *HALF, BICUBIC), "pil", "exact", 240),
    "resize and crop 36/32": Deployed(v2.Compose([v2.Resize(36), v2.CenterCrop(32)]), "pil", "exact", 90),
    "resize and crop 256/224": Deployed(v2.Compose([v2.Resize(256), v2.CenterCrop(224)]), "pil", "exact", 240),
    "letterbox 64": Deployed(letterbox(64), "numpy", "one level", 240),
    "letterbox 640": Deployed(letterbox(640), "numpy", "one level", 240),
    "letterbox 64, stride 32": Deployed(letterbox(64, 32), "numpy", "one level", 240),
    "letterbox 640, stride 32": Deployed(letterbox(640, 32), "numpy", "one level", 240),
    "letterbox 64, never enlarged": Deployed(letterbox(64, None, False), "numpy", "one level", 240),
    "short side 24": Deployed(v2.Resize(24), "pil", "exact", 90),
    "long side 48": Deployed(long_side, "pil", "exact", 90),
    "factor 0.5": Deployed(
        lambda x: torch.nn.functional.interpolate(x[None], scale_factor=0.5, mode="bilinear", antialias=True)[0],
        "float32",
        "exact",
        90,
    ),
    "multiple of 14": Deployed(multiples, "pil", "exact", 90),
    "thumbnail 64": Deployed(thumbnail, "pil", "exact", 90),
    "quarter turn": Deployed(lambda x: x.transpose(Image.Transpose.ROTATE_90), "pil", "exact", 90),
    "transpose": Deployed(lambda x: x.transpose(Image.Transpose.TRANSPOSE), "pil", "exact", 90),
    "constant border": Deployed(lambda x: F.pad(x, [4, 4, 4, 4], fill=7), "uint8", "exact", 90),
    "another rule above 200 rows": Deployed(other_rule, "uint8", "found, or sizes refused", 240),
    "Lanczos above width 128": Deployed(other_kernel, "pil", "found, or sizes refused", 240),
}


def at_five_sizes(result: Result, job: Deployed) -> str:
    """What a clone makes of held-out photos: the largest error and the share of values that differ, or a refusal."""
    told = []
    for rows, columns in SIZES:
        differing, values, largest = 0, 0, 0.0
        for name in HELD_OUT_PHOTOS:
            given = photo(name)[:, :rows, :columns]
            target = as_tensor(job.teacher(as_kind(given, job.kind)), convert=False)
            try:
                output = as_tensor(result.transform(as_kind(given, job.kind)), convert=False)
            except InputShapeError:
                told.append("refused")
                break
            if output.shape != target.shape:
                told.append(f"shape {tuple(output.shape)} for {tuple(target.shape)}")
                break
            error = (output.double() - target.double()).abs()
            floats = target.is_floating_point()
            differing += int((error > (1e-6 if floats else 0)).sum())
            largest, values = max(largest, float(error.max())), values + error.numel()
        else:
            told.append(f"{largest:.2g} ({differing / values:.2%})")
    return "; ".join(told)
