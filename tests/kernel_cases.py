"""Random images and pipelines for the kernels of the CUDA backend."""

import numpy as np
import torch
import torchvision.transforms as v1
from torchvision.transforms import InterpolationMode, v2

from learned_transforms.installed import resizes_by_lanczos

FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
LANCZOS = [InterpolationMode.LANCZOS] if resizes_by_lanczos() else []
MODES = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, *LANCZOS)


def length(rng, most):
    """Small ones are as likely as large ones."""
    return int(most ** rng.random())


def random_image(rng):
    """Levels of any size, shape and layout; noise, or black and white, which overshoots."""
    channels, size = rng.choice((1, 3, 3)), (length(rng, 300), length(rng, 300))
    lead = rng.choice(((), (), (1,), (rng.randint(2, 4),), (2, 2)))
    levels = torch.from_numpy(np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (*lead, channels, *size)))
    image = (levels if rng.random() < 0.5 else levels // 128 * 255).to(torch.uint8)
    layout = rng.randrange(6)
    if layout == 1:
        return image.movedim(-3, -1).contiguous().movedim(-1, -3)
    if layout == 2:
        return image.mT.contiguous().mT
    if layout == 3:
        return image[..., size[0] // 3 :, size[1] // 4 :]
    if layout == 4 and lead:
        return image[:1].expand(image.shape)
    if layout == 5 and len(lead) == 1:
        return image.contiguous(memory_format=torch.channels_last)
    return image


def random_colors(rng):
    """What is drawn for the colors of an image, and blurs."""
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, rng.choice((0.1, 0.5)))
    known = (
        jitter,
        v2.RandomApply([jitter], 0.8),
        v1.ColorJitter(brightness=0.3, contrast=(0.1, 1.9), hue=0.2),
        v2.ColorJitter(saturation=(0.0, 3.0)),
        v2.RandomPhotometricDistort(p=0.8),
        v2.RandomGrayscale(0.5),
        v1.RandomGrayscale(0.5),
        v2.RandomPosterize(3),
        v2.RandomSolarize(120.0),
        v2.RandomApply([v2.GaussianBlur(rng.choice((3, (5, 9))), (0.1, 3.0))], 0.6),
    )
    return rng.sample(known, rng.choice((0, 0, 1, 1, 2, 3)))


def random_pipeline(rng, channels):
    """A resample or none, crops, flips and colors about it, and what comes last."""
    flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    size, mode = (length(rng, 90), length(rng, 90)), rng.choice(MODES)
    first = rng.choice(
        (
            [v2.RandomResizedCrop(size, (0.05, 1.0), (0.2, 5.0), mode)],
            [v2.Resize(size, mode)],
            [rng.choice(flips), v2.Resize(size, mode)],
            [v2.Resize(size[0], mode, max_size=size[0] + 40)],
            [v2.Resize(size, mode), v2.RandomCrop((length(rng, size[0]), length(rng, size[1]))), v2.Resize(size, mode)],
            [v2.RandomCrop(size, 3, pad_if_needed=True)],
            [v2.Pad(rng.randint(0, 5))],
            [],
        )
    )
    crop = rng.choice(([], [], [v2.CenterCrop((length(rng, 99), length(rng, 99)))]))
    colors = random_colors(rng)
    gray = [v2.Grayscale(1)] if channels == 3 and rng.random() < 0.1 else []
    channels = 1 if gray else channels
    floats = [FLOATS[0], v2.Normalize(FLOATS[1].mean[:channels], FLOATS[1].std[:channels])]
    halves = [v2.ToDtype(torch.float16, scale=True), floats[1]]
    ends = [], floats, floats, floats[:1], halves, [v2.RandomInvert(), *floats], [v2.RandomSolarize(99.0)]
    some, rest = rng.sample(flips, rng.randint(0, 2)), rng.sample(flips, rng.randint(0, 1))
    return [*first, *crop, *some, *colors, *rest, *gray, *rng.choice(ends)]
