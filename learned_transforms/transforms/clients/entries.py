"""What is known of one class or function of a client."""

from collections.abc import Callable
from typing import Any, NamedTuple

Reading = Callable[[Any, Callable[[Any], Any]], Any]
"""From an object, and what reads the transforms in it, to a twin, to a Compose of several, or to the reason why none
stands for it."""


class Views:
    """A client's object that runs its own code between pipelines that it holds.

    Args:
        names: of the attributes that hold them.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names


class Entry(NamedTuple):
    """One class or function, held to what was checked.

    Attributes:
        digests: of its source in the versions that were checked, see source.py.
        read: how layers read an object of it.
        opened: instead, the attribute whose transforms, one or a list, are all that a call does.
        views: instead, attributes that hold the transforms, each a pipeline of its own, between which its code runs.
        helpers: functions of its module that it calls.
    """

    digests: frozenset[str]
    read: Reading | None = None
    opened: str = ""
    views: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()


Entries = dict[str, Entry]
"""Entries by qualified name; of names without a module, wherever they are defined."""


def entry(digests: str, read: Reading | None = None, **rest: Any) -> Entry:
    """Return one of digests with blanks between them."""
    return Entry(frozenset(digests.split()), read, **rest)


def fixed(twin: Callable[[], Any]) -> Reading:
    """Return a twin without arguments."""
    return lambda transform, read: twin()
