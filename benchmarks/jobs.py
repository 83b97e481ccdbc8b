"""The jobs, in one table: which pipeline runs on which input, and what torchvision makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from learned_transforms.certificate import FLOAT_TOLERANCE
from learned_transforms.images import from_tensor, to_tensor
from learned_transforms.trainer.data import PHOTOS, photo, photo_patches

PHOTO = "hubble"
"""It has detail at every scale, and training never sees it."""

SMALL, LARGE = (427, 640), (1080, 1920)
"""Height and width of photos."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLUR, SIGMA = 23, (0.1, 2.0)
"""Window of a blur, and its least and largest standard deviation."""

RESIZED = (256, 384)
"""Height and width after the resize alone."""

SEED = 10
"""Of the draw under which outputs are compared: both flips happen, and the random crop is shrunk, not enlarged."""

BATCH = 32
"""Images per batch of the DataLoader."""

IMAGES = 256
"""Images per epoch of the DataLoader, in memory or in a folder."""

QUALITY = 90
"""Of the JPEG files in that folder."""


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

    def flip(self, direction: str) -> float:
        return self.horizontal if direction == "horizontal" else self.vertical


@dataclass(frozen=True)
class Pipeline:
    """A pipeline in terms that every library has; its transforms run in the order of these attributes.

    Attributes:
        title: for tables.
        size: height and width of its images, where a job says nothing else.
        channels: of its images.
        resize: height and width, or the length of the shorter edge; antialiased in torchvision.
        bicubic: what is resized, is so by bicubic in place of bilinear interpolation.
        centre: side of the crop at the centre.
        window: side of the random crop: out of the padded image, or resized from a box of any size.
        padding: before the random crop; None: that is a RandomResizedCrop.
        flips: ``"horizontal"``, ``"vertical"``, each with a probability of a half.
        gray: it goes on to one channel.
        floats: it goes on to floats in [0, 1].
        mean, std: with which those are normalised; empty: they are not.
        scale: share of the image that a random crop covers, least and most.
        jitter: of brightness, contrast, saturation and hue, with the chance of it; None: there is none.
        gray_chance, blur_chance, solarize_chance: of turning gray, of a blur, of solarizing at 128; 0: there is none.
    """

    title: str
    size: tuple[int, int] = SMALL
    channels: int = 3
    resize: int | tuple[int, int] | None = None
    bicubic: bool = False
    centre: int | None = None
    window: int | None = None
    padding: int | None = None
    flips: tuple[str, ...] = ()
    gray: bool = False
    floats: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: tuple[float, float] = (0.08, 1.0)
    jitter: tuple[tuple[float, float, float, float], float] | None = None
    gray_chance: float = 0
    blur_chance: float = 0
    solarize_chance: float = 0

    @property
    def deterministic(self) -> bool:
        return self.window is None and not self.flips

    @property
    def coloured(self) -> bool:
        return self.jitter is not None

    @property
    def resizes(self) -> bool:
        return self.resize is not None or (self.window is not None and self.padding is None)

    def body(self, t: Any, draw: Draw) -> list[Any]:
        """Its transforms before any conversion to float, out of ``torchvision.transforms`` or ``.v2``."""
        mode = v1.InterpolationMode.BICUBIC if self.bicubic else v1.InterpolationMode.BILINEAR
        steps: list[Any] = []
        if self.resize is not None:
            steps.append(t.Resize(self.resize, interpolation=mode, antialias=True))
        if self.centre is not None:
            steps.append(t.CenterCrop(self.centre))
        if self.window is not None and self.padding is None:
            steps.append(t.RandomResizedCrop(self.window, self.scale, interpolation=mode, antialias=True))
        elif self.window is not None:
            steps.append(t.RandomCrop(self.window, padding=self.padding))
        flips = {"horizontal": t.RandomHorizontalFlip, "vertical": t.RandomVerticalFlip}
        steps += [flips[name](draw.flip(name)) for name in self.flips]
        if self.jitter is not None:
            strength, chance = self.jitter
            jitter = t.ColorJitter(*strength)
            steps.append(jitter if chance == 1 else t.RandomApply([jitter], chance))
        steps += [t.RandomGrayscale(self.gray_chance)] if self.gray_chance else []
        steps += [t.RandomApply([t.GaussianBlur(BLUR, SIGMA)], self.blur_chance)] if self.blur_chance else []
        steps += [t.RandomSolarize(128, self.solarize_chance)] if self.solarize_chance else []
        return [*steps, t.Grayscale(1)] if self.gray else steps


