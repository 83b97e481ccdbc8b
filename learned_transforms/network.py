"""A network: layers in order, and what they become for one image."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor, nn

from learned_transforms.certificate import Certificate
from learned_transforms.errors import PipelineValueError
from learned_transforms.images import CONTAINERS
from learned_transforms.kernels import choose
from learned_transforms.layers import Layer, Params
from learned_transforms.plan import Gather, Mix, Plan, Resample, Shape, Stage, Table

MOST_PLANS = 256
"""Plans kept per network: one for each input shape and set of params lately seen."""


class Lowered(nn.Module):
    """A module that keeps something lowered from its weights, and drops it when they change or move."""

    def relower(self) -> None:
        """Forget what was lowered."""
        raise NotImplementedError

    def _apply(self, fn: Any, recurse: bool = True) -> "Lowered":
        self.relower()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.relower()
        super()._load_from_state_dict(*args, **kwargs)


class Network(Lowered):
    """Layers with their params, for one kind of teacher input.

    Args:
        layers: in order.
        params: one mapping for each layer; None for a layer that is not applied.
        kind: the images that it takes: ``"pil"``, ``"uint8"`` or ``"float32"``.
        output: container of its output: ``"pil"``, ``"tensor"``, ``"image"`` or ``"numpy"``.
        floats: its output is float32, not uint8.
        learned: names of params that were recognised in the teacher's output rather than given by the user.

    Attributes:
        certificate: its fidelity to its teacher, if that was measured.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        params: Sequence[Params | None],
        kind: str,
        output: str = "tensor",
        floats: bool = True,
        learned: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.params = tuple(params)
        self.kind, self.output, self.floats = kind, output, floats
        self.learned = tuple(learned)
        self.certificate: Certificate | None = None
        if len(self.layers) != len(self.params) or output not in CONTAINERS:
            raise PipelineValueError(
                f"Expected params for each of {len(self.layers)} layers and an output out of {', '.join(CONTAINERS)}, "
                f"got {len(self.params)} and {output!r}."
            )
        self.plans: dict[Any, Plan] = {}

    @property
    def members(self) -> list[Layer]:
        """The layers, as a list."""
        return cast(list[Layer], list(self.layers))

    def plan(
        self,
        shape: Shape,
        device: torch.device,
        params: Sequence[Params | None] | None = None,
        relaxed: bool = False,
    ) -> Plan:
        """Lower for images of ``shape`` (C, H, W) on ``device``, with ``params`` in place of the network's own.

        Plans are kept, unless weights are being trained.

        Raises:
            InputTypeError, InputShapeError: images that the layers cannot take.
        """
        params = self.params if params is None else params
        if relaxed or any(p.requires_grad for p in self.parameters()):
            return self.lower(shape, device, params, relaxed)
        key = shape, device, tuple(None if p is None else tuple(p.items()) for p in params)
        plan = self.plans.get(key)
        if plan is None:
            plan = self.lower(shape, device, params, relaxed)
            if len(self.plans) >= MOST_PLANS:
                self.plans.clear()
            self.plans[key] = plan
        return plan

    def lower(self, shape: Shape, device: torch.device, params: Sequence[Params | None], relaxed: bool) -> Plan:
        """Each layer's stages for the shape that reaches it, folded."""
        # A plan is kept, and may be used with gradients later: inference mode must not leave its mark on it.
        with torch.inference_mode(False):
            plan = Plan(shape, *self.lower_layers(shape, params, relaxed)).to(device)
            for stage in plan.stages:
                if isinstance(stage, Resample):
                    stage.prepare()
        return plan

    def lower_layers(
        self, shape: Shape, params: Sequence[Params | None], relaxed: bool
    ) -> tuple[tuple[Stage, ...], Shape]:
        """Folded stages, and the shape of the output."""
        stages: list[Stage] = []
        current = shape
        for layer, given in zip(self.members, params, strict=True):
            if given is not None:
                added = layer.stages(current, given, relaxed)
                current = reduce(lambda s, stage: stage.output(s), added, current)
                stages += added
        return tuple(fold(stages)), current

    def forward(self, image: Tensor, backend: str = "auto", relaxed: bool = False) -> Tensor:
        """Run on a uint8 or float image ``[..., C, H, W]``."""
        c, h, w = image.shape[-3:]
        plan = self.plan((c, h, w), image.device, relaxed=relaxed)
        return choose(plan, image.device, backend).run(plan, image)

    def describe(self) -> dict[str, Any]:
        """Everything but the layers, as plain values, for weight files."""
        params = [None if p is None else dict(p) for p in self.params]
        return {
            "params": params,
            "kind": self.kind,
            "output": self.output,
            "floats": self.floats,
            "learned": list(self.learned),
        }

    def relower(self) -> None:
        """Forget the plans."""
        self.plans = {}

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "plans": {}}


def fold(stages: Sequence[Stage]) -> list[Stage]:
    """Move every copy of rows and columns as early as it goes, and merge it with the resample or copy it meets."""
    folded: list[Stage] = []
    for stage in stages:
        if isinstance(stage, Gather) and stage.channels is None:
            position = len(folded)
            while position and isinstance(folded[position - 1], Mix | Table):
                position -= 1
            before = folded[position - 1] if position else None
            if isinstance(before, Resample | Gather):
                folded[position - 1] = merge(before, stage)
            else:
                folded.insert(position, stage)
        else:
            folded.append(stage)
    return folded


def merge(before: Resample | Gather, stage: Gather) -> Resample | Gather:
    """One stage that does ``before`` and then copies rows and columns."""
    if isinstance(before, Resample):
        rows = before.rows if stage.rows is None else before.rows.select(stage.rows)
        columns = before.columns if stage.columns is None else before.columns.select(stage.columns)
        return replace(before, rows=rows, columns=columns)
    return Gather(before.channels, follow(before.rows, stage.rows), follow(before.columns, stage.columns))


def follow(first: Tensor | None, then: Tensor | None) -> Tensor | None:
    """The index that copies by ``first``, then by ``then``."""
    if first is None or then is None:
        return then if first is None else first
    return torch.index_select(first, 0, then)
