"""Which pixels of an image, or of a resized one, become which outputs: crops, pads and flips, composed."""

from typing import NamedTuple

from learned_transforms.ir.indexing import Keep


class Span(NamedTuple):
    """Where the outputs of an axis come from: output i of ``begin <= i < end`` is pixel ``start + i * step``.

    The others, up to ``length``, are filled in.
    """

    start: int
    step: int
    begin: int
    end: int
    length: int

    def then(self, keep: Keep | None) -> "Span":
        """Return the same with a crop, a pad or a flip behind it."""
        if keep is None:
            return self
        if not self.inner:
            return self._replace(begin=0, end=0, length=keep.count)
        # Output i is the one at keep.start + i * keep.step of these.
        ends = [(edge - keep.start) * keep.step for edge in (self.begin, self.end - 1)]
        begin, end = max(min(ends), 0), min(max(ends) + 1, keep.count)
        start = self.start + self.step * keep.start
        return Span(start, self.step * keep.step, begin, max(begin, end), keep.count)

    @property
    def inner(self) -> int:
        """How many outputs are made of pixels."""
        return self.end - self.begin

    @property
    def first(self) -> int:
        """The least of the pixels that they are made of."""
        ends = self.start + self.step * self.begin, self.start + self.step * (self.end - 1)
        return min(ends)


def entire(length: int) -> Span:
    """Return an axis as it is."""
    return Span(0, 1, 0, length, length)
