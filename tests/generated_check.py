"""The check of a generated case against torchvision, call by call, and all that may differ."""

import collections.abc
import contextlib
import dataclasses
import random
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
import torchvision.transforms as v1
from generated_sources import Case
from generated_values import NAMES, evaluated, every
from helpers import meant
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import LearnedTransformsError
from learned_transforms.transforms.containers import COMPOSES
from learned_transforms.transforms.registry import SPECS

CALLS = 5
"""In a row: from the second they take ways that were prepared before, and then native ones, for outcomes that came."""

FLOATS = 1e-6
"""Of full range: what floats may differ by."""


class Difference(AssertionError):  # noqa: N818 - a result, not a mistake
    """What differs: a kind, and the particulars."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


# The deliberate extensions of DESIGN.md, and what is certified as `rounding`: all that may differ.


class Undecided(Exception):  # noqa: N818
    """Nothing says what is expected."""


CONVERTERS = (v1.ToTensor, v2.ToTensor, v2.ToImage, v1.ToPILImage, v2.ToPILImage, v1.PILToTensor, v2.PILToTensor)
LAMBDAS = (v1.Lambda, v2.Lambda)
KNOWN = (*SPECS, nn.Identity)


def is_picture(value: Any = None) -> bool:
    """A lone uint8 array [H, W, C] or [H, W]: transformed by ours, refused or handed back by torchvision."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3)


def channels_first(value: np.ndarray) -> Tensor:
    return torch.from_numpy(value.copy() if value.ndim == 3 else value[..., None].copy()).permute(2, 0, 1)


def as_arrays(made: Any) -> Any:
    return tree_map(lambda x: x.movedim(-3, -1).numpy() if type(x) is Tensor else x, made)


def flat(transforms: Any) -> Iterator[Any]:
    for transform in transforms:
        if type(transform) in COMPOSES:
            yield from flat(transform.transforms)
        elif type(transform) is nn.Sequential:
            yield from flat(transform)
        else:
            yield transform


class Expected:
    """torchvision's Compose, and on lone uint8 arrays what ours promises."""

    def __init__(self, pipeline: Any, api: Any) -> None:
        self.compose = api.Compose(pipeline) if isinstance(pipeline, list) else pipeline

    def __call__(self, *inputs: Any) -> Any:
        if len(inputs) != 1 or not is_picture(inputs[0]):
            return self.compose(*inputs)
        # Transforms of the catalogue do tensor arithmetic, one after the other, and an array comes of it.
        value, made, tensor, array = inputs[0], True, None, None
        held = True  # What a function makes of anything but such an array, torchvision gets as it is.
        for transform in flat([self.compose]):
            # What layers make of a lone array stays one, whatever its dtype.
            if made and isinstance(value, tuple):
                raise Undecided
            made = held and is_torchvision(transform)
            inner = [transform, *every(transform)]
            if made and (any(type(one) not in KNOWN or getattr(one, "inplace", False) for one in inner)):
                raise Undecided
            if held and min(value.strides, default=0) < 0 and isinstance(transform, CONVERTERS):
                value = value.copy()  # torch takes no negative strides; ours does.
            if made:
                tensor = transform(tensor if value is array else channels_first(value))
                value = array = as_arrays(tensor)
                held = isinstance(value, np.ndarray)
            else:
                value = transform(value)
                held = held and is_picture(value)
        return value


def is_torchvision(transform: Any) -> bool:
    """Whether it is torchvision's, or derives from it, and so is all in it, and none of that takes arrays itself."""
    inner = list(within(transform))
    own = all(any(base.__module__.startswith(OWN) for base in type(one).__mro__) for one in inner)
    return own and not any(isinstance(one, (*CONVERTERS, *LAMBDAS)) for one in inner)


OWN = ("torchvision.", "torch.nn.modules.container")


def within(transform: Any) -> Iterator[Any]:
    """A transform, and all that it holds but nn.Identity, which among transforms counts as theirs."""
    yield transform
    held = transform if isinstance(transform, nn.Sequential) else getattr(transform, "transforms", ())
    for one in held:
        if type(one) is not nn.Identity:
            yield from within(one)


FAULTS = r"INTERNAL ASSERT|Output \d of Unbind is a view"
"""Torch's word for its own faults, and for gradients of hues, which torchvision computes in place and ours does not."""

ABLE = r"more than one element of the written-to tensor refers to a single memory location|view size is not compatible"
"""What torchvision raises where ours need not: its gray images of three channels are one, expanded, which no function
writes to; and v1's LinearTransformation asks for a view of what lies otherwise in memory."""

BROKEN = "color must be int or single-element tuple"
"""Of gray images in which a color is transparent, which no file holds: other errors may come before Pillow's."""

