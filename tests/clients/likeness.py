"""One pipeline against its original: what goes in, what is put in its place, and how the two outcomes differ."""

import pickle
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from helpers import meant
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms as v1
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts.explain import Row
from learned_transforms.errors import FallbackWarning
from learned_transforms.trainer.data.bundled import photo

SIZES = ((375, 500), (500, 333), (224, 224), (65, 41), (9, 7))
"""Height and width of what goes in."""

CLOSE = 1e-6
"""Largest difference of floats, in units of full range: what an exact layer may be off by."""

WAYS = ("whole", "inside")

RAISED = "raised, where the original did not:"

COMPOSES = (v1.Compose, v2.Compose)

LEVEL = {"u": 1.0, "f": 1 / 255 / 0.22}
"""One level of 255: of bytes, and of floats that are normalized by what ImageNet's are."""

SHARE = 0.01
"""Of how many values at most, where a layer rounds."""

Inputs = tuple[Any, ...]


@lru_cache(maxsize=1)
def rocket() -> Tensor:
    """A photo of 640 x 427 on its side and as it is, so that it holds every size."""
    picture = photo("rocket")
    return torch.cat([picture, picture.flip(1)], 1)


def pixels(size: tuple[int, int]) -> Tensor:
    return rocket()[:, : size[0], 60 : 60 + size[1]].clone()


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


INPUTS = {
    "pil": lambda size: (to_pil(pixels(size)),),
    "uint8": lambda size: (pixels(size),),
    "float": lambda size: (pixels(size).float() / 255,),
    "batch": lambda size: (torch.stack([pixels(size), pixels(size).flip(2)]).float() / 255,),
    "clip": lambda size: (torch.stack([pixels(size), pixels(size).flip(2)]),),
    "array": lambda size: (pixels(size).permute(1, 2, 0).numpy(),),
    "digit": lambda size: (to_pil(pixels(size)).convert("L"),),
    "xray": lambda size: (pixels(size)[:1].numpy().astype(np.float32) * 8 - 1024,),
    "pair": lambda size: (to_pil(pixels(size)), {"boxes": torch.tensor([[1.0, 2.0, 5.0, 6.0]]), "size": size}),
}
"""What goes into a pipeline, as its arguments, by kind."""

FORMS = {"pil": "pil", "digit": "pil", "pair": "pil", "uint8": "uint8", "clip": "uint8", "array": "uint8"}
"""What explain() calls a kind of input; the others are floats."""


def whole(pipeline: Any) -> lt.LearnedCompose:
    """All of a pipeline as one LearnedCompose."""
    return lt.LearnedCompose(pipeline, fallback="torchvision")


def inside(pipeline: Any, made: list[lt.LearnedCompose]) -> Any:
    """The pipeline, with a LearnedCompose, added to ``made``, for each Compose that the client's own objects hold."""
    if type(pipeline) in COMPOSES:
        made.append(whole(pipeline))
        return made[-1]
    if isinstance(pipeline, dict):
        pipeline.update({key: inside(held, made) for key, held in pipeline.items()})
    elif isinstance(pipeline, list):
        pipeline[:] = [inside(held, made) for held in pipeline]
    elif hasattr(pipeline, "__dict__") and not type(pipeline).__module__.startswith(("torch.", "torchvision.")):
        inside(vars(pipeline), made)
    return pipeline


class Replacement(NamedTuple):
    """What stands in a pipeline's place, and the LearnedComposes in it."""

    pipeline: Any
    learned: list[lt.LearnedCompose]

    def rows(self, kind: str) -> list[Row]:
        """What explain() says of a kind of input."""
        return [row for learned in self.learned for row in learned.explain(FORMS.get(kind, "float32")).rows]

    def rounds(self, kind: str) -> bool:
        """Whether one of its layers is certified to be as the original but for single levels."""
        return any(row.tier.startswith("rounding") for row in self.rows(kind))


def replaced(original: Any, way: str) -> Replacement | None:
    """The pipeline as one LearnedCompose, or with one for each Compose inside; None where a Compose is all that it is.

    Args:
        original: a pipeline of one's own, since those inside are exchanged in place.
        way: of :data:`WAYS`.
    """
    if way == "whole":
        one = whole(original)
        return Replacement(one, [one])
    made: list[lt.LearnedCompose] = []
    changed = inside(original, made)
    return Replacement(changed, made) if made and changed is not made[0] else None


