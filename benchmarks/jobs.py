"""The jobs, in one table: which pipeline runs on which input, and what torchvision makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.certificate import FLOAT_TOLERANCE
from learned_transforms.images import from_tensor, to_tensor
from learned_transforms.trainer.data import photo, photo_patches

PHOTO = "hubble"
"""It has detail at every scale, and training never sees it."""

HEIGHT, WIDTH = 427, 640
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZED = (256, 384)
"""Height and width after the resize alone."""

SEED = 10
"""Of the draw under which outputs are compared: both flips happen, and the random crop is shrunk, not enlarged."""

BATCH = 32
"""Images per batch of the DataLoader."""


@dataclass(frozen=True)
class Draw:
    """What is prescribed to libraries with random numbers of their own: nothing, or what torchvision drew.

    Attributes:
        box: top, left, height and width of the crop in pixels; None: to be drawn.
        horizontal, vertical: probabilities of the flips.
    """

    box: tuple[int, int, int, int] | None = None
    horizontal: float = 0.5
    vertical: float = 0.5


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, for either of torchvision's two interfaces.

    Attributes:
        body: its transforms before any conversion to float, out of ``torchvision.transforms`` or ``.v2``.
        floats: it goes on to floats in [0, 1].
        normalised: those are then normalised with MEAN and STD.
    """

    body: Callable[[Any, Draw], list[Any]]
    floats: bool = True
    normalised: bool = True


PIPELINES = {
    "seed": Pipeline(
        lambda t, draw: [
            t.Resize((28, 28), antialias=True),
            t.RandomHorizontalFlip(draw.horizontal),
            t.RandomVerticalFlip(draw.vertical),
            t.Grayscale(1),
        ],
        normalised=False,
    ),
    "imagenet": Pipeline(lambda t, draw: [t.Resize(256, antialias=True), t.CenterCrop(224)]),
    "resize": Pipeline(lambda t, draw: [t.Resize(RESIZED, antialias=True)], floats=False, normalised=False),
    "crop": Pipeline(
        lambda t, draw: [t.RandomResizedCrop(224, antialias=True), t.RandomHorizontalFlip(draw.horizontal)]
    ),
}

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "chw": lambda images: images[0],
    "hwc": lambda images: images[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "pil": lambda images: from_tensor(images[0], "pil"),
    "batch": lambda images: images,
}
"""By form of input: how it is made of uint8 images ``[N, 3, H, W]``. ``hwc`` is what decoders give: a tensor
``[3, H, W]`` over interleaved memory."""


@dataclass(frozen=True)
class Job:
    """Something to time.

    Attributes:
        name: for ``-k``.
        title: for tables.
        pipeline: key of PIPELINES.
        form: of the input, key of FORMS.
        images: per call.
        workers: of a DataLoader, whose epoch is one call; None: no DataLoader.
        geometry: of the random crop: ``"new"`` in every call, or ``"repeated"``, the one of the call before.
        draw: what torchvision drew, where that is prescribed.
    """

    name: str
    title: str
    pipeline: str
    form: str
    images: int = 1
    workers: int | None = None
    geometry: str | None = None
    draw: Draw = Draw()

    @property
    def settings(self) -> Pipeline:
        return PIPELINES[self.pipeline]

    def source(self) -> Any:
        """The input of one call; of a DataLoader, one of its images."""
        return FORMS[self.form](pixels(self.pipeline, self.images if self.form == "batch" else 1))

    def transforms(self, api: str) -> list[Any]:
        """The pipeline in torchvision.

        Args:
            api: ``"v1 pil"``, ``"v2 pil"``, ``"v2 tensor"``, or ``"v2 to tensor"``, which starts from PIL images.
        """
        module: Any = v1 if api == "v1 pil" else v2
        steps = self.settings.body(module, self.draw)
        if api == "v2 to tensor":
            steps = [v2.PILToTensor(), *steps]
        if self.settings.floats:
            to_float = [v2.ToDtype(torch.float32, scale=True)]
            steps += {"v1 pil": [v1.ToTensor()], "v2 pil": [v2.ToImage(), *to_float]}.get(api, to_float)
        return [*steps, module.Normalize(MEAN, STD)] if self.settings.normalised else steps

    def teacher(self) -> list[Any]:
        """What defines the right answer: torchvision v1 for PIL images, v2 for tensors."""
        return self.transforms("v1 pil" if self.form == "pil" else "v2 tensor")

    def prescribed(self) -> "Job":
        """The same job with the draw that torchvision makes under SEED."""
        torch.manual_seed(SEED)
        crop = self.settings.body(v1, self.draw)[0]
        box = crop.get_params(self.source(), crop.scale, crop.ratio) if self.pipeline == "crop" else None
        return replace(self, draw=Draw(box, *(float(torch.rand(1) < 0.5) for _ in range(2))))