def view(title: str, scale: tuple[float, float], window: int = 224, **options: Any) -> Pipeline:
    """One of DINO's views of an image."""
    jitter = ((0.4, 0.4, 0.2, 0.1), 0.8)
    return Pipeline(
        f"DINO, {title}",
        window=window,
        bicubic=True,
        flips=("horizontal",),
        mean=MEAN,
        std=STD,
        scale=scale,
        jitter=jitter,
        gray_chance=0.2,
        **options,
    )


PIPELINES = {
    "seed": Pipeline("seed", (32, 32), resize=(28, 28), flips=("horizontal", "vertical"), gray=True),
    "imagenet": Pipeline("ImageNet eval", resize=256, centre=224, mean=MEAN, std=STD),
    "train": Pipeline("ImageNet train", window=224, flips=("horizontal",), mean=MEAN, std=STD),
    "timm": Pipeline("timm eval, bicubic", resize=256, bicubic=True, centre=224, mean=MEAN, std=STD),
    # Its conversion to RGB is left out: every image here is RGB.
    "clip": Pipeline(
        "CLIP, bicubic",
        resize=224,
        bicubic=True,
        centre=224,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
    "vit": Pipeline("ViT", resize=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3),
    "cifar": Pipeline(
        "CIFAR train",
        (32, 32),
        window=32,
        padding=4,
        flips=("horizontal",),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "mnist": Pipeline("MNIST", (28, 28), channels=1, mean=(0.1307,), std=(0.3081,)),
    "jitter": Pipeline(
        "train + ColorJitter", window=224, flips=("horizontal",), mean=MEAN, std=STD, jitter=((0.4, 0.4, 0.4, 0.1), 1)
    ),
    "timm-train": Pipeline(
        "timm train",
        window=224,
        bicubic=True,
        flips=("horizontal",),
        mean=MEAN,
        std=STD,
        jitter=((0.4, 0.4, 0.4, 0), 1),
    ),
    "moco": Pipeline(
        "MoCo v2",
        window=224,
        flips=("horizontal",),
        mean=MEAN,
        std=STD,
        scale=(0.2, 1.0),
        jitter=((0.4, 0.4, 0.4, 0.1), 0.8),
        gray_chance=0.2,
        blur_chance=0.5,
    ),
    "simclr": Pipeline(
        "SimCLR",
        window=224,
        flips=("horizontal",),
        jitter=((0.8, 0.8, 0.8, 0.2), 0.8),
        gray_chance=0.2,
        blur_chance=0.5,
    ),
    "dino-1": view("first global view", (0.4, 1.0), blur_chance=1.0),
    "dino-2": view("second global view", (0.4, 1.0), blur_chance=0.1, solarize_chance=0.2),
    "dino-3": view("local view", (0.05, 0.4), 96, blur_chance=0.5),
    "resize": Pipeline("resize alone", resize=RESIZED, floats=False),
}

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
    draw: Draw = Draw()

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
COLOUR_JOBS = ("timm-train", "simclr", "dino-1", "dino-2", "dino-3")
JOBS = {
    job.name: job
    for job in (
        Job("seed", "chw"),
        Job("seed", "pil", summary=False),
        Job("seed", "batch", images=64),
        Job("seed", "batch", images=1024, summary=False),
        *(Job(name, form, size) for name in PHOTO_JOBS for form in ("hwc", "pil") for size in (None, LARGE)),
        *(Job(name, form) for name in COLOUR_JOBS for form in ("hwc", "pil")),
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
        in levels (1/255 of full range; normalised values are converted back).
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
