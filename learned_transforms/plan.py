"""The plan: what a network becomes for one input shape and one set of params.

A plan is a short list of primitive stages. It is the only contract between networks and backends: a backend
that can run these stages can run every network. Shapes are ``(C, H, W)``; levels are values in [0, 255].
"""

import copy
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from learned_transforms.errors import WeightsError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Arithmetic:
    """How a weighted sum is computed. Picked by validation among candidates, never learned.

    Attributes:
        number: ``"int"`` for fixed-point integers, else the float type of weights, products and sums; the result of
            a stage is uint8 or float32 all the same.
        bits: fraction bits of the integer weights.
        adaptive: use the most fraction bits, up to ``bits``, with which every weight still fits an int16.
        fma: each product joins the sum with a single rounding (fused multiply-add).
        rounding: how a sum becomes a level; ``"none"`` leaves it a float.
        each_pass: of a two-pass resample, round to uint8 after each pass rather than at the end.
        tall_first: of a two-pass resample, do the rows first where that pass removes more than twice as many lines
            as the columns pass does (Pillow since 13); otherwise the columns come first.
    """

    number: Literal["int", "float32", "float64"]
    bits: int = 0
    adaptive: bool = False
    fma: bool = False
    rounding: Literal["none", "truncate", "half_up", "half_even"] = "none"
    each_pass: bool = False
    tall_first: bool = False

    def __str__(self) -> str:
        words: list[str] = [self.number]
        if self.number == "int":
            words.append("int16 weights" if self.adaptive else f"{self.bits} bits")
        if self.fma:
            words.append("fma")
        if self.rounding != "none":
            words.append(self.rounding.replace("_", "-"))
            if self.each_pass:
                words.append("each pass")
        if self.tall_first:
            words.append("tall first")
        return ", ".join(words)

    @classmethod
    def from_json(cls, description: Any) -> "Arithmetic":
        """Read back what ``asdict`` wrote; a :class:`WeightsError` names whatever does not fit."""
        try:
            made = cls(**description)
        except TypeError as error:
            raise WeightsError(f"Expected the fields of an Arithmetic, got {description!r}: {error}") from None
        known = made.number in ("int", "float32", "float64")
        known = known and made.rounding in ("none", "truncate", "half_up", "half_even")
        if (
            not known
            or type(made.bits) is not int
            or not (0 <= made.bits <= 22)
            or (made.number == "int") != (made.bits > 0)
        ):
            raise WeightsError(f"Unknown arithmetic {description!r}: the file is damaged or from a newer release.")
        return made

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, for weight files."""
        return asdict(self)


SMOOTH = Arithmetic("float32")
"""No rounding anywhere, so that gradients pass."""


@dataclass(frozen=True, eq=False)
class Taps:
    """The weights of one axis: output pixel ``i`` sums ``weights[i, k] * input[first[i] + k]``, ``k < count[i]``.

    Attributes:
        size: input pixels along the axis.
        first: int64 ``[n_out]``.
        count: int64 ``[n_out]``, at least 1; weights past it are zero.
        weights: int32 ``[n_out, K]`` in units of ``2**-bits``, or float ``[n_out, K]``.
        bits: fraction bits of integer weights; None for float weights.
    """

    size: int
    first: Tensor
    count: Tensor
    weights: Tensor
    bits: int | None

    def __len__(self) -> int:
        return int(self.first.shape[0])

    @cached_property
    def index(self) -> Tensor:
        """int64 ``[K, n_out]``: the input pixel of each weight.

        A weight past the count is zero; it re-reads the window's last pixel, so that no NaN can leak in from outside.
        """
        offsets = torch.arange(self.weights.shape[1], device=self.first.device)[:, None]
        return self.first + torch.minimum(offsets, self.count - 1)

    def select(self, index: Tensor) -> "Taps":
        """The taps of the output pixels in ``index``: what a crop or flip behind a resample comes to."""
        index = index.to(self.first.device)
        return Taps(self.size, self.first[index], self.count[index], self.weights[index], self.bits)

    def dense(self) -> Tensor:
        """The same weights as a matrix ``[n_out, size]``."""
        return self.weights.new_zeros(len(self), self.size).scatter_add(1, self.index.T, self.weights)


@dataclass(frozen=True, eq=False)
class Resample:
    """Separable resampling in two passes: columns (along the width) first, unless ``rows_first``."""

    rows: Taps
    columns: Taps
    arithmetic: Arithmetic
    rows_first: bool = False

    def output(self, shape: Shape) -> Shape:
        return shape[0], len(self.rows), len(self.columns)

    def prepare(self) -> None:
        """Work out what is the same for every image."""
        for taps in (self.rows, self.columns):
            _ = taps.index

    def passes(self) -> tuple[tuple[int, Taps], tuple[int, Taps]]:
        """(axis, taps) of the first and of the second pass."""
        rows, columns = (-2, self.rows), (-1, self.columns)
        return (rows, columns) if self.rows_first else (columns, rows)


@dataclass(frozen=True, eq=False)
class Gather:
    """Copy chosen channels, rows and columns: crop, flip, channel copies. None keeps an axis as it is."""

    channels: Tensor | None = None
    rows: Tensor | None = None
    columns: Tensor | None = None

    def output(self, shape: Shape) -> Shape:
        index = (self.channels, self.rows, self.columns)
        c, h, w = (size if i is None else len(i) for size, i in zip(shape, index, strict=True))
        return c, h, w


@dataclass(frozen=True, eq=False)
class Mix:
    """``weight [C_out, C_in] @ channels + bias [C_out]``, each pixel on its own, summed in channel order."""

    weight: Tensor
    bias: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return int(self.weight.shape[0]), shape[1], shape[2]


@dataclass(frozen=True, eq=False)
class Table:
    """``values[channel, level]``: float32 ``[C or 1, 256]``, for uint8 input."""

    values: Tensor

    def output(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Apply:
    """An unstructured module on the whole image in float32: the dense and convolutional networks."""

    module: nn.Module
    shape: Shape

    def output(self, shape: Shape) -> Shape:
        return self.shape


Stage = Resample | Gather | Mix | Table | Apply


@dataclass(frozen=True, eq=False)
class Plan:
    """Stages in order, for input of one shape.

    Attributes:
        input: shape of one input image.
        stages: what to run.
        output: shape of one output image.
    """

    input: Shape
    stages: tuple[Stage, ...]
    output: Shape

    def to(self, device: torch.device) -> "Plan":
        """The same plan with its tensors on ``device``."""
        return replace(self, stages=tuple(move(stage, device) for stage in self.stages))


def move(part: Any, device: torch.device) -> Any:
    """A stage (or Taps) with its tensors on ``device``."""
    moved: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            moved[field.name] = value.to(device)
        elif isinstance(value, nn.Module) and any(p.device != device for p in value.parameters()):
            moved[field.name] = copy.deepcopy(value).to(device)
        elif isinstance(value, Taps):
            moved[field.name] = move(value, device)
    return replace(part, **moved)
