"""What was drawn for one image, written down or played back."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from learned_transforms.errors import PipelineValueError, UnsupportedTransformError
from learned_transforms.runtime.draws import Drawn
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms import torch_ops
from learned_transforms.transforms.spec import Twin


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

    def draw(self, segment: Segment, image: Any, start: int, beside: Any = None) -> Drawn:
        """Return what the transforms of a segment, which begins with transform ``start``, draw for an image (and the
        rest)."""
        own = next((leaf.transform for leaf in segment.draws.leaves if isinstance(leaf.transform, Twin)), None)
        if own is not None and own.random:
            raise UnsupportedTransformError(
                f"{type(own).__name__}, which stands for a client's transform, draws as the client does: what it draws "
                "can be neither written down nor played back. Apply it apart from the others."
            )
        if not self.recording:
            return segment.from_params(self.entries[start : segment.stop], image)
        drawn = segment.draws(image, beside)
        self.entries += segment.draws.to_params(drawn)
        return drawn

    def operate(self, transform: Any, inputs: Sequence[Any], position: int) -> Any:
        """Run one of torch's own operations."""
        if not self.recording:
            return torch_ops.replay(transform, inputs, self.entries[position])
        made, entry = torch_ops.record(transform, inputs)
        self.entries.append(entry)
        return made

    def pass_through(self, transform: Any, inputs: Sequence[Any], position: int) -> Any:
        """Run a transform in torchvision, which may draw nothing.

        Raises:
            UnsupportedTransformError: it does. PipelineValueError: an entry that says otherwise.
        """
        name = type(transform).__name__
        if not self.recording and self.entries[position] != {}:
            raise PipelineValueError(f"Expected params {{}} for {name}, which torchvision runs.")
        before = torch.get_rng_state(), random.getstate()
        made = transform(*inputs)
        if not before[0].equal(torch.get_rng_state()) or before[1] != random.getstate():
            raise UnsupportedTransformError(
                f"{name} runs in torchvision and draws by itself: what it draws can be neither written down nor played "
                "back. Apply it apart from the others."
            )
        if self.recording:
            self.entries.append({})
        return made
