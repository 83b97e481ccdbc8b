"""Transforms that draw where the image goes: a window of it, or a place by its size and by boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from learned_transforms.images.formats import Form, Window
from learned_transforms.ir.ops import Shape
from learned_transforms.ir.sizing import Size
from learned_transforms.layers import geometry
from learned_transforms.transforms.boxes import corners_of
from learned_transforms.transforms.padding import filled
from learned_transforms.transforms.rng import below, default_rng_active, draw, round_float32, toss
from learned_transforms.transforms.spec import SIDES, Outcome, Seen, Spec, Step, is_whole, names_are

FARTHEST = 2**24
"""Pixels from an image that params may put a window at: an axis has no more."""


class Windowed(Spec):
    """A transform that draws the part of the image to use."""

    random = looks = windowing = same_size = True
    names = SIDES

    def sample(self, seen: Seen) -> Outcome:
        return tuple(zip(SIDES, self.window(seen.shape[1:], seen.limited), strict=True))

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, SIDES) or not is_whole(entry, SIDES):
            return None
        return tuple((side, entry[side]) for side in SIDES)

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        if isinstance(outcome, tuple):
            return dict(outcome)
        return {} if window is None else dict(zip(SIDES, window, strict=True))


class Cut(Windowed):
    """A transform that draws where a part of one size begins: a number like any other, behind other layers."""

    looks = False
    measuring = True
    factors = SIDES[:2]

    def replay(self, entry: Any) -> Outcome | None:
        found = super().replay(entry)
        if found is None or (entry["height"], entry["width"]) != self.size_after((0, 0)):
            return None
        return found if max(abs(entry["top"]), abs(entry["left"])) <= FARTHEST else None

    def split(self, drawn: Outcome, size: Size, container: str) -> tuple[Outcome, tuple[float, ...]]:
        if isinstance(drawn, bool):
            return super().split(drawn, size, container)
        (_, top), (_, left), *lengths = drawn
        return tuple(lengths), (float(top), float(left))

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        return (drawn,)


class Placed(Spec):
    """A transform that draws from the size that those before it left, and from boxes: it may come anywhere."""

    random = placing = same_size = geometric = True

    def sample(self, seen: Seen) -> Outcome:
        """Draw what torchvision's own function draws."""
        # An image of one number: its size is all that is looked at.
        image = torch.empty((), device="cpu").expand(seen.shape)
        drawn = self.transform.make_params([image, *seen.boxes])
        return tuple((name, as_plain(value)) for name, value in drawn.items()) or False

    def fits(self, entry: Mapping[str, Any]) -> bool:
        """Return whether params of the right names are whole numbers, and as many as it draws."""
        raise NotImplementedError

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, self.names) or not self.fits(entry):
            return None
        return tuple((name, as_plain(entry[name])) for name in self.names)

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        if isinstance(outcome, bool):
            return {}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in outcome}


class RandomZoomOut(Placed):
    """Pad by drawn amounts."""

    arguments = ("fill", "side_range", "p")
    names = ("padding",)
    optional = reshaping = True

    def lower(self, form: Form) -> Step | str:
        around = filled(self.transform.fill, "zero", form, self.api)
        if isinstance(around, str):
            return around
        return Step(form, layer=geometry.Padding(), params={"limited": False, **around})

    def sample(self, seen: Seen) -> Outcome:
        return super().sample(seen) if toss((round_float32(self.transform.p),))[0] else False

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return whole_numbers(entry["padding"], 4, least=0)

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        if isinstance(drawn, bool):
            return size
        left, top, right, bottom = dict(drawn)["padding"]
        return size[0] + top + bottom, size[1] + left + right

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        made: Image.Image = v1.functional.pad(pixel, 0)
        return made


