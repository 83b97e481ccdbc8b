"""timm's policies: drawn by its own rules, from Python's generator and NumPy's."""

import math
import random
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.images.formats import Form
from learned_transforms.ir.ops import Slot, Slots
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.given import Quantizing
from learned_transforms.transforms.chains import COPY, WARP, Chain, Operation, Settled, placed
from learned_transforms.transforms.clients.entries import Views
from learned_transforms.transforms.clients.layers import Boxing
from learned_transforms.transforms.clients.twins import PIL_ONLY
from learned_transforms.transforms.color import equalized
from learned_transforms.transforms.pointwise import table_step
from learned_transforms.transforms.policies import BLENDED, selecting
from learned_transforms.transforms.spec import Making, Outcome, Seen, Step, Twin
from learned_transforms.transforms.warp import Placement, rotation, warped

FUNCTIONS = {
    **{"AutoContrast": "auto_contrast", "Equalize": "equalize", "Invert": "invert", "Rotate": "rotate"},
    **dict.fromkeys(("Posterize", "PosterizeIncreasing", "PosterizeOriginal"), "posterize"),
    **dict.fromkeys(("Solarize", "SolarizeIncreasing"), "solarize"),
    **{f"{name}{how}": name.lower() for name in BLENDED for how in ("", "Increasing")},
    **{"SolarizeAdd": "solarize_add", "Desaturate": "desaturate"},
    **{"ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x_abs", "TranslateY": "translate_y_abs"},
    **{"TranslateXRel": "translate_x_rel", "TranslateYRel": "translate_y_rel"},
    **{"GaussianBlur": "gaussian_blur", "GaussianBlurRand": "gaussian_blur_rand"},
}
"""Of timm, by operation."""

HELPERS = ("_randomly_negate", "_interpolation", "_check_args_tf", *dict.fromkeys(FUNCTIONS.values()))
"""Functions of timm on which operations rely."""

MOVING = ("rotate", "shear_x", "shear_y", "translate_x_abs", "translate_y_abs", "translate_x_rel", "translate_y_rel")
"""Those that move pixels, and may draw how they interpolate."""

BLENDING = {**{name.lower(): role for name, role in BLENDED.items()}, "desaturate": "saturation"}
"""Those that move an image towards another: the layers."""

BLURRING = ("gaussian_blur", "gaussian_blur_rand")

ARGUMENTS = {"posterize": range(1, 9), "solarize": range(257), "solarize_add": range(129)}
"""Those of levels, and what they take."""


class Augmenting(Twin, Chain):
    """Operations of timm's, one after another.

    Args:
        ops: all of them, AugmentOps.
        places: how many may come.
    """

    def __init__(self, ops: Sequence[Any], places: int) -> None:
        self.ops, self.places = list(ops), places
        self.functions = {FUNCTIONS[op.name]: op.aug_fn for op in self.ops}
        self.fills = [op.kwargs["fillcolor"] for op in self.ops]
        self.labels = tuple(dict.fromkeys(label for op in self.ops for label in labels_of(op)))

    def roles(self) -> tuple[str, ...]:
        return (*dict.fromkeys(BLENDING.values()), "autocontrast", "equalize", "warp_")

    def lower(self, form: Form) -> Step | str:
        return super().lower(form) if form.container == "pil" else PIL_ONLY

    def layer(self, label: str, form: Form, slot: int) -> Step | str:
        if label in BLENDING:
            return Step(form, f"pil/{BLENDING[label]}", None, {"factor": Slot(slot)})
        if label in ARGUMENTS:
            layer = selecting(self.functions[label], ARGUMENTS[label], True)
            return Step(form, layer=layer, params={"number": Slot(slot)})
        if label in BLURRING:
            return Step(form, layer=Boxing(), params={"sigma": Slot(slot)})
        if label == "auto_contrast":
            return Step(form, "pil/autocontrast", None, {})
        if label == "equalize":
            return equalized(form, self.api)
        if label == "invert":
            return table_step(form, self.api, "invert")
        kind, _, how = label.partition("/")
        fill = self.fills[0]
        if len(set(self.fills)) > 1:
            return "its operations fill with several colors"
        if fill and not isinstance(fill, list | tuple):
            return "Pillow fills the first channel alone with a number"
        found = warped(form, self.api, int(how), fill, Slots(slot, self.slots))
        return found if isinstance(found, str) else found[(WARP, COPY).index(kind)]

    def settled(self, drawn: Operation, size: Size, container: str) -> Settled:
        name, argument = drawn
        function, _, how = name.partition("/")
        if how:
            label, numbers = placed(moved(function, argument, size))
            return f"{label}/{how}", numbers
        return name, (float(ARGUMENTS[name].index(int(argument))) if name in ARGUMENTS else argument,)

    def drawn(self, ops: Sequence[Any], seen: Seen) -> Outcome:
        """Draw what operations do, one after another."""
        found = (drawn_operation(op, seen.shape[0]) for op in ops)
        return (("ops", tuple(one for one in found if one is not None)),)

    def carry(self, drawn: Any, pixel: Image.Image, size: Size) -> Image.Image:
        for name, argument in drawn[0][1]:
            function, _, how = name.partition("/")
            if function in BLURRING:
                pixel = pixel.filter(ImageFilter.GaussianBlur(argument))
            elif function == "desaturate":
                pixel = ImageEnhance.Color(pixel).enhance(argument)
            else:
                moving = {"resample": int(how), "fillcolor": self.fills[0]} if how else {}
                given = int(argument) if function in ARGUMENTS else argument
                alone = function in ("auto_contrast", "equalize", "invert")
                pixel = self.functions[function](pixel, *(() if alone else (given,)), **moving)
        return pixel


