"""Families that look at each pixel on its own: tables, channel maps, and a table before a channel map."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import cast

import numpy as np
import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.trainer.data.bundled import every_color
from learned_transforms.trainer.data.quantization import LEVELS
from learned_transforms.trainer.optim.fit import fit_intervals, least_squares, least_squares_inside, solve
from learned_transforms.trainer.optim.snap import on_grid, snapped
from learned_transforms.trainer.optim.training import score
from learned_transforms.trainer.search.arithmetics import FLOATS, MIX_LEVELS
from learned_transforms.trainer.search.problem import (
    FINALISTS,
    Ask,
    FoundForm,
    Grid,
    Labelled,
    Problem,
    attempt,
    flat,
    mismatch,
    run_layers,
)
from learned_transforms.trainer.zoo.parallel import threaded

MOST_SAMPLES = 200_000
EXPLAINED = 4.0
"""Mean square, in levels, that a clamped and rounded channel map may leave to a linear fit."""

FEW_CHECKED, MOST_CHECKED = 60_000, 2_000_000
DISPUTING = 0.01
"""Maps that miss more than this share of the values are not worth asking about colors that they dispute."""

DISPUTED = 256
"""Colors that rivals dispute which a teacher is asked about."""

NEARLY = 1.1
"""Of sums that leave no more than this factor of the least loss, the one of the fewest terms is taken."""

SIMPLE, SIMPLEST = 5e-4, 4
"""Simple grids that move no weight farther than this are tried in any case, so many of them."""

NUDGE = 1e-9
RARE = 1e-3
"""Share of values that the order of a sum may round otherwise."""

VIVID, FEWEST_VIVID = 48, 5000
"""Between the channels of a color that is far from gray, in levels; and so many are enough."""

FAR = 0.02
"""Grids that move a fitted weight farther are not tried."""

CLOSE = 0.2
"""How far, in levels, a fitted table of levels may be from whole numbers."""


def pointwise(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """All families of this file, the cheapest first."""
    yield "table", table(problem)
    # Thousands of short sums: on busy cores, threads would wait for each other longer than they work.
    yield "channel map", threaded(1, partial(channel_map, problem))
    yield "two channel maps", threaded(1, partial(two_maps, problem))
    yield "table, channel map", threaded(1, partial(table_then_map, problem))


def table(problem: Problem) -> FoundForm | str:
    """Return one table for each channel, or one for all."""
    inputs, targets = problem.train.inputs, problem.train.targets
    if inputs.dtype != torch.uint8:
        return "inputs are no levels"
    if inputs.shape != targets.shape:
        return "outputs have another shape than inputs"
    rows = [lookup(x, y) for x, y in zip(inputs.transpose(0, 1), targets.transpose(0, 1), strict=True)]
    values = torch.stack([row for row, _ in rows])
    seen = torch.stack([found for _, found in rows])
    missing = int((~seen).sum())
    if bool((values == values[:1]).all(0)[seen.all(0)].all()):
        pooled, found = lookup(inputs.flatten(), targets.flatten())
        values, missing = pooled[None], int((~found).sum())
    notes = [f"{missing} of {values.numel()} levels occur in no image; the table fills them in"] if missing else []
    return FoundForm.plain(Lookup(values), notes=notes)


def lookup(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the table ``[256]`` from levels to targets, levels or floats; and which of its entries were seen."""
    levels = inputs.flatten().long()
    count = torch.bincount(levels, minlength=LEVELS)
    if targets.dtype == torch.uint8:
        joint = torch.bincount(levels * LEVELS + targets.flatten().long(), minlength=LEVELS * LEVELS)
        # The median: noise hardly moves it, and where all agree it is what they say.
        below = joint.view(LEVELS, LEVELS).cumsum(1) * 2 < count[:, None]
        values = below.sum(1).double()
    else:
        sums = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, levels, targets.flatten().double())
        values = sums / count.clamp(min=1)
    seen = count > 0
    known = seen.nonzero()[:, 0].numpy()
    values = torch.from_numpy(np.interp(np.arange(LEVELS), known, values[seen].numpy()))
    return (values.round().to(torch.uint8) if targets.dtype == torch.uint8 else values.float()), seen


