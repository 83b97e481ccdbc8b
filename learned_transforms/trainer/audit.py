"""The certificates of shipped weights: each layer and pipeline against its teacher, on each path that runs it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.images import to_tensor
from learned_transforms.kernels import cpu
from learned_transforms.layers import Layer, Params
from learned_transforms.network import Network
from learned_transforms.trainer.data import (
    HELD_OUT_PHOTOS,
    TRAINING_PHOTOS,
    as_kind,
    every_colour,
    held_out_images,
    noise,
    photo,
)
from learned_transforms.trainer.nearest import coded
from learned_transforms.trainer.teachers import (
    KINDS,
    NAMES,
    RESIZES,
    api_of,
    evaluation_pipeline,
    opaque,
    resize,
    seed_pipeline,
    to_float,
)
from learned_transforms.weights import Weights

SIZES = ((28, 28), (224, 224), (100, 133), (57, 640), (400, 31), (256,))
"""What resize layers are certified at."""

EVERY, LARGER, LARGEST = 64, 400, 800
"""Nearest neighbours are certified from every length up to the first to every other, and from so many longer ones."""

Comparison = tuple[Callable[[Any], Any], Callable[[Any], Any], Mapping[str, Sequence[Tensor]]]
"""A network, its teacher, and images by group."""


class Path(NamedTuple):
    """One way to run a network: a backend, and for the native one its set of instructions."""

    backend: str
    simd: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.simd}".strip()

    def taken(self) -> Any:
        """A context in which plans that are first run take this path."""
        return cpu.forced(self.simd) if self.simd else nullcontext()


def paths() -> list[Path]:
    """Every path that there is here, fastest first."""
    return [*(Path("cpu", simd) for simd in cpu.instructions()), Path("reference")]


def photos() -> list[Tensor]:
    """All bundled photos, whole."""
    return [photo(name) for name in (*TRAINING_PHOTOS, *HELD_OUT_PHOTOS)]


def seed_images(count: int) -> dict[str, Sequence[Tensor]]:
    """Held-out patches, synthetic patterns, whole photos, and other sizes."""
    groups: dict[str, Sequence[Tensor]] = {group: list(images) for group, images in held_out_images(count).items()}
    groups["whole photos"] = photos()
    groups["other sizes"] = other_sizes(count // 4)
    return groups


def other_sizes(count: int) -> list[Tensor]:
    """Noise of 8 to 96 rows and columns: with one or two, torchvision's own uint8 resize fails."""
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, *torch.randint(1, 97, (2,), generator=generator).tolist()) for _ in range(count)]
    return [noise(1, (3, max(8, h), max(8, w)), generator)[0] for _, h, w in shapes]


