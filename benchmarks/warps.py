"""How much faster warps are than torchvision's, on 224 x 224 pixels and one thread: each in turn, medians of ratios.

OMP_NUM_THREADS=1 python benchmarks/warps.py [ROUNDS [NAME]]
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, photo

SIDE = 224
WARPS: dict[str, Callable[[Any, InterpolationMode], Any]] = {
    "rotate 30": lambda api, mode: api.RandomRotation((30, 30), mode),
    "affine": lambda api, mode: api.RandomAffine(30, (0.1, 0.1), (0.8, 1.2), 10, mode),
    "perspective": lambda api, mode: api.RandomPerspective(0.5, 1.0, mode),
    "elastic": lambda api, mode: api.ElasticTransform(interpolation=mode),
    "resize 224, rotate 30": lambda api, mode: api.Compose(
        [api.Resize((224, 224)), api.RandomRotation((30, 30), mode)]
    ),
}


def cases() -> Iterator[tuple[str, Any, Any]]:
    """A name, torchvision's transform, and an image."""
    levels = photo(HELD_OUT_PHOTOS[0])
    for name, make in WARPS.items():
        tensor = levels if name.startswith("resize") else levels[:, :SIDE, :SIDE].contiguous()
        images = {"uint8": tensor, "pil": Image.fromarray(tensor.permute(1, 2, 0).numpy())}
        for mode in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
            for kind, image in images.items():
                for api in (v2, v1):
                    if mode != InterpolationMode.BICUBIC or (kind == "pil" and name != "elastic"):
                        version = "v2" if api is v2 else "v1"
                        yield f"{name}, {mode.value}, {kind}, {version}", make(api, mode), image


def microseconds(transform: Any, image: Any) -> float:
    """Return the time of this thread alone, whatever else runs."""
    start = time.thread_time_ns()
    transform(image)
    return (time.thread_time_ns() - start) / 1e3


def main(rounds: int, only: str = "") -> None:
    """Print microseconds of torchvision and of ours, and the ratio."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, theirs, image in cases():
        if only not in name:
            continue
        both = theirs, lt.LearnedCompose(theirs)
        for one in both * 2:
            one(image)
        took = [[microseconds(one, image) for one in both] for _ in range(rounds)]
        ratio = median(a / b for a, b in took)
        print(
            f"{name:<48} {median(a for a, _ in took):8.0f} {median(b for _, b in took):8.0f} {ratio:6.1f}", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 101, *sys.argv[2:3])
