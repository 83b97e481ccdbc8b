"""Objects that layers run only in part: copies of them that hold pipelines in place of the transforms in them."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from learned_transforms.layers.network import Network
from learned_transforms.transforms.clients.entries import Views
from learned_transforms.transforms.clients.known import flattened
from learned_transforms.transforms.containers import Applying, container_of, leaves
from learned_transforms.transforms.registry import SPECS, Altered, name_of, spec_of
from learned_transforms.transforms.spec import Making


def foreign(read: Any) -> list[str]:
    """Return why nothing in this library runs a transform, whatever the image; or no reason."""
    if isinstance(read, Network | Views):
        return []
    inner = [leaf.transform for leaf in leaves(read)]
    odd = [one for one in inner if type(one) not in SPECS]
    if not odd:
        return []
    reason = odd[0].reason if isinstance(odd[0], Altered) else "not in the catalogue"
    return [reason if odd[0] is read else f"{name_of(odd[0])} within: {reason}"]


def stand_in(transform: Any, read: Any, make: Making) -> Any:
    """Return what runs in place of a container, or of a client's object that holds pipelines; None: nothing better.

    It is of the same class, draws by the same code, and runs what is foreign in it as it is, at its place.

    Args:
        read: the same as layers read it.
        make: makes pipelines.
    """
    if isinstance(read, Views):
        held = {name: viewed(vars(transform)[name], make, {}) for name in read.names if name in vars(transform)}
        return copied(transform, held) if held else None
    own = spec_of(read).held(make)
    if own:
        return copied(transform, own)
    container = container_of(read)
    if container is None or not hasattr(transform, "transforms"):
        return None
    pairs = [(one, not foreign(inner)) for one, inner in zip(transform.transforms, read.transforms, strict=True)]
    if not any(known for _, known in pairs):
        return None
    if isinstance(container, Applying):
        runs = ([one for one, _ in run] for _, run in groupby(pairs, lambda pair: pair[1]))
        known = [known for known, _ in groupby(pairs, lambda pair: pair[1])]
        parts = [part for run, ours in zip(runs, known, strict=True) for part in ([make(run)] if ours else run)]
    else:
        parts = [make([one]) if ours else one for one, ours in pairs]
    return copied(transform, {"transforms": parts})


def viewed(value: Any, make: Making, made: dict[int, Any]) -> Any:
    """Return a held value with a pipeline for every transform in it; one for each that comes several times."""
    if isinstance(value, list | tuple):
        return type(value)(viewed(one, make, made) for one in value)
    if callable(value) and id(value) not in made:
        made[id(value)] = make([value])
    return made.get(id(value), value)


def copied(transform: Any, changes: Mapping[str, Any]) -> Any:
    """Return an object of the same class with other attributes, none of which it registers."""
    found: Any = object.__new__(type(transform))
    found.__dict__.update({**vars(transform), **changes})
    return found


def members(found: Any, read: Any) -> Iterator[Any]:
    """Yield the pipelines, and what is foreign between them, in what :func:`stand_in` gave."""
    names = read.names if isinstance(read, Views) else ("transforms",)
    yield from dict.fromkeys(one for name in names for one in flattened(vars(found).get(name)))
