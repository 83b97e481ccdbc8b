"""Transforms as plain values, and back: what weight files say of a pipeline. Only classes that are listed are made."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2
from torchvision.tv_tensors import BoundingBoxFormat

from learned_transforms.errors import PipelineTypeError, WeightsError, brief
from learned_transforms.installed import resizes_by_name
from learned_transforms.transforms.containers import COMPOSES, CONTAINERS, RandomOrder
from learned_transforms.transforms.registry import SPECS, Altered, name_of, spec_of
from learned_transforms.transforms.spec import Twin

MOST_NUMBERS = 2**20
"""Of a tensor in a description."""

MOST_LEAVES = 1024
"""Transforms that a file may hold; those whose order is drawn count once for each place."""

ENUMS = {"interpolation": InterpolationMode, "policy": AutoAugmentPolicy, "format": BoundingBoxFormat}
"""Named values, by what a description calls them."""


def class_name(transform_class: type) -> str:
    return f"{'v2' if issubclass(transform_class, v2.Transform) else 'v1'}.{transform_class.__name__}"


KNOWN = [known for known in (*SPECS, *COMPOSES) if not issubclass(known, Twin)]
NAMES = {class_name(known): known for known in KNOWN}


def describe(transform: Any) -> dict[str, Any]:
    """Return a transform of torchvision's as plain values, for weight files.

    Raises:
        PipelineTypeError: a foreign one, by name, or one whose arguments cannot be written down.
    """
    found = type(transform)
    if found in (*CONTAINERS, *COMPOSES) and not isinstance(transform, Twin):
        own = {"p": to_plain(transform.p)} if hasattr(transform, "p") else {}
        inner = [describe(t) for t in transform.transforms]
        return {"transform": class_name(found), "arguments": own, "transforms": inner}
    if isinstance(transform, Altered):
        raise PipelineTypeError(f"{name_of(transform)} cannot be saved: {transform.reason}.")
    if isinstance(transform, Twin) or found not in SPECS:
        name = getattr(transform, "__qualname__", found.__qualname__)
        raise PipelineTypeError(
            f"{brief(name)} cannot be saved: it is none of torchvision's transforms that a file can name. "
            "Save the rest of the pipeline without it, and put it back after loading."
        )
    try:
        return {"transform": class_name(found), "arguments": arguments_of(transform)}
    except (AttributeError, PipelineTypeError) as error:
        raise PipelineTypeError(f"{class_name(found)} cannot be saved: {error}") from error


def arguments_of(transform: Any) -> dict[str, Any]:
    """Return the constructor arguments of a listed transform, as it keeps them, as plain values."""
    spec = spec_of(transform)
    return {name: to_plain(spec.argument(name)) for name in (*spec.arguments, *spec.tensors)}


def restore(description: Any) -> Any:
    """Return the transform that :func:`describe` wrote down.

    Raises:
        WeightsError: an unknown class, arguments that it does not take, or more transforms than a file may hold.
    """
    try:
        if leaves_in(description) > MOST_LEAVES:
            raise WeightsError(f"Expected up to {MOST_LEAVES} transforms, got more in {brief(description)}.")
        return made_of(description)
    except WeightsError:
        raise
    except (
        *(AttributeError, IndexError, KeyError, OverflowError, RecursionError, RuntimeError, TypeError, ValueError),
        ZeroDivisionError,
    ) as error:
        raise WeightsError(
            f"Expected a transform of torchvision's, got {brief(description)}: {error!r:.300}"
        ) from error


def leaves_in(description: Mapping[str, Any]) -> int:
    """Transforms that a description comes to, itself included, once containers are taken apart."""
    inner = description.get("transforms", ())
    places = len(inner) if CONTAINERS.get(NAMES[description["transform"]]) is RandomOrder else 1
    return 1 + places * sum(map(leaves_in, inner))


def made_of(description: Mapping[str, Any]) -> Any:
    transform_class = NAMES[description["transform"]]
    arguments = {name: from_plain(value) for name, value in description["arguments"].items()}
    named = arguments.get("interpolation")
    if isinstance(named, str) and issubclass(transform_class, v2.Transform) and not resizes_by_name():
        # Written down where v2 takes names.
        arguments["interpolation"] = InterpolationMode(named)
    if transform_class not in (*CONTAINERS, *COMPOSES):
        return transform_class(**arguments)
    made = transform_class([made_of(entry) for entry in description["transforms"]], **arguments)
    if "p" in arguments:
        made.p = arguments["p"]  # v2 divides chances by their sum, which may change them once more.
    return made


def to_plain(value: Any) -> Any:
    """Return an argument as JSON can say it.

    Raises:
        PipelineTypeError: it is a function, another object, or a tensor of too many numbers.
    """
    if isinstance(value, torch.Tensor):
        if value.numel() > MOST_NUMBERS:
            raise PipelineTypeError(
                f"A tensor of {value.numel()} numbers is too large for the description of a pipeline."
            )
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    for name, enum in ENUMS.items():
        if isinstance(value, enum):
            return {name: value.value}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise PipelineTypeError(f"{brief(value)} cannot be written down as plain values.")


def from_plain(value: Any) -> Any:
    """Return what :func:`to_plain` was given, but for tuples and arrays, which come back as lists."""
    if isinstance(value, list):
        return [from_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"tensor", "dtype"}:
        return torch.tensor(value["tensor"], dtype=dtype_of(value["dtype"]))
    if value.keys() == {"dtype"}:
        return dtype_of(value["dtype"])
    ((name, own),) = value.items()
    return ENUMS[name](own)


def dtype_of(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise WeightsError(f"Expected the name of a dtype, got {brief(name)}.")
    return found
