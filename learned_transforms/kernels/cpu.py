"""The native CPU backend: one fused pass over cache-resident rows, with the same values as the reference.

The compiled part lies in ``native/``. It holds a plan as a program, works out taps by itself for every size of input,
and takes the fastest instructions that the processor has: AVX-512 (VBMI, VNNI), AVX2, or portable code. The environment
variable ``LEARNED_TRANSFORMS_SIMD`` (``avx512``, ``avx2``, ``portable``), read when a plan is first run, forces one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import BackendError, InputShapeError, PipelineValueError
from learned_transforms.images.formats import DTYPES, HALVES, Call, Later, Window, shape_of, to_tensor
from learned_transforms.installed import EXPORTS_SAFELY, check_export
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Kept, Listed, Nearest
from learned_transforms.ir.interpolation import Axis, FixedAxis, away_from_zero
from learned_transforms.ir.ops import (
    Blend,
    Blur,
    BoxBlur,
    Cast,
    Equalise,
    Factor,
    Filter,
    Gather,
    Mix,
    Normalise,
    Pick,
    Plan,
    Resample,
    Resize,
    Slot,
    Sparse,
    Stage,
    Stretch,
    Table,
    Turn,
)
from learned_transforms.ir.passes import at
from learned_transforms.kernels.reference.executor import Reference

MISSING: str | None = None
"""Why the compiled part is not there, if it is not."""
try:
    from learned_transforms.kernels import _native
except ImportError as error:
    MISSING = (
        f"the native extension is not there ({type(error).__name__}). Install a C++ compiler, then the package once "
        "more with pip install --no-cache-dir --force-reinstall --no-deps"
    )

SIMD = "LEARNED_TRANSFORMS_SIMD"
MOST_INTERLEAVED = 4
"""Values of an interleaved pixel that the native code takes; wider ones are copied to planes first."""
BYTES_TO_ADVISE = 2**25
"""From so many on, memory for several results is asked for in huge pages: the C library maps it anew each time. What is
smaller is used again mostly, and huge pages may take long to find."""
PIXELS = {"RGB": (3, 4), "L": (1, 1)}
"""By mode of a PIL image: channels, and bytes from pixel to pixel."""
NAMES = {**DTYPES, **HALVES}
"""The native code's names of dtypes."""
TORCH = {name: dtype for dtype, name in NAMES.items()}
ARRAY_TYPES = {torch.uint8: np.uint8, torch.float32: np.float32, torch.float16: np.float16}
"""By dtype: that of arrays, which have no other."""
MADE: WeakKeyDictionary[Stage, Any] = WeakKeyDictionary()
"""The native code's own of stages that are in use: plans share them."""


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
    """The sets of instructions that can be forced here, fastest first."""
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
    """Reason why this backend cannot run ``plan`` on ``device``, or None."""
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


def unfit(stage: Stage) -> str | None:
    """Why a stage is not for this backend."""
    if type(stage) not in NATIVE:
        return f"it has no {type(stage).__name__}: full matrices and unstructured networks are left to torch"
    arithmetic = getattr(stage, "arithmetic", None)
    if arithmetic is not None:
        if arithmetic.number == "float64" and isinstance(stage, Resample | Resize | Mix | Blend | Blur):
            return f"its {type(stage).__name__} does not sum in float64"
        if arithmetic.number != "float32" and arithmetic.fma:
            return f"it does not fuse sums in {arithmetic.number}"
        cut = isinstance(stage, Resample | Resize) and arithmetic.quarters
        if cut and (arithmetic.number != "int" or not 3 <= arithmetic.bits <= 11):
            return "it cuts products to quarters of a level in integers of 3 to 11 fraction bits only"
        if isinstance(stage, Resample) and arithmetic.number == "int" and not (arithmetic.each_pass or cut):
            return "its integer passes round after each pass"
    if isinstance(stage, Blend) and stage.other is not None:
        if stage.mean is not None and isinstance(stage.other, Filter):
            return "it takes no mean of what a Filter makes"
        reason = unfit(stage.other)
        if reason is not None:
            return reason
    if isinstance(stage, Turn) and stage.steps not in (0, 255):
        return "it counts hue in 255 steps, or none"
    if isinstance(stage, Turn) and (stage.centres[1] - stage.centres[0]) % 6 != 2:
        return "it knows channels in the order of their hue only"
    if isinstance(stage, Blur) and stage.border == "zero":
        return "it blurs no image with nothing around it"
    tensors = [value for value in vars(stage).values() if isinstance(value, Tensor)]
    axes = [value for value in vars(stage).values() if isinstance(value, Axis | FixedAxis)]
    tensors += [value for axis in axes for value in vars(axis).values() if isinstance(value, Tensor)]
    return "its weights are being trained" if any(tensor.requires_grad for tensor in tensors) else None


