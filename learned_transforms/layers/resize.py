"""Resizes at any size: by a learned kernel, or of one pixel for each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError
from learned_transforms.installed import fuses, sums_fused
from learned_transforms.ir.arithmetic import Arithmetic, Order
from learned_transforms.ir.indexing import Keep, Nearest
from learned_transforms.ir.interpolation import MOST_WHOLE, Axis
from learned_transforms.ir.ops import Pick, Resize, Shape, Stage
from learned_transforms.ir.sizing import Sizing
from learned_transforms.layers.base import MOST_PIECES, MOST_SHIFT, MOST_TERMS, SUMMED, Layer, Params, check_weight
from learned_transforms.layers.size_rules import SizeRule, is_rule
from learned_transforms.plain import Fields, finite, integer, list_of, maybe, switch


def is_size(value: Any) -> bool:
    """Return whether plain values are what a resize takes as its size."""
    return list_of(integer(1), 1, 2)(value) or is_rule(value)


RESIZED = Fields({"size": is_size, "max_size": maybe(integer(1)), "antialias": switch}, ("max_size", "antialias"))
"""The params of a resize."""


class Resizing(Layer):
    """Base of layers that resize: to a size, or to one that follows from the image's by a rule."""

    fixed = False
    takes = RESIZED

    def elastic(self, params: Params) -> bool:
        return not ruled(params) and sizing_of(params).fixed

    def by_size(self, params: Params) -> bool:
        return self.fixed or ruled(params)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return super().stages(shape, with_size(params, shape), relaxed)


class Resampling(Resizing):
    """Resize with a learned kernel, at any size; see ``interpolation.evaluate`` for what its numbers mean.

    Params: ``size`` (rows, columns) of the output, or (length of the shorter side,), as in torchvision; then
    ``max_size``, if given, bounds the longer side; or a :class:`~learned_transforms.layers.size_rules.SizeRule` as
    plain values. ``antialias`` (True unless given): stretch the kernel if shrinking.

    Args:
        kernel: ``[support, degree + 1]``, one row of coefficients per unit interval, constant term first.
        shift: ``[2]``, displacement of the centres in input pixels, down and right.
        width: input pixels to one unit of the kernel, where nothing is stretched: 1, or half for a box.
    """

    kernel: nn.Parameter
    shift: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "width": finite}, ("width",))

    def __init__(self, kernel: Tensor, shift: Tensor, arithmetic: Arithmetic, width: float = 1.0) -> None:
        super().__init__()
        check_weight("kernel", kernel, 2)
        if kernel.shape[0] > MOST_PIECES or kernel.shape[1] > MOST_TERMS:
            raise PipelineValueError(
                f"Expected a kernel of up to {MOST_PIECES} pieces of {MOST_TERMS} terms, got {tuple(kernel.shape)}."
            )
        if not 0 < kernel.abs().max() < MOST_WHOLE:
            raise PipelineValueError("Expected coefficients of a kernel that are not all 0, and below 2^30.")
        if not 0 < width <= 1:
            raise PipelineValueError(f"Expected a width above 0 and up to 1, got {width}.")
        check_weight("shift", shift, 1, 2)
        if shift.abs().max() > MOST_SHIFT:
            raise PipelineValueError(f"Expected shifts of up to {MOST_SHIFT} pixels, got {shift.tolist()}.")
        # Backends evaluate kernels in float64, whatever type they were written in.
        kernel, shift = kernel.double(), shift.double()
        self.learn(kernel=kernel, shift=shift)
        self.arithmetic, self.width = arithmetic, width

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **({} if self.width == 1 else {"width": self.width})}

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        arithmetic, antialias = self.effective(relaxed), params.get("antialias", True)
        if arithmetic.grouped and not antialias:
            arithmetic = replace(arithmetic, grouped=0)
        larger = None
        if arithmetic.small:
            plain = self.width == 1 and not antialias
            arithmetic, larger = (self.as_torch(arithmetic, channels, large, plain) for large in (False, True))
        rows, columns = (
            Axis(self.kernel, shift, 1, arithmetic, antialias=antialias, width=self.width) for shift in self.shift
        )
        return [Resize(sizing_of(params), rows, columns, arithmetic, larger, not self.shift.any())]

    def as_torch(self, arithmetic: Arithmetic, channels: int, large: bool, plain: bool) -> Arithmetic:
        """Return how the installed torch sums floats, up to ``small`` rows and columns or beyond; ``plain``:
        unstretched."""
        linear, small = len(self.kernel) == 1, 0 if large else arithmetic.small
        apart = large and not (channels == 3 and torch.get_num_threads() == 1)
        fused = fuses("bilinear" if linear else "bicubic", apart)
        behind = sums_fused(apart) if linear else fused
        order: Order = "joint" if linear and not apart else "second" if behind else "taps"
        return replace(arithmetic, fma=fused, small=small, order=order if plain else "taps")


def sizing_of(params: Params) -> Sizing:
    """Return the rule for the size that a resize with such params gives."""
    return Sizing(tuple(params["size"]), params.get("max_size"), params.get("longest"))


def ruled(params: Params) -> bool:
    """Return whether the size that a resize gives follows from a rule that was learned."""
    return isinstance(params["size"], Mapping)


def with_size(params: Params, shape: Shape) -> Params:
    """Return the params of a resize, with the size that its rule gives for images of a shape."""
    return {**params, "size": SizeRule.from_json(params["size"])(shape[1:])} if ruled(params) else params


class Picking(Resizing):
    """Resize by taking one pixel for each, at any size; see ``indexing.Nearest``. Params: those of :class:`Resampling`.

    Args:
        offset: ``[1]``, where in an output pixel the pixel that is taken lies: 0 at its start, 0.5 in its middle.
    """

    offset: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED

    def __init__(self, offset: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("offset", offset, 1, 1)
        if offset.abs() > 1 or arithmetic.number == "int":
            raise PipelineValueError(f"Expected an offset of up to 1, in floats, got {offset.tolist()}, {arithmetic}.")
        self.learn(offset=offset)
        self.arithmetic = arithmetic

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        nearest = Nearest(1, float(self.offset.detach()), self.arithmetic, Keep(0, 1, 1))
        return [Pick(sizing_of(params), nearest)]
