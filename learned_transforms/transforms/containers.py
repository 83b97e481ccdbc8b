"""Transforms that hold others, taken apart: RandomApply, RandomChoice, RandomOrder, Compose."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.transforms.draws import Outcome, Twin


class Sometimes(Twin):
    """Apply transforms, or none of them.

    Args:
        transforms: in order.
        p: how often.
        toss: from ``p`` to whether they are applied; draws from the client's generator.
    """

    def __init__(self, transforms: Sequence[Any], p: float, toss: Callable[[float], bool]) -> None:
        self.transforms, self.p, self.toss = list(transforms), p, toss


class OneOf(Twin):
    """Apply one of several transforms, which ``random.choice`` draws."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = list(transforms)


COMPOSES = (v1.Compose, v2.Compose)
APPLIES = (v1.RandomApply, v2.RandomApply, Sometimes)
ORDERS = (v1.RandomOrder, v2.RandomOrder)

CHOOSING: dict[type, Callable[[Any], Outcome]] = {
    v1.RandomChoice: lambda t: (("choice", random.choices(range(len(t.transforms)), weights=t.p)[0]),),
    v2.RandomChoice: lambda t: (("choice", int(torch.multinomial(torch.tensor(t.p), 1))),),
    v1.RandomOrder: lambda t: (("order", shuffled(len(t.transforms))),),
    v2.RandomOrder: lambda t: (("order", tuple(torch.randperm(len(t.transforms)).tolist())),),
    Sometimes: lambda t: t.toss(t.p),
    OneOf: lambda t: (("choice", random.choice(range(len(t.transforms)))),),
}
"""Containers that choose among the transforms in them, or their order: v1 draws from Python's generator."""

CONTAINERS = (*APPLIES, *CHOOSING)


def shuffled(count: int) -> tuple[int, ...]:
    order = list(range(count))
    random.shuffle(order)
    return tuple(order)


class Leaf(NamedTuple):
    """A transform of a pipeline whose containers are taken apart.

    Attributes:
        transform: it.
        within: position, among the leaves, of the container that it lies in; None: of none.
        branch: number of the transform in a container that chooses; where the order is drawn, its place before that.
    """

    transform: Any
    within: int | None = None
    branch: tuple[int, ...] | None = None


def flat(transforms: Sequence[Any]) -> list[Any]:
    """The transforms, those of a Compose within them in its place."""
    parts = (flat(t.transforms) if type(t) in COMPOSES else [t] for t in transforms)
    return [transform for part in parts for transform in part]


def leaves(transform: Any, first: int = 0, within: int | None = None, branch: Any = None) -> Iterator[Leaf]:
    """A transform, then those in it if it is a container; ``first`` is its position. A Compose is what is in it.

    Where the order is drawn, all transforms come once for each place.
    """
    if type(transform) in COMPOSES:
        for part in flat([transform]):
            for leaf in leaves(part, first, within, branch):
                yield leaf
                first += 1
        return
    yield Leaf(transform, within, branch)
    if type(transform) not in CONTAINERS:
        return
    position, inner = first + 1, list(transform.transforms)
    for place in range(len(inner) if type(transform) in ORDERS else 1):
        for number, one in enumerate(inner):
            own = None if type(transform) in APPLIES else (place, number) if type(transform) in ORDERS else (number,)
            for leaf in leaves(one, position, first, own):
                yield leaf
                position += 1


def reached(outcome: Outcome, branch: tuple[int, ...] | None) -> bool:
    """Whether a container, for which this was drawn, comes to a transform in it."""
    if isinstance(outcome, bool) or branch is None:
        return outcome is not False
    ((_, drawn),) = outcome
    return bool(branch == (drawn,) if len(branch) == 1 else drawn[branch[0]] == branch[1])


def opened(container: Any, outcome: Outcome) -> tuple[Any, list[Any]]:
    """The entry of params for a container, and the list in it for entries of the transforms that it comes to."""
    inner: list[Any] = []
    if type(container) in APPLIES:
        return inner, inner
    ((name, drawn),) = outcome if isinstance(outcome, tuple) else (("", None),)
    return {name: list(drawn) if isinstance(drawn, tuple) else drawn, "params": inner}, inner


def reopened(container: Any, entry: Any) -> tuple[Outcome, list[Any]] | None:
    """What was drawn for a container, and the list in its entry, as :func:`opened` wrote them; None: no fit."""
    if type(container) in APPLIES:
        return (entry is not None, list(entry or ())) if isinstance(entry, list | None) else None
    name, count = ("order" if type(container) in ORDERS else "choice"), len(container.transforms)
    if not isinstance(entry, dict) or entry.keys() != {name, "params"} or not isinstance(entry["params"], list):
        return None
    drawn = entry[name]
    if name == "order":
        if not isinstance(drawn, list | tuple) or sorted(drawn) != list(range(count)):
            return None
        return ((name, tuple(drawn)),), list(entry["params"])
    return (((name, drawn),), list(entry["params"])) if type(drawn) is int and 0 <= drawn < count else None
