"""Blends of an image with something made of it: what that is, the terms, and the arithmetic, from factors and answers.

A teacher takes (image, factor). Nothing says what the other end is: factor 0 shows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.color import FORMS, Blending
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.pointwise import Mixing
from learned_transforms.trainer.data.bundled import training_images
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.optim.training import Settings
from learned_transforms.trainer.search.pointwise import best_map
from learned_transforms.trainer.search.problem import Labelled, Problem, Trial, labelled, run_layers, select
from learned_transforms.trainer.search.spatial import windowed

BLEND_ROUNDINGS: Sequence[Literal["truncate", "half_up", "half_even"]] = ("truncate", "half_up", "half_even")
BLEND_FLOATS = (Arithmetic("float32"), Arithmetic("float32", fma=True), Arithmetic("float64"))
BLEND_LEVELS = tuple(
    replace(arithmetic, rounding=rounding) for arithmetic in BLEND_FLOATS for rounding in BLEND_ROUNDINGS
)
"""Candidate arithmetics."""

MEANS = ("none", "half_up")
"""How the mean of an image may be rounded."""

COUNT, SIZE = 64, (48, 48)
"""Of the images that all is learned from."""

COLORS = 12_000
"""Images of one color that a gray is learned from, where only its mean is seen."""

LEARNED = (0.0873, 0.2411, 0.4137, 0.5651, 0.7219, 0.8677)
"""Factors that the terms are learned from: between the ends, nothing is clamped; odd ones, to which no rounding keeps
time."""

CHECKED = (0.0, 0.2, 0.37, 0.6, 0.85, 1.0, 1.19, 1.43, 1.8, 3.1)
"""Factors that the arithmetic is selected on."""

FEW, CHECKS = 4, 64
"""Images that it is selected on, at first and in the end."""

SLACK = 0.02
"""Rise of the error that simpler terms may bring: roundings have a part in it that factors do not explain."""

BlendTeacher = Callable[..., Any]


def learn_blend(teacher: BlendTeacher, kind: str) -> tuple[Blending, list[Trial]]:
    """Return the blend that a teacher computes, and what was tried.

    Args:
        teacher: from (image, factor) to an image; 1 gives the image, 0 the other end.
        kind: of its images, see ``sources.KINDS``.

    Raises:
        TeacherError: the other end is nothing that a blend knows.
    """
    images = shuffled(COUNT, SIZE)
    end = labelled(teacher, images, kind, 0.0)
    other, means = other_end(teacher, kind, end)
    if means[0] is not None:
        mixing = Mixing(other["weight"], other["bias"], other["inner"])
        end = Labelled(
            end.inputs, run_layers([mixing], end).double().mean((1, 2, 3), keepdim=True).expand(end.inputs.shape)
        )
    terms = learn_terms([(labelled(teacher, images, kind, factor), factor) for factor in LEARNED], end, bool(other))
    checks = [(labelled(teacher, images[:CHECKS], kind, factor), {"factor": factor}) for factor in CHECKED]
    forms = FORMS["blend"] if other else FORMS["blend"][:1]
    candidates = product(forms, BLEND_LEVELS if checks[0][0].quantized else BLEND_FLOATS, means)
    layers = [Blending(terms, arithmetic, form, mean=mean, **other) for form, arithmetic, mean in candidates]
    return select(layers, checks, FEW)


def shuffled(count: int, size: tuple[int, int]) -> Tensor:
    """Training images in random order, uint8 ``[N, 3, *size]``: the first few are of all sorts."""
    return training_images(count, size)[torch.randperm(count, generator=torch.Generator().manual_seed(0))]


def other_end(teacher: BlendTeacher, kind: str, end: Labelled) -> tuple[dict[str, Any], tuple[str | None, ...]]:
    """Return what makes the other end, as arguments of ``Blending``; and how its mean may be taken.

    Args:
        teacher, kind: see :func:`learn_blend`.
        end: images, and what factor 0 makes of them.
    """
    found = end.targets
    if not found.any():
        return {}, (None,)
    if found.equal(found[:, :1, :1, :1].expand_as(found)):
        return gray(uniform(teacher, kind)), MEANS
    if found.equal(found[:, :1].expand_as(found)):
        problem = posed(Labelled(end.inputs, found[:, :1]), lambda images: one_channel(teacher, images, kind))
        return gray(problem), (None,)
    form = dict(windowed(posed(end)))["filter"]
    layer = None if isinstance(form, str) else form.layers[0]
    if not isinstance(layer, Filtering) or layer.border != "copy":
        raise TeacherError("Factor 0 gives neither black, nor a gray, nor its mean, nor a window that leaves borders.")
    return {"window": layer.weights.detach(), "inner": layer.arithmetic}, (None,)


def posed(pairs: Labelled, ask: Callable[[Tensor], Labelled] | None = None) -> Problem:
    """Pairs as a problem: the last quarter validates."""
    held_out = len(pairs.inputs) * 3 // 4
    settings = Settings(0, 0, 0.0, False, lambda epoch: None)
    return Problem(pairs.part(slice(held_out)), pairs.part(slice(held_out, None)), (), ask, settings)


def one_channel(teacher: BlendTeacher, images: Tensor, kind: str) -> Labelled:
    """Return the first channel of the other end."""
    end = labelled(teacher, images, kind, 0.0)
    return Labelled(end.inputs, end.targets[:, :1])


def uniform(teacher: BlendTeacher, kind: str) -> Problem:
    """Images of one color, which are their own mean."""
    generator = torch.Generator().manual_seed(1)
    colors = torch.randint(0, 256, (COLORS, 3, 1, 1), dtype=torch.uint8, generator=generator)
    return posed(one_channel(teacher, colors, kind), lambda images: one_channel(teacher, images, kind))


def gray(problem: Problem) -> dict[str, Any]:
    """Return the channel map to one gray, with its arithmetic."""
    layer = best_map([], problem).layers[0]
    if not isinstance(layer, Mixing):
        raise TeacherError("No channel map makes this gray.")
    return {"weight": layer.weight.detach(), "bias": layer.bias.detach() + 0.0, "inner": layer.arithmetic}


def learn_terms(blends: list[tuple[Labelled, float]], end: Labelled, both: bool) -> Tensor:
    """Return the terms ``[2, 2]``, by least squares over factors; those of the other end are 0 where there is none."""
    # Where both ends are equal, nothing is rounded, which would bias the rest.
    apart = end.inputs != end.targets
    x, other = end.inputs[apart].double(), end.targets[apart].double()
    rows, wanted = [], []
    for blend, factor in blends:
        rows.append(torch.stack([x, factor * x, other, factor * other])[: 4 if both else 2])
        wanted.append(blend.targets[apart].double())
    inputs, targets = torch.cat(rows, 1), torch.cat(wanted)[None]
    found = least_squares(torch.cat([inputs, torch.ones_like(inputs[:1])]), targets)[0, :-1]

    def loss(terms: Tensor) -> float:
        return float((targets - terms[None] @ inputs).var())

    chosen = snap(found, loss, SLACK, 1e-12, 1)[0][1] + 0.0  # No -0.
    return torch.cat([chosen, chosen.new_zeros(4 - len(chosen))]).view(2, 2)