PLAIN = r"(antialias=(False|None)|, (False|None)\))"
INFINITE = rf"{PLAIN}|v1\.RandomAdjustSharpness"
"""With infinite values: without antialiasing torch multiplies the same pixel by several weights where ours has one, and
sharpening in v1 blends edges with themselves, where ours and v2 leave them."""

ROUNDED = {
    "tensor": rf"GaussianBlur\(|v1\.(Resize|RandomResizedCrop)\(.*{PLAIN}",
    "pil": r"GaussianBlur\(",
}
INEXACT = r"(Resize|Crop|Blur|Jitter|Normalize|Sharpness|Autocontrast|Grayscale|Distort|Equalize|Transformation)\("
FLOATING = r"torch\.b?float|\.float\(|ToTensor|np\.float|'float32'|/ 255"
QUANTIZING = r"ToPILImage|torch\.u?int\d+|JPEG"
STRETCHING = (
    r"Normalize|Contrast|Autocontrast|Jitter|Distort|Equalize|Posterize|Solarize|Aug|Sharpness|Transformation|lambda"
)


def levels(case: Case) -> float | None:
    """How many levels of integers a value may differ by; None: any, since what is a little off then is stretched."""
    pil = re.search(r"pil\(|png\(", case.input) and not re.search(r"ToTensor|array", case.pipeline)
    rounded = re.search(ROUNDED["pil" if pil else "tensor"], case.pipeline)
    behind = case.pipeline[rounded.end() :] if rounded else ""
    begin = re.search(FLOATING, case.pipeline)
    floats = case.pipeline if re.search(FLOATING, case.input) else case.pipeline[begin.start() :] if begin else ""
    inexact = re.search(INEXACT, floats)
    floats = floats[inexact.end() :] if inexact else ""
    if re.search(STRETCHING, behind) or re.search(STRETCHING.replace("Normalize|", ""), floats):
        return None
    return 1 if rounded or re.search(QUANTIZING, floats) else 0


# The check.


def seeded(key: int) -> None:
    torch.manual_seed(key)
    random.seed(key)
    np.random.seed(key)


def states() -> tuple[Any, ...]:
    _, keys, *rest = np.random.get_state()
    return bytes(torch.get_rng_state().numpy()), random.getstate(), (keys.tobytes(), *rest)


@dataclasses.dataclass
class Outcome:
    """What one call gave or raised, the random state behind it, and its inputs as it left them.

    Attributes:
        beyond: see :func:`quantized`.
    """

    given: tuple[Any, ...]
    value: Any = None
    raised: BaseException | None = None
    states: tuple[Any, ...] = ()
    beyond: bool = False


@contextlib.contextmanager
def quantized() -> Iterator[list[bool]]:
    """Note of floats that torchvision makes bytes of whether some lie beyond 0 to 1.

    C++ leaves open what comes of them, and torchvision wraps them around; ours clamps them.
    """
    notes: list[bool] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*values: Any, **options: Any) -> Any:
            image = next(value for value in values if not isinstance(value, nn.Module))
            if isinstance(image, Tensor) and image.is_floating_point():
                notes.append(not bool(((image >= 0) & (image <= 1)).all()))
            return function(*values, **options)

        return noted

    with contextlib.ExitStack() as stack:
        for owner, name in ((v1.functional, "to_pil_image"), (v2.functional, "to_pil_image"), EQUALIZE):
            stack.enter_context(mock.patch.object(owner, name, noting(getattr(owner, name))))
        yield notes


EQUALIZE = (v2.RandomEqualize, "transform")


def outcomes(
    case: Case, wrap: Callable[[Any], Any], named: Callable[[Any], Any], notes: list[bool] | None = None
) -> list[Outcome]:
    """Of each call in a row; a pipeline that cannot be made has one outcome."""
    seeded(case.seed)
    try:
        compose = wrap(evaluated(case.pipeline))
    except Exception as error:
        return [Outcome((), raised=error)]
    found, notes = [], [] if notes is None else notes
    for number in range(CALLS):
        inputs = evaluated(case.input)
        one = Outcome(inputs if case.several else (inputs,))
        seeded(case.seed + number)
        try:
            one.value = compose(*one.given)
        except Exception as error:
            one.raised = error
        one.states, one.beyond = states(), any(notes)
        notes.clear()
        found.append(one)
        if number == 0 and case.change:
            try:
                exec(case.change, {**NAMES, "compose": named(compose)})
            except Exception as error:
                return [*found, Outcome((), raised=error)]
    return found


