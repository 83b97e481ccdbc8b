"""Layers of color: blends, statistics that make tables, hue, blur. See ``kernels.color`` for their arithmetic."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, eye, nn, zeros

from learned_transforms.errors import PipelineValueError, check_channels
from learned_transforms.installed import sums_windows_in_order
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import BORDERS
from learned_transforms.ir.ops import BLURS, Blend, Blur, Equalize, Filter, Mix, Shape, Stage, Stretch, Turn
from learned_transforms.layers.base import MOST_SUM, MOST_TERMS, SUMMED, Layer, Params, check_weight
from learned_transforms.layers.pointwise import check_mix
from learned_transforms.plain import Fields, finite, integer, list_of, maybe, one_of, positive

FORMS = {
    "blend": ("sum", "from_image", "from_other"),
    "stretch": ("divide", "multiply", "affine"),
    "turn": ("multiply", "divide"),
    "blur": BLURS,
}
"""Orders of operations, see ``ops.Blend``, ``ops.Stretch``, ``ops.Turn`` and ``ops.Blur``."""

MOST_SUMMED = 2**12
"""Taps of a window that is summed at once."""


class Tinting(Layer):
    """Base of the layers of this file; images have one channel or three."""

    arithmetic: Arithmetic

    @property
    def ceiling(self) -> float:
        """The largest value of its images: levels are rounded to, floats are not."""
        return 1.0 if self.arithmetic.rounding == "none" else 255.0


class Blending(Tinting):
    """Between an image and something made of it: black, its gray, the mean of its gray, or the smoothed image.

    Params: ``factor``, 1 for the image, 0 for the other end.

    Args:
        terms: ``[2, 2]``, see ``ops.Blend``.
        arithmetic, form: of the blend; ``form`` is one of ``FORMS["blend"]``.
        weight, bias: ``[1, C]`` and ``[1]``, of the gray, if it is that.
        window: ``[h, w]``, that smoothes, if it is that; pixels whose window leaves the image stay as they are.
        mean: of a gray, take the mean: ``"none"`` or ``"half_up"``, how it is rounded. None: take no mean.
        inner: arithmetic of the gray, or of the smoothing.
    """

    fixed = False
    terms: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter
    window: nn.Parameter
    options = Fields(
        {
            **SUMMED.checks,
            "form": one_of(*FORMS["blend"]),
            "mean": maybe(one_of("none", "half_up")),
            "inner": SUMMED.checks["arithmetic"],
        },
        ("inner",),
    )
    selected = ("form", "mean", "inner")
    takes = Fields({"factor": finite})

    def __init__(
        self,
        terms: Tensor,
        arithmetic: Arithmetic,
        form: str = "sum",
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        window: Tensor | None = None,
        mean: str | None = None,
        inner: Arithmetic | None = None,
    ) -> None:
        super().__init__()
        check_weight("terms", terms, 2, 2)
        given = {"weight": weight, "bias": bias, "window": window}
        own = {name: value for name, value in given.items() if value is not None}
        if form not in FORMS["blend"] or mean not in (None, "none", "half_up") or (inner is None) != (not own):
            raise PipelineValueError(f"Expected a known form and mean, and inner with weights, got {form!r}, {mean!r}.")
        if weight is not None and bias is not None:
            check_mix(weight, bias)
        if set(own) not in (set(), {"weight", "bias"}, {"window"}) or terms.shape != (2, 2):
            raise PipelineValueError(f"Expected terms [2, 2] and weight with bias, or window; got {', '.join(own)}.")
        self.learn(terms=terms, **own)
        self.arithmetic, self.form, self.mean, self.inner = arithmetic, form, mean, inner

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "mean": self.mean}  # None is written down, too.

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        check_channels(channels, (1, 3))
        if channels == 1 and hasattr(self, "weight") and self.mean is None:
            return []
        mean = "none" if relaxed and self.mean is not None else self.mean
        arithmetic, other = self.effective(relaxed), self.other(channels, relaxed)
        return [Blend(self.terms, params["factor"], other, mean, self.form, self.ceiling, arithmetic, limited=True)]

    def other(self, channels: int, relaxed: bool) -> Mix | Filter | None:
        """Return what makes the other end."""
        if self.inner is None:
            return None
        inner = self.effective(relaxed) if relaxed else self.inner
        if hasattr(self, "window"):
            return Filter(self.window, "copy", inner)
        if channels == self.weight.shape[1]:
            return Mix(self.weight, self.bias, inner)
        return Mix(eye(1).to(self.weight), zeros(1).to(self.weight), inner)  # Gray as it is.


class Stretching(Tinting):
    """Stretch each channel's values, from the least to the largest, to a learned range; see ``ops.Stretch``.

    Args:
        ends: ``[2]``, that range.
        form: one of ``FORMS["stretch"]``.
    """

    fixed = False
    ends: nn.Parameter
    options = Fields({**SUMMED.checks, "form": one_of(*FORMS["stretch"])})
    selected = ("form",)

    def __init__(self, ends: Tensor, arithmetic: Arithmetic, form: str) -> None:
        super().__init__()
        check_weight("ends", ends, 1, 2)
        if form not in FORMS["stretch"] or not ends[0] < ends[1] or ends.abs().max() > MOST_SUM:
            raise PipelineValueError(f"Expected ends that rise and a known form, got {ends.tolist()} and {form!r}.")
        self.learn(ends=ends)
        self.arithmetic, self.form = arithmetic, form

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_channels(shape[0], (1, 3))
        return [Stretch(self.ends, self.form, self.ceiling, self.effective(relaxed))]


class Equalizing(Layer):
    """Make each channel's histogram flat, for uint8 images; see ``ops.Equalize``.

    Args:
        levels: ``[1]``, steps of the flat histogram, a whole number.
        offset: ``[1]``, of a step, that is added before the division.
    """

    fixed = False
    stored = "Equalising"
    levels: nn.Parameter
    offset: nn.Parameter

    def __init__(self, levels: Tensor, offset: Tensor) -> None:
        super().__init__()
        check_weight("levels", levels, 1, 1)
        check_weight("offset", offset, 1, 1)
        if not 1 <= float(levels) <= 255 or float(levels) % 1 or not 0 <= float(offset) <= 1:
            raise PipelineValueError(
                f"Expected whole levels up to 255 and an offset up to 1, got {levels.tolist()} and {offset.tolist()}."
            )
        self.learn(levels=levels, offset=offset)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError("A histogram passes no gradients; a pipeline with one cannot be trained.")
        return [Equalize(int(self.levels), float(self.offset))]


class Turning(Tinting):
    """Turn the hue. Params: ``factor``, in turns.

    Args:
        centres: ``[3]``, hue of each channel alone, in sixths of a turn, whole.
        span: ``[1]``, what floats in [0, 1] are multiplied by; 1 where whole steps are made of them.
        form: one of ``FORMS["turn"]``.
        steps: to which hue and saturation are cut on the way; 0: to none.
    """

    fixed = False
    centres: nn.Parameter
    span: nn.Parameter
    options = Fields({**SUMMED.checks, "form": one_of(*FORMS["turn"]), "steps": integer(0, 255)})
    selected = ("form", "steps")
    takes = Fields({"factor": finite})

    def __init__(self, centres: Tensor, span: Tensor, arithmetic: Arithmetic, form: str, steps: int) -> None:
        super().__init__()
        check_weight("centres", centres, 1, 3)
        check_weight("span", span, 1, 1)
        if sorted(centres.tolist()) != [0, 2, 4] or not 0 <= steps <= 255 or form not in FORMS["turn"]:
            raise PipelineValueError(
                "Expected centres a third of a turn apart, a known form, and up to 255 steps, got "
                f"{centres.tolist()}, {form!r} and {steps}."
            )
        self.learn(centres=centres, span=span)
        self.arithmetic, self.form, self.steps = arithmetic, form, steps

    def provenance(self) -> dict[str, str]:
        return super().provenance() | ({"span": "given"} if self.steps else {})

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_channels(shape[0], (1, 3))
        if shape[0] == 1:
            return []
        first, second, third = (int(center) for center in self.centres)
        # Whole steps pass no gradients.
        steps, span = (0, self.ceiling) if relaxed else (self.steps, float(self.span))
        arithmetic = self.effective(relaxed)
        return [Turn((first, second, third), params["factor"], span, self.form, steps, self.ceiling, arithmetic)]


class Blurring(Layer):
    """Smooth with taps that follow from sigma; see ``ops.Blur``.

    Params: ``sigma``, in pixels; ``size`` (height, width) of the window, both odd.

    Args:
        coefficients: ``[n]``, of an even polynomial without a constant: the logarithm of a tap.
        border: one of ``indexing.BORDERS``.
        form: one of ``ops.BLURS``; windows are summed at once where the installed torch is found to do so, in the same
            order, and they have at most ``MOST_SUMMED`` taps; else rows and then columns.

    Raises:
        PaddingError: mirrored borders would be longer than the image.
    """

    fixed = False
    coefficients: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "border": one_of(*BORDERS), "form": one_of(*BLURS)}, ("form",))
    selected = ("border", "form")
    takes = Fields({"sigma": positive, "size": list_of(integer(1), 2)})

    def __init__(self, coefficients: Tensor, border: str, arithmetic: Arithmetic, form: str = "passes") -> None:
        super().__init__()
        check_weight("coefficients", coefficients, 1)
        if len(coefficients) > MOST_TERMS:
            raise PipelineValueError(f"Expected up to {MOST_TERMS} coefficients, got {len(coefficients)}.")
        levels = arithmetic.fma and arithmetic.rounding == "half_even"
        if form not in BLURS or (form != "passes" and not (levels and len(coefficients) == 1 and coefficients[0] < 0)):
            raise PipelineValueError(
                f"Expected a form out of {', '.join(BLURS)}, but for the first with one coefficient below 0, for fused "
                f"sums that round half to even; got {form!r}, {len(coefficients)} coefficients and {arithmetic}."
            )
        self.learn(coefficients=coefficients)
        self.border, self.arithmetic, self.form = border, arithmetic, form

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        height, width = params["size"]
        how = self.border, self.effective(relaxed)
        at_once = not relaxed and height * width <= MOST_SUMMED and sums_windows_in_order()
        form = self.form if at_once else "passes"
        return [Blur(self.coefficients, params["sigma"], (height, width), *how, limited=True, form=form)]


COLOR_LAYERS: Mapping[str, type[Layer]] = {
    layer.stored_name(): layer for layer in (Blending, Stretching, Equalizing, Turning, Blurring)
}
"""The layers of this file, by the name under which weight files hold them."""
