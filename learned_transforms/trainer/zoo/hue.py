"""The turn of the hue: where channels lie on the circle, steps and span, from pure colors and from many."""

from itertools import product

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.color import FORMS, Turning
from learned_transforms.layers.network import Network
from learned_transforms.trainer.data.bundled import every_color
from learned_transforms.trainer.search.problem import Labelled, Trial, labelled, select
from learned_transforms.trainer.zoo.blend import BLEND_FLOATS, BLEND_ROUNDINGS, COUNT, SIZE, BlendTeacher, shuffled

TURNS = tuple(k / 96 for k in range(-48, 49))
"""Factors among which the one is found that turns one pure color into another."""

SPANNED = (-0.41, -0.23, 0.07, 0.31)
"""Factors that the span is learned from."""

CHECKED = (-0.5, -0.37, -0.2, -0.06, 0.0, 0.0123, 0.1, 0.27, 0.44, 0.5)
"""Factors that the arithmetic is selected on."""

FEW, CHECKS = 3, 32
"""Images that it is selected on, at first and in the end."""

SETTLED, PARTS = 0.3, 64
"""The factor with which all 2^24 colors decide between equals, and in how many parts, which fit a cache."""

STEPS = (0, *(2**bits - 1 for bits in range(4, 9)))
"""To which hue and saturation may be cut: to none, or to as many as some bits hold."""

NEAR = 2.0
"""How far, in levels, a span may be from full range."""

DIGITS = 5
SPARED, ROUNDED = 1.25, 1e-5
"""A span of fewer digits may leave so many times the mismatches of the finest, and this share of all values besides:
that many change with the rounding of one product."""


def learn_turn(teacher: BlendTeacher, kind: str) -> tuple[Turning, list[Trial]]:
    """Return the turn of the hue that a teacher computes, and what was tried.

    Args:
        teacher: from (image, factor in turns) to an image.
        kind: of its images, see ``sources.KINDS``.

    Raises:
        TeacherError: it does not turn one channel into the others.
    """
    centres = learn_centres(teacher, kind)
    images = shuffled(COUNT, SIZE)
    seen = [(labelled(teacher, images, kind, factor), factor) for factor in SPANNED]
    checks = [(labelled(teacher, images[:CHECKS], kind, factor), {"factor": factor}) for factor in CHECKED]
    x, y = products(seen, centres)
    one = torch.ones(1, dtype=torch.float64)
    if seen[0][0].quantized:
        spans = {rounding: learn_span(x, y, rounding != "truncate") for rounding in BLEND_ROUNDINGS[:2]}
        layers = [
            Turning(centres, one if steps else spans.get(rounding, spans["half_up"]), arithmetic, form, steps)
            for rounding, steps, form in product(BLEND_ROUNDINGS, STEPS, FORMS["turn"])
            for arithmetic in (Arithmetic("float32", rounding=rounding),)
        ]
    else:
        span = (x @ y / (x @ x)).round(decimals=DIGITS)[None]
        layers = [Turning(centres, span, BLEND_FLOATS[0], form, 0) for form in FORMS["turn"]]
    best, trials = select(layers, checks, FEW)
    least = min(trial.worth for trial in trials)
    rivals = [layer for layer, trial in zip(layers, trials, strict=True) if trial.worth == least]
    if len(rivals) > 1 and checks[0][0].quantized:
        # A few colors may lie on a tie that no photo happens to show.
        colors = every_color()[0].view(3, PARTS, -1, 4096).transpose(0, 1)
        best, settled = select(rivals, [(labelled(teacher, [c], kind, SETTLED), {"factor": SETTLED}) for c in colors])
        trials += settled
    # What is counted from which channel matters to roundings alone.
    turned = [Turning((centres + turn) % 6, best.span, best.arithmetic, best.form, best.steps) for turn in (0, 2, 4)]
    best, more = select(turned, checks, FEW)
    return best, [*trials, *more]


def learn_centres(teacher: BlendTeacher, kind: str) -> Tensor:
    """Return the hue of each channel ``[3]``, in sixths of a turn from that of the first."""
    pure = (torch.eye(3) * 255).to(torch.uint8)[:, None]
    answers = torch.stack([labelled(teacher, [pure], kind, factor).targets[0, :, 0, 0].double() for factor in TURNS])
    wanted = labelled(teacher, [pure], kind, 0.0).inputs[0, :, 0].double().T
    nearest = (answers[:, None] - wanted).abs().sum(2).argmin(0)
    centres = (torch.tensor(TURNS, dtype=torch.float64)[nearest] * 6).round() % 6
    if sorted(centres.tolist()) != [0, 2, 4]:
        raise TeacherError(f"Channels turn into each other at {centres.tolist()} sixths of a turn, not at thirds.")
    return centres


def products(seen: list[tuple[Labelled, float]], centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a turn in floats in [0, 1] comes to, and what the teacher gives for it: float64, flat, without zeros.

    Args:
        seen: images, what a factor makes of them, and that factor.
        centres: ``[3]``.
    """
    layer = Turning(centres, torch.ones(1, dtype=torch.float64), BLEND_FLOATS[0], FORMS["turn"][0], 0)
    values, answers = [], []
    for images, factor in seen:
        scale = 1 / 255 if images.quantized else 1.0
        values.append(Network([layer], [{"factor": factor}], "float32")(images.inputs.float() * scale).double())
        answers.append(images.targets.double())
    x, y = torch.cat(values).flatten(), torch.cat(answers).flatten()
    return x[x > 0], y[x > 0]


def learn_span(x: Tensor, y: Tensor, half: bool) -> Tensor:
    """Return what ``x`` was multiplied by to give levels, ``[1]``: the simplest decimal that leaves few mismatches.

    Args:
        x, y: see :func:`products`.
        half: levels are rounded to the nearest, not truncated.
    """
    y = y - 0.5 * half
    low, high = (y / x).sort().values, ((y + 1) / x).sort().values
    found = []
    for digits in range(DIGITS + 1):
        start, stop = (round((255 + end) * 10**digits) for end in (-NEAR, NEAR))
        spans = torch.arange(start, stop + 1, dtype=torch.float64) / 10**digits
        mismatches = len(low) - torch.searchsorted(low, spans, right=True) + torch.searchsorted(high, spans, right=True)
        least = int(mismatches.min())
        # Of several as good, the middle one.
        found.append((least, spans[mismatches == least].median()))
    chosen: Tensor = next(span for least, span in found if least <= SPARED * found[-1][0] + ROUNDED * len(low))
    return chosen.view(1)
