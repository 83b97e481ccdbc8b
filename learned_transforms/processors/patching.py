"""Images cut into patches, as transformers for text and images take them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import ProcessorInputError
from learned_transforms.images.formats import CPU, Call
from learned_transforms.ir.sizing import Size
from learned_transforms.kernels.batches import Rows
from learned_transforms.kernels.cpu import fresh
from learned_transforms.layers.base import Layer
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Arranging, Lookup
from learned_transforms.processors.steps import Patches

MOST_CALLS = 1024
"""Numbers of patches for which is kept what looks them up."""


class Patching:
    """Cut the levels of an image into patches, and look them up.

    Args:
        how: of which size, and in which order.
        table: see ``Levels.table``.
    """

    def __init__(self, how: Patches, table: Tensor | None) -> None:
        self.how = how
        # Every number of a patch is looked up in the same table, and none of them twice.
        self.alike = how.copies == 1 and (table is None or len(table) == 1)
        repeated = table if table is None or len(table) == 1 else table.repeat_interleave(how.copies, 0)
        layers: list[Layer] = [Arranging(), *([] if repeated is None else [Lookup(repeated)])]
        self.network = Network(layers, [{} for _ in layers], "uint8")
        self.calls: dict[tuple[int, ...], Call] = {}

    def grid(self, shape: tuple[int, int, int]) -> Size:
        """Return how many patches there are along the rows and columns of an image (C, H, W).

        Raises:
            ProcessorInputError: it cannot be cut into whole ones.
        """
        multiple = self.how.size * self.how.merge
        if shape[1] % multiple or shape[2] % multiple:
            raise ProcessorInputError(
                f'Expected images whose sides are multiples of {multiple}, got {shape[1:]}. Set "do_resize" to true.'
            )
        return shape[1] // self.how.size, shape[2] // self.how.size

    def room(self, channels: int, counts: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Sequence[Tensor]]:
        """Memory for the patches of images, and the part of each.

        Raises:
            ProcessorInputError: there are more of one image than there is room for.
        """
        length, most = channels * self.how.copies * self.how.size**2, self.how.most
        if most is None:
            made = fresh((sum(counts), length), dtype)
            return made, made.split(list(counts))
        if max(counts) > most:
            raise ProcessorInputError(
                f'Expected at most {most} patches, got {max(counts)}. Set "do_resize", or a larger "max_num_patches".'
            )
        made = fresh((len(counts), most, length), dtype)
        for row, count in zip(made.unbind(), counts, strict=True):
            row[count:] = 0
        return made, [row[:count] for row, count in zip(made.unbind(), counts, strict=True)]

    def __call__(self, image: Tensor, out: Tensor) -> None:
        """Write the patches of levels ``[C, H, W]`` to ``out [patches, numbers]``."""
        side = self.how.size
        cut = by_pixel(image, side) if self.how.channels_last else by_channel(image, side, self.how.merge)
        if self.alike:
            given, into = cut.view(1, len(cut), -1), out[None]
        elif self.how.channels_last:
            given, into = cut.movedim(-1, 1), out.view(cut.shape).movedim(-1, 1)
        else:
            given, into = cut, out.view(len(cut), -1, side, side)
        rows = Rows()
        made = self.call(given)(given, later=rows.later)
        if made is None:
            rows.write(out[None])
        else:
            into.copy_(made)

    def call(self, patches: Tensor) -> Call:
        """Return what looks up patches of one shape; kept."""
        shape = tuple(patches.shape)
        found = self.calls.get(shape)
        if found is None:
            channels = range(shape[-3])
            order = tuple(channel for channel in channels for _ in range(self.how.copies))
            told = ((("order", order),) if self.how.copies > 1 else False, *(True for _ in self.network.params[1:]))
            _, compiled = self.network.plan((shape[-3], shape[-2], shape[-1]), CPU, told)
            if len(self.calls) >= MOST_CALLS:
                self.calls.clear()
            found = self.calls[shape] = compiled.bind(patches, self.how.channels_last and not self.alike)
        return found


def by_channel(image: Tensor, side: int, merge: int) -> Tensor:
    """Patches ``[P, C, side, side]`` of levels ``[C, H, W]``, blocks of ``merge * merge`` of them together.

    The pixels of a row of a patch move as one value of so many bytes.
    """
    channels, height, width = image.shape
    pixels = image.contiguous().numpy().view(f"V{side}")
    blocks = pixels.reshape(channels, height // (side * merge), merge, side, width // (side * merge), merge)
    ordered = np.ascontiguousarray(blocks.transpose(1, 4, 2, 5, 0, 3))
    return torch.from_numpy(ordered.view(np.uint8).reshape(-1, channels, side, side))


def by_pixel(image: Tensor, side: int) -> Tensor:
    """Patches ``[P, side, side, C]`` of levels ``[C, H, W]``, row by row."""
    channels, height, width = image.shape
    rows = image.movedim(0, -1).reshape(height // side, side, width // side, side * channels)
    return rows.transpose(1, 2).contiguous().view(-1, side, side, channels)
