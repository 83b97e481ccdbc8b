"""What each torchvision transform does to an image of one form, in terms of layers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from learned_transforms import installed
from learned_transforms.images.formats import DTYPES, HALVES, Form, to_tensor
from learned_transforms.ir.ops import Slot
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import Cropping, Flipping, Padding, Windowing
from learned_transforms.layers.given import Cutting, Erasing, Posterizing, Projecting, Quantising, Solarising
from learned_transforms.layers.pointwise import Arranging, Casting, Lookup, Normalising
from learned_transforms.modes import out_of_sight
from learned_transforms.transforms.color_draws import DISTORTED, JITTERED
from learned_transforms.transforms.draws import ERASING, sides, value_of, writes_noise
from learned_transforms.transforms.torch_ops import OWN

BORDERS = {"constant": "zero", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}
"""Our names of torchvision's padding modes."""

TYPES = {
    **{"tensor": torch.Tensor, "numpy": torch.Tensor, "image": tv_tensors.Image},
    **{"video": tv_tensors.Video, "mask": tv_tensors.Mask},
}
"""The types for which v2 looks up a fill, by container."""

FLOATS = {dtype: name for dtype, name in (*DTYPES.items(), *HALVES.items()) if dtype.is_floating_point}
"""Dtypes that layers convert images to; an array has no bfloat16."""

KERNELS = ("bilinear", "bicubic", "lanczos", "hamming", "box")
"""Interpolations that have a learned kernel."""


UNTOUCHED = "it leaves arrays as they are"
PILLOWS = "Pillow does as much to its own images faster"
CHANGING = "it changes the image that it is given"
"""Why torchvision runs what is ``inplace``, unless the image was made by the transforms before."""

INPLACE = (v1.Normalize, v2.Normalize, *ERASING)
"""Transforms that may change the image that they are given."""


NUMERIC = (
    *(v2.ConvertBoundingBoxFormat, v2.ClampBoundingBoxes, v2.ClampKeyPoints, v2.SetClampingMode),
    *(v2.SanitizeBoundingBoxes, v2.SanitizeKeyPoints),
)
"""Transforms that do nothing to images."""


@dataclass(frozen=True)
class Step:
    """What a transform does to an image of one form.

    Attributes:
        form: the form of its output.
        key: of the learned layer that does it, ``kind/role``; None: nothing is learned.
        layer: a layer without learned weights, or learned on the spot; None with no key: the values stay as they are.
        params: what the constructor gave, for the layer; a ``Slot`` in it counts the factors of the transform alone.
        parts: of a transform of several layers, those instead.
    """

    form: Form
    key: str | None = None
    layer: Layer | None = None
    params: Params | None = None
    parts: "tuple[Step, ...]" = ()

    def layers(self) -> "tuple[tuple[int | None, Step], ...]":
        """The steps of one layer, with their numbers where there are several."""
        return tuple(enumerate(self.parts)) if self.parts else ((None, self),)


def kind_of(form: Form, api: str) -> str:
    """Which teacher's arithmetic applies: ``pil``, ``uint8``, ``uint8_v1`` or ``float32``."""
    if form.container == "pil":
        return "pil"
    return "uint8_v1" if form.dtype == "uint8" and api == "v1" else form.dtype


def interpolation_name(value: Any) -> str:
    """The name of an interpolation, which torchvision takes as an enum, a name, or Pillow's number."""
    if isinstance(value, InterpolationMode):
        return str(value.value)
    return Image.Resampling(value).name.lower() if isinstance(value, int) else str(value)


def resize_role(transform: Any) -> tuple[str, ...]:
    """Beginnings of the roles of the layers that a resize may need."""
    name = interpolation_name(transform.interpolation)
    return ("nearest" if name.startswith("nearest") else f"resize_{name}",)


def resize(transform: Any, form: Form, api: str) -> Step | str:
    size, longest = resize_size(transform), transform.max_size
    if size and longest is not None and not (isinstance(longest, int) and len(size) == 1 and longest > size[0]):
        return "torchvision refuses its max_size"
    return resampled(transform, form, api, {"size": size, "max_size": longest})


def resize_size(transform: Any) -> tuple[int, ...]:
    """(rows, columns), (length of the shorter side,), or nothing, of a Resize."""
    if transform.size is None:
        return ()
    return (transform.size,) if isinstance(transform.size, int) else tuple(transform.size)


def resized_as_drawn(transform: Any, form: Form, api: str) -> Step | str:
    return resampled(transform, form, api, {})


