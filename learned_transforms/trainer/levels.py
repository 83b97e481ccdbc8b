"""How a teacher's targets are written: levels, levels behind a table, or floats."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.layers import Layer, Lookup, Params
from learned_transforms.network import Network
from learned_transforms.trainer.data import Pairs
from learned_transforms.trainer.problem import Labelled


@dataclass(frozen=True)
class Levels:
    """How targets are written: as levels behind a table, as plain levels, or as floats.

    Attributes:
        quantised: targets come from at most 256 levels.
        table: float32 ``[256]``, what stands for each level; None if targets are uint8 or continuous.
        unseen: how many of its entries no target showed.
        full: full range of the labels: 255 for levels, 1 for floats.
    """

    quantised: bool
    table: Tensor | None
    unseen: int = 0

    @property
    def full(self) -> float:
        return 255.0 if self.quantised else 1.0

    @classmethod
    def of(cls, pairs: Pairs) -> "Levels":
        """Find the levels in the targets: floats that are all near k / 255 hide a table of 256 values."""
        targets = pairs.targets
        if targets.dtype == torch.uint8:
            return cls(True, None)
        if targets.dtype != torch.float32:
            raise TeacherError(f"Expected uint8 or float32 answers from the teacher, got {targets.dtype}.")
        values = targets.unique()
        level = (values * 255).round()
        if pairs.inputs.dtype != torch.uint8 or len(values) > 256 or float((values * 255 - level).abs().max()) > 1e-3:
            return cls(False, None)
        # Levels that no target shows lie between their neighbours, by straight lines.
        seen = level.long()
        table = torch.from_numpy(np.interp(np.arange(256), seen.numpy(), values.double().numpy())).float()
        table[: seen[0]], table[seen[-1] + 1 :] = (
            torch.arange(256)[: seen[0]] / 255,
            torch.arange(256)[seen[-1] + 1 :] / 255,
        )
        table[seen] = values
        return cls(True, table, 256 - len(seen))

    def notes(self) -> list[str]:
        return [f"{self.unseen} of 256 levels occur in no target; the table fills them in"] if self.unseen else []

    def label(self, pairs: Pairs) -> Labelled:
        """Inputs and labels: uint8 levels, or float32."""
        targets = pairs.targets
        if self.table is not None:
            targets = (targets * 255).round().to(torch.uint8)
        return Labelled(pairs.inputs, targets)

    def network(
        self, layers: list[Layer], params: list[Params], pairs: Pairs, learned: tuple[str, ...] = ()
    ) -> Network:
        """The layers, and the table behind them."""
        if self.table is not None:
            layers, params = [*layers, Lookup(self.table.view(1, 256))], [*params, {}]
        floats = self.table is not None or not self.quantised
        return Network([layer.cpu() for layer in layers], params, pairs.kind, pairs.container, floats, learned)
