"""The contenders, in one table: each makes of a job the function that does it, or says why it cannot."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import distributions
from typing import Any

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from jobs import Job, expected, run_all
from PIL import Image
from pipelines import BLUR, PIPELINES, RESIZED, SIGMA, Draw, Pipeline
from torch import Tensor
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_size import Unstructured
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup

TENSORS = ("chw", "hwc", "batch")
SINGLE = ("chw", "hwc", "pil")
RESIZING = tuple(name for name, pipeline in PIPELINES.items() if pipeline.resizes)
PLAIN = tuple(name for name, pipeline in PIPELINES.items() if not pipeline.colored)
EVALUATING = tuple(name for name in RESIZING if PIPELINES[name].deterministic)


class UnavailableError(Exception):
    """A contender cannot do a job here: a package is missing, or the wrong one is installed."""


@dataclass(frozen=True)
class Ready:
    """A contender, set up for one job.

    Attributes:
        run: from the job's input to its output.
        seed: sets the random state that ``run`` draws from.
        faithful: its output is worth comparing with torchvision's.
        note: what a reader of the figures has to know.
    """

    run: Callable[[Any], Any]
    seed: Callable[[int], Any] = torch.manual_seed
    faithful: bool = True
    note: str = ""


@dataclass(frozen=True)
class Contender:
    """Something that does jobs.

    Attributes:
        name: for ``-k``.
        title: for tables.
        make: sets it up for a job, on a device.
        forms: of input that it takes.
        pipelines: that it does; empty: all.
        devices: it runs on other devices than the CPU.
        own_draws: its random numbers are not torchvision's, so that fidelity needs the draw prescribed.
        compiled: its first calls compile.
        loader: it may run in the workers of a DataLoader.
    """

    name: str
    title: str
    make: Callable[[Job, torch.device], Ready]
    forms: tuple[str, ...] = (*SINGLE, "batch")
    pipelines: tuple[str, ...] = ()
    devices: bool = False
    own_draws: bool = False
    compiled: bool = False
    loader: bool = False

    def takes(self, job: Job, device: torch.device) -> bool:
        """Whether this contender is meant for a job on a device at all."""
        return (
            job.form in self.forms
            and (not self.pipelines or job.pipeline in self.pipelines)
            and (job.workers is None or (self.loader and device.type == "cpu"))
            and (device.type == "cpu" or (self.devices and job.form != "pil"))
        )


def package(module: str, name: str) -> Any:
    """An optional package, by the name to import and the name to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UnavailableError(f"{error} (pip install {name})") from error


def pixels_of(image: Any) -> np.ndarray[Any, Any]:
    """An image as a contiguous array ``[H, W, C]``, sharing memory where it can."""
    planes = to_tensor(image).numpy()
    pixels = planes.transpose(1, 2, 0)
    # NumPy interleaves planes several times faster than it copies the view.
    return pixels if pixels.flags.c_contiguous else np.dstack(list(planes))


def one_by_one(run: Callable[[Any], Tensor], batch: Tensor) -> Tensor:
    """What a function of one image makes of each image of a batch."""
    return torch.stack([run(image) for image in batch])


def ours(job: Job, device: torch.device, backend: str = "auto") -> Ready:
    transform = lt.LearnedCompose(job.teacher(), backend=backend)
    rows = transform.explain("pil" if job.form == "pil" else "uint8").rows
    foreign = [row.transform.partition("(")[0] for row in rows if row.reason]
    return Ready(transform, note=f"in torchvision: {', '.join(foreign)}" if foreign else "")


def torchvision(job: Job, device: torch.device, api: str) -> Ready:
    return Ready(v2.Compose(job.transforms(api)))


def compiled(job: Job, device: torch.device) -> Ready:
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl"))):
        raise UnavailableError("torch.compile needs a C++ compiler")
    # Compile seconds are those of a first run: nothing is taken from an earlier one.
    torch.compiler.config.force_disable_caches = True
    torch.compiler.reset()
    transform = torch.compile(v2.Compose(job.transforms("v2 tensor")))
    return Ready(transform, note="the first to compile in a process takes longest")


