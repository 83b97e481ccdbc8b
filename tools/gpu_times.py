"""Times on a GPU: learned pipelines against torchvision's on the same batches, and what a copy of as many bytes takes.

python gpu_times.py FOLDER PART [--device cpu]: a part is ``rows``, ``kernels``, ``set`` or ``compiled``; it writes
PART.json there, and prints a table. Each figure is a median of calls that take turns, over several batches, so that no
cache holds them all.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision.transforms import v2

import learned_transforms as lt

TURNS, OVER, ROUNDS, ENOUGH = 3, 3, 12, 3.0
"""Batches; how often each in a round; rounds, and seconds after which there are no more of them."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
CROP = v2.RandomResizedCrop(224)
MOCO = [
    v2.RandomResizedCrop(224, (0.2, 1.0)),
    v2.RandomApply([JITTER], 0.8),
    v2.RandomGrayscale(0.2),
    v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
    v2.RandomHorizontalFlip(),
]
SEED = [v2.Resize((28, 28)), v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1), v2.Grayscale(1)]
PIPELINES = {
    "seed": SEED,
    "eval": [v2.Resize(256), v2.CenterCrop(224)],
    "train": [CROP, v2.RandomHorizontalFlip()],
    "train + jitter": [CROP, JITTER, v2.RandomHorizontalFlip()],
    "MoCo": MOCO,
}
DRAWING = ("train", "train + jitter", "MoCo")
WARM = {"MoCo": 300, "train + jitter": 60}
"""Calls before those that are timed: each order that is drawn is compiled once."""
PHOTO, TINY = (427, 640), (32, 32)
"""(rows, columns) of images."""
SET = 10_000
"""Images of the set that one pass is over."""


def floats(name: str, dtype: torch.dtype) -> list[v2.Transform]:
    """What comes last: of the seed, no more than a conversion."""
    if name == "seed":
        return [v2.ToImage(), v2.ToDtype(dtype, scale=True)]
    return [v2.ToDtype(dtype, scale=True), v2.Normalize(MEAN, STD)]


def timed(contenders: Sequence[Sequence[Callable[[], object]]], wait: Callable[[], None]) -> list[float]:
    """Median milliseconds of a call of each contender; they take turns."""
    for call in (call for calls in contenders for call in (*calls, *calls)):
        call()
    found: list[list[float]] = [[] for _ in contenders]
    begun = time.perf_counter()
    for number in range(ROUNDS):
        if number > 2 and time.perf_counter() - begun > ENOUGH:
            break
        for calls, spent in zip(contenders, found, strict=True):
            wait()
            start = time.perf_counter()
            for call in calls * OVER:
                call()
            wait()
            spent.append(1e3 * (time.perf_counter() - start) / (OVER * len(calls)))
    return [statistics.median(spent) for spent in found]


def issuing(run: Callable[[Tensor], object], batch: Tensor, wait: Callable[[], None]) -> float:
    """Median microseconds until a call returns, on a GPU that has nothing else to do."""
    found = []
    for _ in range(20):
        wait()
        start = time.perf_counter()
        run(batch)
        found.append(1e6 * (time.perf_counter() - start))
    return statistics.median(found)


