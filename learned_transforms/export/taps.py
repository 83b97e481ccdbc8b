"""The weights of a resample, worked out in a graph: :func:`learned_transforms.ir.interpolation.evaluate`, step by step.

``g`` is a graph to build, see :class:`~learned_transforms.export.onnx_graph.OnnxGraph`; lengths may be values of it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.picture import numpy_of
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import Axis, FixedAxis, about_zero
from learned_transforms.modes import out_of_sight

LEVELS, EXACT = 255, 2.0**24
"""The largest level; and whole numbers below this are exact in float32."""

COARSE = 2.0**14
"""Of weights whose sums one float32 does not hold: the part above a unit of this is summed apart from what is below."""


@dataclass(frozen=True)
class AxisWeights:
    """Of one axis: output ``i`` sums ``values[i, k] * input[first[i] + k]``.

    Attributes:
        first: int64 ``[n_out]``.
        values: ``[n_out, most]``, of integers divided by ``2**bits``, or floats; 0 where nothing is weighed.
        most: weights of an output.
        count: outputs.
        number: type of the sums, in which they are exact, or which the arithmetic has.
        starts: ``first`` as Python knows it; None: it depends on the image.
        split: sums are exact in two parts.
    """

    first: Any
    values: Any
    most: Any
    count: Any
    number: str
    starts: tuple[int, ...] | None = None
    split: bool = False


def stored(g: Any, axis: Axis | FixedAxis, n_in: int) -> AxisWeights:
    """Return weights for a length that is known.

    Raises:
        UnsupportedTransformError: their sums are exact in float64 only, which the graph must not have.
    """
    with out_of_sight():
        taps = axis.taps(n_in)
    first, index = numpy_of(taps.first).clip(0, n_in - 1), numpy_of(taps.index).T
    values = np.zeros(taps.weights.shape)
    # Windows may reach beyond the axis, where its nearest pixel lies.
    np.add.at(values, (np.arange(len(first))[:, None], index - first[:, None]), numpy_of(taps.weights))
    most = values.shape[1]
    number, split = axis.arithmetic.number, False
    if taps.bits is not None:
        largest = float(np.abs(values).sum(1).max()) * LEVELS
        split = largest >= EXACT and g.widest == "float32"
        number = "float64" if largest >= EXACT and not split else "float32"
        values = values / 2.0**taps.bits
        finest = most * LEVELS * 2.0**taps.bits / (2 * COARSE)
        if split and max(finest, largest / 2.0**taps.bits * COARSE) >= EXACT:
            raise UnsupportedTransformError(f"sums of {most} pixels are exact in float64 only")
    return AxisWeights(
        g.constant(first), g.constant(values, number), most, len(first), number, tuple(first.tolist()), split
    )


def worked_out(
    g: Any, axis: Axis | FixedAxis, n_in: Any, n_out: Any, arithmetic: Arithmetic, longest: Any
) -> AxisWeights:
    """Return weights for a length that the graph sees.

    Args:
        n_in: of the axis.
        n_out: pixels of the output, all of which are wanted.
        longest: that n_in may have, as a length.

    Raises:
        UnsupportedTransformError: they are of one size.
    """
    if isinstance(axis, FixedAxis):
        raise UnsupportedTransformError("This resize is of one size: export it with size=(rows, columns).")
    kernel, antialias, width = axis.kernel, axis.antialias, axis.width
    support = len(kernel)
    mixed = arithmetic.grouped > 0 and antialias
    fused = arithmetic.fma and not antialias
    dtype = "float32" if arithmetic.number == "float32" else "float64"
    half = "float64" if mixed else dtype
    shift = float(numpy_of(axis.shift))
    with out_of_sight():
        pieces = numpy_of(about_zero(kernel.detach()) if fused or mixed else kernel)
    weigh = partial(
        phi,
        g,
        pieces,
        dtype=dtype,
        from_zero=fused or mixed,
        fused=int(not antialias) if arithmetic.fma and (fused or mixed) else None,
    )
    scale = g.number(n_in, dtype) / g.number(n_out, dtype)
    stretch = (g.maximum(scale, 1.0) if antialias else scale * 0.0 + 1.0) * width
    reach = stretch * float(support)
    outputs = g.range(n_out, half) + 0.5
    most = 2 * support * g.largest(longest, n_out) // n_out + 2 if antialias else 2 * support + 2
    length = g.number(n_in, "int64")
    if antialias:
        center = g.cast(g.cast(scale, half) * outputs + single(shift, dtype), dtype)
        low, high = g.cast(center - reach, half) + 0.5, g.cast(center + reach, half) + 0.5
    else:
        middle = single(shift - 0.5, dtype)
        if fused:
            center = g.cast(g.cast(scale, "float64") * g.cast(outputs, "float64") + middle, dtype)
        else:
            center = scale * outputs + middle
        seen = g.cast(center, "float64")
        seen = (g.maximum(seen, 0.0) if support == 1 else seen) + 1.0
        low, high = seen - g.cast(reach, "float64"), seen + g.cast(reach, "float64")
    first = g.minimum(g.maximum(g.cast(low, "int64"), 0), length - 1)
    count = g.unsqueeze(g.maximum(g.minimum(g.cast(high, "int64"), length) - first, 1), 1)
    offset = g.range(most)
    pixels = offset + g.unsqueeze(first, 1)
    center = g.unsqueeze(center, 1)
    inverse = 1.0 / stretch
    used = offset < count
    if antialias:
        distance = (g.cast(g.cast(pixels, dtype) - center, half) + 0.5) * g.cast(inverse, half)
        values = g.where(used, weigh(g.cast(distance, dtype)), 0.0)
    else:

        def weigh_at(pixel: Any) -> Any:
            return weigh(apart(g, pixel, center, fused) * inverse)

        outside = range(1, 2 * support + 1)
        below = sum(
            (weigh_at(g.cast(length * 0 - step, dtype)) for step in outside[1:]),
            weigh_at(g.cast(length * 0 - outside[0], dtype)),
        )
        above = sum(
            (weigh_at(g.cast(length - 1 + step, dtype)) for step in outside[1:]),
            weigh_at(g.cast(length - 1 + outside[0], dtype)),
        )
        values = g.where(used, weigh_at(g.cast(pixels, dtype)), 0.0)
        last = g.equal(pixels, length - 1) & used
        values = values + (g.where(g.equal(pixels, 0), below, 0.0) + g.where(last, above, 0.0))
    if not fused:
        values = values / g.last(g.cumsum(values))
    number = "float64" if arithmetic.number == "int" else arithmetic.number
    return AxisWeights(first, g.cast(quantized(g, values, arithmetic), number), most, n_out, number)


def single(value: float, dtype: str) -> float:
    """Return a number as its type has it."""
    return float(np.dtype(dtype).type(value))


def phi(g: Any, kernel: np.ndarray, t: Any, dtype: str, from_zero: bool, fused: int | None) -> Any:
    """Return the kernel at distance ``t``, as :func:`learned_transforms.ir.interpolation.phi`."""
    distance, support = g.abs(t), len(kernel)
    piece = g.clip(g.cast(distance, "int64"), 0, support - 1)
    u = distance if from_zero else distance - g.cast(piece, dtype)
    terms = [g.take(g.constant(column, dtype), piece, 0) for column in kernel.T]
    value = terms[-1]
    for d in range(len(terms) - 2, -1, -1):
        if fused is not None and d >= fused:
            product = g.cast(value, "float64") * g.cast(u, "float64")
            value = g.cast(product + g.cast(terms[d], "float64"), dtype)
        else:
            value = value * u + terms[d]
    return g.where((distance < float(support)) | g.equal(t, float(support)), value, 0.0)


def apart(g: Any, pixel: Any, place: Any, fused: bool) -> Any:
    """As :func:`learned_transforms.ir.interpolation.apart`."""
    if not fused:
        return pixel - place
    before = g.floor(place)
    part, steps = place - before, pixel - before
    return g.where(steps > 0.0, (1.0 - part) + (steps - 1.0), steps - part)


def quantized(g: Any, values: Any, arithmetic: Arithmetic) -> Any:
    """Return whole weights, where the arithmetic has such, divided by what makes them whole."""
    if arithmetic.number != "int":
        return values
    powers = [2.0**bits for bits in range(arithmetic.bits + 1)]
    if arithmetic.adaptive:
        largest = g.reduce("Max", values, (-2, -1))
        # As many bits fewer than the most as leave no spare one.
        tried = g.constant([2.0 ** (bits + 1) for bits in range(1, arithmetic.bits)], "float64")
        over = g.floor(largest * tried + 0.5) >= float(1 << 15)
        fewer = g.reduce("Sum", g.cast(over, "int64"), (-1,))
        raised = g.take(g.constant(powers[::-1], "float64"), fewer, 0)
    else:
        raised = g.constant(powers[-1], "float64")
    scaled = values * raised
    whole = g.floor(g.abs(scaled) + 0.5) * g.sign(scaled)
    return whole / raised