def axis_of(axis: Axis | FixedAxis) -> tuple[Any, ...]:
    if isinstance(axis, Axis):
        weights: tuple[Any, ...] = axis.kernel.tolist(), float(axis.shift), axis.antialias, axis.width
    else:
        taps = axis.fixed
        ends = (value.int().numpy() for value in (taps.first, taps.count))
        weights = taps.size, *ends, taps.weights.T.double().contiguous().numpy(), taps.bits or 0
    return weights, axis.size, axis.keep.numbers


def arithmetic_of(how: Arithmetic) -> tuple[Any, ...]:
    sums = how.number, how.bits, how.adaptive, how.fma, how.grouped
    return *sums, how.rounding, how.each_pass, how.tall_first, how.quarters, how.order


def numbers_of(weights: Tensor, arithmetic: Arithmetic) -> Any:
    """Weights of a sum, rounded to its type, as an array of float64, which holds them all."""
    if arithmetic.number == "int":
        weights = away_from_zero(weights * 2.0**arithmetic.bits).int()
    elif arithmetic.number == "float32":
        weights = weights.float()
    return weights.double().contiguous().numpy()


def resample_of(stage: Resample) -> Any:
    return _native.resample(axis_of(stage.rows), axis_of(stage.columns), arithmetic_of(stage.arithmetic))


def resize_of(stage: Resize) -> Any:
    larger = None if stage.larger is None else arithmetic_of(stage.larger)
    how = arithmetic_of(stage.arithmetic), larger, stage.arithmetic.small, stage.still
    return _native.resize(stage.sizing, axis_of(stage.rows), axis_of(stage.columns), *how)


def gather_of(stage: Gather) -> Any:
    rows, columns = kept_of(stage.rows), kept_of(stage.columns)
    return _native.gather(stage.channels, rows, columns, stage.fill, stage.outside, stage.limited)


def kept_of(keep: Kept | None) -> Any:
    if isinstance(keep, Listed):
        return np.array(keep.pixels, dtype=np.int64)
    if isinstance(keep, Nearest):
        how = keep.arithmetic
        return keep.size, keep.offset, how.number, how.running, keep.keep.numbers
    return None if keep is None else keep.numbers


def sparse_of(stage: Sparse) -> Any:
    weights, bias = (numbers_of(value, stage.arithmetic) for value in (stage.weights.movedim(-1, 0), stage.bias))
    index = stage.index.movedim(-1, 0).contiguous().numpy()
    return _native.sparse(index, weights, bias, stage.size, stage.shape, arithmetic_of(stage.arithmetic))


def filter_of(stage: Filter) -> tuple[Any, ...]:
    used = stage.weights != 0
    weights = numbers_of(stage.weights[used], stage.arithmetic)
    size = tuple(stage.weights.shape)
    return size, used.nonzero().numpy(), weights, stage.border, arithmetic_of(stage.arithmetic)


def mix_of(stage: Mix) -> tuple[Any, ...]:
    whole = [away_from_zero(value * 2.0**stage.arithmetic.bits).int().tolist() for value in (stage.weight, stage.bias)]
    real = [value.float().tolist() for value in (stage.weight, stage.bias)]
    return *real, *whole, arithmetic_of(stage.arithmetic)


def table_of(stage: Table) -> Any:
    values, dtype = stage.values.contiguous(), stage.values.dtype
    return _native.table((values.view(torch.uint16) if dtype in HALVES else values).numpy(), NAMES[dtype])


def factor_of(factor: Factor) -> tuple[float, int | None]:
    return (0.0, factor.number) if isinstance(factor, Slot) else (float(factor), None)


