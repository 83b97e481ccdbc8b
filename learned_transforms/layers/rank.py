"""A layer that takes the value of one rank in a window: medians, minima and maxima."""

import torch
from torch import Tensor

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import bordered
from learned_transforms.ir.ops import Apply, Mix, Shape, Stage
from learned_transforms.layers.base import Layer, Params
from learned_transforms.plain import Fields, integer, one_of

WIDEST = 7
"""Of a window: values of all windows are sorted, which takes memory."""

RANK_BORDERS = ("edge", "reflect", "symmetric")
"""What lies beyond the image: its nearest pixel, or its mirror image without and with the outermost pixels."""

WHOLE = Arithmetic("float32", rounding="half_up")


class Ranking(Layer):
    """Take the value of one rank among those of the square window around each pixel, in each channel, at any size.

    Args:
        window: rows and columns of it, odd, 3 to 7.
        rank: 0 for the least value, ``window ** 2 // 2`` for the median.
        border: one of ``RANK_BORDERS``.
    """

    options = Fields({"window": integer(3, WIDEST), "rank": integer(0, WIDEST**2 - 1), "border": one_of(*RANK_BORDERS)})
    selected = ("window", "rank", "border")

    def __init__(self, window: int, rank: int, border: str) -> None:
        super().__init__()
        if window % 2 == 0 or not 3 <= window <= WIDEST or not 0 <= rank < window**2 or border not in RANK_BORDERS:
            raise PipelineValueError(
                f"Expected an odd window of 3 to {WIDEST}, a rank below its square, and a border out of "
                f"{', '.join(RANK_BORDERS)}; got {window}, {rank} and {border!r}."
            )
        self.window, self.rank, self.border = window, rank, border

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        identity = torch.eye(shape[0], dtype=torch.float32)
        rounding = self.effective(True) if relaxed else WHOLE
        return [Apply(self, shape), Mix(identity, torch.zeros(shape[0]), rounding)]

    def forward(self, image: Tensor) -> Tensor:
        """Images ``[..., H, W]``."""
        return windows(image, self.window, self.border).kthvalue(self.rank + 1, -1).values


def windows(image: Tensor, window: int, border: str) -> Tensor:
    """Return the values of the window around each pixel: ``[..., H, W]`` to ``[..., H, W, window ** 2]``."""
    reach = window // 2
    for axis in (-2, -1):
        size = image.shape[axis]
        image = image.index_select(axis, bordered(size, -reach, size + reach, border).to(image.device))
    return image.unfold(-2, window, 1).unfold(-2, window, 1).flatten(-2)
