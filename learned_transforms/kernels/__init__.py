"""Backends: each says why it cannot run a plan, and the first that can is taken."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_transforms.errors import BackendError
from learned_transforms.kernels import reference
from learned_transforms.plan import Plan


@dataclass(frozen=True)
class Backend:
    """One way to run plans.

    Attributes:
        run: ``(plan, image [..., C, H, W]) -> image``.
        why_not: reason why it cannot run this plan on this device, or None.
    """

    run: Callable[[Plan, Tensor], Tensor]
    why_not: Callable[[Plan | None, torch.device | None], str | None]


BACKENDS: dict[str, Backend] = {
    "reference": Backend(reference.run, lambda plan, device: None),
}
"""Fastest first."""


def backends() -> dict[str, str]:
    """Every backend by name, fastest first: ``"available"``, or the reason why it cannot run here."""
    return {name: backend.why_not(None, None) or "available" for name, backend in BACKENDS.items()}


def choose(plan: Plan, device: torch.device, name: str = "auto") -> Backend:
    """The backend called ``name``, or for ``"auto"`` the first that can run ``plan`` on ``device``.

    Raises:
        BackendError: an unknown name, or no backend can run it; every reason is listed.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f"Unknown backend {name!r}. Known: auto, {', '.join(BACKENDS)}.")
    reasons = {}
    for candidate in BACKENDS if name == "auto" else (name,):
        reason = BACKENDS[candidate].why_not(plan, device)
        if reason is None:
            return BACKENDS[candidate]
        reasons[candidate] = reason
    raise BackendError("No backend can run this plan: " + "; ".join(f"{n}: {why}" for n, why in reasons.items()))
