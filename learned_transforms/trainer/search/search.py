"""The search over families of networks: cheapest first, each measured on the same validation pairs.

What a teacher does to images of one color tells its pointwise part. Where that is not linear, what is left is looked
for behind it, on inputs that went through it; or before it, on images whose levels it does not fold onto each other.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from learned_transforms.layers.base import Layer
from learned_transforms.layers.fixed_size import (
    FixedResampling,
    PositionalGain,
    Scattered,
    Separable,
    SeparableSum,
    Unstructured,
)
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer.search.area import areal
from learned_transforms.trainer.search.blocks import averaged
from learned_transforms.trainer.search.cube import cubed
from learned_transforms.trainer.search.filtered import filtered
from learned_transforms.trainer.search.gains import gained
from learned_transforms.trainer.search.noisy import noisy_table
from learned_transforms.trainer.search.pointwise import pointwise
from learned_transforms.trainer.search.problem import (
    CHECK_IMAGES,
    Ask,
    FoundForm,
    Labelled,
    Problem,
    Trial,
    attempt,
    run_layers,
)
from learned_transforms.trainer.search.rank import ranked
from learned_transforms.trainer.search.separable import NOISY_SHARE, separable_forms
from learned_transforms.trainer.search.spatial import scattered, windowed
from learned_transforms.trainer.search.sum_separable import summed
from learned_transforms.trainer.search.taps import tapped
from learned_transforms.trainer.search.unsharp import unsharp
from learned_transforms.trainer.stages import tell

NEARLY, NEARLY_NOISY = 1.05, 2.0
"""Unfaithful forms within this factor of the least squared error are as good as each other; the latter where there are
noisy pairs only, since what is free to do so learns part of the noise."""

COLORS, FEW_COLORS = 6000, 600
"""Images of one color that a teacher is asked about: fewer where each answer is costly."""

FIRST_COLORS = 300
"""A teacher that gives all of these back is not asked about the others: it leaves colors as they are."""

AT_ONCE = 32
FEWEST_LEVELS = 64
"""A table must keep so many levels apart for what is before it to be seen."""

Families = Iterator[tuple[str, FoundForm | str]]


@dataclass(frozen=True)
class SearchRow:
    """One row of the search table.

    Attributes:
        family: its name.
        form: what it found, or None.
        trial: how far that is from the teacher on validation pairs.
        reason: why it found nothing.
        seconds: how long it took.
    """

    family: str
    form: FoundForm | None
    trial: Trial | None
    reason: str
    seconds: float

    def __str__(self) -> str:
        if self.trial is None:
            return f"{self.family}: {self.reason}"
        return f"{self.family}: {self.trial.differing:.4%} differ, largest error {self.trial.largest:.3g}"


def search(problem: Problem) -> list[SearchRow]:
    """Try family after family until no validation value differs, or what follows could not do better."""
    rows: list[SearchRow] = []
    hidden = None if problem.settings.progress else True
    try:
        with tqdm(desc="search", disable=hidden, bar_format="{desc} {elapsed} {postfix}") as bar:
            for group in groups(problem):
                start = time.perf_counter()
                for name, found in group:
                    rows.append(measured(name, found, problem, start))
                    bar.set_postfix_str(str(rows[-1]))
                    tell_row(rows[-1], problem)
                    start = time.perf_counter()
                    # Free matrices are followed by what they are recognized as, which does more at less cost.
                    if (exact(rows[-1]) and not free(rows[-1])) or problem.settings.interrupt.is_set():
                        return rows
                if any(faithful(row, problem) for row in rows):
                    return rows
    except KeyboardInterrupt:
        # The best so far is kept; without any, there is nothing to go on with.
        problem.settings.interrupt.set()
        if best(rows, problem) is None:
            raise
    return rows


def tell_row(row: SearchRow, problem: Problem) -> None:
    """Say what a family came to, as a stage of training."""
    tell(f"{row} ({row.seconds:.1f} s)", problem.settings.progress)


def measured(family: str, found: FoundForm | str, problem: Problem, start: float | None = None) -> SearchRow:
    """Return what a family found, on validation pairs."""
    seconds = 0.0 if start is None else time.perf_counter() - start
    if isinstance(found, str):
        return SearchRow(family, None, None, found, seconds)
    check = problem.val.part(slice(CHECK_IMAGES))
    return SearchRow(family, found, attempt(found.layers, [check], found.params), "", seconds)


def free(row: SearchRow) -> bool:
    """Return whether it is made of full matrices, or of a plain network."""
    full = Separable | SeparableSum | Unstructured
    return row.form is not None and any(isinstance(layer, full) for layer in row.form.layers)


def fixed(row: SearchRow) -> bool:
    """Return whether it serves images of one size only."""
    single = FixedResampling | PositionalGain | Scattered
    return row.form is not None and any(isinstance(layer, single) for layer in row.form.layers)


def exact(row: SearchRow) -> bool:
    return row.trial is not None and row.trial.differing == 0


def faithful(row: SearchRow, problem: Problem) -> bool:
    """Return whether it differs in roundings only, so that richer families would only repeat it."""
    limit = 1 if problem.train.quantized else 1e-5
    return row.trial is not None and row.trial.differing <= 0.01 and row.trial.largest <= limit


def best(rows: Sequence[SearchRow], problem: Problem) -> SearchRow | None:
    """Return the row whose validation values differ least; among equals, one for any size, and one that is cheap to
    run.

    Where none is faithful, nearly all values differ in each, and the mean squared error tells which is nearest; of
    those within a few percent, the same is preferred.
    """
    found = [row for row in rows if row.trial is not None]
    if not any(faithful(row, problem) for row in found):
        least = min((row.trial.squares for row in found if row.trial), default=0.0)
        noisy = problem.ask is None and least <= NOISY_SHARE * float(problem.val.targets.double().var())
        near = [row for row in found if row.trial and row.trial.squares <= (NEARLY_NOISY if noisy else NEARLY) * least]
        return min(near, key=lambda row: (free(row), fixed(row)), default=None)
    return min(found, key=lambda row: (row.trial and row.trial.worth, free(row), fixed(row)), default=None)


def groups(problem: Problem) -> Iterator[Families]:
    """Families in the order in which they are tried."""
    if problem.same_size:
        noisy = noisy_table(problem)
        if noisy is not None:
            yield iter([("table behind noise", noisy)])
        yield pointwise(problem)
        yield gained(problem)
        yield cubed(problem)
    colors = pointwise_part(problem)
    folds = colors is not None and any(isinstance(layer, Lookup) for layer in colors.layers)
    if not folds:
        yield from spatial(problem)
    if colors is not None:
        layers = list(colors.layers)
        for families in spatial(behind(layers, problem)):
            yield joined(families, layers, [])
        if len(layers) == 1 and isinstance(layers[0], Lookup) and len(layers[0].values) == 1:
            inner = before(layers[0], problem)
            if inner is not None:
                for families in spatial(inner):
                    yield joined(families, [], layers)
    if folds:
        yield from spatial(problem)
    yield summed(problem)


def spatial(problem: Problem) -> Iterator[Families]:
    """Families that look at several pixels."""
    yield ranked(problem)
    yield averaged(problem)
    yield areal(problem)
    yield windowed(problem)
    yield unsharp(problem)
    yield tapped(problem)
    yield separable_forms(problem)
    yield filtered(problem)
    yield scattered(problem)


def joined(families: Families, first: list[Layer], last: list[Layer]) -> Families:
    """Return the same families with layers around what they find."""
    words = "after a pointwise part: " if first else "before a pointwise part: "
    for name, found in families:
        if isinstance(found, str):
            yield words + name, found
        else:
            layers = [*first, *found.layers, *last]
            params = [*({} for _ in first), *found.params, *({} for _ in last)]
            yield words + name, replace(found, layers=layers, params=params)


def pointwise_part(problem: Problem) -> FoundForm | None:
    """Return what the teacher does to images of one color, if that is a pointwise map of levels, and not the
    identity."""
    if problem.ask is None or not problem.train.quantized or problem.train.inputs.dtype != torch.uint8:
        return None
    generator = torch.Generator().manual_seed(0)
    channels, (h, w) = problem.channels[0], problem.train.inputs.shape[-2:]
    gray = torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, channels)
    count = FEW_COLORS if problem.costly else COLORS
    colors = torch.randint(0, 256, (count, channels), dtype=torch.uint8, generator=generator)
    colors = torch.cat([gray, colors])[torch.randperm(256 + count, generator=generator)]
    whole: Ask = problem.ask

    def centres(pixels: Tensor) -> Tensor:
        targets = whole(pixels.expand(-1, -1, h, w).contiguous()).targets
        rows, columns = (length // 2 for length in targets.shape[-2:])
        return targets[:, :, rows : rows + 1, columns : columns + 1].clone()

    def ask(pixels: Tensor) -> Labelled:
        # Answers may be large, and only their centres are kept.
        return Labelled(pixels, torch.cat([centres(part) for part in pixels.split(AT_ONCE)]))

    pixels = ask(colors[:FIRST_COLORS, :, None, None])
    if pixels.inputs.equal(pixels.targets):
        return None
    pixels = ask(colors[:, :, None, None])
    # Every gray level must be among those that a table is read from.
    small = replace(problem, train=pixels, val=pixels, probes=(), ask=ask, history=[])
    for _, found in pointwise(small):
        if isinstance(found, FoundForm) and attempt(found.layers, [small.val]).differing == 0:
            return None if is_identity(found.layers) else found
    return None


def is_identity(layers: Sequence[Layer]) -> bool:
    return len(layers) == 1 and isinstance(layers[0], Lookup) and layers[0].values.equal(identity()[None])


def identity() -> Tensor:
    return torch.arange(256, dtype=torch.uint8)


def behind(layers: list[Layer], problem: Problem) -> Problem:
    """Return what is left to learn behind layers that are known."""

    def pass_on(part: Labelled) -> Labelled:
        return Labelled(run_layers(layers, part), part.targets)

    probes = [pass_on(part) for part in problem.probes]
    return replace(problem, train=pass_on(problem.train), val=pass_on(problem.val), probes=probes, ask=None)


def before(table: Lookup, problem: Problem) -> Problem | None:
    """Return what is left to learn before a table: asked with images whose levels it keeps apart and in one order."""
    if problem.ask is None:
        return None
    values = table.values[0].int()
    low, high = longest_monotone(values)
    if high - low < FEWEST_LEVELS:
        return None
    inverse = middles(values)
    inverse[values[low : high + 1].long()] = torch.arange(low, high + 1, dtype=torch.uint8)
    ask: Callable[[Tensor], Labelled] = problem.ask

    def restrict(part: Labelled) -> Labelled:
        inputs = (low + (part.inputs.int() * (high - low) + 127) // 255).to(torch.uint8)
        return Labelled(inputs, inverse[ask(inputs).targets.long()])

    return replace(problem, train=restrict(problem.train), val=restrict(problem.val), probes=(), ask=None)


def middles(values: Tensor) -> Tensor:
    """For each value, the middle of the levels that a table ``[256]`` maps to it, or about to it: uint8 ``[256]``.

    What is before a table may overshoot the levels that are told apart: where all keep one order, these are near.
    """
    counts = torch.bincount(values, minlength=256)
    sums = torch.bincount(values, torch.arange(256, dtype=torch.float64), minlength=256)
    known = (counts > 0).nonzero()[:, 0]
    found = np.interp(np.arange(256), known.numpy(), (sums[known] / counts[known]).numpy())
    return torch.from_numpy(found).round().to(torch.uint8)


def longest_monotone(values: Tensor) -> tuple[int, int]:
    """First and last index of the longest stretch in which values strictly rise, or strictly fall."""
    best_low, best_high = 0, 0
    for sign in (1, -1):
        low = 0
        for i, step in enumerate((values.diff() * sign).tolist(), 1):
            if step <= 0:
                low = i
            elif i - low > best_high - best_low:
                best_low, best_high = low, i
    return best_low, best_high
