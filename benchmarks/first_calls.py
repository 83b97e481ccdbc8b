"""What a pipeline costs before it is warm: ``python benchmarks/first_calls.py [--times 40] [--processes 3]``.

A line for each: milliseconds of this thread to construct it and to call it once, where other pipelines were there
before: the least and the median; and the same together of the first pipeline of a process, to which the shipped weights
are new. There, Python may look for garbage among all that torch has imported, as for whatever makes so many objects
first: that is told apart.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from sizes import PIPELINES
from torchvision.transforms import v2

import learned_transforms as lt

SEED = [v2.Resize(28), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.Grayscale(), v2.ToImage()]
NAMES = ("seed", "eval", "train", "moco")


def once(name: str) -> tuple[float, float]:
    """Milliseconds to construct a pipeline, and to call it."""
    steps: list[Any] = [*SEED, v2.ToDtype(torch.float32, scale=True)] if name == "seed" else PIPELINES[name]
    size = (32, 32) if name == "seed" else (375, 500)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    start = time.thread_time_ns()
    pipeline = lt.LearnedCompose(steps)
    made = time.thread_time_ns()
    pipeline(image)
    return (made - start) / 1e6, (time.thread_time_ns() - made) / 1e6


def first(name: str) -> list[float]:
    """The same of the first of a process, this one, and milliseconds that were spent on garbage meanwhile."""
    spent = [0.0]

    def collecting(phase: str, about: dict[str, int]) -> None:
        spent[0] += time.thread_time_ns() / 1e6 * (1 if phase == "stop" else -1)

    gc.callbacks.append(collecting)
    return [*once(name), spent[0]]


def in_processes(name: str, count: int) -> list[float]:
    """The least of each of these, over processes."""
    command = [sys.executable, "-W", "ignore", __file__, "--first", name]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(count)]
    return [min(map(float, column)) for column in zip(*runs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=40, help="that each is constructed and called (%(default)s)")
    parser.add_argument("--processes", type=int, default=3, help="whose first pipeline is each (%(default)s)")
    parser.add_argument("--first", choices=NAMES, help="print the numbers of the first of this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.first:
        print(*first(options.first))
        return
    print(f"{'pipeline':<10}{'construct':>10}{'call':>8}{'together':>10}{'median':>8}   first: together, and garbage")
    for name in NAMES:
        once(name)
        runs = [once(name) for _ in range(options.times)]
        construct, call = map(min, zip(*runs, strict=True))
        least, median = min(map(sum, runs)), statistics.median(map(sum, runs))
        made, called, garbage = in_processes(name, options.processes)
        both = f"{construct:10.2f}{call:8.2f}{least:10.2f}{median:8.2f}"
        print(f"{name:<10}{both}   {made + called - garbage:.1f} and {garbage:.1f}", flush=True)


if __name__ == "__main__":
    main()
