"""The catalogue: which layer stands for which torchvision transform, in one table.

Adding a transform is adding a row to :data:`ROWS`.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from learned_transforms.errors import PipelineTypeError, PipelineValueError, WeightsError
from learned_transforms.images import Form
from learned_transforms.layers import Cropping, Flipping, Layer, Normalising, Params


@dataclass(frozen=True)
class Step:
    """What a transform does to an image of one form.

    Attributes:
        form: the form of its output.
        key: of the learned layer that does it, ``kind/role``; None: nothing is learned.
        layer: a layer without weights that does it; None with no key: the values stay as they are.
        params: what the constructor gave, for the layer.
    """

    form: Form
    key: str | None = None
    layer: Layer | None = None
    params: Params | None = None


@dataclass(frozen=True)
class Row:
    """One transform of the catalogue.

    Attributes:
        step: from (transform, form of the input, api) to a :class:`Step`, or the reason why there is none.
        arguments: constructor arguments, which are also attributes.
        role: of the learned layer, if there is one.
    """

    step: Callable[[Any, Form, str], Step | str]
    arguments: tuple[str, ...] = ()
    role: str | None = None


def kind_of(form: Form, api: str) -> str:
    """Which teacher's arithmetic applies: ``pil``, ``uint8``, ``uint8_v1`` or ``float32``."""
    if form.container == "pil":
        return "pil"
    return "uint8_v1" if form.dtype == "uint8" and api == "v1" else form.dtype


def api_of(transform: Any) -> str:
    return "v2" if isinstance(transform, v2.Transform) else "v1"


def interpolation_name(value: Any) -> str:
    """The name of an interpolation, which torchvision takes as an enum, a name, or Pillow's number."""
    if isinstance(value, InterpolationMode):
        return str(value.value)
    return Image.Resampling(value).name.lower() if isinstance(value, int) else str(value)


def resize(transform: Any, form: Form, api: str) -> Step | str:
    if transform.size is None:
        return "a size of None is not learned yet"
    size = (transform.size,) if isinstance(transform.size, int) else tuple(transform.size)
    return resampled(transform, form, api, {"size": size, "max_size": transform.max_size})


def resampled(transform: Any, form: Form, api: str, params: Params) -> Step | str:
    interpolation = interpolation_name(transform.interpolation)
    if interpolation != "bilinear":
        return f"interpolation {interpolation} is not learned yet"
    if not transform.antialias and form.container != "pil":
        return "antialias=False is not learned yet"
    return Step(form, f"{kind_of(form, api)}/resize_bilinear", params=params)


def resized_crop(transform: Any, form: Form, api: str) -> Step | str:
    """The part of the image that was drawn is cut out before; see draws.py."""
    return resampled(transform, form, api, {"size": tuple(transform.size)})


def center_crop(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form, layer=Cropping(), params={"size": tuple(transform.size)})


def normalize(transform: Any, form: Form, api: str) -> Step | str:
    if form.container == "pil" or form.dtype != "float32":
        return "Normalize takes float tensors only"
    mean, std = (numbers(value) for value in (transform.mean, transform.std))
    if mean is None or std is None or 0 in std or (api == "v1" and len(mean) != len(std)):
        return "its mean and std are no sequences of numbers to normalise by"
    return Step(form, layer=Normalising(), params={"mean": mean, "std": std})


def numbers(value: Any) -> tuple[float, ...] | None:
    """A sequence of numbers as a tuple; None for anything else."""
    plain = isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value)
    return tuple(float(v) for v in value) if plain else None


def flip(axis: str) -> Callable[[Any, Form, str], Step | str]:
    return lambda transform, form, api: Step(form, layer=Flipping(), params={"axis": axis})


def grayscale(transform: Any, form: Form, api: str) -> Step | str:
    # On one-channel tensors v1 returns one channel, whatever was asked for.
    copy_gray = api == "v2" or form.container == "pil"
    params = {"copies": transform.num_output_channels, "copy_gray": copy_gray}
    return Step(form, f"{kind_of(form, api)}/gray", params=params)


def to_tensor(transform: Any, form: Form, api: str) -> Step | str:
    if form.container not in ("pil", "numpy"):
        return "ToTensor takes PIL images and arrays only"
    if torch.get_default_dtype() != torch.float32:
        return "the default dtype is not float32"
    return Step(Form("tensor", "float32"), "pil/to_float", params={})


def to_dtype(transform: Any, form: Form, api: str) -> Step | str:
    if form.container == "pil":
        return Step(form) if api == "v2" else "tensors only"
    if transform.dtype != torch.float32:
        return f"dtype {transform.dtype} is not learned"
    if form.dtype == "float32":
        return Step(form)
    if not getattr(transform, "scale", True):
        return "scale=False is not learned"
    return Step(form._replace(dtype="float32"), f"{kind_of(form, api)}/to_float", params={})


def to_container(container: str, takes: Sequence[str]) -> Callable[[Any, Form, str], Step | str]:
    """A change of container only; other containers stay what they are."""
    return lambda transform, form, api: Step(form._replace(container=container) if form.container in takes else form)


def pil_to_tensor(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form._replace(container="tensor")) if form.container == "pil" else "PILToTensor takes PIL images only"


