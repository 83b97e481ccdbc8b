"""Which published transform an object is: of its class or a plain subclass, unaltered, its arguments as numbers."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from torch import nn
from torchvision.transforms import _presets as presets

from learned_transforms.errors import PipelineTypeError, PipelineValueError
from learned_transforms.layers.network import Lowered
from learned_transforms.transforms.arguments import check_argument, check_container, check_made, plain_argument
from learned_transforms.transforms.clients import known as clients
from learned_transforms.transforms.containers import COMPOSES, CONTAINERS
from learned_transforms.transforms.convert import ToTensorIfPIL
from learned_transforms.transforms.registry import SPECS, Altered
from learned_transforms.transforms.spec import Twin, kept_as
from learned_transforms.transforms.watch import watch_values

SEQUENCES = (nn.Sequential, nn.ModuleList)
HOLDERS = (Collection, *SEQUENCES)
"""What a Compose may hold its transforms in; an iterator would be used up."""

PRESETS = (presets.ImageClassification, presets.SemanticSegmentation, presets.ObjectDetection)
PUBLISHED = (*SPECS, *COMPOSES, *PRESETS, nn.Sequential)

METHODS = ("forward", "get_params", "make_params", "_get_params", "transform", "check_inputs",
           "_call_kernel", "_needs_transform_list", "_transformed_types", "_augmentation_space", "_AUGMENTATION_SPACE",
           "_get_policies", "_get_random_item", "_apply_image_or_video_transform",
           "_flatten_and_extract_image_or_video", "_unflatten_and_insert_image_or_video")  # fmt: skip
"""What decides on what a transform does. Whoever replaces one of these gets what they wrote."""


def methods_of(kind: type) -> tuple[str, ...]:
    """Return those of a class; tracers replace that of every module by which it is called, and it stays the same
    transform."""
    return METHODS if issubclass(kind, nn.Module) else ("__call__", *METHODS)


PRISTINE = {kind: {name: getattr(kind, name, None) for name in methods_of(kind)} for kind in PUBLISHED}
"""The methods as torchvision published them."""

HARMLESS = {
    *("__module__", "__doc__", "__qualname__", "__annotations__", "__dict__", "__weakref__", "__slots__", "__init__"),
    *("__repr__", "extra_repr", "__orig_bases__", "__parameters__", "__static_attributes__", "__firstlineno__"),
    *("get_params", "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl"),
}
"""What a subclass may define and still do what its parent does; ``get_params`` is compared by itself."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

IDLE = {*vars(nn.Module()), "_log_ratio"} - {*HOOKS, "_modules", "_parameters", "_buffers"}
"""Attributes whose contents decide on nothing: what modules keep for themselves, and what v2 works out of a ratio."""


class Piece(NamedTuple):
    """One transform of a pipeline.

    Attributes:
        transform: the user's own object, which torchvision runs.
        read: the same as learned layers read it: an exact published class with plain arguments, or a network;
            anything else runs outside.
    """

    transform: Any
    read: Any


def published_class(kind: Any) -> Any:
    """Return the published class that a class is, or of which it is a subclass that overrides nothing; None: there is
    none."""
    base = next((parent for parent in kind.__mro__ if parent in PRISTINE), None)
    if base is None or base is kind or base in (*COMPOSES, nn.Sequential, *PRESETS):
        return base if base is kind else None
    own = {name for parent in kind.__mro__ if parent not in base.__mro__ for name in vars(parent)}
    return None if (own - HARMLESS) & set(dir(base)) else base


def altered(transform: Any, base: type) -> str | None:
    """Return what was replaced in a transform, in words; None: nothing."""
    own = vars(transform)
    replaced = [name for name in ("__call__", *METHODS) if name in own]
    replaced += [name for name, value in PRISTINE[base].items() if getattr(type(transform), name, None) is not value]
    if replaced:
        return f"its {replaced[0]} was replaced"
    return "it has hooks" if any(own.get(name) for name in HOOKS) else None