class RandomIoUCrop(Placed):
    """Cut out a part that boxes overlap by at least a drawn share."""

    arguments = ("min_scale", "max_scale", "min_aspect_ratio", "max_aspect_ratio", "sampler_options", "trials")
    names = (*SIDES, "is_within_crop_area")
    optional = True

    def lower(self, form: Form) -> Step | str:
        if not form.several:
            return "it takes boxes beside the image"
        return Step(form, layer=geometry.Windowing(), params={"border": "zero", "fill": (0.0,)})

    def gives_view(self) -> bool:
        return True

    def sample(self, seen: Seen) -> Outcome:
        """Try each of the overlaps that come, in float32 as torchvision does, without its tensors."""
        boxes: Any = seen.boxes[0]
        straight = not tv_tensors.is_rotated_bounding_format(boxes.format)
        if not (default_rng_active() and straight and boxes.dtype == torch.float32 and boxes.device.type == "cpu"):
            return super().sample(seen)
        corners = corners_of(boxes).numpy()
        centers = np.float32(0.5) * (corners[:, :2] + corners[:, 2:])
        areas = np.prod(corners[:, 2:] - corners[:, :2], 1)
        while True:
            overlap = self.transform.options[below(len(self.transform.options))]
            if overlap >= 1:
                return False
            for _ in range(self.transform.trials):
                found = self.attempt(seen.shape, (corners, centers, areas), overlap)
                if found is not None:
                    return tuple(zip(self.names, found, strict=True))

    def attempt(self, shape: Shape, boxes: tuple[Any, Any, Any], overlap: float) -> tuple[Any, ...] | None:
        """Draw one window; give it, with which boxes lie in it, if they overlap it by enough.

        Args:
            boxes: corners, centers and areas of them.
        """
        transform, (corners, centers, areas) = self.transform, boxes
        low, room = np.float32(transform.min_scale), np.float32(transform.max_scale - transform.min_scale)
        whole = np.array(shape[:0:-1], np.float32)  # width, height
        width, height = (int(side) for side in whole * (low + room * np.array(draw(2), np.float32)))
        if not transform.min_aspect_ratio <= width / height <= transform.max_aspect_ratio:
            return None
        free = np.array((shape[2] - width, shape[1] - height), np.float32)
        left, top = (int(side) for side in free * np.array(draw(2), np.float32))
        if not (width and height):
            return None
        start, stop = np.array((left, top), np.float32), np.array((left + width, top + height), np.float32)
        within = ((start < centers) & (centers < stop)).all(1)
        if not within.any():
            return None
        lengths = np.minimum(corners[:, 2:], stop) - np.maximum(corners[:, :2], start)
        common = np.prod(lengths.clip(0), 1)
        shares = common / (areas + np.prod(stop - start) - common)
        if shares[within].max() < np.float32(overlap):
            return None
        return top, left, height, width, tuple(within.tolist())

    def fits(self, entry: Mapping[str, Any]) -> bool:
        within = entry["is_within_crop_area"]
        boxed = isinstance(within, list | tuple) and all(type(one) is bool for one in within)
        return boxed and is_whole(entry, SIDES) and entry["height"] >= 1 and entry["width"] >= 1

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        params = super().v2_params(outcome, window, value, channels)
        within = params.get("is_within_crop_area", [])
        return params | {"is_within_crop_area": torch.tensor(within, dtype=torch.bool)} if params else params

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        params = dict(drawn) if isinstance(drawn, tuple) else {}
        return (params["height"], params["width"]) if params else size


def as_plain(value: Any) -> Any:
    """Return a param of torchvision's without tensors and lists, which have no hash."""
    value = value.tolist() if isinstance(value, Tensor) else value
    return tuple(value) if isinstance(value, list) else value


def whole_numbers(value: Any, count: int, least: int) -> bool:
    """Return whether a param holds so many whole numbers of at least ``least``."""
    listed: Sequence[Any] = value if isinstance(value, list | tuple) else ()
    return len(listed) == count and all(type(one) is int and one >= least for one in listed)