def plain(job: Job, device: torch.device, kind: str) -> Ready:
    """A network without structure, as the demo trains it; its time does not depend on its weights."""
    layer = Unstructured(kind, (3, 32, 32), (1, 28, 28), 255, Arithmetic("float32", rounding="half_even"))
    to_float = Lookup(torch.arange(256)[None] / 255)
    network = Network([layer, to_float], [{}, {}], "uint8").to(device)
    return Ready(network, faithful=False, note="untrained: for its time alone")


def on_array(pipeline: Any, image: Any) -> Any:
    """What an Albumentations pipeline makes of a PIL image or tensor."""
    return pipeline(image=pixels_of(image))["image"]


def albumentations_title() -> str:
    """AlbumentationsX is a fork under the same module name."""
    return "AlbumentationsX" if any(distributions(name="albumentationsx")) else "Albumentations"


def albumentations_steps(a: Any, settings: Pipeline, draw: Draw, area: bool) -> list[Any]:
    """A pipeline in Albumentations, which never antialiases: area averaging is what comes closest."""
    how = {"interpolation": 2 if settings.bicubic else 1, "area_for_downscale": "image" if area else None}
    steps: list[Any] = []
    if isinstance(settings.resize, int):
        steps.append(a.SmallestMaxSize(settings.resize, **how))
    elif settings.resize is not None:
        steps.append(a.Resize(*settings.resize, **how))
    if settings.center is not None:
        steps.append(a.CenterCrop(settings.center, settings.center))
    if settings.window is not None:
        side = settings.window, settings.window
        steps += [] if settings.padding is None else [a.Pad(settings.padding)]
        if draw.box is None:
            steps.append(
                a.RandomResizedCrop(side, settings.scale, **how) if settings.padding is None else a.RandomCrop(*side)
            )
        else:
            top, left, height, width = draw.box
            steps.append(a.Crop(left, top, left + width, top + height))
            steps += [a.Resize(*side, **how)] if settings.padding is None else []
    flips = {"horizontal": a.HorizontalFlip, "vertical": a.VerticalFlip}
    steps += [flips[name](p=draw.flip(name)) for name in settings.flips]
    steps += albumentations_colors(a, settings)
    steps += [a.ToGray(1, p=1)] if settings.gray else []
    if settings.mean:
        return [*steps, a.Normalize(settings.mean, settings.std)]
    return [*steps, a.ToFloat(255)] if settings.floats else steps


def albumentations_colors(a: Any, settings: Pipeline) -> list[Any]:
    """What changes colors, with draws of its own."""
    if settings.jitter is None:
        return []
    (*three, hue), chance = settings.jitter
    steps = [a.ColorJitter(*((1 - x, 1 + x) for x in three), (-hue, hue), p=chance)]
    steps += [a.ToGray(p=settings.gray_chance)] if settings.gray_chance else []
    if settings.blur_chance:
        steps.append(a.GaussianBlur((BLUR, BLUR), SIGMA, p=settings.blur_chance))
    return [*steps, a.Solarize((0.5, 0.5), p=settings.solarize_chance)] if settings.solarize_chance else steps


def albumentations(job: Job, device: torch.device, area: bool) -> Ready:
    # It asks the package index for a newer version when it is imported.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    a = package("albumentations", "albumentations")
    to_chw = package("albumentations.pytorch", "albumentations").ToTensorV2
    pipeline = a.Compose([*albumentations_steps(a, job.settings, job.draw, area), to_chw()])
    run = partial(on_array, pipeline)
    note = "it rounds the longer edge, which torchvision truncates" if isinstance(job.settings.resize, int) else ""
    return Ready(
        partial(one_by_one, run) if job.form == "batch" else run,
        pipeline.set_random_seed,
        faithful=not job.settings.colored,
        note=note,
    )


