"""Layers: modules with learned weights and a stated arithmetic, lowered to plan stages for one shape.

A layer knows how to use numbers, never which numbers: kernels, channel weights and tables come from training.
What a layer is told per image (size, flip) comes in as ``params``.
"""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from learned_transforms.errors import PaddingError, PipelineValueError, check_channels
from learned_transforms.images.formats import HALVES
from learned_transforms.installed import fuses, grouping, sums_fused, takes_rows_first
from learned_transforms.ir.arithmetic import SMOOTH, Arithmetic, Order
from learned_transforms.ir.indexing import BORDERS as PADS
from learned_transforms.ir.indexing import Keep, Mirrored, Nearest, Padded, Part
from learned_transforms.ir.interpolation import MOST_WHOLE, Axis
from learned_transforms.ir.ops import (
    BORDERS,
    Around,
    Cast,
    Filter,
    Gather,
    Mix,
    Normalise,
    Pick,
    Resize,
    Shape,
    Stage,
    Table,
)
from learned_transforms.ir.passes import at
from learned_transforms.ir.sizing import Sizing
from learned_transforms.layers.size_rules import SizeRule, is_rule
from learned_transforms.plain import LONGEST, Fields, integer, listed, maybe, number, one_of, switch

Params = Mapping[str, Any]

UNCHANGING = (bool, int, float, str, Arithmetic, type(None))
EMPTY = (OrderedDict, dict, set)
"""Of the attributes of a module, what a copy shares, and what is mostly empty."""


class Layer(nn.Module):
    """Base of all layers.

    Weights are float64 parameters, frozen until training asks for them; they keep their dtype when a model that
    holds them is cast, since float16 kernels would give other pixels. Moving between devices works as usual.

    Attributes:
        arithmetic: how sums are computed (selected by validation), or None where nothing is summed.
        nested: weights lie in submodules, made by the constructor and filled in afterwards.
        whole: names of weights that may be integers, with their dtype.
        options: what a file may give to the constructor besides weights.
        takes: what a file may give as params.
        pointwise: it maps each pixel by itself, wherever that lies.
        fixed: it lowers by :meth:`stages`, for each size of images, or each that it takes; others by :meth:`free`.
        picked: names of weights that were learned elsewhere, and selected for what this imitates.
    """

    arithmetic: Arithmetic | None = None
    pointwise: ClassVar[bool] = False
    fixed: ClassVar[bool] = True
    options: ClassVar[Fields] = Fields({})
    takes: ClassVar[Fields] = Fields({})
    nested: ClassVar[bool] = False
    whole: ClassVar[Mapping[str, torch.dtype]] = {}
    picked: tuple[str, ...] = ()

    def learn(self, **weights: Tensor) -> None:
        """Register ``weights`` as this layer's learned numbers."""
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        """Lower for images of ``shape`` (C, H, W); ``relaxed`` leaves every rounding out.

        Any layer's params may have ``channels``, the numbers of them that images may have: the network checks it.
        """
        return at(self.free(shape[0], params, relaxed), shape)

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        """Lower for images of any size, where they are not ``fixed``: rules in the stages say what follows from it."""
        return self.stages((channels, 1, 1), params, relaxed)

    def by_size(self, params: Params) -> bool:
        """Whether it lowers by :meth:`stages` under such params."""
        return self.fixed

    def elastic(self, params: Params) -> bool:
        """Whether it gives images of any size one size."""
        return False

    def around(self, channels: int, params: Params) -> Around | None:
        """What lies around images, for windows of them that reach beyond."""
        return None

    def effective(self, relaxed: bool) -> Arithmetic:
        """The arithmetic to lower with, as far as it depends on the installed Pillow and torch; relaxed, plain float32.

        Where torch groups products in a way that is not known, all of them are fused.
        """
        if relaxed or self.arithmetic is None:
            return SMOOTH
        if self.arithmetic.tall_first:
            return replace(self.arithmetic, tall_first=takes_rows_first())
        if self.arithmetic.grouped:
            groups = grouping()
            return replace(self.arithmetic, fma=groups != 1, grouped=groups or 0)
        return self.arithmetic

    def describe(self) -> dict[str, Any]:
        """Constructor arguments that are not tensors, as plain values, for weight files."""
        return {} if self.arithmetic is None else {"arithmetic": self.arithmetic.to_json()}

    def digest(self) -> str:
        """A hash of all that it is: its class, its description, and every bit of its weights."""
        found = hashlib.sha256(json.dumps([type(self).__name__, self.describe()], sort_keys=True).encode())
        for name, value in sorted(self.named_parameters()):
            found.update(repr((name, value.dtype, tuple(value.shape))).encode() + raw(value))
        return found.hexdigest()

    def provenance(self) -> dict[str, str]:
        """Where each number comes from: ``learned``, ``selected`` or ``given``."""
        marks = {name: "selected" if name in self.picked else "learned" for name, _ in self.named_parameters()}
        return marks if self.arithmetic is None else {**marks, "arithmetic": "selected"}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Layer":
        """As nn.Module's, which is slow on values that never change, and on hooks that are not there."""
        made = self.__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            if type(value) in EMPTY and not value:
                made.__dict__[name] = type(value)()
            else:
                made.__dict__[name] = value if isinstance(value, UNCHANGING) else copy.deepcopy(value, memo)
        return made

    def _apply(self, fn: Any, recurse: bool = True) -> "Layer":
        super()._apply(lambda t: t.to(fn(t.new_empty(0)).device), recurse)  # type: ignore[no-untyped-call]
        return self