def channel_map(problem: Problem) -> FoundForm | str:
    """Return a linear map of the channels, with the arithmetic and the grid with which the fewest values differ."""
    if not problem.same_size:
        return "outputs have another size than inputs"
    part = sample(problem.train, MOST_SAMPLES)
    planes, wanted = flat(part.inputs), flat(part.targets)[:-1]
    found = least_squares_inside(planes, wanted)
    # What is clamped tells nothing of the map, but must come out clamped.
    made = (found @ planes).clamp(float(wanted.min()), float(wanted.max()))
    if score(made, wanted)[0] <= EXPLAINED * problem.unit**2:
        return best_map([], problem)
    # Roundings do not explain what is left, so that no choice of arithmetic and grid would help.
    return FoundForm.plain(Mixing(found[:, :-1], found[:, -1], problem.train.rounded))


def two_maps(problem: Problem) -> FoundForm | str:
    """Return a channel map that also looks at outputs which another map gives, as rounded there: chroma after luma.

    Each output that one map does not explain is explained by as few channels and outputs as will do.
    """
    if not problem.same_size or not problem.train.quantized or problem.train.inputs.dtype != torch.uint8:
        return "outputs have another size than inputs, or are no levels"
    rows = [best_map([], one_output(problem, c)) for c in range(problem.channels[1])]
    known = [c for c, form in enumerate(rows) if form.worth[0] == 0]
    if not 0 < len(known) < len(rows):
        return f"one map explains {len(known)} of {len(rows)} outputs"
    inner = cast(Mixing, best_map([], one_output(problem, *known)).layers[0])
    count = problem.channels[0]
    weight = torch.cat([torch.eye(count, dtype=torch.float64), inner.weight.detach()])
    bias = torch.cat([torch.zeros(count, dtype=torch.float64), inner.bias.detach()])
    first = Mixing(weight, bias, inner.arithmetic)
    part = vivid(sample(problem.train, MOST_SAMPLES))
    planes = flat(run_layers([first], part))
    weights, biases = [], []
    for c, row in enumerate(flat(part.targets)[:-1]):
        chosen = (count + known.index(c),) if c in known else few_planes(planes, row)
        used = [*chosen, len(planes) - 1]
        weights.append(torch.zeros(len(planes) - 1, dtype=torch.float64))
        fit = fit_intervals(planes[used], row)[0]
        weights[-1][used[:-1]] = fit[:-1]
        biases.append(fit[-1])
    return best_map([first], problem, (torch.stack(weights), torch.stack(biases)))


def vivid(part: Labelled) -> Labelled:
    """Return the colors that are far from gray, if there are enough of them, as images of one pixel: others hide a
    map."""
    inputs, targets = (images.movedim(1, -1).flatten(0, 2) for images in (part.inputs, part.targets))
    spread = inputs.amax(1).int() - inputs.amin(1).int()
    chosen = spread > VIVID if int((spread > VIVID).sum()) > FEWEST_VIVID else spread >= 0
    return Labelled(inputs[chosen][..., None, None], targets[chosen][..., None, None])


def one_output(problem: Problem, *channels: int) -> Problem:
    """Return the problem of some of the output channels alone."""
    train, val = (Labelled(part.inputs, part.targets[:, channels]) for part in (problem.train, problem.val))
    return replace(problem, train=train, val=val, ask=None)


def few_planes(planes: Tensor, wanted: Tensor) -> tuple[int, ...]:
    """Return the fewest planes whose weighted sum explains levels nearly as well as that of all; the last is all
    ones."""

    def loss(chosen: tuple[int, ...]) -> float:
        used = planes[[*chosen, len(planes) - 1]]
        made = (least_squares_inside(used, wanted[None]) @ used).clamp(float(wanted.min()), float(wanted.max()))
        return score(made, wanted[None])[0]

    every = tuple(range(len(planes) - 1))
    enough = NEARLY * loss(every)
    return next(
        chosen for size in range(1, len(planes)) for chosen in combinations(every, size) if loss(chosen) <= enough
    )


Fitted = tuple[Tensor, Tensor]
"""Weights ``[C_out, C_in]`` and the bias ``[C_out]`` of a sum that is truncated, if of levels."""


