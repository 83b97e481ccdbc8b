"""The values of a processor's configuration: what each key may hold, and what it means."""

from collections.abc import Mapping
from typing import Any

from PIL import Image
from torchvision.transforms import InterpolationMode

from learned_transforms.errors import ProcessorError, ProcessorKeyError, brief
from learned_transforms.plain import LONGEST
from learned_transforms.processors.levels import Numbers

ConfigValues = Mapping[str, Any]

SIZES = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
    {"min_pixels", "max_pixels"},
)
"""The keys that a size may have, together."""


def sizes_in(values: ConfigValues, key: str, square: bool = True) -> dict[str, int]:
    """Return a size by its keys; a number is the side of a square, or of the shorter edge, two are height and width.

    Raises:
        ProcessorError: none, or keys that do not go together.
    """
    size = values.get(key)
    if size is None:
        raise ProcessorError(f'Expected "{key}" in the configuration, got none. {HINTS[key]}')
    if isinstance(size, int) and not isinstance(size, bool):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    elif isinstance(size, list | tuple) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    if not isinstance(size, Mapping) or set(size) not in SIZES:
        known = "; ".join(", ".join(sorted(keys)) for keys in SIZES)
        raise ProcessorError(f'Expected "{key}" with one of these sets of keys: {known}. Got {brief(size)}.')
    for name, length in size.items():
        if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= MOST_PIXELS:
            raise ProcessorError(
                f'Expected "{name}" of "{key}" to be a whole number of 1 to {MOST_PIXELS}, got {brief(length)}.'
            )
    return {str(name): int(length) for name, length in size.items()}


MOST_PIXELS = 2**31 - 1
"""Some sizes are numbers of pixels in all."""

HINTS = {
    "size": 'Add it, as {"height": 224, "width": 224} or {"shortest_edge": 224}, or set "do_resize" to false.',
    "crop_size": 'Add it, as {"height": 224, "width": 224}, or set "do_center_crop" to false.',
    "pad_size": 'Add it, as {"height": 1024, "width": 1024}, or set "do_pad" to false.',
}
"""What to do where a size is missing."""


def rectangle(values: ConfigValues, key: str) -> tuple[int, int]:
    """Return a size as (rows, columns).

    Raises:
        ProcessorError: it has other keys.
    """
    size = sizes_in(values, key)
    if set(size) != {"height", "width"}:
        raise ProcessorError(f'Expected "{key}" with "height" and "width", got {brief(dict(size))}. {HINTS[key]}')
    return size["height"], size["width"]


def flag(values: ConfigValues, key: str) -> bool:
    """Return whether something is done; None: it is not.

    Raises:
        ProcessorError: neither true nor false.
    """
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise ProcessorError(f'Expected "{key}" to be true or false, got {brief(value)}.')
    return bool(value)


def positive_number(values: ConfigValues, key: str, needed_by: str) -> float:
    """Return a number above 0.

    Raises:
        ProcessorError: none, or no such number.
    """
    value = values.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ProcessorError(
            f'Expected "{key}" to be a number above 0, got {brief(value)}. Set it, or "{needed_by}" to false.'
        )
    return value


def whole_number(values: ConfigValues, key: str) -> int:
    """Return a whole number above 0.

    Raises:
        ProcessorError: none, or no such number.
    """
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LONGEST:
        raise ProcessorError(f'Expected "{key}" to be a whole number of 1 to {LONGEST}, got {brief(value)}.')
    return value


def mean_and_std(values: ConfigValues) -> tuple[Numbers, Numbers]:
    """Return what is subtracted, and by what is divided: one number, or one for each channel.

    Raises:
        ProcessorError: none, no numbers, not as many of one as of the other, or a std of 0.
    """
    mean, std = (numbers(values, key) for key in ("image_mean", "image_std"))
    lengths = {len(value) for value in (mean, std) if isinstance(value, tuple)}
    if len(lengths) > 1:
        raise ProcessorError(
            f'Expected "image_mean" and "image_std" of as many numbers, one for each channel, got {brief(mean)} and '
            f"{brief(std)}."
        )
    if 0 in (std if isinstance(std, tuple) else (std,)):
        raise ProcessorError(f'Expected "image_std" without 0, by which nothing can be divided, got {brief(std)}.')
    return mean, std


def numbers(values: ConfigValues, key: str) -> Numbers:
    value = values.get(key)
    several: Any = value if isinstance(value, list | tuple) else [value]
    if not several or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in several):
        raise ProcessorError(
            f'Expected "{key}" to be a number, or one for each channel, got {brief(value)}. Set it, or "do_normalize" '
            "to false."
        )
    found = tuple(float(one) for one in several)
    return found if isinstance(value, list | tuple) else found[0]


def interpolation(values: ConfigValues, backend: str) -> str:
    """Return the name of an interpolation, as torchvision has it.

    Raises:
        ProcessorError: none. ProcessorKeyError: an unknown number.
    """
    value = values.get("resample")
    if value is None:
        raise ProcessorError('Expected "resample" in the configuration, got none. Set it, or "do_resize" to false.')
    if isinstance(value, InterpolationMode):
        # Pillow's backend knows the exact nearest neighbor only, and takes the other for bilinear.
        name = str(value.value)
        return {"nearest": "bilinear", "nearest-exact": "nearest"}.get(name, name) if backend == "pil" else name
    try:
        name = Image.Resampling(value).name.lower()
    except ValueError:
        known = ", ".join(f"{one.value} {one.name.lower()}" for one in Image.Resampling)
        raise ProcessorKeyError(f'Expected "resample" to be one of {known}; got {brief(value)}.') from None
    return "nearest-exact" if name == "nearest" and backend == "torchvision" else name