def resampled(transform: Any, form: Form, api: str, params: Mapping[str, Any]) -> Step | str:
    """``params`` without a size: it comes with the image."""
    kind, name = kind_of(form, api), interpolation_name(transform.interpolation)
    pil = form.container == "pil"
    if isinstance(transform.interpolation, str) and (api == "v1" or not installed.resizes_by_name()):
        return "torchvision takes no names of interpolations here"
    if form.container == "mask":
        return picked(transform, name, form, params)
    if name.startswith("nearest"):
        # Pillow has one nearest neighbour only, which is the exact one.
        return Step(form, f"{kind}/nearest_exact" if name != "nearest" and not pil else f"{kind}/nearest", None, params)
    if name not in KERNELS:
        return f"interpolation {name} is not learned yet"
    if name == "lanczos" and not pil and (api == "v1" or not installed.resizes_by_lanczos()):
        return "torchvision refuses Lanczos on tensors here"
    if kind == "uint8" and name == "bilinear" and not installed.resizes_levels():
        kind = "uint8_v1"
    if not pil and transform.antialias and 1 in (params.get("size") or (1,)) and not (form.narrow and kind == "uint8"):
        return "torch repeats the first row of what becomes one pixel wide"
    if transform.antialias or pil:
        return Step(form, f"{kind}/resize_{name}", None, params)
    return Step(form, f"{kind}/resize_{name}_plain", None, {**params, "antialias": False})


def picked(transform: Any, name: str, form: Form, params: Mapping[str, Any]) -> Step | str:
    """The same for masks: torchvision resizes those of levels as they are, all others as floats."""
    if form.fresh or form.dtype == "float64":
        return "masks of float64, or of another dtype than they came with, are not resized in layers"
    exact = name == "nearest-exact" and installed.resizes_masks_exactly() and not hasattr(transform, "ratio")
    kind = "uint8" if form.dtype == "uint8" else "float32"
    return Step(form, f"{kind}/nearest_exact" if exact else f"{kind}/nearest", None, params)


def resized_crop(transform: Any, form: Form, api: str) -> Step | str:
    """The part of the image that was drawn is cut out before; see draws.py."""
    return resampled(transform, form, api, {"size": tuple(transform.size)})


def center_crop(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form, layer=Cropping(), params={"size": tuple(transform.size)})


def random_crop(transform: Any, form: Form, api: str) -> Step | str:
    around = surroundings(transform, form, api)
    if isinstance(around, str):
        return around
    mirrored = around["border"] in ("reflect", "symmetric")
    if api == "v1" and mirrored and transform.pad_if_needed and any(sides(transform.padding)):
        return "v1 mirrors again what it has mirrored before"
    return Step(form, layer=Windowing(), params={"size": tuple(transform.size), **around})


def pad(transform: Any, form: Form, api: str) -> Step | str:
    around = surroundings(transform, form, api)
    if isinstance(around, str):
        return around
    # NumPy, which pads PIL images, mirrors more than once.
    return Step(
        form,
        layer=Padding(),
        params={"padding": sides(transform.padding), "limited": form.container != "pil", **around},
    )


def zoomed_out(transform: Any, form: Form, api: str) -> Step | str:
    around = filled(transform.fill, "zero", form, api)
    return around if isinstance(around, str) else Step(form, layer=Padding(), params={"limited": False, **around})


def window(transform: Any, form: Form, api: str) -> Step | str:
    if not form.several:
        return "it takes boxes beside the image"
    return Step(form, layer=Windowing(), params={"border": "zero", "fill": (0.0,)})


def numeric(transform: Any, form: Form, api: str) -> Step | str:
    """Nothing, to images; some of these refuse to be without what they are for."""
    return Step(form) if form.several else "it takes boxes or keypoints beside the image"


def surroundings(transform: Any, form: Form, api: str) -> dict[str, Any] | str:
    """Border and fill of a padding; or why they are left to torchvision."""
    border = BORDERS.get(transform.padding_mode)
    padding = transform.padding if isinstance(transform.padding, list | tuple) else [transform.padding or 0]
    if any(not isinstance(side, int) or side < 0 for side in padding):
        return "padding that is negative or not whole is not learned"
    if border is None:
        return f"padding mode {transform.padding_mode!r} is not learned"
    return filled(transform.fill, border, form, api)


