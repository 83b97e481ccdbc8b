"""What the commands certify, doctor, apply and retrain do; ``main.py`` reads their options."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from learned_transforms.artifacts.weights import SUFFIX
from learned_transforms.certificate import Certificate, measure
from learned_transforms.cli.apply import apply, kind_taken
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import DataError, PipelineValueError, check_choice
from learned_transforms.images.formats import image_files

Answer = Callable[[Tensor, int], Tensor]
"""From an image ``[C, H, W]`` and its number to what is compared."""

RETRAIN_OPTIONS = ("kind", "size", "count", "epochs", "arch", "seed")
"""Options that are passed on if they were given; retrain has its own defaults."""


def load_teacher(name: str) -> Callable[[Any], Any]:
    """Return what ``package.module:name`` names; modules in the current directory are found too.

    Names may also be of an ONNX file, of a weight file or a folder with one, or a command with ``{in}`` and ``{out}``.

    Raises:
        PipelineValueError: no such module or name, a module that fails, or nothing to call; see
            :class:`~learned_transforms.trainer.data.forms.OnnxModel` and ``Command``, too.
    """
    if is_onnx(name) or "{in}" in name:
        from learned_transforms.trainer.data.forms import Command, OnnxModel

        return OnnxModel(name) if is_onnx(name) else Command(name)
    if name.endswith(SUFFIX) or Path(name).is_dir():
        return LearnedCompose.from_pretrained(name, allow_approximate=True)
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise PipelineValueError(f"Expected a teacher as package.module:name, got {name!r}.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = attrgetter(attribute)(import_module(module_name))
    except ModuleNotFoundError as error:
        raise PipelineValueError(f"Teacher {name!r}: module {error.name!r} not found. Is its folder here?") from error
    except AttributeError as error:
        raise PipelineValueError(f"Teacher {name!r}: no such name in the module ({error}).") from error
    except (Exception, SystemExit) as error:  # A module may raise anything while it is imported.
        raise PipelineValueError(f"Teacher {name!r}: its import raised {type(error).__name__}: {error}.") from error
    if not callable(found):
        raise PipelineValueError(f"Teacher {name!r}: expected a callable, got {type(found).__name__}.")
    return cast(Callable[[Any], Any], found)


def is_onnx(name: str) -> bool:
    return name.lower().endswith(".onnx")


def certify(options: argparse.Namespace) -> int:
    """Measure a model, or another teacher, against a teacher on the images of a folder; 1 below the tier required."""
    from learned_transforms.trainer.data.sources import KINDS

    with quiet(options.json):
        teacher = load_teacher(options.teacher)
        against = options.against or (options.model if is_onnx(options.model) else None)
        model = None if against else LearnedCompose.from_pretrained(options.model, allow_approximate=True)
        other = load_teacher(str(against)) if model is None else model
        kind = options.kind or (kind_of_teachers(other, teacher) if model is None else kind_taken(model))
        check_choice("kind", kind, KINDS)
        if options.count is not None and options.count < 1:
            raise PipelineValueError(f"Expected a count of at least 1, got {options.count}.")
        skipped: list[str] = []
        answers = answer_of(other, kind, is_teacher=model is None), answer_of(teacher, kind)
        images = islice(read_groups(options.data, skipped), options.count)
        certificate = measure(compared(images, *answers), kind)
    report = {"candidate": options.against or options.model, "teacher": options.teacher, "skipped": skipped}
    tell(options.json, {**report, "certificate": certificate.to_json()}, describe(certificate))
    warn_of(skipped)
    if options.require is None or certificate.at_least(options.require):
        return 0
    print(f"learned-transforms: required {options.require}, found {certificate.tier}", file=sys.stderr)
    return 1


def kind_of_teachers(*teachers: Callable[[Any], Any]) -> str:
    """Return which images teachers are given: what ONNX files take, else PIL images."""
    from learned_transforms.trainer.data.forms import OnnxModel

    return next((str(one.dtype.__name__) for one in teachers if isinstance(one, OnnxModel)), "pil")


def read_groups(folder: Path, skipped: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Images below a folder, uint8 ``[C, H, W]``, each with the folder that it lies in."""
    from learned_transforms.trainer.data.files import read_one
    from learned_transforms.trainer.data.sources import as_tensor

    paths = image_files(folder)
    if not paths:
        raise DataError(f"Expected at least one image, found none in {folder}.")
    for path in paths:
        image = read_one(path, skipped)
        if image is not None:
            group = folder.resolve().name / path.parent.relative_to(folder)
            yield group.as_posix(), as_tensor(image.convert("RGB"))


def answer_of(run: Callable[[Any], Any], kind: str, is_teacher: bool = True) -> Answer:
    """Return how a teacher, or a model, is asked."""
    from learned_transforms.trainer.data.asking import ask_once
    from learned_transforms.trainer.data.sources import as_kind, as_tensor

    if is_teacher:
        return lambda image, number: ask_once(run, image, kind, number)[0]
    return lambda image, number: as_tensor(run(as_kind(image, kind)))


