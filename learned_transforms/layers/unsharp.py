"""A layer that compares an image with its smoothed self, and adds what a table says of the difference."""

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import FILTER_BORDERS, Apply, BoxBlur, Filter, Mix, Shape, Stage
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import choose
from learned_transforms.layers.base import SUMMED, Layer, Params, check_weight
from learned_transforms.layers.cube import HIGHEST
from learned_transforms.plain import Fields, maybe, one_of

DIFFERENCES = 2 * HIGHEST + 1
"""Of two levels."""

PASSES = 3
"""Boxes along each axis, of which Pillow makes a Gaussian blur."""

MOST_SIGMA = 64.0
WHOLE = Arithmetic("float32", rounding="half_even")


class UnsharpMasking(Layer):
    """Add to each level what a table says of how far it lies above its smoothed surroundings, at any size.

    That sharpens, with a threshold or without, or smoothes. Images are uint8 levels, smoothed by a window or by boxes.

    Args:
        changes: ``[511]``, in levels, for levels that lie 255 below to 255 above; sums are rounded half to even.
        window: ``[h, w]``, both odd, that smoothes; see ``ops.Filter``.
        sigma: ``[1]``, of boxes that smooth, in pixels; see ``ops.BoxBlur``. Either this, or a window is given.
        border: one of ``ops.FILTER_BORDERS``, of the window.
        arithmetic: of the window, which rounds to levels.
    """

    changes: nn.Parameter
    window: nn.Parameter
    sigma: nn.Parameter
    options = Fields({"border": maybe(one_of(*FILTER_BORDERS)), **SUMMED.checks}, ("border", "arithmetic"))
    selected = ("border",)

    def __init__(
        self,
        changes: Tensor,
        window: Tensor | None = None,
        sigma: Tensor | None = None,
        border: str | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        super().__init__()
        check_weight("changes", changes, 1, DIFFERENCES)
        given = {"window": window, "sigma": sigma}
        own = {name: value for name, value in given.items() if value is not None}
        if len(own) != 1 or {border is None, arithmetic is None} != {window is None}:
            raise PipelineValueError(
                "Expected a window with a border and an arithmetic, or the sigma of boxes; "
                f"got {', '.join(own) or 'neither'}, {border!r} and {arithmetic}."
            )
        if window is not None:
            check_weight("window", window, 2)
            if any(length % 2 == 0 for length in window.shape) or border not in FILTER_BORDERS:
                raise PipelineValueError(
                    f"Expected a window of odd height and width, and a border out of {', '.join(FILTER_BORDERS)}; "
                    f"got {tuple(window.shape)} and {border!r}."
                )
        if sigma is not None:
            check_weight("sigma", sigma, 1, 1)
            if not 0 < float(sigma) <= MOST_SIGMA:
                raise PipelineValueError(f"Expected a sigma above 0 and up to {MOST_SIGMA}, got {sigma.tolist()}.")
        self.learn(changes=changes, **own)
        self.border, self.arithmetic = border, arithmetic

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError(
                "A table of differences passes no gradients; a pipeline with one cannot be trained."
            )
        same = torch.eye(shape[0], dtype=torch.float32), torch.zeros(shape[0])
        return [Apply(self, None), Mix(*same, WHOLE)]

    def forward(self, image: Tensor) -> Tensor:
        """Levels ``[N, C, H, W]``, as floats, to unrounded ones."""
        levels = image.to(torch.uint8)
        difference = levels.int() - self.smoothed(levels).int() + HIGHEST
        return image + self.changes.to(image)[difference]

    def smoothed(self, levels: Tensor) -> Tensor:
        """Return what uint8 levels ``[N, C, H, W]`` are compared with."""
        plan = Plan(levels.shape[1], None, (self.smoothing(),), None)
        chosen = choose(plan, levels.device)
        where = levels.device if chosen.there else torch.device("cpu")
        smoothed: Tensor = chosen.compile(plan.to(where)).bind(levels)(levels)
        return smoothed

    def smoothing(self) -> Stage:
        """Return the stage that smoothes."""
        if self.border is None or self.arithmetic is None:
            return BoxBlur(float(self.sigma), PASSES)
        return Filter(self.window, self.border, self.arithmetic)