def copying(moved: int, device: str) -> list[Callable[[], Tensor]]:
    """What copies half of so many bytes, so that all are moved."""
    pairs = [torch.empty(2, moved // 2, dtype=torch.uint8, device=device) for _ in range(TURNS)]
    return [lambda pair=pair: pair[0].copy_(pair[1]) for pair in pairs]


def batches_of(name: str, count: int, device: str, turns: int = TURNS) -> list[Tensor]:
    size = TINY if name == "seed" else PHOTO
    return [torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, device=device) for _ in range(turns)]


def read(name: str, batch: Tensor, params: Sequence[object]) -> int:
    """Bytes of a batch that a pipeline needs."""
    if name == "seed":
        return batch.nbytes
    if name == "eval":
        return int(batch.nbytes * 427 / 640 * (224 / 256) ** 2)
    window = params[0]
    return int(batch.nbytes * window["height"] * window["width"] / (427 * 640))  # type: ignore[index]


def row(name: str, count: int, device: str, wait: Callable[[], None]) -> dict[str, object]:
    """One row: a pipeline on batches of so many images."""
    batches = batches_of(name, count, device)
    own = {
        dtype: lt.LearnedCompose([*PIPELINES[name], *floats(name, dtype)], fallback="torchvision")
        for dtype in (torch.float32, torch.float16)
    }
    theirs = v2.Compose([*PIPELINES[name], *floats(name, torch.float32)])
    run: dict[str, Callable[[Tensor], object]] = {
        "ours": own[torch.float32],
        "float16": own[torch.float16],
        "torchvision": theirs,
    }
    if name in DRAWING:
        run["per_sample"] = lambda batch: own[torch.float32](batch, per_sample=True)
        for pipeline in own.values():
            for _ in range(WARM.get(name, 5)):
                pipeline(batches[0])
        for _ in range(10):
            run["per_sample"](batches[0])
    torch.manual_seed(0)
    params = own[torch.float32].make_params(batches[0])
    made = own[torch.float32](batches[0], params=params)
    here = lt.LearnedCompose(own[torch.float32].transforms, fallback="torchvision")(batches[0].cpu(), params=params)
    needed = statistics.mean(
        read(name, batches[0], own[torch.float32].make_params(batches[0])) for _ in range(50 if name in DRAWING else 1)
    )
    copies = {"copy": needed + made.nbytes, "copy for float16": needed + made.nbytes // 2}
    calls = [[lambda b=b, f=f: f(b) for b in batches] for f in run.values()]
    spent = timed([*calls, *(copying(int(moved), device) for moved in copies.values())], wait)
    found = dict(zip([*run, *copies], spent, strict=True))
    return {
        "pipeline": name,
        "batch": count,
        **{f"{what}, us an image": 1e3 * ms / count for what, ms in found.items()},
        "times as fast as torchvision": found["torchvision"] / found["ours"],
        "us until a call of ours returns": issuing(run["ours"], batches[0], wait),
        "with a draw for each": found["torchvision"] / found["per_sample"] if name in DRAWING else "",
        "share of a copy": found["copy"] / found["ours"],
        "share for float16": found["copy for float16"] / found["float16"],
        "values that differ from the CPU": int((made.cpu() != here).sum()),
        "of": made.numel(),
    }


def rows(options: argparse.Namespace, wait: Callable[[], None]) -> Iterator[dict[str, object]]:
    """Every pipeline, at every size of batches."""
    for name in PIPELINES:
        for count in options.batches:
            yield row(name, count, options.device, wait)


def kernels(options: argparse.Namespace, wait: Callable[[], None]) -> Iterator[dict[str, object]]:
    """Time of each kernel of ours on the GPU itself, at the largest batch, and of all that torchvision launches."""
    count, activity = max(options.batches), torch.profiler.ProfilerActivity.CUDA
    for name, transforms in PIPELINES.items():
        batches = batches_of(name, count, options.device)
        learned = lt.LearnedCompose([*transforms, *floats(name, torch.float32)], fallback="torchvision")
        known = {"one draw": learned, "torchvision": v2.Compose(learned.transforms)}
        if name in DRAWING:
            known["each its own"] = lambda batch, learned=learned: learned(batch, per_sample=True)
        for what, run in known.items():
            for batch in batches * 2:
                run(batch)
            wait()
            calls = batches * (4 if name in DRAWING else 1)
            with torch.profiler.profile(activities=[activity]) as profile:
                for batch in calls:
                    run(batch)
                wait()
            spent: dict[str, list[float]] = {}
            for event in profile.events():
                spent.setdefault(event.name.split("(")[0][:40], []).append(event.device_time_total)
            total = sum(map(sum, spent.values())) / len(calls)
            shown = (
                {"all": total}
                if what == "torchvision"
                else {**{k: statistics.mean(v) for k, v in spent.items()}, "all": total}
            )
            told = ", ".join(f"{k} {v:.0f}" for k, v in shown.items())
            yield {"pipeline": name, "batch": count, "draws": what, "us on the GPU": told}


def whole_set(options: argparse.Namespace, wait: Callable[[], None]) -> Iterator[dict[str, object]]:
    """The seed's own table: one pass over a set of images of 32 x 32, image by image and in batches."""
    images = torch.randint(0, 256, (SET, 3, *TINY), dtype=torch.uint8)
    learned = lt.LearnedCompose([*SEED, *floats("seed", torch.float32)], fallback="torchvision")
    theirs = v2.Compose(learned.transforms)
    for device in dict.fromkeys(("cpu", options.device)):
        given = images.to(device)
        for size in (1, 64, 256):
            parts = given.unbind() if size == 1 else given.split(size)
            spent = {}
            for what, run in (("torchvision", theirs), ("ours", learned)):
                for part in parts[:20]:
                    run(part)
                wait()
                start = time.perf_counter()
                for part in parts:
                    run(part)
                wait()
                spent[what] = time.perf_counter() - start
            seconds = {f"{what}, s": value for what, value in spent.items()}
            ratio = spent["torchvision"] / spent["ours"]
            yield {"device": device, "images at once": size, **seconds, "times as fast": ratio}


def compiled(options: argparse.Namespace, wait: Callable[[], None]) -> Iterator[dict[str, object]]:
    """torchvision under torch.compile; not where windows are drawn, each of which it would compile anew."""
    for name in ("seed", "eval"):
        count = max(options.batches)
        batches = batches_of(name, count, options.device)
        learned = lt.LearnedCompose([*PIPELINES[name], *floats(name, torch.float32)], fallback="torchvision")
        start = time.perf_counter()
        theirs = torch.compile(v2.Compose(learned.transforms))
        for batch in batches * 3:
            theirs(batch)
        wait()
        took = time.perf_counter() - start
        own, other = timed([[lambda b=b, f=f: f(b) for b in batches] for f in (learned, theirs)], wait)
        us = {"ours, us an image": 1e3 * own / count, "compiled, us an image": 1e3 * other / count}
        yield {"pipeline": name, "batch": count, **us, "times as fast": other / own, "s to compile": took}


def table(found: Sequence[dict[str, object]]) -> str:
    """Rows as Markdown."""
    names = list(dict.fromkeys(name for one in found for name in one))
    lines = [names, ["---"] * len(names)]
    cells = [[one.get(name, "") for name in names] for one in found]
    lines += [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in line] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


PARTS = {"rows": rows, "kernels": kernels, "set": whole_set, "compiled": compiled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    on_gpu = options.device.startswith("cuda")
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    told = {
        "device": torch.cuda.get_device_name() if on_gpu else options.device,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "backends": lt.backends(),
    }
    found: list[dict[str, object]] = []
    try:
        for one in PARTS[options.part](options, wait):
            found.append(one)
            # What a later row costs, or breaks, takes none of those that are there.
            (options.folder / f"{options.part}.json").write_text(json.dumps({**told, "rows": found}, indent=1))
    finally:
        print(table(found), flush=True)


if __name__ == "__main__":
    main()
