"""Transforms that torch itself computes, at their place between layers: nothing is learned, and nothing falls back."""

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torchvision
from PIL import features
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision.transforms import v2
from torchvision.transforms.v2 import _utils as v2_utils

from learned_transforms.errors import (
    OperationError,
    PipelineTypeError,
    PipelineValueError,
    UnsupportedTransformError,
    brief,
)
from learned_transforms.images.formats import Form
from learned_transforms.kernels import mixing
from learned_transforms.layers import noise
from learned_transforms.transforms.containers import COMPOSES, CONTAINERS, leaves
from learned_transforms.transforms.convert import OWN
from learned_transforms.transforms.rng import use_generator
from learned_transforms.transforms.spec import Spec, Step

REFUSALS = (IndexError, RuntimeError, TypeError, ValueError)
"""What torchvision raises for inputs that it does not take; other errors are those of a user's own functions."""

STATE = "state"
"""In params: torch's generator before the transform, from which all that it draws is drawn again."""


def is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def is_box(value: Any) -> bool:
    """Left, top, right, bottom."""
    whole = isinstance(value, list | tuple) and len(value) == 4 and all(type(side) is int for side in value)
    return whole and 0 <= value[0] <= value[2] and 0 <= value[1] <= value[3]


def is_quality(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 100


def is_text(value: Any) -> bool:
    return isinstance(value, str)


Checks = Mapping[str, Callable[[Any], bool]]
BY_STATE: Checks = {STATE: is_text}


def codec(kind: str) -> str:
    """Return the library that writes and reads JPEG images, with its version: Pillow's own for PIL images."""
    if kind == "pil":
        turbo = features.version_feature("libjpeg_turbo")
        name = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
        return f"Pillow's {name}"
    try:
        name = "libjpeg-turbo" if torch.ops.image._is_compiled_against_turbo() else "libjpeg"
        version = f"{name} (API {torch.ops.image._jpeg_version()})"
    except (AttributeError, RuntimeError):  # It was built without.
        version = "codec"
    return f"torchvision {torchvision.__version__}'s {version}"


BATCH = (
    "Give it a batch of float images [N, C, H, W] and its labels, as transform(images, labels): [N] whole numbers with "
    "num_classes in the constructor, or [N, classes]; or pass a labels_getter that finds them."
)


class Operation(Spec):
    """One of torch's own operations.

    Attributes:
        advice: what its inputs must be, for errors.
        twin: torchvision's class with fewer passes over memory; None: there is none.
        checks: what it draws, with what values may be; ``state`` stands for all that torch draws.
    """

    advice: ClassVar[str]
    twin: ClassVar[type | None] = None
    checks: ClassVar[Checks] = {}

    @staticmethod
    def runs(kind: str) -> str:
        """Say what it is for a kind of input, for ``explain``."""
        raise NotImplementedError

    def lower(self, form: Form) -> Step | str:
        return OWN


class GaussianNoise(Operation):
    """Normal noise added."""

    arguments = ("mean", "sigma", "clip")
    ordered = True
    advice = "It takes uint8 and float tensors, and a sigma of at least 0; put ToImage() before it for PIL images."
    twin, checks = noise.GaussianNoise, BY_STATE

    @staticmethod
    def runs(kind: str) -> str:
        return "torch's noise"


class Mixing(Operation):
    """A mix of the images of a batch, and of their labels."""

    arguments = ("alpha", "num_classes")
    advice = BATCH

    def argument(self, name: str) -> Any:
        """Return an argument, to be written down with the others.

        Raises:
            PipelineTypeError: they do not say all.
        """
        if self.transform._labels_getter is not v2_utils._find_labels_default_heuristic:
            raise PipelineTypeError("its labels_getter is a function, which no file holds")
        return super().argument(name)


class MixUp(Mixing):
    """Two images, weighted."""

    twin, checks = mixing.MixUp, {"lam": is_share}

    @staticmethod
    def runs(kind: str) -> str:
        return "images mixed, rounded as in torch"


class CutMix(Mixing):
    """A rectangle of one image in another."""

    twin, checks = mixing.CutMix, {"box": is_box, "lam_adjusted": is_share}

    @staticmethod
    def runs(kind: str) -> str:
        return "copies"


class JPEG(Operation):
    """Written as JPEG of a drawn quality, and read again."""

    arguments = ("quality",)
    advice = "It takes RGB and L images: PIL, or uint8 tensors [..., 1 or 3, H, W] on the CPU."
    checks: ClassVar[Checks] = {"quality": is_quality}
    runs = staticmethod(codec)


class UniformTemporalSubsample(Operation):
    """Frames of a video, evenly apart."""

    arguments = ("num_samples",)
    advice = "It takes a video [..., T, C, H, W]."

    @staticmethod
    def runs(kind: str) -> str:
        return "copies"


OPERATIONS: dict[type, type[Operation]] = {
    v2.GaussianNoise: GaussianNoise,
    v2.MixUp: MixUp,
    v2.CutMix: CutMix,
    v2.JPEG: JPEG,
    v2.UniformTemporalSubsample: UniformTemporalSubsample,
}


def published(transform: Any) -> type | None:
    """Return the class of an operation, which a transform is or inherits from."""
    return next((kind for kind in type(transform).__mro__ if kind in OPERATIONS), None)


def operates(read: Any) -> bool:
    """Return whether a transform, as it is read, is an operation of torch's, or a container of nothing else."""
    inner = [leaf.transform for leaf in leaves(read) if type(leaf.transform) not in CONTAINERS]
    return bool(inner) and all(type(one) in OPERATIONS for one in inner)


def twin_of(transform: Any) -> Any:
    """Return what runs in place of a transform: the same object, as of now, in a class of fewer passes; itself,
    else."""
    kind = published(transform)
    if kind is not None:
        made: Any = object.__new__(OPERATIONS[kind].twin or type(transform))
        made.__dict__.update(vars(transform))
        return made
    made = object.__new__(type(transform))
    inner = [functools.partial(run, one) for one in transform.transforms]
    made.__dict__.update({**vars(transform), "transforms": inner})
    return made


def run(transform: Any, *inputs: Any) -> Any:
    """Return what an operation, or a container of such, makes of inputs.

    Raises:
        OperationError: torchvision refuses them; of the type that it raises, too.
    """
    if type(transform) in COMPOSES or published(transform) is None:
        return twin_of(transform)(*inputs)
    return advised(transform, twin_of(transform), inputs)


def advised(transform: Any, twin: Any, inputs: Sequence[Any]) -> Any:
    """Return what the twin of a transform makes of inputs; where torchvision refuses them, with a word of what to
    give."""
    try:
        return twin(*inputs)
    except REFUSALS as error:
        if type(error) not in REFUSALS:
            raise
        kind = published(transform)
        advice = "" if kind is None else OPERATIONS[kind].advice
        raise OperationError(f"{type(transform).__name__}: {str(error).rstrip('.')}. {advice}") from error


def names_of(transform: Any) -> tuple[str, ...]:
    """Of what it draws, in params."""
    kind = published(transform)
    return tuple(BY_STATE if kind is None else OPERATIONS[kind].checks)


def record(transform: Any, inputs: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """Return what an operation makes of inputs, and what it drew, as plain values.

    Raises:
        UnsupportedTransformError: it drew from another generator than torch's own of the CPU.
    """
    names = names_of(transform)
    if STATE not in names:
        drawn: dict[str, Any] = {}

        def draw(flat: Any) -> dict[str, Any]:
            drawn.update(transform.make_params(flat))
            return drawn

        twin = twin_of(transform)
        twin.make_params = draw
        made = advised(transform, twin, inputs)
        return made, {name: list(value) if isinstance(value := drawn[name], tuple) else value for name in names}
    state, python = torch.get_rng_state(), random.getstate()
    devices = {str(value.device) for value in tree_flatten(inputs)[0] if isinstance(value, Tensor)}
    made = run(transform, *inputs)
    if devices - {"cpu"} or python != random.getstate():
        raise UnsupportedTransformError(
            f"{type(transform).__name__} draws from Python's generator or on a GPU: that can be neither written down "
            "nor played back. Apply it apart from the others."
        )
    return made, {STATE: noise.write_state(state)}


def replay(transform: Any, inputs: Sequence[Any], entry: Any) -> Any:
    """Return what an operation makes of inputs under what :func:`record` wrote.

    Raises:
        PipelineValueError: that does not fit it.
    """
    names, kind = names_of(transform), published(transform)
    fits = isinstance(entry, Mapping) and tuple(sorted(entry)) == tuple(sorted(names))
    checks = BY_STATE if kind is None else OPERATIONS[kind].checks
    if not fits or not all(checks[name](entry[name]) for name in names):
        raise PipelineValueError(
            f"Expected params {{{', '.join(names)}}} of {type(transform).__name__}, got {brief(entry)}. "
            "make_params gives them."
        )
    if STATE in names:
        generator = noise.generator_of(noise.read_state(entry[STATE]))
        with use_generator(generator):
            return run(transform, *inputs)
    twin = twin_of(transform)
    twin.make_params = lambda flat: dict(entry)
    return advised(transform, twin, inputs)
