"""The shipped weights: the command that rebuilds and certifies them from scratch.

Run ``python -m learned_transforms.trainer.zoo``; with ``--only NAME``, it rebuilds one file, and with
``--only torchvision --add``, it learns no more than what that file lacks, and what ``--again KEY`` names.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.describe import describe
from learned_transforms.artifacts.weights import Weights
from learned_transforms.certificate import Certificate
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import TeacherError
from learned_transforms.layers.base import Layer
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import Result, retrain
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, TRAINING_PHOTOS, training_images
from learned_transforms.trainer.search.problem import Trial
from learned_transforms.trainer.zoo.certify import SEED, UPRIGHT, Whole, audits, compare, entitled, seed_images
from learned_transforms.trainer.zoo.color import learn_colors
from learned_transforms.trainer.zoo.model_card import readme
from learned_transforms.trainer.zoo.parallel import all_threads, side_by_side
from learned_transforms.trainer.zoo.resize import IMPULSE_SIZES, learn_resizes, marks
from learned_transforms.trainer.zoo.teachers import (
    TAKEN,
    TEACHER_KINDS,
    TEACHER_NAMES,
    TINTED,
    WARPED,
    opaque,
    resize,
    seed_pipeline,
)
from learned_transforms.trainer.zoo.warp import learn_warps

NAME, TWIN, EVERYTHING = "cifar10_gray28", "cifar10_gray28_upright", "torchvision"
SEEDS = {NAME: SEED, TWIN: UPRIGHT}
"""The seed's weights and those of its twin without flips, and what is certified of each as a whole."""

DESCRIPTIONS = {
    NAME: "Resize to 28 x 28, both flips (images are turned by 180 degrees), gray: float32 [1, 28, 28] in [0, 1]",
    TWIN: "Resize to 28 x 28, gray (no flips: images stay upright): float32 [1, 28, 28] in [0, 1]",
}
"""What they do, in one line."""

RESIZE_ROLES = {"bicubic_224": "resize_bicubic", "lanczos_224": "resize_lanczos"}
"""Names of weights that are one kernel, and its role."""

RESIZED_SIZE = (224, 224)
SHIPPED = (*SEEDS, EVERYTHING, *RESIZE_ROLES)
"""Names of all files, in the order in which they are built."""

Learned = tuple[str, Layer, list[Trial]]
"""A layer's key, the layer, and what was tried for it."""

Learner = Callable[[Mapping[str, Sequence[str]]], Iterator[Learned]]
"""From the roles that kinds of images have to their layers."""

ROLES: dict[type, str] = {Resampling: "resize_bilinear", Mixing: "gray", Lookup: "to_float"}
"""Of the layers that the seed learns."""


def learn(name: str, count: int, progress: bool = True, flips: bool = True, **options: Any) -> Result:
    """Learn one teacher of the seed, or of its twin without flips, from the bundled training images."""
    teacher = opaque(seed_pipeline(name, flips))
    return retrain(teacher, training_images(count), kind=TEACHER_KINDS[name], count=count, progress=progress, **options)


def keyed(name: str, network: Network) -> dict[str, Layer]:
    """Return the learned layers of a network by key, ``kind/role``."""
    return {f"{name}/{ROLES[type(layer)]}": layer for layer in network.members if type(layer) in ROLES}


def taught(name: str, count: int, flips: bool) -> Weights:
    """Return the layers of one teacher of the seed (or its twin), their marks, and how they were learned.

    Raises:
        TeacherError: no kernel was recognized in what was learned.
    """
    result = learn(name, count, progress=False, flips=flips)
    if "kernel" not in result.networks:
        raise TeacherError(f"No kernel form was found for {name}: {'; '.join(str(row) for row in result.table)}")
    network = result.networks["kernel"]
    layers = keyed(name, network)
    about = {
        "step one (free matrices)": str(result.certificates["separable"]),
        "step two (kernel form), held-out pairs": str(result.certificates["kernel"]),
        "recognized": [dict(p or {}) for p in network.params],
        "notes": result.notes,
        "trials": [asdict(trial) for trial in result.trials],
        "history": [asdict(epoch) for epoch in result.history],
    }
    provenance = {f"{key}.{n}": mark for key, layer in layers.items() for n, mark in layer.provenance().items()}
    provenance |= {f"{name}/{param}": "learned (recognized in the matrices)" for param in ("flips", "size")}
    return Weights(layers, [], {}, provenance, about)


