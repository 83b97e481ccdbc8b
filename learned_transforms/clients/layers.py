"""Layers that only clients' transforms need; the user gives all their numbers."""

import torch

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.errors import EmptyImageError, FewChannelsError, NoPictureError, PipelineValueError
from learned_transforms.keep import Keep, Listed, bordered
from learned_transforms.layers import Layer, Params, centred, check_padding, fill_of
from learned_transforms.plan import BoxBlur, Gather, Mix, Shape, Stage

EXACT = Arithmetic("float32")
PASSES = 3
"""Boxes along each axis, of which Pillow makes a Gaussian blur."""


class Trimming(Layer):
    """Cut ``border`` pixels off every side.

    Raises:
        EmptyImageError: nothing is left.
    """

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        border, (_, height, width) = params["border"], shape
        rows, columns = height - 2 * border, width - 2 * border
        if min(rows, columns) < 1:
            raise EmptyImageError(
                f"A border of {border} leaves nothing of an image of {height, width} (rows, columns)."
            )
        return [Gather(rows=Keep(border, 1, rows), columns=Keep(border, 1, columns))]


class Placing(Layer):
    """Cut out the middle ``size`` (rows, columns); what lies outside the image is ``border`` and ``fill``.

    ``limited``: refuse to mirror more than the image has.

    Raises:
        PaddingError: there would be more, or a fill that does not fit the channels.
    """

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        channels, *size = shape
        border = params["border"]
        rows, columns = (centred(n_in, n_out) for n_in, n_out in zip(size, params["size"], strict=True))
        if rows.inside(size[0]) and columns.inside(size[1]):
            return [Gather(rows=rows, columns=columns)]
        if border == "zero":
            return [Gather(rows=rows, columns=columns, outside=True, fill=fill_of(params["fill"], channels))]
        axes = tuple(zip((rows, columns), size, strict=True))
        if params["limited"] and border in ("reflect", "symmetric"):
            (top, bottom), (left, right) = (
                (max(-kept.start, 0), max(kept.start + kept.count - n, 0)) for kept, n in axes
            )
            check_padding((left, top, right, bottom), (size[0], size[1]), border)
        listed = (Listed(tuple(bordered(n, k.start, k.start + k.count, border).tolist())) for k, n in axes)
        return [Gather(rows=next(listed), columns=next(listed))]


class Refusing(Layer):
    """Refuse tensors, as a function of Pillow's does where it is applied. Params: its ``name``.

    Raises:
        NoPictureError: always.
    """

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        raise NoPictureError(f"{params['name']} is not supported for tensors. Put it before the conversion to one.")


class Boxing(Layer):
    """Smooth as Pillow does; see ``plan.BoxBlur``. Params: ``sigma``, in pixels."""

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError("Pillow's blur passes no gradients; a pipeline with it cannot be trained.")
        return [BoxBlur(params["sigma"], PASSES)]


class Swapping(Layer):
    """Exchange the first and third channel.

    Raises:
        FewChannelsError: images of fewer.
    """

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if shape[0] < 3:
            raise FewChannelsError(f"Expected an image of at least 3 channels, got {shape[0]}. Convert it to RGB.")
        return [Gather(channels=(2, 1, 0, *range(3, shape[0])))]


class Scaling(Layer):
    """Multiply floats by ``factor``."""

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return [
            Mix(
                torch.eye(shape[0]) * params["factor"],
                torch.zeros(shape[0]),
                self.effective(True) if relaxed else EXACT,
            )
        ]