def check(case: Case) -> bool:
    """Compare each call with torchvision's; False where there is nothing to compare.

    Raises:
        Difference: in anything but what is allowed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not (is_made(case.pipeline) and is_made(case.input)):
            return False
        api = v2 if case.several or "v2." in case.pipeline else v1
        with quantized() as notes:
            wanted = outcomes(case, lambda pipeline: Expected(pipeline, api), lambda made: made.compose, notes)
        found = outcomes(case, lt.LearnedCompose, lambda made: made)
    if re.search(r"'inf'", case.input) and re.search(INFINITE, case.pipeline):
        return False
    if any(isinstance(one.raised, Undecided) or re.search(FAULTS, str(one.raised)) for one in wanted):
        return False
    pairs = list(zip(found, wanted, strict=False))
    for number, (ours, theirs) in enumerate(pairs, 1):
        compare_outcomes(ours, theirs, None if theirs.beyond else levels(case), f"call {number}")
    if len(found) != len(wanted):
        raise Difference("change refused", f"{len(found)} calls, of {len(wanted)}")
    for number, (ours, theirs) in enumerate(pairs, 1):
        if theirs.raised is None and not is_picture(*theirs.given[:1]):
            compare_memory(ours, theirs, f"call {number}")
    return True


def is_made(source: str) -> bool:
    """Whether the constructors in it take their arguments."""
    try:
        evaluated(source)
    except (NameError, SyntaxError):
        raise
    except Exception:
        return False
    return True


def compare_outcomes(ours: Outcome, theirs: Outcome, levels: float | None, where: str) -> None:
    if type(theirs.raised) is NameError:
        raise theirs.raised  # A fault of the case.
    if theirs.raised is not None:
        wanted = f"torchvision raises {told(theirs.raised)}"
        if ours.raised is None and re.search(ABLE, str(theirs.raised)):
            return
        if ours.raised is None:
            raise Difference("no exception", f"{where}: {wanted}; ours gives {described(ours.value)}")
        if BROKEN in str(theirs.raised) and isinstance(ours.raised, LearnedTransformsError):
            return
        if not meant(ours.raised, theirs.raised):
            raise Difference("other exception", f"{where}: {wanted}; ours {told(ours.raised)}")
        return
    if ours.raised is not None:
        raise Difference("raises", f"{where}: {told(ours.raised)}; torchvision gives {described(theirs.value)}")
    compare(ours.value, theirs.value, levels, where)
    for name, one, other in zip(("torch", "random", "numpy"), ours.states, theirs.states, strict=True):
        if one != other:
            raise Difference("random state", f"{where}: of {name}")
    try:
        compare(ours.given, theirs.given, levels, where)
    except Difference as error:
        raise Difference("input modified", str(error)) from error


def compare(found: Any, expected: Any, levels: float | None, where: str) -> None:
    """Two results: types, dtypes, shapes, values and what goes with them, through containers."""
    if type(found) is not type(expected):
        raise Difference("type", f"{where}: {described(found)}, expected {described(expected)}")
    if isinstance(expected, Tensor):
        compare_tensors(found, expected, levels, where)
    elif isinstance(expected, np.ndarray):
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            raise Difference("dtype or shape", f"{where}: {described(found)}, expected {described(expected)}")
        if expected.dtype.kind in "US" and not np.array_equal(found, expected):
            raise Difference("other value", f"{where}: {found!r}, expected {expected!r}"[:300])
        if expected.dtype.kind in "OUS":
            return
        compare_values(torch.from_numpy(found.copy()), torch.from_numpy(expected.copy()), levels, where)
    elif isinstance(expected, Image.Image):
        if (found.mode, found.size) != (expected.mode, expected.size):
            raise Difference("mode or size", f"{where}: {described(found)}, expected {described(expected)}")
        compare_values(torch.from_numpy(np.array(found)), torch.from_numpy(np.array(expected)), levels, where)
        if undated(found.info) != undated(expected.info) or found.getpalette() != expected.getpalette():
            raise Difference("info", f"{where}: {found.info}, expected {expected.info}")
    elif dataclasses.is_dataclass(expected) and not isinstance(expected, type):
        compare(vars(found), vars(expected), levels, where)
    elif isinstance(expected, collections.abc.Mapping):
        if list(found) != list(expected):
            raise Difference("keys", f"{where}: {list(found)}, expected {list(expected)}")
        for key in expected:
            compare(found[key], expected[key], levels, f"{where}[{key!r}]")
    elif isinstance(expected, list | tuple):
        if len(found) != len(expected):
            raise Difference("length", f"{where}: {len(found)}, expected {len(expected)}")
        for position, (one, other) in enumerate(zip(found, expected, strict=True)):
            compare(one, other, levels, f"{where}[{position}]")
    elif type(expected) is float:
        compare_values(torch.tensor([found]), torch.tensor([expected]), levels, where)
    elif type(expected).__eq__ is not object.__eq__ and found != expected:
        raise Difference("other value", f"{where}: {found!r}, expected {expected!r}"[:300])


def undated(info: dict[str, Any]) -> dict[str, Any]:
    """What an image carries, without the second at which Pillow made its color profile, and the digest over that."""
    profile = info.get("icc_profile")
    return {**info, "icc_profile": (profile[:24], profile[36:84], profile[100:])} if profile else info


def compare_tensors(found: Tensor, expected: Tensor, levels: float | None, where: str) -> None:
    if (found.dtype, found.shape, found.device) != (expected.dtype, expected.shape, expected.device):
        raise Difference("dtype or shape", f"{where}: {described(found)}, expected {described(expected)}")
    if found.requires_grad != expected.requires_grad:
        raise Difference("requires_grad", f"{where}: {found.requires_grad}, expected {expected.requires_grad}")
    for name in ("format", "canvas_size", "clamping_mode"):
        if getattr(found, name, None) != getattr(expected, name, None):
            raise Difference(name, f"{where}: {getattr(found, name)}, expected {getattr(expected, name)}")
    plain = found.detach().as_subclass(Tensor), expected.detach().as_subclass(Tensor)
    compare_values(*plain, levels, where)


def compare_values(found: Tensor, expected: Tensor, levels: float | None, where: str) -> None:
    if levels is None or not expected.numel():
        return
    if expected.dtype.is_complex:
        found, expected = torch.view_as_real(found), torch.view_as_real(expected)
    floating = expected.is_floating_point()
    if not floating and levels == 0:
        if not torch.equal(found, expected):
            far = (found.double() - expected.double()).abs()
            raise Difference("values", f"{where}: {int((far > 0).sum())} of {far.numel()} off, by {far.max():g}")
        return
    found, expected = found.double(), expected.double()
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        raise Difference("values, not finite", f"{where}: {int((finite != found.isfinite()).sum())} differ")
    if not torch.equal(found[~finite].nan_to_num(3), expected[~finite].nan_to_num(3)):
        raise Difference("values, not finite", where)
    if finite.any():
        scale = max(1.0, float(expected[finite].abs().max()))
        far = float((found - expected)[finite].abs().max())
        if far > (FLOATS * scale + levels / 255 * scale if floating else levels):
            raise Difference("values", f"{where}: off by {far:g}, of {scale:g}")


def compare_memory(ours: Outcome, theirs: Outcome, where: str) -> None:
    """The same objects and the same memory go from input to result, and lie in the same layout."""
    given, wanted = tree_leaves(ours.given), tree_leaves(theirs.given)
    for mine, yours in zip(tree_leaves(ours.value), tree_leaves(theirs.value), strict=True):
        for name, read in (("identity", same), ("shared storage", shares), ("layout", layout)):
            one, other = read(mine, given), read(yours, wanted)
            # A copy where torchvision gives a view harms nobody, nor does the usual order of dimensions in memory.
            harmless = (read is shares and not one) or (read is layout and is_usual(mine))
            if other is not None and one != other and not harmless:
                raise Difference(name, f"{where}: {one}, expected {other}")


def same(leaf: Any, given: list[Any]) -> bool:
    """Whether it is an input itself."""
    return any(leaf is one for one in given)


def shares(leaf: Any, given: list[Any]) -> bool:
    return bool(memory(leaf) & {place for one in given for place in memory(one)})


def memory(leaf: Any) -> set[int]:
    if isinstance(leaf, Tensor):
        return {leaf.untyped_storage().data_ptr()} - {0}
    if isinstance(leaf, np.ndarray) and leaf.size:
        while isinstance(leaf.base, np.ndarray):
            leaf = leaf.base
        return {leaf.__array_interface__["data"][0]}
    return set()


def long_strides(leaf: Tensor) -> list[int]:
    """Of the dimensions that have more than one index."""
    return [stride for stride, length in zip(leaf.stride(), leaf.shape, strict=True) if length > 1]


def is_usual(leaf: Any) -> bool:
    """Whether a tensor lies in memory in torch's usual order of dimensions, with gaps or without."""
    return isinstance(leaf, Tensor) and long_strides(leaf) == sorted(long_strides(leaf), reverse=True)


def layout(leaf: Any, given: list[Any]) -> Any:
    """The order of dimensions in memory, of a tensor that fills its memory without gaps; None: of no such."""
    if not isinstance(leaf, Tensor) or leaf.ndim < 3:
        return None
    long = sorted((stride, length) for stride, length in zip(leaf.stride(), leaf.shape, strict=True) if length > 1)
    expected = 1
    for stride, length in long:
        if stride != expected:
            return None
        expected *= length
    return long_strides(leaf)


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:160]!r}"


def described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape}"
    if isinstance(value, Image.Image):
        return f"PIL {value.mode} {value.size}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {', '.join(described(v) for v in value[:3])}"
    return f"{type(value).__name__} {value!r}"[:80]
