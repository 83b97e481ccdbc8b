"""Arguments of transforms as plain numbers, where torchvision takes them, and uses them as they stand."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.transforms.area import logarithms
from learned_transforms.transforms.containers import CONTAINERS, Applying
from learned_transforms.transforms.registry import SPECS
from learned_transforms.transforms.rng import round_float32
from learned_transforms.transforms.spec import kept_as
from learned_transforms.transforms.torch_ops import OPERATIONS
from learned_transforms.transforms.watch import arrays_in

WHOLE = ("size", "kernel_size", "padding")
"""Arguments that are whole numbers."""

BUILT_IN = (int, float, str, tuple, list, type(None))
"""What some arguments must be: for tensors, torchvision refuses numbers of NumPy and torch."""

MANY = (v1.CenterCrop, v1.FiveCrop, v1.TenCrop, v2.CenterCrop, v2.FiveCrop, v2.TenCrop, v1.RandomCrop, v2.RandomCrop)
"""Transforms that compute with their size as it is, for which tensors have not what it takes."""

LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "sharpness_factor"), (0.0, 1e30)),
    "hue": (-0.5, 0.5),
    "p": (-math.inf, math.inf),
}
"""Least and largest of numbers that not every constructor checks: beyond, torchvision refuses some images."""


def check_argument(base: type, name: str, value: Any) -> None:
    """Require an argument that torchvision takes.

    Raises:
        TypeError, ValueError: a number of another kind, or out of range, over which torchvision fails.
    """
    tensors = [one for one in arrays_in(value) if isinstance(one, Tensor)]
    if name == "bits" and not isinstance(value, int):
        raise TypeError(f"{name} of type {type(value).__name__}")
    strict = ("value",) if issubclass(base, v2.Transform) else ("value", "padding", "fill", "kernel_size")
    if name in strict and not isinstance(value, BUILT_IN):
        raise TypeError(f"{name} of type {type(value).__name__}")
    if name in WHOLE and not is_whole(value):
        raise TypeError(f"{name} of floats or truth values")
    if name == "size" and any(number < 1 for number in numbers_in(plain_argument(value)) if isinstance(number, int)):
        raise ValueError(f"{name} of {value}")
    if name == "padding" and isinstance(value, list | tuple) and len(value) not in (1, 2, 4):
        raise ValueError(f"{name} of {len(value)} numbers")
    if tensors and base in MANY:
        raise TypeError(f"{name} of tensors")
    if name in LIMITS:
        check_limits(name, value)


def check_limits(name: str, value: Any) -> None:
    """Require numbers within :data:`LIMITS`; several only where it is a range, which may be None."""
    ranged = name in ("brightness", "contrast", "saturation", "hue")
    given = plain_argument(value)
    if ranged and given is None:
        return
    low, high = LIMITS[name]
    for one in given if ranged else (given,):
        if not isinstance(one, int | float):
            raise TypeError(f"{name} of type {type(one).__name__}")
        if not low <= one <= high:
            raise ValueError(f"{name} of {one}")


def check_container(base: type, given: Mapping[str, Any]) -> None:
    """Require a container that holds transforms, and a chance; one for each where it chooses.

    Raises:
        TypeError, ValueError: what torchvision refuses, if only once it comes to it.
    """
    if not len(given["transforms"]):
        raise ValueError("no transforms")
    if issubclass(CONTAINERS[base], Applying):
        check_limits("p", given["p"])
    elif given.get("p") is not None and len(given["p"]) != len(given["transforms"]):
        raise ValueError(f"{len(given['p'])} chances of {len(given['transforms'])} transforms")


def check_made(transform: Any, base: type) -> None:
    """Require arguments as the constructor of ``base`` would have left them.

    Whoever sets others later gets what torchvision makes of them: it does not see all changes, and some it refuses.

    Raises:
        Exception: of those that constructors raise. ValueError: they are others.
    """
    spec = SPECS[base](transform)
    names = spec.arguments
    if not names or base in OPERATIONS:  # Operations run as they stand.
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = base(**{name: spec.argument(name) for name in names})
    for name in (*map(kept_as, names), *(("_fill",) if hasattr(made, "_fill") else ())):
        if bare(getattr(made, name)) != bare(getattr(transform, name)):
            raise ValueError(f"{name} was changed to what no constructor makes")
    # Whatever the default dtype is: a draw looks at that.
    known = tuple(map(round_float32, transform._log_ratio.tolist())) if hasattr(made, "_log_ratio") else ()
    ratio = plain_argument(transform.ratio) if known else ()
    # Those of another default dtype were rounded once.
    if known and known not in (logarithms(*ratio), tuple(round_float32(math.log(end)) for end in ratio)):
        raise ValueError("ratio was changed, of which its logarithms know nothing")


def bare(value: Any) -> Any:
    """Return a plain value that equals others whatever their sequences are."""
    value = plain_argument(value)
    if isinstance(value, dict):
        return {name: bare(one) for name, one in value.items()}
    return tuple(bare(one) for one in value) if isinstance(value, list | tuple) else value


def is_whole(value: Any) -> bool:
    """Return whether there are no floats and no truth values in an argument."""
    return not any(isinstance(one, bool | float) for one in numbers_in(plain_argument(value)))


def numbers_in(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers_in(one)
    else:
        yield value


def plain_argument(value: Any) -> Any:
    """Return an argument as Python numbers: tensors, arrays, and sequences of such as tuples; anything else as it is.

    Raises:
        ValueError: a tensor that is being trained, whose gradients would be lost.
    """
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise ValueError("a tensor among them is being trained")
        return plain_list(value.tolist())
    if isinstance(value, np.ndarray | np.generic):
        return plain_list(value.tolist())
    if isinstance(value, dict):
        made = {name: plain_argument(one) for name, one in value.items()}
        return value if all(made[name] is one for name, one in value.items()) else made
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return value
    numbers = [plain_argument(one) for one in value]
    unchanged = type(value) in (list, tuple) and all(one is other for one, other in zip(numbers, value, strict=True))
    return value if unchanged else tuple(numbers)


def plain_list(value: Any) -> Any:
    return tuple(plain_list(one) for one in value) if isinstance(value, list) else value
