"""Learn a pipeline from its inputs and outputs.

``retrain(teacher, data)`` sees callables and images only: nothing in training or selection reads a table of known
transforms, so that whatever it finds comes from the teacher's answers.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import DataError, PipelineValueError, TeacherError
from learned_transforms.layers import Layer, Lookup, Params
from learned_transforms.network import Network
from learned_transforms.plan import Shape
from learned_transforms.trainer import data as data_module
from learned_transforms.trainer.data import (
    KINDS,
    Images,
    Pairs,
    Teacher,
    ask,
    photo_patches,
    read_images,
    stack,
    synthetic,
)
from learned_transforms.trainer.fit import EarlyStopping, Epoch, Settings, fit_separable, fit_unstructured, tensorboard
from learned_transforms.trainer.recognise import recognise
from learned_transforms.trainer.search import Labelled, Trial, kernel_form

__all__ = ["EarlyStopping", "Result", "retrain"]

ARCHITECTURES = ("auto", "separable", "dense", "cnn")
PATCH, LARGEST = (32, 32), 128
"""Size of the training patches, where the images do not share one of at most ``LARGEST`` rows and columns."""

PROBE_SHAPES = ((48, 64), (96, 17), (17, 96), (20, 24), (33, 70), (120, 40))
FEWEST = 16
PROBES = 24
"""Other sizes that the kernel form is checked on while its arithmetic is selected, where the teacher takes them."""


@dataclass(frozen=True)
class Result:
    """What :func:`retrain` found.

    Attributes:
        transform: the network as a drop-in transform.
        history: one entry per epoch of each step.
        certificate: of ``transform``, on pairs that neither training nor selection has seen.
        certificates: of every form that was trained, by name.
        networks: those forms.
        trials: the arithmetics that were tried, each with its validation error.
        notes: what was found out on the way, in words.
        fitted: the kernel as fitted, before snapping, if one was recognised.
    """

    transform: LearnedCompose
    history: list[Epoch]
    certificate: Certificate
    certificates: dict[str, Certificate]
    networks: dict[str, Network]
    trials: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fitted: Tensor | None = None


def retrain(
    teacher: Teacher | None,
    data: Any,
    *,
    arch: str = "auto",
    kind: str | None = None,
    size: tuple[int, int] | None = None,
    count: int = 12_000,
    patience: int = 10,
    min_delta: float = 0.0,
    epochs: int = 200,
    log_dir: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    held_out: float = 0.1,
    progress: bool = True,
) -> Result:
    """Learn ``teacher`` from its answers, by mean squared error with early stopping.

    Step one fits free row, column and channel matrices. Step two (``arch="auto"``) recognises a kernel in them,
    refits it, selects the arithmetic and snaps the weights; where nothing is recognised, step one's network is
    the result.

    Args:
        teacher: deterministic callable from an image to an image; None if ``data`` holds (input, target) pairs.
        data: a folder of images, a Dataset, a tensor ``[N, C, H, W]``, or an iterable of images, of (image, label)
            or, without a teacher, of (input, target) pairs. Tensors are uint8, or float32 in [0, 1].
        arch: ``"auto"``, ``"separable"`` (step one only), ``"dense"`` or ``"cnn"`` (plain networks, for comparison).
        kind: how the teacher takes images: ``"pil"``, ``"uint8"`` or ``"float32"``; None: as ``data`` holds them.
        size: (rows, columns) of the training patches; None: the size of the images if they share one, else 32 x 32.
        count: training images; patches and synthetic patterns make up what ``data`` lacks, if there is a teacher.
        patience, min_delta: see :class:`EarlyStopping`; of the mean squared error in squared levels (or float units).
        epochs: at most so many, in each step.
        log_dir: write TensorBoard events here (needs the extra ``tensorboard``).
        seed: of patches, split, and first weights. Equal seeds give equal networks on one machine.
        device: where to train.
        held_out: share of the pairs kept for validation, and again as much for the certificate.
        progress: show progress bars, where the output is a terminal.

    Raises:
        DataError: no usable data. TeacherError: the teacher is no deterministic function from image to image.
        PipelineValueError: an unknown ``arch`` or ``kind``. MissingExtraError: ``log_dir`` without TensorBoard.
    """
    if arch not in ARCHITECTURES:
        raise PipelineValueError(f"Expected arch to be one of {', '.join(ARCHITECTURES)}, got {arch!r}.")
    if kind is not None and kind not in KINDS:
        raise PipelineValueError(f"Expected kind to be one of {', '.join(KINDS)}, got {kind!r}.")
    check_numbers(count, held_out, epochs, size)
    EarlyStopping(patience, min_delta)
    pairs, notes = gather(teacher, data, kind, size, count, seed, progress)
    check_enough(pairs)
    device = torch.device(device)
    levels = Levels.of(pairs)
    notes += levels.notes()
    # Validation stops training and selects; certificates are measured on pairs that neither has seen.
    generator = torch.Generator().manual_seed(seed)
    rest, test_pairs = pairs.split(held_out, generator)
    train_pairs, val_pairs = rest.split(held_out / (1 - held_out), generator)
    train_set, val_set = (levels.label(part, device) for part in (train_pairs, val_pairs))
    with tensorboard(log_dir) as log:
        settings = Settings(epochs, patience, min_delta, progress, log)
        if arch in ("dense", "cnn"):
            layer, history = fit_unstructured(arch, train_set.floats(), val_set.floats(), levels.full, settings, seed)
            networks = {arch: levels.network([replace_arithmetic(layer, levels)], [{}], pairs)}
            trials: list[Trial] = []
            fitted = None
        else:
            free, history = fit_separable(train_set.floats(), val_set.floats(), settings, seed)
            free = free.cpu()
            networks = {"separable": levels.network([replace_arithmetic(free, levels)], [{}], pairs)}
            trials, fitted = [], None
            geometry = recognise(free) if arch == "auto" else "not asked for"
            if isinstance(geometry, str):
                notes.append(f"kernel form: {geometry}")
            else:
                probes = probe(teacher, pairs, levels, seed)
                more = None if teacher is None else partial(label_more, teacher, pairs, levels, geometry.flips)
                found, epochs_found = kernel_form(free, geometry, train_set, val_set, probes, more, settings)
                history += epochs_found
                if isinstance(found, str):
                    notes.append(f"kernel form: {found}")
                else:
                    trials, fitted = found.trials, found.fitted
                    notes.append(f"flips (rows, columns): {geometry.flips}; grids 1/n: {found.grids}")
                    params = ("size", "axis")
                    networks["kernel"] = levels.network(found.layers, found.params, pairs, params)
    certificates = {name: certify(network, test_pairs) for name, network in networks.items()}
    for name, network in networks.items():
        network.certificate = certificates[name]
    best = min(certificates, key=lambda name: (certificates[name].differing, certificates[name].largest))
    return Result(
        LearnedCompose([networks[best]]), history, certificates[best], certificates, networks, trials, notes, fitted
    )


def gather(
    teacher: Teacher | None,
    data: Any,
    kind: str | None,
    size: tuple[int, int] | None,
    count: int,
    seed: int,
    progress: bool,
) -> tuple[Pairs, list[str]]:
    """Training pairs of one size, and what there is to say about them."""
    found = read_images(data, paired=teacher is None)
    notes = [f"{len(found.skipped)} unreadable files skipped: {'; '.join(found.skipped[:3])}"] if found.skipped else []
    kind = agreed_kind(kind, found)
    sizes = {(image.shape[-2], image.shape[-1]) for image in found.images}
    channels = {image.shape[0] for image in found.images}
    if len(channels) > 1:
        raise DataError(f"Expected images with one number of channels, got {sorted(channels)}.")
    if found.targets is not None:
        if len(sizes) > 1:
            raise DataError(f"Expected pairs whose inputs share one size, got {len(sizes)} sizes.")
        return Pairs(torch.stack(found.images), stack(found.targets), kind, found.answers), notes
    if teacher is None:
        raise DataError("Expected (input, target) pairs, or a teacher.")
    shared = next(iter(sizes)) if len(sizes) == 1 else PATCH
    patch = size or (shared if max(shared) <= LARGEST else PATCH)
    images = fill_up(found.images, patch, count, seed)
    answers, container = ask(teacher, images, kind, progress)
    if kind == "float32" and images.dtype == torch.uint8:
        images = images.float() / 255
    return Pairs(images, stack(answers), kind, container), notes


def check_numbers(count: int, held_out: float, epochs: int, size: tuple[int, int] | None) -> None:
    """Require numbers that make sense."""
    if type(count) is not int or type(epochs) is not int or epochs < 1 or count < 1:
        raise PipelineValueError(f"Expected count and epochs of at least 1, got {count!r} and {epochs!r}.")
    if not 0 < held_out <= 0.4:
        raise PipelineValueError(f"Expected held_out in (0, 0.4]: it is taken twice. Got {held_out!r}.")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise PipelineValueError(f"Expected size to be (rows, columns), got {size!r}.")


def check_enough(pairs: Pairs) -> None:
    """Require a few pairs whose targets are not all the same value."""
    if len(pairs) < FEWEST:
        raise DataError(
            f"Expected at least {FEWEST} images to learn from, got {len(pairs)}: {FEWEST - len(pairs)} more."
        )
    if pairs.targets.amin() == pairs.targets.amax():
        value = pairs.targets.flatten()[0].item()
        raise DataError(f"Every target value is {value}: there is nothing to learn. Check the teacher or the pairs.")


def agreed_kind(kind: str | None, found: Images) -> str:
    """The kind that was asked for, if the data can be given in it; else that of the data."""
    if kind is None or kind == found.kind:
        return found.kind
    if found.targets is not None:
        raise PipelineValueError(f"The pairs hold {found.kind} images; kind={kind!r} does not fit them. Leave it out.")
    if found.kind == "float32":
        raise PipelineValueError(f"Float images cannot be given as {kind}. Pass uint8 or PIL images for that kind.")
    return kind


def fill_up(images: list[Tensor], size: tuple[int, int], count: int, seed: int) -> Tensor:
    """``count`` images of one size: half from ``images``, whole or as patches, half synthetic."""
    whole = [image for image in images if tuple(image.shape[-2:]) == size]
    larger = [image for image in images if image.shape[-2] >= size[0] and image.shape[-1] >= size[1]]
    if not larger:
        raise DataError(f"Expected images of at least {size[0]} x {size[1]} pixels; the largest is smaller.")
    real = count - count // 2
    chosen = torch.stack(whole[:real]) if len(whole) == len(images) else photo_patches(larger, real, size, seed)
    made = synthetic(count - len(chosen), (chosen.shape[1], *size), seed)
    return torch.cat([chosen, made if chosen.dtype == torch.uint8 else made.float() / 255])


@dataclass(frozen=True)
class Levels:
    """How targets are written: as levels behind a table, as plain levels, or as floats.

    Attributes:
        quantised: targets come from at most 256 levels.
        table: float32 ``[256]``, what stands for each level; None if targets are uint8 or continuous.
        unseen: how many of its entries no target showed.
        full: full range of the labels: 255 for levels, 1 for floats.
    """

    quantised: bool
    table: Tensor | None
    unseen: int = 0

    @property
    def full(self) -> float:
        return 255.0 if self.quantised else 1.0

    @classmethod
    def of(cls, pairs: Pairs) -> "Levels":
        """Find the levels in the targets: floats that are all near k / 255 hide a table of 256 values."""
        targets = pairs.targets
        if targets.dtype == torch.uint8:
            return cls(True, None)
        if targets.dtype != torch.float32:
            raise TeacherError(f"Expected uint8 or float32 answers from the teacher, got {targets.dtype}.")
        values = targets.unique()
        level = (values * 255).round()
        if pairs.inputs.dtype != torch.uint8 or len(values) > 256 or float((values * 255 - level).abs().max()) > 1e-3:
            return cls(False, None)
        # Levels that no target shows lie between their neighbours, by straight lines.
        seen = level.long()
        table = torch.from_numpy(np.interp(np.arange(256), seen.numpy(), values.double().numpy())).float()
        table[: seen[0]], table[seen[-1] + 1 :] = (
            torch.arange(256)[: seen[0]] / 255,
            torch.arange(256)[seen[-1] + 1 :] / 255,
        )
        table[seen] = values
        return cls(True, table, 256 - len(seen))

    def notes(self) -> list[str]:
        return [f"{self.unseen} of 256 levels occur in no target; the table fills them in"] if self.unseen else []

    def label(self, pairs: Pairs, device: torch.device) -> Labelled:
        """Inputs and labels: uint8 levels, or float32."""
        targets = pairs.targets
        if self.table is not None:
            targets = (targets * 255).round().to(torch.uint8)
        inputs = pairs.inputs if self.quantised else pairs.inputs.float()
        return Labelled(inputs.to(device), targets.to(device))

    def network(
        self, layers: list[Layer], params: list[Params], pairs: Pairs, learned: tuple[str, ...] = ()
    ) -> Network:
        """The layers, and the table behind them."""
        if self.table is not None:
            layers, params = [*layers, Lookup(self.table.view(1, 256))], [*params, {}]
        floats = self.table is not None or not self.quantised
        return Network([layer.cpu() for layer in layers], params, pairs.kind, pairs.container, floats, learned)


def replace_arithmetic(layer: Layer, levels: Levels) -> Layer:
    """Round a free network's output to levels, where its teacher does."""
    layer.arithmetic = Arithmetic("float32", rounding="half_up" if levels.quantised else "none")
    return layer


