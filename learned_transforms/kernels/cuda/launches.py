"""The launches of a batch: records filled in, memory between them, and what each kernel is told."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from learned_transforms.images.formats import Window
from learned_transforms.ir.ops import Slot
from learned_transforms.kernels.cuda.driver import THREADS, Driver
from learned_transforms.kernels.cuda.recipes import BlurRecipe, Recipe
from learned_transforms.kernels.cuda.records import REACH, ROW, Batch, Made, ResampleRecord, RowRecord
from learned_transforms.kernels.reference.color import float32_taps

TILE = 56, 32
"""Rows and columns of outputs that a block makes."""
BLURRED, PITCH = (32, 64), 68
"""The same of those that blur; and values from row to row of them."""
SHARED = 48 << 10
"""Bytes of shared memory that a block has without asking for more."""
CAPTURED: set[Recipe] = set()
"""What graphs have captured: they read its tables whenever they are replayed."""
DISTANCES = np.arange(REACH, dtype=np.float64)
RECORD = -(-ctypes.sizeof(RowRecord) // 16) * 16
BEFORE = RECORD + 4 * (3 * 256 + THREADS)
"""Bytes of shared memory for a record; and also for a table, and a sum of each thread."""


class Source(NamedTuple):
    """Where images lie: the first of them, bytes from one to the next, and where their memory ends.

    Attributes:
        strides: in bytes, of channels, rows and pixels.
    """

    data: int
    image: int
    end: int
    strides: tuple[int, ...]


def source_of(images: Tensor) -> Source:
    """Return where uint8 images ``[N, C, H, W]`` lie."""
    storage = images.untyped_storage()
    image, *strides = images.stride()
    return Source(images.data_ptr(), image, storage.data_ptr() + storage.nbytes(), tuple(strides))


class Given(NamedTuple):
    """What a launch is told of its images.

    Attributes:
        one: the record of all of them, where it is one.
        rows: else the address of the records of each.
        stride: bytes from one image to the next.
        outputs: columns and rows that are made of an image, at most.
        stretches: input pixels to one output, across and down, at most.
        window: of a blur, across and down, at most.
    """

    one: RowRecord
    rows: int
    stride: int
    outputs: Sequence[int]
    stretches: Sequence[float]
    window: Sequence[int]


def clip(window: Any, size: Any, first: Any, count: Any) -> tuple[Any, Any]:
    """Return which of the pixels of a window there are, along one axis, of those that are taken.

    Args:
        window: its start, and its length.
        size: of the image.
        first, count: pixels that are taken of the window.

    Returns:
        the first of them in the window, and how many.
    """
    start, length = window
    begin = np.maximum(np.maximum(-start, 0), first)
    end = np.minimum(np.minimum(size - start, length), first + count)
    return begin, np.maximum(end - begin, 0)


def alike(
    recipe: Recipe,
    sources: Sequence[Source],
    size: tuple[int, int],
    window: Window | None,
    factors: Sequence[float],
) -> list[Given]:
    """Return what the launches are told of images that are all treated alike.

    Args:
        sources: where the images of each launch lie.
        size: (rows, columns) of the images.
        window: the part of them that is used.
        factors: what else was drawn.
    """
    made = []
    for number, (bare, source) in enumerate(zip(recipe.rows, sources, strict=True)):
        row = RowRecord.from_buffer_copy(bare)
        top, left, down, right = recipe.offsets[number]
        if window is not None and not number:
            if recipe.resamples[0] is not None:
                row.inputs = window[3], window[2]
            if recipe.padded:
                (top, rows), (left, columns) = (
                    clip((window[axis], window[axis + 2]), size[axis], first, row.outputs[1 - axis])
                    for axis, first in ((0, top), (1, left))
                )
                moved = left - recipe.offsets[0][1], top - recipe.offsets[0][0]
                row.start = tuple(int(row.start[n] + row.step[n] * moved[n]) for n in range(2))
                row.outputs = int(columns), int(rows)
            top, left = int(window[0] + top), int(window[1] + left)
        channel, line, pixel = source.strides
        row.data, row.end = source.data + top * line + left * pixel, source.end
        row.channel, row.row, row.pixel = channel if row.channels > 1 else 0, line * down, pixel * right
        if factors:
            row.factors[: len(factors)] = factors
        blur = recipe.blurs[number]
        if blur is not None:
            weights = weights_of(blur, np.array([factors], dtype=np.float64))
            ctypes.memmove(row.weights, weights.ctypes.data, weights.nbytes)
            row.band = 0.0 if blur.form == "passes" else float(band_of(blur, weights)[0])
        stretches = [n / max(size, 1) for n, size in zip(row.inputs, row.size, strict=True)]
        made.append(Given(row, 0, source.image, row.outputs, stretches, row.window))
    return made


def each(
    recipes: Sequence[Recipe],
    sources: Sequence[Sequence[Source]],
    sizes: Any,
    windows: Any,
    factors: Sequence[Sequence[float]],
) -> tuple[list[Given], Tensor]:
    """Return what the launches are told of images with a recipe each, and the memory that it lies in.

    Args:
        sources: for each launch, where its images lie: all together, or each by itself.
        sizes: of each image, ``[N or 1, 2]``.
        windows: the part of each that is used, ``[N, 4]``; None: the whole.
        factors: what else was drawn for each.
    """
    count, device = len(recipes), recipes[0].device
    known = {recipe: n for n, recipe in enumerate(dict.fromkeys(recipes))}
    which = np.array([known[recipe] for recipe in recipes])
    nbytes = len(sources) * count * ROW.itemsize
    host = torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=device.type == "cuda")
    records = host.numpy().view(ROW).reshape(len(sources), count)
    drawn = np.array(factors, dtype=np.float64)
    for number, (rows, given) in enumerate(zip(records, sources, strict=True)):
        rows[:] = np.frombuffer(b"".join([recipe.rows[number] for recipe in known]), ROW)[which]
        places = np.array([(one.data, one.end, *one.strides) for one in given], dtype=np.int64)
        if len(given) == 1:
            places = np.repeat(places, count, axis=0)
            places[:, 0] += np.arange(count) * given[0].image
        offsets = np.array([recipe.offsets[number] for recipe in known], dtype=np.int64)[which]
        if not number and windows is not None:
            cut(rows, offsets, sizes, windows, any(recipe.padded for recipe in known))
        rows["data"] = places[:, 0] + (offsets[:, :2] * places[:, 3:]).sum(1)
        rows["end"], rows["channel"] = places[:, 1], places[:, 2] * (rows["channels"] > 1)
        rows["row"], rows["pixel"] = (places[:, 3:] * offsets[:, 2:]).T
        rows["factors"][:, : drawn.shape[1]] = drawn
        blurs = [recipe.blurs[number] for recipe in known]
        for blur in dict.fromkeys(blurs):
            if blur is not None:
                own = np.flatnonzero(np.array([other == blur for other in blurs])[which])
                rows["weights"][own] = weights = weights_of(blur, drawn[own])
                rows["band"][own] = 0.0 if blur.form == "passes" else band_of(blur, weights)
    table = host.to(device, non_blocking=True)
    made = []
    for number, rows in enumerate(records):
        most = [rows[name].max(0).tolist() for name in ("outputs", "window")]
        stretches = (rows["inputs"] / np.maximum(rows["size"], 1)).max(0).tolist()
        made.append(Given(RowRecord(), table.data_ptr() + number * rows.nbytes, 0, most[0], stretches, most[1]))
    return made, table


def cut(rows: Any, offsets: Any, sizes: Any, windows: Any, padded: bool) -> None:
    """Have records, and offsets ``[N, 4]``, begin in windows ``[N, 4]`` of images of ``sizes [N or 1, 2]``."""
    resampled = rows["size"][:, :1] > 0
    rows["inputs"] = np.where(resampled, windows[:, :1:-1], rows["inputs"])
    if padded:
        for axis in range(2):
            side, first = 1 - axis, offsets[:, axis].copy()
            begin, count = clip(windows[:, axis::2].T, sizes[:, axis], first, rows["outputs"][:, side])
            rows["start"][:, side] += (rows["step"][:, side] * (begin - first)).astype(np.int32)
            rows["outputs"][:, side], offsets[:, axis] = count, begin
    offsets[:, :2] += windows[:, :2]


def weights_of(blur: BlurRecipe, factors: Any) -> Any:
    """Return the weights of blurs with factors ``[N, K]``, float32 ``[N, 2, REACH]``: across and down, from the middle
    on."""
    sigma = blur.sigma
    sigmas = factors[:, sigma.number] if isinstance(sigma, Slot) else np.full(len(factors), sigma)
    if blur.form != "passes":
        return at_once(blur, sigmas)
    square = (DISTANCES / sigmas[:, None]) ** 2
    exponent, power = blur.coefficients[0] * square, square
    for coefficient in blur.coefficients[1:]:
        power = power * square
        exponent = exponent + coefficient * power
    taps = np.exp(exponent)
    # Sums go from one end of the window to the other.
    sides = {length: taps / taps[:, away_from(length)].cumsum(1)[:, -1:] for length in set(blur.size)}
    made = np.empty((len(taps), 2, REACH), dtype=np.float32)
    made[:, 0], made[:, 1] = sides[blur.size[1]], sides[blur.size[0]]
    return made


def at_once(blur: BlurRecipe, sigmas: Any) -> Any:
    """Return the same of windows that are summed at once, which end where their taps do."""
    sigma = torch.from_numpy(sigmas.astype(np.float32))[:, None]
    made = np.zeros((len(sigmas), 2, REACH), dtype=np.float32)
    for side, length in enumerate(reversed(blur.size)):
        taps = float32_taps(blur.coefficients[0], sigma, length, blur.form)
        made[:, side, : length // 2 + 1] = taps[:, length // 2 :].numpy()
    return made


def band_of(blur: BlurRecipe, weights: Any) -> Any:
    """Return how far sums of windows at once are from sums of columns and then rows, at most: float32 ``[N]``.

    A rounding is at most half of the last bit of a sum below 256, and no more than what is added, of levels up to 255.
    """
    half_bit, most = 2.0**-17, 255.0
    high, wide = blur.size
    across, down = (weights[:, n, away_from(length)].astype(np.float64) for n, length in ((0, wide), (1, high)))
    products = (down[:, :, None] * across[:, None]).reshape(len(down), -1)
    roundings = [np.minimum(most * taps, half_bit).sum(1) for taps in (products, down, across)]
    totals = down.sum(1), across.sum(1)
    apart = roundings[0] + roundings[1] * totals[1] + roundings[2] * totals[0] + most * 2.0**-24 * totals[0] * totals[1]
    return (apart * 1.001 + 1e-6).astype(np.float32)


@cache
def away_from(length: int) -> Any:
    """Return how far each pixel of a window lies from its middle."""
    return np.abs(np.arange(length) - length // 2)


def launch(
    driver: Driver,
    recipe: Recipe,
    given: Sequence[Given],
    summed: Sequence[bool],
    fills: Sequence[Tensor | None],
    targets: Sequence[Tensor],
    steady: bool = False,
) -> None:
    """Launch on the current stream.

    Args:
        recipe: of the images, or of one of them.
        given: for each launch, what it is told of its images.
        summed: whether it sums their gray.
        fills: what is filled in before; None: nothing is.
        targets: ``[N, C, H, W]``, what it makes.
        steady: all images that this recipe is for have the same weights, which are kept.
    """
    count, device, stream = len(targets[0]), targets[0].device, driver.stream()
    sums = torch.empty((sum(summed), count), dtype=torch.int64, device=device) if any(summed) else None
    keeps = driver.keeps()
    if not keeps:
        CAPTURED.add(recipe)
    before = after = used = 0
    for number, (one, target) in enumerate(zip(given, targets, strict=True)):
        fill, resample = fills[number], recipe.resamples[number]
        if fill is not None:
            target.copy_(fill)
        before, after = after, 0
        if summed[number] and sums is not None:
            after, used = sums[used].data_ptr(), used + 1
            if resample is None or steady:
                sums[used - 1].zero_()
        if not all(one.outputs):
            continue
        batch = Batch(one.rows, one.stride, before, after)
        grid = grid_of(recipe.kernels[number], one, resample, recipe.channels[number])
        told: tuple[Any, ...] = ctypes.c_int(grid.across), ctypes.c_int(grid.tiles)
        if resample is not None:
            taps = recipe.taps.get((number, stream)) if steady and keeps else None
            if taps is None:
                taps = weigh(driver, resample, grid.room, one, batch, target, stream)
                if steady and keeps:
                    recipe.taps[number, stream] = taps
            told = ctypes.c_void_p(taps.data_ptr()), ctypes.c_int(grid.room), *told, ctypes.c_int(grid.lines)
        made = Made(target.data_ptr(), *target.stride(), target.element_size())
        driver.launch(recipe.kernels[number], count * grid.tiles, grid.shared, (one.one, batch, *told, made), stream)


def weigh(
    driver: Driver, resample: ResampleRecord, room: int, given: Given, batch: Batch, target: Tensor, stream: int
) -> Tensor:
    """Launch what works out the weights of a resample, and return their memory."""
    count = len(target)
    images, how = count if given.rows else 1, ResampleRecord.from_buffer_copy(resample)
    how.room = room
    taps = torch.empty(2 * images * room, dtype=torch.int32, device=target.device)
    told = given.one, batch, how, ctypes.c_int(count), ctypes.c_void_p(taps.data_ptr())
    driver.launch("axis_taps", 2 * images, RECORD + 8 * THREADS, told, stream)
    return taps


class Grid(NamedTuple):
    """The blocks of a launch.

    Attributes:
        across, tiles: of an image: blocks side by side, and all.
        shared: bytes of shared memory of each.
        room: of a resample, ints for the weights of an axis.
        lines: of a resample, lines of an image that a block takes at once.
    """

    across: int
    tiles: int
    shared: int
    room: int = 0
    lines: int = 0


def grid_of(kernel: str, given: Given, resample: ResampleRecord | None, channels: int) -> Grid:
    """Return the blocks of a launch; room is for the image that shrinks most."""
    (columns, rows), (high, wide) = given.outputs, BLURRED if kernel == "blur" else TILE
    across = -(-columns // wide)
    tiles = across * -(-rows // high)
    if resample is None:
        return Grid(across, tiles, memory_of_blur(given.window) if kernel == "blur" else BEFORE)
    pairs = (int(2 * resample.support * max(*given.stretches, 1)) + 8) // 4 * 2
    lines, shared = chunk_of(resample.support, channels, given.stretches[1])
    return Grid(across, tiles, shared, 1 + max(columns, rows) * (2 + pairs), lines)


def chunk_of(support: int, channels: int, stretch: float) -> tuple[int, int]:
    """Lines of an image that a block takes at once, and the bytes of shared memory for it."""
    line, made, sums = channels * TILE[1], channels * TILE[0] * TILE[1], 4 * channels * TILE[0] * TILE[1]
    stretch, before = max(stretch, 1), BEFORE + made
    lines = (int(TILE[0] * stretch) + int(2 * support * stretch) + 12) // 4 * 4
    if before + lines * line <= SHARED:
        return lines, before + lines * line
    lines = (SHARED - before - sums) // line // 4 * 4
    return lines, before + lines * line + sums


def memory_of_blur(window: Sequence[int]) -> int:
    """Bytes of shared memory for a blur."""
    (high, wide), (across, down) = BLURRED, window
    columns, lines = wide + across - 1, high + down - 1
    return BEFORE + 3 * high * PITCH + 4 * (across + down) + 4 * high * (columns | 1) + lines * columns
