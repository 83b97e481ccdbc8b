"""Images that become one batch, each under its own draw: ``python benchmarks/batches.py [--rounds 7] [--only jitter]``.

Rounds in which all take turns, in an order that changes: ours with ``per_sample``, ours call by call (each result is
dropped, so that its memory serves the next), ours call by call with ``torch.stack`` behind, torchvision call by call
with ``torch.stack`` behind; and ours on two threads, by the wall clock. A line for each job: milliseconds of the thread
of the first, medians, and medians of the ratios of each round to it: above 1, it is the faster one.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from sizes import CROP, FLOATS, named_sizes
from torchvision.transforms import v2

import learned_transforms as lt

JITTER = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
EVAL = [v2.Resize(256), v2.CenterCrop(224)]
COLUMNS = ("single calls", "and stack", "torchvision", "two threads")


def photos(count: int) -> list[Image.Image]:
    """PIL images of noise, of sizes like ImageNet's, each once."""
    whole = torch.randint(0, 256, (650, 650, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    return [Image.fromarray(whole[:height, :width]) for height, width in named_sizes(count, False)]


def jobs() -> dict[str, tuple[list[Any], Any]]:
    """By name: transforms, and the batch or list that they are given."""
    levels = torch.randint(0, 256, (256, 3, 256, 256), dtype=torch.uint8)
    small = torch.randint(0, 256, (1024, 3, 32, 32), dtype=torch.uint8)
    cifar = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *FLOATS]
    tensors = [v2.functional.pil_to_tensor(photo) for photo in photos(64)]
    return {
        "train, 256 x 256": ([*CROP, *FLOATS], levels),
        "train, 256 x 256 HWC": ([*CROP, *FLOATS], levels.contiguous(memory_format=torch.channels_last)),
        "train, float32": ([*CROP, FLOATS[1]], levels[:64] / 255),
        "jitter, 256 x 256": ([*CROP, JITTER, *FLOATS], levels),
        "cifar, 32 x 32": (cifar, small),
        "eval, 64 photos, PIL": ([*EVAL, v2.ToImage(), *FLOATS], photos(64)),
        "eval, 64 photos, uint8": ([*EVAL, *FLOATS], tensors),
        "train, 64 photos, PIL": ([*CROP, v2.ToImage(), *FLOATS], photos(64)),
    }


def milliseconds(call: Callable[[], Any], clock: Callable[[], int]) -> float:
    start = clock()
    call()
    return (clock() - start) / 1e6


def measured(steps: list[Any], images: Any, rounds: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of one batch; and of each other way, its time over that, medians."""
    ours, theirs = lt.LearnedCompose(steps), v2.Compose(steps)

    def one_by_one() -> None:
        for image in images:
            ours(image)

    def on_threads(threads: int) -> Callable[[], Any]:
        def run() -> None:
            torch.set_num_threads(threads)
            ours(images, per_sample=True)
            torch.set_num_threads(1)

        return run

    cpu, wall = time.thread_time_ns, time.perf_counter_ns
    turns: dict[str, tuple[Callable[[], Any], Callable[[], int]]] = {
        "batch": (on_threads(1), cpu),
        "single calls": (one_by_one, cpu),
        "and stack": (lambda: torch.stack([ours(image) for image in images]), cpu),
        "torchvision": (lambda: torch.stack([theirs(image) for image in images]), cpu),
        "batch, by the wall clock": (on_threads(1), wall),
        "two threads": (on_threads(2), wall),
    }
    times: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(-1, rounds):
        for name in random.Random(number).sample(list(turns), len(turns)):
            torch.manual_seed(number)
            found = milliseconds(*turns[name])
            if number >= 0:  # Before, what is made once is made.
                times[name].append(found)
    against = {name: times["batch"] for name in COLUMNS[:3]} | {"two threads": times["batch, by the wall clock"]}
    ratios = {
        name: statistics.median(other / one for other, one in zip(times[name], against[name], strict=True))
        for name in COLUMNS
    }
    return statistics.median(times["batch"]), ratios | {"two threads": 1 / ratios["two threads"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="in which each is measured once (%(default)s)")
    parser.add_argument("--only", default="", help="jobs whose names hold this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'job':<24} {'batch, ms':>10}" + "".join(f"{name:>14}" for name in COLUMNS))
    for name, (steps, images) in jobs().items():
        if options.only in name:
            batch, ratios = measured(steps, images, options.rounds)
            print(f"{name:<24} {batch:10.1f}" + "".join(f"{ratios[c]:14.2f}" for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
