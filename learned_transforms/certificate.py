"""Certificates: how faithful a network is to its teacher, measured, with the number of images beside every claim."""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import PIL
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from learned_transforms.errors import DataError, InputShapeError
from learned_transforms.plain import Fields, finite, integer, list_of, mapped, maybe, one_of, switch, text

TIERS = ("proved", "exact", "rounding", "approximate")
"""From best to worst."""

FLOAT_TOLERANCE = 1e-6
"""How far a float value may be off, in units of full range, and still count as equal."""

TIES = "checkerboards"
"""The group of patterns made of ties, whose share of equal values is told apart."""


@dataclass(frozen=True)
class Group:
    """What was measured on one kind of image.

    Attributes:
        images, values: how many were compared.
        differing: values that differ: by anything in uint8, by more than 1e-6 of full range in float.
        largest: largest error, in levels (1/255 of full range).
    """

    images: int
    values: int
    differing: int
    largest: float


@dataclass(frozen=True)
class Certificate:
    """Fidelity of a network to a teacher.

    Attributes:
        tier: ``proved``, ``exact``, ``rounding`` or ``approximate``.
        images, values: how many were compared.
        differing: values that differ (see :class:`Group`).
        equal: share of values that do not.
        largest: largest error, in levels.
        histogram: values by the size of their error in levels.
        psnr: in dB; infinite where nothing differs.
        ssim: mean structural similarity.
        worst: the image with the largest error, by group and number.
        bound: with 95 % confidence, at most this share of images has any differing value; None once one had.
        enumerated: the images were the whole domain, which is what makes a proof.
        groups: the same figures by kind of image.
        reference: versions, kind of input, CPU capability and threads that the teacher ran with.
        digest: a hash of what was measured, weights and all; empty until it is bound to them.
        sizes: the sizes of images that it holds for, in words; empty: those that were compared.
        basis: what it rests on besides, such as ``taps recovered``.
        remarks: what else was seen, such as contradictions.
    """

    tier: str
    images: int
    values: int
    differing: int
    equal: float
    largest: float
    histogram: Mapping[str, int]
    psnr: float
    ssim: float
    worst: str
    bound: float | None
    enumerated: bool
    groups: Mapping[str, Group]
    reference: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    sizes: str = ""
    basis: str = ""
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        share = f"{self.differing:,} of {self.values:,} values differ in {self.images:,} images"
        if self.enumerated:
            share += " (the whole domain)"
        elif self.bound is not None:
            share += f" (95 %: fewer than {self.bound:.2g} of images)"
        tier = f"{self.tier} ({self.basis})" if self.basis and self.tier == "exact" else self.tier
        more = "".join(f"; {words}" for words in (self.sizes, *self.remarks) if words)
        return f"{tier}: {share}, largest error {self.largest:.3g} levels{more}"

    def at_least(self, tier: str) -> bool:
        """Return whether this tier is ``tier`` or better."""
        return TIERS.index(self.tier) <= TIERS.index(tier)

    def measured_elsewhere(self) -> str | None:
        """Return what it was measured on, where another thing is installed here: ``"torch 2.15.0, AVX2"``; else
        None."""
        here, there = reference(""), self.reference
        # Pillow makes no difference to tensors.
        named = [name for name in ("torch", "torchvision", "pillow") if name != "pillow" or there.get("input") == "pil"]
        found = [f"{name} {released(there.get(name, 'unknown'))}" for name in named if differ(there, here, name)]
        found += [there.get(name, "unknown") for name in ("cpu_capability", "machine") if differ(there, here, name)]
        return ", ".join(found) or None

    def of(self, digest: str) -> "Certificate | None":
        """This certificate for what has that digest; None: it was measured on something else."""
        if self.digest == digest:
            return self
        return None if self.digest else replace(self, digest=digest)

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinite PSNR becomes None, which JSON can say."""
        plain = asdict(self)
        return {**plain, "psnr": None if math.isinf(self.psnr) else self.psnr}

    @classmethod
    def from_json(cls, description: Any) -> "Certificate":
        """Read back what :meth:`to_json` gave.

        Raises:
            WeightsError: fields are missing, foreign, or of an unknown tier.
        """
        FIELDS.require("certificate", description)
        for group in description["groups"].values():
            GROUP.require("group of a certificate", group)
        groups = {name: Group(**group) for name, group in description["groups"].items()}
        psnr = math.inf if description["psnr"] is None else description["psnr"]
        return cls(**{**description, "groups": groups, "psnr": psnr})


COUNT = integer(0, 2**63)
GROUP = Fields({"images": COUNT, "values": COUNT, "differing": COUNT, "largest": finite})
FIELDS = Fields(
    {
        "tier": one_of(*TIERS),
        **dict.fromkeys(("images", "values", "differing"), COUNT),
        **dict.fromkeys(("equal", "largest"), finite),
        "ssim": lambda value: type(value) in (int, float),  # NaN where pixels are.
        **{name: maybe(finite) for name in ("psnr", "bound")},
        "histogram": mapped(COUNT),
        "worst": text,
        "enumerated": switch,
        "groups": mapped(lambda group: isinstance(group, dict)),
        "reference": mapped(text),
        "digest": text,
        **dict.fromkeys(("sizes", "basis"), text),
        "remarks": list_of(text, 0, 16),
    },
    ("reference", "digest", "sizes", "basis", "remarks"),
)
"""What a file says of a certificate."""


def released(version: str) -> str:
    """Return a version without what tells its builds apart, as ``+cpu``."""
    return version.partition("+")[0]


def differ(there: Mapping[str, str], here: Mapping[str, str], name: str) -> bool:
    return released(there.get(name, "")) != released(here[name])


def reference(kind: str, backend: str = "auto") -> dict[str, str]:
    """Return what a teacher's pixels depend on, here and now, and which backend was compared with it."""
    return {
        "input": kind,
        "backend": backend,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "pillow": PIL.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def measure(
    comparisons: Iterable[tuple[str, Tensor, Tensor]],
    kind: str = "",
    enumerated: bool = False,
    backend: str = "auto",
    step: Tensor | None = None,
) -> Certificate:
    """Compare outputs with targets.

    Args:
        comparisons: ``(group, output, target)``, tensors of one image ``[C, H, W]`` or a batch ``[N, C, H, W]``;
            uint8 in levels, floats in [0, 1], unless ``step`` says otherwise.
        kind: what the teacher was given, for the record.
        enumerated: the images are the whole domain.
        backend: what ran the network, for the record.
        step: float64 ``[C or 1]``, what one level is in float outputs, for all channels or each; None: 1/255.

    Raises:
        DataError: nothing to compare.
        InputShapeError: an output has another shape or dtype than its target.
    """
    tally = Tally(step)
    for comparison in comparisons:
        tally.compare(*comparison)
    return tally.certificate(kind, enumerated, backend)


class Tally:
    """Running totals over comparisons; for ``step`` see :func:`measure`."""

    def __init__(self, step: Tensor | None = None) -> None:
        self.unit: Tensor | float = 255.0 if step is None else (1 / step)[:, None, None]
        self.groups: dict[str, Group] = {}
        self.histogram = dict.fromkeys(("0", "<= 1", "<= 2", "> 2"), 0)
        self.squares = 0.0
        self.ssims: list[float] = []
        self.images_differing = 0
        self.off_by_more = 0
        self.worst = ("", -1.0)

    def compare(self, group: str, output: Tensor, target: Tensor) -> None:
        """Add one image, or a batch; see :func:`measure`."""
        if output.shape != target.shape or output.dtype != target.dtype:
            raise InputShapeError(
                f"Expected output and target of one shape and dtype, got {tuple(output.shape)} {output.dtype} "
                f"and {tuple(target.shape)} {target.dtype}."
            )
        if output.numel():
            self.add(group, output.reshape(-1, *output.shape[-3:]), target.reshape(-1, *target.shape[-3:]))

    def add(self, name: str, output: Tensor, target: Tensor) -> None:
        count, differing, largest, worst = len(output), 0, 0.0, 0
        if output.equal(target):
            # As most images are; a similarity of 1 takes long to compute.
            self.ssims += [1.0] * count
        else:
            differing, largest, worst = self.add_errors(output, target)
        before = self.groups.get(name, Group(0, 0, 0, 0.0))
        if largest > self.worst[1]:
            self.worst = f"{name} {before.images + worst}", largest
        self.histogram["0"] += output.numel() - differing
        self.groups[name] = Group(
            before.images + count,
            before.values + output.numel(),
            before.differing + differing,
            max(before.largest, largest),
        )

    def add_errors(self, output: Tensor, target: Tensor) -> tuple[int, float, int]:
        """Return values that differ, the largest error, and which image has it; all else is added."""
        floating = output.is_floating_point()
        unit, limit = (self.unit, FLOAT_TOLERANCE * 255) if floating else (1.0, 0.0)
        error = (output.double() - target.double()).abs() * unit
        if floating:
            error[output.isnan() & target.isnan()] = 0
            # A NaN where the teacher has a number is off by the full range.
            error = error.nan_to_num(nan=255.0, posinf=255.0)
        above = [int((error > level + limit).sum()) for level in range(3)]
        for label, more, less in zip(("<= 1", "<= 2", "> 2"), above, (*above[1:], 0), strict=True):
            self.histogram[label] += more - less
        self.off_by_more += above[1]
        self.squares += float(error.square().sum())
        largest = error.flatten(1).amax(1)
        # Images whose errors all count as none are as good as equal: within 1e-8 of a similarity of 1.
        unequal = largest > limit
        self.images_differing += int(unequal.sum())
        self.ssims += [1.0] * int((~unequal).sum())
        if unequal.any():
            self.ssims += ssim(output[unequal].double() * unit, target[unequal].double() * unit).tolist()
        return above[0], float(largest.max()), int(largest.argmax())

    def certificate(self, kind: str = "", enumerated: bool = False, backend: str = "auto") -> Certificate:
        """Return what it all comes to; see :func:`measure`."""
        values = sum(group.values for group in self.groups.values())
        images = sum(group.images for group in self.groups.values())
        if not values:
            raise DataError("Expected at least one image to certify on, got none.")
        differing = sum(group.differing for group in self.groups.values())
        largest = max(group.largest for group in self.groups.values())
        mse = self.squares / values
        return Certificate(
            tier=self.tier(differing, enumerated),
            images=images,
            values=values,
            differing=differing,
            equal=1 - differing / values,
            largest=largest,
            histogram=self.histogram,
            psnr=math.inf if mse == 0 else 10 * math.log10(255**2 / mse),
            ssim=float(np.mean(self.ssims)),
            worst=self.worst[0],
            bound=None if self.images_differing else min(1.0, 3 / images),
            enumerated=enumerated,
            groups=self.groups,
            reference=reference(kind, backend),
        )

    def tier(self, differing: int, enumerated: bool) -> str:
        if not differing:
            return "proved" if enumerated else "exact"
        groups = self.groups
        usual = [group for name, group in groups.items() if name != TIES] or list(groups.values())
        share = sum(group.differing for group in usual) / max(1, sum(group.values for group in usual))
        return "rounding" if not self.off_by_more and share <= 0.01 else "approximate"


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each image ``[N, C, H, W]`` in levels, over 7 x 7 windows (Wang et al., 2004)."""
    size = min(7, *output.shape[-2:])
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def mean(image: Tensor) -> Tensor:
        # Along one axis, then along the other: far fewer sums.
        return F.avg_pool2d(F.avg_pool2d(image, (size, 1), 1), (1, size), 1)

    a, b = mean(output), mean(target)
    var_a, var_b = mean(output**2) - a**2, mean(target**2) - b**2
    covariance = mean(output * target) - a * b
    value = ((2 * a * b + c1) * (2 * covariance + c2)) / ((a**2 + b**2 + c1) * (var_a + var_b + c2))
    return value.flatten(1).mean(1)
