"""How long a clone takes for an image, beside its teacher."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor

from learned_transforms.errors import LearnedTransformsError
from learned_transforms.ir.sizing import Size
from learned_transforms.trainer.data.sources import Teacher, as_kind

ROUNDS = 7
"""Of each, in turn; the first of them warms up."""


@dataclass(frozen=True)
class Speed:
    """Median seconds for one image of a size."""

    clone: float
    teacher: float
    size: Size

    def __str__(self) -> str:
        rows, columns = self.size
        return f"{self.clone * 1e3:.3g} ms for {rows} x {columns}, the teacher {self.teacher * 1e3:.3g} ms"


def compare_speed(clone: Callable[[Any], Any], teacher: Teacher, image: Tensor, kind: str) -> Speed | None:
    """Time both on one image ``[C, H, W]``, in turn; None where the clone does not take it."""
    taken: dict[str, list[float]] = {"clone": [], "teacher": []}
    for _ in range(ROUNDS):
        for name, run in (("clone", clone), ("teacher", teacher)):
            given = as_kind(image, kind)
            start = time.perf_counter()
            try:
                run(given)
            except LearnedTransformsError:
                return None
            taken[name].append(time.perf_counter() - start)
    return Speed(median(taken["clone"][1:]), median(taken["teacher"][1:]), (image.shape[-2], image.shape[-1]))
