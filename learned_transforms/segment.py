"""Consecutive transforms that run as one network, and what they do to one image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from learned_transforms.draws import COINS, WINDOWS, single, toss
from learned_transforms.errors import PipelineValueError
from learned_transforms.images import Call, Form, Window, from_tensor, signature, to_tensor
from learned_transforms.network import Network

CPU = torch.device("cpu")
MOST_LANES = 256
"""Signatures of images that a segment remembers."""


class Segment:
    """Consecutive transforms that run as one network.

    Args:
        network: their layers.
        transforms: all of them.
        owners: for each layer, the position of its transform in ``transforms``.
        stop: index, in the pipeline, past the last.
        taken, form: forms of the input and of the output.
        reason: why transform ``stop`` is not part of it and runs in torchvision; None: another segment begins there.
        backend: the name of what runs it, or ``"auto"``.
        trainable: leave out every rounding, so that gradients pass.
    """

    def __init__(
        self,
        network: Network,
        transforms: Sequence[Any],
        owners: Sequence[int],
        stop: int,
        taken: Form,
        form: Form,
        reason: str | None,
        backend: str,
        trainable: bool,
    ) -> None:
        self.network, self.transforms, self.owners = network, transforms, owners
        self.stop, self.taken, self.form, self.reason = stop, taken, form, reason
        self.backend, self.trainable = backend, trainable
        self.tossing = [position for position, t in enumerate(transforms) if type(t) in COINS]
        self.chances = [single(transforms[position].p) for position in self.tossing]
        # A part of the image is drawn by the first transform, if at all; it is then resized to this.
        self.draws_window = bool(transforms) and type(transforms[0]) in WINDOWS
        self.window_size = (network.params[0] or {})["size"] if self.draws_window else None
        self.lanes: dict[Any, Lane] = {}

    def __call__(self, image: Any) -> Any:
        """Draw, then run on an image, or a batch; the values of an array come and go as a tensor."""
        return self.lane(image).run(image)

    def lane(self, image: Any) -> "Lane":
        """What runs on images like this one."""
        key = signature(image)
        lane = self.lanes.get(key)
        if lane is None:
            lane = Lane(self, image)
            if not self.trainable:
                if len(self.lanes) >= MOST_LANES:
                    self.lanes.clear()
                self.lanes[key] = lane
        return lane

    def check_smooth(self) -> None:
        """Trainable weights give levels that are not rounded, which no PIL image and no other transform takes."""
        if self.trainable and self.form.dtype == "uint8" and (self.form.container == "pil" or self.reason is not None):
            raise PipelineValueError(
                "Trainable weights leave levels unrounded, so an unfrozen pipeline must convert to float before it "
                "ends in a PIL image or goes on in torchvision. Add ToImage and ToDtype(torch.float32, scale=True)."
            )

    def bind(self, image: Any, shape: tuple[int, int, int], coins: Sequence[bool]) -> Call:
        """The compiled plan for images like this one, for an outcome of the coins.

        Args:
            image: a plain tensor, or a PIL image.
            shape: (C, H, W) of the part of it that is used.
            coins: one for each transform that tosses one.
        """
        self.check_smooth()
        device, gradients = (image.device, image.requires_grad) if isinstance(image, Tensor) else (CPU, False)
        outcome = dict(zip(self.tossing, coins, strict=True))
        applied = tuple(outcome.get(owner, True) for owner in self.owners)
        chosen = None if all(applied) else applied
        _, compiled = self.network.plan(shape, device, chosen, self.backend, self.trainable, gradients)
        return compiled.bind(image, self.form.container in ("pil", "numpy"))


class Lane:
    """A segment, for images of one signature: everything that is the same for all of them is worked out here."""

    def __init__(self, segment: Segment, image: Any) -> None:
        self.segment = segment
        self.chances, self.draws_window = segment.chances, segment.draws_window
        self.calls: dict[Any, Call] = {}
        self.subclass = isinstance(image, Tensor) and type(image) is not Tensor
        # What comes out of the network is what the pipeline gives, as it is.
        self.bare = segment.form.container in ("tensor", "numpy") and bool(segment.owners)
        self.run = self.any_image if self.draws_window or self.subclass or not self.bare else self.whole_image()

    def whole_image(self) -> Callable[[Any], Any]:
        """Draw, then run: where nothing is left to do but to toss coins and call what is compiled."""
        calls, chances, bind = self.calls, self.chances, self.segment.bind

        def run(image: Any) -> Any:
            coins = toss(chances) if chances else ()
            call = calls.get(coins)
            if call is None:
                call = calls[coins] = bind(image, shape_of(image), coins)
            return call(image)

        return run

    def any_image(self, image: Any) -> Any:
        """Draw, then run, in any case."""
        window = self.draw_window(image) if self.draws_window else None
        coins = toss(self.chances) if self.chances else ()
        plain = image.as_subclass(Tensor) if self.subclass else image
        if window is not None and window[2:] == self.segment.window_size:
            # Nothing is resized: the rest runs on that part alone.
            top, left, height, width = window
            plain = to_tensor(plain)[..., top : top + height, left : left + width]
            window = None
        key = coins, window is None
        call = self.calls.get(key)
        if call is None:
            if not self.segment.owners:
                return self.contain(image)
            channels, *size = shape_of(plain)
            height, width = size if window is None else window[2:]
            call = self.calls[key] = self.segment.bind(plain, (channels, height, width), coins)
        made = call(plain) if window is None else call(plain, window)
        return made if self.bare else self.wrap(made, image)

    def draw_window(self, image: Any) -> Window:
        first = self.segment.transforms[0]
        return WINDOWS[type(first)](first, image)

    def wrap(self, made: Tensor, image: Any) -> Any:
        """The result in its container, with what a PIL image carries besides its pixels."""
        result = from_tensor(made, self.segment.form.container)
        if isinstance(image, Image.Image) and isinstance(result, Image.Image):
            result.info = dict(image.info)
        return result

    def contain(self, image: Any) -> Any:
        """Values that no layer changes, in the container of the output."""
        taken, form = self.segment.taken, self.segment.form
        if taken.container == form.container:
            return image
        # An array's memory is the caller's; torchvision copies it here too.
        plain = to_tensor(image).contiguous()
        return from_tensor(plain.clone() if taken.container == "numpy" else plain, form.container)


def shape_of(image: Tensor | Image.Image) -> tuple[int, int, int]:
    """(C, H, W)."""
    if isinstance(image, Tensor):
        c, h, w = image.shape[-3:]
        return c, h, w
    return len(image.getbands()), image.height, image.width
