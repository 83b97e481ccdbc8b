"""The family of separable maps: free matrices; a kernel behind them, which serves any size; or snapped matrices."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import inf
from typing import cast

import torch
from torch import Tensor

from learned_transforms.layers.base import Layer
from learned_transforms.layers.fixed_size import FixedResampling, Separable
from learned_transforms.layers.geometry import Flipping
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.optim.fit import fit_separable, least_squares, separable
from learned_transforms.trainer.optim.kernel import Sized, fit_kernel, kernel_loss
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.optim.training import Settings, score
from learned_transforms.trainer.search.choosing import (
    COPYING,
    RANK_IMAGES,
    SHAPES,
    Candidate,
    Kernel,
    arithmetics,
    is_identity,
    rank,
    select_kernel,
    shipped_kernels,
)
from learned_transforms.trainer.search.placement import (
    UNROUNDED,
    WHOLE_PLACEMENT,
    ResizePlacement,
    placements,
    resampling,
)
from learned_transforms.trainer.search.pointwise import best_map, fit_mix
from learned_transforms.trainer.search.problem import (
    CHECK_IMAGES,
    Ask,
    FoundForm,
    Grid,
    Labelled,
    Problem,
    Trial,
    attempt,
    flat,
    mismatch,
    run_layers,
)
from learned_transforms.trainer.search.prune import SMALL, SMALL_FLOAT, thinned
from learned_transforms.trainer.search.recognize import STRAIGHT, Geometry, as_whole, estimate_kernel, recognize
from learned_transforms.trainer.sizes.ruled import Ruled, ruled_placements
from learned_transforms.trainer.zoo.parallel import threaded

ENOUGH = 1.5
"""A kernel that validates within this factor of the free matrices explains them; a wrong one misses by far more."""

NEAR = 0.15
"""Snapped kernels stay candidates within this relative rise of the loss; the exact arithmetic decides among them."""

PROMISING = 4.0
"""Kernels are refitted whose first estimate validates within this factor of the best one's."""

HOPELESS, LITTLE = 30.0, 2e-4
"""No kernel is refitted whose first estimate validates worse than the free matrices by more than this factor, unless
one leaves less than this share of the squares of the matrices: floats tell them more than any first estimate."""

PLACING = 2, 3
"""Support and degree of the kernel with which rules for other sizes are compared."""

FEW = 0.01
"""Share of values that may differ behind a shipped kernel where none could be fitted."""

CONTRADICTED = 0.3
"""A rule that leaves more than this share of the variance of images of other sizes is none."""

REFIT_VALUES = 400_000
REFIT_PATIENCE = 3
HELD_OUT_PROBES = 4

FREE_VALUES = 3_000_000
"""Input values that the free matrices are fitted to: a row of them has a few dozen unknowns."""

NOISE_FREE = 1e-10
"""For float targets, the same as a share of their mean square."""

FREE_PATIENCE, FREE_DELTA = 3, 1e-3
"""Alternating least squares are there after a few epochs; falls of the loss below this, in levels, tell nothing."""

NOISY_SHARE, NOISY_STRAIGHT = 0.05, 0.6
"""Of the variance of the targets, that noise may leave; and how far it may move centres, see
``recognize.STRAIGHT``."""

CLAMPED, MOST_CLAMPED = 4.0, 100.0
"""Mean square, in levels, above which images of less contrast are tried, up to the latter, and below which these must
lie: roundings leave less, and what is clamped more."""

EXPLAINED = 50.0
"""Mean square, in levels, that rounding and clamping between the passes may leave to free matrices."""


