"""The jobs, in one table: which pipeline runs on which input, and what torchvision makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from pipelines import LARGE, PIPELINES, SMALL, Draw, Pipeline
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from learned_transforms.certificate import FLOAT_TOLERANCE
from learned_transforms.images.formats import from_tensor, to_tensor
from learned_transforms.trainer.data.bundled import PHOTOS, photo, photo_patches

PHOTO = "hubble"
"""It has detail at every scale, and training never sees it."""

SEED = 10
"""Of the draw under which outputs are compared: both flips happen, and the random crop is shrunk, not enlarged."""

BATCH = 32
"""Images per batch of the DataLoader."""

IMAGES = 256
"""Images per epoch of the DataLoader, in memory or in a folder."""

QUALITY = 90
"""Of the JPEG files in that folder."""


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "chw": lambda images: images[0],
    "hwc": lambda images: images[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "pil": lambda images: from_tensor(images[0], "pil"),
    "batch": lambda images: images,
}
"""By form of input: how it is made of uint8 images ``[N, C, H, W]``. ``hwc`` is what decoders give: a tensor
``[C, H, W]`` over interleaved memory."""

FORM_TITLES = {"chw": "uint8 tensor", "hwc": "uint8 tensor (HWC memory)", "pil": "PIL image"}
DECODERS: dict[str, Callable[[str], Any]] = {
    "pil": pil_loader,
    "hwc": lambda path: decode_jpeg(read_file(path), mode=ImageReadMode.RGB),
}
"""By form of input: how it is read from a JPEG file."""

DECODER_TITLES = {"pil": "PIL", "hwc": "decode_jpeg"}


@dataclass(frozen=True)
class Job:
    """Something to time.

    Attributes:
        pipeline: key of PIPELINES.
        form: of the input, key of FORMS.
        size: of the images, height and width; None: the pipeline's.
        images: per call.
        workers: of a DataLoader, whose epoch is one call; None: no DataLoader.
        folder: that DataLoader reads JPEG files.
        repeated: the box of the random crop is that of the call before; otherwise it is new in every call.
        summary: it has a place in the README's table.
        draw: what torchvision drew, where that is prescribed.
    """

    pipeline: str
    form: str
    size: tuple[int, int] | None = None
    images: int = 1
    workers: int | None = None
    folder: bool = False
    repeated: bool = False
    summary: bool = True
    draw: Draw = field(default_factory=Draw)

    @property
    def settings(self) -> Pipeline:
        return PIPELINES[self.pipeline]

    @property
    def name(self) -> str:
        """For ``-k``."""
        parts = [self.pipeline, str(self.images) if self.form == "batch" else self.form]
        parts += [] if self.size is None else [str(self.size[0])]
        parts += ["repeated"] if self.repeated else []
        parts += [] if self.workers is None else [f"{'folder' if self.folder else 'loader'}-{self.workers}"]
        return "-".join(parts)

    @property
    def given(self) -> str:
        """The kind of input, for tables."""
        if self.workers is not None:
            what = f"JPEG files, {DECODER_TITLES[self.form]}" if self.folder else "PIL images in memory"
            return f"{what}, {self.workers} workers"
        what = f"batch of {self.images}" if self.form == "batch" else FORM_TITLES[self.form]
        return f"{what}, repeated box" if self.repeated else what

    @property
    def pixels(self) -> str:
        """Width and height of the input, for tables."""
        height, width = self.size or self.settings.size
        return f"{width} × {height}"

    @property
    def boxes(self) -> bool:
        """What a call takes depends on the box that it draws."""
        return self.settings.window is not None and self.settings.padding is None and self.workers is None

    def originals(self, count: int) -> Tensor:
        """Distinct images, contiguous uint8 ``[count, C, H, W]``."""
        return originals(self.size or self.settings.size, count)[:, : self.settings.channels]

    def source(self) -> Any:
        """The input of one call; of a DataLoader, one of its images."""
        return FORMS[self.form](self.originals(self.images if self.form == "batch" else 1))

    def transforms(self, api: str) -> list[Any]:
        """The pipeline in torchvision.

        Args:
            api: ``"v1 pil"``, ``"v2 pil"``, ``"v2 tensor"``, or ``"v2 to tensor"``, which starts from PIL images.
        """
        module: Any = v1 if api == "v1 pil" else v2
        settings = self.settings
        steps = settings.body(module, self.draw)
        if api == "v2 to tensor":
            steps = [v2.PILToTensor(), *steps]
        if settings.floats:
            to_float = [v2.ToDtype(torch.float32, scale=True)]
            steps += {"v1 pil": [v1.ToTensor()], "v2 pil": [v2.ToImage(), *to_float]}.get(api, to_float)
        return [*steps, module.Normalize(settings.mean, settings.std)] if settings.mean else steps

    def teacher(self) -> list[Any]:
        """What defines the right answer: torchvision v1 for PIL images, v2 for tensors."""
        return self.transforms("v1 pil" if self.form == "pil" else "v2 tensor")

    def prescribed(self) -> "Job":
        """The same job with the draw that torchvision makes under SEED."""
        settings, box = self.settings, None
        torch.manual_seed(SEED)
        if settings.window is not None:
            crop, source = settings.body(v1, self.draw)[0], self.source()
            if settings.padding is None:
                box = crop.get_params(source, crop.scale, crop.ratio)
            else:
                box = crop.get_params(v1.functional.pad(source, settings.padding), crop.size)
        flips = {name: float(torch.rand(1) < 0.5) for name in settings.flips}
        return replace(self, draw=Draw(box, **flips))


PHOTO_JOBS = ("imagenet", "train", "timm", "clip", "vit", "jitter", "moco")
COLOR_JOBS = ("timm-train", "simclr", "dino-1", "dino-2", "dino-3")
JOBS = {
    job.name: job
    for job in (
        Job("seed", "chw"),
        Job("seed", "pil", summary=False),
        Job("seed", "batch", images=64),
        Job("seed", "batch", images=1024, summary=False),
        *(Job(name, form, size) for name in PHOTO_JOBS for form in ("hwc", "pil") for size in (None, LARGE)),
        *(Job(name, form) for name in COLOR_JOBS for form in ("hwc", "pil")),
        Job("imagenet", "chw", summary=False),
        Job("imagenet", "batch", images=64, summary=False),
        *(Job("train", form, repeated=True, summary=False) for form in ("hwc", "pil")),
        *(Job(name, form) for name in ("cifar", "mnist") for form in ("chw", "pil")),
        *(Job("resize", form, summary=False) for form in ("hwc", "pil")),
        *(Job("imagenet", "pil", images=IMAGES, workers=n, summary=False) for n in (0, 2)),
        *(Job("train", form, images=IMAGES, workers=n, folder=True) for form in ("pil", "hwc") for n in (0, 2)),
        *(Job("moco", form, images=IMAGES, workers=n, folder=True) for form in ("pil", "hwc") for n in (0, 2)),
    )
}


@lru_cache(maxsize=2)
def originals(size: tuple[int, int], count: int) -> Tensor:
    """Distinct images, contiguous uint8 ``[count, 3, H, W]``; a photo that is too small goes on in mirror images."""
    if max(size) <= 32:
        return photo_patches([photo(PHOTO)], count, size, seed=0)
    whole = mirrored(photo(PHOTO), size)
    return torch.stack([whole.roll(5 * i, -1) for i in range(count)])


def mirrored(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left part ``[C, H, W]`` of an image that goes on in mirror images of itself."""
    room = [(0, max(0, wanted - had)) for wanted, had in zip(size, image.shape[1:], strict=True)]
    return torch.from_numpy(np.pad(image.numpy(), [(0, 0), *room], "symmetric"))[:, : size[0], : size[1]]


