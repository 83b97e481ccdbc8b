"""What random transforms drew, as plain values; and such values read back."""

from typing import Any

from learned_transforms.errors import PipelineValueError, UnsupportedTransformError
from learned_transforms.images.formats import Window
from learned_transforms.layers.noise import Noise, write_state
from learned_transforms.transforms.spec import SIDES, Outcome, Spec


def to_params(outcome: Outcome | Window) -> dict[str, Any] | None:
    """Write what was drawn as plain values: None where the transform is not applied."""
    if isinstance(outcome, bool):
        return {} if outcome else None
    if outcome and isinstance(outcome[0], int):
        return dict(zip(SIDES, outcome, strict=True))
    return {name: plain(value) for name, value in outcome}


def plain(value: Any) -> Any:
    """Write a value that was drawn as JSON can say it: of noise and displacements, torch's generator before them.

    Raises:
        UnsupportedTransformError: noise that was drawn from another generator.
    """
    if not isinstance(value, Noise):
        return [plain(one) for one in value] if isinstance(value, tuple) else value
    if value.state is None:
        raise UnsupportedTransformError(
            "The noise of a RandomErasing, or the displacement of an ElasticTransform, was drawn on another device, "
            "under another default dtype, or where torch looks on: it can be neither written down nor played back."
        )
    return write_state(value.state)


def from_params(spec: Spec, entry: Any) -> Outcome:
    """Read what was drawn for a transform, as :func:`to_params` wrote it.

    Raises:
        PipelineValueError: it does not fit the transform.
    """
    if spec.optional and entry is None:
        return False
    if (spec.coin or not spec.random) and entry == {}:
        return True
    found = spec.replay(entry)
    if found is None:
        name = type(spec.transform).__name__
        wanted = f"{{{', '.join(spec.names)}}}" + (" or None" if spec.optional else "")
        raise PipelineValueError(f"Expected params {wanted} for {name}, got {entry!r}. make_params(image) gives them.")
    return found