def raw(value: Tensor) -> bytes:
    """The values of a tensor, row by row, as memory."""
    # One value alone counts as contiguous, whatever its stride.
    rows = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return rows.flatten().view(torch.uint8).numpy().tobytes()


SUMMED = Fields({"arithmetic": lambda value: isinstance(value, Arithmetic)})
"""The options of a layer that sums, and has no others."""

MOST_CHANNELS = 256
"""Of an image in a file's description."""

FILLED = {"border": one_of(*PADS), "fill": listed(number, 1, MOST_CHANNELS)}
"""The params that say what lies around an image."""


def is_size(value: Any) -> bool:
    """Whether plain values are what a resize takes as its size."""
    return listed(integer(1), 1, 2)(value) or is_rule(value)


RESIZED = Fields({"size": is_size, "max_size": maybe(integer(1)), "antialias": switch}, ("max_size", "antialias"))
"""The params of a resize."""

MOST_PIECES, MOST_TERMS, MOST_SHIFT = 64, 64, 64
"""Of a kernel, in input pixels; so that it costs no more than it is worth to evaluate it."""


def check_weight(name: str, value: Tensor, dimensions: int, length: int | None = None) -> None:
    """Require a weight of so many dimensions and, if given, of such a length along the first."""
    if value.ndim != dimensions or (length is not None and len(value) != length) or not value.numel():
        size = "" if length is None else f", {length} along the first"
        raise PipelineValueError(f"Expected {name} of {dimensions} dimensions{size}, got shape {tuple(value.shape)}.")


MOST_SUM = 2**22
"""Of the levels that a map of channels gives: whole sums of 22 bits hold no more."""


def check_mix(weight: Tensor, bias: Tensor) -> None:
    """Require the weight and bias of a linear map of channels."""
    check_weight("weight", weight, 2)
    check_weight("bias", bias, 1, len(weight))
    if not (255 * weight.abs().double().sum(1) + bias.abs()).max() < MOST_SUM:
        raise PipelineValueError(f"Expected weights and bias that give sums of less than {MOST_SUM:,} levels.")


