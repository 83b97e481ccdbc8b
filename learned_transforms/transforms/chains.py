"""Operations in a row, each one of many: what policies have in common."""

from collections.abc import Sequence
from typing import Any, ClassVar

from learned_transforms.images.formats import Form
from learned_transforms.ir.sizing import Size
from learned_transforms.transforms.spec import Outcome, Spec, Step
from learned_transforms.transforms.warp import Placement

Operation = tuple[str, float]
"""Of a policy that was drawn: name and magnitude."""

Settled = tuple[str, tuple[float, ...]]
"""Of an operation on an image: the label of the layer that runs, if one does, and its numbers."""

WARP, COPY = "Warp", "Copy"
"""Labels of the layers that do."""

MOST_PLACES = 8
"""Operations, one after another, of a policy."""


class Chain(Spec):
    """A policy: operations one after another.

    Attributes:
        places: how many there may be.
        labels: of the layers that run them; several operations may share one.
    """

    random = default_dtype = shallow = True
    alone = measuring = relative = True
    names = ("ops",)
    slots: ClassVar[int] = 6
    """Numbers that an operation may have."""

    places: int
    labels: Sequence[str]

    @property
    def factors(self) -> Sequence[str]:  # type: ignore[override]
        return self.names * (self.places * self.slots)

    def lower(self, form: Form) -> Step | str:
        """Take, for each place, the layers of all operations, of which one runs."""
        if form.dtype != "uint8":
            return "policies of floats are not learned"
        odd = self.odd()
        if odd is not None:
            return odd
        if type(self.places) is not int or not 0 <= self.places <= MOST_PLACES:
            return f"layers take up to {MOST_PLACES} operations in a row"
        parts: list[Step] = []
        for place in range(self.places):
            for label in self.labels:
                part = self.layer(label, form, place * self.slots)
                if isinstance(part, str):
                    return f"{label}: {part}"
                parts.append(part)
        return Step(form, parts=tuple(parts), given=("draws", "magnitudes"))

    def odd(self) -> str | None:
        """Return what it may draw that no layer takes; None: nothing."""
        return None

    def layer(self, label: str, form: Form, slot: int) -> Step | str:
        """Lower the operations of a label, whose numbers begin at a slot."""
        raise NotImplementedError

    def settled(self, drawn: Operation, size: Size, container: str) -> Settled:
        """Return what an operation does to an image of ``size`` in a container."""
        raise NotImplementedError

    def split(self, drawn: Outcome, size: Size, container: str) -> tuple[Outcome, tuple[float, ...]]:
        if isinstance(drawn, bool):
            return drawn, (0.0,) * len(self.factors)
        ((_, ops),) = drawn
        found = [settled for one in ops if (settled := self.settled(one, size, container))[0]]
        numbers = [number for _, own in found for number in (*own, *(0.0,) * (self.slots - len(own)))]
        numbers += (0.0,) * (len(self.factors) - len(numbers))
        return (("ops", tuple(label for label, _ in found)),), tuple(numbers)

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        ((_, ops),) = drawn
        chosen = (*ops, *("",) * (self.places - len(ops)))
        return tuple(label == one for one in chosen for label in self.labels)

    def takes_effect(self, drawn: Any) -> bool:
        return drawn is not False and (drawn is True or any(name != "Identity" for name, _ in drawn[0][1]))


def placed(placement: Placement) -> Settled:
    """Return the layer of a warp, and its numbers."""
    return COPY if placement.copied else WARP, placement.matrix
