"""The catalogue: which layer stands for which torchvision transform, in one table.

Adding a transform is adding a row to :data:`ROWS`; what it does is said in lowering.py, what it draws in draws.py.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms as v1
from torch import nn
from torchvision.transforms import v2

from learned_transforms.images.formats import Form
from learned_transforms.images.pytree import ALIKE
from learned_transforms.layers.given import Cutting
from learned_transforms.transforms import lowering
from learned_transforms.transforms.clients.steps import TWINS
from learned_transforms.transforms.color_draws import JITTERED
from learned_transforms.transforms.containers import CONTAINERS, Leaf, leaves
from learned_transforms.transforms.draws import sides_of_crop
from learned_transforms.transforms.geometry_draws import MOVING
from learned_transforms.transforms.lowering import Step
from learned_transforms.transforms.params import LOOKING
from learned_transforms.transforms.torch_ops import OPERATIONS, argument


@dataclass(frozen=True)
class Row:
    """One transform of the catalogue.

    Attributes:
        step: from (transform, form of the input, api) to a :class:`Step`, or the reason why there is none.
        arguments: constructor arguments, which are also attributes.
        role: beginnings of the roles of the learned layers that it may need, if there are any.
        read: how to read an argument.
        tensors: arguments that are tensors.
        depends: what else decides on its layer, asked at every call: the dtype of what bytes times a number become.
    """

    step: Callable[[Any, Form, str], Step | str]
    arguments: tuple[str, ...] = ()
    role: Callable[[Any], tuple[str, ...]] = lambda transform: ()
    read: Callable[[Any, str], Any] = getattr
    tensors: tuple[str, ...] = ()
    depends: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Altered:
    """A transform that no longer does what its class does.

    Attributes:
        transform: the transform itself.
        reason: what was altered.
    """

    transform: Any
    reason: str


class ToTensorIfPIL(nn.Module):
    """PIL images become tensors, and tensors stay as they are, which torchvision's presets do in between."""

    def forward(self, image: Any) -> torch.Tensor:
        return image if isinstance(image, torch.Tensor) else v1.functional.pil_to_tensor(image)


def api_of(transform: Any) -> str:
    return "v2" if isinstance(transform, v2.Transform) else "v1"


def needs(*roles: str) -> Callable[[Any], tuple[str, ...]]:
    """The same roles, whatever its arguments."""
    return lambda transform: roles


def jitter_argument(transform: Any, name: str) -> Any:
    """v1's ColorJitter keeps None for what is left as it is, and takes 0."""
    value = getattr(transform, name)
    return 0 if value is None else value


def crop_argument(transform: Any, name: str) -> Any:
    """v2's RandomCrop keeps its padding in another order than it takes it."""
    return sides_of_crop(transform) if name == "padding" and transform.padding else getattr(transform, name)


def erasing_argument(transform: Any, name: str) -> Any:
    """v2 keeps None for noise."""
    value = getattr(transform, name)
    return "random" if value is None else value


def kept_as(name: str) -> str:
    """The attribute under which torchvision keeps an argument."""
    return "options" if name == "sampler_options" else name


def kept_argument(transform: Any, name: str) -> Any:
    return getattr(transform, kept_as(name))


RESIZED_CROP = ("size", "scale", "ratio", "interpolation", "antialias")
RESIZE = ("interpolation", "antialias")
PADDING = ("fill", "padding_mode")
IOU_CROP = ("min_scale", "max_scale", "min_aspect_ratio", "max_aspect_ratio", "sampler_options", "trials")