def filled(fill: Any, border: str, form: Form, api: str) -> dict[str, Any] | str:
    """The same, for one of our borders."""
    if isinstance(fill, dict):
        if form.container == "pil" and any(isinstance(k, type) and issubclass(k, Image.Image) for k in fill):
            return "a fill for each class of PIL images is not learned"
        fill = fill.get(TYPES.get(form.container), fill.get("others"))
    fill = 0 if fill is None else fill
    if form.container == "mask":
        own = mask_fill(fill, form)
        return "this fill of masks is not learned" if own is None else {"border": border, "fill": own}
    if isinstance(fill, list | tuple) and api == "v1" and form.container != "pil":
        return "v1 fills tensors with one number only"
    fill = list(fill) if isinstance(fill, list | tuple) else [fill]
    if len(fill) > 1 and border != "zero":
        return "a fill for each channel is not learned here"
    level = form.dtype == "uint8"
    if any(isinstance(f, bool) or not isinstance(f, int | float) or not math.isfinite(f) for f in fill):
        return f"a fill of {fill!r} is not learned"
    if level and not all(0 <= f <= 255 for f in fill):
        return "a fill beyond 0 to 255 is not learned"
    if form.half and any(abs(f) > torch.finfo(getattr(torch, form.dtype)).max for f in fill):
        return f"torchvision refuses a fill beyond {form.dtype}"
    # Levels are cut off behind the point.
    return {"border": border, "fill": tuple(float(int(f) if level else f) for f in fill)}


