"""The weights of one axis of a resample, evaluated from a learned kernel."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from learned_transforms.errors import InputShapeError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep
from learned_transforms.modes import out_of_sight

MOST_SIZES = 16
"""Evaluated taps kept per axis, one for each size of input lately seen."""


MOST_WHOLE = 2**30
"""Of a whole weight, in units of its last bit."""


@dataclass(frozen=True, eq=False)
class Taps:
    """The weights of one axis: output pixel ``i`` sums ``weights[i, k] * input[first[i] + k]``, ``k < count[i]``.

    Windows of sums in another order than that of the taps may reach beyond the axis, whose nearest pixel lies there.

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
        with torch.inference_mode(False), out_of_sight():  # It is kept, and serves other calls.
            offsets = torch.arange(self.weights.shape[1], device=self.first.device)[:, None]
            return (self.first + torch.minimum(offsets, self.count - 1)).clamp(0, self.size - 1)

    @cached_property
    def fewest(self) -> int:
        """Of the counts."""
        with torch.inference_mode(False), out_of_sight():
            return int(self.count.min())

    def select(self, index: Tensor) -> "Taps":
        """Return the taps of the output pixels in ``index``: what a crop or flip behind a resample comes to."""
        index = index.to(self.first.device)
        return Taps(self.size, self.first[index], self.count[index], self.weights[index], self.bits)

    def dense(self) -> Tensor:
        """Return the same weights as a matrix ``[n_out, size]``."""
        return self.weights.new_zeros(len(self), self.size).scatter_add(1, self.index.T, self.weights)


class Axis:
    """How one axis is resampled, for input of any size.

    Args:
        kernel: ``[support, degree + 1]``, see :func:`phi`.
        shift: displacement of the centres in input pixels, a scalar.
        size: output pixels of the resample.
        arithmetic: of the weights.
        keep: which of the output pixels are wanted.
        antialias: stretch the kernel where the axis gets shorter.
        width: input pixels to one unit of the kernel, where nothing is stretched.
    """

    def __init__(
        self,
        kernel: Tensor,
        shift: Tensor,
        size: int,
        arithmetic: Arithmetic,
        keep: Keep | None = None,
        antialias: bool = True,
        width: float = 1.0,
    ) -> None:
        self.kernel, self.shift, self.size, self.arithmetic = kernel, shift, size, arithmetic
        self.keep = Keep(0, 1, size) if keep is None else keep
        self.antialias, self.width = antialias, width
        self.evaluated: dict[int, Taps] = {}

    def __len__(self) -> int:
        return self.keep.count

    def kept(self, keep: Keep) -> "Axis":
        """Return the same axis with a crop or a flip behind it."""
        kept = self.keep.then(keep)
        return Axis(self.kernel, self.shift, self.size, self.arithmetic, kept, self.antialias, self.width)

    def sized(self, size: int, arithmetic: Arithmetic) -> "Axis":
        """Return the same for another number of output pixels, all of which are wanted."""
        return Axis(self.kernel, self.shift, size, arithmetic, None, self.antialias, self.width)

    def to(self, device: torch.device) -> "Axis":
        """Return the same axis with its weights on ``device``."""
        kernel, shift = self.kernel.to(device), self.shift.to(device)
        return Axis(kernel, shift, self.size, self.arithmetic, self.keep, self.antialias, self.width)

    def taps(self, n_in: int) -> Taps:
        """Return the weights for ``n_in`` input pixels, of the output pixels that are kept."""
        taps = self.evaluated.get(n_in)
        if taps is None:
            with torch.inference_mode(False):  # They are kept, and may be used with gradients later.
                taps = evaluate(self.kernel, self.shift, n_in, self.size, self.arithmetic, self.antialias, self.width)
                if self.keep != Keep(0, 1, self.size):
                    taps = taps.select(self.keep.index())
            if len(self.evaluated) >= MOST_SIZES:
                self.evaluated.clear()
            self.evaluated[n_in] = taps
        return taps


def phi(kernel: Tensor, t: Tensor, from_zero: bool = False, fused: int | None = None) -> Tensor:
    """Return the kernel at distance ``t``, in taps of unit spacing; zero outside the support, which has its right end
    only.

    It is even and piecewise polynomial: ``sum_d kernel[floor(|t|), d] * (|t| - floor(|t|))**d``; ``from_zero``, it is
    ``sum_d kernel[floor(|t|), d] * |t|**d``. From the highest power down to ``fused``, sums round once (aten).
    """
    distance = t.abs()
    support = kernel.shape[0]
    piece = distance.detach().long().clamp(0, support - 1)
    u = distance if from_zero else distance - piece
    coefficients = kernel.to(t.dtype)[piece]
    value = coefficients[..., -1]
    for d in range(coefficients.shape[-1] - 2, -1, -1):
        once = fused is not None and d >= fused
        value = (value * (u.double() if once else u) + coefficients[..., d]).to(t.dtype)
    return torch.where((distance < support) | (t == support), value, torch.zeros_like(value))


