"""The reference backend: plain torch. It defines what each stage means; every other backend is tested against it.

It runs on any device with float64, is differentiable on float input, and is traceable.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from learned_transforms.errors import InputShapeError, PipelineValueError
from learned_transforms.images.formats import Call, Later, Window, to_tensor
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Kept, Listed, bordered
from learned_transforms.ir.interpolation import Taps, away_from_zero
from learned_transforms.ir.ops import (
    Apply,
    Blend,
    Blur,
    BoxBlur,
    Cast,
    Equalize,
    Filter,
    Gather,
    Mix,
    Normalize,
    Product,
    Resample,
    Slots,
    Sparse,
    Stage,
    Stretch,
    Table,
    Tables,
    Turn,
    Warp,
    number,
)
from learned_transforms.ir.passes import at, fold
from learned_transforms.ir.plan import Around, Plan, settled
from learned_transforms.kernels.reference import color
from learned_transforms.kernels.reference.rounding import NUMBER_DTYPES, multiply_add, shift_down, to_levels
from learned_transforms.kernels.reference.warp import warp
from learned_transforms.modes import out_of_sight, plain_shape

MOST_SIZES = 16
"""Of images, for which a plan is kept without rules."""


class Reference:
    """A plan, to be run stage by stage."""

    held = 0

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.known: dict[tuple[int, ...], list[Stage]] = {}

        # Where windows are drawn behind others, stages differ from image to image.
        self.steady = not any(isinstance(stage, Gather) and stage.starts is not None for stage in plan.stages)

    def stages(self, shape: tuple[int, ...], factors: Sequence[float]) -> list[Stage]:
        """Return what to carry out on images of ``shape`` (C, H, W), with the numbers that were drawn; kept, if it is
        the same for all."""
        found = self.known.get(shape)
        if found is None:
            channels, height, width = shape
            with torch.inference_mode(False), out_of_sight():
                stages = self.plan.stages if self.steady else [settled(stage, factors) for stage in self.plan.stages]
                found = fold(at(stages, (channels, height, width)))
            if self.steady:
                if len(self.known) >= MOST_SIZES:
                    self.known.clear()
                self.known[shape] = found
        return found

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """Return what runs on images like this one; here, on all."""
        return self.run

    def roam(self, image: Any, interleaved: bool = False) -> Call | None:
        """Return what runs on images of any size."""
        return self.run

    def run(
        self, image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
    ) -> Tensor:
        """Carry out the plan on a uint8 or float image ``[..., C, H, W]`` or a PIL image, which is never modified.

        Args:
            image: the image, or images.
            window: (top, left, height, width): use only this part of it.
            factors: numbers that were drawn for it.
            later: is given nothing: torch computes at once.
        """
        value = to_tensor(image)
        if window is not None:
            part = seen(window, plain_shape(value)[-2:], self.plan.around)
            top, left, height, width = window
            inner = value[..., top : top + height, left : left + width]
            value = gather(value, part) if part.outside else inner
        for stage in self.stages(plain_shape(value)[-3:], factors):
            value = carry_out(value, settled(stage, factors))
        return value


def carry_out(image: Tensor, stage: Stage) -> Tensor:
    """Return one stage."""
    return STAGES[type(stage)](image, stage)


def blend(image: Tensor, stage: Blend) -> Tensor:
    return color.blend(image, None if stage.other is None else carry_out(image, stage.other), stage)


def weighted_sum(image: Tensor, taps: Taps, axis: int, arithmetic: Arithmetic) -> Tensor:
    """Sum ``weights * pixels`` along ``axis`` (-1 or -2), in the order of the taps, or the second before the first."""
    total: Tensor | None = None
    count = taps.count[:, None] if axis == -2 else taps.count
    terms = list(enumerate(zip(taps.index, taps.weights.T, strict=True)))
    if arithmetic.order == "second":
        arithmetic = replace(arithmetic, fma=True)
        terms[:2] = reversed(terms[:2])
    for k, (index, weight) in terms:
        pixels = image.index_select(axis, index)
        weight = weight[:, None] if axis == -2 else weight
        if taps.bits is not None:
            product = pixels * weight
            total = product if total is None else total.add_(product)
        elif total is None:
            total = multiply_add(pixels, weight, None, arithmetic)
        else:
            more = multiply_add(pixels, weight, total, arithmetic)
            if arithmetic.grouped:
                more = torch.where(k <= arithmetic.rounded(count - 1), total + pixels * weight, more)
            # Infinite pixels times a weight past the count are no numbers.
            total = more if k < taps.fewest else torch.where(k < count, more, total)
    if total is None:
        raise ValueError("Taps need at least one weight per output pixel.")
    return total


def joint_sum(image: Tensor, rows: Taps, columns: Taps, arithmetic: Arithmetic) -> Tensor:
    """Sums of four pixels, two of either axis, under the products of their weights; the second comes first."""
    (top, bottom), (left, right) = two_of(rows), two_of(columns)

    def joined(row: tuple[Tensor, Tensor], column: tuple[Tensor, Tensor], total: Tensor | None) -> Tensor:
        pixels = image.index_select(-2, row[0]).index_select(-1, column[0])
        return multiply_add(pixels, row[1][:, None] * column[1], total, arithmetic)

    total = joined(top, left, joined(top, right, None))
    return joined(bottom, right, joined(bottom, left, total))


def two_of(taps: Taps) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Index and weight of two taps; where there is one, the other weighs its pixel by 0."""
    both = [(index, weight) for index, weight in zip(taps.index, taps.weights.T, strict=True)]
    return both[0], both[1] if len(both) > 1 else (both[0][0], torch.zeros_like(both[0][1]))


