"""The plan: what a network becomes for one input shape and one set of params.

A plan is a short list of primitive stages. It is the only contract between networks and backends: a backend
that can run these stages can run every network. Shapes are ``(C, H, W)``; levels are values in [0, 255].
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.errors import PipelineValueError
from learned_transforms.keep import BORDERS as PADS
from learned_transforms.keep import Kept
from learned_transforms.taps import Axis, FixedAxis

Shape = tuple[int, int, int]


class Alike:
    """Base of stages whose output has the shape of their input."""

    def output(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Resample:
    """Separable resampling in two passes; of input of any size, where no axis is fixed."""

    rows: Axis | FixedAxis
    columns: Axis | FixedAxis
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], len(self.rows), len(self.columns)

    def rows_first(self, height: int, width: int) -> bool:
        """Whether the pass over the rows comes first, for input of this size; columns come first otherwise."""
        fewer = height - self.rows.size
        return self.arithmetic.tall_first and fewer > 0 and fewer > 2 * (width - self.columns.size)


@dataclass(frozen=True, eq=False)
class Product:
    """``rows [H', H] @ image @ columns.T [W, W']``: full matrices, in a float type, without rounding.

    With ``rows [K, H', H]`` and ``columns [K, W', W]``, channels come in K groups, and each has matrices of its own.
    """

    rows: Tensor
    columns: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], int(self.rows.shape[-2]), int(self.columns.shape[-2])


@dataclass(frozen=True, eq=False)
class Sparse:
    """Each output pixel is ``bias[p] + sum_k weights[p, k] * pixels[index[p, k]]``, in every channel alike.

    ``index`` (int64) and ``weights`` (float64) are ``[H' * W', K]``, pixels and outputs counted row by row; ``size`` is
    (H, W), ``shape`` is (H', W'). Terms are summed in the order of k, ``bias [H' * W']``, in levels, last.
    """

    index: Tensor
    weights: Tensor
    bias: Tensor
    size: tuple[int, int]
    shape: tuple[int, int]
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], *self.shape


BORDERS = ("copy", *PADS)
"""What a filter does where its window leaves the image: give the pixel as it is, or take what ``keep.BORDERS`` says."""


@dataclass(frozen=True, eq=False)
class Filter(Alike):
    """Correlation with a window: ``out[y, x] = sum_ij weights[i, j] * in[y + i - h // 2, x + j - w // 2]``.

    ``weights`` is float64 ``[h, w]``, both odd; terms are summed row by row; ``border`` is one of ``BORDERS``.
    """

    weights: Tensor
    border: str
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Gather:
    """Copy chosen channels, rows and columns: crop, flip, channel copies. None keeps an axis as it is.

    ``outside``: some of the rows or columns lie outside the image, and are ``fill``, one value for each channel of the
    image; without any, they are 0.
    """

    channels: tuple[int, ...] | None = None
    rows: Kept | None = None
    columns: Kept | None = None
    outside: bool = False
    fill: tuple[float, ...] = ()

    def output(self, shape: Shape) -> Shape:
        channels = shape[0] if self.channels is None else len(self.channels)
        height = shape[1] if self.rows is None else self.rows.count
        return channels, height, shape[2] if self.columns is None else self.columns.count


@dataclass(frozen=True, eq=False)
class Mix:
    """``weight [C_out, C_in] @ channels + bias [C_out]``, each pixel on its own, summed in channel order."""

    weight: Tensor
    bias: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return int(self.weight.shape[0]), shape[1], shape[2]


@dataclass(frozen=True, eq=False)
class Table(Alike):
    """``values[channel, level]``: float32 or uint8 ``[C or 1, 256]``, for uint8 input."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Normalise(Alike):
    """``(image - mean [C]) / std [C]`` in float32, for float input; the difference is rounded before the division."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Apply:
    """An unstructured module on the whole image in float32: the dense and convolutional networks."""

    module: nn.Module
    shape: Shape

    def output(self, shape: Shape) -> Shape:
        return self.shape


class Slot(NamedTuple):
    """A number that is drawn for every image: entry ``number`` of the factors that come with it."""

    number: int


Factor = float | Slot


def number(factor: Factor) -> float:
    """A factor of a stage that :func:`settled` gave.

    Raises:
        PipelineValueError: it is still to be drawn.
    """
    if isinstance(factor, Slot):
        raise PipelineValueError(f"Expected factor {factor.number} with the image: it is drawn for each.")
    return factor


@dataclass(frozen=True, eq=False)
class Blend(Alike):
    """``image * a + other * b``, clamped to [0, ``ceiling``]; ``(a, b) = terms @ (1, factor)``, each float32.

    ``other`` is black (None), one gray channel made of all (a :class:`Mix`), or each channel smoothed (a
    :class:`Filter`). ``mean``: take its mean over the image instead, ``"none"`` as a float32, or with that rounding.

    ``form`` is the order of operations: ``"sum"``, as above, image first; ``"from_image"``:
    ``image + (other - image) * b``; ``"from_other"``: ``other + (image - other) * a``.
    """

    terms: Tensor
    factor: Factor
    other: "Mix | Filter | None"
    mean: str | None
    form: str
    ceiling: float
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Stretch(Alike):
    """Each channel's least and largest value go to ``ends [2]``; a channel of one value stays as it is.

    ``form`` is the order of operations, where ``range = max - min`` and ``width = ends[1] - ends[0]``:
    ``"divide"``: ``(image - min) / (range * (1 / width))``; ``"multiply"``: ``(image - min) * (1 / range * width)``;
    ``"affine"``: ``image * scale + -min * scale`` with ``scale = width / range``. ``ends[0]`` is added last; then
    all is clamped to [0, ``ceiling``].
    """

    ends: Tensor
    form: str
    ceiling: float
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Equalise(Alike):
    """Make each channel's histogram flat, for uint8 images.

    With ``step = (pixels - pixels of the largest level present) // levels``, level k becomes
    ``(pixels below k + floor(step * offset)) // step``, clamped; where the step is 0, the channel stays as it is.
    """

    levels: int
    offset: float


@dataclass(frozen=True, eq=False)
class Turn(Alike):
    """Turn the hue of three channels by ``factor`` turns.

    ``centres``: hue of each channel alone, in sixths of a turn, whole numbers. ``steps``: 0, all is float32, and what
    is made, in [0, 1], is multiplied by ``span``; otherwise hue and saturation are cut to whole numbers up to
    ``steps`` on the way. ``ceiling``: the largest value of images. ``form``: ``"divide"`` by 6 and by the ceiling, or
    ``"multiply"`` by their inverses, which also rounds what rises along a sixth of a turn in another order. See
    ``kernels.colour.turn``.
    """

    centres: tuple[int, int, int]
    factor: Factor
    span: float
    form: str
    steps: int
    ceiling: float
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Blur(Alike):
    """Smooth with taps ``exp(sum_k coefficients[k] * (distance / sigma) ** (2 * k + 2))``, scaled to a sum of 1.

    Rows are summed first, into float32, then columns; ``size`` (height, width) of the window, both odd. Beyond the
    image lies ``border``. Taps are worked out in float64 and rounded to float32.
    """

    coefficients: Tensor
    sigma: Factor
    size: tuple[int, int]
    border: str
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class BoxBlur(Alike):
    """Smooth uint8 images with ``passes`` boxes after another, along rows, then down columns, near a Gaussian of sigma.

    A box counts pixels up to ``radius`` away alike, and those behind them less; beyond the image lies its nearest
    pixel; each pass rounds half up. See ``kernels.colour.box_of``.
    """

    sigma: Factor
    passes: int


Stage = (
    Resample
    | Product
    | Sparse
    | Filter
    | Gather
    | Mix
    | Table
    | Normalise
    | Apply
    | Blend
    | Stretch
    | Equalise
    | Turn
    | Blur
    | BoxBlur
)


class Around(NamedTuple):
    """What lies around an image: one of ``keep.BORDERS``, and for ``zero`` the fill of each channel (0 without any)."""

    border: str
    fill: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """Stages in order.

    Attributes:
        channels: of the input.
        size: (rows, columns) of the input; None: any.
        stages: what to run.
        output: shape of one output image.
        around: what lies around the image, for windows that reach beyond it.
    """

    channels: int
    size: tuple[int, int] | None
    stages: tuple[Stage, ...]
    output: Shape
    around: Around | None = None

    def to(self, device: torch.device) -> "Plan":
        """The same plan with its tensors on ``device``."""
        return replace(self, stages=tuple(move(stage, device) for stage in self.stages))


def settled(stage: Stage, factors: Sequence[float]) -> Stage:
    """A stage with the numbers that were drawn for this image."""
    drawn = {field.name: getattr(stage, field.name) for field in fields(stage)}
    drawn = {name: slot for name, slot in drawn.items() if isinstance(slot, Slot) and slot.number < len(factors)}
    return replace(stage, **{name: factors[slot.number] for name, slot in drawn.items()}) if drawn else stage


def move(stage: Stage, device: torch.device) -> Stage:
    """A stage with its tensors on ``device``."""
    moved: dict[str, Any] = {}
    for field in fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Tensor | Axis | FixedAxis):
            moved[field.name] = value.to(device)
        elif isinstance(value, Mix | Filter):
            moved[field.name] = move(value, device)
        elif isinstance(value, nn.Module) and any(p.device != device for p in value.parameters()):
            moved[field.name] = copy.deepcopy(value).to(device)
    return replace(stage, **moved)