def blend_of(stage: Blend) -> Any:
    other: tuple[Any, ...] | None = None
    if stage.other is not None:
        other = mix_of(stage.other) if isinstance(stage.other, Mix) else filter_of(stage.other)
    how = stage.mean, stage.form, stage.ceiling, arithmetic_of(stage.arithmetic), stage.limited
    return _native.blend(stage.terms.flatten().tolist(), factor_of(stage.factor), other, *how)


def stretch_of(stage: Stretch) -> Any:
    return _native.stretch(stage.ends.tolist(), stage.form, stage.ceiling, arithmetic_of(stage.arithmetic))


def turn_of(stage: Turn) -> Any:
    how = stage.span, stage.form, stage.steps, stage.ceiling, arithmetic_of(stage.arithmetic)
    return _native.turn(stage.centres, factor_of(stage.factor), *how)


def blur_of(stage: Blur) -> Any:
    sigma = factor_of(stage.sigma)
    how = stage.border, arithmetic_of(stage.arithmetic), stage.limited
    return _native.blur(stage.coefficients.tolist(), sigma, stage.size, *how)


NATIVE: dict[type, Callable[[Any], Any]] = {
    Resample: resample_of,
    Resize: resize_of,
    Pick: lambda stage: _native.pick(stage.sizing, kept_of(stage.nearest)),
    Sparse: sparse_of,
    Filter: lambda stage: _native.filter(*filter_of(stage)),
    Gather: gather_of,
    Mix: lambda stage: _native.mix(*mix_of(stage)),
    Table: table_of,
    Normalise: lambda stage: _native.normalise(stage.mean.tolist(), stage.std.tolist(), NAMES[stage.mean.dtype]),
    Cast: lambda stage: _native.cast(NAMES[stage.dtype]),
    Blend: blend_of,
    Stretch: stretch_of,
    Equalise: lambda stage: _native.equalise(stage.levels, stage.offset),
    Turn: turn_of,
    Blur: blur_of,
    BoxBlur: lambda stage: _native.box_blur(factor_of(stage.sigma), stage.passes),
}
"""By stage: what makes the native code's own."""


