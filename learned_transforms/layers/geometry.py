"""Layers that copy pixels: flips, crops, padding."""

from collections.abc import Sequence

from learned_transforms.errors import PaddingError, PipelineValueError
from learned_transforms.ir.indexing import BORDERS as PADS
from learned_transforms.ir.indexing import Keep, Mirrored, Padded, Part
from learned_transforms.ir.ops import Gather, Stage
from learned_transforms.ir.plan import Around
from learned_transforms.layers.base import MOST_CHANNELS, Layer, Params
from learned_transforms.plain import LONGEST, Fields, finite, integer, list_of, maybe, one_of, switch

FILLED = {"border": one_of(*PADS), "fill": list_of(finite, 1, MOST_CHANNELS)}
"""The params that say what lies around an image."""


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
    takes = Fields({"size": list_of(integer(1), 2), "start": maybe(list_of(integer(-LONGEST), 2))}, ("start",))

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if params.get("start") is None:
            rows, columns = (Part("middle", 0, count) for count in params["size"])
        else:
            starts = zip(params["start"], params["size"], strict=True)
            rows, columns = (Part("end" if start < 0 else "start", start, count) for start, count in starts)
        return [Gather(rows=rows, columns=columns)]


class Windowing(Layer):
    """Use a window of the image that is drawn for each; it may reach beyond the image.

    Params: ``size`` of the window; ``border`` and ``fill`` as those of :class:`Padding`. ``height`` and ``width``: how
    large it is, and ``top`` and ``left``, where, or ``starts``, that both of these are drawn; without them, it is cut
    out before, and comes with the image.
    """

    fixed = False
    takes = Fields({"size": list_of(integer(1), 2), **FILLED})

    def around(self, channels: int, params: Params) -> Around | None:
        return Around(params["border"], fill_of(params["fill"], channels))

    def elastic(self, params: Params) -> bool:
        return True

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if "height" not in params:
            height, width = params["size"]
            return [Gather(rows=Keep(0, 1, height), columns=Keep(0, 1, width), outside=True)]
        axes = ((params.get("top", 0), params["height"]), (params.get("left", 0), params["width"]))
        rows, columns = (Part("start", start, count, params["border"]) for start, count in axes)
        return [Gather(rows=rows, columns=columns, fill=params_fill(params, channels), starts=params.get("starts"))]


class Padding(Layer):
    """Add pixels around the image.

    Params: ``padding`` (left, top, right, bottom), ``border`` out of ``indexing.BORDERS``; for ``zero``, the ``fill``:
    one number, or one a channel. ``limited``: refuse to mirror more than the image has.

    Raises:
        PaddingError: there would be more.
    """

    fixed = False
    takes = Fields({"padding": list_of(integer(-LONGEST), 4), **FILLED, "limited": switch})

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        left, top, right, bottom = params["padding"]
        rows, columns = Padded(top, bottom, params["border"]), Padded(left, right, params["border"])
        fill = params_fill(params, channels) if max(params["padding"]) > 0 else ()
        return [Gather(rows=rows, columns=columns, fill=fill, limited=params["limited"])]


def fill_of(fill: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a value for each channel, of one number or one a channel."""
    if len(fill) not in (1, channels):
        raise PaddingError(f"Expected a fill of one number, or of {channels}, one a channel; got {len(fill)}.")
    return tuple(fill) * (channels // len(fill))


def params_fill(params: Params, channels: int) -> tuple[float, ...]:
    """Return the fill that params have for each channel; none, where something else lies around the image."""
    return fill_of(params["fill"], channels) if params["border"] == "zero" else ()