def best_map(before: Sequence[Layer], problem: Problem, fitted: Fitted | None = None) -> FoundForm:
    """Return the best channel map behind layers that are known; ``fitted``: from these weights."""
    few, check = sample(problem.val, FEW_CHECKED), sample(problem.val, MOST_CHECKED)
    found = list(mixings(before, sample(problem.train, MOST_SAMPLES), few, fitted))
    shares = [attempt([*before, mixing], [few]).differing for mixing, _ in found]
    # The worst of those that a few images tell apart are not looked at any more.
    limit = sorted(shares)[min(FINALISTS, len(shares)) - 1]
    tried = [
        (attempt([*before, mixing], [check]), mixing, grid)
        for share, (mixing, grid) in zip(shares, found, strict=True)
        if share <= limit
    ]
    least = min(trial.worth for trial, _, _ in tried)
    rivals = [entry for entry in tried if entry[0].worth == least]
    best = rivals[0]
    close = least[0] <= DISPUTING and problem.train.quantized and problem.channels[0] == 3
    if len(rivals) > 1 and problem.ask is not None and close:
        # One color all over passes through resampling as it is.
        colors = [layer for layer in before if isinstance(layer, Lookup | Mixing)]
        maps = [[*colors, mixing] for _, mixing, _ in rivals]
        forms = [[*before, mixing] for _, mixing, _ in rivals]
        best = rivals[settle(maps, forms, problem.ask, problem.train.inputs.shape)]
    layers = [*before, best[1]]
    return FoundForm(layers, [{} for _ in layers], [entry[0] for entry in tried], grids={"weight": best[2]})


def settle(maps: Sequence[Sequence[Layer]], rivals: Sequence[Sequence[Layer]], ask: Ask, shape: torch.Size) -> int:
    """Return which of several networks that no image told apart agrees with the teacher on the colors that they
    dispute.

    All 2^24 colors are looked at: a few of them can lie on a tie that no photo happens to show.

    Args:
        maps: their pointwise layers.
        rivals: all of their layers.
        ask: the teacher.
        shape: of the images that it is asked with.
    """
    colors = every_color()
    first, disputed = None, torch.zeros(colors.shape[-2:], dtype=torch.bool)
    for layers in maps:
        result = run_layers(layers, Labelled(colors, colors))[0]
        first = result if first is None else first
        disputed |= (result != first).any(0)
    found = colors[0][:, disputed].T
    if not len(found):
        return 0
    chosen = found[torch.linspace(0, len(found) - 1, min(len(found), DISPUTED)).long()]
    answers = ask(chosen[:, :, None, None].expand(-1, -1, *shape[-2:]).contiguous())
    return min(range(len(rivals)), key=lambda i: attempt(rivals[i], [answers]).differing)


