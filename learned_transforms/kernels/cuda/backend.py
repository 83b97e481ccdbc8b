"""The CUDA backend: resample, crop, flip and table in one kernel for a batch on a GPU, with the pixels of the CPU.

The kernels lie in ``source/``, and ``driver.py`` has them compiled and launched. A plan comes to one pass: a kernel
makes the outputs of each axis that lie in the image, and what lies outside is filled in. Flips are negative strides.
"""

import ctypes
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.images.formats import CPU, HALVES, Call, Later, Window
from learned_transforms.ir.indexing import Keep, Mirrored, Padded, Part
from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import Gather, Normalize, Resample, Resize, Stage, Table
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.cuda import driver
from learned_transforms.kernels.cuda.driver import THREADS, Driver
from learned_transforms.kernels.cuda.spans import Geometry, Span, entire
from learned_transforms.kernels.memory import in_memory
from learned_transforms.kernels.reference.executor import Reference, carry_out

PLACE = "cuda"
"""The type of the devices that it runs on."""
TILE = 56, 32
"""Rows and columns of outputs that a block makes."""
SHARED = 48 << 10
"""Bytes of shared memory that a block has without asking for more."""
SHARE = 4 * THREADS
"""Pixels that a block takes through a table."""
MOST_SIZES = 64
"""Of images, for which it is kept what a plan comes to."""
CHANNELS = 1, 3
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
    return lacking or (None if plan is None else unfit(plan))


def index_of(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def unfit(plan: Plan) -> str | None:
    """Return why a plan is not for this backend."""
    if not plan.stages:
        return None
    if plan.floating:
        return "it takes uint8 images"
    if plan.channels not in CHANNELS:
        return f"it takes images of {' or '.join(map(str, CHANNELS))} channels, not {plan.channels}"
    if plan.around is not None and plan.around.border != "zero":
        return f"it fills in one value, not {plan.around.border}"
    resampled = pointwise = False
    fills = set() if plan.around is None else {(filled(plan.around.fill), 0)}
    for number, stage in enumerate(plan.stages):
        reason = unfit_stage(stage)
        if reason is not None:
            return reason
        if isinstance(stage, Resample | Resize):
            if resampled or pointwise:
                return "it resamples once, and before all else but a crop"
            if fills:
                return "it fills in nothing before it resamples"
            resampled = True
        elif isinstance(stage, Gather):
            if may_fill(stage):
                fills.add((filled(stage.fill), pointwise and number))
        else:
            pointwise = True
    return "it fills in one value" if len(fills) > 1 else None


def filled(fill: Sequence[float]) -> tuple[float, ...]:
    """Return what is filled in for each channel; without any, 0."""
    return tuple(fill) if any(fill) else ()


def may_fill(stage: Gather) -> bool:
    """Return whether it may reach beyond an image of some size."""
    return stage.outside or isinstance(stage.rows, Part | Padded) or isinstance(stage.columns, Part | Padded)


def unfit_stage(stage: Stage) -> str | None:
    """Return why a stage is not for this backend."""
    if isinstance(stage, Resample | Resize):
        how, axes = stage.arithmetic, (stage.rows, stage.columns)
        if not all(isinstance(axis, Axis) and axis.antialias for axis in axes):
            return "it resamples by antialiased kernels only"
        if how.number != "int" or not how.adaptive or not how.each_pass or how.quarters or how.tall_first:
            return "it resamples with the int16 weights of uint8 tensors only"
        if isinstance(stage, Resize) and stage.larger is not None:
            return "it has one arithmetic for every size"
        if not all(tame(axis) for axis in axes if isinstance(axis, Axis)):
            return "its kernel does not sum to 1"
    elif isinstance(stage, Gather) and stage.starts is not None:
        return "it cuts drawn windows out of images before all else only"
    elif isinstance(stage, Gather):
        if stage.channels is not None:
            return "it copies no channels"
        for kept in (stage.rows, stage.columns):
            steady = isinstance(kept, Mirrored) or (isinstance(kept, Keep) and kept.step in (1, -1))
            if not (kept is None or steady or (isinstance(kept, Part | Padded) and kept.border == "zero")):
                return "it crops, flips, and fills in one value only"
    elif not isinstance(stage, Table | Normalize):
        return f"it has no {type(stage).__name__}"
    tensors = [value for value in vars(stage).values() if isinstance(value, Tensor)]
    if any(value.dtype in HALVES for value in tensors):
        return "it makes bytes and float32 only"
    tensors += [value.kernel for value in vars(stage).values() if isinstance(value, Axis)]
    return "its weights are being trained" if any(tensor.requires_grad for tensor in tensors) else None


def tame(axis: Axis) -> bool:
    """Return whether the weights of an axis are far from what an int16 cannot hold, whatever its length."""
    kernel = axis.kernel.detach()
    u = torch.linspace(0, 1, 17, dtype=torch.float64, device=kernel.device)[:, None, None]
    terms = (kernel * u ** torch.arange(kernel.shape[1], device=kernel.device)).sum(-1)
    sums = (terms + terms.flip(0)).sum(-1)
    return bool(((sums - 1).abs() < 0.1).all() and (terms.abs() < 1.5).all() and axis.shift.abs() <= 1)


class Images(ctypes.Structure):
    """As in kernels.cu."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "end")),
        ("image", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("channel", "row", "pixel")),
    )


class Side(ctypes.Structure):
    """As in kernels.cu."""

    _fields_ = (("shift", ctypes.c_double), *((name, ctypes.c_int) for name in ("inputs", "size", "keep", "outputs")))


class Sides(ctypes.Structure):
    """As in kernels.cu."""

    _fields_ = (*((name, ctypes.c_int) for name in ("support", "count", "bits", "pairs")), ("sides", Side * 2))


class Made(ctypes.Structure):
    """As in kernels.cu."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("image", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("channel", "row", "pixel")),
    )


