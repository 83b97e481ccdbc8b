"""torchvision's detection and segmentation presets on samples of images, boxes, labels and masks: ours against theirs.

Run ``python benchmarks/samples.py [--only ssd] [--times 20]``. Every line says whether the two are equal: pixels,
numbers, types and random state.
"""

import argparse
import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.images.formats import from_tensor
from learned_transforms.trainer.data.bundled import photo

SIZES = ((480, 640), (427, 640), (640, 480), (375, 500), (500, 375), (333, 500), (640, 427), (612, 612), (360, 640),
         (426, 640))  # fmt: skip
"""Height and width of the photos: those of COCO."""

OBJECTS = (7, 3, 12, 1, 5, 9, 2, 6, 4, 15)
"""How many boxes and masks lie on each photo."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILL = (123.0, 117.0, 104.0)

Sample = tuple[Any, Any]


class PadIfSmaller(v2.Transform):
    """Padding at the right and at the bottom, as torchvision's segmentation reference has it."""

    def __init__(self, size: int, fill: Any) -> None:
        super().__init__()
        self.size, self.fill = size, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        return {"padding": [0, 0, max(self.size - width, 0), max(self.size - height, 0)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not any(params["padding"]):
            return inpt
        fill = self.fill.get(type(inpt), self.fill["others"])
        return v2.functional.pad(inpt, padding=params["padding"], fill=fill)


def detection(backend: str, *augmentation: Any) -> list[Any]:
    """The preset of torchvision's detection reference around its augmentation; ``backend``: ``"pil"`` or another."""
    first, last = ([], [v2.ToImage()]) if backend == "pil" else ([v2.ToImage()], [])
    return [
        *first,
        *augmentation,
        *last,
        v2.ToDtype(torch.float, scale=True),
        v2.ConvertBoundingBoxFormat(tv_tensors.BoundingBoxFormat.XYXY),
        v2.SanitizeBoundingBoxes(),
        v2.ToPureTensor(),
    ]


def multiscale(backend: str) -> list[Any]:
    sizes = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    return detection(backend, v2.RandomShortestSize(min_size=sizes, max_size=1333), v2.RandomHorizontalFlip(0.5))


def ssd(backend: str) -> list[Any]:
    fill = defaultdict(lambda: FILL, {tv_tensors.Mask: 0})
    distort, zoom = v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=fill)
    return detection(backend, distort, zoom, v2.RandomIoUCrop(), v2.RandomHorizontalFlip(0.5))


def lsj(backend: str) -> list[Any]:
    """With RandomCrop in place of the reference's FixedSizeCrop, which knows nothing of boxes that are tv_tensors."""
    fill = {tv_tensors.Mask: 0, "others": [int(value) for value in FILL]}
    crop = v2.RandomCrop((1024, 1024), pad_if_needed=True, fill=fill)
    return detection(backend, v2.ScaleJitter((1024, 1024), antialias=True), crop, v2.RandomHorizontalFlip(0.5))


def segmentation(backend: str) -> list[Any]:
    first, last = ([], [v2.PILToTensor()]) if backend == "pil" else ([v2.ToImage()], [])
    kind = torch.Tensor if backend == "pil" else tv_tensors.Image
    return [
        *first,
        v2.RandomResize(min_size=260, max_size=1040),
        v2.RandomHorizontalFlip(0.5),
        PadIfSmaller(480, fill={tv_tensors.Mask: 255, "others": 0}),
        v2.RandomCrop(480),
        *last,
        v2.ToDtype({kind: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
        v2.Normalize(mean=MEAN, std=STD),
        v2.ToPureTensor(),
    ]


def with_objects(image: Any, size: tuple[int, int], count: int) -> Sample:
    """A photo with boxes, labels, and a mask of each box."""
    boxes = torch.rand(count, 4) * torch.tensor([*reversed(size)] * 2) * 0.7
    boxes[:, 2:] = boxes[:, :2] + 8 + boxes[:, 2:] * 0.3
    masks = torch.zeros(count, *size, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    return image, {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "labels": torch.randint(1, 91, (count,)),
        "masks": tv_tensors.Mask(masks),
    }


def with_classes(image: Any, size: tuple[int, int], count: int) -> Sample:
    """A photo with the class of each pixel."""
    return image, tv_tensors.Mask(torch.randint(0, 21, (1, *size), dtype=torch.uint8))


PRESETS: dict[str, tuple[Callable[[str], list[Any]], Callable[..., Sample], float]] = {
    "hflip": (lambda backend: detection(backend, v2.RandomHorizontalFlip(0.5)), with_objects, 1.5),
    "multiscale": (multiscale, with_objects, 2.0),
    "ssd": (ssd, with_objects, 3.0),
    "lsj": (lsj, with_objects, 2.0),
    "segmentation": (segmentation, with_classes, 2.0),
}
"""By name: the transforms for a backend, what goes with an image, and how many times as fast ours is meant to be."""

INPUTS = ("pil", "uint8")


def photos() -> list[Tensor]:
    """uint8 ``[3, H, W]`` of each of the sizes."""
    whole = photo("rocket")
    tall = torch.cat([whole, whole.flip(1)], 1)
    return [torch.cat([tall, tall.flip(2)], 2)[:, : size[0], : size[1]].contiguous() for size in SIZES]


def samples(kind: str, around: Callable[..., Sample]) -> list[Sample]:
    torch.manual_seed(0)
    images = (from_tensor(one, "pil" if kind == "pil" else "image") for one in photos())
    return [around(*one) for one in zip(images, SIZES, OBJECTS, strict=True)]


def equal(found: Any, expected: Any) -> bool:
    """Whether two results are alike, to the last value and type."""
    pairs = list(zip(tree_leaves(found), tree_leaves(expected), strict=True))
    return all(type(one) is type(other) for one, other in pairs) and all(
        one.dtype == other.dtype and vars(one) == vars(other) and torch.equal(one, other)
        if isinstance(other, Tensor)
        else one.tobytes() == other.tobytes()
        if isinstance(other, Image.Image)
        else one == other
        for one, other in pairs
    )


def differing(ours: Any, theirs: Any, given: list[Sample], seeds: range) -> Iterator[str]:
    """Where the two differ."""
    for seed in seeds:
        for number, sample in enumerate(given):
            torch.manual_seed(seed)
            expected, state = theirs(*copy.deepcopy(sample)), torch.get_rng_state()
            torch.manual_seed(seed)
            found = ours(*copy.deepcopy(sample))
            if not (equal(found, expected) and torch.equal(state, torch.get_rng_state())):
                yield f"seed {seed}, photo {number}"


def timed(ours: Any, theirs: Any, given: list[Sample], times: int) -> tuple[float, float]:
    """Milliseconds of a sample, the median over all: the two take turns, and each photo comes with draws of its own.

    They run in one thread, whose own time is taken: other processes have no part in it.
    """
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(-2, times):
        for number, sample in enumerate(given):
            for run, into in zip((ours, theirs), spent, strict=True):
                torch.manual_seed(1000 + turn * len(given) + number)
                start = time.thread_time()
                run(*sample)
                if turn >= 0:
                    into.append(1000 * (time.thread_time() - start))
    return statistics.median(spent[0]), statistics.median(spent[1])


def main() -> int:
    """Print a line for each preset and kind of input; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="presets whose name holds this")
    parser.add_argument("--inputs", default=INPUTS, nargs="+", choices=INPUTS)
    parser.add_argument("--times", type=int, default=20, help="calls for each photo")
    parser.add_argument("--seeds", type=int, default=5, help="draws for each photo under which results are compared")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0
    print("preset        input  ours, ms  torchvision, ms  ratio  meant  differing")
    for name, (build, around, meant) in PRESETS.items():
        for kind in arguments.inputs if arguments.only in name else ():
            given = samples(kind, around)
            ours = lt.LearnedCompose(build(kind), fallback="torchvision")
            theirs = v2.Compose(build(kind))
            differ = list(differing(ours, theirs, given, range(arguments.seeds)))
            spent = timed(ours, theirs, given, arguments.times) if arguments.times else (1.0, 1.0)
            ratio = f"{spent[1] / spent[0]:5.2f}  {meant:5.1f}"
            print(f"{name:<13} {kind:<5} {spent[0]:9.2f}  {spent[1]:15.2f}  {ratio}  {len(differ)}", flush=True)
            for text in differ[:3]:
                print(f"    {text}")
            wrong += len(differ)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
