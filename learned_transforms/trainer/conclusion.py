"""What a search comes to: the best of its forms, its certificate, and the sizes for which it holds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from torch import Tensor

from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import DataError
from learned_transforms.layers.network import Network
from learned_transforms.trainer.data.quantization import Levels
from learned_transforms.trainer.data.sources import Pairs, Teacher
from learned_transforms.trainer.result import HELD_OUT, Result
from learned_transforms.trainer.search.blocks import with_blocks
from learned_transforms.trainer.search.contradictions import basis_of, colors_asked, contradictions
from learned_transforms.trainer.search.contradictions import tell_missed as disagreeing
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FLOAT_ERROR, Labelled, Problem, Trial
from learned_transforms.trainer.search.search import SearchRow, best
from learned_transforms.trainer.sizes.assemble import assembled, serves, with_whole_answers, without_form
from learned_transforms.trainer.sizes.bounds import (
    Bounds,
    Compared,
    Comparer,
    bounded,
    bounds_of_pairs,
    by_size,
    find_bounds,
)
from learned_transforms.trainer.speed import compare_speed

HARDLY_BETTER = 0.95
"""Share of the targets' variance above which a network tells next to nothing of them."""


def conclude(
    rows: Sequence[SearchRow],
    problem: Problem,
    levels: Levels,
    teacher: Teacher | None,
    test_pairs: Pairs,
    notes: list[str],
    aligned: bool,
    known: Labelled,
) -> Result:
    """Certify every form that was found, choose the best by its validation error, and see for what sizes it holds.

    Raises:
        DataError: there is none; or, if pairs should be ``aligned``, none that beats the mean of the targets.
    """
    rows = [row if row.form is None or serves(row.form, problem) else without_form(row) for row in rows]
    chosen = best(rows, problem)
    if chosen is None or chosen.form is None or chosen.trial is None:
        raise DataError("No network was found: " + "; ".join(str(row) for row in rows))
    variance = float(problem.val.targets.double().var(0).mean())
    if aligned and chosen.trial.squares > HARDLY_BETTER * variance:
        raise DataError(
            "No family of networks does better than the mean of the targets: outputs do not depend on their inputs. "
            f"Check that pairs are aligned, each target with its own input. The best was {chosen}. "
            + "; ".join(str(row) for row in rows if row.form is None)
        )
    notes = [*notes, *chosen.form.notes]
    if test_pairs.rules is not None and teacher is not None:
        test_pairs = with_whole_answers(teacher, test_pairs)
    networks, certificates = {}, {}
    for row in rows:
        if row.form is not None:
            network = assembled(row.form, levels, test_pairs)
            network.certificate = certify(network, test_pairs, levels.step)
            networks[row.family], certificates[row.family] = network, network.certificate
    name = chosen.family
    networks[name], certificates[name] = within_bounds(networks[name], teacher, test_pairs, levels.step, notes)
    networks[name].certificate = certificates[name] = with_remarks(certificates[name], chosen, known)
    transform = LearnedCompose([networks[name]])
    speed = None if teacher is None else compare_speed(transform, teacher, test_pairs.inputs[0], test_pairs.kind)
    return Result(
        transform,
        problem.history,
        certificates[chosen.family],
        certificates,
        networks,
        chosen.form.trials,
        [baseline(problem), *rows],
        notes,
        chosen.form.fitted,
        chosen.family,
        test_pairs,
        speed=speed,
    )


def baseline(problem: Problem) -> SearchRow:
    """Return what inputs themselves would give as outputs; where they are of another shape or type, one image for
    all."""
    check = problem.val.part(slice(CHECK_IMAGES))
    inputs, targets = check.inputs, check.targets
    name, guess = "baseline: unchanged inputs", inputs
    if inputs.shape != targets.shape or inputs.dtype != targets.dtype:
        mean = problem.train.targets.double().mean(0)
        name, guess = "baseline: mean of the targets", mean.round() if problem.train.quantized else mean
    error = (guess.double() - targets.double()).abs()
    differing = float((error > (0.0 if check.quantized else FLOAT_ERROR)).double().mean())
    return SearchRow(name, None, Trial("", differing, float(error.max()), float(error.square().mean())), "", 0.0)


def with_remarks(certificate: Certificate, chosen: SearchRow, known: Labelled) -> Certificate:
    """Return the certificate with what it rests on, and what training saw that contradicts it.

    No clone is exact of which training saw an image that it misses by more than a level.
    """
    if chosen.form is None or not certificate.at_least("rounding"):
        return certificate
    missed = contradictions(chosen.form, known, 1.0 if known.quantized else 1 / 255)
    remarks = [colors_asked(chosen.form, known.inputs)] if certificate.tier != "proved" else []
    remarks += [disagreeing(missed, len(known.inputs))] if missed else []
    tier = "approximate" if missed else certificate.tier
    made = replace(certificate, tier=tier, basis=basis_of(chosen.form), remarks=tuple(filter(None, remarks)))
    return made


def certify(network: Network, pairs: Pairs, step: Tensor | None = None, more: Iterable[Compared] = ()) -> Certificate:
    """Compare a network with held-out pairs, and more; ``step [C or 1]`` is a level in float units, 1/255 without."""
    inputs = pairs.inputs
    comparisons = (
        ((HELD_OUT, network(part), target))
        for part, target in zip(inputs.split(512), pairs.targets.split(512), strict=True)
    )
    return measure(chain(comparisons, more), pairs.kind, step=step)


def within_bounds(
    network: Network, teacher: Teacher | None, pairs: Pairs, step: Tensor | None, notes: list[str]
) -> tuple[Network, Certificate]:
    """Return the network, which refuses images of sizes for which it does not hold; and its certificate, which names
    them."""
    size = pairs.inputs.shape[-2], pairs.inputs.shape[-1]
    before = certify(network, pairs, step)
    if teacher is None:
        bounds = bounds_of_pairs(size, pairs.targets.shape[-2:] == pairs.inputs.shape[-2:])
    else:

        def ask_for(clone: Network) -> Bounds:
            return find_bounds(Comparer(clone, teacher, pairs.kind, pairs.inputs, before, step), size)

        bounds = ask_for(network)
        network, bounds = with_blocks(network, bounds, ask_for) or (network, bounds)
    notes.append(f"sizes: {bounds}")
    made = bounded(network, bounds)
    made.certificate = replace(certify(made, pairs, step, by_size(bounds.trials)), sizes=str(bounds))
    return made, made.certificate
