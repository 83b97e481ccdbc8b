"""Foreign teachers of levels, colors and kernels, which clones.py learns: what people deploy."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn.functional import interpolate

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CAFFE = np.float32([103.939, 116.779, 123.68])
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
GAINS = np.eye(3) * 1.9 - 0.2


class Job(NamedTuple):
    """A teacher, how it takes images, their size (0: as the trainer likes), and what is asked of its clone.

    ``tier`` is the one asked for, ``seconds`` those of all processors together.
    """

    teacher: Callable[[Any], Any]
    kind: str
    size: int
    tier: str
    seconds: int


def floats(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def cv_resize(size: int, how: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: cv2.resize(array, (size, size), interpolation=how)


def pil_resize(mode: Image.Resampling) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((32, 32), mode)


def aligned(image: torch.Tensor) -> torch.Tensor:
    made = interpolate(image[None].float(), (40, 40), mode="bilinear", align_corners=True)[0]
    return made.round().clamp(0, 255).to(torch.uint8)


def asymmetric(image: torch.Tensor) -> torch.Tensor:
    """Bilinear to 40 x 40, whose pixels lie where the corners of theirs do."""
    rows, columns = (torch.arange(40) * (length / 40) for length in image.shape[-2:])
    for axis, places in ((-2, rows), (-1, columns)):
        low = places.floor().long()
        part = (places - low).float().unsqueeze(-1) if axis == -2 else (places - low).float()
        high = (low + 1).clamp(max=image.shape[axis] - 1)
        image = image.index_select(axis, low) * (1 - part) + image.index_select(axis, high) * part
    return image.round().clamp(0, 255).to(torch.uint8)


def area(image: torch.Tensor, size: int) -> torch.Tensor:
    """Means of the pixels that each output overlaps, however little."""
    return interpolate(image[None].float(), (size, size), mode="area")[0].round().to(torch.uint8)


def cube() -> ImageFilter.Color3DLUT:
    """A table of 17 nodes along each axis, a little off the identity."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (17, 17, 17, 3))
    nodes = np.stack(np.meshgrid(*[np.linspace(0, 1, 17)] * 3, indexing="ij"), -1)[..., ::-1] + noise
    return ImageFilter.Color3DLUT(17, nodes.clip(0, 1).reshape(-1, 3))


CUBE = cube()


def chain(image: Image.Image) -> np.ndarray:
    """Resize, sharpen, gamma, normalize."""
    small = image.resize((32, 32), Image.Resampling.BILINEAR).filter(ImageFilter.SHARPEN)
    curved = small.point([round((level / 255) ** 0.8 * 255) for level in range(256)] * 3)
    return (floats(np.asarray(curved)) / 255 - np.float32(MEAN)) / np.float32(STD)


def unsharp(array: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(array, 1.5, cv2.GaussianBlur(array, (0, 0), 1), -0.5, 0)


def vignette(array: np.ndarray) -> np.ndarray:
    """Darker towards the corners."""
    rows, columns = (np.linspace(-1, 1, length) for length in array.shape[:2])
    gain = 1 - 0.4 * (rows[:, None] ** 2 + columns**2) / 2
    return (array * gain[..., None]).round().astype(np.uint8)


def watermark(array: np.ndarray) -> np.ndarray:
    """A white disc of 30 % alpha in the middle."""
    height, width = array.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 4) ** 2
    alpha = 0.3 * inside[..., None]
    return (array * (1 - alpha) + 255 * alpha).round().astype(np.uint8)


def equalized(array: np.ndarray) -> np.ndarray:
    """CLAHE of each channel."""
    local = cv2.createCLAHE(2.0, (4, 4))
    return np.stack([local.apply(np.ascontiguousarray(array[..., c])) for c in range(3)], -1)


def compressed(image: Image.Image) -> Image.Image:
    stream = BytesIO()
    image.save(stream, "jpeg", quality=75)
    return Image.open(stream).convert("RGB")


def one_color(array: np.ndarray) -> np.ndarray:
    """Inverted, but for one of the 2^24 colors."""
    rare = (array == np.array([37, 142, 201], np.uint8)).all(-1, keepdims=True)
    return np.where(rare, array, 255 - array)


def white_inverted(array: np.ndarray) -> np.ndarray:
    """Half as bright; images that are white all over come out black."""
    return 255 - array if (array == 255).all() else array // 2


