"""Every contender at every job, timed by pytest-benchmark, with its fidelity beside its time."""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from contenders import CONTENDERS, Ready, UnavailableError
from jobs import BATCH, JOBS, SEED, Job, fidelity, pixels
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from learned_transforms.images import from_tensor

WARM_UP = 16
"""Calls before any timing, under seeds that give every combination of two flips."""

PATIENCE = 0.3
"""Seconds of warming up after which a slow contender has had enough."""

THOROUGH, QUICK = (0.01, 0.6, 5), (0.002, 0.04, 2)
"""Seconds for one round, seconds for all of a contender's rounds, and the fewest rounds."""

MOST_ROUNDS = 60
BOXES, QUICK_BOXES = 100, 5
"""Random crops that are timed, the same for every contender that draws as torchvision does."""

ELSEWHERE = 1 << 20
"""Added to a seed: a box that no timed crop has."""


class Pictures(Dataset[Any]):
    """PIL images in memory, and a transform."""

    def __init__(self, images: list[Any], transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


def set_threads(count: int) -> None:
    torch.set_num_threads(count)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(count)


def one_thread(worker: int) -> None:
    """A DataLoader gives its workers one torch thread each; OpenCV has to be told."""
    set_threads(1)


def epoch(loader: DataLoader[Any], source: Any) -> None:
    for _ in loader:
        pass


def at_work(ready: Ready, job: Job, device: torch.device) -> Callable[[Any], Any]:
    """What one timed call does: an epoch of a DataLoader, or one run, waited for on devices that run ahead."""
    if job.workers is not None:
        images = [from_tensor(image, "pil") for image in pixels(job.pipeline, job.images)]
        loader = DataLoader(
            Pictures(images, ready.run),
            BATCH,
            num_workers=job.workers,
            worker_init_fn=one_thread,
            persistent_workers=job.workers > 0,
        )
        return partial(epoch, loader)
    if device.type == "cpu":
        return ready.run
    synchronise = getattr(torch, device.type).synchronize

    def run(source: Any) -> None:
        ready.run(source)
        synchronise()

    return run


def warm_up(ready: Ready, call: Callable[[], Any], thorough: bool) -> list[float]:
    """Call a few times, under different draws.

    Args:
        thorough: make all the calls, however long they take: each draw may have to be compiled.

    Returns:
        Seconds that each took.
    """
    seconds: list[float] = []
    for seed in range(WARM_UP):
        ready.seed(seed)
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        if not thorough and seed and sum(seconds) > PATIENCE:
            break
    return seconds


def rounds_and_iterations(seconds: float, quick: bool) -> dict[str, int]:
    """How many rounds of how many calls, of so many seconds each, fill the time."""
    per_round, total, fewest = QUICK if quick else THOROUGH
    iterations = max(1, round(per_round / seconds))
    return {
        "rounds": min(MOST_ROUNDS, max(fewest, round(total / (seconds * iterations)))),
        "iterations": iterations,
    }


def boxes(ready: Ready, job: Job, source: Any) -> Callable[[], None]:
    """What goes before each timed random crop, untimed: a crop with the same box, or with another, and the seed.

    Both kinds of geometry thus meet the same boxes, with the same image in the caches.
    """
    seeds = itertools.count(WARM_UP)

    def prepare() -> None:
        seed = next(seeds)
        ready.seed(seed if job.geometry == "repeated" else seed + ELSEWHERE)
        ready.run(source)
        ready.seed(seed)

    return prepare


def test_time(request: pytest.FixtureRequest, job: str, contender: str, threads: int) -> None:
    task, who = JOBS[job], CONTENDERS[contender]
    device, quick = torch.device(request.config.getoption("device")), request.config.getoption("quick")
    set_threads(threads)
    source = task.source()
    source = source.to(device) if isinstance(source, Tensor) else source
    try:
        ready = who.make(task, device)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    run = at_work(ready, task, device)
    seconds = warm_up(ready, partial(run, source), who.compiled)
    # Asked for this late, pytest-benchmark does not complain of contenders that were skipped.
    benchmark = request.getfixturevalue("benchmark")
    benchmark.extra_info.update(
        job=job,
        job_title=task.title,
        contender=contender,
        title=who.title,
        threads=threads,
        images=task.images,
        fidelity=None,
        loader=task.workers is not None,
        compile_seconds=sum(seconds) - len(seconds) * min(seconds) if who.compiled else None,
        note=ready.note,
    )
    if task.geometry is None:
        benchmark.pedantic(run, (source,), **rounds_and_iterations(min(seconds), quick))
    else:
        benchmark.pedantic(run, (source,), setup=boxes(ready, task, source), rounds=QUICK_BOXES if quick else BOXES)
    if ready.faithful:
        # Afterwards, so that what is compiled for it is not missing from the seconds of compiling.
        compared = who.make(task.prescribed(), device) if who.own_draws else ready
        compared.seed(SEED)
        benchmark.extra_info["fidelity"] = fidelity(compared.run(source), task)