class Constants(NamedTuple):
    """The numbers of a plan on a device: the kernel, the table, and what is filled in, ``[C, 1, 1]``."""

    driver: Driver
    terms: Tensor | None
    table: Tensor
    fill: Tensor


class Program:
    """A plan, compiled for this backend."""

    held = 0

    def __init__(self, plan: Plan) -> None:
        reason = unfit(plan)
        if reason is not None:
            raise BackendError(f"The cuda backend cannot run this plan: {reason}.")
        self.plan = plan.to(CPU)
        pointwise = [stage for stage in self.plan.stages if isinstance(stage, Table | Normalize)]
        levels = torch.arange(256, dtype=torch.uint8, device="cpu").expand(plan.channels, 1, 256)
        self.table = reduce(carry_out, pointwise, levels).contiguous()
        self.value = {torch.uint8: 8, torch.float32: 32}[self.table.dtype]
        self.fill = self.filling()
        resamples = [stage for stage in self.plan.stages if isinstance(stage, Resample | Resize)]
        rows = resamples[0].rows if resamples else None
        self.kernel = rows.kernel if isinstance(rows, Axis) else None
        self.bits = resamples[0].arithmetic.bits if resamples else 0
        self.known: dict[tuple[int, int], Geometry] = {}
        self.constants: dict[torch.device, Constants] = {}

    def filling(self) -> Tensor:
        """Return what is filled in, as the stages behind leave it: ``[C, 1, 1]``."""
        value = torch.zeros(self.plan.channels, 1, 1, dtype=torch.uint8, device="cpu")
        if self.plan.around is not None:
            value = of_fill(self.plan.around.fill, value)
        for stage in self.plan.stages:
            if not isinstance(stage, Gather):
                value = carry_out(value, stage) if isinstance(stage, Table | Normalize) else value
            elif may_fill(stage):
                value = of_fill(stage.fill, value)
        return value

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """Return what runs on images of the dtype and the number of dimensions of this one."""
        if not isinstance(image, Tensor) or image.device.type != PLACE:
            raise BackendError("The cuda backend takes tensors on a GPU.")
        if image.dtype != torch.uint8 or 0 in image.shape:
            return Reference(self.plan.to(image.device)).run

        def run(
            image: Tensor, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Tensor:
            return self.run(image, window, interleaved)

        return run

    def roam(self, image: Any, interleaved: bool = False) -> Call | None:
        """Return what runs on images of any size."""
        return self.bind(image, interleaved)

    def run(self, image: Tensor, window: Window | None, interleaved: bool) -> Tensor:
        """Carry out the plan on uint8 images ``[..., C, H, W]``."""
        lead, (channels, height, width) = image.shape[:-3], image.shape[-3:]
        if channels != self.plan.channels:
            raise InputShapeError(f"Expected images of {self.plan.channels} channels, got {channels}.")
        geometry = self.geometry((height, width), window)
        rows, columns = (span.length for span in geometry.made)
        if channels * max(rows * columns, height * width) >= MOST_VALUES:
            raise InputShapeError(
                f"On a GPU, an image has less than 2^31 values, got {tuple(image.shape)}. Crop it first."
            )
        size = (rows, columns, channels) if interleaved else (channels, rows, columns)
        made = torch.empty((*lead, *size), dtype=self.table.dtype, device=image.device)
        made = made.movedim(-1, -3) if interleaved else made
        self.write(readable(image), geometry, made)
        return made

    def geometry(self, size: tuple[int, int], window: Window | None) -> Geometry:
        """Return what the plan comes to for images of a size (rows, columns), or a window of them; kept, but for
        windows."""
        if window is None:
            found = self.known.get(size)
            if found is None:
                if len(self.known) >= MOST_SIZES:
                    self.known.clear()
                found = self.known[size] = self.settle((entire(size[0]), entire(size[1])))
            return found
        top, left, height, width = window
        inside = top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
        if not inside and (self.plan.around is None or height < 1 or width < 1):
            raise InputShapeError(
                f"The window {window} (top, left, height, width) does not lie in the image of {size} (rows, columns)."
            )
        seen = entire(size[0]).then(Keep(top, 1, height)), entire(size[1]).then(Keep(left, 1, width))
        return self.settle(seen)

    def settle(self, seen: tuple[Span, Span]) -> Geometry:
        """Return the same for what is seen of an image."""
        rows, columns = seen
        shape, axes, taken = (self.plan.channels, rows.length, columns.length), None, None
        for stage in at(self.plan.stages, shape):
            if isinstance(stage, Gather):
                keeps = (k if isinstance(k, Keep) else None for k in (stage.rows, stage.columns))
                rows, columns = (span.then(keep) for span, keep in zip((rows, columns), keeps, strict=True))
            elif isinstance(stage, Resample) and isinstance(stage.rows, Axis) and isinstance(stage.columns, Axis):
                taken, axes = (rows, columns), (stage.rows, stage.columns)
                rows, columns = (entire(axis.size).then(axis.keep) for axis in axes)
        made = rows, columns
        return Geometry(made if taken is None else taken, axes, made)

    def write(self, images: Tensor, geometry: Geometry, made: Tensor) -> None:
        """Launch on the current stream what makes ``made`` of images that the kernels read."""
        constants = self.on(images.device)
        if geometry.fills:
            made.copy_(constants.fill)
        if geometry.empty:
            return
        batch = made[None] if made.ndim == 3 else made if made.ndim == 4 else made.flatten(0, -4)
        (rows, columns), kernel = geometry.made, f"{self.plan.channels}_{self.value}"
        source, target, table = source_of(images, geometry), target_of(batch, geometry), pointer(constants.table)
        if constants.terms is None or geometry.axes is None:
            blocks = len(batch) * -(-rows.inner * columns.inner // SHARE)
            numbers = map(ctypes.c_int, (rows.inner, columns.inner, SHARE))
            constants.driver.launch(f"look_up_{kernel}", blocks, 0, (source, *numbers, table, target))
            return
        sides = sides_of(geometry, constants.terms, self.bits)
        size = 2 * (1 + max(rows.inner, columns.inner) * (2 + sides.pairs))
        taps = torch.empty(size, dtype=torch.int32, device=images.device)
        constants.driver.launch("axis_taps", 2, 8 * THREADS, (pointer(constants.terms), sides, pointer(taps)))
        lines, shared = chunk_of(sides, self.plan.channels, self.value // 8)
        blocks = len(batch) * -(-rows.inner // TILE[0]) * -(-columns.inner // TILE[1])
        arguments = source, sides, pointer(taps), table, ctypes.c_int(lines), target
        constants.driver.launch(f"resample_{kernel}", blocks, shared, arguments)

    def on(self, device: torch.device) -> Constants:
        """Return the numbers of the plan on a device; kept."""
        found = self.constants.get(device)
        if found is None:
            with torch.inference_mode(False):
                terms = None if self.kernel is None else self.kernel.detach().contiguous().to(device)
                constants = terms, self.table.to(device), self.fill.to(device)
            found = self.constants[device] = Constants(driver.gpu(index_of(device)), *constants)
        return found


def of_fill(fill: Sequence[float], like: Tensor) -> Tensor:
    """Return a fill of images in the dtype and shape ``[C, 1, 1]`` of others; without any, 0."""
    return like.new_tensor(fill or (0.0,)).view(-1, 1, 1).expand(like.shape)


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def readable(image: Tensor) -> Tensor:
    """Return the images as ``[N, C, H, W]`` that the kernels read: a view, or a copy where strides are too large for
    them.

    Raises:
        InputShapeError: the storage was taken away.
    """
    needed = image.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(image.shape, image.stride(), strict=True))
    if image.untyped_storage().nbytes() < needed:
        image = in_memory(image).to(image.device)
    image = image[None] if image.ndim == 3 else image if image.ndim == 4 else image.flatten(0, -4)
    _, channel, row, pixel = image.stride()
    return image if max(row, pixel) <= FARTHEST and channel < MOST_VALUES // 2 else image.contiguous()


def source_of(images: Tensor, geometry: Geometry) -> Images:
    """Return the part of images that a plan takes, as the kernels read it: looked up from the first pixel that is kept
    on."""
    image, channel, row, pixel = images.stride()
    storage = images.untyped_storage()
    (top, down), (left, right) = (
        (span.first, 1) if geometry.axes is None else (span.start, span.step) for span in geometry.taken
    )
    data = images.data_ptr() + top * row + left * pixel
    return Images(data, storage.data_ptr() + storage.nbytes(), image, channel, row * down, pixel * right)


def target_of(batch: Tensor, geometry: Geometry) -> Made:
    """Return where the outputs of ``[N, C, H, W]`` that are made of pixels go, in the order of those."""
    image, channel, row, pixel = batch.stride()
    top, left = (span.begin if span.step > 0 else span.end - 1 for span in geometry.made)
    data = batch.data_ptr() + batch.element_size() * (top * row + left * pixel)
    rows, columns = geometry.made
    return Made(data, image, channel, row * rows.step, pixel * columns.step)


def sides_of(geometry: Geometry, terms: Tensor, bits: int) -> Sides:
    """Return the resample of a plan, across and down."""
    support, count = terms.shape
    axes = zip(geometry.axes or (), geometry.taken, geometry.made, strict=True)
    down, across = (
        Side(float(axis.shift), taken.length, axis.size, made.first, made.inner) for axis, taken, made in axes
    )
    stretch = max(side.inputs / side.size for side in (down, across))
    pairs = (int(2 * support * max(stretch, 1)) + 8) // 4 * 2
    return Sides(support, count, bits, pairs, (Side * 2)(across, down))


def chunk_of(sides: Sides, channels: int, value: int) -> tuple[int, int]:
    """Lines of the image that a block takes at once, and the bytes of shared memory for it."""
    line, table, sums = channels * TILE[1], channels * 256 * value, 4 * channels * TILE[0] * TILE[1]
    stretch = max(sides.sides[1].inputs / sides.sides[1].size, 1)
    lines = (int(TILE[0] * stretch) + int(2 * sides.support * stretch) + 12) // 4 * 4
    if lines * line + table <= SHARED:
        return lines, lines * line + table
    lines = (SHARED - table - sums) // line // 4 * 4
    return lines, lines * line + table + sums


def compile_plan(plan: Plan) -> Program | Reference:
    """Return the program of a plan; where there is nothing to compute, the reference gives images back as they are."""
    return Program(plan) if plan.stages else Reference(plan)
