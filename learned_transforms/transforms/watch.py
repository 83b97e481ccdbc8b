"""Whether transforms are still what they were when they were lowered: asked at every call, so mostly native."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

try:
    from learned_transforms.kernels import _native
except ImportError:
    _native = None  # type: ignore[assignment]

MOST_COMPARED = 64
"""Numbers of a tensor that are compared one by one; of a larger one it is asked whether torch wrote to it."""

EMPTY = (OrderedDict, dict, list, set)
"""What is mostly empty, as a module's hooks are, and is copied faster then."""


class PlainWatch:
    """The native ``Watch`` in Python, for where there is no native extension."""

    def __init__(self) -> None:
        self.checks: list[Callable[[], bool]] = []

    def mapping(self, watched: Mapping[str, Any], copy: Mapping[str, Any]) -> None:
        self.checks.append(
            lambda: watched.keys() == copy.keys() and all(equal(watched[name], value) for name, value in copy.items())
        )

    def sequence(self, watched: Any, copy: tuple[Any, ...]) -> None:
        self.checks.append(
            lambda: len(watched) == len(copy) and all(one is other for one, other in zip(watched, copy, strict=True))
        )

    def attributes(self, owner: type, copy: Mapping[str, Any]) -> None:
        self.checks.append(lambda: all(getattr(owner, name, None) is value for name, value in copy.items()))

    def result(self, function: Callable[[], Any], value: Any) -> None:
        self.checks.append(lambda: equal(function(), value))

    def same(self) -> bool:
        return all(check() for check in self.checks)


def equal(value: Any, copy: Any) -> bool:
    """Return whether a value is this object, or equals a copy of it; what cannot be compared is another value."""
    if value is copy:
        return True
    try:
        return type(value) is type(copy) and bool(value == copy)
    except (RuntimeError, TypeError, ValueError):
        return False


class Unwatched:
    """Nothing was lowered yet, so nothing is the same."""

    def same(self) -> bool:
        return False


UNWATCHED = Unwatched()


def make_watch() -> Any:
    return PlainWatch() if _native is None else _native.Watch()


def watch_values(watch: Any, values: dict[str, Any], idle: Set[str] = frozenset()) -> None:
    """Watch the attributes of an object, and the numbers in tensors, arrays and lists among them.

    Args:
        idle: names of attributes of which only the object matters, not what is in it.
    """
    watch.mapping(values, {name: value if name in idle else kept(value) for name, value in values.items()})
    for name, value in values.items():
        if name not in idle and arrays_in(value):
            function = partial(numbers_of, values, name)
            watch.result(function, function())


def kept(value: Any) -> Any:
    """Return a copy of a value that may change in place; what a list or dictionary holds besides numbers stays as it
    is."""
    if isinstance(value, nn.Module) or not isinstance(value, list | dict | set):
        return value
    if not value and type(value) in EMPTY:
        return type(value)()
    return copy.deepcopy(value) if numbers_only(value) else copy.copy(value)


def numbers_only(value: Any) -> bool:
    """Return whether lists and the like hold nothing but numbers, names and None."""
    if isinstance(value, dict):
        return all(numbers_only(one) for one in value.values())
    if isinstance(value, list | tuple | set):
        return all(numbers_only(one) for one in value)
    return value is None or isinstance(value, int | float | str)


def arrays_in(value: Any) -> list[Any]:
    """Return the tensors and arrays in an argument."""
    if isinstance(value, Tensor | np.ndarray):
        return [value]
    inner: Iterator[Any] | Sequence[Any] = ()
    if isinstance(value, list | tuple):
        inner = value
    elif isinstance(value, dict):
        inner = iter(value.values())
    return [array for one in inner for array in arrays_in(one)]


def numbers_of(values: Mapping[str, Any], name: str) -> list[Any]:
    """Return what tells that a tensor or array changed: its numbers, or of large tensors whether torch wrote to
    them."""
    return [
        (array.ctypes.data, array.shape, hash(array.tobytes()))
        if isinstance(array, np.ndarray)
        else array.tolist()
        if array.numel() <= MOST_COMPARED or array.is_inference()
        else (id(array), array._version)
        for array in arrays_in(values.get(name))
    ]