def separable_forms(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Free matrices first; then what they are recognized as."""
    unit = 1.0 if problem.train.quantized else NOISE_FREE * float(problem.train.targets.double().square().mean())
    most = FREE_VALUES if problem.train.quantized else FREE_VALUES // 3  # Less noise needs fewer images.
    form = free_form(problem, problem.settings.gentle(FREE_PATIENCE, FREE_DELTA * unit), most)
    yield "separable", form
    free = cast(Separable, form.layers[0])
    left = free_loss(free, None, problem.val.part(slice(CHECK_IMAGES)).floats(torch.float64))
    loud = problem
    levels = problem.train.quantized and problem.train.inputs.dtype == torch.uint8
    if problem.ask is not None and levels and CLAMPED < left <= MOST_CLAMPED:
        calm = subdued(problem, problem.ask)
        calmer = cast(Separable, free_form(calm, problem.settings.gentle(FREE_PATIENCE, FREE_DELTA), most).layers[0])
        calm_left = free_loss(calmer, None, calm.val.part(slice(CHECK_IMAGES)).floats(torch.float64))
        if calm_left < CLAMPED:
            problem, free, left = calm, calmer, calm_left
    # Pairs may be noisy; what a teacher answers is not.
    noise = NOISY_SHARE * float(problem.val.targets.double().var()) if problem.ask is None else 0.0
    if left > max(EXPLAINED * problem.unit**2, noise):
        yield "kernel", f"free matrices leave a mean square of {left / problem.unit**2:.3g} levels"
        return
    most = max(50, REFIT_VALUES // problem.train.targets[0].numel())
    rich = problem.train.rich(most)
    thin = thinned(free, rich.floats(torch.float64), SMALL if rich.quantized else SMALL_FLOAT)
    size = problem.train.inputs.shape[-2], problem.train.inputs.shape[-1]
    known = None if problem.rules is None else Ruled(rules=problem.rules).lines(size)
    noisy = problem.ask is None and left > problem.unit**2
    readings = recognize(thin.rows, thin.columns, known, NOISY_STRAIGHT if noisy else STRAIGHT)
    found: FoundForm | str = readings if isinstance(readings, str) else "no place"
    read = [] if isinstance(readings, str) else readings
    shown = read or [as_whole(thin.rows, thin.columns)]
    for form_of, geometry in (*product([shipped_form], shown), *product([kernel_form], read)):
        made = form_of(thin, geometry, loud) if form_of is shipped_form else kernel_form(thin, geometry, problem, loud)
        # Why a kernel that was recognized does not do says more than that no shipped one does.
        if isinstance(made, FoundForm) or form_of is kernel_form:
            found = made
        if isinstance(made, FoundForm):
            break
    copied = isinstance(found, FoundForm) and not any(isinstance(layer, Resampling) for layer in found.layers)
    yield "crop" if copied else "kernel", found
    yield "matrices", snapped_form(thin, loud.train.rich(most), loud)


def subdued(problem: Problem, ask: Ask) -> Problem:
    """Return the problem on images of half the contrast: kernels that overshoot are clamped on others, which tells
    little."""

    def soft(part: Labelled) -> Labelled:
        return ask(part.inputs // 2 + 64)

    few = max(100, FREE_VALUES // problem.train.inputs[0].numel())
    train, val = (part.part(slice(few)) for part in (problem.train, problem.val))
    return replace(problem, train=soft(train), val=soft(val), probes=[soft(part) for part in problem.probes])


def free_form(problem: Problem, settings: Settings, most_values: int | None = None) -> FoundForm:
    """Free row, column and channel matrices."""
    most = None if most_values is None else max(100, most_values // problem.train.inputs[0].numel())
    dtype = torch.float32 if problem.train.quantized else torch.float64
    data, held_out = (part.part(slice(most)).floats(dtype) for part in (problem.train, problem.val))
    free, history = fit_separable(data, held_out, settings, 0)
    problem.history.extend(history)
    free = free.cpu()
    free.arithmetic = problem.train.rounded
    return FoundForm.plain(free)


def kernel_form(start: Separable, geometry: Geometry, problem: Problem, loud: Problem) -> FoundForm | str:
    """Place, refit, snap and select: the kernel form of a separable network, or the reason why there is none.

    Args:
        start: the free network, for the first channel weights; its rows sum to 1.
        geometry: what was recognized in it.
        problem: its pairs.
        loud: the same on images of full contrast, by which arithmetic is selected.
    """
    data, held_out = problem.train.flip(geometry.flips), problem.val.flip(geometry.flips)
    rules = None if problem.rules is None else ruled_placements(problem.rules)
    flipped = [p.flip(geometry.flips) for p in problem.probes]
    placed = place(start, geometry, data.inputs, data.size, flipped, rules)
    if isinstance(placed, str):
        return placed
    placement, probes = placed
    most = max(50, REFIT_VALUES // data.targets[0].numel())
    rich, rich_val = data.rich(most), held_out.rich(most)
    told = {id(part) for part in probes}
    others = [p.flip(geometry.flips) for p, q in zip(loud.probes, flipped, strict=True) if id(q) in told]
    checks = [loud.val.flip(geometry.flips).part(slice(CHECK_IMAGES)), *others]
    fitted, weight, ask = None, start.weight.detach(), undo_flips(problem.ask, geometry)
    kernels = [COPYING]
    if placement.resized:
        many = [p for p in probes if len(p.inputs) > HELD_OUT_PROBES]
        sets = [s.floats(torch.float64) for s in (rich, *(p.part(slice(HELD_OUT_PROBES, None)) for p in many))]
        val_sets = [s.floats(torch.float64) for s in (rich_val, *(p.part(slice(HELD_OUT_PROBES)) for p in many))]
        found = refit(start, geometry, placement, sets, val_sets, problem)
        shift, kernels = geometry.shift, []
        if found is not None:
            layer, weight, bias = found
            fitted = layer.kernel.detach().cpu()
            snapped, shift = snap_geometry(layer, weight, bias, placement, sets, problem.unit)
            kernels = [Kernel(grid, kernel, shift) for grid, kernel in snapped]
        kernels += shipped_kernels(problem, shift)
    # Thousands of short sums: on busy cores, threads would wait for each other longer than they work.
    shown = loud.train.flip(geometry.flips).rich(most)
    best, trials = threaded(1, partial(select_kernel, kernels, placement, weight, shown, checks, ask))
    if placement.resized and fitted is None and best.trial.differing > FEW:
        return "no kernel explains the matrices"
    return formed(best, trials, geometry, placement, data.size, fitted)


def shipped_form(start: Separable, geometry: Geometry, problem: Problem) -> FoundForm | str:
    """Return a shipped kernel that is richer than those that are fitted, if it leaves no difference."""
    data, held_out = problem.train.flip(geometry.flips), problem.val.flip(geometry.flips)
    kernels = [kernel for kernel in shipped_kernels(problem, geometry.shift) if kernel.intricate]
    placed = place(start, geometry, data.inputs, data.size, [p.flip(geometry.flips) for p in problem.probes])
    if isinstance(placed, str) or not placed[0].resized or not kernels or not is_identity(start.weight):
        return "no shipped kernel comes into question"
    placement, probes = placed
    checks = [held_out.part(slice(CHECK_IMAGES)), *probes]
    for kernel, arithmetic in threaded(1, partial(rank, kernels, placement, data.rich(RANK_IMAGES), True)):
        layers: list[Layer] = [kernel.layer(arithmetic, placement)]
        found = Candidate(layers, {"kernel": None}, attempt(layers, checks), True)
        if found.trial.differing == 0:
            return formed(found, [found.trial], geometry, placement, data.size, None)
    return "no shipped kernel explains it"


def formed(
    best: Candidate,
    trials: Sequence[Trial],
    geometry: Geometry,
    placement: ResizePlacement,
    size: tuple[int, int],
    fitted: Tensor | None,
) -> FoundForm:
    """Return the layers that a candidate comes to, its placement and flips among them."""
    chosen = cast(Resampling, best.layers[0])
    plain = Resampling(chosen.kernel, chosen.shift, chosen.arithmetic, chosen.width)
    plain.picked = ("kernel",) if best.shipped else ()
    parts = [*placement.parts(plain, size), *((layer, {}) for layer in best.layers[1:])]
    for axis, on in zip(("vertical", "horizontal"), geometry.flips, strict=True):
        if on:
            parts.append((Flipping(), {"axis": axis}))
    notes = [f"flips (rows, columns): {geometry.flips}; grids 1/n: {best.grids}"]
    notes += [str(placement)] if placement != WHOLE_PLACEMENT else []
    notes += ["the kernel is a shipped one, selected"] if best.shipped else []
    names = ("size", "axis", "start", "antialias")
    layers, params = [layer for layer, _ in parts], [given for _, given in parts]
    return FoundForm(layers, params, trials, names, best.grids, fitted, notes)


def place(
    start: Separable,
    geometry: Geometry,
    images: Tensor,
    output: tuple[int, int],
    probes: Sequence[Labelled],
    rules: Sequence[ResizePlacement] | None = None,
) -> tuple[ResizePlacement, Sequence[Labelled]] | str:
    """Return the rule that images of other sizes bear out, and those that tell; or why there is none.

    ``rules`` are those that come into question; None: those of the geometry.
    """
    inputs = images.shape[-2], images.shape[-1]
    if rules is None:
        rules = [
            rule
            for antialias in ((True, False) if geometry.undecided else (geometry.antialias,))
            for rule in placements(geometry.lines, inputs, output, antialias, geometry.copied)
        ]
    if not rules:
        return "a filter, and no kernel, explains the matrices"
    if rules == [WHOLE_PLACEMENT]:
        return WHOLE_PLACEMENT, probes
    kernel = estimate_kernel(geometry, *PLACING).to(images.device)
    losses = []
    for rule in rules:
        layer = resampling(kernel, geometry.shift.to(images.device), UNROUNDED, rule)
        told = [
            p
            for p in probes
            if rule.matrices(layer.kernel, layer.shift, (p.inputs.shape[-2], p.inputs.shape[-1]), p.size) is not None
        ]
        sets = [p.floats(torch.float64) for p in told]
        loss, unit = 0.0, 1.0
        if sets:
            loss = kernel_loss(layer, start.weight.double(), start.bias.double(), sets)[0]
            unit = sum(float(y.var()) for _, y in sets) / len(sets)
        losses.append((loss / unit, rule, told))
    least = min(loss for loss, _, _ in losses)
    if least > CONTRADICTED:
        return f"images of other sizes contradict it: {rules[0]}"
    return next((rule, told) for loss, rule, told in losses if loss <= least * 1.01)


def refit(
    start: Separable,
    geometry: Geometry,
    placement: ResizePlacement,
    sets: Sequence[Sized],
    val_sets: Sequence[Sized],
    problem: Problem,
) -> tuple[Resampling, Tensor, Tensor] | None:
    """Return the simplest kernel that explains the pairs as well as free matrices do, with channel weights and bias."""
    limit = ENOUGH * free_loss(start, geometry, val_sets[0])
    settings = problem.settings.gentle(REFIT_PATIENCE, 1e-3 * limit)
    device = sets[0][0].device
    starts = [
        resampling(estimate_kernel(geometry, *shape), geometry.shift, UNROUNDED, placement).to(device)
        for shape in SHAPES
    ]
    losses = [kernel_loss(layer, start.weight.double(), start.bias.double(), val_sets[:1])[0] for layer in starts]
    hopeless = inf if geometry.left <= LITTLE else HOPELESS * limit
    for layer, loss in zip(starts, losses, strict=True):
        if loss > min(PROMISING * max(min(losses), limit), hopeless):
            continue
        weight, bias, epochs = fit_kernel(layer, (start.weight, start.bias), sets, val_sets, settings)
        problem.history.extend(epochs)
        if kernel_loss(layer, weight, bias, val_sets[:1])[0] <= limit:
            return layer, weight, bias
    return None


def undo_flips(ask: Ask | None, geometry: Geometry) -> Ask | None:
    """Return a teacher whose answers are not flipped."""
    return None if ask is None else lambda images: ask(images).flip(geometry.flips)


def free_loss(network: Separable, geometry: Geometry | None, part: Sized) -> float:
    """Mean squared error of the free matrices, flips undone if they are known; at least the rounding of float32."""
    x, y = part
    flips = (False, False) if geometry is None else geometry.flips
    rows, columns = (
        matrix.flip(0) if flipped else matrix
        for matrix, flipped in zip((network.rows, network.columns), flips, strict=True)
    )
    rows, columns, weight, bias = (t.detach().to(x) for t in (rows, columns, network.weight, network.bias))
    return max(score(separable(rows, columns, weight, bias, x), y)[0], 1e-12 * float(y.square().mean()))


def snap_geometry(
    layer: Resampling, weight: Tensor, bias: Tensor, placement: ResizePlacement, sets: Sequence[Sized], unit: float
) -> tuple[list[tuple[Grid, Tensor]], Tensor]:
    """Return the simplest kernels, and the simplest shift, that do as well as the fitted ones; no rounding modelled."""

    def loss(kernel: Tensor, shift: Tensor) -> float:
        return kernel_loss(resampling(kernel, shift, UNROUNDED, placement), weight, bias, sets)[0]

    floor = 1e-12 * float(sets[0][1].square().mean())
    fitted = layer.kernel.detach()
    shift = snap(layer.shift.detach(), lambda s: loss(fitted, s), 1e-3, floor, 1)[0][1]
    # More than roundings leave is noise, beside which any kernel would do.
    near = NEAR * min(1.0, unit**2 / max(loss(fitted, shift), floor))
    return snap(fitted, lambda k: loss(k, shift), near, floor, 8), shift


def snapped_form(thin: Separable, rich: Labelled, problem: Problem) -> FoundForm:
    """Thinned matrices on the grid and in the arithmetic that fit best.

    Args:
        thin: matrices without the weights that no image shows.
        rich: training pairs that show rounding errors.
        problem: for its validation pairs and its teacher.
    """
    rows, columns = thin.rows.detach(), thin.columns.detach()
    x, y = problem.val.rich(len(rich.inputs)).floats(torch.float64)

    def loss(values: Tensor) -> float:
        planes = split(values)[0] @ x @ split(values)[1].T
        found = least_squares(flat(planes), flat(y)[:-1])
        return score(found @ flat(planes), flat(y)[:-1])[0]

    def split(values: Tensor) -> tuple[Tensor, Tensor]:
        return values[: rows.numel()].view_as(rows), values[rows.numel() :].view_as(columns)

    values = torch.cat([rows.flatten(), columns.flatten()])
    floor = 1e-12 * float(y.square().mean())
    grids = [*snap(values, loss, NEAR, floor, 8), (None, values)]
    part, check = rich.part(slice(RANK_IMAGES)), problem.val.part(slice(CHECK_IMAGES))

    def ranked(plain: bool) -> list[tuple[Grid, FixedResampling]]:
        scored = []
        for (grid, found), arithmetic in product(grids, arithmetics(rich, plain)):
            layer = FixedResampling(*split(found), arithmetic)
            output = run_layers([layer], part)
            left = mismatch(output, part.targets) if plain else fit_mix(flat(output), part.targets)[2]
            scored.append((left, grid, layer))
        return [(grid, layer) for _, grid, layer in sorted(scored, key=lambda entry: entry[0])[:2]]

    forms = []
    if is_identity(thin.weight):
        for grid, layer in ranked(plain=True):
            forms.append(FoundForm([layer], [{}], [attempt([layer], [check])], grids={"rows, columns": grid}))
    if not any(form.trials[0].differing == 0 for form in forms):
        for grid, layer in ranked(plain=False):
            form = best_map([layer], replace(problem, train=rich, val=check))
            forms.append(replace(form, grids={"rows, columns": grid, **form.grids}))
    # Among equals, the first: without a channel map.
    return min(forms, key=lambda form: form.worth)