def sample(part: Labelled, most: int) -> Labelled:
    """As many images as make ``most`` pixels, at least one."""
    return part.part(slice(max(1, most // part.targets[0, 0].numel())))


def table_then_map(problem: Problem) -> FoundForm | str:
    """Return one table of levels for all channels, then a linear map of them; for one float output, a sum of free
    tables.

    Each output is first fitted as a sum of free tables, one a channel; their sum tells the common table where channel
    weights sum to 1, and their ratios tell the weights.
    """
    if not problem.same_size or problem.train.inputs.dtype != torch.uint8:
        return "outputs have another size than inputs, or inputs are no levels"
    part = sample(problem.train, MOST_SAMPLES)
    free = additive_tables(part.inputs, part.targets)
    if not problem.train.quantized:
        if len(free) > 1:
            return "several output channels, each of which may need tables of its own"
        ones = torch.ones(1, free.shape[1], dtype=torch.float64)
        return FoundForm.plain(Lookup(free[0].float()), Mixing(ones, torch.zeros(1), Arithmetic("float32")))
    whole = [levels for levels in whole_tables(free.sum(1).mean(0)) if not levels.equal(torch.arange(LEVELS))]
    if not whole:
        return "no table of levels explains it"
    forms = [best_map([Lookup(levels.to(torch.uint8)[None])], problem) for levels in whole]
    return min(forms, key=lambda form: form.worth)


def additive_tables(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the tables ``[C_out, C_in, 256]`` whose sums over the input channels are nearest to the targets."""
    channels = inputs.shape[1]
    index = inputs.transpose(0, 1).reshape(channels, -1).long() + LEVELS * torch.arange(channels)[:, None]
    wanted = targets.transpose(0, 1).reshape(targets.shape[1], -1).double()
    size = channels * LEVELS
    products = torch.zeros(size * size, dtype=torch.float64)
    for a in index:
        for b in index:
            products += torch.bincount(a * size + b, minlength=size * size)
    sums = torch.stack(
        [sum_by(index, row, size) for row in wanted],
        dim=1,
    )
    return solve(products.view(size, size), sums).T.reshape(-1, channels, LEVELS)


def sum_by(index: Tensor, values: Tensor, size: int) -> Tensor:
    """For each entry of all tables, the sum of the values where it is used."""
    total = torch.zeros(size, dtype=torch.float64)
    for row in index:
        total.index_add_(0, row, values)
    return total


def whole_tables(values: Tensor) -> Iterator[Tensor]:
    """Tables of levels near fitted values, which a rounding may have moved by any common part of a level."""
    turns = torch.exp(2j * torch.pi * values).mean()
    offset = float(torch.angle(turns)) / (2 * torch.pi)
    for moved in (values - offset, values - offset + (1 if offset > 0 else -1)):
        whole = moved.round()
        if float((moved - whole).abs().median()) < CLOSE and whole.min() >= -1 and whole.max() <= LEVELS:
            yield whole.clamp(0, LEVELS - 1).long()


def fit_mix(planes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
    """Channel weights and bias from planes ``[C_in + 1, samples]``, and the loss that they leave.

    For levels, the bias is that of a truncating sum; for floats, the fit is least squares.
    """
    wanted = flat(targets)[:-1]
    if targets.dtype == torch.uint8:
        rows = [fit_intervals(planes, row) for row in wanted]
        found, loss = torch.stack([weights for weights, _ in rows]), max(loss for _, loss in rows)
    else:
        found = least_squares(planes, wanted)
        loss = score(found @ planes, wanted)[0]
    return found[:, :-1].cpu(), found[:, -1].cpu(), loss


def promising(weight: Tensor, bias: Tensor, planes: Tensor, data: Labelled) -> list[tuple[Grid, Tensor, Tensor]]:
    """Grids from simple to fine, the weights on them and a bias, that explain targets nearly as well as any does."""
    near = [entry for entry in snapped(weight) if float((entry[1] - weight).abs().max()) < FAR]
    if not data.quantized:
        return [(grid, values, bias) for grid, values in near]
    targets = flat(data.targets)[:-1]
    found = []
    for grid, values in near:
        sums = values @ planes[:-1]
        own = middle(sums, targets, bias)
        wrong = min(
            float(((sums + offset[:, None] + NUDGE).floor().clamp(0, 255) != targets).double().mean())
            for offset in (own, (own * 2).round() / 2)
        )
        found.append((wrong, (grid, values, own)))
    limit = max(1.5 * min(wrong for wrong, _ in found), RARE)
    # Sums on simple grids may be just at halves, which are rounded otherwise.
    simple = [grid for grid, values in near if float((values - weight).abs().max()) < SIMPLE][:SIMPLEST]
    return [entry for wrong, entry in found if wrong <= limit or entry[0] in simple]


def middle(sums: Tensor, levels: Tensor, bias: Tensor) -> Tensor:
    """Return what is added to sums in the middle of all that truncates them to the levels; ``bias`` where nothing
    does."""
    inside = (levels > 0) & (levels < 255)
    low = torch.where(inside, levels - sums, -torch.inf).amax(1)
    high = torch.where(inside, levels + 1 - sums, torch.inf).amin(1)
    return torch.where((low <= high + NUDGE) & low.isfinite() & high.isfinite(), (low + high) / 2, bias)


def mixings(
    before: Sequence[Layer], data: Labelled, check: Labelled, fitted: Fitted | None = None
) -> Iterator[tuple[Mixing, Grid]]:
    """Channel maps to go behind layers: each arithmetic with its best grid; ``fitted``: of these weights."""
    planes = flat(run_layers(before, data))
    weight, bias = fitted or fit_mix(planes, data.targets)[:2]
    grids = promising(weight, bias, planes, data)
    inner = Labelled(run_layers(before, check), check.targets)
    for arithmetic in MIX_LEVELS if data.quantized else FLOATS:
        if arithmetic.number == "int" and inner.inputs.dtype != torch.uint8:
            continue
        half = 0.0 if arithmetic.rounding in ("truncate", "none") else 0.5
        best: tuple[float, Grid, Mixing] | None = None
        for denominator, values, own in grids:
            if arithmetic.number == "int" and (denominator is None or (1 << arithmetic.bits) % denominator):
                continue
            near = own - half if denominator is None else on_grid(own - half, denominator)
            for offset in (torch.round((own - half) * 2) / 2, near, own - half):
                mixing = Mixing(values, offset, arithmetic)
                worth = mismatch(run_layers([mixing], inner), check.targets)
                if best is None or worth < best[0] * 0.9:
                    best = worth, denominator, mixing
            if best is not None and best[0] == 0:
                break
        if best is not None:
            yield best[2], best[1]