def about_zero(kernel: Tensor) -> Tensor:
    """Return the pieces of a kernel as polynomials of the distance, not of how far it lies behind the start of a
    piece."""
    start = torch.arange(len(kernel), device=kernel.device)
    terms = list(kernel.unbind(1))
    for done in range(len(terms) - 1):
        for d in range(len(terms) - 2, done - 1, -1):
            terms[d] = terms[d] - start * terms[d + 1]
    return torch.stack(terms, 1)


def from_end(kernel: Tensor) -> Tensor:
    """Return the only piece of a kernel as a polynomial of the distance from its end."""
    terms = list(kernel[0])
    for done in range(len(terms) - 1):
        for d in range(len(terms) - 2, done - 1, -1):
            terms[d] = terms[d] + terms[d + 1]
    return torch.stack([-term if d % 2 else term for d, term in enumerate(terms)])[None]


class FixedAxis:
    """How one axis of one size is resampled, by weights that come from no kernel.

    Args:
        matrix: ``[size, n_in]``, mostly zeros.
        arithmetic: of the weights.
        keep: which of the output pixels are wanted.
    """

    def __init__(self, matrix: Tensor, arithmetic: Arithmetic, keep: Keep | None = None) -> None:
        self.matrix, self.arithmetic = matrix, arithmetic
        self.size = len(matrix)
        self.keep = Keep(0, 1, self.size) if keep is None else keep

    def __len__(self) -> int:
        return self.keep.count

    def kept(self, keep: Keep) -> "FixedAxis":
        """Return the same axis with a crop or a flip behind it."""
        return FixedAxis(self.matrix, self.arithmetic, self.keep.then(keep))

    def to(self, device: torch.device) -> "FixedAxis":
        """Return the same axis with its weights on ``device``."""
        return FixedAxis(self.matrix.to(device), self.arithmetic, self.keep)

    @cached_property
    def fixed(self) -> Taps:
        """The weights of all output pixels, in the type of the arithmetic."""
        n_in = self.matrix.shape[1]
        used = self.matrix != 0
        position = torch.arange(n_in, device=self.matrix.device)
        first = torch.where(used, position, n_in - 1).amin(1)
        count = (torch.where(used, position, 0).amax(1) - first + 1).clamp(min=1)
        offset = torch.arange(int(count.max()), device=self.matrix.device)
        index = (first[:, None] + offset).clamp(max=n_in - 1)
        weights = torch.where(offset < count[:, None], self.matrix.gather(1, index), 0.0)
        return quantized(Taps(n_in, first, count, weights, None), self.arithmetic)

    def taps(self, n_in: int) -> Taps:
        """Return the weights of the output pixels that are kept; ``n_in`` must be that of the matrix."""
        if n_in != self.matrix.shape[1]:
            raise InputShapeError(f"Expected an axis of {self.matrix.shape[1]} pixels, got {n_in}.")
        return self.fixed.select(self.keep.index())


def evaluate(
    kernel: Tensor,
    shift: Tensor,
    n_in: int,
    n_out: int,
    arithmetic: Arithmetic,
    antialias: bool = True,
    width: float = 1.0,
    length: float | None = None,
) -> Taps:
    """Return taps from ``n_in`` to ``n_out`` pixels, computed in float32 for float32 arithmetic and in float64 for all
    others.

    Output pixel ``i`` weighs input pixel ``x`` by ``phi((x + .5 - c) / max(scale, 1))``, where
    ``c = (i + .5) * scale + shift`` and ``scale = n_in / n_out``, over the window from ``int(c - s + .5)`` to
    ``int(c + s + .5)``, ``s = support * max(scale, 1)``, and the weights of one output pixel are divided by their sum.
    Without ``antialias``, 1 stands for ``max(scale, 1)``, ``width`` is multiplied to both, and what lies
    outside the image counts for its nearest pixel (as a term of its own where sums are not in the order of the taps);
    with ``fma``, positions and ``phi`` are fused too, and nothing is divided. With ``antialias`` and ``grouped``, what
    .5 is added to is computed in float64 and stored in float32. With ``length``, the axis ends after so much of it.
    The native backend computes the same, operation by operation (kernels/native/taps.cpp).
    """
    dtype = torch.float32 if arithmetic.number == "float32" else torch.float64
    device = kernel.device
    fused = arithmetic.fma and not antialias
    mixed = arithmetic.grouped > 0 and antialias
    whole = arithmetic.order != "taps"
    half = torch.float64 if mixed else dtype
    about = partial(
        phi, from_zero=fused or mixed, fused=int(not antialias) if arithmetic.fma and (fused or mixed) else None
    )
    weigh = partial(about, about_zero(kernel) if fused or mixed else kernel)
    length = n_in if length is None else length
    scale = torch.tensor(length, dtype=dtype, device=device) / n_out
    stretch = (scale.clamp(min=1) if antialias else torch.ones_like(scale)) * width
    reach = kernel.shape[0] * stretch
    outputs = torch.arange(n_out, dtype=half, device=device) + 0.5
    if antialias:
        center = (scale.to(half) * outputs + shift.to(dtype)).to(dtype)
        low, high = ((center.detach() + side).to(half) + 0.5 for side in (-reach, reach))
    else:
        # Places are counted from the middle of the first pixel here, which is rounded otherwise.
        middle = (shift - 0.5).to(dtype)
        center = (scale * outputs.double() + middle).to(dtype) if fused else scale * outputs + middle
        # Those of linear kernels are moved onto it, which gives the second a weight of 0 (aten).
        seen = center.detach().double().clamp(min=0 if len(kernel) == 1 else -math.inf) + 1
        low, high = seen - reach.double(), seen + reach.double()
    if whole:
        center, first = (seen - 1).to(dtype), low.floor().long()
        count = high.floor().long() - first
    else:
        first = low.long().clamp(0, n_in - 1)
        count = (high.long().clamp(max=n_in) - first).clamp(min=1)
    offset = torch.arange(int(count.max()), device=device)
    pixels = offset + first[:, None]
    if antialias:
        distance = ((pixels - center[:, None]).to(half) + 0.5) * (1 / stretch).to(half)
        weights = torch.where(offset < count[:, None], weigh(distance.to(dtype)), 0.0)
    elif whole and len(kernel) == 1:
        part = (center - center.floor())[:, None]
        weights = torch.cat([weigh(part), about(from_end(kernel), part)], 1)
    else:

        def weigh_at(pixel: Tensor | int) -> Tensor:
            return weigh(apart(pixel, center[:, None], fused) * (1 / stretch))

        weights = torch.where(offset < count[:, None], weigh_at(pixels), 0.0)
        if not whole:
            weights = weights + beyond(weigh_at, kernel.shape[0], first, count, n_in, len(offset))
    if not (fused or whole):
        weights = weights / in_order(weights)[:, None]
    made = Taps(n_in, first, count, weights, None)
    unstretched = n_in == n_out == length and (antialias or len(kernel) == 1)
    return quantized(alone(made) if unstretched and not weights.requires_grad else made, arithmetic)


