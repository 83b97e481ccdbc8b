"""Blends, statistics, hue and blur in a graph: :mod:`learned_transforms.kernels.reference.color`, step by step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.picture import Picture, as_levels, fused_add, numpy_of
from learned_transforms.export.places import with_border
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Blend, Blur, Equalize, Factor, Filter, Slot, Stretch, Turn

Drawn = Callable[[int], Any]

EXACT = 2**24
"""Whole numbers up to this are exact in float32."""


def factor_of(g: Any, factor: Factor, drawn: Drawn) -> Any:
    """Return a factor as a number of the widest type."""
    return g.cast(drawn(factor.number), g.widest) if isinstance(factor, Slot) else g.constant(factor, g.widest)


def finish(g: Any, value: Any, ceiling: float, arithmetic: Arithmetic) -> Any:
    """Clamp, and round to levels where that is wanted; the result is float32."""
    value = g.clip(value, 0.0, ceiling)
    return g.cast(as_levels(g, value, arithmetic.rounding), "float32")


def emit_blend(g: Any, picture: Picture, other: Picture | None, stage: Blend, drawn: Drawn) -> Picture:
    """``other`` is the picture behind what the stage makes it of."""
    if not isinstance(picture.height, int) or not isinstance(picture.width, int):
        fits = stage.limited and isinstance(stage.other, Filter) and min(picture.least) < max(stage.other.weights.shape)
        if fits:
            raise UnsupportedTransformError("images that may be smaller than its window need size=(rows, columns)")
    elif stage.at((picture.channels, picture.height, picture.width)) is None:
        return picture
    factor = factor_of(g, stage.factor, drawn)
    a, b = (g.cast(factor * float(t[1]) + float(t[0]), "float32") for t in numpy_of(stage.terms))
    fma, x = stage.arithmetic.fma, picture.floats(g)
    if other is None:
        return picture.of(finish(g, x * a, stage.ceiling, stage.arithmetic))
    y = other.floats(g) if stage.mean is None else mean_of(g, other, stage.mean)
    if stage.form == "sum":
        made = fused_add(g, y, b, x * a, fma)
    elif stage.form == "from_image":
        made = fused_add(g, y - x, b, x, fma)
        if isinstance(stage.other, Filter):
            made = within(g, picture, stage.other, made, x)
    else:
        made = fused_add(g, x - y, a, y, fma)
    return picture.of(finish(g, made, stage.ceiling, stage.arithmetic))


def mean_of(g: Any, picture: Picture, rounding: str) -> Any:
    """Return the mean of each image; sums of levels are exact."""
    if g.widest == "float32":
        known = isinstance(picture.height, int) and isinstance(picture.width, int)
        if not (picture.levels and known and picture.channels * picture.height * picture.width * 255 < EXACT):
            raise UnsupportedTransformError("the mean of so many pixels is not exact in float32 sums")
    total = g.reduce("Sum", g.cast(picture.x, g.widest), (-3, -2, -1))
    count = picture.height * picture.width * picture.channels
    if rounding == "half_up":
        return g.cast(g.floor(total / g.number(count, g.widest) + 0.5), "float32")
    return g.cast(total, "float32") / g.number(count, "float32")


def within(g: Any, picture: Picture, stage: Filter, made: Any, image: Any) -> Any:
    """Return what was made, and the image as it is where the window of a filter of border ``copy`` leaves it."""
    if stage.border != "copy":
        return made
    masks = []
    for length, reach in zip((picture.height, picture.width), stage.weights.shape, strict=True):
        at, last = g.range(length), g.number(length, "int64") - reach // 2
        masks.append((at >= reach // 2) & (at < last))
    return g.where(g.unsqueeze(masks[0], 1) & masks[1], made, image)


def padded(g: Any, x: Any, length: Any, reach: int, axis: int, border: str) -> Any:
    """Return an image with so many pixels more on either side along an axis."""
    if not reach:
        return x
    border = "edge" if border == "copy" else border
    found = with_border(g, g.range(length + 2 * reach) - reach, 0, g.number(length, "int64"), border, False)
    index = found.index
    if found.inside is not None:
        index = g.minimum(g.maximum(index, 0), g.number(length, "int64") - 1)
    made = g.take(x, index, axis)
    if found.inside is None:
        return made
    return g.where(g.unsqueeze(found.inside, 1) if axis == -2 else found.inside, made, 0)


def smoothed(g: Any, picture: Picture, stage: Filter) -> Any:
    """Correlate with a window, its terms summed row by row."""
    h, w = stage.weights.shape
    arithmetic, weights = stage.arithmetic, numpy_of(stage.weights).astype(np.float64)
    rounding = arithmetic.rounding
    if arithmetic.number == "int":
        whole, rounding = np.copysign(np.floor(np.abs(weights) * 2.0**arithmetic.bits + 0.5), weights), "half_up"
        weights = whole / 2.0**arithmetic.bits
        if float(np.abs(whole).sum()) * 255 >= EXACT:
            raise UnsupportedTransformError(f"sums in {arithmetic} are not exact in float32")
    x, height, width = picture.floats(g), picture.height, picture.width
    wide = padded(g, padded(g, x, height, h // 2, -2, stage.border), width, w // 2, -1, stage.border)
    total = None
    for i in range(h):
        row = g.slice(wide, i, height + i, -2)
        for j in range(w):
            weight = float(weights[i, j])
            if weight:
                pixels = g.slice(row, j, width + j, -1)
                total = fused_add(g, pixels, g.constant(weight, "float32"), total, arithmetic.fma)
    return within(g, picture, stage, as_levels(g, total, rounding), x)


def emit_stretch(g: Any, picture: Picture, stage: Stretch, drawn: Drawn) -> Picture:
    start, end = numpy_of(stage.ends).tolist()
    width = end - start
    image = picture.floats(g)
    x = g.cast(image, stage.arithmetic.number)
    low, high = g.reduce("Min", x, (-2, -1)), g.reduce("Max", x, (-2, -1))
    flat = g.equal(high, low)
    extent = g.where(flat, 1.0, high - low)
    if stage.form == "divide":
        made = (x - low) / (extent * (1.0 / width))
    elif stage.form == "multiply":
        made = (x - low) * ((1.0 / extent) * width)
    else:
        scale = width / extent
        made = x * scale + -low * scale
    made = finish(g, made + start, stage.ceiling, stage.arithmetic)
    return picture.of(g.where(flat, g.clip(image, 0.0, stage.ceiling), made))


def emit_equalize(g: Any, picture: Picture, stage: Equalize, drawn: Drawn) -> Picture:
    flat = g.flat(g.cast(picture.x, "int64"))
    counts = g.counts(flat)
    below = g.cumsum(counts) - counts
    largest = g.reduce("Max", flat, (-1,))
    pixels = g.number(picture.height * picture.width, "int64")
    step = (pixels - g.take_along(counts, largest, -1)) // stage.levels
    offset = g.cast(g.floor(g.cast(step, "float32") * stage.offset), "int64")
    table = g.clip((below + offset) // g.maximum(step, 1), 0, 255)
    table = g.where(step > 0, table, g.range(256))
    made = g.shaped(g.take_along(table, flat, -1), picture.x)
    return picture.of(g.cast(made, "float32"))


def emit_turn(g: Any, picture: Picture, stage: Turn, drawn: Drawn) -> Picture:
    """Hue and saturation, then back."""
    factor, steps, divide = factor_of(g, stage.factor, drawn), stage.steps, stage.form == "divide"
    x = picture.floats(g)
    if not steps and stage.ceiling != 1:
        x = x / stage.ceiling if divide else x * (1 / stage.ceiling)
    high, low = g.reduce("Max", x, (-3,)), g.reduce("Min", x, (-3,))
    flat = g.equal(high, low)
    saturation = (high - low) / g.where(flat, 1.0, high)
    hue = hue_of(g, x, high, g.where(flat, 1.0, high - low), stage)
    if steps:
        hue = g.cast(g.fmod(g.cast(hue, g.widest) / 6.0 + 1.0, 1.0), "float32")
        hue = g.floor(g.cast(hue, g.widest) * float(steps))
        moved = g.cast(g.cast(factor * float(steps), "int64"), g.widest)
        hue = g.cast(remainder(g, hue + moved, 256.0), "float32") * 6.0 / float(steps)
        saturation = g.cast(g.floor(g.cast(saturation, g.widest) * float(steps)), "float32") / float(steps)
    else:
        hue = g.fmod((hue / 6.0 if divide else hue * (1 / 6)) + 1.0, 1.0)
        hue = remainder(g, hue + g.cast(factor, "float32"), 1.0) * 6.0
    sector = g.floor(hue)
    along, rest = hue - sector, 1.0 - saturation
    falling = 1.0 - saturation * along
    rising = 1.0 - saturation * (1.0 - along) if divide else saturation * along + rest
    others = [value * high for value in (falling, rest, rising)]
    kinds = [high, *(others if steps else [g.clip(one, 0.0, 1.0) for one in others])]
    if not steps:
        kinds = [kind * stage.span for kind in kinds]
    highest, falling, least, rising = kinds
    planes = []
    for center in stage.centres:
        part = g.remainder(g.cast(sector, "int64") - center, g.constant(6, "int64"))
        low_part = g.equal(part, 2) | g.equal(part, 3)
        made = g.where(g.equal(part, 4), rising, g.where(low_part, least, highest))
        planes.append(g.where(g.equal(part, 1), falling, made))
    turned = g.concat(planes, -3)
    floats = stage.ceiling == 1 and stage.arithmetic.rounding == "none"
    return picture.of(turned if floats else finish(g, turned, stage.ceiling, stage.arithmetic))


def remainder(g: Any, x: Any, by: float) -> Any:
    """Of a division, with the sign of ``by``, which is above 0."""
    rest = g.fmod(x, by)
    return g.where(rest < 0.0, rest + by, rest)


def hue_of(g: Any, x: Any, high: Any, extent: Any, stage: Turn) -> Any:
    """In sixths of a turn; of several highest channels, from the center of the first."""
    channels = [g.slice(x, c, c + 1, -3) for c in range(3)]
    distance = [g.cast((high - channel) / extent, g.widest if stage.steps else "float32") for channel in channels]
    way = (stage.centres[0] - stage.centres[2]) % 6 // 2
    hues = []
    for c, center in enumerate(stage.centres):
        before, behind = distance[c - way], distance[c + way - 3]
        hues.append(g.cast((before + float(center)) - behind, "float32"))
    first, second = (g.equal(channel, high) for channel in channels[:2])
    return g.where(first, hues[0], g.where(second, hues[1], hues[2]))


def emit_blur(g: Any, picture: Picture, stage: Blur, drawn: Drawn) -> Picture:
    """Taps of a sigma, and two passes; each product joins its sum with one rounding."""
    sigma = factor_of(g, stage.sigma, drawn)
    value = picture.floats(g)
    if stage.form != "passes":
        wide = value
        for axis, reach, length in zip((-2, -1), stage.size, (picture.height, picture.width), strict=True):
            wide = padded(g, wide, length, reach // 2, axis, stage.border)
        made = g.smoothed(wide, g.cast(sigma, "float32"), stage)
        return picture.of(as_levels(g, made, stage.arithmetic.rounding))
    for axis, reach, length in zip((-2, -1), stage.size, (picture.height, picture.width), strict=True):
        distance = (g.range(reach, "float64") - float(reach // 2)) / sigma
        square = distance * distance
        powers, power = [], square
        for coefficient in numpy_of(stage.coefficients).astype(np.float64).tolist():
            powers.append(power * coefficient)
            power = power * square
        taps = g.exp(sum(powers[1:], powers[0]))
        taps = g.cast(g.cast(taps / g.reduce("Sum", taps, (-1,)), "float32"), "float64")
        wide = g.cast(padded(g, value, length, reach // 2, axis, stage.border), "float64")
        total = None
        for k in range(reach):
            product = g.slice(wide, k, length + k, axis) * g.slice(taps, k, k + 1, 0)
            total = product if total is None else g.cast(total, "float64") + product
            total = g.cast(total, "float32")
        value = total
    rounding = stage.arithmetic.rounding
    return picture.of(as_levels(g, value, rounding), levels=picture.levels and rounding != "none")
