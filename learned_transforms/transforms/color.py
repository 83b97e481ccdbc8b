"""Grays, colors, sharpness and blur."""

from functools import lru_cache
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image, ImageEnhance

from learned_transforms.images.formats import Form
from learned_transforms.images.layout import UNKNOWN
from learned_transforms.ir.ops import Slot
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import Params
from learned_transforms.layers.given import Quantizing
from learned_transforms.layers.pointwise import Arranging
from learned_transforms.transforms.rng import between, round_float32, toss
from learned_transforms.transforms.spec import (
    ALWAYS,
    Coin,
    DrawnPart,
    Factored,
    Outcome,
    Seen,
    Spec,
    Step,
    kind_of,
    names_are,
)

JITTERED = ("brightness", "contrast", "saturation", "hue")
FACTORS = tuple(f"{name}_factor" for name in JITTERED)
DISTORTED = (*JITTERED, "contrast")
"""Of RandomPhotometricDistort, whose contrast comes early or late."""

FACTOR, ORDER = (float, int, type(None)), (tuple, list)
JITTER = {"fn_idx": ORDER, **dict.fromkeys(FACTORS, FACTOR)}
DISTORT = {**dict.fromkeys(FACTORS, FACTOR), "contrast_before": (bool,), "channel_permutation": (*ORDER, type(None))}
BLUR = {"sigma": (float, int)}
"""What is drawn, by name, with its types."""


def permitted(form: Form, api: str) -> Params:
    """Return params of color operations, which check the channels of tensors in v1."""
    return {"channels": (1, 3)} if api == "v1" and form.container != "pil" else {}


class Grayscale(Spec):
    """One gray channel, or three copies of it."""

    arguments = ("num_output_channels",)
    default_dtype = expanding = True
    kept = ("video",)

    def roles(self) -> tuple[str, ...]:
        return ("gray",)

    def skips(self, form: Form) -> bool:
        return super().skips(form) or (form.container == "video" and self.api == "v2")

    def lower(self, form: Form) -> Step | str:
        count = self.transform.num_output_channels
        if count not in (1, 3) or not isinstance(count, int):
            return f"torchvision refuses {count!r} channels"
        # On one-channel tensors v1 returns one channel, whatever was asked for.
        copy_gray = self.api == "v2" or form.container == "pil"
        return Step(form, f"{kind_of(form, self.api)}/gray", params={"copies": count, "copy_gray": copy_gray})

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        made: Image.Image = v1.functional.to_grayscale(pixel, self.transform.num_output_channels)
        return made


class RandomGrayscale(Coin, Grayscale):
    """Images keep their number of channels."""

    arguments = ("p",)
    alike = True

    def lower(self, form: Form) -> Step | str:
        return Step(form, f"{kind_of(form, self.api)}/gray", params={"copies": 3, "copy_gray": False})

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        made: Image.Image = v1.functional.to_grayscale(pixel, len(pixel.getbands()))
        return made


class RGB(Spec):
    """Gray images as three equal channels; others stay as they are."""

    keeps_order = True
    kept = ("video",)

    def skips(self, form: Form) -> bool:
        return super().skips(form) or form.container == "video"

    def lower(self, form: Form) -> Step | str:
        return Step(form, layer=Arranging(), params={"order": (0, 0, 0), "gray_only": True})

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return pixel.convert("RGB")


