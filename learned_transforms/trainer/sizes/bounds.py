"""At which sizes a clone does what its teacher does: asked at real ones, and refused where it does not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learned_transforms.certificate import FLOAT_TOLERANCE, TIES, Certificate
from learned_transforms.errors import LearnedTransformsError
from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.fixed_size import SINGLE
from learned_transforms.layers.letterbox import RequireSize, permits, sizes_in_words
from learned_transforms.layers.network import Network
from learned_transforms.plain import LONGEST
from learned_transforms.trainer.data.asking import ask, stack
from learned_transforms.trainer.data.bundled import checkerboards, edges, noise, photo, photo_patches, saturated
from learned_transforms.trainer.data.sources import Teacher, as_kind
from learned_transforms.trainer.optim.training import score

SIZES = (
    *(
        (24, 24),
        (24, 64),
        (64, 24),
        (31, 33),
        (48, 64),
        (64, 48),
        (90, 300),
        (300, 90),
        (127, 129),
        (129, 127),
        (199, 201),
        (201, 199),
    ),
    *((224, 224), (256, 255), (240, 320), (427, 640), (640, 427), (720, 405)),
)
"""Real sizes, elongated ones, and both sides of round numbers."""

FEW = 0.05
"""Share of values that may differ, by one level, at a size at which a clone holds; the tier tells how many do."""

AS_BAD = 4.0
"""A clone that is no faithful copy holds where its squared error is at most so many times that of held-out pairs."""

PHOTO = "astronaut"

Compared = tuple[str, Tensor, Tensor]
"""The name of a size, an output ``[N, C, H, W]``, and its target."""


@dataclass(frozen=True)
class Bounds:
    """The sizes at which a clone may be used.

    Attributes:
        limits: params of :class:`~learned_transforms.layers.letterbox.RequireSize`; None: any size.
        held: sizes at which it did what its teacher does.
        failed: sizes at which it did not, or its teacher takes none.
        trials: what was compared at sizes that are taken.
    """

    limits: Mapping[str, Any] | None
    held: Sequence[Size]
    failed: Sequence[Size]
    trials: Sequence[Compared]

    def __str__(self) -> str:
        asked = "held at no size" if not self.held else "held at {} x {}".format(*self.held[0])
        if len(self.held) > 1:
            least, most = (choose(self.held, key=lambda size: size[0] * size[1]) for choose in (min, max))
            asked = f"held at {len(self.held)} sizes from {least[0]} x {least[1]} to {most[0]} x {most[1]}"
        return f"{'any size' if self.limits is None else sizes_in_words(self.limits)} ({asked})"


class Comparer:
    """Compares a clone with its teacher on images of any size.

    Args:
        network: the clone.
        teacher: whole answers.
        kind: how it takes images.
        like: a batch of images, of which others have the channels and the dtype.
        measured: on held-out pairs.
        step: float64 ``[C or 1]``, what one level is in float answers; None: 1/255.
    """

    def __init__(
        self,
        network: Network,
        teacher: Teacher,
        kind: str,
        like: Tensor,
        measured: Certificate,
        step: Tensor | None = None,
    ) -> None:
        self.network, self.teacher, self.kind, self.like = network, teacher, kind, like
        self.unit = torch.tensor(255.0) if step is None else (1 / step)[:, None, None]
        self.faithful = measured.at_least("rounding")
        self.squares = 255.0**2 / 10 ** (measured.psnr / 10)

    def images(self, size: Size) -> Tensor:
        """Noise, what is at saturation, a photo's patch where images have three channels, and ties, which come last."""
        shape, generator = (self.like.shape[1], *size), torch.Generator().manual_seed(size[0] * 1000 + size[1])
        made = torch.cat([pattern(1, shape, generator) for pattern in (noise, saturated, edges)])
        source = photo(PHOTO)
        if shape[0] == 3 and size[0] <= source.shape[1] and size[1] <= source.shape[2]:
            made = torch.cat([made, photo_patches([source], 1, size, 0)])
        made = torch.cat([made, checkerboards(1, shape, generator)])
        return made if self.like.dtype == torch.uint8 else made.float() / 255

    def compare(self, size: Size) -> Compared | None:
        """Return what both make of images of a size, where the clone does as well as on held-out pairs; None: it does
        not."""
        images = self.images(size)
        try:
            target = stack(ask(self.teacher, images, self.kind)[0])
            output = self.network(torch.stack([to_tensor(as_kind(image, self.kind)) for image in images]))
        except LearnedTransformsError:
            return None
        if output.shape != target.shape or output.dtype != target.dtype:
            return None
        return (f"{size[0]} x {size[1]}", output, target) if self.holds(output, target) else None

    def holds(self, output: Tensor, target: Tensor) -> bool:
        unit = self.unit if target.is_floating_point() else torch.ones(1)
        if not self.faithful:
            return score(output.double() * unit, target.double() * unit)[0] <= AS_BAD * self.squares
        error = (output.double() - target.double()).abs() * unit
        slack = FLOAT_TOLERANCE * unit if target.is_floating_point() else torch.zeros(1)
        return bool((error > slack).double().mean() <= FEW and (error <= 1 + slack).all())


