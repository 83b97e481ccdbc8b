"""What the installed torch, torchvision and Pillow do where versions or processors differ: asked, never assumed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal, TypeVar

import PIL
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

A = TypeVar("A")

WIDTH = 64
"""Pixels of the image that is resized: the middle between two of them falls on the middle pixel of an odd size."""

TAPPED = 64
"""Pixels that are resized to two: sums of enough products to tell all groupings apart."""

GROUPS = (1, 2, 4, 8, 16)
"""Of products that are multiplied together, as long as vectors may be."""

SIZES = {"small": 63, "large": 289}
"""To what size: ``WIDTH / size`` is rounded in float32 so that the middle pixel tells how its place was computed."""

EXPORTS_SAFELY = int(PIL.__version__.partition(".")[0]) >= 13
"""Whether Pillow exports the memory of every image, or refuses to; a crash, as before 13, cannot be asked for."""


def check_export(image: Image.Image) -> None:
    """Raise a ValueError for an image whose export would crash a Pillow before 13: memory of others, or none."""
    image.load()
    if image.readonly or not all(image.size):
        raise ValueError("This Pillow cannot export an image that lies in an array or a mapped file, or is empty.")


def aside(ask: Callable[..., A], *arguments: Any) -> A:
    """Return the answer, from a thread of its own: whatever looks into torch's calls here (fake tensors, vmap) ends at
    it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask, *arguments).result()


@cache
def fuses(mode: Literal["bilinear", "bicubic"], large: bool) -> bool:
    """Return whether positions are fused (one rounding) where floats are resized without antialiasing.

    Torch has another loop for small outputs; it is the compiler that fuses, in one of its loops and not in the other.

    Args:
        mode: as in ``torch.nn.functional.interpolate``.
        large: of outputs of more than 256 rows and columns in all; up to 64 otherwise.
    """
    # With two roundings it lies right between -1 and 1; with one, it is beside.
    return aside(middle_of, mode, SIZES["large" if large else "small"]) != 0


