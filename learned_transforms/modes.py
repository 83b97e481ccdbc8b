"""Whether torch looks into a call: to trace it, to vectorize it; and how to step out of its sight."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

is_compiling, is_exporting = torch.compiler.is_compiling, torch.compiler.is_exporting
is_tracing: Callable[[], bool] = torch._C._is_tracing
set_tracing_state = torch._C._set_tracing_state  # type: ignore[attr-defined]
is_in_onnx_export: Callable[[], bool] = torch.onnx.is_in_onnx_export  # The legacy export, which traces.
dispatch_modes = torch._C._len_torch_dispatch_stack
functorch_level = torch._C._functorch.maybe_current_level


def tracing_state() -> Any:
    """Return what a trace records into; None: none does, or not here, as in operators of ours."""
    return torch._C._get_tracing_state() if is_tracing() else None


def observed() -> bool:
    """Return whether torch records or transforms what is computed, so that native code, which it cannot see, must not
    run.

    That is ``jit.trace`` and the legacy ONNX export, ``vmap``, ``jvp``, ``grad`` and ``functionalize``, ``make_fx`` and
    other dispatch modes, and dual numbers. Compilers break the graph at native code by themselves.
    """
    seen = is_tracing() or dispatch_modes() or functorch_level() is not None
    return bool(seen or forward_ad._current_level >= 0)


def plain_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor as numbers, of which a trace would make tensors."""
    if not is_tracing():
        return tuple(tensor.shape)
    with untraced():
        return tuple(tensor.shape)


@contextmanager
def out_of_sight() -> Iterator[None]:
    """Compute constants as if nothing observed them, on the CPU: they belong to no trace, and may be kept."""
    with untraced(), _disable_current_modes(), temporarily_clear_interpreter_stack(), torch.device("cpu"):
        yield


@contextmanager
def untraced() -> Iterator[None]:
    """Compute as if no trace were recorded."""
    state = tracing_state()
    if state is None:
        yield
        return
    set_tracing_state(None)
    try:
        yield
    finally:
        set_tracing_state(state)
