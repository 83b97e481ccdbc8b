"""What plain values, as files hold them, may be: checks to be made before anything is made of a value."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from learned_transforms.errors import WeightsError, brief

Check = Callable[[Any], bool]

LONGEST = 2**16
"""Pixels along an axis of what a file describes, at most."""

DEEPEST = 800
"""Levels of lists and objects in a file, at most: Python's stack is good for some more."""


def parsed(text: str | bytes) -> Any:
    """Return the values of a JSON text.

    Raises:
        ValueError, RecursionError: it is none, or nested so deep that whatever walks through it would fail.
    """
    found = json.loads(text)
    level: list[Any] = [[found]]
    for _ in range(DEEPEST):
        inside = (value.values() if isinstance(value, dict) else value for value in level)
        level = [part for parts in inside for part in parts if isinstance(part, dict | list)]
        if not level:
            return found
    raise ValueError(f"nested more than {DEEPEST} deep")


def integer(low: int, high: int = LONGEST) -> Check:
    """A whole number from ``low`` to ``high``; bool is none."""
    return lambda value: type(value) is int and low <= value <= high


def finite(value: Any) -> bool:
    """A finite number that a float32 holds."""
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 2.0**127


def positive(value: Any) -> bool:
    return finite(value) and value > 0


def switch(value: Any) -> bool:
    return type(value) is bool


def text(value: Any) -> bool:
    return isinstance(value, str)


def one_of(*known: Any) -> Check:
    return lambda value: type(value) is str and value in known


def list_of(check: Check, least: int, most: int | None = None) -> Check:
    """So many values that pass, in a list or tuple; without ``most``, exactly ``least``."""
    return lambda value: (
        isinstance(value, list | tuple) and least <= len(value) <= (most or least) and all(map(check, value))
    )


def mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def mapped(check: Check) -> Check:
    """A mapping from texts to values that pass."""
    return lambda value: isinstance(value, Mapping) and all(text(k) and check(v) for k, v in value.items())


def maybe(check: Check) -> Check:
    """None, or what passes."""
    return lambda value: value is None or check(value)


@dataclass(frozen=True)
class Fields:
    """The values that belong together, by name, and those of them that may be left out."""

    checks: Mapping[str, Check]
    optional: Collection[str] = ()

    @cached_property
    def needed(self) -> Set[str]:
        """Names of those that may not be left out."""
        return self.checks.keys() - self.optional

    def require(self, what: str, values: Any) -> None:
        """Require all of them, each of its kind, and no others.

        Raises:
            WeightsError: otherwise; ``what`` says of what.
        """
        if not isinstance(values, Mapping):
            raise WeightsError(f"Expected {what} with {', '.join(self.checks) or 'nothing'}, got {brief(values)}.")
        if not self.needed <= values.keys() <= self.checks.keys():
            missing = [name for name in self.checks if name in self.needed and name not in values]
            unknown = [name for name in values if name not in self.checks]
            raise WeightsError(f"Expected {what} to be whole: missing {brief(missing)}, unknown {brief(unknown)}.")
        for name, value in values.items():
            if not self.checks[name](value):
                raise WeightsError(f"Expected {what} to have another {name}, got {brief(value)}.")
