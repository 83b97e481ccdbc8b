"""Smaller clients, of each the classes that its pipelines hold."""

import math
import random
from collections.abc import Iterator
from typing import Any

import torch
import torchvision.transforms as v1
from torch.jit._script import RecursiveScriptModule
from torchvision.transforms import v2

from learned_transforms.images.formats import Window
from learned_transforms.ir.ops import Shape
from learned_transforms.transforms.clients.entries import Entries, entry
from learned_transforms.transforms.clients.moves import Erase
from learned_transforms.transforms.clients.twins import Convert, Scale, SwapChannels, python_up_to
from learned_transforms.transforms.containers import Sometimes

TRIES = 100
"""Of torchreid's RandomErasing."""


def applied(transform: Any, read: Any) -> Any:
    return Sometimes([read(transform.fn)], transform.p, python_up_to)


def swapped(transform: Any, read: Any) -> Any:
    return SwapChannels() if transform.is_bgr else v2.Identity()


def scaled(transform: Any, read: Any) -> Any:
    return Scale(255.0) if transform.is_255 else v2.Identity()


def sam2(transform: Any, read: Any) -> Any:
    """Its transforms are scripted, out of what it keeps beside them."""
    if type(transform.transforms) is not RecursiveScriptModule:
        return "its transforms were replaced"
    resize = v1.Resize((transform.resolution, transform.resolution))
    return v1.Compose([read(transform.to_tensor), resize, v1.Normalize(transform.mean, transform.std)])


def erasing(transform: Any, read: Any) -> Any:
    values = torch.tensor(transform.mean)[:, None, None]
    return Erase(lambda shape: erased(transform, shape), lambda shape: values[: shape[0]])


def erased(transform: Any, shape: Shape) -> Iterator[Window]:
    """Yield the part that torchreid's RandomErasing draws, if any."""
    _, height, width = shape
    if random.uniform(0, 1) > transform.probability:
        return
    for _ in range(TRIES):
        target = random.uniform(transform.sl, transform.sh) * (height * width)
        aspect = random.uniform(transform.r1, 1 / transform.r1)
        h, w = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if w < width and h < height:
            top = random.randint(0, height - h)
            yield top, random.randint(0, width - w), h, w
            return


TABLE: Entries = {
    "pretrainedmodels.utils.TransformImage": entry("79a2ddc275515f9e", opened="tf"),
    "pretrainedmodels.utils.ToSpaceBGR": entry("da1c3ccf1561675f", swapped),
    "pretrainedmodels.utils.ToRange255": entry("c5fd3cc20e8cfdb9", scaled),
    "pytorch_ood.utils.transforms.ToRGB": entry(
        "12bafb043c0d29f4", lambda transform, read: Convert("RGB", others=True)
    ),
    "sam2.utils.transforms.SAM2Transforms": entry("83b7c4a623592633", sam2),
    "torchreid.reid.data.transforms.RandomErasing": entry("c6ab151ea247374d", erasing),
    "vit_pytorch.dino.RandomApply": entry("cf8f346a24fbf893", applied),
    "byol_pytorch.byol_pytorch.RandomApply": entry("61242602226a4488", applied),
}
