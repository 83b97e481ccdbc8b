"""Times on a GPU: learned pipelines against torchvision's on the same batches, and what a copy of as many bytes takes.

python gpu_times.py FOLDER [--device cpu]: writes times.json and times.md there. Each figure is a median of calls that
take turns, over several batches, so that no cache holds them all.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

TURNS, ROUNDS = 3, 20
FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
JITTER = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
PIPELINES = {
    "eval": [v2.Resize(256), v2.CenterCrop(224), *FLOATS],
    "eval, bicubic": [v2.Resize(256, InterpolationMode.BICUBIC), v2.CenterCrop(224), *FLOATS],
    "train": [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *FLOATS],
    "train, jitter in torchvision": [v2.RandomResizedCrop(224), JITTER, v2.RandomHorizontalFlip(), *FLOATS],
    "flip": [v2.RandomHorizontalFlip(), *FLOATS],
    "seed": [v2.Resize((28, 28)), v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1), v2.Grayscale(1), v2.ToImage()],
}
SIZES = {"seed": (32, 32)}
PHOTO = 427, 640
"""(rows, columns) of images, unless a pipeline has others."""


def timed(contenders: Sequence[Sequence[Callable[[], object]]], wait: Callable[[], None]) -> list[float]:
    """Median milliseconds of a call of each contender; they take turns."""
    for call in (call for calls in contenders for call in (*calls, *calls)):
        call()
    found: list[list[float]] = [[] for _ in contenders]
    for _ in range(ROUNDS):
        for calls, spent in zip(contenders, found, strict=True):
            wait()
            start = time.perf_counter()
            for call in calls:
                call()
            wait()
            spent.append(1e3 * (time.perf_counter() - start) / len(calls))
    return [statistics.median(spent) for spent in found]


def copying(moved: int, device: str) -> list[Callable[[], Tensor]]:
    """What copies half of so many bytes, so that all are moved."""
    pairs = [torch.empty(2, moved // 2, dtype=torch.uint8, device=device) for _ in range(TURNS)]
    return [lambda pair=pair: pair[0].copy_(pair[1]) for pair in pairs]


def measure(name: str, count: int, device: str, wait: Callable[[], None]) -> dict[str, object]:
    """One row: a pipeline on batches of so many images."""
    transforms, size = PIPELINES[name], SIZES.get(name, PHOTO)
    batches = [torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, device=device) for _ in range(TURNS)]
    ours, theirs = lt.LearnedCompose(transforms, fallback="torchvision"), v2.Compose(transforms)
    torch.manual_seed(0)
    found = ours(batches[0])
    torch.manual_seed(0)
    differing = int((found.cpu() != theirs(batches[0].cpu())).sum())
    calls = [[lambda b=b, run=run: run(b) for b in batches] for run in (ours, theirs)]
    own, other, copied = timed([*calls, copying(batches[0].nbytes + found.nbytes, device)], wait)
    return {
        "pipeline": name,
        "batch": count,
        "ours, us an image": 1e3 * own / count,
        "torchvision, us an image": 1e3 * other / count,
        "times as fast": other / own,
        "a copy of input and output, us an image": 1e3 * copied / count,
        "values that differ from torchvision on the CPU": differing,
        "of": found.numel(),
    }


def table(rows: Sequence[dict[str, object]]) -> str:
    """Rows as Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 256])
    options = parser.parse_args()
    on_gpu = options.device.startswith("cuda")
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    rows = [measure(name, count, options.device, wait) for name in PIPELINES for count in options.batches]
    told = {
        "device": torch.cuda.get_device_name() if on_gpu else options.device,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "backends": lt.backends(),
        "rows": rows,
    }
    (options.folder / "times.json").write_text(json.dumps(told, indent=1))
    (options.folder / "times.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
