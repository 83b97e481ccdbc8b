"""Flips, crops and padding."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torchvision.transforms as v1
from PIL import Image

from learned_transforms.errors import InputShapeError
from learned_transforms.images.formats import Form, Window
from learned_transforms.images.pytree import size_of
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops import Slots
from learned_transforms.ir.sizing import Size
from learned_transforms.layers import geometry
from learned_transforms.layers.given import Cutting
from learned_transforms.transforms.padding import sides, surroundings
from learned_transforms.transforms.places import Cut
from learned_transforms.transforms.rng import below
from learned_transforms.transforms.spec import SIDES, Coin, Outcome, Spec, Step


class RandomHorizontalFlip(Coin):
    """Left and right exchanged, or not."""

    arguments = ("p",)
    geometric = half = keeps_order = True
    axis = "horizontal"

    def lower(self, form: Form) -> Step | str:
        return Step(form, layer=geometry.Flipping(), params={"axis": self.axis})


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged, or not."""

    axis = "vertical"


class CenterCrop(Spec):
    """The middle of the image, padded where the image is smaller."""

    arguments = ("size",)
    geometric = half = True

    def lower(self, form: Form) -> Step | str:
        return Step(form, layer=geometry.Cropping(), params={"size": tuple(self.transform.size)})

    def gives_view(self) -> bool:
        return True

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        rows, columns = self.transform.size
        return rows, columns

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        beyond = any(wanted > length for wanted, length in zip(self.transform.size, size, strict=True))
        return padded(pixel, "constant") if beyond else pixel


class RandomCrop(Cut):
    """Cut any part of a size out of the image and what is padded around it."""

    arguments = ("size", "padding", "pad_if_needed", "fill", "padding_mode")
    geometric = half = shallow = reshaping = True
    kept = ("pil", "image", "video")

    def argument(self, name: str) -> Any:
        reordered = name == "padding" and self.api == "v2" and self.transform.padding
        return self.padding if reordered else super().argument(name)

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom); v2 keeps (left, right, top, bottom)."""
        if self.api == "v2" and self.transform.padding:
            left, right, top, bottom = self.transform.padding
            return left, top, right, bottom
        return sides(self.transform.padding)

    @property
    def always_pads(self) -> bool:
        """Whether it pads images of any size, and so copies them; v1 does so even by 0."""
        return any(self.padding) if self.api == "v2" else self.transform.padding is not None

    @property
    def skips_whole(self) -> bool:
        """Whether it does nothing where it would take the whole image; one that pads leaves a copy."""
        return self.api == "v2" and not any(self.transform.padding or ())

    def lower(self, form: Form) -> Step | str:
        around = surroundings(self.transform, form, self.api)
        if isinstance(around, str):
            return around
        mirrored = around["border"] in ("reflect", "symmetric")
        if self.api == "v1" and mirrored and self.transform.pad_if_needed and any(sides(self.transform.padding)):
            return "v1 mirrors again what it has mirrored before"
        params = {"size": tuple(self.transform.size), "starts": Slots(0, 2), **around}
        return Step(form, layer=geometry.Windowing(), params=params)

    def gives_view(self) -> bool:
        return not self.always_pads

    def keeps(self, form: Form, drawn: Outcome, gray: bool) -> bool:
        return self.api == "v2" and super().keeps(form, drawn, gray)

    def around(self, size: Size) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom): by how much it pads an image of ``size``."""
        left, top, right, bottom = self.padding
        if self.transform.pad_if_needed:
            rows, columns = self.transform.size
            more = max(columns - size[1] - left - right, 0)
            left, right = left + more, right + more
            more = max(rows - size[0] - top - bottom, 0)
            top, bottom = top + more, bottom + more
        return left, top, right, bottom

    def window(self, size: Size, limited: bool) -> Window:
        """Draw a window, against the image without its padding: parts may lie outside."""
        new = self.api == "v2"
        left, top, right, bottom = self.around(size)
        limited = limited and self.transform.padding_mode in ("reflect", "symmetric")
        rows, columns = self.transform.size
        if limited and not new:  # v1 pads before it looks at the size.
            check_padding((left, top, right, bottom), size, self.transform.padding_mode)
        height, width = size[0] + top + bottom, size[1] + left + right
        if height < rows or width < columns:
            adjective = "padded " if self.transform.padding is not None else ""
            raise InputShapeError(
                f"Required crop size {(rows, columns)} is larger than {adjective}input image size {(height, width)}. "
                "Pass pad_if_needed=True, or resize before."
            )
        # v1 draws neither number where the whole image is taken, v2 leaves out each that can only be 0.
        skip = new or (height == rows and width == columns)
        y = 0 if skip and height == rows else below(height - rows + 1)
        x = 0 if skip and width == columns else below(width - columns + 1)
        if limited and new:
            check_padding((left, top, right, bottom), size, self.transform.padding_mode)
        return y - top, x - left, rows, columns

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        found = super().v2_params(outcome, window, value, channels)
        if not found:
            return found
        top, left, height, width = (found[side] for side in SIDES)
        rows, columns = size_of(value)
        # Windows that are played back may lie anywhere: enough on each side for them, too.
        needed = -left, -top, left + width - columns, top + height - rows
        padding = [max(pair) for pair in zip(self.around((rows, columns)), needed, strict=True)]
        size = rows + padding[1] + padding[3], columns + padding[0] + padding[2]
        return {
            **found,
            "top": top + padding[1],
            "left": left + padding[0],
            "needs_crop": size != (height, width),
            "needs_pad": any(padding),
            "padding": padding,
        }

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        rows, columns = self.transform.size
        return rows, columns

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        left, top, right, bottom = self.padding
        inside = size[0] + top + bottom, size[1] + left + right
        beyond = any(wanted > length for wanted, length in zip(self.transform.size, inside, strict=True))
        return padded(pixel, self.transform.padding_mode) if self.always_pads or beyond else pixel


class Pad(Spec):
    """The image with something around it."""

    arguments = ("padding", "fill", "padding_mode")
    geometric = half = shallow = reshaping = True

    def lower(self, form: Form) -> Step | str:
        around = surroundings(self.transform, form, self.api)
        if isinstance(around, str):
            return around
        # NumPy, which pads PIL images, mirrors more than once.
        params = {"padding": sides(self.transform.padding), "limited": form.container != "pil", **around}
        return Step(form, layer=geometry.Padding(), params=params)

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        left, top, right, bottom = sides(self.transform.padding)
        return size[0] + top + bottom, size[1] + left + right

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return padded(pixel, self.transform.padding_mode)


class FiveCrop(Spec):
    """The corners and the middle; see segment.py."""

    arguments: ClassVar[Sequence[str]] = ("size",)
    several = converting = True

    def lower(self, form: Form) -> Step | str:
        size = tuple(self.transform.size)
        if not all(isinstance(length, int) and length > 0 for length in size):
            return f"a size of {size} is not learned"
        return Step(form._replace(several=True), layer=Cutting(size, self.axis), params={})

    @property
    def axis(self) -> str | None:
        """Along which everything comes mirrored, too."""
        return None

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        rows, columns = self.transform.size
        return rows, columns


class TenCrop(FiveCrop):
    """The same of the image and of its mirror image."""

    arguments = ("size", "vertical_flip")

    @property
    def axis(self) -> str | None:
        return "vertical" if self.transform.vertical_flip else "horizontal"


def padded(pixel: Image.Image, mode: str) -> Image.Image:
    """Pad by nothing, for what becomes of ``Image.info``."""
    made: Image.Image = v1.functional.pad(pixel, 0, padding_mode=mode)
    return made
