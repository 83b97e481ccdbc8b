"""Learn a pipeline from its inputs and outputs.

``retrain(teacher, data)`` sees callables and images only: nothing in training or selection reads a table of known
transforms, so that whatever it finds comes from the teacher's answers.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.certificate import Certificate, measure
from learned_transforms.choices import Architecture, TeacherKind
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import (
    DataError,
    OutputError,
    PipelineValueError,
    brief,
    check_choice,
    check_flag,
    check_number,
)
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.plain import LONGEST
from learned_transforms.trainer.data.forms import as_teacher
from learned_transforms.trainer.data.pairs import check_enough, gather, probe
from learned_transforms.trainer.data.quantization import Levels
from learned_transforms.trainer.data.sources import KINDS, Pairs, Teacher, ask, stack
from learned_transforms.trainer.optim.checkpoint import Checkpoint
from learned_transforms.trainer.optim.fit import EarlyStopping, Settings, tensorboard
from learned_transforms.trainer.result import HELD_OUT, Result
from learned_transforms.trainer.search.blocks import with_blocks
from learned_transforms.trainer.search.contradictions import basis_of, colors_asked, contradictions
from learned_transforms.trainer.search.contradictions import told as disagreeing
from learned_transforms.trainer.search.neural import last_resort, plain
from learned_transforms.trainer.search.outliers import outliers_of, told
from learned_transforms.trainer.search.problem import FLOAT_ERROR, Labelled, Problem, Trial
from learned_transforms.trainer.search.search import CHECK_IMAGES, Row, best, faithful, measured, search, tell_row
from learned_transforms.trainer.search.separable import free_form
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
from learned_transforms.trainer.sizes.ruled import partly
from learned_transforms.trainer.speed import compare_speed
from learned_transforms.trainer.stages import tell

__all__ = ["EarlyStopping", "Result", "retrain"]

ARCHITECTURES = get_args(Architecture)
CHECKPOINTS = "checkpoint"
MOST_PAIRS = 2**31 - 1
SMALLEST_SHARE = 1e-6
LARGEST_SEED = 2**63 - 1
"""That torch takes; numpy takes none below 0."""

HARDLY_BETTER = 0.95
"""Share of the targets' variance above which a network tells next to nothing of them."""


