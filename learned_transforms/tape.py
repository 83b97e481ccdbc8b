"""What was drawn for one image, written down or played back."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from learned_transforms.errors import PipelineValueError, UnsupportedTransformError
from learned_transforms.segment import Segment


class Tape:
    """Entries of ``params``, one for each transform of a pipeline.

    Args:
        entries: what to play back; None: write down what is drawn.
        length: transforms of the pipeline.

    Raises:
        PipelineValueError: there is no entry for each.
    """

    def __init__(self, entries: Sequence[Any] | None, length: int) -> None:
        self.recording = entries is None
        if entries is not None and (not isinstance(entries, list | tuple) or len(entries) != length):
            found = f"{len(entries)} entries" if isinstance(entries, list | tuple) else type(entries).__name__
            raise PipelineValueError(f"Expected a list of {length} params, one for each transform, got {found}.")
        self.entries: list[Any] = [] if entries is None else list(entries)

    def run(self, segment: Segment, image: Any, start: int) -> Any:
        """A segment that begins with transform ``start``."""
        if self.recording:
            drawn = segment.draw(image)
            self.entries += segment.to_params(drawn)
        else:
            drawn = segment.from_params(self.entries[start : segment.stop])
        return segment.lane(image).any_image(image, drawn)

    def pass_through(self, transform: Any, value: Any, position: int) -> Any:
        """A transform that torchvision runs; it may draw nothing.

        Raises:
            UnsupportedTransformError: it does. PipelineValueError: an entry that says otherwise.
        """
        name = type(transform).__name__
        if not self.recording and self.entries[position] != {}:
            raise PipelineValueError(f"Expected params {{}} for {name}, which torchvision runs.")
        before = torch.get_rng_state(), random.getstate()
        made = transform(value)
        if not before[0].equal(torch.get_rng_state()) or before[1] != random.getstate():
            raise UnsupportedTransformError(
                f"{name} runs in torchvision and draws by itself: what it draws can be neither written down nor played "
                "back. Apply it apart from the others."
            )
        if self.recording:
            self.entries.append({})
        return made
