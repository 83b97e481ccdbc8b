"""The catalogue: by class, what each published transform is to layers."""

from collections.abc import Container as Collected
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.images.formats import Form
from learned_transforms.layers.given import Cutting
from learned_transforms.transforms import (
    boxes,
    color,
    convert,
    elastic,
    erasing,
    geometry,
    places,
    pointwise,
    policies,
    resize,
    warp,
)
from learned_transforms.transforms.clients import moves, twins
from learned_transforms.transforms.clients import policies as clients_policies
from learned_transforms.transforms.containers import CONTAINERS, Container, Leaf, leaves
from learned_transforms.transforms.spec import Spec, Step
from learned_transforms.transforms.torch_ops import OPERATIONS

BOTH: dict[str, type[Spec]] = {
    "Resize": resize.Resize,
    "RandomResizedCrop": resize.RandomResizedCrop,
    "CenterCrop": geometry.CenterCrop,
    "RandomCrop": geometry.RandomCrop,
    "Pad": geometry.Pad,
    "RandomHorizontalFlip": geometry.RandomHorizontalFlip,
    "RandomVerticalFlip": geometry.RandomVerticalFlip,
    "RandomRotation": warp.RandomRotation,
    "RandomAffine": warp.RandomAffine,
    "RandomPerspective": warp.RandomPerspective,
    "ElasticTransform": elastic.ElasticTransform,
    "Grayscale": color.Grayscale,
    "RandomGrayscale": color.RandomGrayscale,
    "RandomInvert": pointwise.RandomInvert,
    "RandomPosterize": pointwise.RandomPosterize,
    "RandomSolarize": pointwise.RandomSolarize,
    "RandomAdjustSharpness": color.RandomAdjustSharpness,
    "RandomAutocontrast": color.RandomAutocontrast,
    "RandomEqualize": color.RandomEqualize,
    "ColorJitter": color.ColorJitter,
    "GaussianBlur": color.GaussianBlur,
    "AutoAugment": policies.AutoAugment,
    "AugMix": policies.AugMix,
    "RandAugment": policies.RandAugment,
    "TrivialAugmentWide": policies.TrivialAugmentWide,
    "RandomErasing": erasing.RandomErasing,
    "LinearTransformation": pointwise.LinearTransformation,
    "FiveCrop": geometry.FiveCrop,
    "TenCrop": geometry.TenCrop,
    "Normalize": pointwise.Normalize,
    "ToTensor": convert.ToTensor,
    "ConvertImageDtype": convert.ConvertImageDtype,
    "PILToTensor": convert.PILToTensor,
    "ToPILImage": convert.ToPILImage,
}
"""Transforms that v1 and v2 both have, by name."""

SPECS: dict[type, type[Spec]] = {
    **{getattr(v1, name): spec for name, spec in BOTH.items()},
    **{getattr(v2, name): spec for name, spec in BOTH.items()},
    v2.RandomChannelPermutation: color.RandomChannelPermutation,
    v2.RandomPhotometricDistort: color.RandomPhotometricDistort,
    v2.RGB: color.RGB,
    v2.ToDtype: convert.ToDtype,
    v2.ToImage: convert.ToImage,
    v2.ToPureTensor: convert.ToPureTensor,
    v2.Identity: convert.Identity,
    v2.RandomShortestSize: resize.RandomShortestSize,
    v2.RandomResize: resize.RandomResize,
    v2.ScaleJitter: resize.ScaleJitter,
    v2.RandomZoomOut: places.RandomZoomOut,
    v2.RandomIoUCrop: places.RandomIoUCrop,
    v2.ConvertBoundingBoxFormat: boxes.ConvertBoundingBoxFormat,
    v2.ClampBoundingBoxes: boxes.Clamping,
    v2.ClampKeyPoints: boxes.Numeric,
    v2.SetClampingMode: boxes.Clamping,
    v2.SanitizeBoundingBoxes: boxes.SanitizeBoundingBoxes,
    v2.SanitizeKeyPoints: boxes.SanitizeKeyPoints,
    convert.ToTensorIfPIL: convert.PresetToTensor,
    **CONTAINERS,
    **{twin: twin for twin in (*twins.TWINS, *moves.MOVES, *clients_policies.POLICIES)},
    **OPERATIONS,
}
"""What transforms are, by class; those of the clients' are their own."""


@dataclass(frozen=True)
class Altered:
    """A transform that no longer does what its class does.

    Attributes:
        transform: the transform itself.
        reason: what was altered.
    """

    transform: Any
    reason: str


def spec_of(transform: Any) -> Spec:
    """Return what a transform is; of one that is not in the catalogue, nothing is known."""
    return transform if isinstance(transform, Spec) else SPECS.get(type(transform), Spec)(transform)


def cover(transform: Any, form: Form, learned: Collected[str], first: int = 0) -> list[tuple[Leaf, Step]] | str:
    """Lower a transform, and those in it, for an image of ``form``; or say why torchvision must run it.

    Args:
        learned: keys of the layers that there are.
        first: position of the transform among the leaves of a pipeline.
    """
    covered: list[tuple[Leaf, Step]] = []
    for leaf in leaves(transform, first):
        spec = spec_of(leaf.transform)
        done = step(spec, form, learned)
        inside = f"{name_of(leaf.transform)} within: " if leaf.within is not None else ""
        if isinstance(done, str):
            return inside + done
        looking = spec.looks or (form.several and (spec.alike or spec.unmarking))
        if inside and (looking or done.form != form or isinstance(done.layer, Cutting)):
            return f"{inside}it looks at the image before it draws, changes its type, or makes several of it"
        covered.append((leaf, done))
        form = done.form
    return covered


def step(spec: Spec, form: Form, learned: Collected[str]) -> Step | str:
    """Lower one transform for an image of ``form``; or say why torchvision must run it.

    Args:
        learned: keys of the layers that there are.
    """
    if type(spec) is Spec:
        return spec.transform.reason if isinstance(spec.transform, Altered) else spec.lower(form)
    if spec.api == "v1" and form.several:
        return "v1 transforms take one image"
    if isinstance(spec, Container):
        return spec.lower(form)
    if form.deep and spec.shallow and spec.api == "v1":
        return "v1 takes at most one batch dimension here"
    if spec.skips(form):
        return Step(form)
    if spec.api == "v1" and form.container in ("image", "video"):
        return "v1 transforms make plain tensors of tv_tensors"
    if form.half and not spec.half:
        return f"layers copy and normalize {form.dtype} only"
    if spec.default_dtype and form.container != "pil" and torch.get_default_dtype() != torch.float32:
        return "the default dtype is not float32"
    done = spec.lower(form)
    if isinstance(done, str):
        return done
    missing = {one.key for _, one in done.layers() if one.key is not None and one.key not in learned}
    return f"no learned weights for {', '.join(sorted(missing))}" if missing else done


def name_of(transform: Any) -> str:
    """Return the name of a transform's class, or of a function."""
    if isinstance(transform, Altered):
        transform = transform.transform
    return str(getattr(transform, "__name__", type(transform).__name__))
