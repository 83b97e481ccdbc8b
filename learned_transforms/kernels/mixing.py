"""Batches of which each image is mixed with the one before it: torchvision's contract and values, in fewer passes."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.kernels import cpu

IMAGES = (Tensor, tv_tensors.Image, tv_tensors.Video)

FEWEST = 2**12
"""Values of a batch for which it pays to paste without rolling all of it."""


def mixes(images: Tensor) -> bool:
    """Return whether native code mixes a batch: floats that lie side by side in memory, without gradients."""
    floats = images.dtype == torch.float32 and images.layout == torch.strided and images.numel() > 0
    if not floats or cpu.why_not(None, images.device, images.requires_grad) is not None or not images.is_contiguous():
        return False
    return images.untyped_storage().nbytes() >= 4 * (images.storage_offset() + images.numel())


def paste(images: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Return a copy of images ``[N, ..., H, W]``, each with the part ``box`` (left, top, right, bottom) of the one
    before."""
    left, top, right, bottom = box
    made = images.clone()
    part, source = made[..., top:bottom, left:right], images[..., top:bottom, left:right]
    part[1:], part[:1] = source[:-1], source[-1:]
    return made


def mix_labels(labels: Tensor, classes: int, share: float) -> Tensor:
    """Return the chances ``[N, classes]`` of labels ``[N]``, int64: ``share`` of each, the rest of the one before.

    Raises:
        RuntimeError: a label beyond the classes.
    """
    made = torch.zeros(len(labels), classes, dtype=torch.float32, device="cpu")
    made.scatter_(1, labels.roll(1)[:, None], 1.0 - share)
    return made.scatter_add_(1, labels[:, None], torch.full_like(labels, share, dtype=torch.float32)[:, None])


class Labelled:
    """Of either class, what becomes of labels."""

    num_classes: int | None

    def _mixup_label(self, label: Tensor, *, lam: float) -> Tensor:
        classes = self.num_classes or 0
        if classes > 0 and label.ndim == 1 and label.dtype == torch.int64 and label.device.type == "cpu":
            with suppress(RuntimeError):  # torchvision says more of what is wrong.
                return mix_labels(label, classes, lam)
        mixed: Tensor = super()._mixup_label(label, lam=lam)  # type: ignore[misc]
        return mixed


class MixUp(Labelled, v2.MixUp):  # type: ignore[misc]
    """torchvision's, with native code for the images."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Labels or images, mixed."""
        if inpt is params["labels"] or type(inpt) not in IMAGES or not mixes(inpt):
            return super().transform(inpt, params)
        self._check_image_or_video(inpt, batch_size=params["batch_size"])
        return wrapped(cpu.mix_batch(inpt.as_subclass(Tensor), params["lam"]), inpt)


class CutMix(Labelled, v2.CutMix):  # type: ignore[misc]
    """torchvision's, with :func:`paste` for the images."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Labels or images, mixed."""
        if inpt is params["labels"] or type(inpt) not in IMAGES or inpt.numel() < FEWEST:
            return super().transform(inpt, params)
        self._check_image_or_video(inpt, batch_size=params["batch_size"])
        return wrapped(paste(inpt.as_subclass(Tensor), params["box"]), inpt)


def wrapped(made: Tensor, like: Tensor) -> Tensor:
    """Return a plain tensor in the class of another."""
    return made if type(like) is Tensor else tv_tensors.wrap(made, like=like)
