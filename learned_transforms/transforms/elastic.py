"""ElasticTransform: every pixel displaced by a smooth field of random numbers.

How that is drawn is given structure, torchvision's own: uniform numbers, smoothed by its blur and scaled. What lies at
a place, and how sums around it are computed, is learned: the layers are those of other warps.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from learned_transforms import installed
from learned_transforms.errors import PaddingError
from learned_transforms.images.formats import Form, Window
from learned_transforms.images.pytree import size_of
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops import Filter, Places, Slots
from learned_transforms.ir.plan import Plan
from learned_transforms.ir.sizing import Size
from learned_transforms.kernels import cpu
from learned_transforms.layers.noise import Noise, generator_of, read_state
from learned_transforms.modes import out_of_sight
from learned_transforms.transforms.color import without_info
from learned_transforms.transforms.padding import FILL_CLASSES, by_class, fill_for
from learned_transforms.transforms.resize import interpolation_name
from learned_transforms.transforms.rng import default_rng_active
from learned_transforms.transforms.spec import Factored, Outcome, Seen, Step, names_are
from learned_transforms.transforms.warp import warped

BLURS: dict[str, Callable[..., Tensor]] = {"v1": v1.functional.gaussian_blur, "v2": functional.gaussian_blur}
"""torchvision's own, by API."""

SMALL = 3
"""Sides of windows that torch may sum in another order."""


class Displacement(Noise):
    """Where pixels go under one draw: the numbers, or how to draw them again.

    Args:
        values: float32 ``[1, H, W, 2]``, x and y in halves of the image; None: drawn from ``state`` when asked for.
        state: see :class:`Noise`.
        draw: draws for an image of a size, from a generator.
    """

    def __init__(self, values: Tensor | None, state: Tensor | None, draw: Callable[..., Tensor]) -> None:
        super().__init__(values, state)
        self.draw = draw
        self.found: Places | None = None

    def of(self, shape: Sequence[int]) -> Tensor:
        """Return the numbers, for an image of ``shape`` (H, W)."""
        if self.values is None and self.state is not None:
            self.values = self.draw(tuple(shape), generator_of(self.state))
        return torch.as_tensor(self.values)

    def places(self, size: Size) -> Places:
        """Return where the pixels of an image come from; images and masks share it."""
        if self.found is None or self.found.values.shape[1:] != size:
            moved = self.of(size)[0].movedim(-1, 0).to("cpu", torch.float32)
            self.found = Places(still(size) + moved)
        return self.found


@lru_cache(maxsize=8)
def still(size: Size) -> Tensor:
    """Return the places of all pixels where none is displaced, as torchvision has them: float32 ``[2, H, W]``."""
    with torch.inference_mode(False), out_of_sight():
        down, across = (torch.linspace((-n + 1) / n, (n - 1) / n, n, dtype=torch.float32, device="cpu") for n in size)
        return torch.stack([across.expand(size), down[:, None].expand(size)])


@lru_cache(maxsize=8)
def smoother(api: str, side: int, sigma: tuple[float, float], simd: str) -> cpu.Program:
    """Return torchvision's blur of a plane, whose window its answer to an impulse tells, as one fused sum a pixel.

    Args:
        side: of the window.
        simd: the set of instructions that is forced.
    """
    reach = side // 2
    impulse = torch.zeros(1, 1, 2 * side - 1, 2 * side - 1, dtype=torch.float32, device="cpu")
    impulse[..., side - 1, side - 1] = 1
    answer = BLURS[api](impulse, [side, side], list(sigma))[0, 0]
    window = answer[side - 1 - reach : side + reach, side - 1 - reach : side + reach].flip(0, 1)
    stage = Filter(window.double(), "reflect", Arithmetic("float32", fma=True))
    return cpu.Program(Plan(1, None, (stage,), None, floating=True))


