"""Draw all that a segment draws for an image in one native call: torchvision's numbers, from torch's generator.

The native code reads ahead in a copy of the generator's state. Torch itself then draws as many numbers as were read, so
that the state is what torchvision would leave, and no number is given out twice while other threads draw. Where a
number of torch's may differ in its last bits and that might change the outcome, nothing was drawn yet, and Python
draws; so it is for what is not known here, and where torch looks into the call.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.images.formats import Window
from learned_transforms.installed import aside
from learned_transforms.ir.ops import Shape
from learned_transforms.transforms.color_draws import FACTORS, JITTERED
from learned_transforms.transforms.containers import Leaf
from learned_transforms.transforms.draws import COINS, Outcome, buffer_of, chance, log_ratio, single, usual

if TYPE_CHECKING:
    from learned_transforms.kernels import _native
else:
    try:
        from learned_transforms.kernels import _native
    except ImportError:
        _native = None

BYTES = 5056
"""Of the state of torch's generator on the CPU."""
ALWAYS = 2.0
"""Above every number that a coin gives."""

LARGEST = 8.0
"""Logarithm of a ratio of sides whose exponential is known well enough."""

Part = tuple[str, str, float, float, float]
"""Of params: the name, the kind of value, its bounds, and the chance that it is not None."""


def factor(name: str, bounds: Sequence[float] | None, chance: float = ALWAYS) -> Part:
    if bounds is None:
        return name, "none", 0.0, 0.0, 0.0
    low, high = bounds
    return name, "factor", float(low), float(high), chance


def jitter(transform: Any) -> list[Part]:
    ranges = (getattr(transform, name) for name in JITTERED)
    return [("fn_idx", "order", 4.0, 0.0, ALWAYS), *map(factor, FACTORS, ranges)]


def blur(transform: Any) -> list[Part]:
    return [factor("sigma", transform.sigma)]


def distort(transform: Any) -> list[Part]:
    p = single(transform.p)
    return [
        *(factor(f"{name}_factor", getattr(transform, name), p) for name in JITTERED),
        ("contrast_before", "coin", 0.0, 0.0, 0.5),
        ("channel_permutation", "order", 0.0, 0.0, p),
    ]


def permutation(transform: Any) -> list[Part]:
    return [("order", "order", 0.0, 0.0, ALWAYS)]


PARTS: dict[type, Callable[[Any], list[Part]]] = {
    v1.ColorJitter: jitter,
    v2.ColorJitter: jitter,
    v1.GaussianBlur: blur,
    v2.GaussianBlur: blur,
    v2.RandomPhotometricDistort: distort,
    v2.RandomChannelPermutation: permutation,
}
"""Transforms that draw params, with their parts in the order in which they are drawn."""
CROPS = (v1.RandomResizedCrop, v2.RandomResizedCrop)
MANY = 3
"""Numbers that are drawn one by one in less time than together."""


class Sampler:
    """What random transforms draw for an image.

    Args:
        native: the native sampler that reads ahead.
    """

    def __init__(self, native: "_native.Sampler") -> None:
        self.native = native

    def __call__(self, shape: Shape) -> tuple[tuple[Outcome, ...], Window | None] | None:
        """The outcomes in order, and the window if one is drawn; None, and nothing is drawn: Python must draw.

        Args:
            shape: (C, H, W) of the image.
        """
        if not usual():
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


def sampler_of(leaves: Sequence[Leaf], random: Sequence[int]) -> Sampler | None:
    """What draws for the random ones among transforms; None: Python must, or does it as fast.

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
        kind = type(transform)
        if kind in COINS:
            native.coin(gate, chance(transform))
            numbers += 1
        elif kind in CROPS:
            (least, most), (low, high) = transform.scale, log_ratio(transform)
            if not (0 <= least <= most < math.inf and -LARGEST <= low <= high <= LARGEST):
                return None
            native.window(gate, (float(least), float(most), low, high))
            numbers += 4
        elif kind in PARTS:
            parts = PARTS[kind](transform)
            if not all(-math.inf < low <= high < math.inf for _, what, low, high, _ in parts if what == "factor"):
                return None
            native.params(gate)
            for part in parts:
                native.part(*part)
            numbers += len(parts)
        else:
            return None
    return Sampler(native) if numbers >= MANY else None


@cache
def scaled_at_once() -> bool | None:
    """Whether the installed torch scales and moves a uniform number with one rounding; None: it is not known here."""
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
