"""What the stages of color mean, in plain torch: blends, statistics, hue, blur."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import bordered
from learned_transforms.ir.ops import Blend, Blur, BoxBlur, Equalize, Filter, Stretch, Turn, number
from learned_transforms.kernels.reference.rounding import NUMBER_DTYPES, multiply_add, to_levels
from learned_transforms.modes import out_of_sight, plain_shape


def finish(value: Tensor, ceiling: float, arithmetic: Arithmetic) -> Tensor:
    """Clamp, and round to levels where that is wanted."""
    value = value.clamp(0, ceiling)
    return value.float() if arithmetic.rounding == "none" else to_levels(value, arithmetic.rounding)


def blend(image: Tensor, other: Tensor | None, stage: Blend) -> Tensor:
    """``other`` is what the stage that makes it has made of the image."""
    arithmetic = stage.arithmetic
    a, b = ((t[0] + t[1] * number(stage.factor)).float() for t in stage.terms.double())
    x = image.float()
    if other is None:
        return finish(x * a, stage.ceiling, arithmetic)
    other = (other if stage.mean is None else mean_of(other, stage.mean)).float()
    if stage.form == "sum":
        made = multiply_add(other, b, multiply_add(x, a, None, arithmetic), arithmetic)
    elif stage.form == "from_image":
        made = multiply_add(other - x, b, x, arithmetic)
        if isinstance(stage.other, Filter):
            made = within(stage.other, made, x)  # Of an infinite pixel and itself, the difference is no number.
    else:
        made = multiply_add(x - other, a, other, arithmetic)
    return finish(made, stage.ceiling, arithmetic)


def within(stage: Filter, made: Tensor, image: Tensor) -> Tensor:
    """Return what was made, and the image as it is where the window of a filter of border ``copy`` leaves it."""
    if stage.border != "copy":
        return made
    (h, w), (height, width) = stage.weights.shape, plain_shape(image)[-2:]
    inner = torch.zeros(height, width, dtype=torch.bool, device=image.device)
    inner[h // 2 : height - h // 2, w // 2 : width - w // 2] = True
    return torch.where(inner, made, image)


def mean_of(image: Tensor, rounding: str) -> Tensor:
    """Return the mean of each image, as a float32; sums of levels are exact, and rounded to float32 before the
    division."""
    count = math.prod(image.shape[-3:])
    levels = image.dtype == torch.uint8
    total = image.sum((-3, -2, -1), keepdim=True, dtype=torch.int64 if levels else torch.float64)
    if rounding == "half_up":
        return (total.double() / count + 0.5).floor().float()
    return total.float() / count


def stretch(image: Tensor, stage: Stretch) -> Tensor:
    start, end = stage.ends.tolist()
    width = end - start
    x = image.to(NUMBER_DTYPES[stage.arithmetic.number])
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    flat = high == low
    extent = torch.where(flat, torch.ones_like(low), high - low)
    if stage.form == "divide":
        made = (x - low) / (extent * (1.0 / width))
    elif stage.form == "multiply":
        made = (x - low) * (extent.reciprocal() * width)
    else:
        scale = torch.full_like(extent, width) / extent
        made = x * scale + -low * scale
    made = finish(made + start, stage.ceiling, stage.arithmetic)
    return torch.where(flat, image.clamp(0, stage.ceiling).to(made.dtype), made)


def equalize(image: Tensor, stage: Equalize) -> Tensor:
    flat = image.flatten(-2).long()
    counts = flat.new_zeros(*flat.shape[:-1], 256).scatter_add_(-1, flat, torch.ones_like(flat))
    below = counts.cumsum(-1) - counts
    largest = flat.amax(-1, keepdim=True)
    step = (flat.shape[-1] - counts.gather(-1, largest)) // stage.levels
    table = (below + (step * stage.offset).floor().long()) // step.clamp(min=1)
    table = torch.where(step > 0, table.clamp(0, 255), torch.arange(256, device=image.device))
    return table.gather(-1, flat).view(image.shape).to(torch.uint8)


def turn(image: Tensor, stage: Turn) -> Tensor:
    """Hue and saturation, then back. Every step is rounded to float32, but where whole steps are cut from float64."""
    factor, steps, divide = number(stage.factor), stage.steps, stage.form == "divide"
    x = image.float()
    if not steps and stage.ceiling != 1:
        x = x / stage.ceiling if divide else x * (1 / stage.ceiling)
    high, low = x.amax(-3), x.amin(-3)
    flat = high == low
    ones = torch.ones_like(high)
    saturation = (high - low) / torch.where(flat, ones, high)
    hue = hue_of(x, high, torch.where(flat, ones, high - low), stage)
    if steps:
        hue = ((hue.double() / 6 + 1).fmod(1).float().double() * steps).floor()
        hue = (hue + int(factor * steps)).remainder(256).float() * 6 / steps
        saturation = (saturation.double() * steps).floor().float() / steps
    else:
        hue = (((hue / 6 if divide else hue * (1 / 6)) + 1).fmod(1) + factor).remainder(1) * 6
    sector = hue.floor()
    along, rest = hue - sector, 1 - saturation
    falling = 1 - saturation * along
    rising = 1 - saturation * (1 - along) if divide else saturation * along + rest
    others = torch.stack([value * high for value in (falling, rest, rising)])
    # Floats may lie beyond 0 to 1, where the highest channel stays.
    kinds = torch.cat([high[None], others if steps else others.clamp(0, 1)])
    if not steps:
        kinds = kinds * stage.span
    made = [kinds.gather(0, PATTERN.to(x.device)[(sector.long() - c) % 6][None])[0] for c in stage.centres]
    turned = torch.stack(made, -3)
    floats = stage.ceiling == 1 and stage.arithmetic.rounding == "none"
    return turned if floats else finish(turned, stage.ceiling, stage.arithmetic)


PATTERN = torch.tensor([0, 1, 2, 2, 3, 0])
"""What a channel is in each sixth of a turn from its center on: the highest, falling, the lowest, rising."""


def hue_of(x: Tensor, high: Tensor, extent: Tensor, stage: Turn) -> Tensor:
    """In sixths of a turn, counted from the center of the highest channel; of several, from that of the first."""
    distance = ((high[..., None, :, :] - x) / extent[..., None, :, :]).to(torch.float64 if stage.steps else x.dtype)
    hue, found = torch.zeros_like(high), torch.zeros_like(high, dtype=torch.bool)
    # Which way to the channel a third of a turn before.
    way = (stage.centres[0] - stage.centres[2]) % 6 // 2
    for c, center in enumerate(stage.centres):
        here = (x[..., c, :, :] == high) & ~found
        before, behind = distance[..., c - way, :, :], distance[..., c + way - 3, :, :]
        hue = torch.where(here, ((before + center) - behind).to(x.dtype), hue)
        found = found | here
    return hue


def gaussian_taps(coefficients: Tensor, sigma: float, length: int) -> Tensor:
    """``exp`` of an even polynomial of the distance from the middle in units of sigma, scaled to a sum of 1."""
    distance = torch.arange(length, dtype=torch.float64, device=coefficients.device) - length // 2
    square = (distance / sigma) ** 2
    taps = sum((c * square ** (k + 1) for k, c in enumerate(coefficients.double())), torch.zeros_like(square)).exp()
    return (taps / taps.sum()).float()


def taps_of(stage: Blur, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the taps of a window that is summed at once, down and across: float32, in the order of its form."""
    (coefficient,), (high, wide) = stage.coefficients.tolist(), stage.size
    down = float32_taps(coefficient, sigma, high, stage.form)
    return down, down if high == wide else float32_taps(coefficient, sigma, wide, stage.form)


