"""Images that become one batch, each under its own draw: ``python benchmarks/batches.py [--rounds 7] [--only jitter]``.

Rounds in which all take turns, in an order that changes: ours with ``per_sample`` on one thread; ours call by call, of
which each result is dropped, so that its memory serves the next, or all are kept, or stacked to a batch; torchvision
call by call, stacked; and ours on two threads. A line for each job: milliseconds of the first, medians, and medians of
the ratios of each round: of the other ways to it, and of it to that of two threads. It is the time of the processor
that counts, of two threads that of the longer one: so it says the same on a machine that is busy.
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
COLUMNS = ("dropped", "kept", "stacked", "torchvision")


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


def milliseconds(call: Callable[[], Any]) -> float:
    """Of this thread, or of another that it starts, if that takes longer."""
    before = time.process_time_ns(), time.thread_time_ns()
    call()
    both, own = time.process_time_ns() - before[0], time.thread_time_ns() - before[1]
    return max(own, both - own) / 1e6


def measured(steps: list[Any], images: Any, rounds: int) -> list[float]:
    """Milliseconds of one batch; times of the other ways over that, and that over two threads': medians."""
    ours, theirs = lt.LearnedCompose(steps), v2.Compose(steps)

    def dropped() -> None:
        for image in images:
            ours(image)

    def two_threads() -> None:
        torch.set_num_threads(2)
        ours(images, per_sample=True)
        torch.set_num_threads(1)

    turns: dict[str, Callable[[], Any]] = {
        "batch": lambda: ours(images, per_sample=True),
        "dropped": dropped,
        "kept": lambda: [ours(image) for image in images],
        "stacked": lambda: torch.stack([ours(image) for image in images]),
        "torchvision": lambda: torch.stack([theirs(image) for image in images]),
        "two threads": two_threads,
    }
    times: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(-1, rounds):
        for name in random.Random(number).sample(list(turns), len(turns)):
            torch.manual_seed(number)
            found = milliseconds(turns[name])
            if number >= 0:  # Before, what is made once is made.
                times[name].append(found)
    pairs = [(times[name], times["batch"]) for name in COLUMNS] + [(times["batch"], times["two threads"])]
    ratios = [statistics.median(a / b for a, b in zip(*pair, strict=True)) for pair in pairs]
    return [statistics.median(times["batch"]), *ratios]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="in which each is measured once (%(default)s)")
    parser.add_argument("--only", default="", help="jobs whose names hold this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'job':<24}" + "".join(f"{name:>13}" for name in ("batch, ms", *COLUMNS, "two threads")))
    for name, (steps, images) in jobs().items():
        if options.only in name:
            found = measured(steps, images, options.rounds)
            print(f"{name:<24}{found[0]:13.1f}" + "".join(f"{ratio:13.2f}" for ratio in found[1:]), flush=True)


if __name__ == "__main__":
    main()
