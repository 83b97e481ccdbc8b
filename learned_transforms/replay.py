"""What random transforms drew, as plain values; such values played back; and the same as v2's own params."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from learned_transforms.containers import CHOOSING
from learned_transforms.draws import COINS, ERASING, PARAMS, WINDOWS, Outcome, sides_of_crop, writes_noise
from learned_transforms.errors import PipelineValueError, UnsupportedTransformError
from learned_transforms.factors import FACTORED, played_back
from learned_transforms.images import Window
from learned_transforms.noise import Noise, read_state, write_state

LOOKING = WINDOWS.keys() | PARAMS.keys() | {v2.RandomPhotometricDistort}
"""Transforms that must see the image before they draw."""

RANDOM = COINS.keys() | FACTORED.keys() | CHOOSING.keys() | LOOKING
SIDES = ("top", "left", "height", "width")
NAMES: dict[type, Sequence[str]] = {
    **dict.fromkeys(WINDOWS, SIDES),
    **dict.fromkeys(ERASING, "ijhwv"),
    v2.RandomChannelPermutation: ("order",),
}
"""Of what is drawn, in params."""


def to_params(outcome: Outcome | Window) -> dict[str, Any] | None:
    """What was drawn, as plain values: None where the transform is not applied."""
    if isinstance(outcome, bool):
        return {} if outcome else None
    if outcome and isinstance(outcome[0], int):
        return dict(zip(SIDES, outcome, strict=True))
    return {name: plain(value) for name, value in outcome}


def plain(value: Any) -> Any:
    """A value that was drawn, as JSON can say it: of noise, the state of torch's generator before it.

    Raises:
        UnsupportedTransformError: noise that was drawn from another generator.
    """
    if not isinstance(value, Noise):
        return list(value) if isinstance(value, tuple) else value
    if value.state is None:
        raise UnsupportedTransformError(
            "The noise of a RandomErasing was drawn on another device, under another default dtype, or where torch "
            "looks on: it can be neither written down nor played back."
        )
    return write_state(value.state)


def from_params(transform: Any, entry: Any) -> Any:
    """The outcome, or the window, that :func:`to_params` wrote down for a transform.

    Raises:
        PipelineValueError: it does not fit the transform.
    """
    kind, name = type(transform), type(transform).__name__
    if (kind in COINS or kind in ERASING) and entry is None:
        return False
    if (kind in COINS or kind not in RANDOM) and entry == {}:
        return True
    if kind in FACTORED and (drawn := played_back(transform, entry)) is not None:
        return drawn
    if isinstance(entry, Mapping) and entry.keys() == set(NAMES.get(kind, ())):
        if kind in WINDOWS and all(type(entry[side]) is int for side in SIDES):
            return tuple(entry[side] for side in SIDES)
        if kind in ERASING and all(type(entry[side]) is int for side in "ijhw"):
            value = erased_by(transform, entry["v"])
            if value is not False:
                return tuple((name, value if name == "v" else entry[name]) for name in "ijhwv")
        if kind is v2.RandomChannelPermutation and all(type(c) is int for c in entry["order"]):
            return (("order", tuple(entry["order"])),)
    names = FACTORED[kind].types if kind in FACTORED else NAMES.get(kind, ())
    wanted = f"{{{', '.join(names)}}}" + (" or None" if kind in COINS or kind in ERASING else "")
    raise PipelineValueError(f"Expected params {wanted} for {name}, got {entry!r}. make_params(image) gives them.")


def erased_by(transform: Any, value: Any) -> tuple[float, ...] | Noise | bool | None:
    """What a RandomErasing writes, from plain values; False: they are none."""
    if isinstance(value, str):
        return Noise(None, read_state(value)) if writes_noise(transform) else False
    numbers = isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value)
    return tuple(value) if numbers else None if value is None else False


def params_of_v2(
    transform: v2.Transform, outcome: Outcome, window: Window | None, shape: tuple[int, int, int]
) -> dict[str, Any]:
    """What was drawn, as v2's own ``make_params`` gives it for an image of ``shape`` (C, H, W)."""
    if isinstance(transform, v2.RandomErasing) and isinstance(outcome, tuple):
        where = dict(outcome)
        value = where["v"]
        if isinstance(value, Noise):
            return {**where, "v": value.of((shape[0], where["h"], where["w"]))}
        return {**where, "v": None if value is None else torch.tensor(value)[:, None, None]}
    if type(transform) in FACTORED and isinstance(outcome, tuple):
        params = {name: torch.tensor(value) if isinstance(value, tuple) else value for name, value in outcome}
        return {"sigma": [params["sigma"]] * 2} if "sigma" in params else params
    if window is None:
        order = dict(outcome).get("order") if isinstance(outcome, tuple) else None
        # Grayscale's number of channels is what RandomGrayscale would have looked up.
        return {"num_input_channels": shape[0]} if order is None else {"permutation": torch.tensor(order)}
    top, left, height, width = window
    found = {"top": top, "left": left, "height": height, "width": width}
    if not isinstance(transform, v2.RandomCrop):
        return found
    (rows, columns), (before, above, after_, below_) = shape[1:], sides_of_crop(transform)
    # Enough on each side for the window to lie within.
    padding = [
        max(before, -left),
        max(above, -top),
        max(after_, left + width - columns),
        max(below_, top + height - rows),
    ]
    return {
        **found,
        "top": top + padding[1],
        "left": left + padding[0],
        "needs_crop": True,
        "needs_pad": any(padding),
        "padding": padding,
    }


def played(transform: v2.Transform, value: Any, params: Mapping[str, Any]) -> Any:
    """What v2 makes of a value where ``params`` are drawn; a transform leaves values of other types as they are."""
    again = copy.copy(transform)
    again.make_params = lambda flat_inputs: params
    # Not its own forward, which may toss a coin before.
    return v2.Transform.forward(again, value)
