"""Learn foreign pipelines as black boxes, and tell how faithful each clone is and how long it took.

Run ``python benchmarks/clones.py --out DIR``; it needs OpenCV and scikit-image (the extra ``bench``).
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from deployed import DEPLOYED, at_five_sizes
from imperfect import jpeg_pairs, wrong_pairs
from PIL import Image, ImageFilter
from skimage.transform import resize as skimage_resize
from teachers import JOBS as MORE
from teachers import Job, pil_resize
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from learned_transforms.errors import InputShapeError
from learned_transforms.images.formats import to_tensor
from learned_transforms.trainer import Result, retrain
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, PHOTOS, TRAINING_PHOTOS, photo, photo_patches

BT709 = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)[:, None, None]
ROWS, COLUMNS = np.mgrid[0:64, 0:64].astype(np.float32)
WAVE = COLUMNS + 3 * np.sin(ROWS / 7), ROWS + 2 * np.cos(COLUMNS / 9)
PAIRS = 500
SIZES = ((427, 640), (333, 500), (224, 224), (97, 61), (48, 120))
"""Rows and columns of the held-out photos that clones are compared on."""


def gamma_gray(image: torch.Tensor) -> torch.Tensor:
    """Gamma 2.2 in levels, then BT.709 gray, rounded half up."""
    curve = ((image.double() / 255) ** 2.2 * 255).round()
    return ((curve * BT709).sum(0, keepdim=True) + 0.5).floor().clamp(0, 255).to(torch.uint8)


def cubic_matrix(n_in: int, n_out: int, a: float) -> torch.Tensor:
    scale = n_in / n_out
    center = (torch.arange(n_out, dtype=torch.float64) + 0.5) * scale
    t = ((torch.arange(n_in) + 0.5) - center[:, None]).abs() / max(scale, 1)
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    weights = torch.where(t < 1, near, torch.where(t < 2, far, 0.0))
    return weights / weights.sum(1, keepdim=True)


def cubic(image: torch.Tensor) -> torch.Tensor:
    """Bicubic with a = -0.6, in float64."""
    rows, columns = (cubic_matrix(length, 32, -0.6) for length in image.shape[-2:])
    return rows @ (image.double() / 255) @ columns.T


SEED = v2.Compose(
    [
        v2.Resize((28, 28)),
        v2.RandomHorizontalFlip(p=1),
        v2.RandomVerticalFlip(p=1),
        v2.Grayscale(1),
        v2.ToDtype(torch.float32, scale=True),
    ]
)
JOBS = {
    **MORE,
    "PIL resize bilinear": Job(pil_resize(Image.Resampling.BILINEAR), "pil", 48, "exact", 60),
    "PIL resize bicubic": Job(pil_resize(Image.Resampling.BICUBIC), "pil", 48, "exact", 60),
    "PIL resize Lanczos": Job(pil_resize(Image.Resampling.LANCZOS), "pil", 48, "exact", 60),
    "seed pipeline, uint8": Job(SEED, "uint8", 32, "exact", 60),
    "cv2 resize linear": Job(lambda x: cv2.resize(x, (28, 28)), "numpy", 64, "rounding", 60),
    "cv2 resize area": Job(
        lambda x: cv2.resize(x, (28, 28), interpolation=cv2.INTER_AREA), "numpy", 64, "rounding", 60
    ),
    "skimage resize, anti-aliased": Job(
        lambda x: skimage_resize(x, (28, 28), anti_aliasing=True), "numpy", 64, "exact", 60
    ),
    "gamma, then BT.709 gray": Job(gamma_gray, "uint8", 32, "exact", 30),
    "transpose by 90 degrees": Job(lambda x: x.transpose(Image.Transpose.ROTATE_90), "pil", 32, "exact", 30),
    "flip and crop": Job(lambda x: x.flip(-1)[..., 3:27, 2:30], "uint8", 32, "exact", 30),
    "PIL rotate 30 degrees": Job(lambda x: x.rotate(30, Image.Resampling.BILINEAR), "pil", 64, "rounding", 120),
    "wave distortion": Job(lambda x: cv2.remap(x, *WAVE, cv2.INTER_LINEAR), "numpy", 64, "rounding", 120),
    "PIL SHARPEN": Job(lambda x: x.filter(ImageFilter.SHARPEN), "pil", 64, "rounding", 60),
    "resize, then solarize": Job(lambda x: F.solarize(F.resize(x, [28, 28]), 128), "uint8", 32, "exact", 60),
    "bicubic a = -0.6, float64": Job(cubic, "uint8", 48, "exact", 60),
    "cv2 bilateral filter": Job(lambda x: cv2.bilateralFilter(x, 7, 50, 50), "numpy", 64, "approximate", 300),
    "PIL GaussianBlur(2)": Job(lambda x: x.filter(ImageFilter.GaussianBlur(2)), "pil", 64, "exact", 60),
}
FROM_PAIRS = ("PIL resize bilinear", "PIL resize bicubic", "PIL resize Lanczos")
IMPERFECT = {"200 pairs with JPEG targets": jpeg_pairs, "500 pairs of which 50 are wrong": wrong_pairs}


def write_pairs(job: Job, folder: Path) -> Path:
    """Photo patches and the teacher's answers as PNG files, and the CSV file that lists them."""
    images = photo_patches([photo(name) for name in TRAINING_PHOTOS], PAIRS, (job.size, job.size), 0)
    lines = ["input,target"]
    for i, image in enumerate(images):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        for name, content in (("input", picture), ("target", job.teacher(picture))):
            content.save(folder / f"{name}{i}.png")
        lines.append(f"input{i}.png,target{i}.png")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv"