def in_floats(steps: list[Callable[[Tensor], Tensor]], job: Job, image: Tensor) -> Tensor:
    """What float operations on batches make of a uint8 image or batch; levels again where the job asks for them."""
    # Convolutions on interleaved memory would take several times as long.
    batch: Tensor = run_all(steps, (image if job.form == "batch" else image[None]).contiguous().float() / 255)
    if not job.settings.floats:
        batch = (batch * 255).round().clamp(0, 255).to(torch.uint8)
    return batch if job.form == "batch" else batch[0]


def cut(box: tuple[int, int, int, int], image: Tensor) -> Tensor:
    top, left, height, width = box
    return image[..., top : top + height, left : left + width]


def kornia_steps(k: Any, settings: Pipeline, draw: Draw) -> list[Any]:
    """A pipeline in Kornia, on floats; one draw for the whole batch."""
    # Its default grid joins the centres of the corner pixels; torchvision's joins the corners of the image.
    how = {"align_corners": False, "resample": "BICUBIC" if settings.bicubic else "BILINEAR"}
    once = {"same_on_batch": True}
    steps: list[Any] = []
    if settings.resize is not None:
        steps.append(k.Resize(settings.resize, antialias=True, **how))
    if settings.center is not None:
        steps.append(k.CenterCrop(settings.center))
    if settings.window is not None:
        side, padding = (settings.window, settings.window), settings.padding
        if draw.box is not None:
            steps += [] if padding is None else [partial(F.pad, pad=(padding,) * 4)]
            steps.append(partial(cut, draw.box))
            steps += [k.Resize(side, **how)] if padding is None else []
        elif padding is None:
            steps.append(k.RandomResizedCrop(side, **once, **how))
        else:
            steps.append(k.RandomCrop(side, padding=padding, **once))
    flips = {"horizontal": k.RandomHorizontalFlip, "vertical": k.RandomVerticalFlip}
    steps += [flips[name](draw.flip(name), **once) for name in settings.flips]
    steps += [package("kornia.color", "kornia").rgb_to_grayscale] if settings.gray else []
    return [*steps, k.Normalize(settings.mean, settings.std)] if settings.mean else steps


def kornia(job: Job, device: torch.device) -> Ready:
    steps = kornia_steps(package("kornia.augmentation", "kornia"), job.settings, job.draw)
    note = "" if job.settings.center is None else "it rounds the center of the crop down"
    return Ready(partial(in_floats, steps, job), note=note)


def fast_image_resize(job: Job, device: torch.device) -> Ready:
    f = package("cykooz_resizer", "cykooz.resizer")
    resizer = f.Resizer()
    options = f.ResizeOptions(
        resize_alg=f.ResizeAlg.convolution(f.FilterType.bilinear),
        use_alpha=False,
        thread_pool=f.ResizerThreadPool(torch.get_num_threads()),
    )
    height, width = RESIZED

    def on_pil(image: Image.Image) -> Image.Image:
        result = Image.new("RGB", (width, height))
        resizer.resize_pil(image, result, options)
        return result

    def on_bytes(image: Tensor) -> np.ndarray[Any, Any]:
        given = f.ImageData(image.shape[2], image.shape[1], f.PixelType.U8x3, pixels_of(image).tobytes())
        result = f.ImageData(width, height, f.PixelType.U8x3)
        resizer.resize(given, result, options)
        return np.frombuffer(bytearray(result.get_buffer()), np.uint8).reshape(height, width, 3)

    if job.form == "pil":
        return Ready(on_pil)
    return Ready(on_bytes, note="its Python interface copies arrays in and out as bytes")


