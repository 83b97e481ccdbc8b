"""Layers that look at one pixel at a time."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError, check_channels
from learned_transforms.images.formats import HALVES
from learned_transforms.ir.arithmetic import SMOOTH, Arithmetic
from learned_transforms.ir.ops import Cast, Gather, Mix, Normalize, Shape, Stage, Table, Tables
from learned_transforms.layers.base import MOST_CHANNELS, MOST_SUM, SUMMED, Layer, Params, check_weight
from learned_transforms.plain import Fields, finite, integer, list_of, switch


def check_mix(weight: Tensor, bias: Tensor) -> None:
    """Require the weight and bias of a linear map of channels."""
    check_weight("weight", weight, 2)
    check_weight("bias", bias, 1, len(weight))
    if not (255 * weight.abs().double().sum(1) + bias.abs()).max() < MOST_SUM:
        raise PipelineValueError(f"Expected weights and bias that give sums of less than {MOST_SUM:,} levels.")


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


class Selecting(Layer):
    """Map levels by one of several tables, ``values [K, 256]``, uint8. Params: ``finite``, of the table."""

    fixed = False
    values: nn.Parameter
    pointwise = True

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.learn(values=values)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError("A table of levels passes no gradients; a pipeline with one cannot be trained.")
        return [Tables(self.values.detach(), params["number"])]


class Casting(Layer):
    """Round float32 to another dtype. Params: ``dtype``, ``"float16"`` or ``"bfloat16"``."""

    fixed = False
    pointwise = True

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        return [Cast(getattr(torch, params["dtype"]))]


class Arranging(Layer):
    """Copy channels. Params: ``order``, the channel to take for each of the output; ``gray_only``: of gray images only.

    Raises:
        ChannelsError: images of two channels, under ``gray_only``.
    """

    fixed = False
    takes = Fields(
        {"order": list_of(integer(0, MOST_CHANNELS - 1), 1, MOST_CHANNELS), "gray_only": switch}, ("gray_only",)
    )

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if params.get("gray_only"):
            if shape[0] >= 3:
                return []
            check_channels(shape[0], (1,))
        return [Gather(channels=tuple(params["order"]))]


class Normalizing(Layer):
    """Subtract a mean and divide by a standard deviation.

    Params: ``mean``, ``std``: one number, or one a channel. One-channel images are repeated for several numbers, unless
    ``copy_gray`` is False. ``dtype`` of images that are not float32, ``"float16"`` or ``"bfloat16"``.

    Raises:
        ChannelsError: images of another number of channels.
    """

    fixed = False
    stored = "Normalising"
    takes = Fields({name: list_of(finite, 1, MOST_CHANNELS) for name in ("mean", "std")})

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        lengths = {len(params["mean"]), len(params["std"])}
        channels = max(lengths) if shape[0] == 1 and params.get("copy_gray", True) else shape[0]
        for length in lengths - {1, channels}:
            check_channels(shape[0], (length,))
        copies: list[Stage] = [] if channels == shape[0] else [Gather(channels=(0,) * channels)]
        dtype = getattr(torch, params.get("dtype", "float32"))
        mean, std = (torch.tensor(params[name], dtype=dtype).expand(channels) for name in ("mean", "std"))
        return [*copies, Normalize(mean, std)]