def learn_seed(count: int, progress: bool = True, title: str = NAME) -> Weights:
    """Learn every teacher of one of ``SEEDS`` from so many training images each; nothing is certified yet."""
    flips = title == NAME
    found = side_by_side([partial(taught, name, count, flips) for name in TEACHER_KINDS], title, progress)
    about = {
        "name": title,
        "description": DESCRIPTIONS[title],
        "teachers": {name: [str(t) for t in seed_pipeline(name, flips)] for name in TEACHER_NAMES},
        "settings": {"count": count, "photos": TRAINING_PHOTOS, "held out": HELD_OUT_PHOTOS},
        "steps": {name: part.about for name, part in zip(TEACHER_KINDS, found, strict=True)},
    }
    layers = {key: layer for part in found for key, layer in part.layers.items()}
    provenance = {key: mark for part in found for key, mark in part.provenance.items()}
    # The pipeline takes PIL images and tensors alike, and gives tensors of floats for both.
    return Weights(layers, [describe(t) for t in seed_pipeline("pil_v2", flips)], {}, provenance, about)


def build(
    name: str,
    count: int,
    certified: int,
    built: Mapping[str, Weights],
    progress: bool = True,
    before: Weights | None = None,
    again: Sequence[str] = (),
) -> Weights:
    """Learn one shipped file, and certify it.

    Args:
        name: one of ``SHIPPED``.
        count: training images for each teacher of the seed.
        certified: held-out images of each group in the certificates of pipelines.
        built: files that are there already, from which layers and certificates are taken.
        progress: show bars.
        before: for ``EVERYTHING``, layers to keep, with their certificates; only what it lacks is learned.
        again: keys of layers to learn all the same.
    """
    if name in RESIZE_ROLES:
        return build_resize(name, certified, built)
    if name in SEEDS:
        weights = learn_seed(count, progress, name)
        weights.certificates = certify(weights, certified, {}, SEEDS[name], progress)
        settings = {**weights.about["settings"], "certified": certified}
        weights.about = {**weights.about, "settings": settings}
        return weights
    start = before or built.get(NAME) or learn_seed(count, progress)
    weights = completed(start, progress, again)
    known = {title: found for title, found in start.certificates.items() if title.partition(" ")[0] not in again}
    weights.certificates = certify(weights, certified, known, {}, progress)
    return weights


def completed(start: Weights, progress: bool = True, again: Sequence[str] = ()) -> Weights:
    """Return the layers of a file, some learned again, and every layer that it lacks; nothing is certified yet."""
    layers, trials = dict(start.layers), dict(start.about.get("trials", {}))
    provenance = {key: mark for key, mark in start.provenance.items() if key.rpartition(".")[0] in layers}
    resizes, colors, warps = (
        {
            name: [role for role in roles if f"{name}/{role}" not in layers or f"{name}/{role}" in again]
            for name, roles in taken.items()
        }
        for taken in (TAKEN, TINTED, WARPED)
    )
    # The last digits of kernels, and positions without antialiasing, depend on the number of threads.
    tasks = [all_threads(partial(gathered, learn_resizes, part)) for part in by_role(resizes)]
    tasks += [partial(gathered, learn_colors, {name: [role]}) for name, roles in colors.items() for role in roles]
    tasks += [partial(gathered, learn_warps, part) for part in by_role(warps)]
    found = {key: (layer, tried) for part in side_by_side(tasks, "layers", progress) for key, layer, tried in part}
    for key in (
        f"{name}/{role}" for taken in (resizes, colors, warps) for name, roles in taken.items() for role in roles
    ):
        layers[key], tried = found[key]
        trials[key] = [asdict(trial) for trial in tried]
        provenance |= {f"{key}.{number}": mark for number, mark in marks(layers[key]).items()}
    about = {
        "name": EVERYTHING,
        "trials": trials,
        "sizes of the teachers": IMPULSE_SIZES,
        "learned as in": start.about.get("learned as in") or dict.fromkeys(start.layers, NAME),
    }
    return Weights(layers, [], {}, provenance, about)


