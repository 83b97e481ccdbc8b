"""In which order torchvision's tensors lie in memory: torch draws noise for each image in the order of its own."""

from collections.abc import Sequence
from typing import Any

import torchvision.transforms as v1
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.images.formats import Form

PLANES, PIXELS, UNKNOWN = range(3)
"""Channel after channel; the channels of a pixel side by side; or what cannot be told without computing it."""

PIXELWISE = ("RandomHorizontalFlip", "RandomVerticalFlip", "RandomErasing", "Normalize", "ConvertImageDtype")
KEEPING = (
    *(getattr(api, name) for api in (v1, v2) for name in PIXELWISE),
    *(v2.PILToTensor, v2.ToImage, v2.ToDtype, v2.ToPureTensor, v2.Identity, v2.RGB),
)
"""Transforms of tensors that leave the order as it is, whatever it is and whatever they draw."""

TURNING = (v1.ColorJitter,)
"""Transforms that may change the order of planes."""

ORDERED = (v2.GaussianNoise,)
"""Transforms whose result depends on it."""


def order_of(images: Sequence[Any]) -> int:
    """The order that tensors ``[..., C, H, W]`` share; of images that are none, planes."""
    orders = {order_of_one(image) for image in images if isinstance(image, Tensor)}
    return orders.pop() if len(orders) == 1 else UNKNOWN if orders else PLANES


def order_of_one(image: Tensor) -> int:
    if image.is_contiguous():
        return PLANES
    return PIXELS if image.ndim >= 3 and image.movedim(-3, -1).is_contiguous() else UNKNOWN


def order_after(transform: Any, before: Form, after: Form, order: int) -> int:
    """The order of what a transform makes of an image of form ``before``."""
    if after.container == "pil":
        return PLANES
    if before.container == "pil":
        return PLANES if isinstance(transform, v1.ToTensor | v2.ToTensor) else PIXELS
    if isinstance(transform, v1.ToTensor | v2.ToTensor):  # It takes arrays and copies them to planes.
        return PLANES
    if order == PLANES:
        return UNKNOWN if isinstance(transform, TURNING) else PLANES
    return order if isinstance(transform, KEEPING) else UNKNOWN


def by_pixels(image: Any) -> Any:
    """The image with the channels of each pixel side by side in memory."""
    if not isinstance(image, Tensor) or image.ndim < 3:
        return image
    made = image.as_subclass(Tensor).movedim(-3, -1).contiguous().movedim(-1, -3)
    return made if type(image) is Tensor else tv_tensors.wrap(made, like=image)
