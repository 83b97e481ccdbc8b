"""Checks on a GPU: python gpu_checks.py FOLDER PART [--device cpu], which writes PART.json there. A part is

``parity``: random pipelines on random images, one draw for all and one for each, against the CPU;
``soak``: graph capture, two streams, and 10,000 calls;
``first``: the first call, cold and from the cache;
``small``: a few calls of every kernel, for compute-sanitizer.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import LearnedTransformsError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from gpu_times import MOCO, PHOTO, PIPELINES, floats
from kernel_cases import random_image, random_pipeline

MOST, SECONDS = 1000, 95


def parity(device: str) -> dict[str, object]:
    """How many values differ, of so many pipelines as there is time for, and of all colors turned."""
    begun, ran, values, differing, failed = time.perf_counter(), 0, 0, 0, []
    for seed in range(MOST):
        if time.perf_counter() - begun > SECONDS:
            break
        rng = random.Random(seed)
        image = random_image(rng)
        transforms = random_pipeline(rng, image.shape[-3]) or [v2.Identity()]
        for each in (False, True) if image.ndim == 4 else (False,):
            made = []
            for backend, where in (("cpu", "cpu"), ("cuda", device)):
                torch.manual_seed(seed)
                random.seed(seed)
                try:
                    learned = lt.LearnedCompose(transforms, backend=backend)
                    made.append(learned(image.to(where), per_sample=each).cpu())
                except LearnedTransformsError as error:
                    made.append(error)
            expected, found = made
            if isinstance(expected, Exception):
                wrong = 0 if type(found) is type(expected) else 1
            else:
                values += expected.numel()
                same = isinstance(found, torch.Tensor) and found.shape == expected.shape
                wrong = int((found != expected).sum()) if same else 1
            differing += wrong
            if wrong and len(failed) < 20:
                failed.append(
                    f"{seed} {each} {wrong} {tuple(image.shape)} {transforms} {found if not same else ''}"[:400]
                )
        ran += 1
    number = torch.arange(2**24, dtype=torch.int32).view(4096, 4096)
    every = torch.stack([number & 255, number >> 8 & 255, number >> 16]).to(torch.uint8)
    turned = [v2.ColorJitter(saturation=(1.37, 1.37), hue=(-0.37, -0.37))]
    here, there = (lt.LearnedCompose(turned, backend=backend) for backend in ("cpu", "cuda"))
    differing += int((there(every.to(device)).cpu() != here(every)).sum())
    values += every.numel()
    spent = time.perf_counter() - begun
    return {"pipelines": ran, "values": values, "differing": differing, "seconds": spent, "failed": failed}


def soak(device: str) -> dict[str, object]:
    """Whether what is captured, and what runs on two streams, gives the same; and what many calls leave."""
    told: dict[str, object] = {}
    batches = [torch.randint(0, 256, (8, 3, *PHOTO), dtype=torch.uint8, device=device) for _ in range(3)]
    for name in PIPELINES:
        learned = lt.LearnedCompose([*PIPELINES[name], *floats(name, torch.float16)], fallback="error")
        params = learned.make_params(batches[0])
        expected = [learned(batch, params=params) for batch in batches]
        static, graph = batches[0].clone(), torch.cuda.CUDAGraph()
        learned(static, params=params)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            made = learned(static, params=params)
        same = True
        for batch, wanted in zip(batches, expected, strict=True):
            static.copy_(batch)
            graph.replay()
            same &= made.equal(wanted)
        streams = [torch.cuda.Stream() for _ in range(2)]
        for _ in range(20):
            found = []
            for stream, batch in zip(streams, batches, strict=False):
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    found.append(learned(batch, params=params))
            torch.cuda.synchronize()
            same &= all(one.equal(other) for one, other in zip(found, expected, strict=False))
        told[f"{name}: graph and streams give the same"] = same
    for name, count, options in (("train", 10_000, {}), ("MoCo", 2_000, {}), ("MoCo", 300, {"per_sample": True})):
        learned = lt.LearnedCompose([*PIPELINES[name], *floats(name, torch.float32)], fallback="error")
        for _ in range(600 if name == "MoCo" and not options else 60):
            learned(batches[0], **options)
        torch.cuda.synchronize()
        held, start = torch.cuda.memory_reserved(), time.perf_counter()
        for _ in range(count):
            learned(batches[0], **options)
        torch.cuda.synchronize()
        grown = torch.cuda.memory_reserved() - held
        what = f"{count} calls of {name}{' per sample' * bool(options)}"
        told[what] = {"bytes more": grown, "us a call": 1e6 * (time.perf_counter() - start) / count}
    return told


FIRST = """
import time, torch
from torchvision.transforms import v2
import learned_transforms as lt
image = torch.zeros(8, 3, 99, 99, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
start = time.perf_counter()
lt.LearnedCompose([v2.Resize(32), v2.CenterCrop(28)], backend="cuda")(image)
torch.cuda.synchronize()
middle = time.perf_counter()
lt.LearnedCompose([v2.Resize(33), v2.CenterCrop(28)], backend="cuda")(image)
torch.cuda.synchronize()
print(middle - start, time.perf_counter() - middle)
"""


def first(device: str) -> dict[str, object]:
    """Seconds of the first call in a process, and of another pipeline's: nothing compiled, then all of it."""
    told: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {**os.environ, "LEARNED_TRANSFORMS_CACHE": folder}
        for what in ("cold", "from the cache"):
            done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, env=given)
            told[what] = [float(value) for value in done.stdout.split()] or done.stderr[-300:]
    return told


def small(device: str) -> dict[str, object]:
    """A few calls that come to every kernel."""
    batch = torch.randint(0, 256, (2, 3, 61, 75), dtype=torch.uint8, device=device)
    learned = lt.LearnedCompose([v2.RandomResizedCrop(40), *MOCO[1:], *floats("MoCo", torch.float32)], backend="cuda")
    values = 0
    for seed in range(6):
        torch.manual_seed(seed)
        values += learned(batch).numel() + learned(batch, per_sample=True).numel()
        values += learned(batch.contiguous(memory_format=torch.channels_last)).numel()
    gray = lt.LearnedCompose([v2.Resize((70, 20))], backend="cuda")
    values += gray(batch[:, :1]).numel() + gray(batch[:, :1, 3:, 5:]).numel()
    return {"values": values}


PARTS = {"parity": parity, "soak": soak, "first": first, "small": small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    told = PARTS[options.part](options.device)
    (options.folder / f"{options.part}.json").write_text(json.dumps(told, indent=1))
    print(options.part, json.dumps(told, indent=1), flush=True)


if __name__ == "__main__":
    main()
