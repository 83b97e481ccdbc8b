"""A stream of images, each of another size: ``python benchmarks/sizes.py [--images 300] [--only eval]``.

Data sets have photos of many sizes. Here come as many as ``--images`` says, of sizes like ImageNet's, each once; they
are views of one image, so that memory and caches are the same for all. Call by call, in an order that changes, take
turns: ours on the stream, ours on one size (the median one), and torchvision on the stream. A line for each pipeline
and memory layout: microseconds of the thread, medians; the stream against one size; torchvision against ours.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
JITTER = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
CROP = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
SIDES = (80, 200), (333, 375, 400, 480, 500, 600, 640)
"""Of small images, the least and largest; of photos, those that are common, about which the others lie."""

PIPELINES: dict[str, list[Any]] = {
    "eval": [v2.Resize(256), v2.CenterCrop(224), *FLOATS],
    "train": [*CROP, *FLOATS],
    "jitter": [*CROP, v2.ColorJitter(0.4, 0.4, 0.4), *FLOATS],
    "moco": [
        v2.RandomResizedCrop(224, scale=(0.2, 1)),
        JITTER,
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], p=0.5),
        v2.RandomHorizontalFlip(),
        *FLOATS,
    ],
    "rotated": [v2.Resize((224, 224)), v2.RandomRotation(30, InterpolationMode.BILINEAR), *FLOATS],
    "timm eval": [v2.Resize(248, InterpolationMode.BICUBIC), v2.CenterCrop(224), *FLOATS],
    "detection": [v2.Resize(480, max_size=800), v2.RandomHorizontalFlip(), *FLOATS],
}


def named_sizes(count: int, small: bool) -> list[tuple[int, int]]:
    """Sizes (rows, columns), each once, in an order that stays the same: photos, or small images."""
    draw, found = random.Random(0), {}
    while len(found) < count:
        if small:
            sides = draw.randint(*SIDES[0]), draw.randint(*SIDES[0])
        else:
            sides = tuple(draw.choice(SIDES[1]) - draw.randint(0, 9) for _ in range(2))
        found[sides] = None
    return list(found)


def layouts(whole: Tensor) -> dict[str, Callable[[int, int], Any]]:
    """By name: what makes an image of a size out of a large one ``[H, W, C]``."""
    planes = whole.movedim(-1, 0).contiguous()
    return {
        "HWC": lambda height, width: whole[:height, :width].movedim(-1, 0),
        "CHW": lambda height, width: planes[:, :height, :width],
        "PIL": lambda height, width: Image.fromarray(whole[:height, :width].numpy()),
    }


def microseconds(call: Callable[[], Any]) -> float:
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e3


def measured(steps: list[Any], images: list[Any], one: Any) -> tuple[float, float, float]:
    """Medians of ours on a stream, ours on one size, and torchvision on the stream."""
    many, single, theirs = lt.LearnedCompose(steps), lt.LearnedCompose(steps), v2.Compose(steps)
    for image in images[:100]:  # What is made once is made.
        many(image.copy() if isinstance(image, Image.Image) else image[..., 1:, 1:])
        single(one)
    times: tuple[list[float], ...] = [], [], []
    for number, image in enumerate(images):
        turns = [(0, many, image), (1, single, one), (2, theirs, image)]
        random.Random(number).shuffle(turns)
        for column, pipeline, given in turns:
            torch.manual_seed(number)
            torch.rand(1)
            times[column].append(microseconds(lambda: pipeline(given)))  # noqa: B023
    first, second, third = (statistics.median(column) for column in times)
    return first, second, third


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, default=300, help="of the stream, each of a size of its own (%(default)s)"
    )
    parser.add_argument("--only", default="", help="pipelines whose names hold this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = torch.randint(0, 256, (650, 650, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    print(
        f"{'pipeline':<10} {'images':<6} {'layout':<6} {'stream':>8} {'one':>8} {'ratio':>6} {'v2':>8} {'v2/ours':>8}"
    )
    for name, steps in PIPELINES.items():
        for small in (False, True) if options.only in name else ():
            sizes = named_sizes(options.images, small)
            middle = sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]
            for layout, make in layouts(whole).items():
                given = [*steps[:-2], v2.ToImage(), *steps[-2:]] if layout == "PIL" else steps
                stream, one, theirs = measured(given, [make(*size) for size in sizes], make(*middle))
                row = f"{name:<10} {'small' if small else 'photos':<6} {layout:<6} {stream:8.1f} {one:8.1f}"
                print(f"{row} {stream / one:6.2f} {theirs:8.1f} {theirs / stream:8.1f}", flush=True)


if __name__ == "__main__":
    main()