BOTH: dict[str, Row] = {
    "Resize": Row(lowering.resize, ("size", "interpolation", "max_size", "antialias"), lowering.resize_role),
    "RandomResizedCrop": Row(lowering.resized_crop, RESIZED_CROP, lowering.resize_role),
    "CenterCrop": Row(lowering.center_crop, ("size",)),
    "RandomCrop": Row(lowering.random_crop, ("size", "padding", "pad_if_needed", *PADDING)),
    "Pad": Row(lowering.pad, ("padding", *PADDING)),
    "RandomHorizontalFlip": Row(lowering.flip("horizontal"), ("p",)),
    "RandomVerticalFlip": Row(lowering.flip("vertical"), ("p",)),
    "Grayscale": Row(lowering.grayscale, ("num_output_channels",), needs("gray"), depends=torch.get_default_dtype),
    "RandomGrayscale": Row(lowering.random_grayscale, ("p",), needs("gray"), depends=torch.get_default_dtype),
    "RandomInvert": Row(lowering.pointwise("invert", floats=lowering.inverted), ("p",)),
    "RandomPosterize": Row(lowering.pointwise("posterize", "bits", floats=lowering.posterized), ("bits", "p")),
    "RandomSolarize": Row(lowering.pointwise("solarize", "threshold", floats=lowering.solarized), ("threshold", "p")),
    "RandomAdjustSharpness": Row(
        lowering.colour("sharpness", factor="sharpness_factor"),
        ("sharpness_factor", "p"),
        needs("sharpness"),
        depends=torch.get_default_dtype,
    ),
    "RandomAutocontrast": Row(lowering.colour("autocontrast"), ("p",), needs("autocontrast")),
    "RandomEqualize": Row(lowering.equalized, ("p",), needs("equalize", "to_float"), depends=torch.get_default_dtype),
    "ColorJitter": Row(lowering.jitter, JITTERED, lowering.jittered, jitter_argument, depends=torch.get_default_dtype),
    "GaussianBlur": Row(lowering.blur, ("kernel_size", "sigma"), needs("gaussian_blur")),
    "RandomErasing": Row(lowering.erased, ("p", "scale", "ratio", "value", "inplace"), read=erasing_argument),
    "LinearTransformation": Row(lowering.projected, tensors=("transformation_matrix", "mean_vector")),
    "FiveCrop": Row(lowering.several, ("size",)),
    "TenCrop": Row(lowering.several, ("size", "vertical_flip")),
    "Normalize": Row(lowering.normalize, ("mean", "std", "inplace")),
    "ToTensor": Row(lowering.to_float_tensor, role=needs("to_float"), depends=torch.get_default_dtype),
    "ConvertImageDtype": Row(lowering.to_dtype, ("dtype",), needs("to_float")),
    "PILToTensor": Row(lowering.pil_to_tensor),
    "ToPILImage": Row(lowering.to_pil_image, ("mode",)),
}
"""Transforms that v1 and v2 both have, by name."""

ROWS: dict[type, Row] = {
    **{getattr(v1, name): row for name, row in BOTH.items()},
    **{getattr(v2, name): row for name, row in BOTH.items()},
    v2.RandomCrop: Row(lowering.random_crop, ("size", "padding", "pad_if_needed", *PADDING), read=crop_argument),
    v2.RandomChannelPermutation: Row(lowering.permuted),
    v2.RandomPhotometricDistort: Row(
        lowering.distort, (*JITTERED, "p"), needs(*JITTERED), depends=torch.get_default_dtype
    ),
    v2.RGB: Row(lowering.rgb),
    v2.ToDtype: Row(lowering.to_dtype, ("dtype", "scale"), needs("to_float")),
    v2.ToImage: Row(lowering.to_container("image", ("pil", "tensor", "numpy"))),
    v2.ToPureTensor: Row(lowering.to_container("tensor", ("image", "video"))),
    v2.Identity: Row(lowering.unchanged),
    v2.RandomShortestSize: Row(lowering.resized_as_drawn, ("min_size", "max_size", *RESIZE), lowering.resize_role),
    v2.RandomResize: Row(lowering.resized_as_drawn, ("min_size", "max_size", *RESIZE), lowering.resize_role),
    v2.ScaleJitter: Row(lowering.resized_as_drawn, ("target_size", "scale_range", *RESIZE), lowering.resize_role),
    v2.RandomZoomOut: Row(lowering.zoomed_out, ("fill", "side_range", "p")),
    v2.RandomIoUCrop: Row(lowering.window, IOU_CROP, read=kept_argument),
    v2.ConvertBoundingBoxFormat: Row(lowering.numeric, ("format",)),
    v2.ClampBoundingBoxes: Row(lowering.numeric, ("clamping_mode",)),
    v2.ClampKeyPoints: Row(lowering.numeric),
    v2.SetClampingMode: Row(lowering.numeric, ("clamping_mode",)),
    v2.SanitizeBoundingBoxes: Row(lowering.numeric, ("min_size", "min_area", "labels_getter")),
    v2.SanitizeKeyPoints: Row(lowering.numeric, ("labels_getter",)),
    ToTensorIfPIL: Row(lowering.to_container("tensor", ("pil",))),
    **{twin: Row(step, role=role) for twin, (step, role) in TWINS.items()},
    **{kind: Row(lowering.own, operation.arguments, read=argument) for kind, operation in OPERATIONS.items()},
}
"""By class; those of the clients' stand at the end."""

