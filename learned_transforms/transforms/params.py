"""What random transforms drew, as plain values; such values played back; and the same as v2's own params."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2._utils import check_type

from learned_transforms.errors import PipelineValueError, UnsupportedTransformError
from learned_transforms.images.formats import Window
from learned_transforms.layers.noise import Noise, read_state, write_state
from learned_transforms.transforms.clients.twins import PARAMS, WINDOWS
from learned_transforms.transforms.color_draws import FACTORED, played_back
from learned_transforms.transforms.containers import CHOOSING
from learned_transforms.transforms.draws import COINS, ERASING, Outcome, sides_around, writes_noise
from learned_transforms.transforms.geometry_draws import MOVING, RESIZING, SIDES, as_plain

LOOKING = WINDOWS.keys() | PARAMS.keys() | {v2.RandomPhotometricDistort}
"""Transforms that must see the image before they draw, and so begin a segment."""

RANDOM = COINS.keys() | FACTORED.keys() | CHOOSING.keys() | MOVING.keys() | LOOKING
NAMES: dict[type, Sequence[str]] = {
    **dict.fromkeys(WINDOWS, SIDES),
    **dict.fromkeys(ERASING, "ijhwv"),
    v2.RandomChannelPermutation: ("order",),
    **dict.fromkeys(RESIZING, ("size",)),
    v2.RandomZoomOut: ("padding",),
    v2.RandomIoUCrop: (*SIDES, "is_within_crop_area"),
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
    optional = kind in COINS or kind in ERASING or kind in (v2.RandomZoomOut, v2.RandomIoUCrop)
    if optional and entry is None:
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
        if kind in MOVING and fitting(kind, entry):
            return tuple((name, as_plain(entry[name])) for name in NAMES[kind])
    names = FACTORED[kind].types if kind in FACTORED else NAMES.get(kind, ())
    wanted = f"{{{', '.join(names)}}}" + (" or None" if optional else "")
    raise PipelineValueError(f"Expected params {wanted} for {name}, got {entry!r}. make_params(image) gives them.")


def fitting(kind: type, entry: Mapping[str, Any]) -> bool:
    """Whether params are whole numbers, and as many as a transform of :data:`MOVING` draws."""
    lengths = {"size": (1,) if kind is v2.RandomResize else (2,), "padding": (4,)}
    least = 1 if kind in RESIZING else 0
    return all(
        (type(value) is int and (value >= 1 or name in ("top", "left")))
        if name in SIDES
        else isinstance(value, list | tuple)
        and len(value) in lengths.get(name, (len(value),))
        and all(type(one) is bool if name not in lengths else type(one) is int and one >= least for one in value)
        for name, value in entry.items()
    )


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
    if type(transform) in MOVING and isinstance(outcome, tuple):
        params = {name: list(value) if isinstance(value, tuple) else value for name, value in outcome}
        if "is_within_crop_area" in params:
            params["is_within_crop_area"] = torch.tensor(params["is_within_crop_area"], dtype=torch.bool)
        return params
    if type(transform) in FACTORED and isinstance(outcome, tuple):
        params = {name: torch.tensor(value) if isinstance(value, tuple) else value for name, value in outcome}
        return {"sigma": [params["sigma"]] * 2} if "sigma" in params else params
    if type(transform) in WINDOWS and isinstance(outcome, tuple):
        window = tuple(value for _, value in outcome)
    if window is None:
        order = dict(outcome).get("order") if isinstance(outcome, tuple) else None
        # Grayscale's number of channels is what RandomGrayscale would have looked up.
        return {"num_input_channels": shape[0]} if order is None else {"permutation": torch.tensor(order)}
    top, left, height, width = window
    found = {"top": top, "left": left, "height": height, "width": width}
    if not isinstance(transform, v2.RandomCrop):
        return found
    rows, columns = shape[1:]
    own = sides_around(transform, (rows, columns))
    # Windows that are played back may lie anywhere: enough on each side for them, too.
    needed = -left, -top, left + width - columns, top + height - rows
    padding = [max(sides) for sides in zip(own, needed, strict=True)]
    padded = rows + padding[1] + padding[3], columns + padding[0] + padding[2]
    return {
        **found,
        "top": top + padding[1],
        "left": left + padding[0],
        "needs_crop": padded != (height, width),
        "needs_pad": any(padding),
        "padding": padding,
    }


def played(transform: v2.Transform, value: Any, params: Mapping[str, Any]) -> Any:
    """What v2 makes of a value that is no plain tensor where ``params`` are drawn; others stay as they are."""
    return transform.transform(value, params) if check_type(value, transform._transformed_types) else value
