"""Every contender at every job, timed by pytest-benchmark, with its fidelity beside its time."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from contenders import CONTENDERS, Ready, UnavailableError
from jobs import BATCH, DECODERS, JOBS, SEED, Job, fidelity, write_files
from report import OURS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from learned_transforms.images.formats import from_tensor

WARM_UP = 16
"""Calls before any timing, under seeds that give every combination of two flips."""

ORDERS = 800
"""The same for pipelines of colors, where ours makes a plan for every order and choice of operations that it meets
(hundreds, once in a process, about a millisecond each)."""

PATIENCE = {WARM_UP: 0.3, ORDERS: 1.2}
"""Seconds of warming up after which a slow contender has had enough."""

THOROUGH, QUICK = (0.01, 0.4, 5), (0.002, 0.04, 2)
"""Seconds for one round, seconds for all of a contender's rounds, and the fewest rounds."""

MOST_ROUNDS = 60
BOXES, QUICK_BOXES, FEWEST_BOXES = 100, 5, 10
"""Random crops that are timed, the same for every contender that draws as torchvision does."""

BOX_SECONDS = 2.0
"""For all of a contender's boxes: a very slow one gets the first of them, ten at least."""

TURNS, QUICK_TURNS = (1.0, 5, 300), (0.05, 1, 5)
"""Seconds for the rounds that a contender and ours take in turns, and the fewest and the most of them."""

ROUND_BOXES = 10
"""Random crops in a round: one alone would find the caches full of what the other left there."""

ELSEWHERE = 1 << 20
"""Added to a seed: a box that no timed crop has."""


class Pictures(Dataset[Any]):
    """Images in memory or in files, how they are read, and a transform."""

    def __init__(self, items: list[Any], read: Callable[[Any], Any], transform: Callable[[Any], Any]) -> None:
        self.items, self.read, self.transform = items, read, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.read(self.items[index]))


class Stopwatch:
    """A function, and the seconds that its calls have taken."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, given: Any) -> Any:
        start = time.perf_counter()
        result = self.function(given)
        self.seconds += time.perf_counter() - start
        return result


@pytest.fixture(scope="session")
def files() -> Iterator[list[str]]:
    """A folder of JPEG files, for as long as the suite runs."""
    with TemporaryDirectory() as folder:
        yield write_files(Path(folder))


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


def as_it_is(image: Any) -> Any:
    return image


def load(ready: Ready, job: Job, items: list[Any], watch: Callable[[Any], Any] = as_it_is) -> DataLoader[Any]:
    """A DataLoader at a job; ``watch`` may wrap what it reads, transforms and collates with."""
    return DataLoader(
        Pictures(items, watch(DECODERS[job.form] if job.folder else as_it_is), watch(ready.run)),
        BATCH,
        num_workers=job.workers or 0,
        collate_fn=watch(default_collate),
        worker_init_fn=one_thread,
        persistent_workers=bool(job.workers),
    )


def shares(ready: Ready, job: Job, items: list[Any]) -> dict[str, float]:
    """Which part of an epoch each stage takes, of a DataLoader without workers."""
    watches: list[Stopwatch] = []

    def watch(function: Callable[[Any], Any]) -> Stopwatch:
        watches.append(Stopwatch(function))
        return watches[-1]

    loader = load(ready, job, items, watch)
    start = time.perf_counter()
    epoch(loader, None)
    whole = time.perf_counter() - start
    parts = dict(zip(("decode", "transform", "collate"), (w.seconds / whole for w in watches), strict=True))
    return {**parts, "rest": 1 - sum(parts.values())}


def at_work(ready: Ready, job: Job, items: list[Any], device: torch.device) -> Callable[[Any], Any]:
    """What one timed call does: an epoch of a DataLoader, or one run, waited for on devices that run ahead."""
    if job.workers is not None:
        return partial(epoch, load(ready, job, items))
    if device.type == "cpu":
        return ready.run
    synchronize = getattr(torch, device.type).synchronize

    def run(source: Any) -> None:
        ready.run(source)
        synchronize()

    return run


def warm_up(ready: Ready, call: Callable[[], Any], calls: int, thorough: bool) -> list[float]:
    """Call a few times, under different draws.

    Args:
        calls: how often.
        thorough: make all the calls, however long they take: each draw may have to be compiled.

    Returns:
        Seconds that each took.
    """
    seconds: list[float] = []
    for seed in range(calls):
        ready.seed(seed)
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        if not thorough and sum(seconds) > PATIENCE[calls]:
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

    Repeated and new boxes thus meet the same boxes, with the same image in the caches.
    """
    seeds = itertools.count(ORDERS)

    def prepare() -> None:
        seed = next(seeds)
        ready.seed(seed if job.repeated else seed + ELSEWHERE)
        ready.run(source)
        ready.seed(seed)

    return prepare


