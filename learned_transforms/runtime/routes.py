"""Calls that native code knows whole, from the checks to the result: of images like those that came before, for which
nothing is drawn but coins. Whatever else comes takes the way through Python, which makes such routes.

A route gives what ``__call__`` of the class gives, and leaves the same random state; there is none where hooks, modes
of torch or a compiler look into calls.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.modules import module

from learned_transforms.images.formats import MARKED
from learned_transforms.installed import EXPORTS_SAFELY
from learned_transforms.kernels.extension import _native
from learned_transforms.kernels.memory import output_of
from learned_transforms.modes import dispatch_modes, functorch_level, is_compiling, tracing_state
from learned_transforms.runtime.segment import Lane
from learned_transforms.transforms.rng import buffer_of, default_dtype, function_mode

MOST_COINS = 6
"""Of a route: each doubles what it may run."""

RESULTS = {"tensor": Tensor, **{container: kind for kind, container in MARKED.items()}}
"""By container: the class of tensors that a route gives."""

if TYPE_CHECKING:
    from learned_transforms.kernels._native import Entry


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
        "empty_like": torch.empty_like,
        "storage_of": Tensor.untyped_storage,
        "start_of": storage.data_ptr,
        "bytes_of": storage.nbytes,
        "plainly": torch._C.DisableTorchFunctionSubclass,
        "buffer_of": buffer_of,
        "threads": torch.get_num_threads,
    }
    hooks = [value for name, value in vars(module).items() if name.startswith("_global_") and isinstance(value, dict)]
    answers = [
        *((tracing_state, None), (dispatch_modes, 0), (functorch_level, None), (function_mode, False)),
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
    segment, draws = lane.segment, lane.draws
    if _native is None or not (lane.kept and draws.tossing and len(draws.chances) <= MOST_COINS):
        return False
    if isinstance(image, Tensor):
        taken = image.dtype == torch.uint8 and image.device.type == "cpu"
    else:
        taken = isinstance(image, Image.Image) and EXPORTS_SAFELY
    changing = segment.inplace or segment.overwriting is not None
    return taken and segment.form.container in RESULTS and not (changing or segment.trainable)


class Rest:
    """What runs on images whose coins native code has tossed, until it knows what to run by itself.

    Args:
        lane: what runs on images like this one.
        image: one of them.

    Attributes:
        route: what native code knows of them.
    """

    def __init__(self, lane: Lane, image: Any) -> None:
        self.lane, self.result = lane, RESULTS[lane.segment.form.container]
        tensor = isinstance(image, Tensor)
        kind, shape, strides = (type(image), image.shape, image.stride()) if tensor else (image.mode, image.size, ())
        self.lead = image.shape[:-3] if tensor else ()
        self.route = _native.Route(kind, shape, strides, lane.draws.chances, self.result, self)

    def __call__(self, image: Any, coins: tuple[bool, ...]) -> Any:
        held: list[Any] = []
        made = self.lane.any_image(image, (coins, None), lambda *what: held.extend(what))
        if not held:
            return made
        call, source, memory, *_ = held
        # What was copied first is not run by address; PIL images tell of theirs by a capsule.
        copied = source != image.data_ptr() if isinstance(image, Tensor) else isinstance(memory, Tensor)
        if isinstance(call, _native.Call) and not copied:
            with torch.inference_mode(False):
                self.know(coins, call)
        return self.lane.any_image(image, (coins, None))

    def know(self, coins: tuple[bool, ...], call: Any) -> None:
        """Have native code run a call under an outcome from now, if torch makes tensors that lie as its results do."""
        size, dtype = output_of(call, self.lead, call.interleaved)
        like = torch.empty(size, dtype=dtype, device="cpu")
        like = like.movedim(-1, -3) if call.interleaved else like
        if torch.empty_like(like).stride() == like.stride():
            self.route.add(coins, call, like)
