"""Correlation with a learned window."""

from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import FILTER_BORDERS, Filter, Shape, Stage
from learned_transforms.layers.base import SUMMED, Layer, Params, check_weight
from learned_transforms.plain import Fields, one_of


class Filtering(Layer):
    """Correlation with a learned window, at any size; see ``ops.Filter``.

    Args:
        weights: ``[h, w]``, both odd.
        border: one of ``ops.FILTER_BORDERS``.
    """

    fixed = False

    weights: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "border": one_of(*FILTER_BORDERS)})
    selected = ("border",)

    def __init__(self, weights: Tensor, border: str, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("weights", weights, 2)
        if any(length % 2 == 0 for length in weights.shape) or not weights.any() or border not in FILTER_BORDERS:
            raise PipelineValueError(
                "Expected a window of odd height and width, not all 0, and a border out of "
                f"{', '.join(FILTER_BORDERS)}; got {tuple(weights.shape)} and {border!r}."
            )
        self.learn(weights=weights)
        self.border, self.arithmetic = border, arithmetic

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return [Filter(self.weights, self.border, self.effective(relaxed))]