def alone(taps: Taps) -> Taps:
    """Without the weights of 0 of others, where each pixel becomes itself: aten leaves such an axis as it is."""
    pixel = torch.arange(taps.size, device=taps.first.device)
    own = taps.first[:, None] + torch.arange(taps.weights.shape[1], device=pixel.device) == pixel[:, None]
    if taps.weights[~own].any() or not own.any(1).all():
        return taps
    return replace(taps, first=pixel, count=torch.ones_like(pixel), weights=taps.weights[own][:, None])


def apart(pixel: Tensor | int, place: Tensor, fused: bool) -> Tensor:
    """``pixel - place``; fused, it is counted from the pixels next to the place, which is rounded otherwise (aten)."""
    if not fused:
        return pixel - place
    before = place.floor()
    part, steps = place - before, pixel - before
    return torch.where(steps > 0, (1 - part) + (steps - 1), steps - part)


def beyond(
    weigh_at: Callable[[int], Tensor], support: int, first: Tensor, count: Tensor, n_in: int, widest: int
) -> Tensor:
    """Return the weights of what lies outside the image, where its nearest pixel is: ``[n_out, widest]``."""
    outside = range(1, 2 * support + 1)
    below = sum((weigh_at(-step) for step in outside), torch.zeros(()))
    above = sum((weigh_at(n_in - 1 + step) for step in outside), torch.zeros(()))
    offset = torch.arange(widest, device=first.device)
    low = (first[:, None] + offset) == 0
    high = ((first[:, None] + offset) == n_in - 1) & (offset < count[:, None])
    return torch.where(low, below, 0.0) + torch.where(high, above, 0.0)


def quantized(taps: Taps, arithmetic: Arithmetic) -> Taps:
    """Return the same taps with weights in the type of the arithmetic."""
    if arithmetic.number != "int":
        return replace(taps, weights=taps.weights.to(getattr(torch, arithmetic.number)))
    largest = float(taps.weights.abs().max())
    bits = fraction_bits(float(taps.weights.max()), arithmetic) if largest < MOST_WHOLE else 0
    if not largest * 2.0**bits < MOST_WHOLE:
        raise InputShapeError(
            f"This kernel gives no weights for an axis of {taps.size} pixels: they are beyond 2^30, or sum to 0. "
            "Resize images of another size."
        )
    return replace(taps, weights=away_from_zero(taps.weights * 2.0**bits).int(), bits=bits)


def in_order(weights: Tensor) -> Tensor:
    """Sums along the second dimension, one weight after the other, as Pillow and aten add them."""
    total = weights[:, 0]
    for k in range(1, weights.shape[1]):
        total = total + weights[:, k]
    return total


def fraction_bits(largest: float, arithmetic: Arithmetic) -> int:
    """Fraction bits of integer weights: fixed, or the fewest that leave no spare bit in an int16 (as in aten)."""
    if not arithmetic.adaptive:
        return arithmetic.bits
    for bits in range(1, arithmetic.bits):
        if int(0.5 + largest * (1 << (bits + 1))) >= 1 << 15:
            return bits
    return arithmetic.bits


def away_from_zero(value: Tensor) -> Tensor:
    """Return the nearest integer, halves away from zero."""
    return (value.abs() + 0.5).floor() * value.sign()