def write_files(folder: Path) -> list[str]:
    """Write JPEG files of parts of every bundled photo in turn; gives their paths."""
    photos = [mirrored(photo(path.stem), (SMALL[0] + 64, SMALL[1] + 64)) for path in sorted(PHOTOS.glob("*.jpg"))]
    paths = []
    for i in range(IMAGES):
        top, left = i % 64, i * 5 % 64
        part = photos[i % len(photos)][:, top : top + SMALL[0], left : left + SMALL[1]]
        paths.append(str(folder / f"{i:03}.jpg"))
        from_tensor(part, "pil").save(paths[-1], quality=QUALITY)
    return paths


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
        in levels (1/255 of full range; normalized values are converted back).
    """
    target, answer = expected(job), values(found)
    if (answer.shape, answer.dtype) != (target.shape, target.dtype):
        raise ValueError(
            f"Expected {tuple(target.shape)} {target.dtype} as torchvision gives, "
            f"got {tuple(answer.shape)} {answer.dtype}."
        )
    error = (answer.double() - target.double()).abs()
    if job.settings.mean:
        error *= torch.tensor(job.settings.std, dtype=torch.float64)[:, None, None]
    if job.settings.floats:
        error *= 255
    limit = FLOAT_TOLERANCE * 255 if job.settings.floats else 0
    return {"equal": float((error <= limit).double().mean()), "largest": float(error.max())}