def native(stage: Stage) -> Any:
    """The native code's own of a stage."""
    made = MADE.get(stage)
    if made is None:
        made = MADE[stage] = NATIVE[type(stage)](stage)
    return made


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
        try:
            self.native = _native.Program(plan.channels, os.environ.get(SIMD, ""))
            for stage in plan.stages:
                self.native.add(native(stage))
            if plan.around is not None:
                self.native.surround(*plan.around)
        except (TypeError, ValueError) as error:  # Dimensions are part of the types of the native code.
            raise BackendError(f"The cpu backend cannot run this plan: {error}.") from error

    def bind(self, image: Any, interleaved: bool = False, windowed: bool = False) -> Call:
        """What runs on images of the type, shape, strides and dtype of this one.

        Args:
            image: a tensor ``[..., C, H, W]``, a PIL image, or a uint8 array ``[H, W, C]`` or ``[H, W]``.
            interleaved: leave the channels of a pixel side by side in memory.
            windowed: images will come with a window, so that nothing need be made for whole ones.

        Raises:
            InputShapeError: it does not fit the plan.
        """
        if isinstance(image, np.ndarray):
            return self.bind_array(image, interleaved, windowed)
        if not isinstance(image, Tensor):
            return self.bind_pil(image, interleaved, windowed)
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
        """What runs on images of the kind of this one, of any size: all in one function, since each comes once.

        None: images like this one must be bound.
        """
        if isinstance(image, Tensor):
            return self.roam_tensors(image, interleaved) if image.ndim == 3 else None
        return self.roam_pil(image, interleaved) if isinstance(image, Image.Image) else None

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
        channels, pixel = PIXELS[image.mode]
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
            check_length(length, width * height * pixel)
            if later is not None:
                return later(call, address, owner, window, factors)
            made = empty(call.memory)
            call(address, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype that the plan gives for input of one."""
        for stage in self.plan.stages:
            if isinstance(stage, Resample | Resize | Sparse | Filter | Mix | Blend | Stretch | Turn | Blur):
                dtype = torch.float32 if stage.arithmetic.rounding == "none" else torch.uint8
            elif isinstance(stage, Table):
                dtype = stage.values.dtype
            elif isinstance(stage, Cast):
                dtype = stage.dtype
            elif isinstance(stage, Equalise):
                dtype = torch.uint8
        return dtype

    def bind_pil(self, image: Image.Image, interleaved: bool, windowed: bool) -> Call:
        """The same for PIL images; they are read in place where Pillow exports their memory in one block."""
        width, height = image.size
        channels, pixel = PIXELS[image.mode]
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
            check_length(length, width * height * pixel)
            if later is not None:
                return later(call, address, owner, window, factors)
            made = empty(*size)
            call(address, made.data_ptr(), threads(), window, factors)
            return made.movedim(-1, -3) if interleaved else made

        return run

    def bind_array(self, image: Any, interleaved: bool, windowed: bool) -> Call:
        """The same for arrays, which are read in place, read-only ones too; an array comes back, if interleaved."""
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
        """The native program for one layout; its output is what the plan says, if it does."""
        try:
            call = self.native.bind(*layout)
        except ValueError as error:
            at(self.plan.stages, layout[1])  # Where torchvision refuses such images, so does this.
            raise InputShapeError(f"The image {tuple(layout[1])} does not fit its plan: {error}.") from error
        self.held += call.held
        if self.plan.output not in (None, call.output[:3]):
            raise BackendError(f"Expected output {self.plan.output}, native code gives {call.output}.")
        return call


def check_length(length: int, expected: int) -> None:
    """Require so many bytes of pixels."""
    if length != expected:
        raise InputShapeError(f"Expected {expected} bytes of pixels, Pillow gave {length}.")


def output_of(call: Any, lead: Sequence[int], interleaved: bool) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape in memory and dtype of what a native call gives, for ``lead`` dimensions of the batch."""
    c, h, w, dtype = call.output
    return (*lead, h, w, c) if interleaved else (*lead, c, h, w), TORCH[dtype]


def compile_plan(plan: Plan) -> Program | Reference:
    """The program of a plan; where there is nothing to compute, the reference gives images back as they are."""
    return Program(plan) if plan.stages else Reference(plan)


@cache
def allocator(dtype: torch.dtype) -> Callable[..., Tensor]:
    """What makes tensors of a dtype in the CPU's memory, whatever the default device is."""
    with torch.inference_mode(False):
        return torch.empty(0, dtype=dtype, device="cpu").new_empty


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


def fitted(shape: Sequence[int], channel: int, row: int, pixel: int) -> tuple[int, int, int]:
    """Strides of an image of ``shape`` (C, H, W); along an axis of one value they may be anything: made to fit."""
    channels, _, width = shape
    return 1 if channels == 1 else channel, row, 1 if width == 1 else pixel


def readable(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the native code reads images of ``shape`` (C, H, W): planes, or a few channels side by side."""
    channel, _, pixel = strides
    return pixel == 1 or (channel == 1 and shape[0] <= pixel <= MOST_INTERLEAVED)


def in_memory(image: Tensor) -> Tensor:
    """A tensor whose storage is shorter than itself, in memory of its own: zeros that torch never wrote down.

    Raises:
        InputShapeError: its storage was taken away.
    """
    if not image._is_zerotensor():
        have = image.untyped_storage().nbytes()
        raise InputShapeError(
            f"Expected an image whose memory holds {tuple(image.shape)} {image.dtype}, got a storage of {have} bytes: "
            "it was resized or freed. Pass a clone made before that."
        )
    return torch.zeros(image.shape, dtype=image.dtype)


def usable(image: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """The image as a tensor ``[C, H, W]`` or ``[N, C, H, W]`` that the native code reads: itself, a view, or a copy.

    Strides of one image come with it.
    """
    image = image.resolve_neg()
    if image.ndim > 4:
        image = image.flatten(0, -4)
    shape = image.shape[-3:]
    strides = fitted(shape, *image.stride()[-3:])
    if readable(shape, strides):
        return image, strides
    image = image.contiguous()
    return image, fitted(shape, *image.stride()[-3:])