def retrain(
    teacher: Teacher | str | Path | None,
    data: Any,
    *,
    arch: Architecture = "auto",
    kind: TeacherKind | None = None,
    size: tuple[int, int] | None = None,
    count: int | None = None,
    patience: int = 10,
    min_delta: float = 0.0,
    epochs: int = 200,
    log_dir: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    held_out: float = 0.1,
    progress: bool = True,
    out: str | Path | None = None,
    resume: bool = False,
) -> Result:
    """Learn ``teacher`` from its answers, by mean squared error with early stopping.

    ``arch="auto"`` tries families of networks, the cheapest first: tables, channel maps, sliding windows, separable
    maps (in which kernels are recognized, refitted, snapped, and given an arithmetic), sparse maps, and each of them
    before or behind a table; where none is faithful, a plain convolutional or dense network is trained.

    Args:
        teacher: deterministic callable from an image to an image, which may lie in a mapping, a list or a batch of one;
            or the path of an ONNX file (needs onnxruntime). None if ``data`` holds (input, target) pairs.
        data: a folder of images, a Dataset, a tensor ``[N, C, H, W]``, or an iterable of images or of (image, label);
            without a teacher, (input, target) pairs: a CSV file, a folder of pairs, a Dataset or an iterable.
            Tensors are uint8, or float32 in [0, 1].
        arch: ``"auto"``, or one family only: ``"separable"`` (free matrices), ``"dense"``, ``"cnn"`` or ``"local"``
            (plain networks).
        kind: how the teacher takes images: ``"pil"``, ``"uint8"``, ``"float32"``, or ``"numpy"`` for HWC arrays;
            None: the first of them that it takes, beginning with what ``data`` holds.
        size: (rows, columns) of the training patches; None: the size of the images if they share one, else 32 x 32.
        count: training images, None: as many as fit their size; patches and synthetic patterns make up what ``data``
            lacks, if there is a teacher.
        patience, min_delta: see :class:`EarlyStopping`; of the mean squared error in squared levels (or float units).
        epochs: at most so many, in each step.
        log_dir: write TensorBoard events here (needs the extra ``tensorboard``).
        seed: of patches, split, and first weights. Equal seeds give equal networks on one machine.
        device: where free matrices and plain networks are trained; all else runs on the CPU.
        held_out: share of the pairs kept for validation, and again as much for the certificate.
        progress: show progress bars, where the output is a terminal; elsewhere, print a line for each stage to stderr.
        out: write a result folder here (:meth:`Result.save`). Checkpoints lie in its subfolder ``checkpoint`` until the
            result is saved. They stay for ``resume`` where a run was killed or interrupted, found the disk full, or met
            any other error on its way; once training has come to its end without a network they are deleted, since
            a resumed run would come to the same end.
        resume: go on from the checkpoints in ``out``; the result is that of an uninterrupted run.

    Raises:
        DataError: no usable data, or none that a network can be learned from.
        TeacherError: the teacher is no deterministic function from image to image.
        CheckpointError: those in ``out`` belong to other data or settings.
        OutputError: ``out`` cannot be written.
        PipelineValueError: an unknown ``arch``, ``kind`` or ``device``, or a number that makes no sense.
        MissingExtraError: ``log_dir`` without TensorBoard.
        KeyboardInterrupt: Ctrl-C before anything was found; afterwards, the best so far is the result.
    """
    check_choice("arch", arch, ARCHITECTURES)
    if kind is not None:
        check_choice("kind", kind, KINDS)
    check_flag("progress", progress)
    check_flag("resume", resume)
    if resume and out is None:
        raise PipelineValueError("Expected out, the folder to resume from, beside resume=True.")
    check_numbers(count, held_out, epochs, size, seed)
    check_folder(out)
    EarlyStopping(patience, min_delta)
    place = usable(device)
    teacher = None if teacher is None else as_teacher(teacher)
    pairs, notes = gather(teacher, data, kind, size, count, seed, progress)
    check_enough(pairs)
    tell(f"{len(pairs):,} pairs of {shape(pairs.inputs)} and {shape(pairs.targets)}, {pairs.kind}", progress)
    levels = Levels.of(pairs, None if teacher is None else partial(answers, teacher, pairs.kind))
    notes += levels.notes()
    outliers = outliers_of(levels.label(pairs), 1.0 if levels.quantized else 1 / 255) if teacher is None else []
    if outliers:
        notes.append(told(outliers, len(pairs)))
        pairs = pairs.select(torch.tensor([i for i in range(len(pairs)) if i not in set(outliers)]))
    # Validation stops training and selects; certificates are measured on pairs that neither has seen.
    generator = torch.Generator().manual_seed(seed)
    rest, test_pairs = pairs.split(held_out, generator)
    train_pairs, val_pairs = rest.split(held_out / (1 - held_out), generator)
    train, val = levels.label(train_pairs), levels.label(val_pairs)
    given = {"arch": arch, "kind": pairs.kind, "seed": seed, "held_out": held_out, "epochs": epochs}
    given |= {"patience": patience, "min_delta": min_delta, "data": fingerprint(pairs)}
    checkpoint = None if out is None else Checkpoint(Path(out) / CHECKPOINTS, given, resume)
    with tensorboard(log_dir) as log:
        settings = Settings(epochs, patience, min_delta, progress, log, checkpoint, device=place)
        seen = partly(teacher, pairs.rules) if teacher is not None and pairs.rules is not None else teacher
        more = None if seen is None else partial(label_more, seen, pairs, levels)
        costly = teacher is not None and (teacher.slow or pairs.rules is not None)
        problem = Problem(train, val, (), more, settings, shipped_kernels(), rules=pairs.rules, costly=costly)
        rows = find(arch, problem, partial(probe, seen, pairs, levels, seed), levels, seed)
    interrupted = settings.interrupt.is_set()
    try:
        aligned = arch == "auto" and not interrupted
        result = conclude(rows, problem, levels, teacher, test_pairs, notes, aligned, levels.label(pairs))
    except DataError:
        if not interrupted:
            forget(out)
        raise
    result.outliers = outliers
    if out is not None:
        result.save(out)
        if not interrupted:
            forget(out)
    return result


def forget(out: str | Path | None) -> None:
    """Delete the checkpoints of a run that is over."""
    if out is not None:
        shutil.rmtree(Path(out) / CHECKPOINTS, ignore_errors=True)


