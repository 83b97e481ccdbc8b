"""Containers and dtypes of images; and what does nothing to them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torchvision.transforms as v1
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from learned_transforms.images.formats import DTYPES, HALVES, Form
from learned_transforms.images.layout import PLANES
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.given import Quantizing
from learned_transforms.layers.pointwise import Casting
from learned_transforms.transforms.color import without_info
from learned_transforms.transforms.padding import TYPES
from learned_transforms.transforms.pointwise import tabled
from learned_transforms.transforms.spec import Outcome, Spec, Step, kind_of

FLOAT_NAMES = {dtype: name for dtype, name in (*DTYPES.items(), *HALVES.items()) if dtype.is_floating_point}
"""Dtypes that layers convert images to; an array has no bfloat16."""

OWN = "torch computes it"
"""Why no layer runs a transform that is torch's own operation; nobody need be told."""

UNTOUCHED = "it leaves arrays as they are"


class ToTensorIfPIL(nn.Module):
    """PIL images become tensors, and tensors stay as they are, which torchvision's presets do in between."""

    def forward(self, image: Any) -> torch.Tensor:
        return image if isinstance(image, torch.Tensor) else v1.functional.pil_to_tensor(image)


def to_float_tensor(form: Form) -> Step | str:
    """Lower ToTensor."""
    if form.container not in ("pil", "numpy"):
        return "ToTensor takes PIL images and arrays only"
    if form.dtype != "uint8":
        return "ToTensor leaves arrays of floats as they are"
    if torch.get_default_dtype() != torch.float32:
        return "the default dtype is not float32"
    return Step(form._replace(container="tensor", dtype="float32", fresh=True), "pil/to_float", params={})


class ToTensor(Spec):
    """A PIL image or an array as a float tensor in [0, 1]."""

    default_dtype = unmarking = takes_arrays = True

    def roles(self) -> tuple[str, ...]:
        return ("to_float",)

    def lower(self, form: Form) -> Step | str:
        return to_float_tensor(form)

    def order_after(self, before: Form, after: Form, order: int) -> int:
        """Copy to planes."""
        return PLANES

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class PILToTensor(Spec):
    """A PIL image as a uint8 tensor."""

    unmarking = keeps_order = True
    kept = ("image", "video")

    def lower(self, form: Form) -> Step | str:
        if form.container == "pil":
            return Step(form._replace(container="tensor"))
        if self.api == "v1":
            return "PILToTensor takes PIL images only"
        return UNTOUCHED if form.container == "numpy" else Step(form)

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class ToPILImage(Spec):
    """Floats in [0, 1]; what torchvision makes of others is the platform's choice."""

    arguments = ("mode",)
    takes_arrays = True
    kept = ("pil",)

    def lower(self, form: Form) -> Step | str:
        if form.container == "pil":
            return Step(form) if self.api == "v2" else "ToPILImage takes tensors and arrays only"
        if form[:2] == ("numpy", "float32"):
            return "ToPILImage makes other modes of arrays of floats"
        channels = {None: (1, 3), "L": (1,), "RGB": (3,)}.get(self.transform.mode)
        if channels is None:
            return f"mode {self.transform.mode} is not learned"
        if not form.plain:
            return "it is not one image of one or three channels"
        factor = None if form.dtype == "uint8" else 255.0
        made = Form("pil", "uint8", several=form.several)
        return Step(made, layer=Quantizing(), params={"factor": factor, "channels": channels})


class ConvertImageDtype(Spec):
    """Another dtype, scaled to its range."""

    arguments: ClassVar[Sequence[str]] = ("dtype",)
    half = converting = keeps_order = True
    kept = ("pil",)
    scales = True
    """Whether values are scaled to the range of the other dtype."""

    def roles(self) -> tuple[str, ...]:
        return ("to_float",)

    def skips(self, form: Form) -> bool:
        return False

    def dtype_for(self, form: Form) -> Any:
        """Return the dtype of what it makes of images of a form."""
        return self.transform.dtype

    def leaves_dtype(self, form: Form) -> bool:
        """Return whether it is told to leave the dtype of images of a form as it is."""
        return False

    def lower(self, form: Form) -> Step | str:
        if form.container == "pil":
            return Step(form) if self.api == "v2" else "tensors only"
        if form.container == "mask":
            return Step(form._replace(fresh=True) if self.api == "v2" else form)
        if self.leaves_dtype(form):
            return Step(form) if not self.scales else "it warns that it scales nothing"
        wanted = self.dtype_for(form)
        if wanted == getattr(torch, form.dtype):
            return Step(form)
        name = FLOAT_NAMES.get(wanted)
        if name is None or form.half or (form.container == "numpy" and wanted == torch.bfloat16):
            return OWN
        made = form._replace(dtype=name, fresh=True)
        if form.dtype == "float32":
            return Step(made, layer=Casting(), params={"dtype": name})
        if wanted == torch.float32 and self.scales:
            return Step(made, f"{kind_of(form, self.api)}/to_float", params={})
        if self.api == "v1":
            return Step(made, layer=tabled(v1.functional.convert_image_dtype, wanted), params={})
        return Step(made, layer=tabled(v2.functional.to_dtype, wanted, self.scales), params={})


class ToDtype(ConvertImageDtype):
    """Another dtype, for each class of inputs if told so; scaled to its range or not."""

    arguments = ("dtype", "scale")

    @property
    def scales(self) -> bool:  # type: ignore[override]
        return bool(self.transform.scale)

    def dtype_for(self, form: Form) -> Any:
        dtype = self.transform.dtype
        if not isinstance(dtype, dict):
            return dtype
        return dtype.get(TYPES.get(form.container), dtype.get("others", "that nothing says"))

    def leaves_dtype(self, form: Form) -> bool:
        return self.dtype_for(form) is None

    def keeps(self, form: Form, drawn: Outcome, gray: bool) -> bool:
        return super().keeps(form, drawn, gray) or self.leaves_dtype(form)


class Rewrapped(Spec):
    """A change of container only; other containers stay what they are.

    Attributes:
        container: what comes out.
        takes: the containers that are changed.
    """

    container: ClassVar[str] = "tensor"
    takes: ClassVar[tuple[str, ...]]

    def lower(self, form: Form) -> Step | str:
        return Step(form._replace(container=self.container) if form.container in self.takes else form)


class ToImage(Rewrapped):
    """Any image as a ``tv_tensors.Image``."""

    half = keeps_order = takes_arrays = True
    container, takes = "image", ("pil", "tensor", "numpy")
    kept = ("image", "video")

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class ToPureTensor(Rewrapped):
    """A tv_tensor as a plain tensor."""

    half = converting = unmarking = keeps_order = True
    takes = ("image", "video")
    kept = ("pil",)


class PresetToTensor(Rewrapped):
    """Of :class:`ToTensorIfPIL`."""

    takes = ("pil",)


class Identity(Spec):
    """Nothing."""

    half = keeps_order = True
    kept = ("pil", "image", "video")

    def lower(self, form: Form) -> Step | str:
        return Step(form)
