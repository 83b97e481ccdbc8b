"""Learn a pipeline from its inputs and outputs.

``retrain(teacher, data)`` sees callables and images only: nothing in training or selection reads a table of known
transforms, so that whatever it finds comes from the teacher's answers.
"""

import hashlib
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.choices import Architecture, TeacherKind
from learned_transforms.errors import DataError, PipelineValueError, check_choice, check_flag
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.arguments import check_folder, check_numbers, usable_device
from learned_transforms.trainer.conclusion import conclude
from learned_transforms.trainer.data.asking import ask, stack
from learned_transforms.trainer.data.forms import as_teacher
from learned_transforms.trainer.data.pairs import check_enough, gather, probe
from learned_transforms.trainer.data.quantization import Levels
from learned_transforms.trainer.data.sources import KINDS, Pairs, Teacher
from learned_transforms.trainer.optim.checkpoint import Checkpoint
from learned_transforms.trainer.optim.training import EarlyStopping, Settings, tensorboard
from learned_transforms.trainer.result import Result
from learned_transforms.trainer.search.neural import last_resort, plain_network
from learned_transforms.trainer.search.outliers import outliers_of, told
from learned_transforms.trainer.search.problem import Labelled, Problem
from learned_transforms.trainer.search.search import SearchRow, faithful, measured, search, tell_row
from learned_transforms.trainer.search.separable import free_form
from learned_transforms.trainer.sizes.ruled import partly
from learned_transforms.trainer.stages import tell

__all__ = ["EarlyStopping", "Result", "retrain"]

ARCHITECTURES = get_args(Architecture)
CHECKPOINTS = "checkpoint"


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
    place = usable_device(device)
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


def find(arch: str, problem: Problem, probes: Any, levels: Levels, seed: int) -> list[SearchRow]:
    """Return the rows of one family, or of the search; of plain networks where nothing else is faithful."""
    start = time.perf_counter()
    if arch != "auto":
        form = (
            free_form(problem, problem.settings)
            if arch == "separable"
            else plain_network(arch, problem, levels.full, seed)
        )
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
