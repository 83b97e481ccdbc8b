"""The pipelines of the jobs, in terms that every library has."""

from dataclasses import dataclass
from typing import Any

import torchvision.transforms as v1

SMALL, LARGE = (427, 640), (1080, 1920)
"""Height and width of photos."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLUR, SIGMA = 23, (0.1, 2.0)
"""Window of a blur, and its least and largest standard deviation."""

RESIZED = (256, 384)
"""Height and width after the resize alone."""


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
        center: side of the crop at the center.
        window: side of the random crop: out of the padded image, or resized from a box of any size.
        padding: before the random crop; None: that is a RandomResizedCrop.
        flips: ``"horizontal"``, ``"vertical"``, each with a probability of a half.
        gray: it goes on to one channel.
        floats: it goes on to floats in [0, 1].
        mean, std: with which those are normalized; empty: they are not.
        scale: share of the image that a random crop covers, least and most.
        jitter: of brightness, contrast, saturation and hue, with the chance of it; None: there is none.
        gray_chance, blur_chance, solarize_chance: of turning gray, of a blur, of solarizing at 128; 0: there is none.
    """

    title: str
    size: tuple[int, int] = SMALL
    channels: int = 3
    resize: int | tuple[int, int] | None = None
    bicubic: bool = False
    center: int | None = None
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
    def colored(self) -> bool:
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
        if self.center is not None:
            steps.append(t.CenterCrop(self.center))
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
    "imagenet": Pipeline("ImageNet eval", resize=256, center=224, mean=MEAN, std=STD),
    "train": Pipeline("ImageNet train", window=224, flips=("horizontal",), mean=MEAN, std=STD),
    "timm": Pipeline("timm eval, bicubic", resize=256, bicubic=True, center=224, mean=MEAN, std=STD),
    # Its conversion to RGB is left out: every image here is RGB.
    "clip": Pipeline(
        "CLIP, bicubic",
        resize=224,
        bicubic=True,
        center=224,
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