def middle_of(mode: str, size: int) -> float:
    """Return the middle pixel of a row of zeros with -1 and 1 in its middle, resized."""
    row = torch.zeros(1, 1, 1, WIDTH, dtype=torch.float32, device="cpu")
    row[..., WIDTH // 2 - 1], row[..., WIDTH // 2] = -1, 1
    resized = torch.nn.functional.interpolate(row, (1, size), mode=mode, align_corners=False)
    return resized[0, 0, 0, size // 2].item()


@cache
def sums_fused(large: bool) -> bool:
    """Return whether two products are fused, the first onto the second, where floats are resized bilinearly so."""
    return aside(fuses_products, SIZES["large" if large else "small"])


def fuses_products(size: int) -> bool:
    """Return whether that explains a row that is resized; its weights are those of rows with a single 1."""

    def resized(rows: torch.Tensor) -> torch.Tensor:
        where = len(rows), size
        return torch.nn.functional.interpolate(rows[None, None], where, mode="bilinear", align_corners=False)[0, 0]

    weights = resized(torch.eye(WIDTH, dtype=torch.float32, device="cpu"))
    row = torch.arange(WIDTH, dtype=torch.float32, device="cpu") / 7 + 1.1
    first = weights.ne(0).int().argmax(0).clamp(max=WIDTH - 2)
    outputs = torch.arange(size, device="cpu")
    second = row[first + 1] * weights[first + 1, outputs]
    fused = (row[first].double() * weights[first, outputs].double() + second.double()).float()
    return resized(row[None])[0].equal(fused)


@cache
def grouping() -> int | None:
    """Return how many products are multiplied together where floats are resized with antialiasing, and rounded before
    they are added one by one; what is left over behind the last full group is fused.

    It is the compiler that makes groups of products, as long as its vectors.

    Returns:
        1: nothing is fused. None: another order, or not the same in both passes.
    """
    return aside(groups_of_sums)


def groups_of_sums() -> int | None:
    down, across = (products_rounded(axis) for axis in (-2, -1))
    behind = len(down)
    return next((n for n in GROUPS if down == across == [k < behind // n * n for k in range(behind)]), None)


def products_rounded(axis: Literal[-2, -1]) -> list[bool]:
    """Of the weights of a sum along an axis, behind the first: whether each product is rounded before it is added."""

    def resized(image: torch.Tensor) -> torch.Tensor:
        """Return the first of two outputs along the axis, whose other one stays as it is: for each row of the image."""
        image = image if axis == -1 else image.T
        size = (len(image), 2) if axis == -1 else (2, image.shape[-1])
        made = torch.nn.functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]
        return made[:, 0] if axis == -1 else made[0]

    weights = resized(torch.eye(TAPPED, dtype=torch.float32, device="cpu"))
    weights = weights[weights != 0]
    pixels = torch.zeros(len(weights) - 1, TAPPED, dtype=torch.float32, device="cpu")
    pixels[:, 1 : len(weights)].fill_diagonal_(1.1)
    products = 1.1 * weights[1:]
    pixels[:, 0] = -products / weights[0]
    # What is left is a whole number of the last bits of the product, if that was rounded.
    unit = 2.0 ** (products.log2().floor() - 23)
    return (resized(pixels) % unit == 0).tolist()


@cache
def resizes_levels() -> bool:
    """Return whether v2 resizes levels bilinearly as such; where it has no code for the processor, they go through
    floats."""
    return aside(levels_differ)


def levels_differ() -> bool:
    """Return whether the resize of some levels differs from that of the same floats, rounded: a sixth of values
    does."""
    levels = (torch.arange(32 * 32, device="cpu") * 97 % 256).to(torch.uint8).view(1, 32, 32)
    through_floats = functional.resize(levels.to(torch.float32), [28, 28]).round().to(torch.uint8)
    return not functional.resize(levels, [28, 28]).equal(through_floats)


@cache
def resizes_by_lanczos() -> bool:
    """Return whether v2 resizes tensors by Lanczos, which older torchvision refuses."""
    return aside(takes_lanczos)


def takes_lanczos() -> bool:
    try:
        functional.resize(torch.zeros(1, 4, 4, device="cpu"), [2, 2], InterpolationMode.LANCZOS)
    except (NotImplementedError, ValueError):
        return False
    return True


@cache
def resizes_by_name() -> bool:
    """Return whether v2 takes the name of an interpolation, which older torchvision refuses."""
    return aside(takes_names)


def takes_names() -> bool:
    try:
        functional.resize(torch.zeros(1, 4, 4, device="cpu"), [2, 2], "bilinear")
    except ValueError:
        return False
    return True


@cache
def takes_rows_first() -> bool:
    """Return whether Pillow resizes the rows of a tall image before its columns, as it does since 13."""
    image = Image.frombytes("L", (20, 200), bytes(place * 97 % 256 for place in range(4000)))
    return image.resize((10, 10)).tobytes() == image.resize((20, 10)).resize((10, 10)).tobytes()


@cache
def resizes_masks_exactly() -> bool:
    """Return whether v2 resizes masks by the exact nearest pixel where that is asked for; it once took the other
    always."""
    return aside(masks_differ)


def masks_differ() -> bool:
    mask = tv_tensors.Mask(torch.arange(5, device="cpu").to(torch.uint8).expand(5, 5).clone())
    resized = (
        functional.resize(mask, [3, 3], how) for how in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT)
    )
    return not next(resized).equal(next(resized))


FEWEST = 67
"""Pixels of a grid whose product with a matrix torch leaves to a library; fewer, it multiplies itself."""


@cache
def fuses_grids() -> int:
    """Return from how many pixels on the places of a warp are fused: the first product joins the second unrounded.

    It is the library that multiplies matrices (MKL) that does, or does not, by the maker of the processor; 0: never.
    """
    few, many = aside(grid_is_fused, FEWEST - 1), aside(grid_is_fused, FEWEST)
    return 1 if few and many else FEWEST if many else 0


def grid_is_fused(pixels: int) -> bool:
    """Return whether products that would cancel leave the rest that one of them had before it was rounded."""
    odd = 1 + 2.0**-12
    base = torch.tensor([odd, odd, 1.0], dtype=torch.float32, device="cpu").expand(1, pixels, 3).contiguous()
    matrix = torch.tensor([[[odd] * 2, [-odd] * 2, [0.0] * 2]], dtype=torch.float32, device="cpu")
    return bool((base.bmm(matrix) != 0).all())


@cache
def sums_windows_in_order() -> bool:
    """Return whether torch sums the products of a window with a plane of floats row by row, each fused onto the sum
    of those before, from 0: as its library (oneDNN) does for windows of more than 3 pixels, where the processor can.
    """
    return aside(window_in_order)


def window_in_order() -> bool:
    """Return whether that order, and no other, gives what torch does."""
    generator = torch.Generator().manual_seed(1)
    plane, window = (torch.rand(size, generator=generator, device="cpu") for size in ((40, 60), (7, 7)))
    rows, columns = (n - 6 for n in plane.shape)
    total = torch.zeros(rows, columns, dtype=torch.float64, device="cpu")
    for i in range(7):
        for j in range(7):
            part = plane[i : i + rows, j : j + columns]
            total = (part.double() * window[i, j].double() + total).float().double()
    one = torch.conv2d(plane[None, None], window[None, None])
    several = torch.conv2d(plane.expand(1, 3, *plane.shape), window.expand(3, 1, 7, 7), groups=3)
    return bool((torch.cat([one, several], 1) == total.float()).all())


@cache
def fuses_samples() -> bool:
    """Return whether torch fuses the products of a bilinear sample of a grid as they join their sum."""
    return aside(sample_is_fused)


def sample_is_fused() -> bool:
    """Return whether a place computed with two roundings lies elsewhere."""
    # (1 / 3 + 1) * 1.5 - 0.5, at the ramp of three pixels.
    ramp = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float32, device="cpu")
    x = torch.linspace(-0.6, 0.6, 97, dtype=torch.float32, device="cpu")
    grid = torch.stack([x, torch.zeros_like(x)], -1)[None, None]
    made = torch.nn.functional.grid_sample(ramp[None, None, None], grid, align_corners=False)[0, 0, 0]
    place = (x + 1) * 1.5 - 0.5
    part = place - place.floor()
    pixels = [ramp[(place.floor() + step).long().clamp(0, 2)] for step in (0, 1)]
    plain = pixels[0] * (1 - part) + pixels[1] * part
    return not made.equal(plain)
