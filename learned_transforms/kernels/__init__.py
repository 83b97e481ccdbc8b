"""Backends: each says why it cannot run a plan, and the first that can is taken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from learned_transforms.errors import BackendError
from learned_transforms.images.formats import Call
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.cuda import backend as cuda
from learned_transforms.kernels.reference import executor as reference


class Compiled(Protocol):
    """A plan, made ready by a backend.

    Attributes:
        held: bytes of memory held by all that was bound.
    """

    held: int

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """Return what runs on images of the type, shape, strides and dtype of this one.

        Args:
            image: a tensor ``[..., C, H, W]`` or a PIL image.
            interleaved: leave the channels of a pixel side by side in memory, where the backend can choose.
            windowed: images will come with a window.
        """

    def roam(self, image: Any, interleaved: bool = False) -> Call | None:
        """Return what runs on images of the kind of this one, of any size; None: each must be bound."""


@dataclass(frozen=True)
class Backend:
    """One way to run plans.

    Attributes:
        compile: makes a plan ready.
        why_not: from (plan, device, whether gradients are wanted): reason why it cannot run this plan, or None.
            Without a plan: why it cannot run anything here.
        there: it takes plans whose tensors are where the images are.
        whole: where it runs, it runs all that the catalogue has.
        beginning: copies may begin where it is drawn, behind other operations.
    """

    compile: Callable[[Plan], Compiled]
    why_not: Callable[[Plan | None, torch.device | None, bool], str | None]
    there: bool = True
    whole: bool = True
    beginning: bool = True


BACKENDS: dict[str, Backend] = {
    "cpu": Backend(cpu.compile_plan, cpu.why_not),
    "cuda": Backend(cuda.compile_plan, cuda.why_not, there=False, whole=False, beginning=False),
    "reference": Backend(reference.Reference, lambda plan, device, gradients: None),
}
"""Fastest first."""


def backends() -> dict[str, str]:
    """Every backend by name, fastest first: ``"available"``, or the reason why it cannot run here."""
    return {name: backend.why_not(None, None, False) or "available" for name, backend in BACKENDS.items()}


def fast(device: torch.device) -> Backend:
    """Return the backend that is written for a device, whether or not it can run there."""
    return BACKENDS["cuda" if device.type == cuda.PLACE else "cpu"]


def choose(plan: Plan, device: torch.device, name: str = "auto", gradients: bool = False) -> Backend:
    """Return the backend called ``name``, or for ``"auto"`` the first that can run ``plan`` on ``device``.

    Raises:
        BackendError: an unknown name, or no backend can run it; every reason is listed.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f"Unknown backend {name!r}. Known: auto, {', '.join(BACKENDS)}.")
    reasons = {}
    for candidate in BACKENDS if name == "auto" else (name,):
        reason = BACKENDS[candidate].why_not(plan, device, gradients)
        if reason is None:
            return BACKENDS[candidate]
        reasons[candidate] = reason
    raise BackendError("No backend can run this plan: " + "; ".join(f"{n}: {why}" for n, why in reasons.items()))
