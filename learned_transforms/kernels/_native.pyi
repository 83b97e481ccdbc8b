from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

class Watch:
    """Whether Python objects are still what they were."""

    def __init__(self) -> None: ...
    def mapping(self, watched: dict[str, Any], copy: dict[str, Any]) -> None: ...
    def sequence(self, watched: Any, copy: tuple[Any, ...]) -> None: ...
    def attributes(self, owner: type, copy: dict[str, Any]) -> None: ...
    def result(self, function: Callable[[], Any], value: Any) -> None: ...
    def same(self) -> bool: ...

class Route:
    """What is done to images of one kind, from their random numbers to the result."""

    def __init__(
        self,
        kind: type | str,
        shape: Sequence[int],
        strides: Sequence[int],
        chances: Sequence[float],
        sampler: Sampler | None,
        still: tuple[int, int] | None,
        result: type,
        rest: Callable[[Any, tuple[bool, ...], tuple[int, int, int, int] | None, bool], Any],
    ) -> None: ...
    def add(self, outcomes: Sequence[bool], call: Call, like: Any) -> None: ...

class Entry:
    """The routes of a pipeline."""

    def __init__(self, watch: Watch, empty: list[dict[Any, Any]], threads: int) -> None: ...
    @property
    def threads(self) -> int: ...
    def add(self, route: Route, every: bool) -> None: ...

class Sampler:
    """What random transforms draw, read ahead in the state of torch's generator."""

    def __init__(self, fused: bool) -> None: ...
    def coin(self, gate: int, chance: float) -> None: ...
    def window(self, gate: int, bounds: tuple[float, float, float, float]) -> None: ...
    def crop(
        self, gate: int, size: tuple[int, int], around: tuple[int, int, int, int], if_needed: bool, each: bool
    ) -> None: ...
    def params(self, gate: int) -> None: ...
    def part(self, name: str, kind: str, low: float, high: float, chance: float) -> None: ...
    def __call__(
        self, state: int, channels: int, rows: int, columns: int
    ) -> tuple[int, float, tuple[Any, ...], tuple[int, int, int, int] | None] | None: ...
    def many(
        self, state: int, channels: int, rows: int, columns: int, images: int
    ) -> tuple[int, float, list[tuple[tuple[Any, ...], tuple[int, int, int, int] | None]]] | None: ...

class Call:
    """A program with images of one shape and layout."""

    @property
    def output(self) -> tuple[int, int, int, str]: ...
    @property
    def memory(self) -> tuple[int, int, int]: ...
    @property
    def interleaved(self) -> bool: ...
    @property
    def bytes(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def reach(self) -> int: ...
    @property
    def passes(self) -> int: ...
    def __call__(
        self,
        source: int,
        target: int,
        threads: int,
        window: tuple[int, int, int, int] | None = None,
        factors: Sequence[float] = ...,
    ) -> None: ...

class Stage:
    """A stage, made once for all programs that have it."""

class Program:
    """A plan as passes over an image."""

    def __init__(self, channels: int, simd: str) -> None: ...
    @property
    def simd(self) -> str: ...
    def add(self, stage: Stage) -> None: ...
    def surround(self, border: str, fill: Sequence[float]) -> None: ...
    def bind(
        self,
        images: int,
        shape: Sequence[int],
        strides: Sequence[int],
        step: int,
        dtype: str,
        interleaved: bool,
        windowed: bool = False,
    ) -> Call: ...

def resample(rows: tuple[Any, ...], columns: tuple[Any, ...], arithmetic: tuple[Any, ...]) -> Stage: ...
def resize(
    sizing: tuple[Any, ...],
    rows: tuple[Any, ...],
    columns: tuple[Any, ...],
    arithmetic: tuple[Any, ...],
    larger: tuple[Any, ...] | None,
    small: int,
    still: bool,
) -> Stage: ...
def pick(sizing: tuple[Any, ...], nearest: tuple[Any, ...]) -> Stage: ...
def gather(
    channels: Sequence[int] | None,
    rows: tuple[Any, ...] | Array | None,
    columns: tuple[Any, ...] | Array | None,
    fill: Sequence[float],
    outside: bool,
    limited: bool,
    starts: int | None,
) -> Stage: ...
def sparse(
    index: Array,
    weights: Array,
    bias: Array,
    size: tuple[int, int],
    shape: tuple[int, int],
    arithmetic: tuple[Any, ...],
) -> Stage: ...
def filter(size: tuple[int, ...], places: Array, weights: Array, border: str, arithmetic: tuple[Any, ...]) -> Stage: ...
def mix(
    weight: Sequence[Sequence[float]],
    bias: Sequence[float],
    whole_weight: Sequence[Sequence[int]],
    whole_bias: Sequence[int],
    arithmetic: tuple[Any, ...],
) -> Stage: ...
def table(values: Array, dtype: str) -> Stage: ...
def tables(values: Array, number: tuple[float, int | None]) -> Stage: ...
def normalize(mean: Sequence[float], std: Sequence[float], dtype: str) -> Stage: ...
def cast(dtype: str) -> Stage: ...
def blend(
    terms: Sequence[float],
    factor: tuple[float, int | None],
    other: tuple[Any, ...] | None,
    mean: str | None,
    form: str,
    ceiling: float,
    arithmetic: tuple[Any, ...],
    limited: bool,
) -> Stage: ...
def stretch(ends: Sequence[float], form: str, ceiling: float, arithmetic: tuple[Any, ...]) -> Stage: ...
def equalize(levels: int, offset: float) -> Stage: ...
def turn(
    centres: tuple[int, int, int],
    factor: tuple[float, int | None],
    span: float,
    form: str,
    steps: int,
    ceiling: float,
    arithmetic: tuple[Any, ...],
) -> Stage: ...
def warp(
    matrix: Sequence[float] | tuple[int, int],
    size: tuple[int, int] | None,
    taps: Sequence[Sequence[float]],
    fill: Sequence[float],
    form: str,
    arithmetic: tuple[Any, ...],
    fused: int,
) -> Stage: ...
def box_blur(sigma: tuple[float, int | None], passes: int) -> Stage: ...
def blur(
    coefficients: Sequence[float],
    sigma: tuple[float, int | None],
    size: tuple[int, int],
    border: str,
    arithmetic: tuple[Any, ...],
    limited: bool,
    taps: Sequence[float] | int | None = None,
) -> Stage: ...
def trim() -> None: ...
def run_all(
    jobs: Sequence[tuple[Call, int, int, tuple[int, int, int, int] | None, Sequence[float]]],
    target: int,
    bytes: int,
    threads: int,
) -> None: ...
def advise(memory: int, bytes: int) -> None: ...
def mix_batch(source: int, target: int, images: int, values: int, share: float, threads: int, simd: str) -> None: ...
def memory_of(array: Array) -> int: ...
def arrow_pixels(capsule: Any) -> tuple[int, int]: ...
def taps(
    axis: tuple[Any, ...], n_in: int, arithmetic: tuple[Any, ...], simd: str
) -> tuple[list[int], list[int], list[int], list[float], int]: ...
def simd() -> list[str]: ...
def enter(
    owner: type,
    names: dict[str, Any],
    parts: dict[str, Any],
    empty: list[Any],
    answers: list[tuple[Callable[[], Any], Any]],
) -> bool: ...
