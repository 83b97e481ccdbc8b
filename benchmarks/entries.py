"""How images enter: PIL, levels, floats and arrays, through pipelines as torchvision documents and publishes them.

Run ``python benchmarks/entries.py [-k NAME] [--rounds N]``: one thread, photos of ten sizes, ours and torchvision's own
object call by call in turn. Every row is compared under equal seeds too: values, type and random state.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from contenders import pixels_of
from jobs import FORMS as LAYOUTS
from jobs import mirrored
from pipelines import MEAN, STD
from torch import Tensor
from torchvision.models import ResNet50_Weights, Swin_T_Weights, ViT_B_16_Weights
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.certificate import FLOAT_TOLERANCE
from learned_transforms.images.formats import to_tensor
from learned_transforms.trainer.data.bundled import PHOTOS, photo

SIZES = (
    *((224, 224), (256, 341), (300, 451), (375, 500), (500, 333)),
    *((400, 600), (427, 640), (640, 480), (512, 512), (720, 1280)),
)
"""Height and width of the photos."""

SMALL = (32, 32)
"""Of what goes into the seed pipeline."""

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "PIL": lambda image: LAYOUTS["pil"](image[None]),
    "uint8 CHW": lambda image: image,
    "uint8 HWC": lambda image: LAYOUTS["hwc"](image[None]),
    "array HWC": pixels_of,
    "float32 CHW": lambda image: image / 255,
}
"""By form of input: how it is made of a contiguous uint8 image ``[C, H, W]``. ``uint8 HWC`` is what ``decode_image``
gives: a tensor ``[C, H, W]`` over interleaved memory."""


def floats(module: Any = v2) -> list[Any]:
    """The end of nearly every pipeline."""
    last = [v1.ConvertImageDtype(torch.float32)] if module is v1 else [v2.ToDtype(torch.float32, scale=True)]
    return [*last, module.Normalize(MEAN, STD)]


def evaluation(module: Any = v2) -> list[Any]:
    return [module.Resize(256, antialias=True), module.CenterCrop(224)]


def training(module: Any = v2) -> list[Any]:
    return [module.RandomResizedCrop(224, antialias=True), module.RandomHorizontalFlip(0.5)]


def seed() -> list[Any]:
    flips = v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()
    return [v2.Resize((28, 28)), *flips, v2.Grayscale(1), v2.ToDtype(torch.float32, scale=True)]


class Row(NamedTuple):
    """Something to time.

    Attributes:
        name: of the pipeline.
        make: what torchvision runs: a Compose, or a published preset.
        forms: keys of FORMS.
        bar: how many times as fast as torchvision it should be, by form.
        sizes: of the images.
    """

    name: str
    make: Callable[[], Any]
    forms: tuple[str, ...]
    bar: Mapping[str, float] = MappingProxyType({})
    sizes: Sequence[tuple[int, int]] = SIZES


TENSORS = ("uint8 CHW", "uint8 HWC")
PRESET = {"PIL": 15.0, **dict.fromkeys(TENSORS, 8.0)}
FLOATS = {"float32 CHW": 4.0}
ROWS = (
    Row(
        "documented recipe",
        lambda: v2.Compose([v2.ToImage(), v2.ToDtype(torch.uint8, scale=True), *training(), *floats()]),
        ("PIL", *TENSORS),
        {"PIL": 7.0},
    ),
    Row("ResNet-50 preset", ResNet50_Weights.IMAGENET1K_V2.transforms, ("PIL", *TENSORS), PRESET),
    Row("ViT-B/16 preset", ViT_B_16_Weights.IMAGENET1K_V1.transforms, ("PIL", *TENSORS), PRESET),
    Row("Swin-T preset", Swin_T_Weights.IMAGENET1K_V1.transforms, ("PIL", *TENSORS), PRESET),
    Row("eval", lambda: v2.Compose([*evaluation(), *floats()]), ("float32 CHW", *TENSORS), FLOATS),
    Row("train", lambda: v2.Compose([*training(), *floats()]), ("float32 CHW", *TENSORS), FLOATS),
    Row("eval, v1", lambda: v1.Compose([*evaluation(v1), *floats(v1)]), ("float32 CHW", *TENSORS), FLOATS),
    Row("train, v1", lambda: v1.Compose([*training(v1), *floats(v1)]), ("float32 CHW", *TENSORS), FLOATS),
    Row(
        "eval, floats first",
        lambda: v2.Compose(
            [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), *evaluation(), v2.Normalize(MEAN, STD)]
        ),
        ("PIL", *TENSORS),
    ),
    Row(
        "train, ToTensor first",
        lambda: v1.Compose([v1.ToTensor(), *training(v1), v1.Normalize(MEAN, STD)]),
        ("PIL",),
    ),
    Row("seed", lambda: v2.Compose(seed()), TENSORS, sizes=[SMALL]),
)
ARRAYS = {"seed": (seed, [SMALL]), "eval": (lambda: [*evaluation(), *floats()], SIZES)}
"""Pipelines that take arrays, for which torchvision has no answer: timed against tensors of the same memory."""

SLOWER = 1.2
"""How many times as long as tensors arrays may take."""


def photos(sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Photos in turn, one for each size; those that are too small go on in mirror images."""
    names = sorted(path.stem for path in PHOTOS.glob("*.jpg"))
    return [mirrored(photo(names[i % len(names)]), size).contiguous() for i, size in enumerate(sizes)]