RESIZE = Row(resize, ("size", "interpolation", "max_size", "antialias"), "resize_bilinear")
HORIZONTAL, VERTICAL = Row(flip("horizontal"), ("p",)), Row(flip("vertical"), ("p",))
RESIZED_CROP = Row(resized_crop, ("size", "scale", "ratio", "interpolation", "antialias"), "resize_bilinear")
CENTER_CROP = Row(center_crop, ("size",))
NORMALIZE = Row(normalize, ("mean", "std", "inplace"))
GRAYSCALE = Row(grayscale, ("num_output_channels",), "gray")
TO_TENSOR = Row(to_tensor, role="to_float")
CONVERT_DTYPE = Row(to_dtype, ("dtype",), "to_float")
PIL_TO_TENSOR = Row(pil_to_tensor)

ROWS: dict[type, Row] = {
    v1.Resize: RESIZE,
    v2.Resize: RESIZE,
    v1.RandomResizedCrop: RESIZED_CROP,
    v2.RandomResizedCrop: RESIZED_CROP,
    v1.CenterCrop: CENTER_CROP,
    v2.CenterCrop: CENTER_CROP,
    v1.Normalize: NORMALIZE,
    v2.Normalize: NORMALIZE,
    v1.RandomHorizontalFlip: HORIZONTAL,
    v2.RandomHorizontalFlip: HORIZONTAL,
    v1.RandomVerticalFlip: VERTICAL,
    v2.RandomVerticalFlip: VERTICAL,
    v1.Grayscale: GRAYSCALE,
    v2.Grayscale: GRAYSCALE,
    v1.ToTensor: TO_TENSOR,
    v2.ToTensor: TO_TENSOR,
    v1.ConvertImageDtype: CONVERT_DTYPE,
    v2.ConvertImageDtype: CONVERT_DTYPE,
    v2.ToDtype: Row(to_dtype, ("dtype", "scale"), "to_float"),
    v1.PILToTensor: PIL_TO_TENSOR,
    v2.PILToTensor: PIL_TO_TENSOR,
    v2.ToImage: Row(to_container("image", ("pil", "tensor", "numpy"))),
    v2.ToPureTensor: Row(to_container("tensor", ("image",))),
    v2.Identity: Row(lambda transform, form, api: Step(form)),
}


def step(transform: Any, form: Form, learned: Container[str]) -> Step | str:
    """What ``transform`` does to an image of ``form``, or the reason why torchvision must do it.

    Args:
        learned: keys of the layers that there are.
    """
    row = ROWS.get(type(transform))
    if row is None:
        return "not in the catalogue"
    api = api_of(transform)
    if api == "v1" and form.container == "image":
        return "v1 transforms make plain tensors of tv_tensors"
    done = row.step(transform, form, api)
    if isinstance(done, Step) and done.key is not None and done.key not in learned:
        return f"no learned weights for {done.key}"
    return done


def listed(transforms: Any) -> list[Any]:
    """The transforms of a v1 or v2 Compose, or of a sequence.

    Raises:
        PipelineTypeError: not a sequence of callables. PipelineValueError: an empty one.
    """
    if hasattr(transforms, "transforms"):
        transforms = transforms.transforms
    if not isinstance(transforms, Sequence) or isinstance(transforms, str):
        raise PipelineTypeError(
            f"Argument transforms should be a sequence of callables, got {type(transforms).__name__}. "
            "Put a single transform into a list."
        )
    if not transforms:
        raise PipelineValueError("Pass at least one transform: the list is empty.")
    for position, transform in enumerate(transforms):
        if not callable(transform):
            raise PipelineTypeError(
                f"Argument transforms should be a sequence of callables, but entry {position} is "
                f"{type(transform).__name__}."
            )
    return list(transforms)


def class_name(transform_class: type) -> str:
    return f"{'v2' if issubclass(transform_class, v2.Transform) else 'v1'}.{transform_class.__name__}"


NAMES = {class_name(transform_class): transform_class for transform_class in ROWS}


def describe(transform: Any) -> dict[str, Any]:
    """A catalogued transform as plain values, for weight files.

    Raises:
        PipelineTypeError: a lambda or another transform that cannot be written down.
    """
    row = ROWS.get(type(transform))
    if row is None:
        raise PipelineTypeError(
            f"{type(transform).__name__} cannot be saved: only transforms of the catalogue can. "
            f"Save the rest of the pipeline without it. Catalogue: {', '.join(sorted(NAMES))}."
        )
    arguments = {name: to_plain(getattr(transform, name)) for name in row.arguments}
    return {"transform": class_name(type(transform)), "arguments": arguments}


def restore(description: Mapping[str, Any]) -> Any:
    """The transform that :func:`describe` wrote down; nothing but catalogued classes is ever made.

    Raises:
        WeightsError: an unknown class, or arguments that it does not take.
    """
    try:
        transform_class = NAMES[description["transform"]]
        arguments = {name: from_plain(value) for name, value in description["arguments"].items()}
        return transform_class(**arguments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"Expected a catalogued transform, got {dict(description)!r}: {error!r}") from error


def to_plain(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, InterpolationMode):
        return {"interpolation": value.value}
    return list(value) if isinstance(value, tuple) else value


def from_plain(value: Any) -> Any:
    if isinstance(value, dict) and "dtype" in value:
        return getattr(torch, value["dtype"])
    if isinstance(value, dict) and "interpolation" in value:
        return InterpolationMode(value["interpolation"])
    return value
