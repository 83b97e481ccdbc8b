"""The certificates of shipped weights: each layer and pipeline against its teacher, on each path that runs it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.images import to_tensor
from learned_transforms.kernels import BACKENDS, cpu
from learned_transforms.layers import Layer, Params
from learned_transforms.network import Network
from learned_transforms.plan import Plan
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
    COLOURS,
    KINDS,
    NAMES,
    RESIZES,
    api_of,
    colour,
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

FACTORS = tuple({"factor": factor} for factor in (0.0, 0.17, 0.5, 0.83, 1.0, 1.21, 1.6, 2.5))
TURNS = tuple({"factor": factor} for factor in (-0.5, -0.31, -0.1, 0.0, 0.013, 0.07, 0.25, 0.4))
BLURS = ((0.1, (3, 3)), (0.45, (5, 3)), (1.0, (5, 5)), (1.7, (9, 11)), (2.0, (15, 15)), (5.0, (3, 13)))
PARAMS: Mapping[str, Sequence[Params]] = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "sharpness"), FACTORS),
    "hue": TURNS,
    **dict.fromkeys(("autocontrast", "equalize"), ({},)),
    "gaussian_blur": tuple({"sigma": sigma, "size": size} for sigma, size in BLURS),
}
"""What layers of colour are certified with."""

COLOURED = {"saturation": (0.0, 1.5), "hue": (-0.2, 0.1)}
"""Factors with which they are certified on all colours."""

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
    elif role in COLOURS:
        yield from colour_comparisons(name, role, count, path, weights.layers[f"{name}/{role}"])
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


def colour_comparisons(name: str, role: str, count: int, path: Path, layer: Layer) -> Iterable[Comparison]:
    """Whole photos, and patches, patterns and images of other sizes, with every factor, or sigma and size; where each
    pixel is on its own, all 2^24 colours too (fewer where ``count`` is below 100), with ``COLOURED``.
    """
    each, few = max(1, count // 7), max(1, 100 // max(1, count))
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()[::few]}
    every = "all 2^24 colours" if few == 1 else "colours"
    groups |= {group: list(images) for group, images in held_out_images(each, (61, 90), seed=3).items()}
    groups["other sizes"] = other_sizes(each)
    colours = list(every_colour()[0].view(3, 256, 16, 4096)[:, ::few].transpose(0, 1)) if role in COLOURED else []
    sorts: list[tuple[Params, Mapping[str, Sequence[Tensor]]]] = [(params, groups) for params in PARAMS[role]]
    sorts += [({"factor": factor}, {every: colours}) for factor in COLOURED.get(role, ())]
    for params, images in sorts:
        yield alone(layer, name, params, path), partial(answer, colour(name, role), params), images


def answer(teacher: Callable[..., Any], params: Params, image: Any) -> Any:
    """What a teacher of colour makes of an image with these params, in the order in which it takes them."""
    return teacher(image, *params.values())


def able(layer: Layer, role: str) -> list[Path]:
    """The paths that run a layer of this role, fastest first."""
    if role not in COLOURS:
        return paths()
    plan = Plan(3, (16, 16), tuple(layer.stages((3, 16, 16), PARAMS[role][0])), (3, 16, 16))
    return [p for p in paths() if BACKENDS[p.backend].why_not(plan, torch.device("cpu"), False) is None]


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
        known: certificates of layers that need not be measured again, where the path is the same.
    """
    images, large = (seed_images(count), evaluation_images(count)) if pipelines else ({}, {})
    run_by = {key: able(layer, key.partition("/")[2]) for key, layer in weights.layers.items()}
    for number, path in enumerate(paths()):
        for key, runs in run_by.items():
            if path not in runs:
                continue
            name, _, role = key.partition("/")
            first = path == runs[0]
            title = key if first else f"{key} ({path})"
            found = known.get(title)
            if found is None or found.reference["backend"] != str(path):
                found = certify_layer(name, role, count // (20 if first else 200), path, weights)
            yield title, found
        if not pipelines:
            continue
        suffix = "" if number == 0 else f" ({path})"
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