def evaluation_images(count: int) -> dict[str, Sequence[Tensor]]:
    """Whole photos, patches of the held-out ones, and synthetic patterns of 640 x 427 pixels."""
    size = (427, 640)
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()}
    for group, images in held_out_images(max(1, count // 40), size, seed=4).items():
        groups[group] = list(images)
    return groups


def layer_comparisons(name: str, role: str, count: int, path: Path, weights: Weights) -> Iterable[Comparison]:
    """A layer alone: resizes to several sizes, gray on all 2^24 colours (floats: random ones), table on all levels."""
    api = api_of(name)
    if role in RESIZES:
        compared = nearest_comparisons if role.startswith("nearest") else resize_comparisons
        yield from compared(name, role, count, path, weights.layers[f"{name}/{role}"])
    elif role == "gray" and name == "float32":
        colours = torch.rand(3, 4096, 4096, generator=torch.Generator().manual_seed(0))
        yield learned([api.Grayscale(1)], path, weights), api.Grayscale(1), {"random colours": [colours]}
    elif role == "gray":
        yield learned([api.Grayscale(1)], path, weights), api.Grayscale(1), {"all 2^24 colours": [every_colour()[0]]}
    else:
        levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        end = to_float(name)
        yield learned(end, path, weights), opaque(end), {"all 256 levels": [levels]}


def resize_comparisons(name: str, role: str, count: int, path: Path, layer: Layer) -> Iterable[Comparison]:
    """Whole photos, and ``count`` patches, patterns and images of other sizes together, to each of ``SIZES``."""
    each = max(1, count // 7)
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()}
    groups |= {group: list(images) for group, images in held_out_images(each, (61, 90), seed=3).items()}
    groups["other sizes"] = other_sizes(each)
    for size in SIZES:
        params = {"size": size, "antialias": RESIZES[role][1]}
        yield alone(layer, name, params, path), resize(name, role, size), groups


def nearest_comparisons(name: str, role: str, count: int, path: Path, layer: Layer) -> Iterable[Comparison]:
    """Coded images from every length to every other, rows from short to long and columns from long to short; then
    longer ones. Fewer of both where ``count`` is below 100.
    """
    few = max(1, 100 // max(1, count))
    lengths = range(1, EVERY + 1)
    every = [(n, EVERY + 1 - n, m, EVERY + 1 - m) for n in lengths for m in lengths][::few]
    generator = torch.Generator().manual_seed(5)
    longer = torch.randint(EVERY + 1, LARGEST, (LARGER // few, 4), generator=generator).tolist()
    for group, sizes in ((f"every length up to {EVERY}", every), ("longer", longer)):
        for height, width, rows, columns in sizes:
            size = rows, columns
            yield alone(layer, name, {"size": size}, path), resize(name, role, size), {group: [coded(height, width)]}


def alone(layer: Layer, name: str, params: Params, path: Path) -> LearnedCompose:
    """One layer of a teacher as a pipeline of its own."""
    kind = KINDS[name]
    network = Network([layer], [params], kind, "pil" if kind == "pil" else "tensor", floats=kind == "float32")
    return LearnedCompose([network], backend=path.backend, fallback="error")


def learned(transforms: Sequence[Any], path: Path, weights: Weights) -> LearnedCompose:
    return LearnedCompose(transforms, weights=weights, fallback="error", backend=path.backend)


def certify_layer(name: str, role: str, count: int, path: Path, weights: Weights) -> Certificate:
    """One layer of a teacher, such as ``uint8/gray``, on one path."""
    enumerated = role == "to_float" or (role == "gray" and name != "float32")
    with path.taken():
        return join(layer_comparisons(name, role, count, path, weights), KINDS[name], enumerated, str(path))


def certify_pipeline(
    transforms: Sequence[Any], groups: Mapping[str, Sequence[Tensor]], kind: str, path: Path, weights: Weights
) -> Certificate:
    """A whole pipeline on one path."""
    with path.taken():
        comparisons = [(learned(transforms, path, weights), opaque(transforms), groups)]
        return join(comparisons, kind, backend=str(path))


def audit(
    weights: Weights, count: int, pipelines: bool = True, known: Mapping[str, Certificate] = MappingProxyType({})
) -> Iterator[tuple[str, Certificate]]:
    """Every certificate, by name: ``kind/role`` for layers and ``kind/pipeline`` on the fastest path; others behind it.

    Args:
        weights: the layers.
        count: held-out images of each group for pipelines. Layers take a twentieth, and slower paths a tenth of that.
        pipelines: those of the seed and of ImageNet's evaluation too.
        known: certificates of layers that need not be measured again.
    """
    images, large = (seed_images(count), evaluation_images(count)) if pipelines else ({}, {})
    for number, path in enumerate(paths()):
        suffix = "" if number == 0 else f" ({path})"
        for key in weights.layers:
            name, _, role = key.partition("/")
            found = known.get(key + suffix)
            if found is None:
                found = certify_layer(name, role, count // (20 if number == 0 else 200), path, weights)
            yield key + suffix, found
        if not pipelines:
            continue
        for name, kind in NAMES.items():
            yield f"{name}/pipeline{suffix}", certify_pipeline(seed_pipeline(name), images, kind, path, weights)
        for name in ("uint8", "pil", "pil_v2"):
            found = certify_pipeline(evaluation_pipeline(name), large, NAMES[name], path, weights)
            yield f"{name}/imagenet_eval{suffix}", found


def compare(
    network: Callable[[Any], Any], teacher: Callable[[Any], Any], groups: Mapping[str, Sequence[Tensor]], kind: str
) -> Certificate:
    """One network against its teacher."""
    return join([(network, teacher, groups)], kind)


def join(comparisons: Iterable[Comparison], kind: str, enumerated: bool = False, backend: str = "auto") -> Certificate:
    """One certificate over several networks, each with its teacher and its images."""

    def outputs() -> Iterator[tuple[str, Tensor, Tensor]]:
        for network, teacher, groups in comparisons:
            for group, images in groups.items():
                for image in images:
                    yield group, to_tensor(network(as_kind(image, kind))), to_tensor(teacher(as_kind(image, kind)))

    return measure(outputs(), kind, enumerated, backend)