def mask_fill(fill: Any, form: Form) -> tuple[float, ...] | None:
    """A fill in the values as which masks of a dtype are copied, see ``masks.CARRIERS``; None: there are none."""
    if form.fresh or isinstance(fill, bool) or not isinstance(fill, int | float):
        return None
    most = {"bool": 1, "uint8": 255, "int8": 127, "int16": 2**15 - 1}.get(form.dtype, 0)
    if form.dtype == "float32":
        return (float(fill),)
    if not isinstance(fill, int) or not 0 <= fill <= most:
        return (0.0,) if fill == 0 else None
    return (float(fill % 256), float(fill // 256)) if form.dtype == "int16" else (float(fill),)


def normalize(transform: Any, form: Form, api: str) -> Step | str:
    if form.container == "pil" or form.dtype == "uint8":
        return "Normalize takes float tensors only"
    mean, std = (numbers(value) for value in (transform.mean, transform.std))
    if mean is None or std is None or 0 in std or (api == "v1" and len(mean) != len(std)):
        return "its mean and std are no sequences of numbers to normalise by"
    if changes(transform, form):
        return CHANGING
    # torchvision divides in place, and v1 subtracts so too.
    copy_gray = api == "v2" and not transform.inplace and len(mean) >= len(std)
    params: dict[str, Any] = {"mean": mean, "std": std, "copy_gray": copy_gray}
    if form.half:
        with out_of_sight():
            divides = torch.tensor(std, dtype=getattr(torch, form.dtype)).all()
        if not divides:
            return f"its std comes to 0 in {form.dtype}"
        params["dtype"] = form.dtype
    return Step(form, layer=Normalising(), params=params)


def changes(transform: Any, form: Form) -> bool:
    """Whether a transform changes the image that it is given, which others may see."""
    return isinstance(transform, INPLACE) and transform.inplace and form.container != "pil" and not form.fresh


def numbers(value: Any) -> tuple[float, ...] | None:
    """A sequence of numbers as a tuple; None for anything else."""
    plain = isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value)
    return tuple(float(v) for v in value) if plain else None


def flip(axis: str) -> Callable[[Any, Form, str], Step | str]:
    return lambda transform, form, api: Step(form, layer=Flipping(), params={"axis": axis})


def grayscale(transform: Any, form: Form, api: str) -> Step | str:
    if transform.num_output_channels not in (1, 3) or not isinstance(transform.num_output_channels, int):
        return f"torchvision refuses {transform.num_output_channels!r} channels"
    # On one-channel tensors v1 returns one channel, whatever was asked for.
    copy_gray = api == "v2" or form.container == "pil"
    params = {"copies": transform.num_output_channels, "copy_gray": copy_gray}
    return Step(form, f"{kind_of(form, api)}/gray", params=params)


def random_grayscale(transform: Any, form: Form, api: str) -> Step | str:
    """Images keep their number of channels."""
    return Step(form, f"{kind_of(form, api)}/gray", params={"copies": 3, "copy_gray": False})


def permuted(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form, layer=Arranging(), params={})


def rgb(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form, layer=Arranging(), params={"order": (0, 0, 0), "gray_only": True})


def permitted(form: Form, api: str) -> Params:
    """Of colour operations, which check tensors in v1."""
    return {"channels": (1, 3)} if api == "v1" and form.container != "pil" else {}


def tabled(function: Callable[..., Any], *arguments: Any, pil: bool = False) -> Lookup | None:
    """A table of what a function of levels, each by itself, makes of all 256; None: it leaves them as they are.

    Args:
        pil: it takes them as a PIL image, not as a tensor.
    """
    with torch.inference_mode(False), out_of_sight():  # It is kept.
        levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        image = Image.fromarray(levels[0].numpy()) if pil else levels
        made = function(image, *arguments)
        return None if made is image else Lookup(to_tensor(made).reshape(1, 256))


def pointwise(
    name: str, *arguments: str, floats: Callable[[Any, Form, str], Step | str]
) -> Callable[[Any, Form, str], Step | str]:
    """A function of levels alone: its table is learned on the spot, from what it makes of all 256.

    ``floats``: what it does to float32.
    """

    def step(transform: Any, form: Form, api: str) -> Step | str:
        if form.dtype != "uint8":
            return floats(transform, form, api)
        functional = v1.functional if api == "v1" else v2.functional
        given = [getattr(transform, argument) for argument in arguments]
        try:
            table = tabled(getattr(functional, name), *given, pil=form.container == "pil")
        except (TypeError, ValueError) as error:  # Where it is applied, which chance decides.
            return f"torchvision refuses its arguments: {error}"
        return Step(form) if table is None else Step(form, layer=table, params=permitted(form, api))

    return step


def colour(role: str, **arguments: str) -> Callable[[Any, Form, str], Step | str]:
    """A layer of colour, with params out of the constructor."""

    def step(transform: Any, form: Form, api: str) -> Step | str:
        params = {name: getattr(transform, argument) for name, argument in arguments.items()}
        return Step(form, f"{kind_of(form, api)}/{role}", None, params)

    return step


def equalized(transform: Any, form: Form, api: str) -> Step | str:
    """Floats become levels before, and floats again behind."""
    if form.dtype == "uint8":
        return Step(form, f"{kind_of(form, api)}/equalize", None, permitted(form, api))
    if api == "v1":
        return "v1 equalizes uint8 only"
    # Just below 256, so that 1 becomes 255.
    levels = Step(form, layer=Quantising(), params={"factor": 255.999})
    return Step(form, parts=(levels, Step(form, "uint8/equalize", params={}), Step(form, "uint8/to_float", params={})))


def factored(role: str, slot: int, form: Form, api: str) -> Step:
    return Step(form, f"{kind_of(form, api)}/{role}", None, {"factor": Slot(slot)})


def jitter(transform: Any, form: Form, api: str) -> Step | str:
    """Four layers in any order, see ``color_draws.jitter_parts``; some may be left out."""
    used = jittered(transform)
    one = (factored(role, n, form, api) if role in used else Step(form) for n, role in enumerate(JITTERED))
    return Step(form, parts=tuple(one) * 4)


def jittered(transform: Any) -> tuple[str, ...]:
    """What a ColorJitter changes."""
    return tuple(role for role in JITTERED if getattr(transform, role) is not None)


def distort(transform: Any, form: Form, api: str) -> Step | str:
    """See ``color_draws.distort_parts``."""
    steps = (factored(role, JITTERED.index(role), form, api) for role in DISTORTED)
    return Step(form, parts=(*steps, Step(form, layer=Arranging(), params={})))


def blur(transform: Any, form: Form, api: str) -> Step | str:
    width, height = transform.kernel_size
    return Step(form, f"{kind_of(form, api)}/gaussian_blur", None, {"sigma": Slot(0), "size": (height, width)})


def inverted(transform: Any, form: Form, api: str) -> Step | str:
    # (x - 1) / -1 is 1 - x, rounded once.
    return Step(form, layer=Normalising(), params={"mean": (1.0,), "std": (-1.0,), **permitted(form, api)})


def posterized(transform: Any, form: Form, api: str) -> Step | str:
    if api == "v1":
        return "v1 posterizes uint8 only"
    if not isinstance(transform.bits, int) or not 0 <= transform.bits <= 8:
        return f"{transform.bits!r} bits are none of 0 to 8"
    return Step(form, layer=Posterizing(transform.bits), params={})


def solarized(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form, layer=Solarising(transform.threshold), params=permitted(form, api))


def erased(transform: Any, form: Form, api: str) -> Step | str:
    """The part that was drawn is overwritten before; see segment.py."""
    value = "random" if writes_noise(transform) else value_of(transform)
    if form.container == "pil" and api == "v1":
        return "v1 erases tensors only"
    if value is None:
        return "its value is no number, and no numbers"
    return Step(form, layer=Erasing(), params={"value": value})


def projected(transform: Any, form: Form, api: str) -> Step | str:
    matrix, mean = transform.transformation_matrix, transform.mean_vector
    if form.container == "pil":
        return "LinearTransformation takes tensors only"
    if matrix.dtype != torch.float32 or mean.dtype != torch.float32:
        return f"a matrix of {matrix.dtype} is not learned"
    return Step(form._replace(dtype="float32"), layer=Projecting(matrix, mean), params={})


def to_float_tensor(transform: Any, form: Form, api: str) -> Step | str:
    if form.container not in ("pil", "numpy"):
        return "ToTensor takes PIL images and arrays only"
    if form.dtype != "uint8":
        return "ToTensor leaves arrays of floats as they are"
    if torch.get_default_dtype() != torch.float32:
        return "the default dtype is not float32"
    made = form._replace(container="tensor", dtype="float32", fresh=True)
    return Step(made, "pil/to_float", params={})


def dtype_for(transform: Any, form: Form) -> Any:
    """The dtype that a conversion gives to images of a form."""
    if not isinstance(transform.dtype, dict):
        return transform.dtype
    return transform.dtype.get(TYPES.get(form.container), transform.dtype.get("others", "that nothing says"))


def leaves_dtype(transform: Any, form: Form) -> bool:
    """Whether it is a ToDtype that is told to leave images of a form as they are."""
    return isinstance(transform, v2.ToDtype) and dtype_for(transform, form) is None


def to_dtype(transform: Any, form: Form, api: str) -> Step | str:
    if form.container == "pil":
        return Step(form) if api == "v2" else "tensors only"
    if form.container == "mask":
        return Step(form._replace(fresh=True))
    if leaves_dtype(transform, form):
        return Step(form) if not transform.scale else "it warns that it scales nothing"
    wanted = dtype_for(transform, form)
    if wanted == getattr(torch, form.dtype):
        return Step(form)
    name, scaled = FLOATS.get(wanted), getattr(transform, "scale", True)
    if name is None or form.half or (form.container == "numpy" and wanted == torch.bfloat16):
        return OWN
    made = form._replace(dtype=name, fresh=True)
    if form.dtype == "float32":
        return Step(made, layer=Casting(), params={"dtype": name})
    if wanted == torch.float32 and scaled:
        return Step(made, f"{kind_of(form, api)}/to_float", params={})
    if api == "v1":
        return Step(made, layer=tabled(v1.functional.convert_image_dtype, wanted), params={})
    return Step(made, layer=tabled(v2.functional.to_dtype, wanted, scaled), params={})


def to_container(container: str, takes: Sequence[str]) -> Callable[[Any, Form, str], Step | str]:
    """A change of container only; other containers stay what they are."""
    return lambda transform, form, api: Step(form._replace(container=container) if form.container in takes else form)


def pil_to_tensor(transform: Any, form: Form, api: str) -> Step | str:
    if form.container == "pil":
        return Step(form._replace(container="tensor"))
    if api == "v1":
        return "PILToTensor takes PIL images only"
    return UNTOUCHED if form.container == "numpy" else Step(form)


def to_pil_image(transform: Any, form: Form, api: str) -> Step | str:
    """Floats in [0, 1]; what torchvision makes of others is the platform's choice."""
    if form.container == "pil":
        return Step(form) if api == "v2" else "ToPILImage takes tensors and arrays only"
    if form[:2] == ("numpy", "float32"):
        return "ToPILImage makes other modes of arrays of floats"
    channels = {None: (1, 3), "L": (1,), "RGB": (3,)}.get(transform.mode)
    if channels is None:
        return f"mode {transform.mode} is not learned"
    if not form.plain:
        return "it is not one image of one or three channels"
    factor = None if form.dtype == "uint8" else 255.0
    made = Form("pil", "uint8", several=form.several)
    return Step(made, layer=Quantising(), params={"factor": factor, "channels": channels})


def several(transform: Any, form: Form, api: str) -> Step | str:
    """Five crops, or ten where there is an axis along which to flip; see segment.py."""
    size = tuple(transform.size)
    if not all(isinstance(length, int) and length > 0 for length in size):
        return f"a size of {size} is not learned"
    mirror = None
    if hasattr(transform, "vertical_flip"):
        mirror = "vertical" if transform.vertical_flip else "horizontal"
    return Step(form._replace(several=True), layer=Cutting(size, mirror), params={})


def unchanged(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form)


def own(transform: Any, form: Form, api: str) -> Step | str:
    """One of torch's own operations."""
    return OWN
