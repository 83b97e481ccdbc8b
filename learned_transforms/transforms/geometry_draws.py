"""What transforms draw that place pixels by the size, and by boxes, which the transforms before them have left."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.ir.ops import Shape
from learned_transforms.transforms.draws import Outcome, below, draw, single, toss, usual


def by_torchvision(transform: Any, shape: Shape, boxes: Sequence[Tensor]) -> Outcome:
    """What torchvision's own function draws for an image of ``shape`` (C, H, W), and for boxes beside it."""
    # An image of one number: its size is all that is looked at.
    image = torch.empty((), device="cpu").expand(shape)
    drawn = transform.make_params([image, *boxes])
    return tuple((name, as_plain(value)) for name, value in drawn.items()) or False


def as_plain(value: Any) -> Any:
    """A param of torchvision's without tensors and lists, which have no hash."""
    value = value.tolist() if isinstance(value, Tensor) else value
    return tuple(value) if isinstance(value, list) else value


def zoom_out(transform: Any, shape: Shape, boxes: Sequence[Tensor]) -> Outcome:
    return by_torchvision(transform, shape, boxes) if toss((single(transform.p),))[0] else False


def iou_crop(transform: Any, shape: Shape, boxes: Sequence[Tensor]) -> Outcome:
    """Tries for each of the overlaps that come, computed in float32 as torchvision does, without its tensors."""
    first: Any = boxes[0]
    straight = not tv_tensors.is_rotated_bounding_format(first.format)
    if not (usual() and straight and first.dtype == torch.float32 and first.device.type == "cpu"):
        return by_torchvision(transform, shape, boxes)
    values = first.as_subclass(Tensor).detach()
    corners = v2.functional.convert_bounding_box_format(values, old_format=first.format, new_format="XYXY").numpy()
    low, room = np.float32(transform.min_scale), np.float32(transform.max_scale - transform.min_scale)
    centres = np.float32(0.5) * (corners[:, :2] + corners[:, 2:])
    areas = np.prod(corners[:, 2:] - corners[:, :2], 1)
    whole = np.array(shape[:0:-1], np.float32)  # width, height
    while True:
        overlap = transform.options[below(len(transform.options))]
        if overlap >= 1:
            return False
        for _ in range(transform.trials):
            width, height = (int(side) for side in whole * (low + room * np.array(draw(2), np.float32)))
            if not transform.min_aspect_ratio <= width / height <= transform.max_aspect_ratio:
                continue
            free = np.array((shape[2] - width, shape[1] - height), np.float32)
            left, top = (int(side) for side in free * np.array(draw(2), np.float32))
            if not (width and height):
                continue
            start, stop = np.array((left, top), np.float32), np.array((left + width, top + height), np.float32)
            within = ((start < centres) & (centres < stop)).all(1)
            if not within.any():
                continue
            sides = np.minimum(corners[:, 2:], stop) - np.maximum(corners[:, :2], start)
            common = np.prod(sides.clip(0), 1)
            shares = common / (areas + np.prod(stop - start) - common)
            if not shares[within].max() < np.float32(overlap):
                found = top, left, height, width, tuple(within.tolist())
                return tuple(zip((*SIDES, "is_within_crop_area"), found, strict=True))


SIDES = ("top", "left", "height", "width")
"""Of what is drawn, in params."""

RESIZING = (v2.RandomShortestSize, v2.RandomResize, v2.ScaleJitter)
"""Transforms that draw a size."""

MOVING: dict[type, Callable[[Any, Shape, Sequence[Tensor]], Outcome]] = {
    **dict.fromkeys(RESIZING, by_torchvision),
    v2.RandomZoomOut: zoom_out,
    v2.RandomIoUCrop: iou_crop,
}
"""Transforms that draw where the image goes, from the size that those before have left, and from boxes: they may come
anywhere."""