class AugmentOp(Augmenting):
    """One operation, or none."""

    def __init__(self, op: Any) -> None:
        super().__init__([op], 1)

    def sample(self, seen: Seen) -> Outcome:
        return self.drawn(self.ops, seen)


class RandAugment(Augmenting):
    """Some of the operations, each of which may come again, or by their weights."""

    def __init__(self, ops: Sequence[Any], places: int, weights: Any) -> None:
        super().__init__(ops, places)
        self.weights = weights

    def sample(self, seen: Seen) -> Outcome:
        count = len(self.ops)
        chosen = np.random.choice(count, self.places, replace=self.weights is None, p=self.weights)
        return self.drawn([self.ops[number] for number in chosen], seen)


class AutoAugment(Augmenting):
    """One of several rows of operations."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        super().__init__([op for row in rows for op in row], max(map(len, rows)))
        self.rows = list(rows)

    def sample(self, seen: Seen) -> Outcome:
        return self.drawn(random.choice(self.rows), seen)


class Cut(Twin):
    """Floats as the levels below them, clamped."""

    def __call__(self, image: Tensor) -> Tensor:
        return image.clamp(0, 255).to(torch.uint8)

    def lower(self, form: Form) -> Step | str:
        return Step(form._replace(dtype="uint8", fresh=True), layer=Quantizing(), params={"factor": 1.0})


class MixedChain(Augmenting):
    """One of the chains of an AugMix.

    Args:
        depth: of operations; 0 or below: one to three.
    """

    def __init__(self, ops: Sequence[Any], depth: int) -> None:
        super().__init__(ops, depth if depth > 0 else 3)
        self.depth = depth

    def __call__(self, image: Any) -> Any:
        """Have timm do it, where no layers do."""
        return reduce(lambda made, op: op(made), self.chosen(), image)

    def chosen(self) -> list[Any]:
        """Draw the operations."""
        depth = self.depth if self.depth > 0 else np.random.randint(1, 4)
        return [self.ops[number] for number in np.random.choice(len(self.ops), depth, replace=True)]

    def sample(self, seen: Seen) -> Outcome:
        return self.drawn(self.chosen(), seen)


class AugMix(Twin):
    """Chains of operations side by side, mixed as timm mixes them: layers run the chains."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def lower(self, form: Form) -> Step | str:
        return "it mixes several images"

    def held(self, make: Making) -> Mapping[str, Any]:
        own = self.own
        chain = make([MixedChain(own.ops, own.depth), v2.PILToTensor(), v2.ToDtype(torch.float32)])
        picture = make([Cut(), v2.ToPILImage()])

        def mix(image: Any, weights: Any, share: Any) -> Any:
            if not chain.covers(image):
                return own._apply_basic(image, weights, share)
            parts = (chain(image).mul_(weight) for weight in weights.tolist())
            return Image.blend(image, picture(reduce(Tensor.add_, parts)), share)

        return {"_apply_basic": mix, "transforms": [chain]}


