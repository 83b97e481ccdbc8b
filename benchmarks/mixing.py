"""What follows layers in recipes of training, against torchvision: ``python benchmarks/mixing.py [--times 30]``.

Ours and torchvision's take turns, call by call, under equal draws, on one thread. A line for each: milliseconds of
either, medians, and their ratio; from whole recipes on photos to MixUp and CutMix of a batch alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import v2

import learned_transforms as lt

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTO, BATCH, CLASSES = (375, 500), (32, 3, 224, 224), 1000
FLOATS = v2.ToDtype(torch.float32, scale=True)
CROP = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]


def recipe_v1(**erasing: Any) -> list[Any]:
    """torchvision's own for classification, as its references build it."""
    crop = [v1.RandomResizedCrop(224), v1.RandomHorizontalFlip()]
    end = [v1.PILToTensor(), v1.ConvertImageDtype(torch.float), v1.Normalize(MEAN, STD)]
    return [*crop, *end, v1.RandomErasing(**erasing)]


def recipe(*more: Any) -> list[Any]:
    """The same in v2."""
    return [*CROP, v2.ToImage(), FLOATS, v2.Normalize(MEAN, STD), *more, v2.ToPureTensor()]


def photo(kind: str) -> Any:
    """An image of noise and slopes, in place of a photo."""
    rows, columns = (torch.linspace(0, 255, length) for length in PHOTO)
    smooth = torch.stack([rows[:, None] + 0 * columns, 0 * rows[:, None] + columns, rows[:, None] / 2 + columns / 2])
    pixels = (smooth + torch.randn(3, *PHOTO) * 8).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy()) if kind == "pil" else pixels


def mixing() -> list[Any]:
    return [v2.RandomChoice([v2.MixUp(num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)])]


def jobs() -> dict[str, tuple[list[Any], tuple[Any, ...]]]:
    """By name: transforms, and what they are given."""
    floats, labels = torch.rand(BATCH), torch.randint(CLASSES, BATCH[:1])
    small, levels = torch.rand(128, 3, 32, 32), torch.randint(0, 256, BATCH, dtype=torch.uint8)
    few = torch.randint(CLASSES, (128,))
    made: dict[str, tuple[list[Any], tuple[Any, ...]]] = {
        "references v1, erasing 0.1, PIL": (recipe_v1(p=0.1), (photo("pil"),)),
        "references v1, erasing noise 1, PIL": (recipe_v1(p=1, value="random"), (photo("pil"),)),
        "references v1, erasing in place 1, PIL": (recipe_v1(p=1, inplace=True), (photo("pil"),)),
    }
    for kind in ("pil", "uint8"):
        image = photo(kind)
        made |= {
            f"recipe v2, erasing 0.1, {kind}": (recipe(v2.RandomErasing(0.1)), (image,)),
            f"recipe v2, erasing noise 1, {kind}": (recipe(v2.RandomErasing(1, value="random")), (image,)),
            f"recipe v2, noise, {kind}": (recipe(v2.GaussianNoise()), (image,)),
            f"resize and JPEG, {kind}": ([v2.Resize(224), v2.JPEG((30, 95))], (image,)),
        }
    return made | {
        "erasing noise, float32": ([v2.RandomErasing(1, value="random")], (floats[0],)),
        "erasing in place, float32": ([v2.RandomErasing(1, inplace=True)], (floats[0],)),
        "noise, float32": ([v2.GaussianNoise()], (floats[0],)),
        "noise, uint8": ([v2.GaussianNoise()], (levels[0],)),
        "noise, float32, 32 images": ([v2.GaussianNoise()], (floats,)),
        "MixUp, 32 of 224": ([v2.MixUp(num_classes=CLASSES)], (floats, labels)),
        "CutMix, 32 of 224": ([v2.CutMix(num_classes=CLASSES)], (floats, labels)),
        "either, 32 of 224": (mixing(), (floats, labels)),
        "MixUp, 128 of 32": ([v2.MixUp(num_classes=CLASSES)], (small, few)),
        "CutMix, 128 of 32": ([v2.CutMix(num_classes=CLASSES)], (small, few)),
        "floats, Normalize, either, 32 of 224": ([FLOATS, v2.Normalize(MEAN, STD), *mixing()], (levels, labels)),
    }


def turns(ours: Callable[..., Any], theirs: Callable[..., Any], inputs: tuple[Any, ...], times: int) -> list[float]:
    """Median milliseconds of either."""
    spent: list[list[float]] = [[], []]
    for turn in range(times + 3):
        for run, into in zip((ours, theirs), spent, strict=True):
            torch.manual_seed(turn)
            start = time.perf_counter()
            run(*inputs)
            into.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(some[3:]) for some in spent]


def main() -> None:
    """Print a line for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=30, help="calls of either that are timed")
    parser.add_argument("--only", default="", help="jobs whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'':<40} {'ours, ms':>9} {'torchvision':>11} {'ratio':>6}")
    for name, (transforms, inputs) in jobs().items():
        if arguments.only in name:
            pipeline = lt.LearnedCompose(transforms, fallback="error")
            ours, theirs = turns(pipeline, v2.Compose(transforms), inputs, arguments.times)
            print(f"{name:<40} {ours:9.3f} {theirs:11.3f} {theirs / ours:5.2f}x", flush=True)


if __name__ == "__main__":
    main()
