"""The CUDA backend: plans in a few launches for a batch on a GPU, with the pixels of the CPU.

The kernels lie in ``source/``; ``driver.py`` has them compiled and launched. ``phases.py`` makes launches of a plan,
``recipes.py`` records of these, which ``launches.py`` fills in for the images at hand.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.images.formats import CPU, Call, Later, Window
from learned_transforms.ir.ops import Resample, Resize
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.cuda import driver
from learned_transforms.kernels.cuda.launches import alike, each, launch, source_of
from learned_transforms.kernels.cuda.limits import unfit_plan
from learned_transforms.kernels.cuda.phases import merged, phases_of
from learned_transforms.kernels.cuda.recipes import Recipe, fills_of
from learned_transforms.kernels.memory import in_memory
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.modes import out_of_sight

PLACE = "cuda"
"""The type of the devices that it runs on."""
MOST_RECIPES = 256
"""Kept of a plan: one for each size of images, or window."""
MOST_VALUES = 2**31
"""Of an image, before and behind: offsets within one are 32 bits."""
FARTHEST = 2**20
"""Bytes from line to line, at most."""


def why_not(plan: Plan | None, device: torch.device | None, gradients: bool) -> str | None:
    """Return the reason why this backend cannot run ``plan`` on ``device``, or None."""
    if device is not None and device.type != PLACE:
        return f"it runs on a GPU, not on {device.type}"
    if gradients or torch.compiler.is_compiling():
        return "it computes no gradients, and no compiler looks into it"
    lacking = driver.missing() if device is None else driver.failure(index_of(device))
    return lacking or (None if plan is None else unfit_plan(plan))


def index_of(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


class Program:
    """A plan, compiled for this backend."""

    held = 0

    def __init__(self, plan: Plan) -> None:
        reason = unfit_plan(plan)
        if reason is not None:
            raise BackendError(f"The cuda backend cannot run this plan: {reason}.")
        self.plan = plan.to(CPU)
        first = self.plan.stages[0]
        # A window that is resized to one size: launches are the same for all of them.
        self.resizing = isinstance(first, Resample) or (isinstance(first, Resize) and first.sizing.fixed)
        # Images of this size it leaves as they are.
        self.still = first.sizing.wanted if isinstance(first, Resize) and first.still else (-1, -1)
        self.recipes: dict[Any, Recipe] = {}

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """Return what runs on images of the dtype and the number of dimensions of this one."""
        if not isinstance(image, Tensor) or image.device.type != PLACE:
            raise BackendError("The cuda backend takes tensors on a GPU.")
        if image.dtype != torch.uint8 or 0 in image.shape:
            return Reference(self.plan.to(image.device)).run

        return Bound(self, interleaved)

    def roam(self, image: Any, interleaved: bool = False) -> Call | None:
        """Return what runs on images of any size."""
        return self.bind(image, interleaved)

    def recipe(self, image: Tensor, window: Window | None, causes: tuple[str, ...] | None = None) -> Recipe:
        """Return the launches for images like this one, or a window of them; kept.

        Raises:
            InputShapeError: the window does not lie in them, and it is not known what does around.
        """
        channels, height, width = image.shape[-3:]
        size, padded = (height, width), False
        if window is not None:
            top, left, rows, columns = window
            padded = top < 0 or left < 0 or top + rows > height or left + columns > width
            if min(rows, columns) < 1 or (padded and self.plan.around is None):
                raise InputShapeError(
                    f"The window {window} (top, left, height, width) does not lie in the image of {size} (rows, "
                    "columns)."
                )
            size = rows, columns
        told = window is not None and self.resizing and not padded and size != self.still
        key = image.device, causes, channels, None if told else size, padded
        found = self.recipes.get(key)
        if found is None:
            with torch.inference_mode(False), out_of_sight():
                found = self.settle(image, size, padded, causes)
            if len(self.recipes) >= MOST_RECIPES:
                self.recipes.clear()
            self.recipes[key] = found
        return found

    def settle(self, image: Tensor, size: tuple[int, int], padded: bool, causes: tuple[str, ...] | None) -> Recipe:
        """Return the same, worked out."""
        channels, height, width = image.shape[-3:]
        if channels != self.plan.channels:
            raise InputShapeError(f"Expected images of {self.plan.channels} channels, got {channels}.")
        made = Recipe(phases_of(self.plan, size, padded, causes), image.device)
        if max(channels * height * width, *(c * h * w for c, h, w in made.shapes)) >= MOST_VALUES:
            raise InputShapeError(
                f"On a GPU, an image has less than 2^31 values, got {tuple(image.shape)}. Crop it first."
            )
        return made


class Bound:
    """What runs a plan on uint8 images: see ``formats.Call``.

    Args:
        interleaved: the channels of a pixel of the result shall lie side by side.
    """

    def __init__(self, program: Program, interleaved: bool) -> None:
        self.program, self.interleaved = program, interleaved

    def __call__(
        self, image: Tensor, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
    ) -> Any:
        if later is not None:
            return later(self, image.data_ptr(), image, window, factors)
        images = readable(image)
        recipe = self.program.recipe(images, window)
        made, targets = memory_for(recipe, image.shape[:-3], images, self.interleaved)
        sources = [source_of(one) for one in (images, *targets[:-1])]
        given = alike(recipe, sources, (images.shape[-2], images.shape[-1]), window, factors)
        on, steady = driver.gpu(index_of(images.device)), window is None
        launch(on, recipe, given, recipe.summed, recipe.fills, targets, steady)
        return made


def memory_for(recipe: Recipe, lead: Sequence[int], images: Tensor, interleaved: bool) -> tuple[Tensor, list[Tensor]]:
    """Return memory for the result ``[*lead, C, H, W]``, and for what each launch makes, ``[N, C, H, W]``."""
    channels, rows, columns = recipe.shapes[-1]
    size = (rows, columns, channels) if interleaved else (channels, rows, columns)
    made = torch.empty((*lead, *size), dtype=recipe.dtype, device=images.device)
    made = made.movedim(-1, -3) if interleaved else made
    batch = made[None] if made.ndim == 3 else made if made.ndim == 4 else made.flatten(0, -4)
    between = [torch.empty((len(batch), *s), dtype=torch.uint8, device=images.device) for s in recipe.shapes[:-1]]
    return made, [*between, batch]


Drawn = tuple[Bound, int, Window | None, Sequence[float]]
"""What runs on an image, where that lies, and what was drawn for it."""


def run_all(drawn: Sequence[Drawn], images: Sequence[Tensor], batch: Tensor | None) -> Tensor | None:
    """Return images ``[N, C, H, W]`` in as many launches as one takes; None: they are not alike enough.

    Args:
        images: uint8, ``[C, H, W]``.
        batch: the images are its rows; None: each lies by itself.

    Raises:
        BackendError: a graph is being captured, which would read what was drawn out of memory that is no more.
    """
    gpu = driver.gpu(index_of(images[0].device))
    if not gpu.keeps():
        raise BackendError("A graph captures one draw for all images of a batch, not one for each: without per_sample.")
    bounds, places, windows, factors = (list(column) for column in zip(*drawn, strict=True))
    whole = None if batch is None else readable(batch)
    if whole is not None:
        start, step = whole.data_ptr(), whole.stride(0)
        whole = whole if places == [start + n * step for n in range(len(places))] else None
    given = [readable(image) for image in images] if whole is None else [whole]
    parts = None
    if any(windows):
        every = zip(windows, images, strict=True)
        windows = [window or (0, 0, image.shape[-2], image.shape[-1]) for window, image in every]
        parts = np.array(windows, dtype=np.int64)
    # What is cut out of the rows of a batch makes no difference if that is nothing, or resized to one size.
    same = whole is not None and (parts is None or resized(bounds, parts, whole))
    seen = given * len(bounds) if whole is not None else given

    def cook(causes: tuple[str, ...] | None) -> list[Recipe]:
        every = zip(bounds, seen, windows, strict=True)
        if not same:
            return [bound.program.recipe(image, window, causes) for bound, image, window in every]
        some = {bound: (image, window) for bound, image, window in every}
        known = {bound: bound.program.recipe(*those, causes) for bound, those in some.items()}
        return [known[bound] for bound in bounds]

    recipes = cook(None)
    causes = reduce(merged, dict.fromkeys(recipe.causes for recipe in recipes))
    if any(recipe.causes != causes for recipe in recipes):
        recipes = cook(causes)
    known = list(dict.fromkeys(recipes))
    first, fills = known[0], fills_of(known)
    if fills is None:
        return None
    made, targets = memory_for(first, (len(images),), given[0], bounds[0].interleaved)
    sources = [[source_of(one) for one in given], *([source_of(one)] for one in targets[:-1])]
    sizes = np.array([image.shape[-2:] for image in given])
    records, _table = each(recipes, sources, sizes, parts, factors)
    summed = [any(recipe.summed[n] for recipe in known) for n in range(len(first.phases))]
    launch(gpu, first, records, summed, fills, targets)
    return made


def resized(bounds: Sequence[Bound], windows: Any, images: Tensor) -> bool:
    """Return whether windows ``[N, 4]`` have one recipe, whatever they are: see :meth:`Program.recipe`."""
    programs = [bound.program for bound in dict.fromkeys(bounds)]
    sizes = {program.still for program in programs}
    if len(sizes) > 1 or not all(program.resizing for program in programs):
        return False
    ends = windows[:, :2] + windows[:, 2:]
    inside = (windows[:, :2] >= 0).all() and (windows[:, 2:] > 0).all() and (ends <= images.shape[-2:]).all()
    return bool(inside and not (windows[:, 2:] == sizes.pop()).all(1).any())


def readable(image: Tensor) -> Tensor:
    """Return the images as ``[N, C, H, W]`` that the kernels read: a view, or a copy where strides are too large for
    them.

    Raises:
        InputShapeError: the storage was taken away.
    """
    needed = image.storage_offset() + 1
    for n, s in zip(image.shape, image.stride(), strict=True):
        needed += (n - 1) * s
    if image.untyped_storage().nbytes() < needed:
        image = in_memory(image).to(image.device)
    image = image[None] if image.ndim == 3 else image if image.ndim == 4 else image.flatten(0, -4)
    _, channel, row, pixel = image.stride()
    return image if max(row, pixel) <= FARTHEST and channel < MOST_VALUES // 2 else image.contiguous()


def compile_plan(plan: Plan) -> Program | Reference:
    """Return the program of a plan; where there is nothing to compute, the reference gives images back as they are."""
    return Program(plan) if plan.stages else Reference(plan)