def opened(transform: Any) -> Sequence[Any] | None:
    """Return the transforms that a Compose, a Sequential or a preset is made of; None for anything else, or an altered
    one."""
    if apart(transform):
        return list(transform.transforms)
    base = published_class(type(transform))
    if base is None:
        return clients.opened(transform)
    if base not in (*COMPOSES, nn.Sequential, *PRESETS) or altered(transform, base):
        return None
    if base in PRESETS:
        return preset_steps(transform)
    inner = transform if base is nn.Sequential else transform.transforms
    return list(inner) if isinstance(inner, HOLDERS) else None


def takes_one(transforms: Any) -> bool:
    """Return whether it is an nn.Sequential or nn.Identity, which take one input, or a Compose or list that holds
    one."""
    if type(transforms) in COMPOSES:
        return takes_one(transforms.transforms)
    inner = transforms if isinstance(transforms, list | tuple | nn.ModuleList) else ()
    return type(transforms) in (nn.Sequential, nn.Identity) or any(takes_one(one) for one in inner)


def apart(transform: Any) -> bool:
    """Return whether a transform is a pipeline of this library, and nothing but its transforms decide on what it
    does."""
    return isinstance(transform, Lowered) and bool(getattr(transform, "plain", False))


def preset_steps(preset: Any) -> list[Any]:
    """Return the v1 transforms that compute what a published preset computes."""
    steps: list[Any] = []
    if getattr(preset, "resize_size", None) is not None:
        steps.append(v1.Resize(preset.resize_size, preset.interpolation, antialias=preset.antialias))
    if hasattr(preset, "crop_size"):
        steps.append(v1.CenterCrop(preset.crop_size))
    steps += [ToTensorIfPIL(), v1.ConvertImageDtype(torch.float)]
    return [*steps, v1.Normalize(preset.mean, preset.std)] if hasattr(preset, "mean") else steps


def pieces_of(transforms: Sequence[Any]) -> Iterator[Piece]:
    """Yield the transforms of a pipeline, those of Composes, Sequentials and presets within them in their place."""
    for transform in transforms:
        inner = opened(transform)
        if inner is None:
            yield Piece(transform, read(transform))
        else:
            yield from pieces_of(inner)


def read(transform: Any) -> Any:
    """Return a transform as learned layers read it.

    An exact published class whose arguments are plain comes back itself. Where arguments are tensors, arrays or other
    sequences, or the class is a plain subclass, it is a twin of the published class with numbers and tuples.
    """
    if isinstance(transform, Twin):
        return transform
    base = published_class(type(transform))
    if base is None:
        inner = clients.opened(transform)
        return clients.read_client(transform, read) if inner is None else v1.Compose([read(one) for one in inner])
    reason = altered(transform, base)
    if reason is not None:
        return Altered(transform, reason)
    inner = opened(transform)
    if inner is not None:
        base, given = v1.Compose, {"transforms": [read(one) for one in inner]}
    else:
        try:
            given = arguments_of(transform, base)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            return Altered(transform, f"its arguments cannot be read ({error})")
    if type(transform) is base and all(getattr(transform, name) is value for name, value in given.items()):
        return transform
    twin = base.__new__(base)
    twin.__dict__.update({**vars(transform), **given})
    return twin


def arguments_of(transform: Any, base: type) -> dict[str, Any]:
    """Return the arguments of a transform as plain values, those in a container read like itself.

    Raises:
        AttributeError, RuntimeError, TypeError, ValueError: some that torchvision refuses, or uses otherwise.
    """
    if base in CONTAINERS:
        given = {"transforms": [read(one) for one in transform.transforms]}
        if given["transforms"] == list(transform.transforms):
            given = {"transforms": transform.transforms}
        given = given if not hasattr(transform, "p") else {**given, "p": plain_argument(transform.p)}
        check_container(base, given)
        return given
    given = {name: getattr(transform, name) for name in map(kept_as, SPECS[base].arguments)}
    for name, value in given.items():
        check_argument(base, name, value)
    check_made(transform, base)
    return {name: plain_argument(value) for name, value in given.items()}


