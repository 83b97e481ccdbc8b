"""Layers without learned numbers: what the user gave says all that they do."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import InputShapeError, InputTypeError, PipelineValueError
from learned_transforms.images.formats import shape_of
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep, Part, centered
from learned_transforms.ir.ops import Apply, Gather, Mix, Shape, Stage, Table
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.geometry import fill_of
from learned_transforms.layers.noise import Noise

TRUNCATED = Arithmetic("float32", rounding="truncate")


class Erasing(Layer):
    """Overwrite a part of the image that is drawn. Params: ``value``, one number, one a channel, or ``"random"``.

    The part is another at every call, and plans are kept: so this takes no stage, see :func:`erased`.
    """

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        return []


def check_value(value: Sequence[float], channels: int) -> None:
    """Require one number, or one a channel.

    Raises:
        PipelineValueError: otherwise, as torchvision.
    """
    if len(value) not in (1, channels):
        raise PipelineValueError(
            f"If value is a sequence, it should have either a single value or {channels} (number of input channels), "
            f"got {len(value)}."
        )


def erased(image: Tensor, where: Mapping[str, Any], inplace: bool = False) -> Tensor:
    """Return an image ``[..., C, H, W]`` with ``h`` rows from ``i`` on and ``w`` columns from ``j`` on set to ``v``.

    Args:
        where: these, by name; ``v`` is numbers, or noise.
        inplace: change the image itself; False: a copy.

    Raises:
        PipelineValueError: they do not lie in the image, or values that do not fit it.
    """
    (i, j, h, w), value = (where[name] for name in "ijhw"), where["v"]
    channels, height, width = image.shape[-3:]
    if min(i, j, h, w) < 0 or i + h > height or j + w > width:
        raise PipelineValueError(f"Expected params i, j, h, w within the image of {(height, width)}, got {i, j, h, w}.")
    if isinstance(value, Noise):
        written = value.of((channels, h, w))
    else:
        check_value(value, channels)
        written = torch.tensor(value, device=image.device)[:, None, None]
    made = image if inplace else image.clone()
    made[..., i : i + h, j : j + w] = written
    return made


def scaled(count: int, factor: float) -> tuple[Tensor, Tensor]:
    """Weights and biases of a map of ``count`` channels that are multiplied by a factor."""
    return torch.eye(count, dtype=torch.float32) * factor, torch.zeros(count, dtype=torch.float32)


class Quantizing(Layer):
    """Floats to levels: times ``factor``, what is behind the point cut off, and clamped.

    Params: ``factor``; None: they are levels already.
    """

    fixed = False

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        count, factor = shape[0], params["factor"]
        if factor is None:
            return []
        return [Mix(*scaled(count, factor), self.effective(True) if relaxed else TRUNCATED)]


class Framing(Layer):
    """Use a part of the image, which may reach beyond it.

    Params: ``start`` (top, left) and ``size`` (rows, columns) of it; ``fill`` of what lies outside, one value for each
    channel, or one for all.
    """

    fixed = False

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        rows, columns = (Part("start", s, n) for s, n in zip(params["start"], params["size"], strict=True))
        return [Gather(rows=rows, columns=columns, fill=fill_of(params["fill"], channels))]

    def provenance(self) -> dict[str, str]:
        return {"size": "given"}


class Posterizing(Layer):
    """Keep ``2 ** bits`` values of floats in [0, 1].

    Params: ``nan``: some pixels are no finite numbers, or have gradients. Otherwise it goes by way of levels,
    which cannot say that.
    """

    fixed = False

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 1 << bits

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if relaxed:
            raise PipelineValueError("Posterizing passes no gradients; a pipeline with it cannot be trained.")
        if params.get("nan"):
            return [Apply(self, None)]
        cut = Mix(*scaled(channels, self.levels), TRUNCATED)
        return [cut, Table((torch.arange(256.0, dtype=torch.float32).clamp(max=self.levels - 1) / self.levels)[None])]

    def provenance(self) -> dict[str, str]:
        return {"bits": "given"}

    def forward(self, image: Tensor) -> Tensor:
        return image.mul(self.levels).floor_().clamp_(0, self.levels - 1).mul_(1 / self.levels)


class Solarizing(Layer):
    """Invert floats from a threshold on.

    Raises:
        InputTypeError: a threshold above 1.
    """

    fixed = False

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        if self.threshold > 1:
            raise InputTypeError(
                f"Threshold should be less or equal the maximum value of the dtype, 1, but got {self.threshold}. "
                "Divide it by 255."
            )
        return [Apply(self, None)]

    def provenance(self) -> dict[str, str]:
        return {"threshold": "given"}

    def forward(self, image: Tensor) -> Tensor:
        return torch.where(image >= self.threshold, 1.0 - image, image)


class Projecting(Layer):
    """Subtract a mean from an image ``[C, H, W]`` taken as one row of numbers, and multiply it by a matrix.

    Args:
        matrix: float32 ``[C * H * W, C * H * W]``; shared, not copied.
        mean: float32 ``[C * H * W]``.

    Raises:
        InputShapeError: images of another length.
    """

    def __init__(self, matrix: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.matrix, self.mean = matrix, mean

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        count = shape[0] * shape[1] * shape[2]
        if count != len(self.mean):
            raise InputShapeError(
                f"Input tensor and transformation matrix have incompatible shape: {shape} (C, H, W) are {count} "
                f"values, the matrix takes {len(self.mean)}."
            )
        return [Apply(self, shape)]

    def forward(self, image: Tensor) -> Tensor:
        if image.device.type != self.mean.device.type:
            raise PipelineValueError(
                "Input tensor should be on the same device as transformation matrix and mean vector. "
                f"Got {image.device} vs {self.mean.device}."
            )
        return torch.mm(image.flatten(1) - self.mean, self.matrix)

    def provenance(self) -> dict[str, str]:
        return {"matrix": "given", "mean": "given"}


class Cutting(Layer):
    """Cut four corners and the middle out of an image; of its mirror image too, if that is asked for.

    No stage gives several images: a segment ends here, and the rest of it runs once.

    Args:
        size: (rows, columns) of each part.
        mirror: ``"horizontal"`` or ``"vertical"``; None: only the image itself is cut.

    Raises:
        InputShapeError: an image that is smaller.
    """

    def __init__(self, size: Sequence[int], mirror: str | None) -> None:
        super().__init__()
        self.size, self.mirror = tuple(size), mirror

    def forward(self, image: Any) -> tuple[Any, ...]:
        """Return the parts of a PIL image, or of a tensor ``[..., C, H, W]`` with which they share memory."""
        size = shape_of(image)[1:]
        if any(part > whole for part, whole in zip(self.size, size, strict=True)):
            raise InputShapeError(
                f"Requested crop size {self.size} is bigger than input size {size} (rows, columns). "
                "Resize the image first."
            )
        lengths = zip(size, self.size, strict=True)
        rows, columns = ((Keep(0, 1, n), Keep(n_in - n, 1, n), Keep(centered(n_in, n), 1, n)) for n_in, n in lengths)
        wholes = (image,) if self.mirror is None else (image, mirrored(image, self.mirror))
        return tuple(part(whole, rows[r], columns[c]) for whole in wholes for r, c in PLACES)

    def provenance(self) -> dict[str, str]:
        return {"size": "given"} if self.mirror is None else {"size": "given", "mirror": "given"}


PLACES = ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2))
"""Of what is cut out, in torchvision's order: at the start, the end, or the middle of rows and of columns."""


def part(image: Any, rows: Keep, columns: Keep) -> Any:
    """Consecutive rows and columns of a PIL image, or a view of those of a tensor."""
    top, left, bottom, right = rows.start, columns.start, rows.start + rows.count, columns.start + columns.count
    if isinstance(image, Image.Image):
        return image.crop((left, top, right, bottom))
    return image[..., top:bottom, left:right]


def mirrored(image: Any, axis: str) -> Any:
    """Return the mirror image of a PIL image or a tensor."""
    horizontal = axis == "horizontal"
    if isinstance(image, Image.Image):
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT if horizontal else Image.Transpose.FLIP_TOP_BOTTOM)
    return image.flip(-1 if horizontal else -2)


WHOLE_IMAGE_LAYERS = (Solarizing, Projecting)
"""What only torch runs: segments are cut around it, so that the rest stays native."""
