"""What a processor does, in steps."""

from dataclasses import dataclass

from learned_transforms.ir.sizing import Size
from learned_transforms.processors.levels import LevelSteps
from learned_transforms.processors.sizes import SizeOf

STACKS = ("torchvision", "pil")
"""Whose arithmetic resizes and normalizes: torchvision's on uint8 tensors, or Pillow's and NumPy's."""


@dataclass(frozen=True)
class PadStep:
    """Zeros below and to the right, behind all other steps.

    Attributes:
        size: (rows, columns) of the result; None: as large as the largest image of the batch.
    """

    size: Size | None


@dataclass(frozen=True)
class Patches:
    """Cut images into square patches, each a row of numbers.

    Attributes:
        size: pixels along a side.
        merge: blocks of so many patches along a side come together.
        copies: how often each patch is repeated, as frames of a film.
        most: so many rows for every image, zeros behind its patches; None: the rows of all images, one after another.
        channels_last: the channels of a pixel lie side by side.
    """

    size: int
    merge: int = 1
    copies: int = 1
    most: int | None = None
    channels_last: bool = False


@dataclass(frozen=True)
class Steps:
    """All that a processor does to an image, in this order; what is None is left out.

    Attributes:
        name: of its class, without a suffix for the backend.
        backend: one of ``STACKS``.
        to_rgb: make other images RGB ones first, those with alpha before white.
        square: pad to a square, the image in its middle, by this level for each channel.
        resize: the rule by which the size of the resized image is found.
        interpolation: by which it is resized.
        crops: middle parts (rows, columns) that are cut out one after another, with zeros where the image is smaller.
        levels: the float steps.
        padding: zeros around.
        patches: what the image is cut into.
        gives: besides the images, ``"masks"`` of the pixels that are not padding, or ``"sizes"`` before and behind the
            resize; ``""``: nothing.
    """

    name: str
    backend: str
    to_rgb: bool
    square: tuple[float, ...] | None
    resize: SizeOf | None
    interpolation: str
    crops: tuple[Size, ...]
    levels: LevelSteps
    padding: PadStep | None = None
    patches: Patches | None = None
    gives: str = ""