GEOMETRIC = (
    *(v2.Resize, v2.RandomResizedCrop, v2.CenterCrop, v2.RandomCrop, v2.Pad, v2.RandomHorizontalFlip),
    *(v2.RandomVerticalFlip, *MOVING),
)
"""Transforms that move pixels, which those of masks follow."""

CONVERTING = (v2.ToDtype, v2.ConvertImageDtype, v2.ToPureTensor, v2.RandomErasing, v2.FiveCrop, v2.TenCrop)
"""Transforms that do more to masks than to move pixels, or warn that they do nothing."""

AFFECTING = (*GEOMETRIC, *CONVERTING, *lowering.NUMERIC)
"""Transforms that do anything to what goes with images."""

HALVED = (
    *(getattr(api, name) for api in (v1, v2) for name in ("CenterCrop", "Pad", "RandomCrop", "Normalize")),
    *(getattr(api, f"Random{axis}Flip") for api in (v1, v2) for axis in ("Horizontal", "Vertical")),
    *(
        v1.ConvertImageDtype,
        v2.ConvertImageDtype,
        v2.ToDtype,
        v2.ToImage,
        v2.ToPureTensor,
        v2.Identity,
        *lowering.NUMERIC,
    ),
)
"""Transforms that layers do to images of half precision."""

SHALLOW = (
    v1.Resize,
    v1.RandomResizedCrop,
    v1.Pad,
    v1.RandomCrop,
    v1.GaussianBlur,
    v1.RandomAdjustSharpness,
    v1.RandomEqualize,
)
"""Transforms that refuse images of several batch dimensions."""


def cover(transform: Any, form: Form, learned: Container[str], first: int = 0) -> list[tuple[Leaf, Step]] | str:
    """What a transform, and those in it, do to an image of ``form``; or the reason why torchvision must do it.

    Args:
        learned: keys of the layers that there are.
        first: position of the transform among the leaves of a pipeline.
    """
    covered: list[tuple[Leaf, Step]] = []
    for leaf in leaves(transform, first):
        done = step(leaf.transform, form, learned)
        inside = f"{name_of(leaf.transform)} within: " if leaf.within is not None else ""
        if isinstance(done, str):
            return inside + done
        looking = type(leaf.transform) in LOOKING or (form.several and type(leaf.transform) in ALIKE)
        if inside and (looking or done.form != form or isinstance(done.layer, Cutting)):
            return f"{inside}it looks at the image before it draws, changes its type, or makes several of it"
        covered.append((leaf, done))
        form = done.form
    return covered


def step(transform: Any, form: Form, learned: Container[str]) -> Step | str:
    """What ``transform`` does to an image of ``form``, or the reason why torchvision must do it.

    Args:
        learned: keys of the layers that there are.
    """
    row, api = ROWS.get(type(transform)), api_of(transform)
    if row is None and type(transform) not in CONTAINERS:
        return transform.reason if isinstance(transform, Altered) else "not in the catalogue"
    if api == "v1" and form.several:
        return "v1 transforms take one image"
    if row is None:
        return Step(form)
    if form.deep and type(transform) in SHALLOW:
        return "v1 takes at most one batch dimension here"
    if form.container == "video" and type(transform) in (v2.Grayscale, v2.RandomGrayscale, v2.RGB):
        return Step(form)
    if form.container == "mask" and type(transform) not in (*GEOMETRIC, v2.ToDtype, v2.ConvertImageDtype):
        return Step(form)
    if api == "v1" and form.container in ("image", "video"):
        return "v1 transforms make plain tensors of tv_tensors"
    if form.half and type(transform) not in HALVED:
        return f"layers copy and normalize {form.dtype} only"
    if row.depends is not None and form.container != "pil" and row.depends() != torch.float32:
        return "the default dtype is not float32"
    done = row.step(transform, form, api)
    if isinstance(done, str):
        return done
    missing = {one.key for _, one in done.layers() if one.key is not None and one.key not in learned}
    return f"no learned weights for {', '.join(sorted(missing))}" if missing else done


def name_of(transform: Any) -> str:
    """The name of a transform's class, or of a function."""
    if isinstance(transform, Altered):
        transform = transform.transform
    return str(getattr(transform, "__name__", type(transform).__name__))
