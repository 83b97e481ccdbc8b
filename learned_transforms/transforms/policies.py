"""Policies of augmentation: a few operations of many, drawn with their magnitudes, one after another."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from types import FunctionType, MethodType
from typing import Any, ClassVar

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import autoaugment, v2

from learned_transforms.images.formats import Form
from learned_transforms.ir.ops import Slot, Slots
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.pointwise import Selecting
from learned_transforms.transforms.chains import COPY, WARP, Chain, Operation, Settled, placed
from learned_transforms.transforms.color import equalized, permitted
from learned_transforms.transforms.pointwise import table_step, tabled
from learned_transforms.transforms.rng import below, draw, round_float32
from learned_transforms.transforms.spec import Making, Outcome, Seen, Spec, Step, kind_of, names_are
from learned_transforms.transforms.warp import Placement, affine, rotation, warped

Magnitudes = tuple[tuple[float, ...] | None, bool]
"""Of an operation: those in its table, if it has any; and whether a sign is drawn."""


BLENDED = {"Brightness": "brightness", "Color": "saturation", "Contrast": "contrast", "Sharpness": "sharpness"}
"""Operations that move an image towards another, by 1 and their magnitude: the layers."""

TABLES = {"Posterize": ("posterize", 9), "Solarize": ("solarize", 256)}
"""Operations that map levels: torchvision's functionals, and how many arguments they take, from 0 on."""

MOVED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
"""Operations that move pixels."""


MOST_SIZES = 64
"""Of images, for which a policy remembers magnitudes."""