def by_role(taken: Mapping[str, Sequence[str]]) -> list[dict[str, list[str]]]:
    """Return the same in parts of one role each: kinds of images share a kernel."""
    roles = dict.fromkeys(role for part in taken.values() for role in part)
    return [{name: [role] for name, part in taken.items() if role in part} for role in roles]


def gathered(learner: Learner, taken: Mapping[str, Sequence[str]]) -> list[Learned]:
    """All layers that a learner yields."""
    return list(learner(taken))


def certify(
    weights: Weights,
    certified: int,
    known: Mapping[str, Certificate],
    pipelines: Mapping[str, Whole],
    progress: bool,
) -> dict[str, Certificate]:
    """Every certificate, by title, see :func:`~learned_transforms.trainer.zoo.certify.audits`."""
    tasks = list(audits(weights, certified, pipelines, known))
    found = side_by_side([task.certify for task in tasks], "certify", progress)
    return entitled(zip((task.name for task in tasks), found, strict=True))


def build_resize(name: str, certified: int, built: Mapping[str, Weights]) -> Weights:
    """Pillow's resize to 224 x 224 by one learned kernel.

    Args:
        name: one of ``RESIZE_ROLES``.
        certified: held-out images of each group, and sizes, in the certificate.
        built: files that are there already, out of which the layer is taken.
    """
    role = RESIZE_ROLES[name]
    key = f"pil/{role}"
    layer, trials = learned_layer(key, built)
    network = Network([layer], [{"size": RESIZED_SIZE}], "pil", "pil", False)
    transform, teacher = LearnedCompose([network]), opaque([resize("pil", role, RESIZED_SIZE)])
    network.certificate = compare(transform, teacher, seed_images(certified // 8), "pil")
    pipeline = [{"network": {"layers": ["0/0"], **network.describe()}}]
    provenance = {f"0/0.{number}": mark for number, mark in marks(layer).items()} | {"size": "given"}
    about = {"name": name, "trials": trials, "sizes of the teacher": IMPULSE_SIZES}
    return Weights({"0/0": layer}, pipeline, {"0": network.certificate}, provenance, about)


def learned_layer(key: str, built: Mapping[str, Weights]) -> tuple[Layer, list[Any]]:
    """Return a resizing layer and the trials of its arithmetic: out of a file that is there, or learned now."""
    if EVERYTHING in built:
        return built[EVERYTHING].layers[key], built[EVERYTHING].about["trials"][key]
    name, _, role = key.partition("/")
    _, layer, tried = next(learn_resizes({name: [role]}))
    return layer, [asdict(trial) for trial in tried]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rebuild the shipped weights from scratch, and certify them.")
    parser.add_argument("--out", type=Path, default=Path("weights"), help="folder to write to")
    parser.add_argument("--count", type=int, default=12_000, help="training images for each teacher")
    parser.add_argument("--certified", type=int, default=2_000, help="held-out images of each group")
    parser.add_argument("--only", choices=SHIPPED, help="rebuild this file alone; the page tells of the others as well")
    parser.add_argument("--add", action="store_true", help="keep the layers of torchvision's file; learn what it lacks")
    keys = [f"{name}/{role}" for taken in (TAKEN, TINTED, WARPED) for name, roles in taken.items() for role in roles]
    parser.add_argument(
        "--again", action="append", default=[], choices=keys, metavar="KEY", help="with --add: learn this layer again"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    built: dict[str, Weights] = {}
    for name in SHIPPED if options.only is None else (options.only,):
        before = weight_files.load(name) if options.add and name == EVERYTHING else None
        built[name] = build(name, options.count, options.certified, built, before=before, again=options.again)
        weight_files.save(built[name], options.out / f"{name}{weight_files.SUFFIX}")
        for key, certificate in built[name].certificates.items():
            print(f"{name:<14} {key:<46} {certificate}")
    for name in SHIPPED:
        path = options.out / f"{name}{weight_files.SUFFIX}"
        built[name] = built.get(name) or weight_files.load(path if path.is_file() else name)
    seeds, alone = ({name: built[name] for name in names} for names in (SEEDS, RESIZE_ROLES))
    (options.out / "README.md").write_text(readme(seeds, built[EVERYTHING], alone))
