"""The certificates of shipped weights: each layer and pipeline against its teacher, on each path that runs it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.artifacts.weights import Weights
from learned_transforms.certificate import Certificate, Tally
from learned_transforms.choices import BackendName
from learned_transforms.compose import LearnedCompose
from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import BACKENDS, cpu
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.network import Network
from learned_transforms.trainer.data.bundled import (
    HELD_OUT_PHOTOS,
    TRAINING_PHOTOS,
    every_color,
    held_out_images,
    noise,
    photo,
)
from learned_transforms.trainer.data.sources import as_kind
from learned_transforms.trainer.zoo.nearest import coded
from learned_transforms.trainer.zoo.parallel import all_threads
from learned_transforms.trainer.zoo.teachers import (
    COLORS,
    RESIZES,
    TEACHER_KINDS,
    TEACHER_NAMES,
    WARP_ROLES,
    Move,
    api_of,
    color,
    evaluation_pipeline,
    opaque,
    resize,
    seed_pipeline,
    to_float,
    warp_teacher,
)

SIZES = ((28, 28), (224, 224), (100, 133), (57, 640), (400, 31), (256,))
"""What resize layers are certified at."""

EVERY, LARGER, LARGEST = 64, 400, 800
"""Nearest neighbors are certified from every length up to the first to every other, and from so many longer ones."""

FACTORS = tuple({"factor": factor} for factor in (0.0, 0.17, 0.5, 0.83, 1.0, 1.21, 1.6, 2.5))
TURNS = tuple({"factor": factor} for factor in (-0.5, -0.31, -0.1, 0.0, 0.013, 0.07, 0.25, 0.4))
BLURS = ((0.1, (3, 3)), (0.45, (5, 3)), (1.0, (5, 5)), (1.7, (9, 11)), (2.0, (15, 15)), (5.0, (3, 13)))
PARAMS: Mapping[str, Sequence[Params]] = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "sharpness"), FACTORS),
    "hue": TURNS,
    **dict.fromkeys(("autocontrast", "equalize"), ({},)),
    "gaussian_blur": tuple({"sigma": sigma, "size": size} for sigma, size in BLURS),
}
"""What layers of color are certified with."""

MOVED = (
    (Move(30.0, 1.0, (0.0, 0.0), (45.0, 30.5)), (0,)),
    (Move(-77.5, 0.8125, (10.0, 0.0), (20.0, 41.0)), (114,)),
    (Move(171.0, 1.6875, (-15.0, 25.0), (33.25, 9.0)), (12, 34, 56)),
    (Move(0.0, 0.4375, (0.0, 0.0), (50.0, 20.0)), (255,)),
    (Move(1.5, 3.125, (0.0, -30.0), (10.0, 60.0)), (0,)),
)
"""Affine maps that warps are certified with, and what fills the outside."""

COLORED = {"saturation": (0.0, 1.5), "hue": (-0.2, 0.1)}
"""Factors with which they are certified on all colors."""

EVERY_COLOR = "all 2^24 colors"
EVERY_LENGTH = f"every length up to {EVERY}"
SOME = {EVERY_COLOR: "colors", EVERY_LENGTH: f"lengths up to {EVERY}"}
"""Groups that hold them all, and what they are called where they do not."""

STRIDE = 10
"""Paths behind the first are compared on every so many-th image of a layer's groups."""

Runner = Callable[[Any], Any]
"""A network or a teacher."""


class Path(NamedTuple):
    """One way to run a network: a backend, and for the native one its set of instructions."""

    backend: BackendName
    simd: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.simd}".strip()

    def taken(self) -> Any:
        """Return a context in which plans that are first run take this path."""
        return cpu.forced(self.simd) if self.simd else nullcontext()


Comparison = tuple[Mapping[Path, Runner], Runner, Mapping[str, Sequence[Tensor]]]
"""A network on each path, its teacher, and images by group."""


class Audit(NamedTuple):
    """Certificates that are measured together: they share a teacher and its answers.

    Attributes:
        name: ``kind/role`` of a layer, or ``kind/pipeline``.
        certify: measures them; a certificate for each path that runs the layer, fastest first.
    """

    name: str
    certify: Callable[[], Mapping[Path, Certificate]]


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


def layer_comparisons(name: str, role: str, count: int, runs: Sequence[Path], weights: Weights) -> Iterable[Comparison]:
    """Yield a layer alone: resizes to several sizes, gray on all 2^24 colors (floats: random ones), table on all
    levels."""
    api = api_of(name)
    if role in WARP_ROLES:
        yield from warp_comparisons(name, role, count, runs, weights)
    elif role in RESIZES or role in COLORS:
        compared = color_comparisons if role in COLORS else resize_comparisons
        if role.startswith("nearest"):
            compared = nearest_comparisons
        yield from compared(name, role, count, runs, weights.layers[f"{name}/{role}"])
    elif role == "gray":
        images = {EVERY_COLOR: [every_color()[0]]}
        if name == "float32":
            images = {"random colors": [torch.rand(3, 4096, 4096, generator=torch.Generator().manual_seed(0))]}
        yield learned([api.Grayscale(1)], runs, weights), api.Grayscale(1), images
    else:
        levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        end = to_float(name)
        yield learned(end, runs, weights), opaque(end), {"all 256 levels": [levels]}