def usable(device: str | torch.device) -> torch.device:
    """Return a device on which tensors can be made; told at once, rather than after minutes of search on the CPU.

    Raises:
        PipelineValueError: torch knows no such device, or has none of it here.
    """
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise PipelineValueError(
            f"Expected a device that torch can use, such as cpu, got {brief(device)}: {reason:.200}"
        ) from error


def find(arch: str, problem: Problem, probes: Any, levels: Levels, seed: int) -> list[Row]:
    """Return the rows of one family, or of the search; of plain networks where nothing else is faithful."""
    start = time.perf_counter()
    if arch != "auto":
        form = free_form(problem, problem.settings) if arch == "separable" else plain(arch, problem, levels.full, seed)
        rows = [measured(arch, form, problem, start)]
        tell_row(rows[-1], problem)
        return rows
    problem = replace(problem, probes=probes())
    rows = search(problem)
    # Who interrupts the search wants what it has found, not another minute of training.
    if not problem.settings.interrupt.is_set() and not any(faithful(row, problem) for row in rows):
        start = time.perf_counter()
        rows.append(measured(*last_resort(problem, levels.full, seed), problem, start))
        tell_row(rows[-1], problem)
    return rows


def conclude(
    rows: Sequence[Row],
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


def baseline(problem: Problem) -> Row:
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
    return Row(name, None, Trial("", differing, float(error.max()), float(error.square().mean())), "", 0.0)


def check_folder(out: str | Path | None) -> None:
    """Require that a folder is there or can be made; told before minutes of training rather than after them.

    Raises:
        OutputError: a file is in its place, or the folder, or one that leads to it, may not be written to.
        PipelineValueError: it is no path.
    """
    if out is None:
        return
    if not isinstance(out, str | Path) or not str(out):
        raise PipelineValueError(f"Expected out to be the path of a folder, got {out!r}.")
    there = next(path for path in (Path(out), *Path(out).absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"Expected out to be a folder, but {there} is a file. Choose another place.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out} cannot be written: {there} may not be written to. Choose another place.")


def check_numbers(count: int | None, held_out: float, epochs: int, size: tuple[int, int] | None, seed: int) -> None:
    """Require numbers that make sense."""
    check_number("epochs", epochs, 1)
    if count is not None:
        check_number("count", count, 1, MOST_PAIRS)
    check_number("held_out", held_out, SMALLEST_SHARE, 0.4, whole=False)
    if size is not None:
        if not (isinstance(size, tuple | list) and len(size) == 2):
            raise PipelineValueError(f"Expected size to be (rows, columns), got {brief(size)}.")
        for length in size:
            check_number("rows and columns of size", length, 1, LONGEST)
    check_number("seed", seed, 0, LARGEST_SEED)


def shape(images: Tensor) -> str:
    """Return the shape of one of a batch of images, in words."""
    return " x ".join(str(length) for length in images.shape[1:])


def fingerprint(pairs: Pairs) -> str:
    """Return a hash of all pairs."""
    found = hashlib.sha256()
    for part in (pairs.inputs, pairs.targets):
        found.update(str(part.shape).encode() + part.contiguous().numpy().tobytes())
    return found.hexdigest()


def shipped_kernels() -> list[Resampling]:
    """Kernels of all shipped weights: they were learned from other teachers, and may explain this one too."""
    layers = [layer for name in weight_files.shipped_names() for layer in weight_files.load(name).layers.values()]
    found: list[Resampling] = []
    for layer in layers:
        if isinstance(layer, Resampling) and not any(same_kernel(layer, other) for other in found):
            found.append(layer)
    return found


def same_kernel(layer: Resampling, other: Resampling) -> bool:
    return layer.width == other.width and layer.kernel.equal(other.kernel)


def label_more(teacher: Teacher, pairs: Pairs, levels: Levels, images: Tensor) -> Labelled:
    """More images and the teacher's answers."""
    return levels.label(replace(pairs, inputs=images, targets=answers(teacher, pairs.kind, images)))


def answers(teacher: Teacher, kind: str, images: Tensor) -> Tensor:
    """Return what the teacher makes of images of one size."""
    return stack(ask(teacher, images, kind)[0])


def with_remarks(certificate: Certificate, chosen: Row, known: Labelled) -> Certificate:
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
