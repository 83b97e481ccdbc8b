"""What processors make of levels: their float steps, run on all 256 of them, are a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

Numbers = float | tuple[float, ...]


@dataclass(frozen=True)
class LevelSteps:
    """Float steps on levels, in this order; what is None or False is left out.

    Attributes:
        factor: multiply by this.
        offset: then subtract 1.
        mean, std: subtract and divide by these, one number for each channel, or one for all.
        again: then divide by ``std`` once more.
    """

    factor: float | None = None
    offset: bool = False
    mean: Numbers | None = None
    std: Numbers | None = None
    again: bool = False

    @property
    def channels(self) -> int | None:
        """How many the numbers are for; None: any."""
        lengths = {len(value) for value in (self.mean, self.std) if isinstance(value, tuple)} - {1}
        return max(lengths, default=None)

    def table(self, backend: str) -> Tensor | None:
        """Return what becomes of each level, float32 ``[channels or 1, 256]``, one row where all channels
        are alike; None: levels stay levels.

        Raises:
            TypeError: torchvision divides levels by ``std`` ("again") only where floats were made of them before.
        """
        if self.factor is None and self.mean is None and not self.again:
            return None
        levels = np.tile(np.arange(256, dtype=np.uint8), (self.channels or 1, 1))
        if backend == "pil":
            made = torch.from_numpy(self.by_numpy(levels))
        else:
            made = self.by_torch(torch.from_numpy(levels)[:, None])[:, 0]
        return made[:1] if made.equal(made[:1].expand_as(made)) else made

    def by_numpy(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return the steps of the Pillow backend: products in float64, the rest in float32."""
        made = image.astype(np.float32)
        if self.factor is not None:
            made = (image.astype(np.float64) * self.factor).astype(np.float32)
        if self.offset:
            made -= 1
        if self.mean is not None and self.std is not None:
            made = (made - column(self.mean)) / column(self.std)
        return made if not self.again or self.std is None else made / column(self.std)

    def by_torch(self, image: Tensor) -> Tensor:
        """Return the steps of the torchvision backend: the factor goes into mean and std where there are such."""
        mean: Any = self.mean
        std: Any = self.std
        if self.factor is not None and self.mean is not None and not self.offset:
            mean, std = (torch.tensor(value) * (1.0 / self.factor) for value in (mean, std))
        elif self.factor is not None:
            image = image * self.factor
        if self.offset:
            image = image - 1
        if mean is not None:
            image = functional.normalize(image.to(torch.float32), mean, std)
        return functional.normalize(image, 0, self.std) if self.again else image


def column(value: Numbers) -> npt.NDArray[np.float32]:
    """Return numbers by channel, in float32."""
    return np.array(value, dtype=np.float32).reshape(-1, 1)
