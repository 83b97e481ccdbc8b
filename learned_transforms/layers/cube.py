"""A layer that looks colors up in a table of three axes, with trilinear interpolation between its nodes."""

from itertools import product

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError, check_channels
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Apply, Mix, Shape, Stage
from learned_transforms.layers.base import MOST_CHANNELS, MOST_SUM, SUMMED, Layer, Params, check_weight

HIGHEST = 255
MOST_NODES = 129
"""Along an axis: more lie closer than two levels."""


class ColorCube(Layer):
    """Interpolate between the nodes of a table of colors, which lie evenly along each channel of the image.

    Args:
        nodes: ``[C_out, N0, N1, N2]``, levels, by the levels of the three input channels; 2 to 129 nodes an axis.
        arithmetic: float; its rounding turns the result into uint8 levels.
    """

    pointwise = True
    nodes: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED

    def __init__(self, nodes: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("nodes", nodes, 4)
        if len(nodes) > MOST_CHANNELS or not all(2 <= count <= MOST_NODES for count in nodes.shape[1:]):
            raise PipelineValueError(
                f"Expected up to {MOST_CHANNELS} outputs and 2 to {MOST_NODES} nodes an axis, got {tuple(nodes.shape)}."
            )
        if not nodes.abs().max() < MOST_SUM:
            raise PipelineValueError(f"Expected nodes of less than {MOST_SUM:,} levels.")
        self.learn(nodes=nodes)
        self.arithmetic = arithmetic

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_channels(shape[0], (3,))
        outputs = len(self.nodes)
        same = torch.eye(outputs, dtype=torch.float32), torch.zeros(outputs, dtype=torch.float32)
        return [Apply(self, (outputs, *shape[1:])), Mix(*same, self.effective(relaxed))]

    def forward(self, image: Tensor) -> Tensor:
        """Colors ``[N, 3, H, W]``, float32 levels, to ``[N, C_out, H, W]``."""
        counts = self.nodes.shape[1:]
        table = self.nodes.to(image).flatten(1)
        lows, parts = [], []
        for channel, count in zip(image.unbind(1), counts, strict=True):
            place = channel * ((count - 1) / HIGHEST)
            lows.append(place.detach().long().clamp(0, count - 2))
            parts.append(place - lows[-1])
        made = table.new_zeros(len(table), *parts[0].shape)
        for corner in product((0, 1), repeat=3):
            weight = torch.ones_like(parts[0])
            index = torch.zeros_like(lows[0])
            for end, low, part, count in zip(corner, lows, parts, counts, strict=True):
                weight = weight * (part if end else 1 - part)
                index = index * count + low + end
            made = made + table[:, index] * weight
        return made.transpose(0, 1)
