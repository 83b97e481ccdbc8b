"""Images that need no data: bundled photos, what is cut out of them, and synthetic patterns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.trainer.data.sources import as_tensor

PHOTOS = Path(__file__).resolve().parents[2] / "photos"
TRAINING_PHOTOS = ("astronaut", "chelsea", "coffee")
HELD_OUT_PHOTOS = ("hubble", "rocket")


def photo(name: str) -> Tensor:
    """Return a bundled photo by name, uint8 ``[3, H, W]``."""
    return as_tensor(Image.open(PHOTOS / f"{name}.jpg").convert("RGB"))


def photo_patches(images: Sequence[Tensor], count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Random crops of random stride (1 to 8, so that fine and coarse texture both occur), uint8 ``[N, C, H, W]``."""
    rng = np.random.default_rng(seed)
    patches = []
    for _ in range(count):
        image = images[int(rng.integers(len(images)))]
        room = [(image.shape[axis + 1] - 1) // max(size[axis] - 1, 1) for axis in (0, 1)]
        stride = int(rng.integers(1, max(1, min(8, *room)) + 1))
        corner = [int(rng.integers(image.shape[axis + 1] - (size[axis] - 1) * stride)) for axis in (0, 1)]
        window = [slice(c, c + (n - 1) * stride + 1, stride) for c, n in zip(corner, size, strict=True)]
        patches.append(image[:, window[0], window[1]])
    return torch.stack(patches)


def noise(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Uniform noise over all levels."""
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def saturated(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Every value 0 or 255, at random."""
    return torch.randint(0, 2, (count, *shape), dtype=torch.uint8, generator=generator) * 255


def constant(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return one color all over: every gray in turn, then random colors."""
    gray = torch.arange(256, dtype=torch.uint8)[:count, None].expand(-1, shape[0])
    colors = torch.randint(0, 256, (max(0, count - 256), shape[0]), dtype=torch.uint8, generator=generator)
    return torch.cat([gray, colors])[:, :, None, None].expand(-1, *shape).clone()


def edges(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Two colors on either side of a straight line at a random angle."""
    c, h, w = shape
    y = torch.linspace(-1, 1, h)[None, :, None]
    x = torch.linspace(-1, 1, w)[None, None, :]
    angle = torch.rand(count, 1, 1, generator=generator) * (2 * torch.pi)
    offset = torch.rand(count, 1, 1, generator=generator) - 0.5
    side = (x * angle.cos() + y * angle.sin() > offset)[:, None]
    dark, light = torch.randint(0, 256, (2, count, c, 1, 1), dtype=torch.uint8, generator=generator)
    return torch.where(side, light, dark)


def checkerboards(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Fields of 1 to 4 pixels in two colors: the pattern with the most ties."""
    c, h, w = shape
    field = torch.randint(1, 5, (count, 1, 1), generator=generator)
    odd = ((torch.arange(h)[:, None] // field + torch.arange(w) // field) % 2).bool()[:, None]
    dark, light = torch.randint(0, 256, (2, count, c, 1, 1), dtype=torch.uint8, generator=generator)
    return torch.where(odd, light, dark)


def every_color() -> Tensor:
    """Each of the 2^24 colors once, uint8 ``[1, 3, 4096, 4096]``."""
    index = torch.arange(1 << 24, dtype=torch.int32).view(1, 4096, 4096)
    return torch.stack([(index >> shift & 255).to(torch.uint8) for shift in (16, 8, 0)], 1)


SYNTHETIC = {
    "noise": noise,
    "edges": edges,
    "checkerboards": checkerboards,
    "saturated": saturated,
    "constant": constant,
}


def synthetic(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Noise (half), and edges, checkerboards, saturated and constant images: uint8 ``[count, *shape]``."""
    generator = torch.Generator().manual_seed(seed)
    small = min(count // 8, 512)
    counts = dict.fromkeys(SYNTHETIC, small) | {"noise": count - small * (len(SYNTHETIC) - 1)}
    return torch.cat([make(counts[name], shape, generator) for name, make in SYNTHETIC.items()])


def training_images(count: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    """Return the bundled training set: half patches of three photos, half synthetic; uint8 ``[count, 3, *size]``."""
    patches = photo_patches([photo(name) for name in TRAINING_PHOTOS], count - count // 2, size, seed)
    return torch.cat([patches, synthetic(count // 2, (3, *size), seed)])


def held_out_images(count: int, size: tuple[int, int] = (32, 32), seed: int = 1) -> dict[str, Tensor]:
    """By group: ``count`` patches of the two photos that training never sees, and of each synthetic pattern."""
    generator = torch.Generator().manual_seed(seed)
    patches = photo_patches([photo(name) for name in HELD_OUT_PHOTOS], count, size, seed)
    return {"photos": patches} | {name: make(count, (3, *size), generator) for name, make in SYNTHETIC.items()}
