"""Whether all is here as it was certified: versions, backends, and every shipped layer against what is installed."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from learned_transforms import installed
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.weights import Weights
from learned_transforms.certificate import TIERS, reference
from learned_transforms.compose import LearnedCompose
from learned_transforms.kernels import backends
from learned_transforms.trainer.zoo.build import EVERYTHING, RESIZE_ROLES, RESIZED_SIZE, SEEDS
from learned_transforms.trainer.zoo.certify import (
    Comparison,
    Path,
    able,
    enumerated,
    join,
    layer_comparisons,
    paths,
    pipeline_comparison,
    seed_images,
)
from learned_transforms.trainer.zoo.parallel import all_threads, threaded
from learned_transforms.trainer.zoo.teachers import TEACHER_KINDS, TEACHER_NAMES, opaque, resize

COUNT, ROWS, COLUMNS = 1, 128, 160
"""As few images as the audit takes, and so much of each: seconds in place of hours."""

UNUSED: Mapping[str, tuple[Callable[[], bool], str]] = {
    "uint8/resize_bilinear": (installed.resizes_levels, "torchvision resizes through floats here"),
    "uint8/resize_bilinear_plain": (installed.resizes_levels, "torchvision resizes through floats here"),
    "uint8/resize_lanczos": (installed.resizes_by_lanczos, "torchvision refuses Lanczos on tensors here"),
    "float32/resize_lanczos": (installed.resizes_by_lanczos, "torchvision refuses Lanczos on tensors here"),
}
"""Layers that some versions have no use for: whether the installed ones have, and why not."""


@dataclass(frozen=True)
class Finding:
    """One layer or pipeline, as it was certified and as it is here.

    Attributes:
        file, layer: its name.
        shipped: the tier in the file.
        here: the tier against what is installed; None where that has no use for it.
        detail: what was measured, or why nothing was.
    """

    file: str
    layer: str
    shipped: str
    here: str | None
    detail: str

    @property
    def holds(self) -> bool:
        """Whether it is as good as it was certified, or better."""
        return self.here is None or TIERS.index(self.here) <= TIERS.index(self.shipped)


@dataclass(frozen=True)
class Examination:
    """What is installed, what runs, and what was found.

    Attributes:
        versions: of Python and of what pixels depend on.
        backends: every backend: ``"available"``, or why it cannot run.
        instructions: the set of instructions that the native backend uses; ``"none"`` without it.
        threads: of torch.
        findings: one for each shipped layer and pipeline.
    """

    versions: Mapping[str, str]
    backends: Mapping[str, str]
    instructions: str
    threads: int
    findings: Sequence[Finding]

    @property
    def sound(self) -> bool:
        """Whether every layer holds the tier that it was shipped with."""
        return all(finding.holds for finding in self.findings)


def examine(progress: bool = True) -> Examination:
    """Certify every shipped layer and pipeline anew, on few images, against the installed torchvision and Pillow.

    Args:
        progress: show a bar.
    """
    here = reference("")
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions |= {name: here[name] for name in ("torch", "torchvision", "pillow")}
    tasks = list(checks())
    bar = tqdm(tasks, "certify", disable=None if progress else True)
    # Small images: on a busy machine, threads that wait for each other take many times as long as one.
    findings = threaded(1, lambda: [task() for task in bar])
    return Examination(versions, backends(), paths()[0].simd or "none", int(here["threads"]), findings)


def checks() -> Iterator[Callable[[], Finding]]:
    """Yield what is to be found out."""
    for file in weight_files.shipped_names():
        weights = weight_files.load(file)
        if file == EVERYTHING:
            for key in weights.layers:
                task = partial(examine_layer, file, key, weights)
                # Positions without antialiasing depend on the number of threads.
                yield all_threads(task) if key.endswith("_plain") else task
        elif file in SEEDS:
            titles = [title for title in weights.certificates if title.partition("/")[2] in SEEDS[file]]
            yield from (partial(examine_pipeline, file, title, weights) for title in titles)
        else:
            yield partial(examine_resize, file, weights)


def examine_layer(file: str, key: str, weights: Weights) -> Finding:
    """Return one layer alone."""
    shipped = weights.certificates[key].tier
    used, reason = UNUSED.get(key, (lambda: True, ""))
    if not used():
        return Finding(file, key, shipped, None, reason)
    name, _, role = key.partition("/")
    runs = able(weights.layers[key], role)[:1]
    comparisons = layer_comparisons(name, role, COUNT, runs, Weights(weights.layers, []))
    return found(file, key, shipped, comparisons, TEACHER_KINDS[name], enumerated(name, role))


def examine_pipeline(file: str, title: str, weights: Weights) -> Finding:
    """Return a pipeline of several layers."""
    name, _, role = title.partition("/")
    comparison = pipeline_comparison(name, SEEDS[file][role], COUNT, paths()[:1], Weights(weights.layers, []))
    return found(file, title, weights.certificates[title].tier, [comparison], TEACHER_NAMES[name])


def examine_resize(file: str, weights: Weights) -> Finding:
    """Return a file of one resize of PIL images."""
    (title, certificate), *_ = weights.certificates.items()
    learned = {Path("auto"): LearnedCompose.from_pretrained(file, allow_approximate=True)}
    comparison = learned, opaque([resize("pil", RESIZE_ROLES[file], RESIZED_SIZE)]), seed_images(COUNT)
    return found(file, title, certificate.tier, [comparison], "pil")


def found(
    file: str, layer: str, shipped: str, comparisons: Iterable[Comparison], kind: str, every: bool = False
) -> Finding:
    """Return a certificate on parts of images, or on the whole domain."""
    (made,) = join(comparisons if every else map(brief, comparisons), kind, every).values()
    return Finding(file, layer, shipped, made.tier, str(made))


def brief(comparison: Comparison) -> Comparison:
    """Return the same with the first image of each group, and a part of that."""
    networks, teacher, groups = comparison
    parts = {name: [image[..., :ROWS, :COLUMNS] for image in images[:1]] for name, images in groups.items()}
    return networks, teacher, parts
