"""No losing corner: ``python benchmarks/grid.py [--seconds 0.1] [--only PIL] [--out grid.png]``.

A lone resize of images from 32 x 32 to 4K to sides of 28 to 512, in every mode and form: ours and torchvision take
turns call by call, at least five each, by the time of the thread. A line for each form and mode: times as fast as
torchvision, for each size (rows) and side (columns); then the median of all cells and the lowest. Pixels are compared
in every cell. ``--out`` draws the cells (extra ``bench``).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sizes import microseconds
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

SIZES = (32, 32), (64, 64), (128, 128), (224, 224), (480, 640), (1080, 1920), (2160, 3840)
SIDES = 28, 64, 112, 224, 512
MODES = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.LANCZOS, InterpolationMode.NEAREST
FORMS: dict[str, Callable[[Tensor], Any]] = {
    "HWC": lambda image: image.movedim(0, -1).contiguous().movedim(-1, 0),
    "CHW": lambda image: image,
    "gray": lambda image: image[:1],
    "float32 CHW": lambda image: image / 255,
    "PIL": lambda image: Image.fromarray(image.movedim(0, -1).contiguous().numpy()),
    "PIL gray": lambda image: Image.fromarray(image[0].numpy()),
}
"""By name: what is made of levels [3, H, W]."""

TURNS = 5


def taken(form: str, mode: InterpolationMode) -> bool:
    """Whether torchvision has a mode for a form in every version."""
    return mode is not InterpolationMode.LANCZOS or form.startswith("PIL")


def ratio(image: Any, mode: InterpolationMode, side: int, seconds: float) -> float:
    """Times as fast as torchvision: quotient of the medians.

    Raises:
        SystemExit: the pixels differ.
    """
    transform = v2.Resize((side, side), mode)
    ours = lt.LearnedCompose([transform], fallback="error")
    found, expected = np.asarray(ours(image)), np.asarray(transform(image))
    if not np.allclose(found, expected, rtol=0, atol=2e-6 if expected.dtype == np.float32 else 0):
        raise SystemExit(f"{mode.value} of {image} to {side}: pixels differ")
    times: tuple[list[float], list[float]] = [], []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times[0]) < TURNS:
        for column, run in zip(times, (ours, transform), strict=True):
            column.append(microseconds(lambda: run(image)))  # noqa: B023
    return statistics.median(times[1]) / statistics.median(times[0])


def draw(tables: dict[str, list[list[float]]], to: Path) -> None:
    """Write the cells as a picture, a panel for each form and mode."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import TwoSlopeNorm

    columns = 4
    rows = -(-len(tables) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 3 * rows), layout="constrained", squeeze=False)
    shown = None
    for axis, (name, table) in zip(axes.flat, tables.items(), strict=False):
        shown = axis.imshow(np.log2(table), norm=TwoSlopeNorm(0, -2, 4), cmap="RdYlGn", aspect="auto")
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(len(SIDES)), SIDES)
        axis.set_yticks(range(len(SIZES)), [f"{height} × {width}" for height, width in SIZES], fontsize=8)
        for y, line in enumerate(table):
            for x, value in enumerate(line):
                axis.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=8)
    for axis in list(axes.flat)[len(tables) :]:
        axis.axis("off")
    bar = figure.colorbar(shown, ax=axes, shrink=0.6, label="times as fast as torchvision")
    bar.set_ticks([-2, -1, 0, 1, 2, 3, 4], labels=["1/4", "1/2", "1", "2", "4", "8", "16"])
    figure.suptitle("A resize alone, one thread: sizes in rows, sides of the result in columns")
    figure.savefig(to, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each cell (%(default)s)")
    parser.add_argument("--only", default="", help="forms whose names hold this")
    parser.add_argument("--out", type=Path, help="draw the cells into this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    tables: dict[str, list[list[float]]] = {}
    cells: list[tuple[float, str]] = []
    for form, make in FORMS.items():
        for mode in MODES if options.only in form else ():
            if not taken(form, mode):
                continue
            name = f"{form}, {mode.value}"
            table = tables[name] = []
            for size in SIZES:
                image = make(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator))
                table.append([ratio(image, mode, side, options.seconds) for side in SIDES])
                cells += [(cell, f"{name}, {size} to {side}") for cell, side in zip(table[-1], SIDES, strict=True)]
            print(f"{name:<22}", " | ".join(" ".join(f"{cell:4.1f}" for cell in line) for line in table), flush=True)
    print(f"{len(cells)} cells: median {statistics.median(cell for cell, _ in cells):.2f}; the lowest:")
    for cell, name in sorted(cells)[:12]:
        print(f"  {cell:.2f}  {name}")
    if options.out is not None:
        draw(tables, options.out)


if __name__ == "__main__":
    main()
