"""Operations on levels: each pixel on its own, or with what all of its image say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops.base import Alike, Factor, Shape, Stage
from learned_transforms.ir.ops.filters import Filter


@dataclass(frozen=True, eq=False)
class Mix(Stage):
    """``weight [C_out, C_in] @ channels + bias [C_out]``, each pixel on its own, summed in channel order."""

    weight: Tensor
    bias: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return int(self.weight.shape[0]), shape[1], shape[2]


@dataclass(frozen=True, eq=False)
class Table(Alike):
    """``values[channel, level]``: uint8, float32, float16 or bfloat16 ``[C or 1, 256]``, for uint8 input."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Tables(Alike):
    """One of several tables, for uint8 input: ``values[number, level]``, uint8 ``[K, 256]``."""

    values: Tensor
    number: Factor


@dataclass(frozen=True, eq=False)
class Normalize(Alike):
    """``(image - mean [C]) / std [C]`` in the dtype of the image, mean and std.

    That is float32, float16 or bfloat16. The difference is rounded before the division.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Cast(Alike):
    """float32 as float16 or bfloat16, rounded to the nearest, halves to even."""

    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Blend(Alike):
    """``image * a + other * b``, clamped to [0, ``ceiling``]; ``(a, b) = terms @ (1, factor)``, each float32.

    ``other`` is black (None), one gray channel made of all (a :class:`Mix`), or each channel smoothed (a
    :class:`Filter`). ``mean``: take its mean over the image instead, ``"none"`` as a float32, or with that rounding.

    ``form`` is the order of operations: ``"sum"``, as above, image first; ``"from_image"``:
    ``image + (other - image) * b``; ``"from_other"``: ``other + (image - other) * a``. ``limited``: images that are
    smaller than the window of a filter stay as they are.
    """

    terms: Tensor
    factor: Factor
    other: Mix | Filter | None
    mean: str | None
    form: str
    ceiling: float
    arithmetic: Arithmetic
    limited: bool = False

    def at(self, shape: Shape) -> Stage | None:
        window = self.other.weights.shape if self.limited and isinstance(self.other, Filter) else (0, 0)
        return None if shape[1] < window[0] or shape[2] < window[1] else self


@dataclass(frozen=True, eq=False)
class Stretch(Alike):
    """Each channel's least and largest value go to ``ends [2]``; of a channel of one value, that value stays.

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
class Equalize(Alike):
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
    ``kernels.reference.color.turn``.
    """

    centres: tuple[int, int, int]
    factor: Factor
    span: float
    form: str
    steps: int
    ceiling: float
    arithmetic: Arithmetic