class RandomChannelPermutation(Spec):
    """Channels in a drawn order."""

    names = ("order",)
    random = looks = alike = True

    def lower(self, form: Form) -> Step | str:
        return Step(form, layer=Arranging(), params={})

    def sample(self, seen: Seen) -> Outcome:
        return (("order", tuple(torch.randperm(seen.shape[0]).tolist())),)

    def native_parts(self) -> list[DrawnPart] | None:
        return [("order", "order", 0.0, 0.0, ALWAYS)]

    def replay(self, entry: Any) -> Outcome | None:
        order = entry["order"] if names_are(entry, self.names) else None
        if not isinstance(order, list | tuple) or any(type(channel) is not int for channel in order):
            return None
        return (("order", tuple(order)),)

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class Jittered(Factored):
    """Brightness, contrast, saturation and hue, by drawn factors."""

    default_dtype = True
    factors = FACTORS

    def roles(self) -> tuple[str, ...]:
        return tuple(role for role in JITTERED if getattr(self.transform, role) is not None)

    def factored(self, role: str, form: Form) -> Step:
        """Lower one of the four."""
        return Step(form, f"{kind_of(form, self.api)}/{role}", None, {"factor": Slot(JITTERED.index(role))})

    def keeps(self, form: Form, drawn: Outcome, gray: bool) -> bool:
        """Gray PIL images have no hues, and come back themselves where these are all that is turned."""
        values = {} if isinstance(drawn, bool) else dict(drawn)
        used = [
            name for name, value in values.items() if value is not None and name in (*FACTORS, "channel_permutation")
        ]
        return gray and used == ["hue_factor"]

    def order_after(self, before: Form, after: Form, order: int) -> int:
        """v1 may change the order of planes."""
        found = super().order_after(before, after, order)
        turns = self.api == "v1" and "pil" not in (before.container, after.container)
        return UNKNOWN if turns else found

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        """All but saturation make new images, unless their factor is 1."""
        params = dict(drawn) if isinstance(drawn, tuple) else {}
        brightness, contrast, saturation, hue = (params.get(name) for name in FACTORS)
        turned = (hue is not None and pixel.mode != "L") or params.get("channel_permutation") is not None
        if turned or brightness not in (None, 1) or contrast not in (None, 1):
            return without_info(pixel)
        return pixel if saturation is None else ImageEnhance.Color(pixel).enhance(saturation)


class ColorJitter(Jittered):
    """The four in a drawn order; each may be left out."""

    arguments = JITTERED
    types = JITTER
    names = tuple(JITTER)

    def argument(self, name: str) -> Any:
        """v1 keeps None for what is left as it is, and takes 0."""
        value = super().argument(name)
        return 0 if value is None else value

    def lower(self, form: Form) -> Step | str:
        used = self.roles()
        one = tuple(self.factored(role, form) if role in used else Step(form) for role in JITTERED)
        return Step(form, parts=one * 4)

    def sample(self, seen: Seen) -> Outcome:
        order = tuple(torch.randperm(4).tolist())
        ranges = (getattr(self.transform, name) for name in JITTERED)
        values = [None if bounds is None else between(*bounds) for bounds in ranges]
        return ("fn_idx", order), *zip(FACTORS, values, strict=True)

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        return places_of(drawn)

    def native_parts(self) -> list[DrawnPart] | None:
        ranges = (getattr(self.transform, name) for name in JITTERED)
        return [("fn_idx", "order", 4.0, 0.0, ALWAYS), *map(factor_part, FACTORS, ranges)]


@lru_cache(maxsize=4096)
def places_of(drawn: tuple[tuple[str, Any], ...]) -> tuple[Outcome, ...]:
    """Of a ColorJitter's four places, each of which has all four layers, say which of these are applied."""
    (_, order), *values = drawn
    return tuple(values[layer][1] is not None and layer == chosen for chosen in order for layer in range(4))


class RandomPhotometricDistort(Jittered):
    """The four, each or not, contrast early or late; then channels change places."""

    arguments = (*JITTERED, "p")
    types = DISTORT
    names = tuple(DISTORT)
    looks = alike = True

    def roles(self) -> tuple[str, ...]:
        return JITTERED

    def lower(self, form: Form) -> Step | str:
        steps = (self.factored(role, form) for role in DISTORTED)
        return Step(form, parts=(*steps, Step(form, layer=Arranging(), params={})))

    def sample(self, seen: Seen) -> Outcome:
        chance = round_float32(self.transform.p)
        ranges = (getattr(self.transform, name) for name in JITTERED)
        values = [between(*bounds) if toss((chance,))[0] else None for bounds in ranges]
        before = bool(torch.rand(()) < 0.5)
        order = tuple(torch.randperm(seen.shape[0]).tolist()) if toss((chance,))[0] else None
        return *zip(FACTORS, values, strict=True), ("contrast_before", before), ("channel_permutation", order)

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        values = dict(drawn)
        used = [values[name] is not None for name in FACTORS]
        early, order = values["contrast_before"], values["channel_permutation"]
        moved: Outcome = False if order is None else (("order", order),)
        return used[0], used[1] and early, used[2], used[3], used[1] and not early, moved

    def native_parts(self) -> list[DrawnPart] | None:
        p = round_float32(self.transform.p)
        return [
            *(factor_part(f"{name}_factor", getattr(self.transform, name), p) for name in JITTERED),
            ("contrast_before", "coin", 0.0, 0.0, 0.5),
            ("channel_permutation", "order", 0.0, 0.0, p),
        ]


