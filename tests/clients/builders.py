"""What builds a pipeline out of a client's module, for those clients that build many in one way."""

import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from types import SimpleNamespace
from typing import Any

from torch import nn
from torchvision import transforms as v1

Build = Callable[[Any], Any]
"""From the client's module, imported, to a new pipeline."""


@contextmanager
def quiet() -> Iterator[None]:
    """Run client's code, imports above all: what it prints and warns of is its own."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def weights(name: str) -> Build:
    return lambda models: models.get_weight(name).transforms()


def timm(**options: Any) -> Build:
    return lambda data: data.create_transform(**{"input_size": 224, **options})


def view(name: str, **options: Any) -> Build:
    return lambda transforms: getattr(transforms, name)(**options)


def open_clip(size: Any, train: bool, **options: Any) -> Build:
    return lambda transform: transform.image_transform(size, is_train=train, **options)


def processor(name: str, **options: Any) -> Build:
    """A Hugging Face image processor as a transform, in a Compose behind an augmentation as in their examples."""

    def make(transformers: Any) -> Any:
        whole = partial(getattr(transformers, name)(**options), return_tensors="pt")
        return v1.Compose([v1.RandomHorizontalFlip(), whole])

    return make


def numbers(name: str, **options: Any) -> Build:
    """The sizes, means and interpolation of a Hugging Face image processor, handed to torchvision as it holds them."""

    def make(transformers: Any) -> Any:
        made = getattr(transformers, name)(**options)
        size = made.size.shortest_edge or (made.size.height, made.size.width)
        crop = [v1.CenterCrop((made.crop_size.height, made.crop_size.width))] if made.do_center_crop else []
        last = [v1.ToTensor(), v1.Normalize(made.image_mean, made.image_std)]
        return v1.Compose([v1.Resize(size, interpolation=made.resample), *crop, *last])

    return make


def anomaly(name: str, *size: Any) -> Build:
    return lambda models: getattr(models, name).configure_pre_processor(*size).transform


def reid(*transforms: str, test: bool = False) -> Build:
    return lambda data: data.build_transforms(256, 128, transforms=list(transforms))[test]


def settings(model: str, **options: Any) -> Build:
    """What pretrainedmodels makes of the settings of one of its models."""

    def make(utils: Any) -> Any:
        from pretrainedmodels import pretrained_settings

        opts = SimpleNamespace(**next(iter(pretrained_settings[model].values())))
        return utils.TransformImage(opts, **options)

    return make


def learner(module: str, name: str, part: str) -> Build:
    """The augmentation inside a self-supervised learner of a small network."""

    def make(package: Any) -> Any:
        net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        inner = importlib.import_module(module)
        return getattr(getattr(inner, name)(net, 96, hidden_layer=-1), part)

    return make


def diffusion(**options: Any) -> Build:
    return lambda package: package.Dataset("no folder", image_size=128, **options).transform


def composed(*names: tuple[Any, ...]) -> Build:
    """Transforms of a client by name, with their arguments, in the client's own Compose, or else in torchvision's."""

    def make(module: Any) -> Any:
        return getattr(module, "Compose", v1.Compose)([getattr(module, name)(*rest) for name, *rest in names])

    return make
