"""Draw all that a segment draws for an image in one native call: torchvision's numbers, from torch's generator.

The native code reads ahead in a copy of the generator's state. Torch itself then draws as many numbers as were read, so
that the state is what torchvision would leave, and no number is given out twice while other threads draw. Where a
number of torch's may differ in its last bits and that might change the outcome, nothing was drawn yet, and Python
draws; so it is for what is not known here, and where torch looks into the call.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch

from learned_transforms.images.formats import Window
from learned_transforms.installed import aside
from learned_transforms.ir.ops import Shape
from learned_transforms.kernels.extension import _native
from learned_transforms.transforms.area import log_ratio
from learned_transforms.transforms.containers import Leaf
from learned_transforms.transforms.geometry import RandomCrop
from learned_transforms.transforms.registry import spec_of
from learned_transforms.transforms.resize import RandomResizedCrop
from learned_transforms.transforms.rng import buffer_of, default_rng_active
from learned_transforms.transforms.spec import ALWAYS, Outcome

BYTES = 5056
"""Of the state of torch's generator on the CPU."""

LARGEST = 8.0
"""Logarithm of a ratio of sides whose exponential is known well enough."""

MOST_PIXELS = 2**24
"""Along an axis, none included, of what the native sampler cuts."""

MANY = 3
"""Numbers from which on drawing together takes less time than one by one."""


class Sampler:
    """What random transforms draw for an image.

    Args:
        native: the native sampler that reads ahead.
        numbers: how many it draws for an image, about.

    Attributes:
        pays: it is faster than Python for a single image.
    """

    def __init__(self, native: "_native.Sampler", numbers: int) -> None:
        self.native, self.pays = native, numbers >= MANY

    def __call__(self, shape: Shape) -> tuple[tuple[Outcome, ...], Window | None] | None:
        """Return the outcomes in order, and the window if one is drawn; None, and nothing is drawn: Python must draw.

        Args:
            shape: (C, H, W) of the image.
        """
        if not (self.pays and default_rng_active()):
            return None
        state = torch.default_generator.get_state()
        ahead = self.native(state.data_ptr(), *shape)
        if ahead is None:
            return None
        count, last, outcomes, window = ahead
        # Other numbers: another thread drew meanwhile. These are left out then.
        if count and buffer_of(count).uniform_().tolist()[-1] != last:
            return None
        return outcomes, window

    def many(self, shape: Shape, images: int) -> list[tuple[tuple[Outcome, ...], Window | None]] | None:
        """Return the same for each of so many images of a shape, in their order."""
        if not default_rng_active():
            return None
        state = torch.default_generator.get_state()
        ahead = self.native.many(state.data_ptr(), *shape, images)
        if ahead is None:
            return None
        count, last, drawn = ahead
        return drawn if not count or buffer_of(count).uniform_()[-1].item() == last else None


def sampler_of(leaves: Sequence[Leaf], random: Sequence[int]) -> Sampler | None:
    """Return what draws for the random ones among transforms; None: Python must.

    Args:
        leaves: the transforms.
        random: positions of those that draw, the containers among them that toss a coin too.
    """
    fused = None if _native is None else scaled_at_once()
    if fused is None:
        return None
    native, numbers = _native.Sampler(fused), 0
    for position in random:
        transform, within, branch = leaves[position]
        if branch is not None or not (within is None or within in random):
            return None
        gate = -1 if within is None else random.index(within)
        spec = spec_of(transform)
        parts = spec.native_parts()
        if spec.coin:
            native.coin(gate, spec.chance())
            numbers += 1
        elif isinstance(spec, RandomResizedCrop):
            (least, most), (low, high) = transform.scale, log_ratio(transform)
            if not (0 <= least <= most < math.inf and -LARGEST <= low <= high <= LARGEST):
                return None
            native.window(gate, (float(least), float(most), low, high))
            numbers += 4
        elif isinstance(spec, RandomCrop) and transform.padding_mode in ("constant", "edge"):
            size, around = tuple(transform.size), spec.padding
            if not (0 not in size and all(0 <= length < MOST_PIXELS for length in (*size, *around))):
                return None
            native.crop(gate, size, around, bool(transform.pad_if_needed), spec.api == "v2")
            numbers += 2
        elif parts is not None:
            if not all(-math.inf < low <= high < math.inf for _, what, low, high, _ in parts if what == "factor"):
                return None
            native.params(gate)
            for part in parts:
                native.part(*part)
            numbers += len(parts)
        else:
            return None
    return Sampler(native, numbers)


@cache
def scaled_at_once() -> bool | None:
    """Return whether the installed torch scales and moves a uniform number with one rounding; None: it is not known
    here."""
    return aside(ask)


def ask() -> bool | None:
    generator = torch.Generator().manual_seed(5)
    torch.empty(590, dtype=torch.float32, device="cpu").uniform_(generator=generator)  # The state is soon made anew.
    state, one = generator.get_state(), torch.empty(1, dtype=torch.float32, device="cpu")
    if len(state) != BYTES:
        return None
    bounds = [(1 / n, n / 7) for n in range(3, 80)]
    drawn = [one.uniform_(*pair, generator=generator).item() for pair in bounds]
    order = tuple(torch.randperm(8, generator=generator, device="cpu").tolist())
    for fused in (False, True):
        native = _native.Sampler(fused)
        native.params(-1)
        for pair in bounds:
            native.part("", "factor", *pair, ALWAYS)
        native.part("", "order", 8.0, 0.0, ALWAYS)
        ahead = native(state.data_ptr(), 3, 1, 1)
        if ahead is not None and [value for _, value in ahead[2][0]] == [*drawn, order]:
            return fused
    return None