def sum_of_quarters(sums: Tensor, taps: Taps, axis: int, bits: int) -> Tensor:
    """Return the second pass over unrounded int32 sums, each product cut to quarters of a level."""
    total = torch.zeros((), dtype=torch.int32, device=sums.device)
    for index, weight in zip(taps.index, taps.weights.T, strict=True):
        pixels = sums.index_select(axis, index) >> 4
        total = total + (pixels * (weight[:, None] if axis == -2 else weight) >> (2 * bits - 6))
    return shift_down(total, 2)


def resample(image: Tensor, stage: Resample) -> Tensor:
    arithmetic = stage.arithmetic
    height, width = plain_shape(image)[-2:]
    with torch.inference_mode(False), out_of_sight():
        passes = [(-1, stage.columns.taps(width)), (-2, stage.rows.taps(height))]
    if arithmetic.quarters:
        image = weighted_sum(image, passes[0][1], -1, arithmetic)
        return sum_of_quarters(image, passes[1][1], -2, arithmetic.bits)
    if arithmetic.order == "joint":
        return to_levels(joint_sum(image, passes[1][1], passes[0][1], arithmetic), arithmetic.rounding)
    for axis, taps in reversed(passes) if stage.rows_first(height, width) else passes:
        image = weighted_sum(image, taps, axis, arithmetic)
        if taps.bits is not None:
            image = shift_down(image, taps.bits)
        elif arithmetic.each_pass:
            image = to_levels(image, arithmetic.rounding)
    if arithmetic.number == "int":
        return image
    image = to_levels(image, arithmetic.rounding)
    return image.float() if image.dtype == torch.float64 else image


def product(image: Tensor, stage: Product) -> Tensor:
    rows, columns = (matrix.to(NUMBER_DTYPES[stage.arithmetic.number]) for matrix in (stage.rows, stage.columns))
    image = image.to(rows.dtype)
    if rows.ndim == 3:
        groups = image.unflatten(-3, (len(rows), -1))
        made: Tensor = rows[:, None] @ (groups @ columns[:, None].mT)
        return made.flatten(-4, -3).float()
    return (rows @ (image @ columns.T)).float()


