"""What all operations share: shapes, and numbers that are drawn for each image."""

from dataclasses import dataclass
from typing import NamedTuple

from learned_transforms.errors import PipelineValueError

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Stage:
    """Base of operations: most are the same whatever the size of the image, or are of one size."""

    def output(self, shape: Shape) -> Shape:
        """Return the shape of what images of ``shape`` become."""
        raise NotImplementedError

    def at(self, shape: Shape) -> "Stage | None":
        """Return the same for images of one ``shape``, without rules; None: nothing is done to these.

        Raises:
            InputShapeError: the stage does not take such images; or an error that torchvision raises for them.
        """
        return self


@dataclass(frozen=True, eq=False)
class Alike(Stage):
    """Base of stages whose output has the shape of their input."""

    def output(self, shape: Shape) -> Shape:
        return shape


class Slot(NamedTuple):
    """A number that is drawn for every image: entry ``number`` of the factors that come with it."""

    number: int


class Slots(NamedTuple):
    """Numbers that are drawn for every image: ``length`` entries, from number ``first`` on, of its factors."""

    first: int
    length: int


Factor = float | Slot


def number(factor: Factor) -> float:
    """Return a factor of a stage that :func:`settled` gave.

    Raises:
        PipelineValueError: it is still to be drawn.
    """
    if isinstance(factor, Slot):
        raise PipelineValueError(f"Expected factor {factor.number} with the image: it is drawn for each.")
    return factor
