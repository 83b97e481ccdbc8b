"""What a segment does to an image at once, before what is compiled runs on the rest."""

from collections.abc import Sequence
from typing import Any

import torch

from learned_transforms.errors import PipelineValueError
from learned_transforms.images.formats import Form, Window, shape_of, to_tensor
from learned_transforms.layers.geometry import Windowing
from learned_transforms.layers.given import erased
from learned_transforms.layers.network import Network
from learned_transforms.runtime.draws import Drawn, Draws
from learned_transforms.runtime.specialize import Owner
from learned_transforms.transforms.clients.moves import Erase
from learned_transforms.transforms.geometry import RandomCrop


class Beginning:
    """The transforms of a segment that need no plan where what they drew says so.

    Args:
        network: the layers.
        draws: what the transforms draw.
        owners: for each layer, which transform it belongs to.
        taken: the form of the input.

    Attributes:
        window_size: (rows, columns) of what is made of a window that is cut out first; None: none is.
        resizing: that is resized.
        optional, croppers: where v2's RandomCrop would take the whole image, it does nothing: whether that is the one
            whose window is cut out first; and positions of others.
        erasing, overwriting: the first transform overwrites a part; and if it is a client's, that.
        inplace: of the caller's image.
        acts: any of these may happen; otherwise, only windows without pixels are made at once.
    """

    def __init__(self, network: Network, draws: Draws, owners: Sequence[Owner], taken: Form) -> None:
        self.draws, self.taken = draws, taken
        # The layer that takes the window: of the transform that draws it, or of the resize behind one that only draws.
        drawer, specs = draws.drawer, draws.specs
        takers = (layer for layer, (position, _) in enumerate(owners) if drawer is not None and position >= drawer)
        cut = next(takers, None)
        self.window_size = None if cut is None else (network.params[cut] or {})["size"]
        self.resizing = cut is not None and not isinstance(network.members[cut], Windowing)
        croppers = [p for p, spec in enumerate(specs) if isinstance(spec, RandomCrop) and spec.skips_whole]
        self.optional, self.croppers = drawer in croppers, [p for p in croppers if p != drawer]
        self.erasing = bool(specs) and specs[0].erasing and taken.container != "mask"
        self.overwriting = specs[0] if specs and isinstance(specs[0], Erase) else None
        self.inplace = self.erasing and draws.leaves[0].transform.inplace
        cropping = self.resizing or self.optional or bool(self.croppers)
        self.acts = self.erasing or cropping or self.overwriting is not None

    def check_window(self, window: Window, shape: tuple[int, int, int]) -> None:
        """Require that a part that is resized lies in the image, and that another has the size of the output."""
        top, left, height, width = window
        inside = (
            min(top, left) >= 0 and min(height, width) > 0 and top + height <= shape[1] and left + width <= shape[2]
        )
        if self.resizing and not inside:
            raise PipelineValueError(f"Expected params of a window within the image of {shape[1:]}, got {window}.")
        if not self.resizing and window[2:] != self.window_size:
            raise PipelineValueError(
                f"Expected params of a window of {self.window_size} (rows, columns), got {window}."
            )

    def __call__(self, image: Any, drawn: Drawn) -> tuple[Any, Drawn]:
        """Do what needs no plan; return the image, and what is left of what was drawn."""
        outcomes, window = drawn
        if self.overwriting is not None and outcomes[0] is not False:
            self.overwriting.overwrite(image, outcomes[0])
            return image, ((True, *outcomes[1:]), window)
        if self.erasing and isinstance(outcomes[0], tuple):
            where = dict(outcomes[0])
            found = where["v"] is not None
            if not found and self.draws.specs[0].api == "v1" and not self.inplace:
                return to_tensor(image).clone(), drawn  # v1 writes what was there, into a copy.
            # What nobody else sees need not be copied.
            apart = self.taken.container == "pil" or (self.taken.fresh and not image.requires_grad)
            made = erased(to_tensor(image), where, self.inplace or apart) if found else image
            return made, ((found, *outcomes[1:]), window)
        for position in self.croppers:
            outcomes = self.draws.without_whole(position, outcomes, shape_of(image))
            drawn = outcomes, window
        if window is None:
            return image, drawn
        top, left, height, width = window
        if self.optional and window == (0, 0, *shape_of(image)[1:]):
            return image, ((False, *outcomes[1:]), None)
        if not (height and width):
            # Pillow resizes nothing to a black image.
            return torch.zeros((shape_of(image)[0], *(self.window_size or ())), dtype=torch.uint8), (outcomes, None)
        if self.resizing and window[2:] == self.window_size:
            # Nothing is resized: the rest runs on that part alone.
            return to_tensor(image)[..., top : top + height, left : left + width], (outcomes, None)
        return image, drawn
