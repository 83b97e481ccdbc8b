"""Where a teacher puts an image: measured on constant images and on ramps, of which every answer tells its place."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.sizing import Size
from learned_transforms.trainer.data.quantization import LEVELS
from learned_transforms.trainer.data.sources import Teacher, as_kind, as_tensor, in_float32

FEWEST_LEVELS = 24
"""Levels that a teacher must keep apart for a ramp to be read."""

INNER = 0.1
"""Share of a line at either end that is not looked at: there, windows are cut off."""

TOOTH = 16
"""Pixels, of the coarser of input and output, along each straight part of a wave, which is finer than one ramp."""

STRAIGHT = 0.25
"""Share of such a part at either end that is not looked at: there, it is bent."""

BENT = 1.0
"""How far, in pixels of the coarser of input and output and in steps of the ramp, places may lie off a line."""

UNSURE = 0.2
"""Share of the slope of a line by which it may be off."""

CERTAIN = 4.0
"""Standard errors within which a measured length lies."""

WHOLE = 1.0
"""How far, in pixels of the output, the length of an axis may be off one that is resized as a whole."""

FEWEST_PLACES = 4

PROBED = 0, 60, 128, 190, 255
"""Levels of constant images."""

IRREGULAR = "answers depend on the image in no rectangle"


@dataclass(frozen=True)
class LayoutSpan:
    """What becomes of one axis of the input.

    Attributes:
        length: pixels of the input.
        frame: pixels of the output, of which ``count`` from ``first`` on depend on the input.
        full: (least, most) length to which the whole axis is resized, as far as it was measured.
        start: the same, of which of these pixels comes first.
        flipped: the axis is mirrored.
    """

    length: int
    frame: int
    first: int
    count: int
    full: tuple[float, float]
    start: tuple[float, float]
    flipped: bool


@dataclass(frozen=True)
class SeenLayout:
    """What becomes of an image of one size.

    Attributes:
        size: of the image.
        rows, columns: of it.
        swapped: its rows become columns.
        fill: what lies around it in the answer, a value for each channel; None: nothing does.
    """

    size: Size
    rows: LayoutSpan
    columns: LayoutSpan
    swapped: bool
    fill: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Curve:
    """How a teacher answers gray levels: one channel of its output, over levels that it keeps in order.

    Attributes:
        channel: of the output.
        low, high: the levels.
        values, levels: an answer, and the mean of the levels that it stands for; values rise.
    """

    channel: int
    low: int
    high: int
    values: np.ndarray
    levels: np.ndarray

    def shares(self, answer: Tensor) -> np.ndarray:
        """Return how far the levels behind an answer ``[C', H', W']`` lie along those of the curve, float64 ``[H',
        W']``."""
        levels = np.interp(answer[self.channel].double().numpy(), self.values, self.levels)
        found: np.ndarray = (levels - self.low) / (self.high - self.low)
        return found


class Looker:
    """Looks at a teacher through answers to images of any size.

    Args:
        teacher: what is looked at.
        kind: see :data:`~learned_transforms.trainer.data.sources.KINDS`.
        channels: of its input.
    """

    def __init__(self, teacher: Teacher, kind: str, channels: int) -> None:
        self.teacher, self.kind, self.channels = teacher, kind, channels
        self.curve: Curve | None = None
        self.asked: dict[Size, SeenLayout | str] = {}

    def ask(self, plane: Tensor) -> Tensor:
        """Return the answer to a gray image, given as uint8 ``[H, W]``.

        Raises:
            TeacherError: it raises, or gives no image.
        """
        image = plane.expand(self.channels, *plane.shape)
        try:
            answer = as_tensor(self.teacher(as_kind(image.contiguous(), self.kind)), convert=False)
        except Exception as error:  # Whatever a foreign callable raises is told as its failure.
            raise TeacherError(
                f"The teacher raised {type(error).__name__} on an image of {tuple(plane.shape)}: {error}"
            ) from error
        if answer.ndim != 3 or not answer.numel():
            raise TeacherError(f"Expected one image [C, H, W] as the answer, got shape {tuple(answer.shape)}.")
        return in_float32(answer)

    def look(self, size: Size) -> SeenLayout | str:
        """Return what becomes of images of this size, or why that cannot be told."""
        if size not in self.asked:
            try:
                self.asked[size] = self.measured(size)
            except TeacherError as error:
                self.asked[size] = str(error)
        return self.asked[size]

    def measured(self, size: Size) -> SeenLayout | str:
        known = self.curve
        levels = PROBED if known is None else (known.low, (known.low + known.high) // 2, known.high)
        answers = [self.ask(torch.full(size, level, dtype=torch.uint8)) for level in levels]
        if len({answer.shape for answer in answers}) > 1:
            return "the size of its answers hangs on what images hold"
        stacked = torch.stack(answers)
        shown = (stacked != stacked[:1]).flatten(0, 1).any(0)
        boxes = [run_of(shown.any(1)), run_of(shown.any(0))] if shown.any() else [None]
        if None in boxes:
            return IRREGULAR
        (top, height), (left, width) = (box for box in boxes if box is not None)
        if not shown[top : top + height, left : left + width].all():
            return IRREGULAR
        if self.curve is None:
            self.curve = self.gray_curve(size, top + height // 2, left + width // 2)
            if self.curve is None:
                return f"fewer than {FEWEST_LEVELS} levels of gray are kept apart"
        curve = self.curve
        frames = shown.shape
        window = slice(top, top + height), slice(left, left + width)
        spans: list[tuple[LayoutSpan, int]] = []
        for axis in (0, 1):
            shares = self.shares(curve, ramp(size, axis, curve), window)
            along = int(shares.mean(0).std() > shares.mean(1).std())
            first, count = boxes[along] or (0, 0)
            coarse = line_of(shares.mean(1 - along) * size[axis], size[axis], curve)
            if isinstance(coarse, str):
                return coarse
            full, start = coarse.range(size[axis])
            if full[0] - WHOLE <= count <= full[1] + WHOLE and abs(start) < 1:
                # Most likely the whole axis, as a ramp of few levels may be locked to outputs.
                ranges = (min(full[0], count), max(full[1], count)), (min(start, 0.0), max(start, 0.0))
            else:
                teeth = max(1, round(size[axis] / max(abs(coarse.slope), 1) / TOOTH))
                wave = self.shares(curve, ramp(size, axis, curve, teeth), window).mean(1 - along)
                full, start = coarse.refined(wave, teeth, size[axis]).range(size[axis])
                ranges = full, (start, start)
            if ranges[0][1] - ranges[0][0] > UNSURE * ranges[0][0]:
                return "the scale of images is not to be told"
            before = first if coarse.slope > 0 else frames[along] - first - count
            spans.append((LayoutSpan(size[axis], frames[along], before, count, *ranges, coarse.slope < 0), along))
        if spans[0][1] == spans[1][1]:
            return "rows and columns are not told apart"
        around = stacked[0][:, ~shown]
        if around.numel() and not around.eq(around[:, :1]).all():
            return "what lies around the image has several values"
        fill = tuple(around[:, 0].tolist()) if around.numel() else None
        return SeenLayout(size, spans[0][0], spans[1][0], spans[0][1] == 1, fill)

    def shares(self, curve: Curve, plane: Tensor, window: tuple[slice, slice]) -> np.ndarray:
        """Return how far each value of an answer lies along the levels of the curve, 0 to 1."""
        return curve.shares(self.ask(plane)[:, window[0], window[1]])

    def left_out(self, size: Size, rows: slice, columns: slice) -> bool:
        """Return whether what lies outside these rows and columns of an image changes nothing.

        Raises:
            TeacherError: it takes no such image.
        """
        plain = torch.full(size, LEVELS // 2, dtype=torch.uint8)
        framed = (torch.arange(size[0])[:, None] * 37 + torch.arange(size[1]) * 11).remainder(LEVELS).to(torch.uint8)
        framed[rows, columns] = LEVELS // 2
        return self.ask(plain).equal(self.ask(framed))

    def gray_curve(self, size: Size, row: int, column: int) -> Curve | None:
        """Return the curve of the channel that keeps most levels apart."""
        answers = [self.ask(torch.full(size, level, dtype=torch.uint8))[:, row, column] for level in range(LEVELS)]
        curves = [curve_of(values, channel) for channel, values in enumerate(torch.stack(answers, 1).double().numpy())]
        best = max(curves, key=lambda curve: len(curve.values))
        return best if len(best.values) >= FEWEST_LEVELS else None


def curve_of(values: np.ndarray, channel: int) -> Curve:
    """Return the longest stretch of levels over which answers never fall, or never rise."""
    best: tuple[int, int, int, int] = (0, 0, 0, 1)
    for sign in (1, -1):
        steps = np.diff(values) * sign
        low = 0
        for high in range(1, len(values) + 1):
            if high == len(values) or steps[high - 1] < 0:
                distinct = len(np.unique(values[low:high]))
                best = max(best, (distinct, low, high - 1, sign))
                low = high
    _, low, high, _ = best
    stretch = values[low : high + 1]
    found, inverse = np.unique(stretch, return_inverse=True)
    levels = np.bincount(inverse, np.arange(low, high + 1)) / np.bincount(inverse)
    return Curve(channel, low, high, found, levels)


def ramp(size: Size, axis: int, curve: Curve, teeth: int = 1) -> Tensor:
    """Gray that rises along an axis over the levels of the curve, uint8 ``[H, W]``; the other axis dithers it.

    With several ``teeth``, it rises and falls in turn.
    """
    length, other = size[axis], size[1 - axis]
    place = (torch.arange(length).double() + 0.5) / length * teeth
    share = torch.where(place.floor() % 2 == 0, place % 1, 1 - place % 1)
    rising = curve.low + (curve.high - curve.low) * share
    # Multiples of the golden ratio are spread evenly, however many rows come together.
    dither = (torch.arange(other).double() * 0.6180339887) % 1
    plane = (rising + dither[:, None]).floor().clamp(0, LEVELS - 1).to(torch.uint8)
    return plane if axis == 1 else plane.T.contiguous()


def run_of(mask: Tensor) -> tuple[int, int] | None:
    """Start and length of the only run of ones; None where there are several."""
    where = mask.nonzero()[:, 0]
    low, high = int(where[0]), int(where[-1])
    return (low, high - low + 1) if len(where) == high - low + 1 else None


@dataclass(frozen=True)
class Line:
    """Places along an axis, in input pixels, by output: ``slope * (output + 0.5) + offset``.

    ``error`` is what the slope may be off.
    """

    slope: float
    offset: float
    error: float
    count: int

    @property
    def rising(self) -> "Line":
        """The same counted from the other end, where it falls."""
        if self.slope > 0:
            return self
        return Line(-self.slope, self.offset + self.slope * self.count, self.error, self.count)

    def range(self, length: int) -> tuple[tuple[float, float], float]:
        """Return the (least, most) length to which an axis of so many pixels is resized, and which of these comes
        first."""
        line = self.rising
        deviation = line.error + 1e-4 * line.slope
        low, high = length / (line.slope + deviation), length / max(line.slope - deviation, 1e-9)
        return (low, high), line.offset / line.slope

    def refined(self, shares: np.ndarray, teeth: int, length: int) -> "Line":
        """Return the line through places that a wave of so many teeth tells."""
        index = np.arange(self.count) + 0.5
        place = (self.slope * index + self.offset) / length * teeth
        tooth = np.floor(place)
        share = np.where(tooth % 2 == 0, shares, 1 - shares)
        inner = (np.abs(share - 0.5) < 0.5 - STRAIGHT) & (np.abs(place - tooth - 0.5) < 0.5 - STRAIGHT / 2)
        if inner.sum() < FEWEST_PLACES:
            return self
        line, _ = fitted(index[inner], (tooth + share)[inner] * length / teeth, self.count)
        return line if line.error <= UNSURE * abs(line.slope) else self


def fitted(index: np.ndarray, places: np.ndarray, count: int) -> tuple[Line, np.ndarray]:
    """Return the straight line through places, and how far each lies off."""
    slope, offset = np.polyfit(index, places, 1)
    off = places - slope * index - offset
    spread = index - index.mean()
    error = CERTAIN * float(np.sqrt((off**2).mean() / (spread**2).sum()))
    return Line(float(slope), float(offset), error, count), off


def line_of(places: np.ndarray, length: int, curve: Curve) -> Line | str:
    """Return the straight line through places ``[count]`` along an axis of ``length`` pixels; or why there is none."""
    count = len(places)
    if count < FEWEST_PLACES:
        return f"only {count} rows or columns depend on the image"
    inner = slice(int(count * INNER), count - int(count * INNER))
    line, off = fitted((np.arange(count) + 0.5)[inner], places[inner], count)
    step = length / (curve.high - curve.low)
    bent = np.abs(off).max() > BENT * (max(abs(line.slope), 1.0) + step)
    if bent or line.error > UNSURE * abs(line.slope):
        return "images are not mapped along straight lines"
    return line