def float32_taps(coefficient: float, sigma: float | Tensor, length: int, form: str) -> Tensor:
    """Return ``exp(coefficient * (distance / sigma) ** 2)``, scaled to a sum of 1, float32 ``[..., length]``.

    Args:
        sigma: or one for each of several windows, float32 ``[..., 1]``.
    """
    if form == "density":
        density = torch.exp(coefficient * (between((length - 1) * 0.5, length) / sigma).pow(2))
        return density / density.sum(-1, keepdim=True)
    half = (length - 1) / (2.0 * math.sqrt(-1.0 / coefficient))
    return torch.softmax(between(half, length).div(sigma).pow(2).neg(), -1)


@lru_cache(maxsize=64)
def between(half: float, length: int) -> Tensor:
    """Return so many numbers from ``-half`` to ``half``, float32."""
    with torch.inference_mode(False), out_of_sight():
        return torch.linspace(-half, half, length, dtype=torch.float32, device="cpu")


def blur_at_once(image: Tensor, stage: Blur) -> Tensor:
    """Return sums over whole windows, which torch itself adds up in the order that is meant."""
    down, across = taps_of(stage, number(stage.sigma))
    value, (*lead, channels, _, _) = image.float(), image.shape
    for axis, length in ((-2, stage.size[0]), (-1, stage.size[1])):
        size = plain_shape(value)[axis]
        index = bordered(size, -(length // 2), size + length // 2, stage.border).to(image.device)
        value = value.index_select(axis, index)
    window = (down[:, None] * across).to(image.device).expand(channels, 1, *stage.size)
    made = torch.conv2d(value.reshape(-1, *value.shape[-3:]), window, groups=channels)
    return to_levels(made.reshape(*lead, *made.shape[-3:]), stage.arithmetic.rounding)


def blur(image: Tensor, stage: Blur) -> Tensor:
    if stage.form != "passes":
        return blur_at_once(image, stage)
    sigma, value = number(stage.sigma), image.float()
    for axis, length in ((-2, stage.size[0]), (-1, stage.size[1])):
        taps, size = gaussian_taps(stage.coefficients, sigma, length), plain_shape(value)[axis]
        index = bordered(size, -(length // 2), size + length // 2, stage.border).to(image.device)
        padded = value.index_select(axis, index)
        total: Tensor | None = None
        for k, tap in enumerate(taps):
            total = multiply_add(padded.narrow(axis, k, size), tap, total, stage.arithmetic)
        value = padded if total is None else total
    return to_levels(value, stage.arithmetic.rounding)


def box_of(sigma: float, passes: int) -> tuple[int, int, int]:
    """Return the box that, so many times, comes to a Gaussian, computed in float32 as Pillow does.

    Returns:
        radius: of the pixels that count alike; their weight, and that of the two behind them, in units of 2 ** -24.
    """
    given = np.float32(sigma)
    variance = given * given / np.float32(passes)
    length = np.float32(math.sqrt(12.0 * float(variance) + 1.0))
    whole = np.float32(math.floor((float(length) - 1.0) / 2.0))
    one, two, three, six = (np.float32(n) for n in (1, 2, 3, 6))
    part = (two * whole + one) * (whole * (whole + one) - three * variance)
    radius = whole + part / (six * (variance - (whole + one) * (whole + one)))
    inside, count = int(np.float32(2**24) / (radius * two + one)), 2 * int(radius) + 1
    return int(radius), inside, (2**24 - count * inside) // 2


def box_blur(image: Tensor, stage: BoxBlur) -> Tensor:
    radius, inside, beyond = box_of(number(stage.sigma), stage.passes)
    value = image.long()
    for axis in (-1, -2):
        size = plain_shape(value)[axis]
        index = bordered(size, -radius - 1, size + radius + 1, "edge").to(image.device)
        for _ in range(stage.passes):
            padded = value.index_select(axis, index)
            total = sum(padded.narrow(axis, k, size) for k in range(1, 2 * radius + 2))
            ends = padded.narrow(axis, 0, size) + padded.narrow(axis, 2 * radius + 2, size)
            value = (total * inside + ends * beyond + 2**23) >> 24
    return value.to(torch.uint8)
