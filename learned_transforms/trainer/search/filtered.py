"""The family of a resize with a window behind it, as in pipelines that sharpen what they made smaller."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch

from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.optim.fit import least_squares_inside
from learned_transforms.trainer.search.choosing import Kernel, arithmetics, shipped_kernels
from learned_transforms.trainer.search.placement import UNROUNDED, ResizePlacement
from learned_transforms.trainer.search.problem import FoundForm, Labelled, Problem, run_layers
from learned_transforms.trainer.search.spatial import patches, windowed
from learned_transforms.trainer.sizes.ruled import ruled_placements, whole_answer

FEW_IMAGES = 40
REACH, PATCH_VALUES = 2, 4_000_000
"""Of the windows, in pixels, by which resizes are told apart; and how many values of patches these are fitted to."""

EXPLAINED = 2.0
"""Mean square, in levels, that the right resize may leave to such a window."""

ALIKE, FINALISTS = 1.1, 3
"""Windows are fitted behind the arithmetics within this factor of the least loss, so many of them at most."""


def filtered(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Each shipped kernel, and the window that explains what comes behind it."""
    yield "resize, filter", filtered_form(problem)


def filtered_form(problem: Problem) -> FoundForm | str:
    """Return the shipped resize behind which a window leaves least; then that window, with its arithmetic and
    border."""
    places, kernels = places_of(problem), shipped_kernels(problem, torch.zeros(2, dtype=torch.float64))
    if problem.channels[0] != problem.channels[1] or not places or not kernels:
        return "answers are no resized images, or only a part of them is seen"
    few = problem.train.rich(FEW_IMAGES)
    # Arithmetics differ by far less than kernels do.
    pairs = list(product(kernels, places))
    kernel, place = min(pairs, key=lambda pair: left_by(pair[0].layer(UNROUNDED, pair[1]), few))
    layers = [kernel.layer(arithmetic, place) for arithmetic in arithmetics(few, plain=True)]
    losses = [left_by(layer, few) for layer in layers]
    if min(losses) > EXPLAINED * problem.unit**2:
        return f"a window behind a resize leaves a mean square of {min(losses) / problem.unit**2:.3g} levels"
    # Those that round alike differ in few values, which only the window itself tells.
    near = sorted(range(len(layers)), key=losses.__getitem__)[:FINALISTS]
    found = [behind(layers[i], kernel, place, problem) for i in sorted(near) if losses[i] <= ALIKE * min(losses)]
    forms = [form for form in found if isinstance(form, FoundForm)]
    return min(forms, key=lambda form: form.worth, default=found[0])


def places_of(problem: Problem) -> Sequence[ResizePlacement]:
    """Return the ways in which all of an image may be resized to all of an answer."""
    inputs, rules = problem.train.inputs, problem.rules
    if problem.same_size:
        return ()
    if rules is None:
        return [ResizePlacement(antialias=on) for on in (True, False)]
    seen = rules.resizes and rules.frame is None and whole_answer(rules, (inputs.shape[-2], inputs.shape[-1]))
    return ruled_placements(rules) if seen else ()


def resized(layer: Resampling, part: Labelled) -> Labelled:
    """Return what is left to learn behind a resize."""
    return Labelled(run_layers([layer], part), part.targets)


def left_by(layer: Resampling, part: Labelled) -> float:
    """Return the mean square that a window behind a resize leaves of what is clamped to neither end; infinite if all
    is."""
    windows, targets = patches(resized(layer, part), REACH, PATCH_VALUES)
    inside = (targets > targets.min()) & (targets < targets.max())
    if not inside.any():
        return math.inf
    left = (least_squares_inside(windows, targets[None])[0] @ windows - targets).square()
    return float(left[inside].mean())


def behind(layer: Resampling, kernel: Kernel, place: ResizePlacement, problem: Problem) -> FoundForm | str:
    """Return a resize with the window that explains what comes behind it; or why there is none."""
    train, val = resized(layer, problem.train), resized(layer, problem.val)
    _, form = next(windowed(replace(problem, train=train, val=val, probes=(), ask=None, rules=None)))
    if isinstance(form, str):
        return form
    plain = Resampling(kernel.values, kernel.shift, layer.arithmetic, kernel.width)
    plain.picked = ("kernel",)
    parts = [*place.parts(plain, problem.train.size), *((window, {}) for window in form.layers)]
    layers, params = zip(*parts, strict=True)
    notes = ["the kernel of a resize before the window is a shipped one, selected", *form.notes]
    return replace(form, layers=layers, params=params, learned=("size", "antialias"), notes=notes)
