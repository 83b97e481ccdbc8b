"""The native CPU backend: one fused pass over cache-resident rows, with the same values as the reference.

The compiled part lies in ``native/``. It holds a plan as a program, works out taps by itself for every size of input,
and takes the fastest instructions that the processor has: AVX-512 (VBMI, VNNI), AVX2, SSE4.1, NEON, or portable code.
The environment variable ``LEARNED_TRANSFORMS_SIMD`` (``avx512``, ``avx2``, ``sse4``, ``neon``, ``portable``), read when
a plan is first run, forces one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import BackendError, InputShapeError, PipelineValueError
from learned_transforms.images.formats import Call, Later, Window, shape_of, to_tensor
from learned_transforms.installed import EXPORTS_SAFELY, check_export
from learned_transforms.ir.ops import (
    Blend,
    Blur,
    Cast,
    Equalize,
    Filter,
    Mix,
    Resample,
    Resize,
    Slot,
    Sparse,
    Stretch,
    Table,
    Turn,
    Warp,
)
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import Plan, drawn_for
from learned_transforms.kernels.extension import MISSING, _native
from learned_transforms.kernels.memory import allocator, fitted, in_memory, misread, output_of, readable, usable
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.kernels.stages import MADE, NAMES, blur_of, make, native, unfit, window_taps

SIMD = "LEARNED_TRANSFORMS_SIMD"
BYTES_TO_ADVISE = 2**25
"""From so many on, memory for several results is asked for in huge pages: the C library maps it anew each time. What is
smaller is used again mostly, and huge pages may take long to find."""
PIXEL_BYTES = {"RGB": (3, 4), "L": (1, 1)}
"""By mode of a PIL image: channels, and bytes from pixel to pixel."""
ARRAY_TYPES = {torch.uint8: np.uint8, torch.float32: np.float32, torch.float16: np.float16}
"""By dtype: that of arrays, which have no other."""


def mix_batch(images: Tensor, share: float) -> Tensor:
    """``images.roll(1, 0) * (1 - share) + images * share``, with each product and the sum rounded by itself.

    Args:
        images: float32 ``[N, ...]``, contiguous, in memory of its own.
        share: in [0, 1], of the image itself.
    """
    made = torch.empty(images.shape, dtype=torch.float32, device="cpu")
    size = len(images), images[0].numel(), share
    _native.mix_batch(images.data_ptr(), made.data_ptr(), *size, torch.get_num_threads(), os.environ.get(SIMD, ""))
    return made


def instructions() -> list[str]:
    """Return the sets of instructions that can be forced here, fastest first."""
    return [] if MISSING else _native.simd()


def trim() -> None:
    """Give memory that was freed back to the system."""
    if MISSING is None:
        _native.trim()


@contextmanager
def forced(simd: str) -> Iterator[None]:
    """Have plans that are first run meanwhile use one set of instructions."""
    before = os.environ.get(SIMD)
    os.environ[SIMD] = simd
    try:
        yield
    finally:
        os.environ.pop(SIMD)
        if before is not None:
            os.environ[SIMD] = before


def why_not(plan: Plan | None, device: torch.device | None, gradients: bool) -> str | None:
    """Return the reason why this backend cannot run ``plan`` on ``device``, or None."""
    if MISSING is not None:
        return MISSING
    if device is not None and device.type != "cpu":
        return f"it runs on the CPU, not on {device.type}"
    if gradients or torch.compiler.is_compiling():
        return "it computes no gradients, and no compiler looks into it"
    if plan is None:
        return None
    # Where weights begin to be trained, layers give new stages.
    reasons = (unfit(stage) for stage in plan.stages if stage not in MADE)
    return next((reason for reason in reasons if reason is not None), None)


class Program:
    """A plan, compiled for this backend.

    Attributes:
        held: bytes of memory held by all that was bound.

    Raises:
        BackendError: it does not fit together, or the processor lacks the instructions that were forced.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.held = 0
        # Of windows that are summed at once, taps come behind what is drawn, from which they follow.
        self.blurs = [
            s for s in plan.stages if isinstance(s, Blur) and s.form != "passes" and isinstance(s.sigma, Slot)
        ]
        self.drawn = first = drawn_for(plan.stages)
        try:
            self.native = _native.Program(plan.channels, os.environ.get(SIMD, ""))
            for stage in plan.stages:
                self.native.add(make(blur_of(stage, first)) if stage in self.blurs else native(stage))
                first += sum(stage.size) if stage in self.blurs else 0
            if plan.around is not None:
                self.native.surround(*plan.around)
        except (TypeError, ValueError) as error:  # Dimensions are part of the types of the native code.
            raise BackendError(f"The cpu backend cannot run this plan: {error}.") from error

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """Return what runs on images of the type, shape, strides and dtype of this one.

        Args:
            image: a tensor ``[..., C, H, W]``, a PIL image, or a uint8 array ``[H, W, C]`` or ``[H, W]``.
            interleaved: leave the channels of a pixel side by side in memory.
            windowed: images will come with a window, so that nothing need be made for whole ones.

        Raises:
            InputShapeError: it does not fit the plan.
        """
        if isinstance(image, np.ndarray):
            return self.completing(self.bind_array(image, interleaved, windowed))
        bind = self.bind_tensors if isinstance(image, Tensor) else self.bind_pil
        return self.completing(bind(image, interleaved, windowed))

    def completing(self, call: Call) -> Call:
        """Return what runs with the taps that follow from what is drawn, if any do."""
        if not self.blurs:
            return call

        def run(
            image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            if len(factors) < self.drawn:  # They are refused.
                return call(image, window, factors, later)
            taps = [tap for stage in self.blurs for tap in window_taps(stage, factors[cast(Slot, stage.sigma).number])]
            return call(image, window, (*factors[: self.drawn], *taps), later)

        return run

    def bind_tensors(self, image: Tensor, interleaved: bool, windowed: bool) -> Call:
        """Return the same for tensors."""
        shape = image.shape
        idle = self.plan.idles and not windowed and self.plan.idle((shape[-3], shape[-2], shape[-1]))
        if idle or 0 in shape:
            return Reference(self.plan).run
        memory, strides = usable(image)
        direct = memory is image and image.dtype == torch.uint8
        images, step = (len(memory), memory.stride(0)) if memory.ndim > 3 else (1, 0)
        call = self.call(images, shape[-3:], strides, step, NAMES[image.dtype], interleaved, windowed)
        size, dtype = output_of(call, shape[:-3], interleaved)
        empty, threads, needed, element = allocator(dtype), torch.get_num_threads, call.reach, image.element_size()

        def run(
            image: Tensor, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            memory = image if direct else usable(image)[0]
            source = memory.data_ptr()
            if not source or memory.untyped_storage().nbytes() < needed + element * memory.storage_offset():
                memory = in_memory(memory)
                source = memory.data_ptr()
            if later is not None:
                return later(call, source, memory, window, factors)
            made = empty(*size)
            call(source, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def roam(self, image: Any, interleaved: bool = False) -> Call | None:
        """Return what runs on images of the kind of this one, of any size: all in one function, since each comes once.

        None: images like this one must be bound.
        """
        if isinstance(image, Tensor):
            return self.completing(self.roam_tensors(image, interleaved)) if image.ndim == 3 else None
        return self.completing(self.roam_pil(image, interleaved)) if isinstance(image, Image.Image) else None

    def roam_tensors(self, image: Tensor, interleaved: bool) -> Call:
        dtype, element, threads = NAMES[image.dtype], image.element_size(), torch.get_num_threads
        bind, bound = self.native.bind, self.bind
        empty = allocator(self.dtype(image.dtype))

        def run(
            image: Tensor, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            windowed = window is not None
            try:
                call = bind(1, image.shape, image.stride(), 0, dtype, interleaved, windowed)
            except ValueError:  # It must be copied first, or is refused.
                return bound(image, interleaved, windowed)(image, window, factors, later)
            source = image.data_ptr()
            needed = call.reach + element * image.storage_offset()
            if not source or image.is_neg() or image.untyped_storage().nbytes() < needed:
                return bound(image, interleaved, windowed)(image, window, factors, later)
            if later is not None:
                return later(call, source, image, window, factors)
            made = empty(call.memory)
            call(source, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def roam_pil(self, image: Image.Image, interleaved: bool) -> Call:
        channels, pixel = PIXEL_BYTES[image.mode]
        bind, bound, threads, arrow_pixels = self.native.bind, self.bind, torch.get_num_threads, _native.arrow_pixels
        empty = allocator(self.dtype(torch.uint8))

        def run(
            image: Image.Image, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            windowed, (width, height) = window is not None, image.size
            try:
                if not EXPORTS_SAFELY:
                    check_export(image)
                owner = image.__arrow_c_array__()[1]
                call = bind(1, (channels, height, width), (1, width * pixel, pixel), 0, "uint8", interleaved, windowed)
            except (AttributeError, ValueError):  # Its memory is not exported, or it is refused.
                return bound(image, interleaved, windowed)(image, window, factors, later)
            address, length = arrow_pixels(owner)
            if length != width * height * pixel:
                raise misread(length, width * height * pixel)
            if later is not None:
                return later(call, address, owner, window, factors)
            made = empty(call.memory)
            call(address, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the dtype that the plan gives for input of one."""
        for stage in self.plan.stages:
            if isinstance(stage, Warp) and stage.taps is None:
                continue
            if isinstance(stage, Resample | Resize | Sparse | Filter | Mix | Blend | Stretch | Turn | Blur | Warp):
                dtype = torch.float32 if stage.arithmetic.rounding == "none" else torch.uint8
            elif isinstance(stage, Table):
                dtype = stage.values.dtype
            elif isinstance(stage, Cast):
                dtype = stage.dtype
            elif isinstance(stage, Equalize):
                dtype = torch.uint8
        return dtype

    def bind_pil(self, image: Image.Image, interleaved: bool, windowed: bool) -> Call:
        """Return the same for PIL images; they are read in place where Pillow exports their memory in one block."""
        width, height = image.size
        channels, pixel = PIXEL_BYTES[image.mode]
        strides = (1, width * pixel, pixel)
        call = self.call(1, (channels, height, width), strides, 0, "uint8", interleaved, windowed)
        size, dtype = output_of(call, (), interleaved)
        copied: list[Call] = []
        empty, threads, arrow_pixels = allocator(dtype), torch.get_num_threads, _native.arrow_pixels

        def run(
            image: Image.Image, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            try:
                if not EXPORTS_SAFELY:
                    check_export(image)
                owner = image.__arrow_c_array__()[1]
            except (AttributeError, ValueError):  # Pillow before 11.2, or memory that it does not export.
                tensor = to_tensor(image)
                if not copied:
                    copied.append(self.bind(tensor, interleaved, windowed))
                return copied[0](tensor, window, factors, later)
            address, length = arrow_pixels(owner)
            if length != width * height * pixel:
                raise misread(length, width * height * pixel)
            if later is not None:
                return later(call, address, owner, window, factors)
            made = empty(*size)
            call(address, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def bind_array(self, image: Any, interleaved: bool, windowed: bool) -> Call:
        """Return the same for arrays, which are read in place, read-only ones too; an array comes back, if
        interleaved."""
        shape, (row, pixel, *channel) = shape_of(image), image.strides
        strides = fitted(shape, channel[0] if channel else 1, row, pixel)
        if min(image.strides) < 0 or not readable(shape, strides):
            bound = self.bind(to_tensor(image), interleaved, windowed)
            return lambda image, window=None, factors=(), later=None: bound(to_tensor(image), window, factors, later)
        call = self.call(1, shape, strides, 0, "uint8", interleaved, windowed)
        size, dtype = output_of(call, (), interleaved)
        empty, threads, memory_of = allocator(dtype), torch.get_num_threads, _native.memory_of
        array_type = ARRAY_TYPES.get(dtype)

        def run(
            image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            if later is not None:
                return later(call, memory_of(image), image, window, factors)
            made = empty(*size)
            call(memory_of(image), made.data_ptr(), threads(), window, factors)
            return made

        def run_interleaved(
            image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None
        ) -> Any:
            if later is not None:
                return later(call, memory_of(image), image, window, factors)
            made = np.empty(size, array_type)
            call(memory_of(image), memory_of(made), threads(), window, factors)
            return made

        return run_interleaved if interleaved else run

    def call(self, *layout: Any) -> Any:
        """Return the native program for one layout; its output is what the plan says, if it does."""
        try:
            call = self.native.bind(*layout)
        except ValueError as error:
            at(self.plan.stages, layout[1])  # Where torchvision refuses such images, so does this.
            raise InputShapeError(f"The image {tuple(layout[1])} does not fit its plan: {error}.") from error
        self.held += call.held
        if self.plan.output not in (None, call.output[:3]):
            raise BackendError(f"Expected output {self.plan.output}, native code gives {call.output}.")
        return call


def compile_plan(plan: Plan) -> Program | Reference:
    """Return the program of a plan; where there is nothing to compute, the reference gives images back as they are."""
    return Program(plan) if plan.stages else Reference(plan)


def run_all(jobs: Sequence[tuple[Any, int, int, Window | None, Sequence[float]]], made: Tensor) -> None:
    """Run native calls, each on the image at an address, into memory from a byte of ``made`` on: over torch's threads.

    Raises:
        PipelineValueError: what was drawn for an image, or comes of it, does not fit.
    """
    try:
        _native.run_all(jobs, made.data_ptr(), made.nbytes, torch.get_num_threads())
    except ValueError as error:
        raise PipelineValueError(f"An image cannot be run with what was drawn for it: {error}.") from error


def fresh(size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory for the results of several calls: in huge pages, where it is large enough for them."""
    made = allocator(dtype)(*size)
    if MISSING is None and made.nbytes >= BYTES_TO_ADVISE:
        _native.advise(made.data_ptr(), made.nbytes)
    return made
