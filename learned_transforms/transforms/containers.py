"""Transforms that hold others, taken apart: RandomApply, RandomChoice, RandomOrder, Compose."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.images.formats import Form
from learned_transforms.transforms.rng import next_float32
from learned_transforms.transforms.spec import Coin, Outcome, Seen, Spec, Step, Twin

Branch = tuple[int, ...]
"""Number of a transform in a container that chooses; where the order is drawn, its place before that."""


class Container(Spec):
    """A transform that holds others, and draws which of them run."""

    random = True

    def skips(self, form: Form) -> bool:
        return False

    def lower(self, form: Form) -> Step | str:
        return Step(form)

    def branches(self) -> Iterator[tuple[Any, Branch | None]]:
        """Yield the transforms in it as often as they may come, with their branches."""
        for number, one in enumerate(self.transform.transforms):
            yield one, (number,)

    def entry(self, outcome: Outcome) -> tuple[Any, list[Any]]:
        """Begin its entry of params, with the list in it for entries of the transforms that it comes to."""
        inner: list[Any] = []
        ((name, drawn),) = outcome if isinstance(outcome, tuple) else (("", None),)
        return {name: list(drawn) if isinstance(drawn, tuple) else drawn, "params": inner}, inner

    def parsed(self, entry: Any) -> tuple[Outcome, list[Any]] | None:
        """Read what was drawn for it, and the list in its entry, as :meth:`entry` wrote them; None: no fit."""
        (name,) = self.names
        if not isinstance(entry, dict) or entry.keys() != {name, "params"} or not isinstance(entry["params"], list):
            return None
        drawn = self.drawn(entry[name])
        return None if drawn is None else (((name, drawn),), list(entry["params"]))

    def drawn(self, value: Any) -> Any:
        """Read what was drawn; None: no fit."""
        raise NotImplementedError


class Applying(Container):
    """Apply transforms, or none of them."""

    optional = True

    def branches(self) -> Iterator[tuple[Any, Branch | None]]:
        for one in self.transform.transforms:
            yield one, None

    def entry(self, outcome: Outcome) -> tuple[Any, list[Any]]:
        inner: list[Any] = []
        return inner, inner

    def parsed(self, entry: Any) -> tuple[Outcome, list[Any]] | None:
        return (entry is not None, list(entry or ())) if isinstance(entry, list | None) else None


class RandomApply(Applying, Coin):
    """Apply transforms where a coin falls."""

    def chance(self) -> float:
        """v1 applies it at p itself, too."""
        return next_float32(self.transform.p) if self.api == "v1" else super().chance()


class Choosing(Container):
    """Apply one of several transforms."""

    names = ("choice",)

    def drawn(self, value: Any) -> Any:
        return value if type(value) is int and 0 <= value < len(self.transform.transforms) else None


class RandomChoice(Choosing):
    """Apply one of several transforms, each with a chance."""

    def sample(self, seen: Seen) -> Outcome:
        """v1 draws from Python's generator."""
        count, p = len(self.transform.transforms), self.transform.p
        if self.api == "v1":
            return (("choice", random.choices(range(count), weights=p)[0]),)
        return (("choice", int(torch.multinomial(torch.tensor(p), 1))),)


class RandomOrder(Container):
    """Apply transforms in an order that is drawn: each comes once for each place."""

    names = ("order",)

    def branches(self) -> Iterator[tuple[Any, Branch | None]]:
        inner = list(self.transform.transforms)
        for place in range(len(inner)):
            for number, one in enumerate(inner):
                yield one, (place, number)

    def sample(self, seen: Seen) -> Outcome:
        """v1 draws from Python's generator."""
        count = len(self.transform.transforms)
        if self.api == "v2":
            return (("order", tuple(torch.randperm(count).tolist())),)
        order = list(range(count))
        random.shuffle(order)
        return (("order", tuple(order)),)

    def drawn(self, value: Any) -> Any:
        count = len(self.transform.transforms)
        fits = isinstance(value, list | tuple) and sorted(value) == list(range(count))
        return tuple(value) if fits else None


class Sometimes(Twin, Applying):
    """Apply transforms, or none of them.

    Args:
        transforms: in order.
        p: how often.
        toss: from ``p`` to whether they are applied; draws from the client's generator.
    """

    def __init__(self, transforms: Sequence[Any], p: float, toss: Callable[[float], bool]) -> None:
        self.transforms, self.p, self.toss = list(transforms), p, toss

    def sample(self, seen: Seen) -> Outcome:
        return self.toss(self.p)


class OneOf(Twin, Choosing):
    """Apply one of several transforms, which ``random.choice`` draws."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = list(transforms)

    def sample(self, seen: Seen) -> Outcome:
        return (("choice", random.choice(range(len(self.transforms)))),)


COMPOSES = (v1.Compose, v2.Compose)

CONTAINERS: dict[type, type[Container]] = {
    **dict.fromkeys((v1.RandomApply, v2.RandomApply), RandomApply),
    **dict.fromkeys((v1.RandomChoice, v2.RandomChoice), RandomChoice),
    **dict.fromkeys((v1.RandomOrder, v2.RandomOrder), RandomOrder),
    Sometimes: Sometimes,
    OneOf: OneOf,
}
"""By class, what containers are."""


def container_of(transform: Any) -> Container | None:
    """Return what a transform is, if it is a container."""
    if isinstance(transform, Container):
        return transform
    kind = CONTAINERS.get(type(transform))
    return None if kind is None else kind(transform)


class Leaf(NamedTuple):
    """A transform of a pipeline whose containers are taken apart.

    Attributes:
        transform: the transform itself.
        within: position, among the leaves, of the container that it lies in; None: of none.
        branch: which of the container's branches it is.
    """

    transform: Any
    within: int | None = None
    branch: Branch | None = None


def flat(transforms: Sequence[Any]) -> list[Any]:
    """List transforms, those of a Compose within them in its place."""
    parts = (flat(t.transforms) if type(t) in COMPOSES else [t] for t in transforms)
    return [transform for part in parts for transform in part]


def leaves(transform: Any, first: int = 0, within: int | None = None, branch: Any = None) -> Iterator[Leaf]:
    """Yield a transform, then those in it if it is a container; ``first`` is its position. A Compose is what is in it.

    Where the order is drawn, all transforms come once for each place.
    """
    if type(transform) in COMPOSES:
        for part in flat([transform]):
            for leaf in leaves(part, first, within, branch):
                yield leaf
                first += 1
        return
    yield Leaf(transform, within, branch)
    container, position = container_of(transform), first + 1
    for one, own in () if container is None else container.branches():
        for leaf in leaves(one, position, first, own):
            yield leaf
            position += 1


def reached(outcome: Outcome, branch: Branch | None) -> bool:
    """Return whether a container, for which this was drawn, comes to a transform in it."""
    if isinstance(outcome, bool) or branch is None:
        return outcome is not False
    ((_, drawn),) = outcome
    return bool(branch == (drawn,) if len(branch) == 1 else drawn[branch[0]] == branch[1])
