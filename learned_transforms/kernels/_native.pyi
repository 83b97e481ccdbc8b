from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

class Call:
    """A program with images of one shape and layout."""

    @property
    def output(self) -> tuple[int, int, int, bool]: ...
    @property
    def bytes(self) -> int: ...
    def __call__(
        self, source: int, target: int, threads: int, window: tuple[int, int, int, int] | None = None
    ) -> None: ...

class Program:
    """A plan as passes over an image."""

    def __init__(self, channels: int, simd: str) -> None: ...
    @property
    def simd(self) -> str: ...
    def resample(self, rows: tuple[Any, ...], columns: tuple[Any, ...], arithmetic: tuple[Any, ...]) -> None: ...
    def sparse(
        self,
        index: Array,
        weights: Array,
        bias: Array,
        size: tuple[int, int],
        shape: tuple[int, int],
        arithmetic: tuple[Any, ...],
    ) -> None: ...
    def filter(
        self, size: tuple[int, int], places: Array, weights: Array, border: str, arithmetic: tuple[Any, ...]
    ) -> None: ...
    def gather(
        self,
        channels: Sequence[int] | None,
        rows: tuple[int, int, int] | Array | None,
        columns: tuple[int, int, int] | Array | None,
        fill: Sequence[float] = ...,
    ) -> None: ...
    def surround(self, border: str, fill: Sequence[float]) -> None: ...
    def mix(
        self,
        weight: Sequence[Sequence[float]],
        bias: Sequence[float],
        whole_weight: Sequence[Sequence[int]],
        whole_bias: Sequence[int],
        arithmetic: tuple[Any, ...],
    ) -> None: ...
    def table(self, values: Array) -> None: ...
    def normalise(self, mean: Sequence[float], std: Sequence[float]) -> None: ...
    def bind(
        self,
        images: int,
        shape: Sequence[int],
        strides: Sequence[int],
        step: int,
        floating: bool,
        interleaved: bool,
    ) -> Call: ...

def arrow_pixels(capsule: Any) -> tuple[int, int]: ...
def taps(
    axis: tuple[Any, ...], n_in: int, arithmetic: tuple[Any, ...], simd: str
) -> tuple[list[int], list[int], list[int], list[float], int]: ...
def simd() -> list[str]: ...