class Policy(Chain):
    """A policy of torchvision's."""

    arguments: ClassVar[Sequence[str]] = ("interpolation", "fill")
    bins: int
    """Magnitudes in a table."""

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.known: dict[tuple[str, Size | None], Magnitudes] = {}

    def roles(self) -> tuple[str, ...]:
        return (*BLENDED.values(), "autocontrast", "equalize", "warp_")

    def space(self, name: str, size: Size) -> Magnitudes:
        """Return the magnitudes of an operation on images of ``size``, out of torchvision's table."""
        key = name, size if name.startswith("Translate") else None
        found = self.known.get(key)
        if found is None:
            values, signed = self.table(size)[name] if self.api == "v1" else self.entry(name, size)
            found = None if values is None or not values.ndim else tuple(values.tolist()), signed
            if len(self.known) >= MOST_SIZES:
                self.known.clear()
            self.known[key] = found
        return found

    def table(self, size: Size) -> Mapping[str, Any]:
        """Return v1's table."""
        made: Mapping[str, Any] = self.transform._augmentation_space(self.bins, size)
        return made

    def entry(self, name: str, size: Size) -> tuple[Any, bool]:
        """Return an entry of v2's table."""
        make, signed = self.transform._AUGMENTATION_SPACE[name]
        return make(self.bins, *size), signed

    @cached_property
    def choices(self) -> Sequence[str]:
        """Names of the operations among which it draws."""
        return tuple(self.table((1, 1)) if self.api == "v1" else self.transform._AUGMENTATION_SPACE)

    @cached_property
    def labels(self) -> Sequence[str]:  # type: ignore[override]
        found = [label for name in self.choices for label in ((WARP, COPY) if name in MOVED else (name,))]
        return tuple(label for label in dict.fromkeys(found) if label != "Identity")

    def drawable(self, name: str) -> Sequence[float]:
        """Return the magnitudes of an operation, on images of one pixel, that it may draw."""
        raise NotImplementedError

    def odd(self) -> str | None:
        try:
            drawn = ((name, one) for name in self.choices for one in self.drawable(name))
            odd = next((name for name, one in drawn if not self.fits(name, one)), None)
        except (LookupError, OverflowError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
            return f"its magnitudes cannot be read ({error})"
        return None if odd is None else f"{odd} has a magnitude that torchvision refuses"

    def negated(self) -> bool:
        """Draw a sign."""
        return bool(below(2)) if self.api == "v1" else draw(1)[0] <= 0.5

    def draw_operation(self, size: Size, index: Callable[[int], int]) -> Operation:
        """Draw an operation, then its magnitude out of its table, then a sign.

        Args:
            index: from the length of the table to the entry in it.
        """
        name = self.choices[below(len(self.choices))]
        values, signed = self.space(name, size)
        if values is None:
            return name, 0.0
        magnitude = values[index(len(values))]
        return name, -magnitude if signed and self.negated() else magnitude

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, self.names) or not isinstance(entry["ops"], list | tuple):
            return None
        found = [self.replayed(one) for one in entry["ops"]]
        fits = len(found) <= self.places and None not in found
        return (("ops", tuple(found)),) if fits else None

    def replayed(self, one: Any) -> Operation | None:
        """Read an operation; None: it does not fit."""
        if not isinstance(one, list | tuple) or len(one) != 2:
            return None
        name, magnitude = one
        if name not in self.choices or not isinstance(magnitude, int | float) or not self.fits(name, magnitude):
            return None
        return name, magnitude

    def fits(self, name: str, magnitude: float) -> bool:
        """Return whether layers take a magnitude."""
        if not math.isfinite(magnitude):
            return False
        if name in BLENDED:
            return magnitude >= -1
        if name in TABLES:
            return self.argument_of(name, magnitude, "tensor") in arguments_of(name, "tensor")
        return True

    def layer(self, label: str, form: Form, slot: int) -> Step | str:
        if label in BLENDED:
            return Step(form, f"{kind_of(form, self.api)}/{BLENDED[label]}", None, {"factor": Slot(slot)})
        if label in TABLES:
            function = getattr(v1.functional if self.api == "v1" else v2.functional, TABLES[label][0])
            layer = selecting(function, arguments_of(label, form.container), form.container == "pil")
            return Step(form, layer=layer, params={"number": Slot(slot), **permitted(form, self.api)})
        if label == "AutoContrast":
            return Step(form, f"{kind_of(form, self.api)}/autocontrast", None, {})
        if label == "Equalize":
            return equalized(form, self.api)
        if label == "Invert":
            return table_step(form, self.api, "invert")
        # Where nothing is said, v1's functions leave zeros around tensors.
        fill = () if self.transform.fill is None and form.container != "pil" else self.transform.fill
        found = warped(form, self.api, self.transform.interpolation, fill, Slots(slot, self.slots))
        return found if isinstance(found, str) else found[(WARP, COPY).index(label)]

    def settled(self, drawn: Operation, size: Size, container: str) -> Settled:
        name, magnitude = drawn
        if name in MOVED:
            return placed(self.moved(name, magnitude, size, container))
        if name in BLENDED:
            return name, (1.0 + magnitude,)
        if name in TABLES:
            argument = self.argument_of(name, magnitude, container)
            return name, (float(arguments_of(name, container).index(argument)),)
        return "" if name == "Identity" else name, ()

    def moved(self, name: str, magnitude: float, size: Size, container: str) -> Placement:
        """Return where the pixels come from of an image that an operation moves."""
        if name == "Rotate":
            return rotation(magnitude, size, container, self.api)
        across = name.endswith("X")
        if name.startswith("Shear"):
            angle = math.degrees(math.atan(magnitude))
            shear = (angle, 0.0) if across else (0.0, angle)
            return affine(0.0, (0, 0), 1.0, shear, size, container, self.api, (0, 0))
        shift = int(magnitude)
        return affine(0.0, (shift, 0) if across else (0, shift), 1.0, (0.0, 0.0), size, container, self.api)

    def argument_of(self, name: str, magnitude: float, container: str) -> int:
        """Return the argument of the table of an operation."""
        if name == "Posterize":
            return int(magnitude)
        threshold = magnitude * 255.0 if self.api == "v2" else magnitude
        # Torch compares levels as float32.
        return math.ceil(threshold if container == "pil" else round_float32(threshold))

    def carry(self, drawn: Any, pixel: Image.Image, size: Size) -> Image.Image:
        for name, magnitude in drawn[0][1]:
            how = self.transform.interpolation
            if self.api == "v1":
                pixel = autoaugment._apply_op(pixel, name, magnitude, how, self.transform.fill)
            else:
                pixel = self.transform._apply_image_or_video_transform(
                    pixel, name, magnitude, how, self.transform._fill
                )
        return pixel


class RandAugment(Policy):
    """Some operations, each drawn anew, of one magnitude."""

    arguments = ("num_ops", "magnitude", "num_magnitude_bins", *Policy.arguments)

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.places, self.bins = transform.num_ops, transform.num_magnitude_bins

    def drawable(self, name: str) -> Sequence[float]:
        values, _ = self.space(name, (1, 1))
        return () if values is None else (values[self.transform.magnitude],)

    def sample(self, seen: Seen) -> Outcome:
        size, index = seen.shape[1:], lambda length: self.transform.magnitude
        return (("ops", tuple(self.draw_operation(size, index) for _ in range(self.places))),)


