"""What results have from their inputs besides pixels: the object itself, and what PIL images carry (``Image.info``).

Pillow keeps the latter, drops it, or converts what it says of transparency; each operation shows which, on an image of
one pixel.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from PIL import Image

from learned_transforms.transforms.spec import Outcome, Spec


@lru_cache
def blank(mode: str) -> Image.Image:
    """Make an image of one pixel that carries nothing, to be copied."""
    return Image.new(mode, (1, 1))


def carried_info(image: Image.Image, applied: Iterable[tuple[Spec, Outcome]]) -> dict[Any, Any]:
    """Return ``image.info`` after transforms.

    Args:
        image: what they are applied to.
        applied: transforms, with what they drew.
    """
    pixel, size = blank(image.mode).copy(), (image.height, image.width)
    pixel.info = dict(image.info)
    for spec, drawn in applied:
        if not pixel.info:
            break
        pixel = spec.carry(drawn, pixel, size)
        size = spec.size_after(size, drawn)
    return pixel.info
