"""Image processors of transformers, against their own objects: ``python benchmarks/processors.py [--times 15]``.

Ours and theirs take turns, call by call, on one thread; milliseconds of the thread, medians and ratios, for one photo
and for 32 of mixed sizes. It needs transformers (the extra ``clients``).
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from PIL import Image

import learned_transforms as lt
from learned_transforms.trainer.data.bundled import PHOTOS

NAMES = ("CLIP", "Siglip", "Siglip2", "ViT", "Bit", "Qwen2VL")
BACKENDS = {"torchvision": "ImageProcessor", "pil": "ImageProcessorPil"}


def photos() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]


def mixed(count: int) -> list[Image.Image]:
    """Parts of photos, from half of each side to all of it."""
    rng, found, whole = random.Random(0), [], photos()
    for number in range(count):
        picture = whole[number % len(whole)]
        width, height = (rng.randint(length // 2, length) for length in picture.size)
        left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
        found.append(picture.crop((left, top, left + width, top + height)))
    return found


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.thread_time()
    call()
    return (time.thread_time() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15, help="calls of each (%(default)s)")
    times = parser.parse_args().times
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    print(f"{'processor':<10} {'backend':<12} {'images':<8} {'ours, ms':>9} {'theirs, ms':>10} {'ratio':>6}  equal")
    for name in NAMES:
        for backend, suffix in BACKENDS.items():
            theirs = getattr(transformers, name + suffix)()
            ours = lt.LearnedCompose.from_processor(theirs)
            for title, given in (("one", photos()[0]), ("32 mixed", mixed(32))):
                made, expected = ours(given)["pixel_values"], theirs(given, return_tensors="pt")["pixel_values"]
                turns = [
                    (milliseconds(lambda: ours(given)), milliseconds(lambda: theirs(given, return_tensors="pt")))  # noqa: B023
                    for _ in range(times)
                ]
                own, other = (statistics.median(column) for column in zip(*turns, strict=True))
                row = f"{name:<10} {backend:<12} {title:<8} {own:9.2f} {other:10.2f} {other / own:6.1f}"
                print(f"{row}  {made.equal(expected)}", flush=True)


if __name__ == "__main__":
    main()