class Resampling(Layer):
    """Resize with a learned kernel, at any size; see ``interpolation.evaluate`` for what its numbers mean.

    Params: ``size`` (rows, columns) of the output, or (length of the shorter side,), as in torchvision; then
    ``max_size``, if given, bounds the longer side; or a :class:`~learned_transforms.layers.size_rules.SizeRule` as
    plain values. ``antialias`` (True unless given): stretch the kernel if shrinking.

    Args:
        kernel: ``[support, degree + 1]``, one row of coefficients per unit interval, constant term first.
        shift: ``[2]``, displacement of the centres in input pixels, down and right.
        width: input pixels to one unit of the kernel, where nothing is stretched: 1, or half for a box.
    """

    fixed = False
    kernel: nn.Parameter
    shift: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "width": number}, ("width",))
    takes = RESIZED

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

    def elastic(self, params: Params) -> bool:
        return not ruled(params) and sizing_of(params).fixed

    def by_size(self, params: Params) -> bool:
        return self.fixed or ruled(params)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return super().stages(shape, settled(params, shape), relaxed)

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
        """How the installed torch sums floats, up to ``small`` rows and columns or beyond; ``plain``: unstretched."""
        linear, small = len(self.kernel) == 1, 0 if large else arithmetic.small
        apart = large and not (channels == 3 and torch.get_num_threads() == 1)
        fused = fuses("bilinear" if linear else "bicubic", apart)
        behind = sums_fused(apart) if linear else fused
        order: Order = "joint" if linear and not apart else "second" if behind else "taps"
        return replace(arithmetic, fma=fused, small=small, order=order if plain else "taps")


def sizing_of(params: Params) -> Sizing:
    """The rule for the size that a resize with such params gives."""
    return Sizing(tuple(params["size"]), params.get("max_size"), params.get("longest"))


def ruled(params: Params) -> bool:
    """Whether the size that a resize gives follows from a rule that was learned."""
    return isinstance(params["size"], Mapping)


def settled(params: Params, shape: Shape) -> Params:
    """The params of a resize, with the size that its rule gives for images of a shape."""
    return {**params, "size": SizeRule.from_json(params["size"])(shape[1:])} if ruled(params) else params


