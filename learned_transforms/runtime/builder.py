"""Transforms gathered into a segment, as many as learned layers cover."""

from collections.abc import Mapping, Sequence
from typing import Any

from learned_transforms.errors import InputTypeError, warn_antialias
from learned_transforms.images.formats import Form
from learned_transforms.ir.ops import Slot, Slots
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import Windowing
from learned_transforms.layers.given import WHOLE_IMAGE_LAYERS, Cutting
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.runtime.specialize import Owner
from learned_transforms.transforms.containers import Leaf, leaves
from learned_transforms.transforms.registry import spec_of
from learned_transforms.transforms.spec import Step

ONE_IMAGE = "A network out of retrain takes one uint8 or float32 image at a time."

Covered = Sequence[tuple[Leaf, Step]]
"""What a transform, and those in it, do to an image."""


class Builder:
    """The transforms of a segment until now, and their layers.

    Args:
        form: of the images that come in.
        known: learned layers by their keys.
        ordered: the order of values in memory matters.

    Attributes:
        form: of what the transforms until now give.
        drawer: position of the one whose window is cut out of the image first.
        cutting: what makes several images of one, at the end.
    """

    def __init__(self, form: Form, known: Mapping[str, Layer], ordered: bool) -> None:
        self.form, self.known, self.ordered = form, known, ordered
        self.layers: list[Layer] = []
        self.params: list[Params | None] = []
        self.leaves: list[Leaf] = []
        self.given: list[Form] = []
        self.owners: list[Owner] = []
        self.drawer: int | None = None
        self.cutting: Cutting | None = None
        self.slots = 0

    def stands_alone(self, covered: Covered) -> bool:
        """Return whether a transform, or the layer before it, takes whole images, and no others run with it."""
        whole = any(isinstance(done.layer, WHOLE_IMAGE_LAYERS) for _, done in covered)
        return whole or any(isinstance(layer, WHOLE_IMAGE_LAYERS) for layer in self.layers[-1:])

    def may_cut(self, covered: Covered | str) -> bool:
        """Return whether a transform may cut its window out of the image before the layers until now, not behind
        them."""
        if isinstance(covered, str) or not spec_of(covered[0][0].transform).windowing:
            return False
        if not all(layer.pointwise for layer in self.layers):
            return False
        if any(spec_of(leaf.transform).random for leaf in self.leaves):
            return False
        _, step = covered[0]
        filled = step.params if isinstance(step.layer, Windowing) else None
        if filled is None or filled["border"] != "zero" or not self.layers:
            return True
        # What is filled in must be the same before and behind.
        blank = all(isinstance(one, Lookup) and not one.values[:, 0].any() for one in self.layers)
        return blank and not any(filled["fill"])

    def add_network(self, network: Network) -> None:
        """Add a learned network, which stands among the transforms."""
        self.given.append(self.form)
        self.form = form_behind(network, self.form)
        self.layers += network.members
        self.params += network.params
        self.owners += [(len(self.leaves), None)] * len(network.members)
        self.leaves.append(Leaf(network))

    def add(self, covered: Covered) -> None:
        """Add what a transform, and those in it, do."""
        cuts = self.may_cut(covered)
        self.drawer = len(self.leaves) if cuts else self.drawer
        for leaf, done in covered:
            spec = spec_of(leaf.transform)
            if self.form.container == "pil" and getattr(leaf.transform, "antialias", True) is False:
                warn_antialias()
            order = spec.order_after(self.form, done.form, self.form.order)
            for part, one in done.layers():
                layer = one.layer if one.key is None else self.known[one.key]
                if isinstance(layer, Cutting):
                    self.cutting = layer
                elif layer is not None:
                    # What maps pixels by themselves may as well do so in the window alone.
                    place = 0 if cuts and isinstance(layer, Windowing) else len(self.layers)
                    self.layers.insert(place, layer)
                    self.params.insert(place, moved(one.params or {}, self.slots))
                    self.owners.insert(place, (len(self.leaves), part))
            self.slots += 0 if cuts else len(spec.factors)  # A window that is cut out first comes with the image.
            self.leaves.append(leaf)
            self.given.append(self.form)
            self.form = done.form._replace(order=order if self.ordered else 0)


def looks(transform: Any, form: Form) -> bool:
    """Return whether a transform looks at images before it draws, or at all that is there, and so must come first."""
    spec = spec_of(transform)
    if form.several and (spec.alike or spec.several or callable(getattr(transform, "labels_getter", None))):
        return True
    first = next((spec_of(leaf.transform) for leaf in leaves(transform)), spec)
    return first.looks


def form_behind(network: Network, form: Form) -> Form:
    """Return the form of a network's output; its input must be of the kind that it learned from.

    Raises:
        InputTypeError: it is of another, or one of several images.
    """
    if form.several:
        raise InputTypeError(ONE_IMAGE)
    kind = "pil" if form.container == "pil" else form.dtype
    # Arrays hold the values of uint8 tensors, and a teacher of either says what becomes of both.
    if kind != ("uint8" if network.kind == "numpy" else network.kind):
        given = "numpy" if form.container == "numpy" else kind
        raise InputTypeError(
            f"This network learned with kind={network.kind!r} and takes no {given} images: teachers compute "
            f"differently on each. Convert the image, or retrain with kind={given!r}."
        )
    return form._replace(container=network.output, dtype="float32" if network.floats else "uint8")


def moved(params: Params, slots: int) -> Params:
    """Count the slots in params from the first of a segment, of which so many lie before."""

    def behind(value: Any) -> Any:
        if isinstance(value, Slots):
            return Slots(value.first + slots, value.length)
        return Slot(value.number + slots) if isinstance(value, Slot) else value

    return {name: behind(value) for name, value in params.items()}
