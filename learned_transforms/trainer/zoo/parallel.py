"""Tasks side by side: in processes of one thread each, which quicker keep all cores busy than threads of one task."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from multiprocessing import get_context
from typing import TypeVar

import torch
from tqdm import tqdm

T = TypeVar("T")


@cache
def pool() -> ProcessPoolExecutor:
    """As many processes as torch has threads; they stay until the program ends, since starting takes seconds."""
    # Threads that spin while they wait take the cores from the other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    count, context = torch.get_num_threads(), get_context("spawn")
    return ProcessPoolExecutor(count, context, torch.set_num_threads, (1,))


def side_by_side(tasks: Sequence[Callable[[], T]], title: str, progress: bool = True) -> list[T]:
    """Return what tasks give, in their order; they begin from the last, which should take longest.

    Args:
        tasks: functions that can be pickled, as can what they give.
        title: of the progress bar.
        progress: show it.
    """
    begun = [pool().submit(task) for task in reversed(tasks)]
    try:
        for _ in tqdm(as_completed(begun), title, len(begun), disable=None if progress else True):
            pass
        return [task.result() for task in reversed(begun)]
    finally:
        for task in begun:
            task.cancel()


def all_threads(task: Callable[[], T]) -> Callable[[], T]:
    """Return a task that runs with as many threads as there are here, for what depends on their number."""
    return partial(threaded, torch.get_num_threads(), task)


def threaded(count: int, task: Callable[[], T]) -> T:
    """Return what a task gives that runs with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return task()
    finally:
        torch.set_num_threads(before)