class TrivialAugmentWide(Policy):
    """One operation, of any magnitude."""

    arguments = ("num_magnitude_bins", *Policy.arguments)
    places = 1

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.bins = transform.num_magnitude_bins

    def drawable(self, name: str) -> Sequence[float]:
        return self.space(name, (1, 1))[0] or ()

    def table(self, size: Size) -> Mapping[str, Any]:
        made: Mapping[str, Any] = self.transform._augmentation_space(self.bins)
        return made

    def sample(self, seen: Seen) -> Outcome:
        return (("ops", (self.draw_operation(seen.shape[1:], below),)),)


class AutoAugment(Policy):
    """One of several pairs of operations, each with its chance and magnitude."""

    arguments = ("policy", *Policy.arguments)
    bins = 10

    @cached_property
    def pairs(self) -> Sequence[Any]:
        """Operations with their chances and numbers in their tables."""
        return tuple(self.transform.policies if self.api == "v1" else self.transform._policies)

    @cached_property
    def places(self) -> int:  # type: ignore[override]
        return max(map(len, self.pairs), default=0)

    @cached_property
    def choices(self) -> Sequence[str]:
        return tuple(dict.fromkeys(name for pair in self.pairs for name, *_ in pair))

    def drawable(self, name: str) -> Sequence[float]:
        values, _ = self.space(name, (1, 1))
        drawn = [(float(chance), number) for pair in self.pairs for one, chance, number in pair if one == name]
        return [] if values is None else [values[number] for _, number in drawn if number is not None]

    def sample(self, seen: Seen) -> Outcome:
        """v1 draws all of it at once."""
        pair = self.pairs[below(len(self.pairs))]
        early = self.api == "v1"
        coins = draw(2) if early else []
        signs = [below(2) == 0, below(2) == 0] if early else []
        found = []
        for place, (name, chance, number) in enumerate(pair):
            if not (coins[place] if early else draw(1)[0]) <= round_float32(chance):
                continue
            values, signed = self.space(name, seen.shape[1:])
            magnitude = 0.0 if values is None or number is None else values[number]
            negated = signed and (signs[place] if early else self.negated())
            found.append((name, -magnitude if negated else magnitude))
        return (("ops", tuple(found)),)


def arguments_of(name: str, container: str) -> range:
    """Return the arguments of the tables of an operation; Pillow keeps at least one bit."""
    return range(1 if container == "pil" and name == "Posterize" else 0, TABLES[name][1])


class AugMix(Spec):
    """Chains of operations side by side, mixed as torchvision mixes them: layers run the operations."""

    arguments = ("severity", "mixture_width", "chain_depth", "alpha", "all_ops", "interpolation", "fill")

    def lower(self, form: Form) -> Step | str:
        return "it mixes several images"

    def held(self, make: Making) -> Mapping[str, Any]:
        """Return what has the same code run the operations in a pipeline."""
        own = self.transform
        carrier = v1.RandAugment if self.api == "v1" else v2.RandAugment
        player = make([carrier(1, interpolation=own.interpolation, fill=own.fill)])
        theirs = autoaugment._apply_op if self.api == "v1" else own._apply_image_or_video_transform

        def play(image: Any, name: str, magnitude: float, **given: Any) -> Any:
            if not player.covers(image):
                return theirs(image, name, magnitude, **given)
            return player(image, params=[{"ops": [(name, magnitude)]}])

        if self.api == "v2":
            return {"_apply_image_or_video_transform": play, "transforms": [player]}
        forward = FunctionType(v1.AugMix.forward.__code__, {**vars(autoaugment), "_apply_op": play})
        return {"forward": MethodType(forward, own), "transforms": [player]}


@lru_cache(maxsize=32)
def selecting(function: Callable[..., Any], arguments: range, pil: bool) -> Selecting:
    """Return a layer of the tables of a function of levels, one for each argument, read off it.

    Raises:
        TypeError, ValueError: it refuses an argument.
    """
    rows = (tabled(function, argument, pil=pil) for argument in arguments)
    same = torch.arange(256, dtype=torch.uint8)[None]
    return Selecting(torch.cat([same if row is None else row.values.detach() for row in rows]))
