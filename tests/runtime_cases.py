"""Random pipelines as program files, and images with what Python makes of them: what C and the browser are held to.

As a command, it writes such cases for a program that reads them, or program files alone:
``python runtime_cases.py FILE [COUNT [SEED]]``, ``python runtime_cases.py --programs FOLDER COUNT``.
"""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

from learned_transforms import LearnedCompose, export
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer
from learned_transforms.layers.fixed_size import FixedResampling, Scattered
from learned_transforms.layers.network import Network

IMAGES = 4
"""Of a pipeline, one after the other."""

LAYOUTS = ("hwc", "hwc of four", "chw", "part of hwc")
HWC, CHW = 1, 2


class Case(NamedTuple):
    """An image, and what a pipeline makes of it.

    Attributes:
        pipeline: what it is, in words.
        program: its file.
        memory: bytes that the image lies in.
        offset: of its first value.
        size: its rows and columns.
        steps: bytes from a row, pixel and channel to the next.
        draw: see ``export.draw_of``.
        layout: of the result, HWC or CHW.
        result: uint8 or float32.
    """

    pipeline: str
    program: bytes
    memory: bytes
    offset: int
    size: tuple[int, int]
    steps: tuple[int, int, int]
    draw: dict[str, Any]
    layout: int
    result: np.ndarray


def one_size(rng: random.Random) -> tuple[LearnedCompose, str, tuple[int, int]]:
    """Return a pipeline of a layer that takes images of one size, their kind, and that size."""
    height, width, rows, columns = (rng.randint(6, 40) for _ in range(4))
    draw = torch.Generator().manual_seed(rng.randint(0, 2**30))
    if rng.random() < 0.5:
        index = torch.randint(0, height * width, (rows * columns, 3), generator=draw)
        weights, bias = torch.rand(index.shape, generator=draw) / 3, torch.rand(len(index), generator=draw)
        how = Arithmetic("float32", rounding=rng.choice(("half_up", "truncate")))
        layer: Layer = Scattered(index, weights, bias, (height, width), (rows, columns), how)
    else:
        taps = [torch.rand(n_out, n_in, generator=draw) for n_out, n_in in ((rows, height), (columns, width))]
        some = [tap * (tap > 0.7) + 0.01 for tap in taps]
        whole = Arithmetic("int", 14, rounding="half_up", each_pass=True)
        how = rng.choice((whole, Arithmetic("float32", rounding="half_even")))
        layer = FixedResampling(*(tap / tap.sum(1, keepdim=True) for tap in some), how)
    return LearnedCompose([Network([layer], [{}], "uint8", floats=False)]), "uint8", (height, width)


def random_pipeline(seed: int) -> tuple[LearnedCompose, str, tuple[int, int] | None]:
    """Return a pipeline that program files hold, the kind of its images, and their size, if they have one."""
    rng = random.Random(seed)
    if rng.random() < 0.1:
        return one_size(rng)
    kind = rng.choice(("uint8", "pil"))
    api: Any = v1 if kind == "pil" and rng.random() < 0.5 else v2
    modes = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.NEAREST)
    how = {"interpolation": rng.choice(modes), "antialias": True}
    side, other = rng.randint(1, 60), rng.randint(1, 60)
    begins = (
        lambda: [],
        lambda: [api.Resize(side, **how)],
        lambda: [api.Resize((side, other), **how)],
        lambda: [api.Resize(side, max_size=side + rng.randint(1, 40), **how)],
        lambda: [api.RandomResizedCrop((side, other), **how)],
        lambda: [api.RandomCrop(side, padding=4, pad_if_needed=True)],
    )
    middles = (
        lambda: api.CenterCrop((other, side)),
        lambda: api.Pad(rng.randint(1, 5), fill=rng.randint(0, 255)),
        lambda: api.Pad(rng.randint(1, 5), padding_mode="edge"),
        lambda: api.RandomHorizontalFlip(),
        lambda: api.RandomVerticalFlip(rng.choice((0, 0.5, 1))),
        lambda: api.RandomGrayscale(0.5),
        lambda: api.RandomInvert(),
        lambda: api.RandomSolarize(rng.randint(0, 255)),
        lambda: api.RandomPosterize(rng.randint(1, 7)),
        lambda: api.RandomAutocontrast(),
        lambda: api.RandomEqualize(),
        lambda: api.RandomAdjustSharpness(rng.choice((0.0, 0.5, 2.0))),
        lambda: api.RandomApply([api.Grayscale(3)], p=0.5),
    )
    steps = [*rng.choice(begins)(), *(make() for make in rng.sample(middles, rng.randint(0, 3)))]
    if rng.random() < 0.6:
        mean, std = [[rng.uniform(low, high) for _ in range(3)] for low, high in ((0.3, 0.6), (0.1, 0.4))]
        scaled = v2.ToDtype(torch.float32, scale=True)
        to_float = [scaled] if kind == "uint8" else [v1.ToTensor()] if api is v1 else [v2.PILToTensor(), scaled]
        steps += [*to_float, *([api.Normalize(mean, std)] if rng.random() < 0.7 else [])]
    elif not steps or rng.random() < 0.2:
        steps.append(api.Grayscale(rng.choice((1, 3))))
    return LearnedCompose(steps, fallback="error"), kind, None