def labels_of(op: Any) -> list[str]:
    """Return the labels of the layers that run an operation: of each way to interpolate."""
    name, how = FUNCTIONS[op.name], op.kwargs["resample"]
    if name not in MOVING:
        return [name]
    ways = how if isinstance(how, list | tuple) else (how,)
    return [f"{label}/{int(one)}" for one in ways for label in (WARP, COPY)]


def moved(function: str, argument: float, size: Size) -> Placement:
    """Return where the pixels come from of an image of ``size`` that a function of timm's moves."""
    rows, columns = size
    if function == "rotate":
        return rotation(argument, size, "pil", "v1")
    if function == "shear_x":
        return Placement((1.0, argument, 0.0, 0.0, 1.0, 0.0), size)
    if function == "shear_y":
        return Placement((1.0, 0.0, 0.0, argument, 1.0, 0.0), size)
    across = function.startswith("translate_x")
    shift = argument * (columns if across else rows) if function.endswith("rel") else argument
    return Placement((1.0, 0.0, shift if across else 0.0, 0.0, 1.0, 0.0 if across else shift), size)


def drawn_operation(op: Any, channels: int) -> Operation | None:
    """Draw whether an operation is applied to an image of so many channels, and its argument, as timm's AugmentOp does.

    Raises:
        TypeError, ValueError: Pillow refuses the argument, or fill of another number of channels.
    """
    if op.prob < 1.0 and random.random() > op.prob:
        return None
    magnitude = op.magnitude
    if op.magnitude_std == math.inf:
        magnitude = random.uniform(0, magnitude)
    elif op.magnitude_std > 0:
        magnitude = random.gauss(magnitude, op.magnitude_std)
    magnitude = max(0.0, min(magnitude, op.magnitude_max or 10.0))
    given = () if op.level_fn is None else op.level_fn(magnitude, op.hparams)
    argument = float(given[0]) if given else 0.0
    name = FUNCTIONS[op.name]
    if name == "desaturate":
        argument = min(1.0, max(0.0, 1.0 - argument))
    elif name == "gaussian_blur_rand":
        argument = random.uniform(0.1, 2.0 * argument)
    elif name in MOVING:
        how, fill = op.kwargs["resample"], op.kwargs["fillcolor"]
        how = random.choice(how) if isinstance(how, list | tuple) else how
        if isinstance(fill, list | tuple) and len(fill) != channels:
            op.aug_fn(Image.new("L" if channels == 1 else "RGB", (1, 1)), *given, resample=how, fillcolor=fill)
        name = f"{name}/{int(how)}"
    elif name in ARGUMENTS and argument not in ARGUMENTS[name]:
        op.aug_fn(Image.new("L", (1, 1)), *given)
    return name, argument


def read_op(op: Any, read: Any) -> Any:
    if op.name not in FUNCTIONS or op.aug_fn is not getattr(sys.modules[type(op).__module__], FUNCTIONS[op.name]):
        return f"its {op.name} is none of timm's"
    return AugmentOp(op)


def read_rand(policy: Any, read: Any) -> Any:
    ops = [read(op) for op in policy.ops]
    if not all(isinstance(op, AugmentOp) for op in ops):
        return "one of its operations is none of timm's"
    return RandAugment(policy.ops, policy.num_layers, policy.choice_weights)


def read_auto(policy: Any, read: Any) -> Any:
    if not all(isinstance(read(op), AugmentOp) for row in policy.policy for op in row):
        return "one of its operations is none of timm's"
    return AutoAugment(policy.policy)


def read_mixed(policy: Any, read: Any) -> Any:
    if not all(isinstance(read(op), AugmentOp) for op in policy.ops):
        return "one of its operations is none of timm's"
    return Views(("ops",)) if policy.blended else AugMix(policy)


POLICIES = (AugmentOp, RandAugment, AutoAugment, MixedChain, Cut, AugMix)
"""All of these classes."""