def weigh(terms: Iterable[tuple[Tensor, Tensor]], bias: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """``sum of pixels * weight``, then the bias, as float32 or as levels; integer arithmetic takes whole weights."""
    total: Tensor | None = None
    whole = arithmetic.number == "int"
    for pixels, weight in terms:
        if whole:
            product = pixels.int() * away_from_zero(weight * 2.0**arithmetic.bits).int()
            total = product if total is None else total + product
        else:
            total = multiply_add(pixels, weight.to(NUMBER_DTYPES[arithmetic.number]), total, arithmetic)
    if total is None:
        raise ValueError("A sum needs at least one term.")
    if whole:
        offset = 0 if bias is None else away_from_zero(bias * 2.0**arithmetic.bits).int()
        return shift_down(total + offset, arithmetic.bits)
    made = to_levels(total if bias is None else total + bias.to(total.dtype), arithmetic.rounding)
    return made.float() if made.dtype == torch.float64 else made


def sparse(image: Tensor, stage: Sparse) -> Tensor:
    flat = image.flatten(-2)
    terms = ((flat[..., index], weight) for index, weight in zip(stage.index.T, stage.weights.T, strict=True))
    made: Tensor = weigh(terms, stage.bias, stage.arithmetic).unflatten(-1, stage.shape)
    return made


def filter_(image: Tensor, stage: Filter) -> Tensor:
    height, width = plain_shape(image)[-2:]
    h, w = stage.weights.shape
    padded = image
    for axis, size, reach in ((-2, height, h // 2), (-1, width, w // 2)):
        index = bordered(size, -reach, size + reach, stage.border).to(image.device)
        inside = (index >= 0)[:, None] if axis == -2 else index >= 0
        padded = torch.where(inside, padded.index_select(axis, index.clamp(min=0)), padded.new_zeros(()))
    terms = (
        (padded[..., i : i + height, j : j + width], stage.weights[i, j])
        for i in range(h)
        for j in range(w)
        if stage.weights[i, j] != 0
    )
    made = weigh(terms, None, stage.arithmetic)
    return color.within(stage, made, image.to(made.dtype))


def gather(image: Tensor, stage: Gather) -> Tensor:
    if isinstance(stage.starts, Slots):
        raise PipelineValueError(f"Expected factors {tuple(stage.starts)} with the image: they are drawn for each.")
    fill = image.new_tensor(stage.fill or (0.0,)).view(-1, 1, 1)
    if stage.channels is not None:
        image = image[..., list(stage.channels), :, :]
        fill = fill if len(fill) == 1 else fill[list(stage.channels)]
    for axis, keep in ((-2, stage.rows), (-1, stage.columns)):
        if keep is not None:
            image = pick(image, axis, keep, fill)
    return image


def pick(image: Tensor, axis: int, keep: Kept, fill: Tensor) -> Tensor:
    """Return the pixels along ``axis`` that are kept; ``fill [C or 1, 1, 1]`` for those outside."""
    size = plain_shape(image)[axis]
    kept = keep.on(size)
    index = kept.index().to(image.device)
    if kept.inside(size):
        return image.index_select(axis, index)
    inside = (index >= 0) & (index < size)
    inside = inside[:, None] if axis == -2 else inside
    return torch.where(inside, image.index_select(axis, index.clamp(0, size - 1)), fill)


def seen(window: Window, size: Sequence[int], around: Around | None) -> Gather:
    """Return the part in a window of an image of ``size`` (rows, columns); it may reach beyond it where ``around`` is
    known.

    Raises:
        InputShapeError: it does otherwise.
    """
    top, left, height, width = window
    inside = top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
    if inside or (around is not None and height > 0 and width > 0):
        border = "zero" if around is None else around.border
        rows, columns = (
            Listed(tuple(bordered(n, start, start + count, border).tolist()))
            for n, start, count in ((size[0], top, height), (size[1], left, width))
        )
        return Gather(rows=rows, columns=columns, outside=not inside, fill=() if around is None else around.fill)
    raise InputShapeError(f"The window {window} (top, left, height, width) does not lie in the image of {tuple(size)}.")


def mix(image: Tensor, stage: Mix) -> Tensor:
    channels = image.unbind(-3)
    planes = [
        weigh(zip(channels, row, strict=True), bias, stage.arithmetic)
        for row, bias in zip(stage.weight, stage.bias, strict=True)
    ]
    return torch.stack(planes, -3)


def table(image: Tensor, stage: Table) -> Tensor:
    index = image.int()
    if stage.values.shape[0] == 1:
        return stage.values[0].index_select(0, index.flatten()).view(image.shape)
    planes = [
        values.index_select(0, plane.flatten()).view(plane.shape)
        for values, plane in zip(stage.values, index.unbind(-3), strict=True)
    ]
    return torch.stack(planes, -3)


def tables(image: Tensor, stage: Tables) -> Tensor:
    chosen = stage.values[int(number(stage.number))]
    return chosen.index_select(0, image.int().flatten()).view(image.shape)


def normalize(image: Tensor, stage: Normalize) -> Tensor:
    mean, std = (value.view(-1, 1, 1) for value in (stage.mean, stage.std))
    return (image - mean) / std


def cast(image: Tensor, stage: Cast) -> Tensor:
    return image.to(stage.dtype)


def apply(image: Tensor, stage: Apply) -> Tensor:
    flat = image.reshape(-1, *image.shape[-3:]).float()
    result: Tensor = stage.module(flat)
    return result.reshape(*image.shape[:-3], *result.shape[1:] if stage.shape is None else stage.shape)


STAGES: dict[type, Callable[[Tensor, Any], Tensor]] = {
    Resample: resample,
    Product: product,
    Sparse: sparse,
    Filter: filter_,
    Gather: gather,
    Mix: mix,
    Table: table,
    Tables: tables,
    Normalize: normalize,
    Cast: cast,
    Apply: apply,
    Blend: blend,
    Stretch: color.stretch,
    Equalize: color.equalize,
    Turn: color.turn,
    Blur: color.blur,
    BoxBlur: color.box_blur,
    Warp: warp,
}
