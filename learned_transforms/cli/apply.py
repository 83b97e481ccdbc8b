"""A pipeline run over every image file of a folder: in parallel, and so that a killed run can go on."""

import copy
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import DataError, InputTypeError, OutputError, PipelineValueError
from learned_transforms.images.formats import from_tensor, image_files, read_file, to_tensor
from learned_transforms.layers.network import Network

PARTIAL = ".partial-"
"""How the names of files begin that are being written."""

PICTURE, ARRAY = ".png", ".npy"
IN_PICTURES, WIDE = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"), ("I", "F")
"""Modes that a PNG file keeps as they are, and those whose values only an array does."""

CONVERTERS = ("ToTensor", "PILToTensor", "ToImage")
"""Transforms before which a pipeline takes PIL images, whatever its network takes."""

Jobs = Mapping[Path, Path]
"""By output, without its suffix: the input."""


@dataclass(frozen=True)
class Applied:
    """What :func:`apply` did.

    Attributes:
        written: files written.
        existing: files that were there already.
        skipped: inputs that could not be read or transformed, with the reason.
    """

    written: int
    existing: int
    skipped: list[str]


def apply(
    model: LearnedCompose, source: Path, destination: Path, *, workers: int, progress: bool, overwrite: bool = False
) -> Applied:
    """Run ``model`` on every image file below ``source``, and write each result under the same name in ``destination``.

    PIL and uint8 results of one or three channels become PNG files, others ``.npy`` files, ``[C, H, W]``, floats as
    float32. A file is there whole or not at all, so the same call goes on where a killed one stopped. One call at a
    time may write to a folder. Random transforms draw anew for each image, in no fixed order.

    Args:
        model: the pipeline; each thread has its own copy.
        source: folder of images; RGB and L are taken as stored, other modes as RGB without alpha. Modes of more than
            8 bits for a value (I;16, I, F) are skipped: to make bytes of them would clip most levels to white.
        destination: folder of results, made where there is none.
        workers: threads.
        progress: show a progress bar, where the output is a terminal.
        overwrite: write files anew that are there already.

    Raises:
        DataError: no such folder, no image in it, or two images whose results would have one name.
        PipelineValueError: ``workers`` below 1, or a destination inside the source.
        OutputError: a result cannot be written.
    """
    if type(workers) is not int or workers < 1:
        raise PipelineValueError(f"Expected at least 1 worker, got {workers!r}.")
    jobs = plan(source, destination)
    with written(destination):
        remove_partial(jobs)
    todo = jobs if overwrite else {base: path for base, path in jobs.items() if not is_there(base)}
    skipped = run(model, source, todo, workers, progress)
    return Applied(len(todo) - len(skipped), len(jobs) - len(todo), skipped)


def plan(source: Path, destination: Path) -> Jobs:
    """Return what is to be done, checked before any of it is."""
    paths = image_files(source)
    if not paths:
        raise DataError(f"Expected at least one image, found none in {source}.")
    if destination.resolve().is_relative_to(source.resolve()):
        raise PipelineValueError(f"Expected a destination outside {source}, got {destination}. Choose another folder.")
    jobs: dict[Path, Path] = {}
    for path in paths:
        other = jobs.setdefault(destination / path.relative_to(source).with_suffix(""), path)
        if other != path:
            raise DataError(f"{other} and {path} would get one name in {destination}. Rename one of them.")
    return jobs


def remove_partial(jobs: Jobs) -> None:
    """Remove what a killed run was writing."""
    for folder in {base.parent for base in jobs}:
        for path in folder.glob(f"{PARTIAL}*"):
            path.unlink()


def is_there(base: Path) -> bool:
    return any(named(base, suffix).exists() for suffix in (PICTURE, ARRAY))


def named(base: Path, suffix: str) -> Path:
    """With a suffix after whatever dots the name has."""
    return base.with_name(base.name + suffix)


def run(model: LearnedCompose, source: Path, jobs: Jobs, workers: int, progress: bool) -> list[str]:
    """Do all jobs, in any order; what could not be done, with the reason, in order of name."""
    own = threading.local()
    kind = kind_taken(model)

    def prepare() -> None:
        # Threads share the processor already, and a pipeline keeps what it lowered: neither may be shared.
        torch.set_num_threads(1)
        own.model = copy.deepcopy(model)

    def work(path: Path, base: Path) -> str | None:
        try:
            suffix, content = encoded(own.model(given(read_file(path), kind)))
        except Exception as error:  # Whatever a broken file or a foreign transform raises concerns this file only.
            return f"{path.relative_to(source)}: {type(error).__name__}: {error}"
        save(content, named(base, suffix))
        return None

    threads = torch.get_num_threads()
    executor = ThreadPoolExecutor(workers, "apply", prepare)
    try:
        futures = [executor.submit(work, path, base) for base, path in jobs.items()]
        finish(futures, partial(executor.shutdown, cancel_futures=True), progress)
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return [reason for future in futures if (reason := future.result()) is not None]


def finish(futures: list[Future[str | None]], stop: Callable[[], None], progress: bool) -> None:
    """Wait for all; if one cannot write, ``stop`` and say how many are done."""
    try:
        hidden = None if progress else True
        for future in tqdm(as_completed(futures), "apply", len(futures), leave=False, disable=hidden):
            future.result()
    except OutputError as error:
        stop()
        done = sum(not future.cancelled() and future.exception() is None for future in futures)
        raise OutputError(f"{error} {done} of {len(futures)} files are done; the same command goes on.") from error


def kind_taken(model: LearnedCompose) -> str:
    """Return the images that a pipeline takes: those that its first network learned from, else PIL images."""
    for transform in model.transforms:
        if type(transform).__name__ in CONVERTERS:
            break
        if isinstance(transform, Network):
            return transform.kind
    return "pil"


def given(image: Image.Image, kind: str) -> Any:
    """Return a PIL image (RGB, L) as images of a kind: itself, a uint8 array (H, W, C) or (H, W), or a tensor [C, H,
    W]."""
    if kind == "pil":
        return image
    if kind == "float32":
        return to_tensor(image).contiguous().float() / 255
    return np.array(image)


def encoded(image: Any) -> tuple[str, bytes]:
    """Return a result as suffix and content of a file: a PNG picture, or an array ``[..., C, H, W]``."""
    file, content = io.BytesIO(), storable(image)
    if isinstance(content, Image.Image):
        content.save(file, "PNG")
        return PICTURE, file.getvalue()
    np.save(file, np.ascontiguousarray(content))
    return ARRAY, file.getvalue()


def storable(image: Any) -> Image.Image | np.ndarray[Any, Any]:
    """Return a result as what is written: a PIL image, or an array ``[..., C, H, W]``.

    Raises:
        InputTypeError: no image, or a PIL image of a mode that neither file keeps.
    """
    if isinstance(image, Image.Image):
        if image.mode in WIDE:
            return np.array(image)[None]
        if image.mode not in IN_PICTURES:
            raise InputTypeError(
                f"Expected a result that a PNG file keeps as it is, got a PIL image of mode {image.mode}. "
                'End the pipeline with a conversion, for example .convert("RGB").'
            )
        return image
    values = to_tensor(image)
    if values.dtype == torch.uint8 and values.ndim == 3 and len(values) in (1, 3):
        return cast(Image.Image, from_tensor(values, "pil"))
    return (values.float() if values.is_floating_point() else values).numpy(force=True)


def save(content: bytes, path: Path) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{threading.get_ident()}")
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Tell the system's errors as those of writing ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
