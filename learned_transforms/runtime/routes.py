"""Calls that native code knows whole, from the checks to the result: of images like those that came before, for which
coins are drawn, and a window. Whatever else comes takes the way through Python, which makes such routes.

A route gives what ``__call__`` of the class gives, and leaves the same random state; there is none where hooks, modes
of torch or a compiler look into calls.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.modules import module

from learned_transforms.images.formats import MARKED, Window
from learned_transforms.installed import EXPORTS_SAFELY
from learned_transforms.kernels.cpu import ARRAY_TYPES, PIXEL_BYTES
from learned_transforms.kernels.extension import _native
from learned_transforms.kernels.memory import output_of
from learned_transforms.modes import dispatch_modes, functorch_level, is_compiling, is_tracing
from learned_transforms.runtime.segment import Lane
from learned_transforms.transforms.rng import buffer_of, default_dtype, function_mode

MOST_OUTCOMES = 6
"""Coins of a route, and windows: each doubles what it may run."""

RESULTS = {"tensor": Tensor, "numpy": np.ndarray, **{container: kind for kind, container in MARKED.items()}}
"""By container: the class of what a route gives."""

if TYPE_CHECKING:
    from learned_transforms.kernels._native import Call, Entry


def install(owner: type) -> bool:
    """Have calls of instances of a class begin in native code, with the :class:`Entry` or None that each holds as
    ``entry``; False: this torch or this Python has no such way, and nothing changes."""
    exchange = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if _native is None or exchange is None:
        return False
    storage = torch.UntypedStorage
    parts = {
        "exchange": exchange,
        "tensor": Tensor,
        "image": Image.Image,
        "array": np.ndarray,
        "empty_like": torch.empty_like,
        "empty_array": np.empty,
        "storage_of": Tensor.untyped_storage,
        "start_of": storage.data_ptr,
        "bytes_of": storage.nbytes,
        "plainly": torch._C.DisableTorchFunctionSubclass,
        "buffer_of": buffer_of,
        "state_of": torch.default_generator.get_state,
        "threads": torch.get_num_threads,
    }
    hooks = [value for name, value in vars(module).items() if name.startswith("_global_") and isinstance(value, dict)]
    answers = [
        *((is_tracing, False), (dispatch_modes, 0), (functorch_level, None), (function_mode, False)),
        *((default_dtype, torch.float32), (is_compiling, False)),
    ]
    return _native.enter(owner, {"forward": vars(owner)["forward"]}, parts, hooks, answers)


def entry_of(entry: "Entry | None", watch: Any, hooks: Sequence[dict[Any, Any]]) -> "Entry":
    """Return an entry for routes: this one, if it is for as many threads as torch has now, or another.

    Args:
        watch: whether the transforms are what they were.
        hooks: of the module; where there are any, Python must see the call.
    """
    threads = torch.get_num_threads()
    return entry if entry is not None and entry.threads == threads else _native.Entry(watch, list(hooks), threads)


def direct(lane: Lane, image: Any) -> bool:
    """Return whether there may be a route for images like this one, which a lane runs on."""
    if isinstance(image, Tensor):
        # A batch comes in one size, or each is bound by itself.
        taken = image.dtype == torch.uint8 and image.device.type == "cpu" and (image.ndim == 3 or lane.kept)
    elif isinstance(image, np.ndarray):
        taken = type(image) is np.ndarray and image.dtype == np.uint8 and image.ndim == 3 and min(image.strides) > 0
    else:
        taken = isinstance(image, Image.Image) and EXPORTS_SAFELY
    segment, draws, first = lane.segment, lane.draws, lane.segment.beginning
    sampled = draws.sampler is not None and draws.sampler.pays and not draws.factored
    drawn = len(draws.random) <= MOST_OUTCOMES and (draws.tossing or sampled)
    # What is done before the network, or to the image itself.
    early = first.inplace or first.overwriting is not None or first.erasing or first.croppers
    return bool(_native and taken and drawn and segment.form.container in RESULTS and not (early or segment.trainable))


class Rest:
    """What runs on images for which native code has drawn, until it knows what to run by itself.

    Args:
        lane: what runs on images like this one: of their signature, or of their kind.
        image: one of them.

    Attributes:
        route: what native code knows of them.
    """

    def __init__(self, lane: Lane, image: Any) -> None:
        self.lane, segment, sampler = lane, lane.segment, lane.draws.sampler
        self.kind, shape, strides = layout_of(image)
        self.array = segment.form.container == "numpy"
        self.lead = image.shape[:-3] if isinstance(image, Tensor) else ()
        self.route = _native.Route(
            self.kind,
            shape if lane.kept else shape[:1],
            strides if lane.kept else (),
            lane.draws.chances,
            None if sampler is None else sampler.native,
            segment.beginning.window_size if segment.beginning.resizing else None,
            RESULTS[segment.form.container],
            self,
        )

    def __call__(self, image: Any, outcomes: tuple[bool, ...], window: Window | None, fresh: bool) -> Any:
        """Return what the network makes of an image under what was drawn; or have native code know what does, of
        outcomes that are fresh, and return None."""
        lane, held = self.lane, list[Any]()
        if fresh:
            made = lane.row(image, lambda *what: held.extend(what), (outcomes, window))
            if not held:
                return made
            call, source, memory, *_ = held
            # What was copied first is not run by address; PIL images tell of theirs by a capsule.
            copied = isinstance(memory, Tensor) and not (isinstance(image, Tensor) and source == image.data_ptr())
            kept = (outcomes, window is None) in lane.calls
            if isinstance(call, _native.Call) and kept and not copied and self.know(outcomes, call):
                return None
        return lane.as_array(lane.any_image(image, (outcomes, window)))

    @torch.inference_mode(False)
    def know(self, outcomes: tuple[bool, ...], call: "Call") -> bool:
        """Have native code run a call under outcomes from now, if torch makes tensors that lie as its results do."""
        size, dtype = output_of(call, self.lead, call.interleaved)
        if self.array:
            known = call.interleaved and dtype in ARRAY_TYPES
            if known:
                self.route.add(outcomes, call, (size, ARRAY_TYPES[dtype]))
            return known
        like = torch.empty(size, dtype=dtype, device="cpu")
        like = like.movedim(-1, -3) if call.interleaved else like
        if torch.empty_like(like).stride() != like.stride():
            return False
        # Its memory, between results that are freed, would have the next ones need fresh memory.
        like.untyped_storage().resize_(0)
        self.route.add(outcomes, call, like)
        return True

    def memory(self, channels: int, rows: int, columns: int, like: Any, interleaved: bool) -> Any:
        """Return a tensor or an array for a result of another size."""
        if self.array:
            return np.empty((rows, columns, channels), like[1])
        if interleaved:
            return like.new_empty((rows, columns, channels)).movedim(-1, -3)
        return like.new_empty((channels, rows, columns))


def layout_of(image: Any) -> tuple[type | str, tuple[int, ...], tuple[int, ...]]:
    """Return the class of a tensor or array, or the mode of a PIL image; its shape [..., C, H, W] and strides, as
    native code reads it."""
    if isinstance(image, Tensor):
        return type(image), tuple(image.shape), image.stride()
    if isinstance(image, np.ndarray):
        (height, width, channels), (row, pixel, channel) = image.shape, image.strides
        return np.ndarray, (channels, height, width), (channel, row, pixel)
    channels, pixel = PIXEL_BYTES[image.mode]
    return image.mode, (channels, image.height, image.width), (1, image.width * pixel, pixel)
