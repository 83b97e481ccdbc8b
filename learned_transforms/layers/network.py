"""A network: layers in order, and what they become for one image."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor, nn

from learned_transforms.certificate import Certificate
from learned_transforms.errors import PipelineValueError, check_channels
from learned_transforms.images.formats import CONTAINER_NAMES, HALVES
from learned_transforms.ir.ops import Shape, Stage
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import Backend, Compiled, choose
from learned_transforms.layers.base import Layer, Params
from learned_transforms.modes import out_of_sight

FLOATS = ("float32", *HALVES.values())
"""Kinds of images of floats."""

MOST_PLANS = 1024
"""Plans kept per network: one for each input shape and set of params lately seen."""

MOST_LOWERED = 1024
"""Layers kept per network with the stages that they came to: many plans share them."""


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
        learned: names of params that were recognized in the teacher's output rather than given by the user.

    Attributes:
        certificate: its fidelity to its teacher, if that was measured. It is of the weights as they are when it is set.
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
        self.certificate = None
        if len(self.layers) != len(self.params) or output not in CONTAINER_NAMES:
            raise PipelineValueError(
                f"Expected params for each of {len(self.layers)} layers and an output out of "
                f"{', '.join(CONTAINER_NAMES)}, got {len(self.params)} and {output!r}."
            )
        self.plans: dict[Any, tuple[Plan, Compiled]] = {}
        self.lowered: dict[Any, list[Stage]] = {}
        self.weights: list[nn.Parameter] | None = None

    @property
    def members(self) -> list[Layer]:
        """The layers, as a list."""
        return cast(list[Layer], list(self.layers))

    @property
    def certificate(self) -> Certificate | None:
        """Its fidelity to its teacher, bound to what it is."""
        return self.certified

    @certificate.setter
    def certificate(self, found: Certificate | None) -> None:
        self.certified = None if found is None else found.of(self.digest())

    def digest(self) -> str:
        """Return a hash of all that it is."""
        return digest_of([layer.digest() for layer in self.members], self.describe())

    def known_weights(self) -> list[nn.Parameter]:
        """All weights, kept: a layer may come many times, and to ask each of them takes longer than to lower it."""
        if self.weights is None:
            self.weights = [parameter for layer in dict.fromkeys(self.members) for parameter in layer.parameters()]
        return self.weights

    def plan(
        self,
        shape: Shape,
        device: torch.device,
        applied: Sequence[Any] | None = None,
        backend: str = "auto",
        relaxed: bool = False,
        gradients: bool = False,
    ) -> tuple[Plan, Compiled]:
        """Lower for images of ``shape`` (C, H, W) on ``device``, and compile for a backend.

        Plans are kept, unless weights are being trained. They serve images of every size, but for layers of one size.

        Args:
            applied: for each layer, whether it is applied, or pairs of names and values that its params get besides;
                None: all that have params.
            backend: its name, or ``"auto"``.
            relaxed: leave every rounding out.
            gradients: of the image are wanted.

        Raises:
            InputTypeError, InputShapeError: images that the layers cannot take.
            BackendError: no backend can run it.
        """
        applied = (True,) * len(self.params) if applied is None else tuple(applied)
        params = tuple(drawn(p, what) for p, what in zip(self.params, applied, strict=True))
        size = shape[1:] if self.sized(params) else None
        if relaxed or any(p.requires_grad for p in self.known_weights()):
            self.lowered = {}
            try:
                return self.lower(shape, size, device, applied, params, backend, relaxed, gradients)
            finally:  # The weights will be others.
                self.lowered = {}
        # Arithmetic may go by the number of threads.
        key = shape[0], size, device, applied, backend, gradients, torch.get_num_threads()
        made = self.plans.get(key)
        if made is None:
            made = self.lower(shape, size, device, applied, params, backend, relaxed, gradients)
            if len(self.plans) >= MOST_PLANS:
                self.plans.clear()
            self.plans[key] = made
        return made

    def first(self, params: Sequence[Params | None]) -> tuple[Layer, Params] | None:
        """Return the first layer that is applied and for which size counts, with its params."""
        layers = zip(self.members, params, strict=True)
        return next(((layer, p) for layer, p in layers if p is not None and not layer.pointwise), None)

    def sized(self, params: Sequence[Params | None]) -> bool:
        """Return whether some layer has stages for one size only, and none before it gives images of any size that
        one."""
        for layer, given in zip(self.members, params, strict=True):
            if given is not None:
                if layer.by_size(given):
                    return True
                if layer.elastic(given):
                    return False
        return False

    def lower(
        self,
        shape: Shape,
        size: tuple[int, int] | None,
        device: torch.device,
        applied: Sequence[Any],
        params: Sequence[Params | None],
        backend: str,
        relaxed: bool,
        gradients: bool,
    ) -> tuple[Plan, Compiled]:
        """Return what :meth:`plan` gives, made anew."""
        # A plan is kept, and may be used with gradients later: inference mode must not leave its mark on it.
        with torch.inference_mode(False), out_of_sight():
            plan = self.planned(shape, size, applied, params, relaxed)
            chosen = choose(plan, device, backend, gradients)
            # Layers on the CPU make stages there.
            if chosen.there and (device.type != "cpu" or any(p.device.type != "cpu" for p in self.known_weights())):
                plan = plan.to(device)
        return plan, chosen.compile(plan)

    def planned(
        self,
        shape: Shape,
        size: tuple[int, int] | None,
        applied: Sequence[Any],
        params: Sequence[Params | None],
        relaxed: bool,
    ) -> Plan:
        """Each layer's stages for what reaches it."""
        stages, output = self.lower_layers(shape, applied, params, relaxed)
        first = self.first(params)
        around = None if first is None else first[0].around(shape[0], first[1])
        return Plan(shape[0], size, stages, output if size else None, around, self.kind in FLOATS)

    def why_not(self, backend: Backend, shape: Shape, device: torch.device) -> str | None:
        """Return why a backend cannot run all layers together on images of ``shape`` (C, H, W) on a device, or None."""
        with torch.inference_mode(False), out_of_sight():
            size = shape[1:] if self.sized(self.params) else None
            plan = self.planned(shape, size, (True,) * len(self.params), self.params, False)
        return backend.why_not(plan, device, False)

    def lower_layers(
        self,
        shape: Shape,
        applied: Sequence[Any],
        params: Sequence[Params | None],
        relaxed: bool,
    ) -> tuple[tuple[Stage, ...], Shape]:
        """Return the stages, and the shape of the output; what a layer came to in another plan is used again."""
        stages: list[Stage] = []
        current = shape
        for position, (layer, what, given) in enumerate(zip(self.members, applied, params, strict=True)):
            if given is None:
                continue
            by_size = layer.by_size(given)
            key = position, what, current if by_size else current[0], relaxed, torch.get_num_threads()
            added = self.lowered.get(key)
            if added is None:
                if "channels" in given:
                    check_channels(current[0], given["channels"])
                added = layer.stages(current, given, relaxed) if by_size else layer.free(current[0], given, relaxed)
                if len(self.lowered) >= MOST_LOWERED:
                    self.lowered.clear()
                self.lowered[key] = added
            stages += added
            current = reduce(lambda s, stage: stage.output(s), added, current)
        return tuple(stages), current

    def forward(self, image: Tensor, backend: str = "auto", relaxed: bool = False) -> Tensor:
        """Run on a uint8 or float image ``[..., C, H, W]``."""
        c, h, w = image.shape[-3:]
        _, compiled = self.plan((c, h, w), image.device, None, backend, relaxed, image.requires_grad)
        made: Tensor = compiled.bind(image)(image)
        return made

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
        self.plans, self.lowered, self.weights = {}, {}, None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "plans": {}, "lowered": {}, "weights": None}


def digest_of(layers: Sequence[str], description: Mapping[str, Any]) -> str:
    """Return a hash of layers, given by theirs, and of what else is said of them in plain values."""
    return hashlib.sha256(json.dumps([list(layers), description], sort_keys=True).encode()).hexdigest()


def drawn(params: Params | None, what: Any) -> Params | None:
    """Return params of a layer under what was drawn for it; None: it is not applied."""
    if what is False or params is None:
        return None
    return params if what is True else {**params, **dict(what)}
