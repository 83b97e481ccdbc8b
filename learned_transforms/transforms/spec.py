"""One object per transform: what a published transform takes, draws, and does in terms of layers.

A subclass of :class:`Spec` says all of that for one transform, or for a family of them; registry.py lists which class
of torchvision's has which. What clients' transforms do is told by objects that are specs themselves (:class:`Twin`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.images.formats import Form, Window
from learned_transforms.images.layout import PIXELS, PLANES, UNKNOWN
from learned_transforms.ir.ops import Shape
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import Layer, Params
from learned_transforms.transforms.rng import round_float32, toss

Making = Callable[[Sequence[Any]], Any]
"""From transforms to a pipeline of them."""

Outcome = bool | tuple[tuple[str, Any], ...]
"""What was drawn for a transform: whether it is applied; or, where it is, params for its layer."""

SIDES = ("top", "left", "height", "width")
"""Of a window, in params."""

DrawnPart = tuple[str, str, float, float, float]
"""Of params, for the native sampler: name, kind of value, its bounds, and the chance that it is not None."""

PILLOWS = "Pillow does as much to its own images faster"
"""Why Pillow runs a transform, by itself."""

ALWAYS = 2.0
"""A chance above every number that a coin gives."""


class Seen(NamedTuple):
    """What a transform may look at before it draws.

    Attributes:
        shape: (C, H, W) of the image.
        limited: padding may mirror no more than the image has, as on tensors.
        boxes: beside the image.
    """

    shape: Shape
    limited: bool = True
    boxes: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Step:
    """What a transform does to an image of one form.

    Attributes:
        form: the form of its output.
        key: of the learned layer that does it, ``kind/role``; None: nothing is learned.
        layer: a layer without learned weights, or learned on the spot; None with no key: the values stay as they are.
        params: what the constructor gave, for the layer; a ``Slot`` in it counts the factors of the transform alone.
        parts: of a transform of several layers, those instead.
        given: what else decides on what it does, and is its own: names of tables and rules.
    """

    form: Form
    key: str | None = None
    layer: Layer | None = None
    params: Params | None = None
    parts: "tuple[Step, ...]" = ()
    given: tuple[str, ...] = ()

    def layers(self) -> "tuple[tuple[int | None, Step], ...]":
        """Return the steps of one layer, with their numbers where there are several."""
        return tuple(enumerate(self.parts)) if self.parts else ((None, self),)


def kind_of(form: Form, api: str) -> str:
    """Return the teacher whose arithmetic applies: ``pil``, ``uint8``, ``uint8_v1`` or ``float32``."""
    if form.container == "pil":
        return "pil"
    return "uint8_v1" if form.dtype == "uint8" and api == "v1" else form.dtype


def kept_as(name: str) -> str:
    """Return the attribute under which torchvision keeps an argument."""
    return "options" if name == "sampler_options" else name


class Spec:
    """What one transform is to this library. This class itself: one of which nothing is known.

    Args:
        transform: an object of a published class, its arguments plain.

    What it takes:
        arguments: constructor arguments, which are also attributes.
        tensors: those that are tensors.
        default_dtype: torch's default dtype decides on what becomes of bytes.
        half: layers do it to images of half precision.
        shallow: v1's refuses images of several batch dimensions.
        writes: it may be told to change the image that it is given.
        takes_arrays: v2's takes the arrays of a sample, too.

    What it draws:
        random: it draws.
        coin: whether it is applied, and nothing else.
        optional: it may be left out, by what is drawn.
        looks: it must see the image before it draws, and so begins a segment.
        windowing: it draws the part of the image to use.
        placing: it draws where the image goes, from the size that those before left, and from boxes: anywhere.
        measuring: it draws from the size that those before left, anywhere, and the plan is the same for all that it
            draws.
        same_size: it asks that all that lies together has one size.
        alike: v2's draws for images of one shape.
        alone: v2's takes one image, or video, in a sample, and nothing that lies on it.
        names: of what it draws, in params.
        factors: of these, the numbers that go to the network beside the image, one for each ``Slot``; or such as follow
            from them and, if it is ``relative``, the size of the image.

    What it does:
        geometric: it moves pixels, and masks follow.
        converting: it does more to masks than to move pixels, or warns that it does nothing.
        numeric: it does nothing to images.
        erasing: it overwrites a part of the image, before anything else runs.
        several: it makes several images of one.
        unmarking: v2 takes other inputs behind it than before, since it makes plain tensors.
        kept: containers of images that come back themselves where it leaves their values as they are.
        keeps_order: it leaves the order of a tensor's values in memory as it is, whatever that is.
        reshaping: v2's reshapes batches, of which a batch of one forgets its order in memory.
        expanding: what follows keeps the order of the gray that it expanded.
        ordered: what it gives depends on the order of values in memory.
    """

    arguments: ClassVar[Sequence[str]] = ()
    tensors: ClassVar[Sequence[str]] = ()
    default_dtype = half = shallow = writes = takes_arrays = False
    random = coin = optional = looks = windowing = placing = measuring = relative = same_size = alike = alone = False
    names: ClassVar[Sequence[str]] = ()
    factors: ClassVar[Sequence[str]] = ()
    geometric = converting = numeric = erasing = several = unmarking = False
    kept: ClassVar[Sequence[str]] = ()
    keeps_order = reshaping = expanding = ordered = False

    api = "v1"

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        if isinstance(transform, v2.Transform):
            self.api = "v2"

    def argument(self, name: str) -> Any:
        """Return an argument as the constructor takes it."""
        return getattr(self.transform, kept_as(name))

    def roles(self) -> tuple[str, ...]:
        """Return beginnings of the roles of the learned layers that it may need."""
        return ()

    def lower(self, form: Form) -> Step | str:
        """Say what it does to an image of ``form``; or why torchvision must do it."""
        return "not in the catalogue"

    def skips(self, form: Form) -> bool:
        """Return whether it leaves images of a container alone: masks that are not moved."""
        return form.container == "mask" and not (self.geometric and self.api == "v2")

    def changes(self, form: Form) -> bool:
        """Return whether it changes the image that it is given, which others may see."""
        return self.writes and self.transform.inplace and form.container != "pil" and not form.fresh

    def keeps(self, form: Form, drawn: Outcome, gray: bool) -> bool:
        """Return whether an image whose values it leaves as they are comes back itself; ``gray``: it has no colors."""
        return form.container in self.kept

    @property
    def affects(self) -> bool:
        """Whether it does anything to what goes with images."""
        return self.geometric or self.converting or self.numeric

    def gives_view(self) -> bool:
        """Return whether it only cuts a view out of a tensor, where its window lies in that."""
        return False

    def order_after(self, before: Form, after: Form, order: int) -> int:
        """Return the order in memory of what it makes of an image of form ``before``, see ``layout``."""
        if after.container == "pil":
            return PLANES
        if before.container == "pil":
            return PIXELS
        return order if order == PLANES or self.keeps_order else UNKNOWN

    def chance(self) -> float:
        """Of a coin, give the number that a draw must be below."""
        return round_float32(self.transform.p)

    def sample(self, seen: Seen) -> Outcome:
        """Draw as torchvision draws: from its generator, as many numbers, in its order."""
        return True

    def window(self, size: Size, limited: bool) -> Window:
        """Draw a window for an image of ``size``; ``limited`` as in :class:`Seen`."""
        raise NotImplementedError

    def split(self, drawn: Outcome, size: Size, container: str) -> tuple[Outcome, tuple[float, ...]]:
        """Take the factors, 0 for those that are not used, out of what was drawn; the rest decides on the plan.

        Args:
            size: of the image that it gets.
            container: of that image.
        """
        if isinstance(drawn, bool):
            return drawn, (0.0,) * len(self.factors)
        used = [(name, True if name in self.factors and value is not None else value) for name, value in drawn]
        return tuple(used), tuple(value or 0.0 for name, value in drawn if name in self.factors)

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        """Of several layers, say what becomes of each, by what was drawn, in which factors may be True."""
        found: tuple[Outcome, ...] = dict(drawn)["parts"]
        return found

    def takes_effect(self, drawn: Outcome) -> bool:
        """Return whether it is applied, with a factor if it draws some."""
        return drawn is not False

    def native_parts(self) -> list[DrawnPart] | None:
        """List what it draws for the native sampler; None: Python draws it."""
        return None

    def replay(self, entry: Any) -> Outcome | None:
        """Read what was drawn out of plain values, as params write it; None: it does not fit."""
        return None

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        """Write what was drawn as v2's own ``make_params`` does, for a value that goes with an image of so many
        channels."""
        return {}

    def held(self, make: "Making") -> "Mapping[str, Any]":
        """Of a transform that layers run only in part, return other attributes, by which its own code has them do it.

        Args:
            make: makes pipelines of transforms.
        """
        return {}

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        """Return the size of what it makes of an image, from what it drew."""
        return size

    def size_behind(self, size: Size, drawn: Outcome, container: str) -> Size:
        """Return the same for images of one container, where that matters."""
        return self.size_after(size, drawn)

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        """Do to ``Image.info`` what it does to an image: on ``pixel``, which stands for one of ``size``."""
        return pixel

    @property
    def alters_info(self) -> bool:
        """Whether it does more to ``Image.info`` than to leave it."""
        return type(self).carry is not Spec.carry


class Coin(Spec):
    """A transform that is applied or not, and draws nothing else."""

    random = coin = optional = True

    def sample(self, seen: Seen) -> Outcome:
        return toss((self.chance(),))[0]


class Factored(Spec):
    """A transform that draws factors, perhaps among other things.

    Attributes:
        types: of what is drawn, by name; those that may be floats are factors, None where they are not used.
        limits: least and largest of a factor, where they are not 0 and infinity.
    """

    random = True
    types: ClassVar[Mapping[str, tuple[type, ...]]] = {}
    limits: ClassVar[Mapping[str, tuple[float, float]]] = {"hue_factor": (-0.5, 0.5), "sigma": (1e-6, math.inf)}

    def takes_effect(self, drawn: Outcome) -> bool:
        if isinstance(drawn, bool):
            return drawn
        return any(part is not False for part in self.parts(self.split(drawn, (0, 0), "")[0]))

    def replay(self, entry: Any) -> Outcome | None:
        if not isinstance(entry, Mapping) or entry.keys() != self.types.keys():
            return None
        if not all(isinstance(entry[name], allowed) for name, allowed in self.types.items()):
            return None
        for name, value in entry.items():
            low, high = self.limits.get(name, (0, math.inf))
            if name in self.factors and value is not None and not low <= value <= high:
                return None
            if isinstance(value, tuple | list) and sorted(value) != list(range(4 if name == "fn_idx" else len(value))):
                return None
        return tuple((name, tuple(v) if isinstance(v := entry[name], list) else v) for name in self.types)


class Twin(Spec):
    """A transform of our own that says in terms of layers what a client's does; nothing calls it, and no file names it.

    Where no layer takes an image, the client's own object runs.
    """

    def __init__(self) -> None:  # It takes no other transform.
        pass

    @property
    def transform(self) -> Any:
        return self


def is_whole(entry: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether all of these params are whole numbers."""
    return all(type(entry[name]) is int for name in names)


def names_are(entry: Any, names: Sequence[str]) -> bool:
    """Return whether params have these names, and no others."""
    return isinstance(entry, Mapping) and entry.keys() == set(names)
