"""Noise: the numbers that torch draws, in its order, and what is written of them so that they can be drawn again."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.errors import PipelineValueError

STATE_BYTES = torch.Generator().get_state().numel()
"""Of the state of torch's generator on the CPU."""


def write_state(state: Tensor) -> str:
    """Return the state of a generator of the CPU, uint8, as text."""
    return base64.b64encode(state.numpy().tobytes()).decode()


def read_state(text: str) -> Tensor:
    """Return the state that :func:`write_state` wrote.

    Raises:
        PipelineValueError: it is none.
    """
    try:
        state = torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
        generator_of(state)
    except (binascii.Error, RuntimeError, ValueError) as error:
        raise PipelineValueError(
            f"Expected the state of torch's generator ({STATE_BYTES} bytes in base64), got {text[:40]!r}. "
            "make_params(image) gives it."
        ) from error
    return state


def generator_of(state: Tensor) -> torch.Generator:
    """Return a generator of the CPU in a state."""
    return torch.Generator().set_state(state)


class Noise:
    """The noise of one part of an image: numbers that were drawn, or how to draw them again.

    Args:
        values: float32 ``[C, h, w]``; None: drawn from ``state`` when they are asked for.
        state: of torch's generator before they were drawn; None: they were drawn from another generator.
    """

    def __init__(self, values: Tensor | None, state: Tensor | None) -> None:
        self.values, self.state = values, state

    @classmethod
    def drawn(cls, shape: Sequence[int]) -> "Noise":
        """Draw float32 of ``shape`` as torchvision does, from torch's global generator of the CPU."""
        state = torch.get_rng_state()
        return cls(torch.empty(shape, dtype=torch.float32, device="cpu").normal_(), state)

    def of(self, shape: Sequence[int]) -> Tensor:
        """Return the numbers, for a part of ``shape`` (C, h, w)."""
        if self.values is not None or self.state is None:
            return torch.as_tensor(self.values)
        return torch.empty(shape, dtype=torch.float32, device="cpu").normal_(generator=generator_of(self.state))


def fill_with_noise(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Overwrite a part of an image ``[C, H, W]`` of floats with normal noise, one number a value, in place.

    The numbers are drawn at once, contiguous, as ``torch.empty((C, height, width)).normal_()`` draws them.
    """
    shape = (image.shape[-3], height, width)
    part = image[..., top : top + height, left : left + width]
    part.copy_(torch.empty(shape, dtype=image.dtype, device=image.device).normal_())
    return image


def add_noise(image: Tensor, mean: float, sigma: float, clip: bool) -> Tensor:
    """Return what :func:`torchvision.transforms.v2.functional.gaussian_noise` makes of uint8 or floats, in fewer
    passes.

    Each operation and its rounding is torchvision's; only the memory that it writes to is used again.
    """
    if image.dtype != torch.uint8:
        made = torch.randn_like(image).mul_(sigma).add_(mean).add_(image)
        return made.clamp_(0, 1) if clip else made
    drawn = torch.randn_like(image, dtype=torch.float32)
    levels = drawn.mul_(sigma * 255).add_(mean * 255).to(torch.int16).add_(image)
    return (levels.clamp_(0, 255) if clip else levels).to(torch.uint8)


class GaussianNoise(v2.GaussianNoise):  # type: ignore[misc]
    """torchvision's, with :func:`add_noise` for what that takes."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return one image or video with noise."""
        taken = isinstance(inpt, Tensor) and inpt.dtype in (torch.uint8, torch.float32) and not inpt.requires_grad
        if not taken or self.sigma < 0 or type(inpt) not in (Tensor, tv_tensors.Image, tv_tensors.Video):
            return super().transform(inpt, params)
        made = add_noise(inpt.as_subclass(Tensor), self.mean, self.sigma, self.clip)
        return made if type(inpt) is Tensor else tv_tensors.wrap(made, like=inpt)
