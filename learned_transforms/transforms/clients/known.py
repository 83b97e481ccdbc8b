"""Clients' classes and functions: which are known, and how layers read them. No client is imported."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

from torch import nn
from torchvision.transforms import v2

from learned_transforms.transforms.clients import lightly, open_clip, others, pillow, references, selfsupervised, timm
from learned_transforms.transforms.clients.entries import Entries, Entry, Views
from learned_transforms.transforms.clients.source import ASIDE, BASES, changed, getter
from learned_transforms.transforms.registry import Altered
from learned_transforms.transforms.spec import Twin
from learned_transforms.transforms.watch import watch_values

TABLE: Entries = {
    name: entry
    for client in (timm, lightly, open_clip, selfsupervised, references, others)
    for name, entry in client.TABLE.items()
}

HARMLESS = {*ASIDE, "__module__", "__doc__", "__qualname__", "__annotations__", "__dict__", "__weakref__"} | {
    *("__static_attributes__", "__firstlineno__", "__parameters__", "__orig_bases__", "__slots__"),
}
"""What a subclass of a known class may define and still do what that does."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Known(NamedTuple):
    """What an object is of.

    Attributes:
        owner: the class that is known, of which its own may be a plain subclass; or the function.
        entry: what is known of it.
        apart: there are others of that name, of which nothing is known.
    """

    owner: Any
    entry: Entry
    apart: bool


def known(transform: Any) -> Known | None:
    """Return what is known of the class of an object, or of a function; None: nothing."""
    if isinstance(transform, FunctionType):
        found = TABLE.get(f"{transform.__module__}.{transform.__qualname__}")
        return None if found is None else Known(transform, found, False)
    for parent in type(transform).__mro__ if hasattr(transform, "__dict__") else ():
        full = TABLE.get(f"{parent.__module__}.{parent.__qualname__}")
        found = full or TABLE.get(parent.__qualname__)
        if found is not None:
            return Known(parent, found, full is None)
        if set(vars(parent)) - HARMLESS:
            return None
    return None


def why_not(transform: Any, known: Known) -> str | None:
    """Return why an object does not do what its class does in the versions that were checked; None: it does."""
    owner, entry, _ = known
    reason = changed(owner, entry.digests, entry.helpers)
    if reason is not None or not isinstance(owner, type):
        return reason
    own = vars(transform)
    replaced = [name for name in own if isinstance(getattr(owner, name, None), FunctionType)]
    if replaced:
        return f"its {replaced[0]} was replaced"
    if any(own.get(name) for name in HOOKS):
        return "it has hooks"
    odd = [parent for parent in owner.__mro__[1:] if parent not in BASES]
    return f"it inherits from {odd[0].__name__}" if odd else None


def checked(transform: Any) -> Known | None:
    """Return what is known of an object, if it does what its class did when that was checked."""
    found = known(transform)
    return None if found is None or why_not(transform, found) is not None else found


def opened(transform: Any) -> Sequence[Any] | None:
    """Return the transforms that an object is made of, where that is all that its class does."""
    found = checked(transform)
    if found is None or not found.entry.opened:
        return None
    inner = getattr(transform, found.entry.opened, None)
    return list(inner) if isinstance(inner, list | tuple) else [inner] if callable(inner) else None


def read_client(transform: Any, inner: Callable[[Any], Any]) -> Any:
    """Return a client's object as layers read it: a twin, or a Compose of several; itself where nothing is known of it.

    Args:
        inner: reads the transforms in it.
    """
    if pillow.is_lambda(transform):
        made = read_client(transform.lambd, inner)
        return made if isinstance(made, Twin | Views | v2.Identity) else transform
    if type(transform) is nn.Identity:
        own = vars(transform)
        altered = "forward" in own or any(own.get(name) for name in HOOKS)
        return Altered(transform, "it was altered") if altered else v2.Identity()
    function = pillow.read_pillow(transform)
    if function is not None:
        return function
    found = known(transform)
    if found is None:
        return transform
    reason = why_not(transform, found)
    if reason is not None:
        return transform if found.apart else Altered(transform, reason)
    if found.entry.views:
        return Views(found.entry.views)
    if found.entry.read is None:
        return transform
    try:
        made = found.entry.read(transform, inner)
    except (AttributeError, TypeError, ValueError) as error:
        return Altered(transform, f"its arguments cannot be read ({error})")
    return Altered(transform, made) if isinstance(made, str) else made


def held(transform: Any) -> Iterator[Any]:
    """Yield the transforms in a client's object, which are watched like itself."""
    found = known(transform)
    if found is None or found.entry.views or not isinstance(found.owner, type):
        return
    for value in vars(transform).values():
        yield from flattened(value)


def flattened(value: Any) -> Iterator[Any]:
    """Yield what can be called in a value, and in lists in it."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from flattened(one)
    elif callable(value):
        yield value


def watch(watched: Any, transform: Any, idle: set[str], owners: set[tuple[str, Any]]) -> None:
    """Watch what decides on how an object is read: its attributes, its class, and what that relies on.

    Args:
        owners: whose attributes are watched already, and on whose helpers one is.
    """
    found = known(transform)
    if isinstance(transform, partial):
        watch_values(watched, transform.keywords)
    if pillow.is_lambda(transform):
        watch(watched, transform.lambd, idle, owners)
    if pillow.is_lambda(transform) or type(transform) is nn.Identity:
        watch_values(watched, vars(transform), idle)
    if found is None:
        return
    if isinstance(found.owner, type):
        watch_values(watched, vars(transform), idle)
    if isinstance(found.owner, type) and ("class", type(transform)) not in owners:
        names = [name for name in vars(found.owner) if callable(getattr(type(transform), name)) and name not in ASIDE]
        watched.attributes(type(transform), {name: getattr(type(transform), name) for name in names})
    if found.entry.helpers and found.owner.__module__ in sys.modules and ("helpers", found.owner) not in owners:
        function = getter(found.owner, found.entry.helpers)
        watched.result(function, function())
    owners |= {("class", type(transform)), ("helpers", found.owner)}
