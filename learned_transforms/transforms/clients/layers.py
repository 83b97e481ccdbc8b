"""Layers that only clients' transforms need; the user gives all their numbers."""

import torch

from learned_transforms.errors import FewChannelsError, NoPictureError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Padded, Part
from learned_transforms.ir.ops import BoxBlur, Gather, Mix, Shape, Stage
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import params_fill
from learned_transforms.layers.unsharp import PASSES

EXACT = Arithmetic("float32")


class Trimming(Layer):
    """Cut ``border`` pixels off every side.

    Raises:
        EmptyImageError: nothing is left.
    """

    fixed = False

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        cut = Padded(-params["border"], -params["border"])
        return [Gather(rows=cut, columns=cut)]


class Placing(Layer):
    """Cut out the middle ``size`` (rows, columns); what lies outside the image is ``border`` and ``fill``.

    ``limited``: refuse to mirror more than the image has.

    Raises:
        PaddingError: there would be more, or a fill that does not fit the channels.
    """

    fixed = False

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        rows, columns = (Part("middle", 0, count, params["border"]) for count in params["size"])
        return [Gather(rows=rows, columns=columns, fill=params_fill(params, channels), limited=params["limited"])]


class Refusing(Layer):
    """Refuse tensors, as a function of Pillow's does where it is applied. Params: its ``name``.

    Raises:
        NoPictureError: always.
    """

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        raise NoPictureError(f"{params['name']} is not supported for tensors. Put it before the conversion to one.")


class Boxing(Layer):
    """Smooth as Pillow does; see ``ops.BoxBlur``. Params: ``sigma``, in pixels."""

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError("Pillow's blur passes no gradients; a pipeline with it cannot be trained.")
        return [BoxBlur(params["sigma"], PASSES)]


class Swapping(Layer):
    """Exchange the first and third channel.

    Raises:
        FewChannelsError: images of fewer.
    """

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        if shape[0] < 3:
            raise FewChannelsError(f"Expected an image of at least 3 channels, got {shape[0]}. Convert it to RGB.")
        return [Gather(channels=(2, 1, 0, *range(3, shape[0])))]


class Scaling(Layer):
    """Multiply floats by ``factor``."""

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return [
            Mix(
                torch.eye(shape[0]) * params["factor"],
                torch.zeros(shape[0]),
                self.effective(True) if relaxed else EXACT,
            )
        ]