def seeded(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        value: the result, or the exception.
        raised: whether it is one.
        states: of the three generators, afterwards.
        warned: the categories of what was warned of, FallbackWarning left out.
    """

    value: Any
    raised: bool
    states: tuple[Any, ...]
    warned: frozenset[type]


def outcome(pipeline: Any, inputs: Inputs, seed: int) -> Outcome:
    """Call a pipeline under a seed."""
    seeded(seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value, raised = pipeline(*inputs), False
        except Exception as error:  # of whatever type the original raises
            value, raised = error, True
    numpy_state = np.random.get_state()
    states = torch.get_rng_state().numpy().tobytes(), random.getstate(), numpy_state[1].tobytes(), numpy_state[2]  # type: ignore[index, union-attr]
    return Outcome(value, raised, states, frozenset(w.category for w in caught) - {FallbackWarning})


def differences(found: Outcome, expected: Outcome, rounds: bool = False) -> list[str]:
    """How an outcome differs from the original's; nothing where it does not, but for levels where a layer rounds."""
    if found.raised or expected.raised:
        # Typed errors of ours derive from what torchvision raises.
        if found.raised and expected.raised and meant(found.value, expected.value):
            return []
        label = RAISED if not expected.raised else f"expected {told(expected)}, got"
        return [f"{label} {told(found)}"]
    told_of = [f"warned of {category.__name__}" for category in found.warned - expected.warned]
    if found.states != expected.states:
        names = ("torch", "python", "numpy", "numpy")
        told_of += [
            f"random state of {n}" for n, a, b in zip(names, found.states, expected.states, strict=True) if a != b
        ]
    return told_of + unlike(found.value, expected.value, rounds)


def told(one: Outcome) -> str:
    return f"{type(one.value).__name__}: {str(one.value)[:160]}" if one.raised else type(one.value).__name__


def parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested value with the way to it, and the type of whatever holds leaves."""
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str | bytes)):
        yield path, type(value)
        for key, held in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from parts(held, f"{path}[{key!r}]")
    else:
        yield path, value


def unlike(found: Any, expected: Any, rounds: bool = False) -> list[str]:
    """How a value differs: structure, types, dtypes, sizes, pixels."""
    ours, theirs = list(parts(found)), list(parts(expected))
    if [path for path, _ in ours] != [path for path, _ in theirs]:
        return [f"structure: expected {[p for p, _ in theirs][:9]}, got {[p for p, _ in ours][:9]}"]
    return [
        f"{path}{': ' if path else ''}{text}"
        for (path, one), (_, other) in zip(ours, theirs, strict=True)
        if (text := unlike_leaf(one, other, rounds))
    ]


def described(leaf: Any) -> tuple[Any, ...]:
    """Type, form and size."""
    if isinstance(leaf, Image.Image):
        return type(leaf), leaf.mode, leaf.size
    if isinstance(leaf, Tensor | np.ndarray):
        return type(leaf), leaf.dtype, tuple(leaf.shape)
    return (type(leaf),)


def unlike_leaf(found: Any, expected: Any, rounds: bool) -> str:
    if described(found) != described(expected):
        return f"expected {described(expected)}, got {described(found)}"
    if not isinstance(expected, Tensor | np.ndarray | Image.Image):
        plain = isinstance(expected, bool | int | float | str | bytes | type) or expected is None
        return f"expected {expected!r}, got {found!r}" if plain and found != expected else ""
    one, other = (
        np.asarray(leaf.as_subclass(Tensor).detach() if isinstance(leaf, Tensor) else leaf)
        for leaf in (found, expected)
    )
    floats = one.dtype.kind == "f" and one.size > 0
    near = CLOSE * max(1, np.nanmax(other) - np.nanmin(other)) if floats else 0
    off = ~np.isclose(one, other, rtol=0, atol=near, equal_nan=True) if floats else one != other
    if not off.any():
        return ""
    worst = np.nanmax(np.abs(one.astype(np.float64) - other.astype(np.float64)))
    if rounds and worst <= LEVEL.get(one.dtype.kind, 0) and off.mean() <= SHARE:
        return ""
    return f"{off.mean():.2%} of the values differ, by up to {worst:.3g}"


def copied(inputs: Inputs) -> Inputs:
    return tuple(pickle.loads(pickle.dumps(one)) for one in inputs)


def calls(found: Any, expected: Any, inputs: Inputs, times: int = 3, rounds: bool = False) -> Iterator[str]:
    """How two pipelines differ over several calls under equal seeds, each on its own copy of the inputs."""
    for call in range(times):
        ours, theirs = copied(inputs), copied(inputs)
        for text in differences(outcome(found, ours, call), outcome(expected, theirs, call), rounds):
            yield f"call {call + 1}: {text}"
        for text in unlike(ours, theirs):
            yield f"call {call + 1}, its input: {text}"


def pickles(pipeline: Any) -> bool:
    """Whether it can be: functions made on the spot and scripted modules cannot, each with an error of its own."""
    try:
        pickle.dumps(pipeline)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError):
        return False
    return True


class Calls(Dataset[Any]):
    """Calls of pipelines, to be made in a worker: (pipeline, inputs) -> the outcome."""

    def __init__(self, pipelines: list[Any], inputs: list[Inputs]):
        self.pipelines, self.inputs = pipelines, inputs

    def __len__(self) -> int:
        return len(self.pipelines)

    def __getitem__(self, index: int) -> Outcome:
        return outcome(self.pipelines[index], self.inputs[index], index)


def as_is(found: Any) -> Any:
    """What a DataLoader collates an outcome by."""
    return found