def compared(
    images: Iterator[tuple[str, Tensor]], candidate: Answer, teacher: Answer
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield what :func:`measure` takes: both are given the same images, under equal draws."""
    for number, (group, image) in enumerate(images):
        state = torch.get_rng_state()
        target = teacher(image, number)
        torch.set_rng_state(state)
        yield group, candidate(image, number), target


def describe(certificate: Certificate) -> list[str]:
    """Return the certificate, its groups, and the PSNR, in lines."""
    groups = [
        f"  {name}: {group.differing:,} of {group.values:,} values differ in {group.images:,} images, "
        f"largest error {group.largest:.3g} levels"
        for name, group in certificate.groups.items()
    ]
    return [str(certificate), *groups, f"PSNR: {certificate.psnr:.2f} dB"]


def doctor(options: argparse.Namespace) -> int:
    """Say what is installed and certify every shipped layer against it; 0 if all hold their shipped tier, else 1."""
    from learned_transforms.cli.doctor import examine

    made = examine()
    lines = [f"{name:<14} {value}" for name, value in {**made.versions, **made.backends}.items()]
    lines += [f"{'instructions':<14} {made.instructions}", f"{'threads':<14} {made.threads}"]
    for finding in made.findings:
        mark = "ok" if finding.holds else "WORSE"
        lines.append(f"{mark:<5} {finding.file:<14} {finding.layer:<29} {finding.shipped:<12} here {finding.detail}")
    worse = sum(not finding.holds for finding in made.findings)
    lines.append(f"{len(made.findings) - worse} of {len(made.findings)} layers and pipelines hold their shipped tier")
    tell(options.json, {**asdict(made), "sound": made.sound}, lines)
    return 0 if made.sound else 1


def apply_model(options: argparse.Namespace) -> int:
    """Run a model over a folder; 0 if every image was transformed, else 1."""
    with quiet(options.json):
        model = LearnedCompose.from_pretrained(options.model, allow_approximate=options.allow_approximate)
        workers = (os.cpu_count() or 1) if options.workers is None else options.workers
        done = apply(
            model, options.source, options.destination, workers=workers, progress=True, overwrite=options.overwrite
        )
    line = f"{done.written} written, {done.existing} there already, {len(done.skipped)} skipped"
    tell(options.json, vars(done), [line])
    warn_of(done.skipped)
    return 1 if done.skipped else 0


def retrain(options: argparse.Namespace) -> int:
    """Learn a model from a teacher or from pairs, and keep it in a folder."""
    from learned_transforms import trainer

    settings = {name: getattr(options, name) for name in RETRAIN_OPTIONS if getattr(options, name) is not None}
    if "size" in settings:
        settings["size"] = tuple(settings["size"])
    with quiet(options.json):
        teacher = None if options.pairs else teacher_of(options)
        data = options.pairs or options.data
        result = trainer.retrain(teacher, data, out=options.out, resume=options.resume, **settings)
    trials = [figures(trial) for trial in result.trials]
    report = {"certificate": result.certificate.to_json(), "notes": result.notes, "trials": trials}
    report["table"] = [
        {"family": row.family, "reason": row.reason, "seconds": row.seconds, "trial": row.trial and figures(row.trial)}
        for row in result.table
    ]
    found = f"{result.family}: {result.certificate}, PSNR {result.certificate.psnr:.1f} dB"
    notes = [f"  {note}" for note in result.notes]
    notes += [] if result.speed is None else [f"  speed: {result.speed}"]
    lines = [found, *columns(result.table), *notes, f"folder: {result.folder}"]
    tell(options.json, {**report, "folder": str(result.folder)}, lines)
    if not result.certificate.at_least("rounding"):
        print(
            f"WARNING: this model is only APPROXIMATE ({result.certificate}). "
            "from_pretrained refuses it without allow_approximate=True.",
            file=sys.stderr,
        )
    return 0


def teacher_of(options: argparse.Namespace) -> Any:
    """Return the callable, the ONNX file or the shell command that the options name.

    Raises:
        PipelineValueError: there is none of that name.
    """
    from learned_transforms.trainer.data.forms import Command

    if options.shell is not None:
        return Command(options.shell)
    return load_teacher(options.teacher)


def figures(trial: Any) -> dict[str, Any]:
    """Return what was tried and how far it is from the teacher, for JSON."""
    return {"form": str(trial.form), "differing": finite(trial.differing), "largest": finite(trial.largest)}


def columns(table: Sequence[Any]) -> list[str]:
    """Return the search table, in lines: what each family found, or why it found nothing."""
    cells = [("family", "differing", "largest error", "seconds", "")]
    for row in table:
        trial = row.trial
        found = ("-", "-") if trial is None else (f"{trial.differing:.4%}", f"{trial.largest:.3g}")
        cells.append((row.family, *found, f"{row.seconds:.1f}", row.reason))
    width = max(len(family) for family, *_ in cells)
    return [f"  {a:<{width}}  {b:>9}  {c:>13}  {d:>7}  {e}".rstrip() for a, b, c, d, e in cells]


def finite(value: float) -> float | None:
    """Return a number as JSON can say it."""
    return value if math.isfinite(value) else None


def quiet(as_json: bool) -> AbstractContextManager[Any]:
    """Under ``--json``, what a teacher prints goes to stderr: stdout holds one JSON object and nothing else."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def tell(as_json: bool, report: Mapping[str, Any], lines: list[str]) -> None:
    print(json.dumps(report) if as_json else "\n".join(lines))


def warn_of(skipped: list[str]) -> None:
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