def resize_comparisons(name: str, role: str, count: int, runs: Sequence[Path], layer: Layer) -> Iterable[Comparison]:
    """Whole photos, and ``count`` patches, patterns and images of other sizes together, to each of ``SIZES``."""
    each = max(1, count // 7)
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()}
    groups |= {group: list(images) for group, images in held_out_images(each, (61, 90), seed=3).items()}
    groups["other sizes"] = other_sizes(each)
    for size in SIZES:
        params = {"size": size, "antialias": RESIZES[role][1]}
        yield each_alone(layer, name, params, runs), resize(name, role, size), groups


def nearest_comparisons(name: str, role: str, count: int, runs: Sequence[Path], layer: Layer) -> Iterable[Comparison]:
    """Coded images from every length to every other, rows from short to long and columns from long to short; then
    longer ones. Fewer of both where ``count`` is below 100.
    """
    few = max(1, 100 // max(1, count))
    lengths = range(1, EVERY + 1)
    short = [coded(n, EVERY + 1 - n) for n in lengths]
    generator = torch.Generator().manual_seed(5)
    longer = torch.randint(EVERY + 1, LARGEST, (LARGER // few, 4), generator=generator).tolist()
    made = [((m, EVERY + 1 - m), {EVERY_LENGTH: short}) for m in lengths[::few]]
    made += [((rows, columns), {"longer": [coded(height, width)]}) for height, width, rows, columns in longer]
    for size, groups in made:
        yield each_alone(layer, name, {"size": size}, runs), resize(name, role, size), groups


def color_comparisons(name: str, role: str, count: int, runs: Sequence[Path], layer: Layer) -> Iterable[Comparison]:
    """Whole photos, and patches, patterns and images of other sizes, with every factor, or sigma and size; where each
    pixel is on its own, all 2^24 colors too (fewer where ``count`` is below 100), with ``COLORED``.
    """
    each, few = max(1, count // 7), max(1, 100 // max(1, count))
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()[::few]}
    every = EVERY_COLOR if few == 1 else SOME[EVERY_COLOR]
    groups |= {group: list(images) for group, images in held_out_images(each, (61, 90), seed=3).items()}
    groups["other sizes"] = other_sizes(each)
    colors = list(every_color()[0].view(3, 256, 16, 4096)[:, ::few].transpose(0, 1)) if role in COLORED else []
    sorts: list[tuple[Params, Mapping[str, Sequence[Tensor]]]] = [(params, groups) for params in PARAMS[role]]
    sorts += [({"factor": factor}, {every: colors}) for factor in COLORED.get(role, ())]
    for params, images in sorts:
        yield each_alone(layer, name, params, runs), partial(answer, color(name, role), params), images


def warp_comparisons(name: str, role: str, count: int, runs: Sequence[Path], weights: Weights) -> Iterable[Comparison]:
    """Whole photos, and patches, patterns and images of other sizes, under every one of ``MOVED``."""
    each = max(1, count // 7)
    groups: dict[str, Sequence[Tensor]] = {"whole photos": photos()[:: max(1, 100 // max(1, count))]}
    groups |= {group: list(images) for group, images in held_out_images(each, (61, 90), seed=3).items()}
    groups["other sizes"] = other_sizes(each)
    for move, fill in MOVED:
        transforms = [warp_teacher(name, role, move, fill)]
        yield learned(transforms, runs, weights), opaque(transforms), groups


def answer(teacher: Callable[..., Any], params: Params, image: Any) -> Any:
    """Return what a teacher of color makes of an image with these params, in the order in which it takes them."""
    return teacher(image, *params.values())


def able(layer: Layer, role: str) -> list[Path]:
    """Return the paths that run a layer of this role, fastest first."""
    if role not in COLORS:
        return paths()
    plan = Plan(3, (16, 16), tuple(layer.stages((3, 16, 16), PARAMS[role][0])), (3, 16, 16))
    return [p for p in paths() if BACKENDS[p.backend].why_not(plan, torch.device("cpu"), False) is None]


def alone(layer: Layer, name: str, params: Params, path: Path) -> LearnedCompose:
    """Return one layer of a teacher as a pipeline of its own."""
    kind = TEACHER_KINDS[name]
    network = Network([layer], [params], kind, "pil" if kind == "pil" else "tensor", floats=kind == "float32")
    return LearnedCompose([network], backend=path.backend, fallback="error")


def each_alone(layer: Layer, name: str, params: Params, runs: Sequence[Path]) -> dict[Path, Runner]:
    return {path: alone(layer, name, params, path) for path in runs}


def learned(transforms: Sequence[Any], runs: Sequence[Path], weights: Weights) -> dict[Path, Runner]:
    """Transforms on each path."""
    return {p: LearnedCompose(transforms, weights=weights, fallback="error", backend=p.backend) for p in runs}


def certify_layer(
    name: str, role: str, count: int, runs: Sequence[Path], weights: Weights
) -> Mapping[Path, Certificate]:
    """Return one layer of a teacher, such as ``uint8/gray``: on the first path with all images, on the others with
    fewer."""
    return join(
        layer_comparisons(name, role, count, runs, weights), TEACHER_KINDS[name], enumerated(name, role), STRIDE
    )


def enumerated(name: str, role: str) -> bool:
    """Return whether a layer is certified on its whole domain."""
    return role == "to_float" or (role == "gray" and name != "float32")


class Whole(NamedTuple):
    """Pipelines that are certified as a whole.

    Attributes:
        make: from the name of a teacher to its transforms.
        images: from a count to images by group.
        names: of the teachers.
    """

    make: Callable[[str], list[Any]]
    images: Callable[[int], Mapping[str, Sequence[Tensor]]]
    names: Sequence[str]


SEED = {
    "pipeline": Whole(seed_pipeline, seed_images, tuple(TEACHER_NAMES)),
    "imagenet_eval": Whole(evaluation_pipeline, evaluation_images, ("uint8", "pil", "pil_v2")),
}
"""By role: what is certified of the seed, and of ImageNet's evaluation."""

UPRIGHT = {"pipeline": SEED["pipeline"]._replace(make=partial(seed_pipeline, flips=False))}
"""The same of the seed's twin without flips."""


def certify_pipeline(name: str, whole: Whole, count: int, weights: Weights) -> Mapping[Path, Certificate]:
    """Return a pipeline on every path with all images."""
    return join([pipeline_comparison(name, whole, count, paths(), weights)], TEACHER_NAMES[name])


def pipeline_comparison(name: str, whole: Whole, count: int, runs: Sequence[Path], weights: Weights) -> Comparison:
    transforms = whole.make(name)
    return learned(transforms, runs, weights), opaque(transforms), whole.images(count)


def audits(
    weights: Weights,
    count: int,
    pipelines: Mapping[str, Whole] = MappingProxyType({}),
    known: Mapping[str, Certificate] = MappingProxyType({}),
) -> Iterator[Audit]:
    """Yield what has to be measured for all certificates; what takes longest comes last.

    Args:
        weights: the layers.
        count: held-out images of each group for pipelines. Layers take a twentieth, and slower paths a tenth of that.
        pipelines: what to certify as a whole, by role.
        known: certificates, by title, of layers that need not be measured again, where the paths are the same.
    """
    # What else is known of the weights would only be carried about.
    layers = Weights(weights.layers, [])
    for key, layer in weights.layers.items():
        name, _, role = key.partition("/")
        runs = able(layer, role)
        before = {path: known[title] for path, title in titles(key, runs).items() if title in known}
        if [str(path) for path in runs] == [found.reference["backend"] for found in before.values()]:
            yield Audit(key, partial(dict, before))
            continue
        certify = partial(certify_layer, name, role, count // 20, runs, layers)
        # Without antialiasing, torch's positions depend on the number of threads.
        plain = role in RESIZES and not RESIZES[role][1]
        yield Audit(key, all_threads(certify) if plain else certify)
    for role, whole in pipelines.items():
        for name in whole.names:
            yield Audit(f"{name}/{role}", partial(certify_pipeline, name, whole, count, layers))


def titles(name: str, runs: Iterable[Path]) -> dict[Path, str]:
    """Of certificates by path: the name for the fastest, and the path behind it for the others."""
    return {path: f"{name} ({path})" if number else name for number, path in enumerate(runs)}


def entitled(found: Iterable[tuple[str, Mapping[Path, Certificate]]]) -> dict[str, Certificate]:
    """Certificates by title, path after path."""
    made = [(path, title, c[path]) for name, c in found for path, title in titles(name, c).items()]
    return {title: certificate for path, title, certificate in sorted(made, key=lambda entry: paths().index(entry[0]))}


def compare(
    network: Callable[[Any], Any], teacher: Callable[[Any], Any], groups: Mapping[str, Sequence[Tensor]], kind: str
) -> Certificate:
    """Return one network against its teacher."""
    path = Path("auto")
    return join([({path: network}, teacher, groups)], kind)[path]


def join(
    comparisons: Iterable[Comparison], kind: str, enumerated: bool = False, stride: int = 1
) -> dict[Path, Certificate]:
    """Return one certificate for each path over several networks, each with its teacher and its images.

    Args:
        comparisons: networks on paths, fastest first.
        kind: how the teachers take images.
        enumerated: the images are the whole domain.
        stride: paths behind the first take every so many-th image of each group.
    """
    tallies: dict[Path, Tally] = defaultdict(Tally)
    seen: Counter[str] = Counter()
    for networks, teacher, groups in comparisons:
        first = next(iter(networks))
        for group, images in groups.items():
            for image in images:
                target = to_tensor(teacher(as_kind(image, kind)))
                for path in networks if seen[group] % stride == 0 else (first,):
                    with path.taken():
                        output = to_tensor(networks[path](as_kind(image, kind)))
                    partly = stride > 1 and path != first and not enumerated
                    tallies[path].compare(SOME.get(group, group) if partly else group, output, target)
                seen[group] += 1
    return {path: tally.certificate(kind, enumerated, str(path)) for path, tally in tallies.items()}