def held_out(result: Result, job: Job, photos: Sequence[Path]) -> str:
    """The largest difference on photos of several sizes, in the units of the answers; or which sizes are refused."""
    found = []
    for height, width in SIZES:
        largest, word = 0.0, ""
        for path in photos:
            picture = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            given = picture if job.kind == "pil" else np.asarray(picture)
            if job.kind == "uint8":
                given = to_tensor(picture)
            wanted = to_tensor(job.teacher(given))
            try:
                made = to_tensor(result.transform(given))
            except InputShapeError:
                word = "refused"
                break
            if made.shape != wanted.shape:
                word = "wrong shape"
                break
            largest = max(largest, float((made.double() - wanted.double()).abs().max()))
        found.append(f"{height} x {width}: {word or f'{largest:.3g}'}")
    return ", ".join(found)


def cpu_seconds() -> float:
    """Of this process, on all processors."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def clone(name: str, out: Path | None, photos: Sequence[Path]) -> dict[str, Any]:
    """Learn one job; what is asked of it beside what was measured."""
    base = name.removesuffix(" (pairs)")
    job = JOBS[base]
    folder = None if out is None else out / name.replace(" ", "_")
    start, used = time.perf_counter(), cpu_seconds()
    result: Result
    if base == name:
        size = (job.size, job.size) if job.size else None
        result = retrain(job.teacher, PHOTOS, kind=job.kind, size=size, out=folder)
    else:
        with TemporaryDirectory() as pairs:
            result = retrain(None, write_pairs(job, Path(pairs)), out=folder)
    certificate = result.certificate
    return {
        "teacher": name,
        "asked": f"{job.tier}, {job.seconds} s",
        "tier": certificate.tier,
        "differing": f"{certificate.differing:,} of {certificate.values:,}",
        "images": certificate.images,
        "largest error, levels": f"{certificate.largest:.3g}",
        "PSNR, dB": f"{certificate.psnr:.1f}",
        "remarks": "; ".join(certificate.remarks),
        "sizes": certificate.sizes,
        "family": result.family,
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(cpu_seconds() - used, 1),
        "held-out photos": held_out(result, job, photos),
    }


def clone_deployed(name: str, out: Path | None) -> dict[str, Any]:
    """Learn a teacher of images of any size; what is asked of it beside what was measured on held-out photos."""
    job = DEPLOYED[name]
    start = time.process_time()
    folder = None if out is None else out / name.replace(" ", "_").replace("/", "_")
    result = retrain(job.teacher, PHOTOS, kind=job.kind, count=job.count, out=folder)
    seconds = time.process_time() - start
    return {
        "teacher": name,
        "asked": f"{job.tier}, {job.seconds} CPU s",
        "tier": result.certificate.tier,
        "photos of five sizes": at_five_sizes(result, job),
        "sizes": result.certificate.sizes,
        "family": result.family,
        "CPU seconds": round(seconds, 1),
        "speed": str(result.speed),
    }


def clone_imperfect(name: str, out: Path | None) -> dict[str, Any]:
    """Learn from pairs as they are; how far the clone is from the clean map on photos that it never saw."""
    pairs, clean, wrong = IMPERFECT[name]()
    start = cpu_seconds()
    result = retrain(None, pairs, out=None if out is None else out / name.replace(" ", "_"))
    seconds = cpu_seconds() - start
    patches = photo_patches([photo(held) for held in HELD_OUT_PHOTOS], 100, (32, 32), 1)
    error = (result.transform(patches).int() - clean(patches).int()).abs()
    return {
        "teacher": name,
        "asked": "the clean map within one level, outliers listed, 90 CPU s",
        "tier": result.certificate.tier,
        "from the clean map": f"{int(error.max())} levels, {float((error > 0).double().mean()):.2%} differ",
        "outliers": f"{len(set(result.outliers) & set(wrong))} of {len(wrong)} found, "
        f"{len(set(result.outliers) - set(wrong))} more",
        "family": result.family,
        "CPU seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Learn foreign pipelines as black boxes.")
    parser.add_argument("--out", type=Path, help="folder of the result folders and of clones.json")
    parser.add_argument("--photos", type=Path, help="folder of photos that training does not see; a few bundled ones")
    parser.add_argument("-k", default="", help="only the jobs whose name contains this")
    options = parser.parse_args(arguments)
    bundled = [PHOTOS / f"{name}.jpg" for name in HELD_OUT_PHOTOS]
    photos = bundled if options.photos is None else sorted(options.photos.rglob("*.jpg"))
    names = [*JOBS, *(f"{name} (pairs)" for name in FROM_PAIRS), *DEPLOYED, *IMPERFECT]
    rows: list[dict[str, Any]] = []
    for name in (name for name in names if options.k in name):
        if name in IMPERFECT:
            rows.append(clone_imperfect(name, options.out))
        else:
            rows.append(clone_deployed(name, options.out) if name in DEPLOYED else clone(name, options.out, photos))
        if len(rows) == 1 or rows[-1].keys() != rows[-2].keys():
            print("| " + " | ".join(rows[-1]) + " |\n" + "| --- " * len(rows[-1]) + "|")
        print("| " + " | ".join(str(value) for value in rows[-1].values()) + " |", flush=True)
    if options.out is not None:
        (options.out / "clones.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
