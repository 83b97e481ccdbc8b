"""Pipelines that become graphs: those that people run, and random ones."""

import random

import numpy as np
import onnxruntime
import torch
import torchvision.transforms as v1
from helpers import image_of
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def end():
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


PIPELINES = {
    "eval": lambda: [v2.Resize(48), v2.CenterCrop(40), *end()],
    "clip": lambda: [v2.Resize(40, InterpolationMode.BICUBIC), v2.CenterCrop(40), v2.RGB(), *end()],
    "seed": lambda: [v2.Resize(28), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.Grayscale(), end()[0]],
    "train": lambda: [v2.RandomResizedCrop(40), v2.RandomHorizontalFlip(), *end()],
    "moco": lambda: [
        v2.RandomResizedCrop(40, (0.2, 1.0)),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], 0.5),
        v2.RandomHorizontalFlip(),
        *end(),
    ],
}
"""Five that people run, at a smaller size."""

GRAPHS = {**PIPELINES, "moco": lambda: PIPELINES["moco"]()[:3] + PIPELINES["moco"]()[4:]}
"""The same without a blur, whose levels hang on last bits of torch's own."""


def to_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def image_for(kind, size, seed, channels=3):
    """An image of a kind, of levels that a resize may overshoot, or noise; and its values [C, H, W]."""
    levels = image_of(channels, size, seed=seed)
    if seed % 3 == 0:
        levels = (levels > 127).to(torch.uint8) * 255
    if kind == "pil":
        return to_pil(levels), levels
    if kind == "float32":
        return levels / 255, levels / 255
    if seed % 2:
        levels = levels.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # As decoded photos lie in memory.
    return levels, levels


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feeds(values, layout="NCHW", row=None, dtype=np.float64):
    batch = values[None] if layout == "NCHW" else values.permute(1, 2, 0)[None]
    given = {"image": batch.contiguous().numpy()}
    return given if row is None or not len(row) else {**given, "params": row.numpy().astype(dtype)}


class Exported:
    """A pipeline beside what runs its ONNX model, which are compared."""

    def __init__(self, transforms, **options):
        self.pipeline = lt.LearnedCompose(transforms, fallback="error")
        self.kind, self.layout = options.get("kind", "uint8"), options.get("layout", "NCHW")
        self.model = lt.export.onnx(self.pipeline, **options)
        self.dtype = np.float64 if options.get("float64", True) else np.float32
        self.channels = options.get("channels", 3)
        self.session = session(self.model)

    def both(self, size, seed):
        """What ONNX and what an eager call gives, under one draw."""
        image, values = image_for(self.kind, size, seed, self.channels)
        params = self.pipeline.make_params(image)
        row = lt.export.pack(self.pipeline, params, kind=self.kind, channels=self.channels)
        expected = self.pipeline(image, params=params)
        if isinstance(expected, Image.Image):
            expected = v2.functional.pil_to_tensor(expected)
        (made,) = self.session.run(None, feeds(values, self.layout, row, self.dtype))
        return torch.from_numpy(made[0]), torch.Tensor.as_subclass(expected, torch.Tensor)

    def differing(self, size, seed, tolerance=0.0):
        made, expected = self.both(size, seed)
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
        if tolerance:
            return int(((made - expected).abs() > tolerance * max(1, float(expected.abs().max()))).sum())
        return int((made != expected).sum())


def random_transforms(generator: random.Random, kind):
    """A pipeline of up to seven transforms, for images of at least 24 rows and columns."""
    pil, floats = kind == "pil", kind == "float32"
    modes = [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC]
    if pil:
        modes += [InterpolationMode.LANCZOS, InterpolationMode.BOX, InterpolationMode.HAMMING]
    mode, side = generator.choice(modes), generator.randint(20, 60)
    pair = side, generator.randint(20, 60)
    first = [
        [v2.Resize(side, mode), v2.CenterCrop(generator.randint(8, side))],
        [v2.Resize(pair, mode)],
        [v2.Resize(side, mode, max_size=side + generator.randint(1, 40))],
        [v2.RandomResizedCrop(pair, (0.1, 1.0), interpolation=mode)],
        [v2.RandomCrop(pair, padding=generator.randint(0, 5), pad_if_needed=True)],
        [v2.Pad(generator.randint(0, 9), padding_mode=generator.choice(["constant", "edge", "reflect", "symmetric"]))],
        [v2.Resize(pair, InterpolationMode.NEAREST)],
        [v2.CenterCrop(generator.randint(10, 90))],
        [v2.Resize(side, mode), v2.RandomCrop(generator.randint(8, 20))],
    ]
    if pil:
        first.append([v1.Resize(side), v1.CenterCrop(side)])
    middle = [
        [v2.RandomHorizontalFlip()],
        [v2.RandomVerticalFlip(), v2.RandomHorizontalFlip()],
        [v2.Grayscale(generator.choice([1, 3]))],
        [v2.RandomGrayscale(0.5)],
        [v2.ColorJitter(0.4, 0.4, 0.4, 0 if floats else 0.1)],  # Hues of nearly gray floats hang on a last bit.
        [v2.RandomApply([v2.ColorJitter(0.4, 0.4)], 0.5)],
        [v2.RandomChoice([v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)])],
        [v2.RandomOrder([v2.RandomInvert(1.0), v2.RandomVerticalFlip(1.0)])],
    ]
    if not floats:
        middle += [[v2.RandomOrder([v2.RandomInvert(1.0), v2.RandomSolarize(100, 1.0)])]]
        middle += [[v2.RandomEqualize(0.5)], [v2.RandomPosterize(4, 0.5)], [v2.RandomAutocontrast(0.5)]]
    chosen = generator.choice(first)
    for part in generator.sample(middle, generator.randint(0, 2)):
        chosen = chosen + part
        if isinstance(part[0], v2.Grayscale) and part[0].num_output_channels == 1:
            return chosen + ([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)] if generator.random() < 0.5 else [])
    last = [v2.ToImage()] if pil else []
    return chosen + (last + end() if generator.random() < 0.6 else [])