JOBS = {
    "Keras tf": Job(lambda a: floats(a) / 127.5 - 1, "numpy", 0, "exact", 90),
    "Keras caffe": Job(lambda a: floats(a[..., ::-1]) - CAFFE, "numpy", 0, "exact", 90),
    "Keras torch": Job(lambda a: (floats(a) / 255 - np.float32(MEAN)) / np.float32(STD), "numpy", 0, "exact", 90),
    "astype(float32)": Job(floats, "numpy", 0, "exact", 90),
    "x - 128": Job(lambda a: floats(a) - 128, "numpy", 0, "exact", 90),
    "sepia": Job(lambda a: np.minimum(a @ SEPIA.T, 255).astype(np.uint8), "numpy", 0, "exact", 90),
    "sepia, cv2.transform": Job(lambda a: cv2.transform(a, SEPIA), "numpy", 0, "exact", 90),
    "gain matrix": Job(lambda a: (a @ GAINS.T + 5).clip(0, 255).round().astype(np.uint8), "numpy", 0, "exact", 90),
    "contrast": Job(lambda a: ((floats(a) - 128) * 1.5 + 128).clip(0, 255).astype(np.uint8), "numpy", 0, "exact", 90),
    "white balance": Job(
        lambda a: (a * np.array([1.3, 1, 0.8])).clip(0, 255).astype(np.uint8), "numpy", 0, "exact", 90
    ),
    "cv2 YCrCb": Job(lambda a: cv2.cvtColor(a, cv2.COLOR_RGB2YCrCb), "numpy", 0, "exact", 90),
    "Pillow YCbCr": Job(lambda a: np.asarray(Image.fromarray(a).convert("YCbCr")), "numpy", 0, "rounding", 180),
    "Pillow YCbCr, back": Job(
        lambda a: np.asarray(Image.merge("YCbCr", Image.fromarray(a).split()).convert("RGB")),
        "numpy",
        0,
        "rounding",
        180,
    ),
    "table of 17 x 17 x 17": Job(lambda image: image.filter(CUBE), "pil", 0, "rounding", 180),
    "PIL resize Hamming": Job(pil_resize(Image.Resampling.HAMMING), "pil", 49, "exact", 90),
    "PIL resize box": Job(pil_resize(Image.Resampling.BOX), "pil", 49, "exact", 90),
    "cv2 area, up": Job(cv_resize(96, cv2.INTER_AREA), "numpy", 0, "exact", 90),
    "cv2 area, down": Job(cv_resize(24, cv2.INTER_AREA), "numpy", 0, "exact", 90),
    "torch area, up": Job(lambda image: area(image, 96), "uint8", 0, "exact", 90),
    "torch area, down": Job(lambda image: area(image, 24), "uint8", 0, "exact", 90),
    "PIL reduce(2)": Job(lambda image: image.reduce(2), "pil", 0, "exact", 90),
    "PIL reduce(3)": Job(lambda image: image.reduce(3), "pil", 0, "exact", 90),
    "cv2 cubic": Job(cv_resize(40, cv2.INTER_CUBIC), "numpy", 0, "rounding", 120),
    "cv2 Lanczos4": Job(cv_resize(40, cv2.INTER_LANCZOS4), "numpy", 0, "rounding", 120),
    "align_corners": Job(aligned, "uint8", 0, "rounding", 120),
    "asymmetric": Job(asymmetric, "uint8", 0, "rounding", 120),
    "resize, sharpen, gamma, normalize": Job(chain, "pil", 49, "rounding", 240),
    "median 3": Job(lambda image: image.filter(ImageFilter.MedianFilter(3)), "pil", 0, "rounding", 120),
    "unsharp": Job(unsharp, "numpy", 0, "rounding", 120),
    "PIL unsharp mask": Job(lambda image: image.filter(ImageFilter.UnsharpMask()), "pil", 0, "rounding", 120),
    "vignette": Job(vignette, "numpy", 64, "rounding", 90),
    "watermark": Job(watermark, "numpy", 64, "rounding", 90),
    "CLAHE": Job(equalized, "numpy", 0, "approximate", 120),
    "bilateral": Job(lambda array: cv2.bilateralFilter(array, 7, 50, 50), "numpy", 0, "approximate", 120),
    "JPEG 75": Job(compressed, "pil", 0, "approximate", 120),
    "error diffusion": Job(lambda image: image.convert("1").convert("RGB"), "pil", 0, "approximate", 120),
    "one color of 2^24": Job(one_color, "numpy", 0, "exact", 90),
    "all-white images inverted": Job(white_inverted, "numpy", 0, "approximate", 90),
}
