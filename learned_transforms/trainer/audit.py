"""The certificates of shipped weights: each layer and pipeline against its teacher, on each path that runs it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.images import to_tensor
from learned_transforms.kernels import cpu
from learned_transforms.trainer.data import (
    HELD_OUT_PHOTOS,
    TRAINING_PHOTOS,
    as_kind,
    every_colour,
    held_out_images,
    noise,
    photo,
    synthetic,
)
from learned_transforms.trainer.teachers import (
    KINDS,
    NAMES,
    api_of,
    evaluation_pipeline,
    opaque,
    seed_pipeline,
    to_float,
)
from learned_transforms.weights import Weights

SIZES = ((28, 28), (224, 224), (100, 133), (57, 640), (400, 31), (256,))
"""What the resize layers are certified at, besides the size that they learned from."""

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
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, *torch.randint(1, 97, (2,), generator=generator).tolist()) for _ in range(count // 4)]
    # Sizes of one or two rows make torchvision's own uint8 resize fail, so they are left out.
    groups["other sizes"] = [noise(1, (3, max(8, h), max(8, w)), generator)[0] for _, h, w in shapes]
    return groups


def evaluation_images(count: int) -> dict[str, Sequence[Tensor]]:
    """Whole photos, patches of the held-out ones, and synthetic patterns of 640 x 427 pixels."""
    size = (427, 640)
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()}
    for group, images in held_out_images(max(1, count // 40), size, seed=4).items():
        groups[group] = list(images)
    return groups


def layer_comparisons(name: str, role: str, count: int, path: Path, weights: Weights) -> Iterable[Comparison]:
    """A layer alone: resize to several sizes, gray on all 2^24 colours (floats: random ones), table on all levels."""
    api = api_of(name)
    if role == "resize_bilinear":
        images = [*photos(), *synthetic(count, (3, 61, 90), seed=3)]
        for size in SIZES:
            transform = api.Resize(size, antialias=True)
            yield learned([transform], path, weights), transform, {f"to {size}": images}
    elif role == "gray" and name == "float32":
        colours = torch.rand(3, 4096, 4096, generator=torch.Generator().manual_seed(0))
        yield learned([api.Grayscale(1)], path, weights), api.Grayscale(1), {"random colours": [colours]}
    elif role == "gray":
        yield learned([api.Grayscale(1)], path, weights), api.Grayscale(1), {"all 2^24 colours": [every_colour()[0]]}
    else:
        levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        end = to_float(name)
        yield learned(end, path, weights), opaque(end), {"all 256 levels": [levels]}


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


def audit(weights: Weights, count: int) -> Iterator[tuple[str, Certificate]]:
    """Every certificate, by name: ``kind/role`` for layers and ``kind/pipeline`` on the fastest path; others behind it.

    Args:
        weights: the layers.
        count: held-out images of each group for pipelines. Layers take a quarter, and slower paths a tenth of that.
    """
    images, large = seed_images(count), evaluation_images(count)
    for number, path in enumerate(paths()):
        suffix = "" if number == 0 else f" ({path})"
        for key in weights.layers:
            name, _, role = key.partition("/")
            yield key + suffix, certify_layer(name, role, count // (4 if number == 0 else 40), path, weights)
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