def opencv(job: Job, device: torch.device, area: bool) -> Ready:
    """OpenCV's resize, a crop by slicing, and OpenCV's tables straight to normalized planes."""
    cv2 = package("cv2", "opencv-python-headless")
    settings = job.settings
    usual = cv2.INTER_CUBIC if settings.bicubic else cv2.INTER_LINEAR
    height, width = job.size or settings.size
    if isinstance(settings.resize, int):
        shorter = min(height, width)
        height, width = (settings.resize * edge // shorter for edge in (height, width))
    elif settings.resize is not None:
        height, width = settings.resize
    rows, columns = (
        slice(None) if settings.center is None else slice(round((edge - settings.center) / 2), None)
        for edge in (height, width)
    )
    levels = np.arange(256, dtype=np.float32) / 255
    tables = [(levels - mean) / std for mean, std in zip(settings.mean, settings.std, strict=True)]

    def run(image: Any) -> Any:
        found = cv2.resize(pixels_of(image), (width, height), interpolation=cv2.INTER_AREA if area else usual)
        if not tables:
            return found
        planes = cv2.split(found[rows, columns][: settings.center, : settings.center])
        return torch.from_numpy(np.stack([cv2.LUT(*pair) for pair in zip(planes, tables, strict=True)]))

    return Ready(run)


def pillow(job: Job, device: torch.device, simd: bool) -> Ready:
    # Pillow-SIMD is a fork that takes Pillow's place; its versions end in .post and a number.
    if (".post" in PIL.__version__) != simd:
        raise UnavailableError(f"Pillow {PIL.__version__} is installed in its place")
    return Ready(lambda image: image.resize(RESIZED[::-1], Image.Resampling.BILINEAR))


def floor(job: Job, device: torch.device) -> Ready:
    """What no transform can do without: read the input once, write the output once; into memory kept ready."""
    source = to_tensor(job.source()).to(device)
    copy, output = torch.empty_like(source), torch.empty_like(expected(job), device=device)
    return Ready(lambda image: (copy.copy_(source), output.fill_(0)), faithful=False)


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("ours", "ours", ours, devices=True, loader=True),
        Contender("ours-reference", "ours, reference backend", partial(ours, backend="reference"), devices=True),
        Contender("v1-pil", "torchvision v1 on PIL", partial(torchvision, api="v1 pil"), ("pil",), loader=True),
        Contender("v2-pil", "torchvision v2 on PIL", partial(torchvision, api="v2 pil"), ("pil",), loader=True),
        Contender(
            "v2-to-tensor",
            "torchvision v2, PIL to tensor first",
            partial(torchvision, api="v2 to tensor"),
            ("pil",),
            loader=True,
        ),
        Contender(
            "v2-tensor",
            "torchvision v2 on tensors",
            partial(torchvision, api="v2 tensor"),
            ("chw", "hwc"),
            devices=True,
            loader=True,
        ),
        Contender(
            "v2-batched", "torchvision v2, batched", partial(torchvision, api="v2 tensor"), ("batch",), devices=True
        ),
        Contender(
            "v2-compiled",
            "torchvision v2, batched, torch.compile",
            compiled,
            ("batch",),
            devices=True,
            own_draws=True,
            compiled=True,
        ),
        Contender("dense", "plain dense network", partial(plain, kind="dense"), TENSORS, ("seed",), devices=True),
        Contender("cnn", "plain CNN", partial(plain, kind="cnn"), TENSORS, ("seed",), devices=True),
        Contender(
            "albumentations",
            albumentations_title(),
            partial(albumentations, area=False),
            own_draws=True,
            loader=True,
        ),
        Contender(
            "albumentations-area",
            f"{albumentations_title()}, area",
            partial(albumentations, area=True),
            pipelines=RESIZING,
            own_draws=True,
        ),
        Contender("kornia", "Kornia", kornia, TENSORS, PLAIN, devices=True, own_draws=True),
        Contender("fast-image-resize", "fast_image_resize", fast_image_resize, SINGLE, ("resize",)),
        Contender("opencv", "OpenCV", partial(opencv, area=False), SINGLE, EVALUATING),
        Contender("opencv-area", "OpenCV, area", partial(opencv, area=True), SINGLE, EVALUATING),
        Contender("pillow", "Pillow", partial(pillow, simd=False), ("pil",), ("resize",)),
        Contender("pillow-simd", "Pillow-SIMD", partial(pillow, simd=True), ("pil",), ("resize",)),
        Contender("floor", "memory floor: input copied, output filled", floor, devices=True),
        Contender("ours-again", "ours, again", ours, devices=True, loader=True),
    )
}
"""In the order in which they run: ours twice, so that a machine that drifts shows."""