def probe(teacher: Teacher | None, pairs: Pairs, levels: Levels, seed: int) -> list[Labelled]:
    """Noise of other sizes and the teacher's answers; sizes whose answers have another size are left out."""
    if teacher is None:
        return []
    generator = torch.Generator().manual_seed(seed)
    found = []
    for h, w in PROBE_SHAPES:
        shape: Shape = (pairs.inputs.shape[1], h, w)
        images = data_module.noise(PROBES, shape, generator)
        if pairs.inputs.dtype != torch.uint8:
            images = images.float() / 255
        try:
            answers = stack(ask(teacher, images, pairs.kind)[0])
        except TeacherError:
            continue  # A teacher that takes one size only is a good teacher all the same.
        if answers.shape[1:] == pairs.targets.shape[1:]:
            found.append(levels.label(replace(pairs, inputs=images, targets=answers), torch.device("cpu")))
    return found


def label_more(teacher: Teacher, pairs: Pairs, levels: Levels, flips: tuple[bool, bool], images: Tensor) -> Labelled:
    """More images and the teacher's answers, flips undone."""
    answers = stack(ask(teacher, images, pairs.kind)[0])
    return levels.label(replace(pairs, inputs=images, targets=answers), torch.device("cpu")).flip(flips)


def certify(network: Network, pairs: Pairs) -> Certificate:
    """Compare a network with held-out pairs."""
    inputs = pairs.inputs
    comparisons = (
        (("held out", network(part), target))
        for part, target in zip(inputs.split(512), pairs.targets.split(512), strict=True)
    )
    return measure(comparisons, pairs.kind)