def find_bounds(comparer: Comparer, trained: Size) -> Bounds:
    """Return where a clone holds that was trained on images of one size."""
    trials = {size: comparer.compare(size) for size in dict.fromkeys((trained, *SIZES))}
    held = [size for size, trial in trials.items() if trial is not None]
    failed = [size for size, trial in trials.items() if trial is None]
    limits = limits_of(held, failed, trained, lambda size: comparer.compare(size) is not None) if failed else None
    taken = [trial for size, trial in trials.items() if trial is not None and (limits is None or permits(limits, size))]
    return Bounds(limits, held, failed, taken)


def limits_of(
    held: Sequence[Size], failed: Sequence[Size], trained: Size, holds: Callable[[Size], bool]
) -> dict[str, Any]:
    """Return the largest ranges of rows and of columns without a size that failed; or only the size of training."""
    only: dict[str, Any] = {"rows": None, "columns": None, "sizes": (trained,)}
    if trained not in held:
        return only
    box = [[min(size[axis] for size in held), max(size[axis] for size in held)] for axis in (0, 1)]
    if any(inside(size, box) for size in failed) or len(held) < 2:
        return only
    for axis in (0, 1):
        for end, widest in ((0, 1), (1, LONGEST)):
            known, box[axis][end] = box[axis][end], widest
            beyond = [size[axis] for size in failed if inside(size, box)]
            nearest = (max(beyond) if end == 0 else min(beyond)) if beyond else None
            if nearest is not None:
                box[axis][end] = boundary(known, nearest, axis, trained, holds)
            # Squares may hold where others do not: the furthest is asked beside what training saw.
            furthest = known if nearest is None else box[axis][end]
            if not holds(beside(trained, axis, furthest)):
                box[axis][end] = boundary(trained[axis], furthest, axis, trained, holds)
    rows, columns = (None if side == [1, LONGEST] else tuple(side) for side in box)
    return {"rows": rows, "columns": columns, "sizes": None}


def inside(size: Size, box: Sequence[Sequence[int]]) -> bool:
    return all(low <= n <= high for n, (low, high) in zip(size, box, strict=True))


def boundary(good: int, bad: int, axis: int, trained: Size, holds: Callable[[Size], bool]) -> int:
    """Return the length nearest to one that fails at which a clone holds, by halving; the other axis is as in
    training."""
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        if holds(beside(trained, axis, middle)):
            good = middle
        else:
            bad = middle
    return good


def beside(size: Size, axis: int, length: int) -> Size:
    """Return the size with another length along one axis."""
    return (length, size[1]) if axis == 0 else (size[0], length)


def bounded(network: Network, bounds: Bounds) -> Network:
    """Return the same network, which refuses images of sizes at which it was not found to hold."""
    if bounds.limits is None or any(isinstance(layer, SINGLE) for layer in network.members):
        return network
    made = Network(
        [RequireSize(), *network.members],
        [bounds.limits, *network.params],
        network.kind,
        network.output,
        network.floats,
        (*network.learned, "rows", "columns", "sizes"),
    )
    return made


def by_size(trials: Sequence[Compared]) -> Iterator[Compared]:
    """Yield what a certificate is measured on, besides held-out pairs."""
    for name, output, target in trials:
        yield f"images of {name}", output[:-1], target[:-1]
        yield TIES, output[-1:], target[-1:]


def bounds_of_pairs(size: Size, same: bool) -> Bounds:
    """Return where what was learned from pairs of one size holds: nobody can be asked what becomes of others.

    ``same``: outputs are as large as inputs, which is a rule by itself.
    """
    return Bounds(None if same else {"rows": None, "columns": None, "sizes": (size,)}, [size], [], [])
