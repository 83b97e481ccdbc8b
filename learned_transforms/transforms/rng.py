"""Random numbers out of torch's generators, in torchvision's order and number, with fewer calls of torch."""

import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import lt

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import PipelineTypeError, PipelineValueError


def round_float32(value: float) -> float:
    """Round a number to float32, in which torchvision compares."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def next_float32(value: float) -> float:
    """Return the float32 that follows."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


class Buffers(threading.local):
    """Tensors to draw into, by dtype and length, for one thread: they save an allocation at every call.

    Attributes:
        visible: torch looks into the call, and must see what is drawn.
    """

    def __init__(self) -> None:
        self.visible = False
        self.kept: dict[tuple[torch.dtype, int], Tensor] = {}


BUFFERS = Buffers()
MOST_KEPT = 64
"""Numbers of the longest tensor that a thread keeps."""
default_dtype, function_mode = torch.get_default_dtype, torch._C._is_torch_function_mode_enabled
ALL_BITS, HALF = -(2**63), 2**32 - 1
"""The least int64, from which on numbers have 64 random bits; and the low half of them."""


def buffer_of(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return this thread's tensor of so many numbers to draw into; of many, a new one."""
    buffer = BUFFERS.kept.get((dtype, count))
    if buffer is None:
        with torch.inference_mode(False):
            buffer = torch.empty(count, dtype=dtype, device="cpu")
        if count <= MOST_KEPT:
            BUFFERS.kept[dtype, count] = buffer
    return buffer


def default_rng_active() -> bool:
    """Return whether torch draws float32 on the CPU, into memory of ours.

    A default device, or another dtype, draws other numbers; and what torch looks into it must see.
    """
    return default_dtype() is torch.float32 and not function_mode() and not BUFFERS.visible


def draw(count: int) -> list[float]:
    """Return what ``torch.rand(1)``, called ``count`` times, would give."""
    if not default_rng_active():
        return [torch.rand(1).item() for _ in range(count)]
    values: list[float] = buffer_of(count).uniform_().tolist()
    return values


def toss(chances: Sequence[float]) -> tuple[bool, ...]:
    """Tell of each of several coins whether it falls: drawn together, which gives what one by one would.

    Args:
        chances: the number that each draw must be below, see ``Spec.chance``.
    """
    return tuple(map(lt, draw(len(chances)), chances))


def toss_many(chances: Sequence[float], images: int) -> list[tuple[bool, ...]]:
    """Toss coins for each of so many images, as :func:`toss` does for one after the other."""
    if not chances:
        return [()] * images
    coins = map(lt, draw(len(chances) * images), [*chances] * images)
    return list(zip(*[coins] * len(chances), strict=True))


def below(stop: int) -> int:
    """Draw a whole number from 0 up to ``stop``, excluded."""
    drawn = buffer_of(1, torch.int64).random_(stop) if default_rng_active() else torch.randint(stop, (1,))
    return int(drawn.item())


def two_below(first: int, second: int) -> tuple[int, int]:
    """Draw what :func:`below` would for one number, then another: of 64 random bits, the high half and the low."""
    if not default_rng_active():
        return below(first), below(second)
    drawn = int(buffer_of(1, torch.int64).random_(ALL_BITS, None).item())
    return (drawn >> 32 & HALF) % first, (drawn & HALF) % second


def between(low: float, high: float) -> float:
    """Draw a float32 as ``torch.empty(1).uniform_(low, high)`` does."""
    drawn = buffer_of(1) if default_rng_active() else torch.empty(1)
    return float(drawn.uniform_(low, high).item())


@contextmanager
def visible() -> Iterator[None]:
    """Draw where torch sees it, as torchvision does."""
    before, BUFFERS.visible = BUFFERS.visible, True
    try:
        yield
    finally:
        BUFFERS.visible = before


@contextmanager
def use_generator(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from a generator of one's own; torch's global one is left as it was."""
    if generator is None:
        yield
        return
    if not isinstance(generator, torch.Generator):
        raise PipelineTypeError(
            f"Expected generator to be a torch.Generator, got {type(generator).__name__}. "
            "Make one of a seed with torch.Generator().manual_seed(seed)."
        )
    if generator.device.type != "cpu":
        raise PipelineValueError(f"Expected a generator of the CPU, got one of {generator.device}.")
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
