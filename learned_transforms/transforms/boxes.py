"""Transforms of boxes and keypoints: they do nothing to images."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.images.formats import Form
from learned_transforms.transforms.spec import Spec, Step


class Numeric(Spec):
    """A transform of what goes with images.

    Attributes:
        chooses_among: the class of the objects, of which it drops some; None: it drops none.
    """

    half = numeric = True
    kept = ("pil", "image", "video")
    chooses_among: type | None = None

    def lower(self, form: Form) -> Step | str:
        """Do nothing; some of these refuse to be without what they are for."""
        return Step(form) if form.several else "it takes boxes or keypoints beside the image"

    def chosen(self, objects: Any) -> Tensor:
        """Return which objects it keeps."""
        raise NotImplementedError


class ConvertBoundingBoxFormat(Numeric):
    """Boxes in another format."""

    arguments = ("format",)


class Clamping(Numeric):
    """ClampBoundingBoxes and SetClampingMode."""

    arguments = ("clamping_mode",)


class SanitizeBoundingBoxes(Numeric):
    """Boxes without those that are small or lie beside the image."""

    arguments = ("min_size", "min_area", "labels_getter")
    chooses_among = tv_tensors.BoundingBoxes

    def chosen(self, objects: Any) -> Tensor:
        """Keep boxes that are large enough, and lie on their canvas."""
        values, transform = objects.as_subclass(Tensor).detach(), self.transform
        straight = not tv_tensors.is_rotated_bounding_format(objects.format)
        if not (straight and values.dtype == torch.float32 and values.device.type == "cpu"):
            how = {"format": objects.format, "canvas_size": objects.canvas_size}
            sizes = {"min_size": transform.min_size, "min_area": transform.min_area}
            found: Tensor = v2.functional.sanitize_bounding_boxes(values, **how, **sizes)[1]
            return found
        corners = corners_of(objects).numpy()
        sides = corners[:, 2:] - corners[:, :2]
        kept = (sides >= transform.min_size).all(1) & (sides[:, 0] * sides[:, 1] >= transform.min_area)
        kept &= (corners >= 0).all(1) & (corners <= np.array(objects.canvas_size[::-1] * 2)).all(1)
        return torch.from_numpy(kept)


def corners_of(boxes: Any) -> Tensor:
    """Return straight boxes as plain numbers [N, 4]: left, top, right, bottom."""
    values = boxes.as_subclass(Tensor).detach()
    made: Tensor = v2.functional.convert_bounding_box_format(values, old_format=boxes.format, new_format="XYXY")
    return made


class SanitizeKeyPoints(Numeric):
    """Keypoints without those that lie beside the image."""

    arguments = ("labels_getter",)
    chooses_among = tv_tensors.KeyPoints

    def chosen(self, objects: Any) -> Tensor:
        found: Tensor = v2.functional.sanitize_keypoints(objects)[1]
        return found
