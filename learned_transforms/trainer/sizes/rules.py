"""What becomes of an image of any size: where it is cut, to what it is resized, and where it lies in the answer."""

from dataclasses import dataclass
from typing import NamedTuple

from learned_transforms.ir.sizing import Size
from learned_transforms.layers.letterbox import offset
from learned_transforms.layers.size_rules import SizeRule


class Place(NamedTuple):
    """What becomes of one axis: ``length`` pixels from ``low`` on are resized to ``full``; ``kept`` of these, from
    ``start`` on, lie at ``first`` in an output of ``frame`` pixels.
    """

    low: int
    length: int
    full: int
    start: int
    kept: int
    first: int
    frame: int


@dataclass(frozen=True)
class Rules:
    """The layout of an answer for any size of image.

    Attributes:
        fill: what lies around the image in the frame, a value for each channel; None: nothing did.
        box: what is cut out before the image is resized, or None; ``box_place``, where.
        resize: to what size it is resized.
        frame: from the resized size to that of the output, or None: the same.
        place: where in the frame the resized image lies, rows and columns; out of ``letterbox.PLACES``.
        flips: (rows, columns) are mirrored.
        swapped: rows become columns, last of all.
    """

    resize: SizeRule
    frame: SizeRule | None = None
    place: tuple[str, str] = ("torchvision", "torchvision")
    flips: tuple[bool, bool] = (False, False)
    swapped: bool = False
    fill: tuple[float, ...] | None = None
    box: SizeRule | None = None
    box_place: str = "torchvision"

    def layout(self, size: Size) -> tuple[Place, Place]:
        """Return what becomes of the rows, and of the columns.

        Raises:
            EmptyImageError: nothing is left of such an image.
        """
        box = size if self.box is None else self.box(size)
        full = self.resize(box)
        frame = full if self.frame is None else self.frame(full)
        found = []
        for axis in (0, 1):
            low = -offset(size[axis], box[axis], self.box_place)
            first = offset(full[axis], frame[axis], self.place[axis])
            start, first = max(0, -first), max(0, first)
            kept = min(full[axis] - start, frame[axis] - first)
            found.append(Place(low, box[axis], full[axis], start, kept, first, frame[axis]))
        return found[0], found[1]

    @property
    def resizes(self) -> bool:
        return self.resize != SizeRule("same")

    @property
    def plain(self) -> bool:
        """Whether images keep their size, or all get one: nothing hangs on their size."""
        still = self.frame is None and self.box is None and not self.swapped
        return still and self.resize.kind in ("same", "fixed") and self.resize.multiple == 1

    def __str__(self) -> str:
        words = [] if self.box is None else [f"cut to the {self.box}"]
        words += [f"resized: {self.resize}"] if self.resizes else []
        words += (
            [] if self.frame is None else [f"in a frame: {self.frame}, at {' and '.join(dict.fromkeys(self.place))}"]
        )
        words += ["rows and columns exchanged"] if self.swapped else []
        return "; ".join(words) or "same size"