def timed_round(ready: Ready, job: Job, run: Callable[[Any], Any], source: Any, seconds: float) -> Callable[[], float]:
    """What makes one round, of ten boxes or about ten milliseconds, and gives the seconds that a call takes.

    Args:
        seconds: that a call takes, about.
    """
    prepare = boxes(ready, job, source) if job.boxes else None
    drawn, calls = (ROUND_BOXES, 1) if job.boxes else (1, max(1, round(THOROUGH[0] / seconds)))

    def one() -> float:
        spent = 0.0
        for _ in range(drawn):
            if prepare is not None:
                prepare()
            start = time.perf_counter()
            for _ in range(calls):
                run(source)
            spent += time.perf_counter() - start
        return spent / (drawn * calls)

    return one


def in_turns(ours: Callable[[], float], other: Callable[[], float], quick: bool) -> float:
    """How many times as long as ours the other takes, by the medians of rounds that they take in turns.

    What slows the machine for a second slows both.
    """
    budget, fewest, most = QUICK_TURNS if quick else TURNS
    pairs: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(pairs) < fewest or (len(pairs) < most and time.perf_counter() - start < budget):
        pairs.append((ours(), other()))
    first, second = map(median, zip(*pairs, strict=True))
    return second / first


def beside_ours(
    other: Callable[[], float], job: Job, items: list[Any], source: Any, device: torch.device, calls: int, quick: bool
) -> float:
    """How many times as long as ours a contender takes, of which rounds are given; ours is warmed up first."""
    ready = CONTENDERS[OURS].make(job, device)
    run = at_work(ready, job, items, device)
    seconds = warm_up(ready, partial(run, source), calls, False)
    return in_turns(timed_round(ready, job, run, source, min(seconds)), other, quick)


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
    items: list[Any] = []
    if task.folder:
        items = request.getfixturevalue("files")
    elif task.workers is not None:
        items = [from_tensor(image, "pil") for image in task.originals(task.images)]
    run = at_work(ready, task, items, device)
    calls = ORDERS if task.settings.colored and task.workers is None else WARM_UP
    seconds = warm_up(ready, partial(run, source), calls, who.compiled)
    times_ours = 1.0
    if who.name != OURS:
        other = timed_round(ready, task, run, source, min(seconds))
        times_ours = beside_ours(other, task, items, source, device, calls, quick)
    # Asked for this late, pytest-benchmark does not complain of contenders that were skipped.
    benchmark = request.getfixturevalue("benchmark")
    benchmark.extra_info.update(
        job=job,
        pipeline=task.settings.title,
        given=task.given,
        pixels=task.pixels,
        summary=task.summary,
        contender=contender,
        title=who.title,
        threads=threads,
        images=task.images,
        fidelity=None,
        loader=task.workers is not None,
        shares=None,
        compile_seconds=sum(seconds) - len(seconds) * min(seconds) if who.compiled else None,
        note=ready.note,
        times_ours=times_ours,
    )
    if task.boxes:
        # Each is timed once, after an untimed call.
        affordable = max(FEWEST_BOXES, round(BOX_SECONDS / 2 / min(seconds)))
        rounds = QUICK_BOXES if quick else min(BOXES, affordable)
        benchmark.pedantic(run, (source,), setup=boxes(ready, task, source), rounds=rounds)
    else:
        benchmark.pedantic(run, (source,), **rounds_and_iterations(min(seconds), quick))
    if task.folder and not task.workers:
        benchmark.extra_info["shares"] = shares(ready, task, items)
    if ready.faithful:
        # Afterwards, so that what is compiled for it is not missing from the seconds of compiling.
        compared = who.make(task.prescribed(), device) if who.own_draws else ready
        compared.seed(SEED)
        benchmark.extra_info["fidelity"] = fidelity(compared.run(source), task)