class Difference(NamedTuple):
    """How far an answer is from torchvision's.

    Attributes:
        equal: share of values that are equal; floats within 1e-6 of full range.
        identical: all bits are.
        largest: difference in levels.
    """

    equal: float
    identical: bool
    largest: float


def compare(found: Any, wanted: Any) -> Difference:
    """The difference of two results, which must be alike in all but values.

    Raises:
        ValueError: they differ in type, shape or dtype.
    """
    about = [(type(x), tuple(x.shape), x.dtype) for x in (found, wanted)]
    if about[0] != about[1]:
        raise ValueError(f"Expected {about[1]} as torchvision gives, got {about[0]}.")
    unit = torch.tensor(STD, dtype=torch.float64)[:, None, None] if found.shape[0] == 3 else 1
    error = (found.double() - wanted.double()).abs() * unit * 255
    return Difference(
        float((error <= FLOAT_TOLERANCE * 255).double().mean()), torch.equal(found, wanted), float(error.max())
    )


def of(second: Callable[[Any], Any], first: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One function, then another."""
    return lambda image: second(first(image))


def outcome(run: Callable[[Any], Any], image: Any, seed: int) -> tuple[Any, Tensor]:
    """What it makes of an image under a seed, and the random state that it leaves."""
    torch.manual_seed(seed)
    return run(image), torch.get_rng_state()


def fidelity(ours: Callable[[Any], Any], original: Callable[[Any], Any], images: Sequence[Any]) -> str:
    """In words how equal results are, over images and seeds.

    Raises:
        ValueError: results of another type, or another random state.
    """
    found = []
    for number, image in enumerate(images * 3):
        (mine, state), (theirs, target) = outcome(ours, image, number), outcome(original, image, number)
        if not torch.equal(state, target):
            raise ValueError(f"Expected the random state that torchvision leaves, for image {number}.")
        found.append(compare(mine, theirs))
    if all(one.identical for one in found):
        return "identical"
    equal, largest = min(one.equal for one in found), max(one.largest for one in found)
    return "exact" if equal == 1 else f"{equal:.4%} equal, largest {largest:.2g}"


def timed(runs: Sequence[Callable[[Any], Any]], images: Sequence[Sequence[Any]], rounds: int) -> list[float]:
    """Microseconds an image: medians over calls that take turns, added up over the images, by run.

    Args:
        images: for each run, its own form of the same images.
    """
    total = [0.0] * len(runs)
    for given in zip(*images, strict=True):
        spent: list[list[float]] = [[] for _ in runs]
        for turn in range(rounds + 1):
            for run, image, into in zip(runs, given, spent, strict=True):
                torch.manual_seed(turn)
                start = time.thread_time()
                run(image)
                into.append(time.thread_time() - start)
        for position, times in enumerate(spent):
            total[position] += statistics.median(times[1:]) * 1e6 / len(images[0])
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time how images enter pipelines, against torchvision.")
    parser.add_argument("-k", default="", help="only rows whose name and form contain this")
    parser.add_argument("--rounds", type=int, default=15, help="calls for each image, of which the median counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| pipeline | form | torchvision, us | ours, us | ratio | bar | fidelity |\n" + "| --- " * 7 + "|")
    for row in ROWS:
        for form in (one for one in row.forms if options.k in f"{row.name}, {one}"):
            images = [FORMS[form](image) for image in photos(row.sizes)]
            original, ours = row.make(), lt.LearnedCompose(row.make(), fallback="error")
            equal = fidelity(ours, original, images)
            theirs, mine = timed([original, ours], [images, images], options.rounds)
            bar = f"{row.bar[form]:g}x" if form in row.bar else ""
            print(
                f"| {row.name} | {form} | {theirs:,.0f} | {mine:,.0f} | {theirs / mine:.2f} | {bar} | {equal} |",
                flush=True,
            )
    print(
        "\n| arrays | tensors | tensors, us | arrays, us | arrays / tensors | bar | fidelity |\n" + "| --- " * 7 + "|"
    )
    for name, (make, sizes) in ARRAYS.items():
        for form in (one for one in TENSORS if options.k in f"{name}, array, {one}"):
            tensors, arrays = ([FORMS[one](image) for image in photos(sizes)] for one in (form, "array HWC"))
            ours = lt.LearnedCompose(make(), fallback="error")
            # torchvision leaves arrays as they are: what is right is what becomes of the same values as a tensor.
            original = v2.Compose(make())
            equal = fidelity(of(to_tensor, ours), of(original, to_tensor), arrays)
            base, mine = timed([ours, ours], [tensors, arrays], options.rounds)
            print(
                f"| {name} | {form} | {base:,.1f} | {mine:,.1f} | {mine / base:.2f} | {SLOWER} | {equal} |", flush=True
            )


if __name__ == "__main__":
    main()
