"""In which order torchvision's tensors lie in memory: torch draws noise for each image in the order of its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision import tv_tensors

PLANES, PIXELS, UNKNOWN = range(3)
"""Channel after channel; the channels of a pixel side by side; or what cannot be told without computing it."""


def order_of(images: Sequence[Any]) -> int:
    """Return the order that tensors ``[..., C, H, W]`` share; of images that are none, planes."""
    orders = {order_of_one(image) for image in images if isinstance(image, Tensor)}
    return orders.pop() if len(orders) == 1 else UNKNOWN if orders else PLANES


def order_of_one(image: Tensor) -> int:
    if image.is_contiguous():
        return PLANES
    return PIXELS if image.ndim >= 3 and image.movedim(-3, -1).is_contiguous() else UNKNOWN


def by_pixels(image: Any) -> Any:
    """Return the image with the channels of each pixel side by side in memory."""
    if not isinstance(image, Tensor) or image.ndim < 3:
        return image
    made = image.as_subclass(Tensor).movedim(-3, -1).contiguous().movedim(-1, -3)
    return made if type(image) is Tensor else tv_tensors.wrap(made, like=image)