def smoothed(field: Tensor, api: str, side: int, sigma: Sequence[float]) -> Tensor:
    """Return what torchvision's blur makes of a plane ``[1, 1, H, W]``, to the bit.

    Raises:
        PaddingError: the window reaches further than the plane can be mirrored.
    """
    size, reach = (field.shape[-2], field.shape[-1]), side // 2
    try:
        check_padding((reach,) * 4, size, "reflect")
    except PaddingError as error:
        raise PaddingError(
            f"ElasticTransform with sigma={list(sigma)} smooths over {side} pixels, which takes images of more than "
            f"{reach} rows and columns; got {size}. Pass a smaller sigma, or larger images."
        ) from error
    summed = side > SMALL and cpu.why_not(None, field.device, False) is None and installed.sums_windows_in_order()
    if not summed:
        return BLURS[api](field, [side, side], list(sigma))
    with torch.inference_mode(False), out_of_sight():
        program = smoother(api, side, (float(sigma[0]), float(sigma[1])), os.environ.get(cpu.SIMD, ""))
    made: Tensor = program.bind(field)(field)
    return made


class ElasticTransform(Factored):
    """Pixels displaced, each by its own drawn amount, and near ones by about the same."""

    arguments = ("alpha", "sigma", "interpolation", "fill")
    names = ("displacement",)
    factors = ("places", "rows", "columns")
    geometric = relative = measuring = default_dtype = True

    def roles(self) -> tuple[str, ...]:
        return ("warp_",)

    def lower(self, form: Form) -> Step | str:
        transform, fill = self.transform, self.transform.fill
        if torch.get_default_dtype() != torch.float32:
            return "the default dtype is not float32"
        if form.container != "mask" and interpolation_name(transform.interpolation) == "bicubic":
            return "bicubic sums around displaced places are not learned"
        if isinstance(fill, dict):
            if by_class(fill, form):
                return FILL_CLASSES
            fill = fill_for(fill, form)
        # torchvision makes tensors of PIL images for it.
        taken = form._replace(container="tensor") if form.container == "pil" else form
        parts = warped(taken, self.api, transform.interpolation, fill, Slots(0, len(self.factors)))
        return parts if isinstance(parts, str) else replace(parts[0], form=form, given=("draws",))

    def sample(self, seen: Seen) -> Outcome:
        """Draw the displacement.

        Raises:
            PaddingError: the image is smaller than what numbers are smoothed over.
        """
        size = seen.shape[1:]
        if default_rng_active():
            state = torch.get_rng_state()
            drawn = Displacement(self.draw(size), state, self.draw)
        elif self.api == "v2":
            image = torch.empty((), device="cpu").expand(seen.shape)  # One number: its size is all that counts.
            drawn = Displacement(self.transform.make_params([image])["displacement"], None, self.draw)
        else:
            alpha, sigma = self.transform.alpha, self.transform.sigma
            drawn = Displacement(self.transform.get_params(alpha, sigma, list(size)), None, self.draw)
        return (("displacement", drawn),)

    def draw(self, size: Size, generator: torch.Generator | None = None) -> Tensor:
        """Return a displacement for an image of ``size``, float32 ``[1, H, W, 2]``, out of a generator, or torch's."""
        alpha, sigma, fields = self.transform.alpha, self.transform.sigma, []
        for strength, deviation, length in zip(alpha, sigma, reversed(size), strict=True):
            field = torch.rand((1, 1, *size), generator=generator, dtype=torch.float32, device="cpu").mul_(2).sub_(1)
            if deviation > 0.0:
                side = int(8 * deviation + 1)
                field = smoothed(field, self.api, side + (side % 2 == 0), sigma)
            fields.append(field.mul_(strength).div_(length))
        return torch.concat(fields, 1).permute(0, 2, 3, 1)

    def split(self, drawn: Outcome, size: Size, container: str) -> tuple[Outcome, tuple[float, ...]]:
        if isinstance(drawn, bool):
            return drawn, (0.0,) * len(self.factors)
        return True, (dict(drawn)["displacement"].places(size), float(size[0]), float(size[1]))

    def takes_effect(self, drawn: Outcome) -> bool:
        return drawn is not False

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        return (True,)

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        return {} if isinstance(outcome, bool) else {"displacement": dict(outcome)["displacement"].of(size_of(value))}

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, self.names) or not isinstance(entry["displacement"], str):
            return None
        return (("displacement", Displacement(None, read_state(entry["displacement"]), self.draw)),)

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)