JOBS = {
    job.name: job
    for job in (
        Job("seed-tensor", "seed, one uint8 tensor", "seed", "chw"),
        Job("seed-pil", "seed, one PIL image", "seed", "pil"),
        Job("seed-64", "seed, batch of 64", "seed", "batch", images=64),
        Job("seed-1024", "seed, batch of 1024", "seed", "batch", images=1024),
        Job("imagenet-hwc", "ImageNet eval, uint8 tensor from a decoder (HWC memory)", "imagenet", "hwc"),
        Job("imagenet-chw", "ImageNet eval, uint8 tensor, contiguous", "imagenet", "chw"),
        Job("imagenet-pil", "ImageNet eval, PIL image", "imagenet", "pil"),
        Job("imagenet-64", "ImageNet eval, batch of 64", "imagenet", "batch", images=64),
        Job("resize-hwc", "resize alone, uint8 tensor (HWC memory)", "resize", "hwc"),
        Job("resize-pil", "resize alone, PIL image", "resize", "pil"),
        Job("crop-hwc-new", "random crop, new box, uint8 tensor (HWC memory)", "crop", "hwc", geometry="new"),
        Job(
            "crop-hwc-repeated",
            "random crop, repeated box, uint8 tensor (HWC memory)",
            "crop",
            "hwc",
            geometry="repeated",
        ),
        Job("crop-pil-new", "random crop, new box, PIL image", "crop", "pil", geometry="new"),
        Job("crop-pil-repeated", "random crop, repeated box, PIL image", "crop", "pil", geometry="repeated"),
        *(
            Job(f"loader-{n}", f"DataLoader, {n} workers, ImageNet eval", "imagenet", "pil", images=256, workers=n)
            for n in (0, 2, 8)
        ),
    )
}


@lru_cache(maxsize=2)
def pixels(pipeline: str, count: int) -> Tensor:
    """Distinct images for a pipeline, contiguous uint8 ``[count, 3, H, W]``: 32 x 32 for the seed, else 427 x 640."""
    if pipeline == "seed":
        return photo_patches([photo(PHOTO)], count, (32, 32), seed=0)
    whole = photo(PHOTO)[:, :HEIGHT, :WIDTH]
    return torch.stack([whole.roll(5 * i, -1) for i in range(count)])


def run_all(transforms: list[Any], image: Any) -> Any:
    """What the transforms make of an image, one after the other, as Compose does."""
    for transform in transforms:
        image = transform(image)
    return image


@lru_cache(maxsize=1)
def expected(job: Job) -> Tensor:
    """What torchvision makes of the job's input under SEED."""
    torch.manual_seed(SEED)
    return values(run_all(job.teacher(), job.source()))


def values(image: Any) -> Tensor:
    """The values of an image or batch of whatever container, as a plain tensor ``[..., C, H, W]`` on the CPU."""
    return to_tensor(image).cpu()


def fidelity(found: Any, job: Job) -> dict[str, float]:
    """How far an answer under SEED is from torchvision's.

    Returns:
        ``equal``, the share of equal values (floats: within 1e-6 of full range), and ``largest``, the largest error
        in levels (1/255 of full range; normalised values are converted back).
    """
    target, answer = expected(job), values(found)
    if (answer.shape, answer.dtype) != (target.shape, target.dtype):
        raise ValueError(
            f"Expected {tuple(target.shape)} {target.dtype} as torchvision gives, "
            f"got {tuple(answer.shape)} {answer.dtype}."
        )
    error = (answer.double() - target.double()).abs()
    if job.settings.normalised:
        error *= torch.tensor(STD, dtype=torch.float64)[:, None, None]
    if job.settings.floats:
        error *= 255
    limit = FLOAT_TOLERANCE * 255 if job.settings.floats else 0
    return {"equal": float((error <= limit).double().mean()), "largest": float(error.max())}