class Blurred(Factored):
    """A blur by a drawn sigma."""

    types = BLUR
    names = factors = ("sigma",)

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        return (True,)


class GaussianBlur(Blurred):
    """A Gaussian blur over a window of pixels."""

    arguments = ("kernel_size", "sigma")
    shallow = True

    def roles(self) -> tuple[str, ...]:
        return ("gaussian_blur",)

    def lower(self, form: Form) -> Step | str:
        width, height = self.transform.kernel_size
        params = {"sigma": Slot(0), "size": (height, width)}
        # torchvision makes tensors of PIL images for it, and v1's own teacher is one of those.
        kind = "uint8" if form.container == "pil" and self.api == "v2" else kind_of(form, self.api)
        return Step(form, f"{kind}/gaussian_blur", None, params)

    def sample(self, seen: Seen) -> Outcome:
        return (("sigma", between(*self.transform.sigma)),)

    def native_parts(self) -> list[DrawnPart] | None:
        return [factor_part("sigma", self.transform.sigma)]

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class Adjusting(Coin):
    """A coin that v1 compares with p itself, and v2 with p as a float32."""

    def chance(self) -> float:
        return float(self.transform.p) if self.api == "v1" else super().chance()


class RandomAdjustSharpness(Adjusting):
    """Sharper by a factor, or not."""

    arguments = ("sharpness_factor", "p")
    default_dtype = shallow = True

    def roles(self) -> tuple[str, ...]:
        return ("sharpness",)

    def lower(self, form: Form) -> Step | str:
        return Step(form, f"{kind_of(form, self.api)}/sharpness", None, {"factor": self.transform.sharpness_factor})


class RandomAutocontrast(Adjusting):
    """Each channel stretched to the whole range, or not."""

    arguments = ("p",)

    def roles(self) -> tuple[str, ...]:
        return ("autocontrast",)

    def lower(self, form: Form) -> Step | str:
        return Step(form, f"{kind_of(form, self.api)}/autocontrast", None, {})


class RandomEqualize(Adjusting):
    """Floats become levels before, and floats again behind."""

    arguments = ("p",)
    default_dtype = shallow = True

    def roles(self) -> tuple[str, ...]:
        return "equalize", "to_float"

    def lower(self, form: Form) -> Step | str:
        return equalized(form, self.api)


def equalized(form: Form, api: str) -> Step | str:
    """Lower what makes histograms flat."""
    if form.dtype == "uint8":
        return Step(form, f"{kind_of(form, api)}/equalize", None, permitted(form, api))
    if api == "v1":
        return "v1 equalizes uint8 only"
    # Just below 256, so that 1 becomes 255.
    levels = Step(form, layer=Quantizing(), params={"factor": 255.999})
    return Step(form, parts=(levels, Step(form, "uint8/equalize", params={}), Step(form, "uint8/to_float", params={})))


def factor_part(name: str, bounds: Any, chance: float = ALWAYS) -> DrawnPart:
    """Tell the native sampler of a factor between bounds; None: it is not used."""
    if bounds is None:
        return name, "none", 0.0, 0.0, 0.0
    low, high = bounds
    return name, "factor", float(low), float(high), chance


def without_info(pixel: Image.Image) -> Image.Image:
    """Drop ``Image.info``, as what goes by way of a tensor or an array does."""
    pixel.info = {}
    return pixel
