"""Whether torch looks into a call: to trace it, to vectorize it; and how to step out of its sight."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

is_compiling = torch.compiler.is_compiling
tracing_state: Callable[[], Any] = torch._C._get_tracing_state
set_tracing_state = torch._C._set_tracing_state  # type: ignore[attr-defined]
dispatch_modes = torch._C._len_torch_dispatch_stack
functorch_level = torch._C._functorch.maybe_current_level


def observed() -> bool:
    """Return whether torch records or transforms what is computed, so that native code, which it cannot see, must not
    run.

    That is ``jit.trace`` and the legacy ONNX export, ``vmap``, ``jvp``, ``grad`` and ``functionalize``, ``make_fx`` and
    other dispatch modes, and dual numbers. Compilers break the graph at native code by themselves.
    """
    seen = tracing_state() is not None or dispatch_modes() or functorch_level() is not None
    return bool(seen or forward_ad._current_level >= 0)


def plain_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor as numbers, of which a trace would make tensors."""
    state = tracing_state()
    if state is None:
        return tuple(tensor.shape)
    set_tracing_state(None)
    try:
        return tuple(tensor.shape)
    finally:
        set_tracing_state(state)


@contextmanager
def out_of_sight() -> Iterator[None]:
    """Compute constants as if nothing observed them, on the CPU: they belong to no trace, and may be kept."""
    state = tracing_state()
    set_tracing_state(None)
    try:
        with _disable_current_modes(), temporarily_clear_interpreter_stack(), torch.device("cpu"):
            yield
    finally:
        set_tracing_state(state)