def watch_pieces(watch: Any, transforms: Sequence[Any]) -> None:
    """Watch everything that decides on how transforms, and those in them, are read.

    What runs outside of learned layers may change as it likes.
    """
    classes: set[type] = set()
    watch_all(watch, transforms, classes, set())
    bases = {kind: published_class(kind) for kind in classes}
    if any(SPECS[base].default_dtype for base in bases.values() if base in SPECS):
        watch.result(torch.get_default_dtype, torch.get_default_dtype())
    for kind, base in bases.items():
        names = [name for name, value in PRISTINE[base].items() if value is not None]
        watch.attributes(kind, {name: getattr(kind, name, None) for name in names})


def watch_all(watch: Any, transforms: Iterable[Any], classes: set[type], owners: set[tuple[str, Any]]) -> None:
    """Watch the attributes of transforms, and of those in them; add their classes to ``classes``, those of clients to
    ``owners``."""
    watch_sequence(watch, transforms)
    for transform in transforms:
        base = published_class(type(transform))
        if base is None:
            clients.watch(watch, transform, IDLE, owners)
            watch_all(watch, tuple(clients.held(transform)), classes, owners)
            continue
        classes.add(type(transform))
        watch_values(watch, vars(transform), IDLE)
        if base is nn.Sequential:
            watch_values(watch, transform._modules)
            watch_all(watch, tuple(transform), classes, owners)
        elif base in (*CONTAINERS, *COMPOSES) and isinstance(transform.transforms, HOLDERS):
            watch_all(watch, transform.transforms, classes, owners)


def watch_sequence(watch: Any, transforms: Any) -> None:
    if type(transforms) is nn.ModuleList:
        watch_values(watch, transforms._modules)
    elif isinstance(transforms, list):
        watch.sequence(transforms, tuple(transforms))
    elif not isinstance(transforms, tuple):
        watch.result(partial(tuple, transforms), tuple(transforms))


def listed(transforms: Any) -> Any:
    """Return what was given as a pipeline, as a sequence of transforms: the list itself, of a real Compose its own.

    Raises:
        PipelineTypeError: no callables. PipelineValueError: an empty list.
    """
    if type(transforms) in COMPOSES or apart(transforms):
        given, empty = transforms.transforms, True
    elif type(transforms) in SEQUENCES:
        given, empty = list(transforms), True
    elif isinstance(transforms, Sequence) and not isinstance(transforms, str | bytes):
        given, empty = transforms, False
    elif callable(transforms):
        given, empty = [transforms], False
    else:
        hint = "Put transforms into a list."
        if isinstance(transforms, str):
            hint = f"Did you mean LearnedCompose.from_pretrained({transforms[:80]!r})?"
        raise PipelineTypeError(
            f"Argument transforms should be a sequence of callables, got {type(transforms).__name__}. {hint}"
        )
    if not isinstance(given, list | tuple):
        given = list(given)
    if not given and not empty:
        raise PipelineValueError("Pass at least one transform: the list is empty.")
    for position, transform in enumerate(given):
        check_transform(position, transform)
    return given


def check_transform(position: int, transform: Any) -> None:
    """Require something to call, and no class of transforms where an object of it was meant."""
    if not callable(transform):
        raise PipelineTypeError(
            "Argument transforms should be a sequence of callables, but entry "
            f"{position} is {type(transform).__name__}."
        )
    if isinstance(transform, type) and (issubclass(transform, nn.Module) or transform in PRISTINE):
        raise PipelineTypeError(
            f"Entry {position} of the transforms is the class {transform.__name__}, not a transform. "
            f"Did you mean {transform.__name__}(...)?"
        )