def laid_out(pixels: np.ndarray, layout: str, rng: np.random.Generator) -> tuple[bytes, int, tuple[int, int, int]]:
    """Return memory of an image ``[H, W, 3]``, where it begins there, and its steps."""
    height, width, _ = pixels.shape
    if layout == "chw":
        return pixels.transpose(2, 0, 1).tobytes(), 0, (width, 1, height * width)
    if layout == "hwc":
        return pixels.tobytes(), 0, (3 * width, 3, 1)
    wide = rng.integers(0, 256, (height + 2, width + 3, 4 if layout == "hwc of four" else 3), dtype=np.uint8)
    wide[1 : 1 + height, 2 : 2 + width, :3] = pixels
    row, pixel, _ = wide.strides
    # Nothing lies behind the last value that is used.
    return wide.tobytes()[: (height * row) + (1 + width) * pixel + 3], row + 2 * pixel, (row, pixel, 1)


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """Yield so many cases, the same ones for a seed."""
    for number in range(count):
        if number % IMAGES == 0:
            pipeline, kind, size = random_pipeline(seed + number)
            content = export.program(pipeline, kind=kind, size=size)
        rng = np.random.default_rng(seed + number)
        torch.manual_seed(seed + number)
        longest = 300 if number % 10 == 0 else 70
        height, width = size or (int(n) for n in rng.integers(6, longest, 2))
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if number % 3 == 0:
            pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels) if kind == "pil" else torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        params = pipeline.make_params(image)
        made = pipeline(image, params=params)
        result = np.asarray(made) if isinstance(made, Image.Image) else made.contiguous().numpy()
        layout = CHW if isinstance(made, torch.Tensor) else HWC
        memory, offset, steps = laid_out(pixels, LAYOUTS[number % len(LAYOUTS)], rng)
        draw = export.draw_of(pipeline, params, kind=kind)
        yield Case(str(pipeline.transforms), content, memory, offset, (height, width), steps, draw, layout, result)


def packed(case: Case) -> bytes:
    """Return a case as tests/native/runtime.c reads it: numbers of 64 bits, and bytes behind their count."""
    window = case.draw["window"]
    numbers = (*case.size, *case.steps, case.offset, case.draw["outcome"], window is not None, *(window or [0] * 4))
    blobs = (case.program, case.memory, case.result.tobytes())
    return struct.pack("<13q", *numbers, case.layout) + b"".join(struct.pack("<q", len(one)) + one for one in blobs)


def main(arguments: list[str]) -> None:
    """Write cases to a file, or the program files of random pipelines to a folder."""
    if arguments[0] == "--programs":
        folder = Path(arguments[1])
        folder.mkdir()
        for seed in range(int(arguments[2])):
            pipeline, kind, size = random_pipeline(seed)
            export.program(pipeline, folder / f"{seed}.ltp", kind=kind, size=size)
        return
    count, seed = (int(one) for one in [*arguments[1:], *["1000", "0"][len(arguments) - 1 :]])
    Path(arguments[0]).write_bytes(b"".join(map(packed, cases(count, seed))))


if __name__ == "__main__":
    main(sys.argv[1:])
