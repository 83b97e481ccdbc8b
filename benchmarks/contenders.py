"""The contenders, in one table: each makes of a job the function that does it, or says why it cannot."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import PIL
import torch
from jobs import MEAN, RESIZED, STD, Job, expected, run_all
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.arithmetic import Arithmetic
from learned_transforms.fixed import Unstructured
from learned_transforms.images import to_tensor
from learned_transforms.layers import Lookup
from learned_transforms.network import Network

TENSORS = ("chw", "hwc", "batch")
SINGLE = ("chw", "hwc", "pil")


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
            and (self.loader or job.workers is None)
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


def albumentations(job: Job, device: torch.device, area: bool) -> Ready:
    # It asks the package index for a newer version when it is imported.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    a = package("albumentations", "albumentations")
    to_chw = package("albumentations.pytorch", "albumentations").ToTensorV2
    shrink = {"area_for_downscale": "image" if area else None}
    draw = job.draw
    if draw.box is None:
        crop = [a.RandomResizedCrop((224, 224), **shrink)]
    else:
        top, left, height, width = draw.box
        crop = [a.Crop(left, top, left + width, top + height), a.Resize(224, 224, **shrink)]
    flips = [a.HorizontalFlip(p=draw.horizontal), a.VerticalFlip(p=draw.vertical)]
    steps = {
        "seed": [a.Resize(28, 28, **shrink), *flips, a.ToGray(1, p=1), a.ToFloat(255)],
        "imagenet": [a.SmallestMaxSize(256, **shrink), a.CenterCrop(224, 224), a.Normalize(MEAN, STD)],
        "resize": [a.Resize(*RESIZED, **shrink)],
        "crop": [*crop, flips[0], a.Normalize(MEAN, STD)],
    }[job.pipeline]
    pipeline = a.Compose([*steps, to_chw()])
    run = partial(on_array, pipeline)
    note = "it rounds the size up: a pixel wider before the crop" if job.pipeline == "imagenet" else ""
    return Ready(partial(one_by_one, run) if job.form == "batch" else run, pipeline.set_random_seed, note=note)


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


def kornia(job: Job, device: torch.device) -> Ready:
    k = package("kornia.augmentation", "kornia")
    gray = package("kornia.color", "kornia").rgb_to_grayscale
    # Its default grid joins the centres of the corner pixels; torchvision's joins the corners of the image.
    grid = {"align_corners": False}
    draw = job.draw
    crop = [k.RandomResizedCrop((224, 224), same_on_batch=True, **grid)]
    if draw.box is not None:
        crop = [partial(cut, draw.box), k.Resize((224, 224), **grid)]
    flips = [k.RandomHorizontalFlip(draw.horizontal, same_on_batch=True)]
    flips.append(k.RandomVerticalFlip(draw.vertical, same_on_batch=True))
    normalise = k.Normalize(MEAN, STD)
    steps = {
        "seed": [k.Resize((28, 28), antialias=True, **grid), *flips, gray],
        "imagenet": [k.Resize(256, antialias=True, **grid), k.CenterCrop(224), normalise],
        "resize": [k.Resize(RESIZED, antialias=True, **grid)],
        "crop": [*crop, flips[0], normalise],
    }[job.pipeline]
    note = "it rounds the centre down: crops a pixel further left" if job.pipeline == "imagenet" else ""
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


def opencv(job: Job, device: torch.device, interpolation: str) -> Ready:
    cv2 = package("cv2", "opencv-python-headless")
    code = getattr(cv2, interpolation)
    return Ready(lambda image: cv2.resize(pixels_of(image), RESIZED[::-1], interpolation=code))


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
            "Albumentations, bilinear",
            partial(albumentations, area=False),
            own_draws=True,
            loader=True,
        ),
        Contender(
            "albumentations-area",
            "Albumentations, area",
            partial(albumentations, area=True),
            own_draws=True,
            loader=True,
        ),
        Contender("kornia", "Kornia", kornia, TENSORS, devices=True, own_draws=True),
        Contender("fast-image-resize", "fast_image_resize", fast_image_resize, SINGLE, ("resize",)),
        Contender(
            "opencv-linear", "OpenCV, bilinear", partial(opencv, interpolation="INTER_LINEAR"), SINGLE, ("resize",)
        ),
        Contender("opencv-area", "OpenCV, area", partial(opencv, interpolation="INTER_AREA"), SINGLE, ("resize",)),
        Contender("pillow", "Pillow", partial(pillow, simd=False), ("pil",), ("resize",)),
        Contender("pillow-simd", "Pillow-SIMD", partial(pillow, simd=True), ("pil",), ("resize",)),
        Contender("floor", "memory floor: input copied, output filled", floor, devices=True),
        Contender("ours-again", "ours, again", ours, devices=True, loader=True),
    )
}
"""In the order in which they run: ours twice, so that a machine that drifts shows."""