class Picking(Layer):
    """Resize by taking one pixel for each, at any size; see ``indexing.Nearest``. Params: those of :class:`Resampling`.

    Args:
        offset: ``[1]``, where in an output pixel the pixel that is taken lies: 0 at its start, 0.5 in its middle.
    """

    fixed = False
    offset: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED
    takes = RESIZED

    def __init__(self, offset: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("offset", offset, 1, 1)
        if offset.abs() > 1 or arithmetic.number == "int":
            raise PipelineValueError(f"Expected an offset of up to 1, in floats, got {offset.tolist()}, {arithmetic}.")
        self.learn(offset=offset)
        self.arithmetic = arithmetic

    def elastic(self, params: Params) -> bool:
        return not ruled(params) and sizing_of(params).fixed

    def by_size(self, params: Params) -> bool:
        return self.fixed or ruled(params)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return super().stages(shape, settled(params, shape), relaxed)

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        nearest = Nearest(1, float(self.offset.detach()), self.arithmetic, Keep(0, 1, 1))
        return [Pick(sizing_of(params), nearest)]


class Mixing(Layer):
    """A learned linear map of the channels: ``weight [C_out, C_in]``, ``bias [C_out]`` in levels (or float units).

    Params: ``copies``, how often to repeat the output channels (3 for a grayscale image that stays RGB).
    Where the map expects several channels, one-channel images pass as they are; ``copy_gray`` has them repeated too.

    Raises:
        ValueError: weight and bias do not fit each other.
    """

    fixed = False
    weight: nn.Parameter
    bias: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED
    takes = Fields({"copies": integer(1, MOST_CHANNELS), "copy_gray": switch}, ("copies", "copy_gray"))

    def __init__(self, weight: Tensor, bias: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_mix(weight, bias)
        self.learn(weight=weight, bias=bias)
        self.arithmetic = arithmetic

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        outputs, inputs = self.weight.shape
        check_channels(shape[0], (1, inputs) if inputs > 1 else (1,))
        mixed = shape[0] == inputs
        stages: list[Stage] = [Mix(self.weight, self.bias, self.effective(relaxed))] if mixed else []
        copies = params.get("copies", 1) if mixed or params.get("copy_gray", True) else 1
        if copies > 1 or not mixed:  # One copy of a gray image is a copy all the same, as in torchvision.
            stages.append(Gather(channels=tuple(range(outputs if mixed else 1)) * copies))
        return stages


class Filtering(Layer):
    """Correlation with a learned window, at any size; see ``ops.Filter``.

    Args:
        weights: ``[h, w]``, both odd.
        border: one of ``ops.BORDERS``.
    """

    fixed = False

    weights: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "border": one_of(*BORDERS)})

    def __init__(self, weights: Tensor, border: str, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("weights", weights, 2)
        if any(length % 2 == 0 for length in weights.shape) or not weights.any() or border not in BORDERS:
            raise PipelineValueError(
                f"Expected a window of odd height and width, not all 0, and a border out of {', '.join(BORDERS)}; "
                f"got {tuple(weights.shape)} and {border!r}."
            )
        self.learn(weights=weights)
        self.border, self.arithmetic = border, arithmetic

    def describe(self) -> dict[str, Any]:
        return {"border": self.border, **super().describe()}

    def provenance(self) -> dict[str, str]:
        return {**super().provenance(), "border": "selected"}

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return [Filter(self.weights, self.border, self.effective(relaxed))]


class Lookup(Layer):
    """A learned table from levels to floats, or to levels: ``values [C or 1, 256]``, for uint8 input.

    Args:
        values: float32, float16 or bfloat16, or uint8 for a table of levels.
    """

    fixed = False
    values: nn.Parameter
    pointwise = True
    whole: ClassVar[Mapping[str, torch.dtype]] = {"values": torch.uint8}

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        if values.ndim != 2 or values.shape[1] != 256 or not len(values):
            raise PipelineValueError(f"Expected values of shape [channels or 1, 256], got {tuple(values.shape)}.")
        self.learn(values=values)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if self.values.shape[0] != 1:
            check_channels(shape[0], (self.values.shape[0],))
        if self.values.dtype == torch.uint8:
            if relaxed:
                raise PipelineValueError(
                    "A table of levels passes no gradients; a pipeline with one cannot be trained."
                )
            return [Table(self.values.detach())]
        half: list[Stage] = [Cast(self.values.dtype)] if self.values.dtype in HALVES else []
        if not relaxed:
            return [Table(self.values if half else self.values.float())]
        # Between its ends, a table of a smooth map is close to the line through them.
        low, high = self.values[:, 0].float(), self.values[:, -1].float()
        slope = ((high - low) / 255).expand(shape[0])
        return [Mix(torch.diag(slope), low.expand(shape[0]), SMOOTH), *half]


class Casting(Layer):
    """Round float32 to another dtype. Params: ``dtype``, ``"float16"`` or ``"bfloat16"``."""

    fixed = False
    pointwise = True

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        return [Cast(getattr(torch, params["dtype"]))]


class Flipping(Layer):
    """Mirror the image. Params: ``axis``, ``"horizontal"`` or ``"vertical"``."""

    fixed = False
    takes = Fields({"axis": one_of("horizontal", "vertical")})

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        axis = params["axis"]
        if axis == "horizontal":
            return [Gather(columns=Mirrored())]
        if axis == "vertical":
            return [Gather(rows=Mirrored())]
        raise PipelineValueError(f"Expected a flip along 'horizontal' or 'vertical', got {axis!r}.")


class Cropping(Layer):
    """Cut out a part of the image. Params: ``size`` (rows, columns); what lies outside the image is 0.

    ``start`` (top, left), if given, is where; negative numbers count from the end. Without it, it is the middle.
    """

    fixed = False
    takes = Fields({"size": listed(integer(1), 2), "start": maybe(listed(integer(-LONGEST), 2))}, ("start",))

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if params.get("start") is None:
            rows, columns = (Part("middle", 0, count) for count in params["size"])
        else:
            starts = zip(params["start"], params["size"], strict=True)
            rows, columns = (Part("end" if start < 0 else "start", start, count) for start, count in starts)
        return [Gather(rows=rows, columns=columns)]


class Windowing(Layer):
    """Use a window of the image that is drawn for each; it may reach beyond the image.

    Params: ``size`` of the window; ``border`` and ``fill`` as those of :class:`Padding`. ``top``, ``left``, ``height``
    and ``width``: where it is and how large; without them, it is cut out before, and comes with the image.
    """

    fixed = False
    takes = Fields({"size": listed(integer(1), 2), **FILLED})

    def around(self, channels: int, params: Params) -> Around | None:
        return Around(params["border"], fill_of(params["fill"], channels))

    def elastic(self, params: Params) -> bool:
        return True

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if "top" not in params:
            height, width = params["size"]
            return [Gather(rows=Keep(0, 1, height), columns=Keep(0, 1, width), outside=True)]
        axes = ((params["top"], params["height"]), (params["left"], params["width"]))
        rows, columns = (Part("start", start, count, params["border"]) for start, count in axes)
        return [Gather(rows=rows, columns=columns, fill=filled(params, channels))]


class Padding(Layer):
    """Add pixels around the image.

    Params: ``padding`` (left, top, right, bottom), ``border`` out of ``indexing.BORDERS``; for ``zero``, the ``fill``:
    one number, or one a channel. ``limited``: refuse to mirror more than the image has.

    Raises:
        PaddingError: there would be more.
    """

    fixed = False
    takes = Fields({"padding": listed(integer(-LONGEST), 4), **FILLED, "limited": switch})

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        left, top, right, bottom = params["padding"]
        rows, columns = Padded(top, bottom, params["border"]), Padded(left, right, params["border"])
        fill = filled(params, channels) if max(params["padding"]) > 0 else ()
        return [Gather(rows=rows, columns=columns, fill=fill, limited=params["limited"])]


def fill_of(fill: Sequence[float], channels: int) -> tuple[float, ...]:
    """A value for each channel, of one number or one a channel."""
    if len(fill) not in (1, channels):
        raise PaddingError(f"Expected a fill of one number, or of {channels}, one a channel; got {len(fill)}.")
    return tuple(fill) * (channels // len(fill))


def filled(params: Params, channels: int) -> tuple[float, ...]:
    """The fill that params have for each channel; none, where something else lies around the image."""
    return fill_of(params["fill"], channels) if params["border"] == "zero" else ()


class Arranging(Layer):
    """Copy channels. Params: ``order``, the channel to take for each of the output; ``gray_only``: of gray images only.

    Raises:
        ChannelsError: images of two channels, under ``gray_only``.
    """

    fixed = False
    takes = Fields(
        {"order": listed(integer(0, MOST_CHANNELS - 1), 1, MOST_CHANNELS), "gray_only": switch}, ("gray_only",)
    )

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if params.get("gray_only"):
            if shape[0] >= 3:
                return []
            check_channels(shape[0], (1,))
        return [Gather(channels=tuple(params["order"]))]


class Normalising(Layer):
    """Subtract a mean and divide by a standard deviation.

    Params: ``mean``, ``std``: one number, or one a channel. One-channel images are repeated for several numbers, unless
    ``copy_gray`` is False. ``dtype`` of images that are not float32, ``"float16"`` or ``"bfloat16"``.

    Raises:
        ChannelsError: images of another number of channels.
    """

    fixed = False
    takes = Fields({name: listed(number, 1, MOST_CHANNELS) for name in ("mean", "std")})

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        lengths = {len(params["mean"]), len(params["std"])}
        channels = max(lengths) if shape[0] == 1 and params.get("copy_gray", True) else shape[0]
        for length in lengths - {1, channels}:
            check_channels(shape[0], (length,))
        copies: list[Stage] = [] if channels == shape[0] else [Gather(channels=(0,) * channels)]
        dtype = getattr(torch, params.get("dtype", "float32"))
        mean, std = (torch.tensor(params[name], dtype=dtype).expand(channels) for name in ("mean", "std"))
        return [*copies, Normalise(mean, std)]
