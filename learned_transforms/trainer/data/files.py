"""Images in files: a folder of them, and pairs of input and target in two folders or listed in a CSV file."""

import csv
import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from learned_transforms.errors import DataError, InputTypeError
from learned_transforms.images.formats import MODES, SUFFIXES, as_rgb_or_l, image_files

HEADER = ("input", "target")
SIDES = (("inputs", "targets"), ("before", "after"))
"""The names of the two subfolders of a folder of pairs."""

ARRAY = ".npy"
UNREADABLE = (InputTypeError, OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow and numpy raise for files that they cannot read, and we for modes that would lose levels."""

Paths = tuple[Path, Path]


def read_folder(folder: Path, skipped: list[str], converted: Counter[str]) -> Iterator[Image.Image]:
    """Every image file below ``folder``, in order of name, as RGB; unreadable files go to ``skipped``.

    ``converted`` counts the images of other modes.
    """
    for path in image_files(folder):
        image = read_one(path, skipped)
        if image is not None:
            yield as_mode(image, ("RGB",), converted)


def read_pairs(source: Path, skipped: list[str], converted: Counter[str]) -> Iterator[tuple[Any, Any]]:
    """Inputs with their targets; pairs of which a file is unreadable go to ``skipped``.

    Image files are read as PIL images, RGB or L as they are stored and other modes as RGB; ``.npy`` files as arrays.

    Args:
        source: a ``.csv`` file with two columns of paths, relative to its folder or absolute, perhaps under the header
            ``input,target``; or a folder with the subfolders ``inputs`` and ``targets`` (or ``before`` and ``after``),
            whose files belong together by name, whatever their suffixes.

    Raises:
        DataError: no such source, missing files, files without a counterpart, or lines of other than two columns.
    """
    for paths in listed(source) if source.suffix.lower() == ".csv" else matched(source):
        first, second = (read_one(path, skipped) for path in paths)
        if first is not None and second is not None:
            yield as_mode(first, MODES, converted), as_mode(second, MODES, converted)


def as_mode(image: Any, modes: Sequence[str], converted: Counter[str]) -> Any:
    """Return a PIL image as RGB where it has none of the modes, and counted; anything else as it is."""
    if not isinstance(image, Image.Image) or image.mode in modes:
        return image
    converted[image.mode] += 1
    return as_rgb_or_l(image).convert("RGB")


def read_one(path: Path, skipped: list[str]) -> Any:
    """Return a PIL image as it is stored, or an array; None for what is unreadable, which goes to ``skipped``."""
    try:
        if path.suffix.lower() == ARRAY:
            return np.load(path, allow_pickle=False)
        with Image.open(path) as image:
            as_rgb_or_l(image)  # Some modes would lose levels.
            return image.copy()
    except UNREADABLE as error:
        skipped.append(f"{path.name}: {error}")
        return None


def listed(file: Path) -> list[Paths]:
    """Return the pairs of paths in a CSV file."""
    pairs: list[Paths] = []
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            for row in reader:
                cells = tuple(cell.strip() for cell in row)
                header = not pairs and tuple(cell.lower() for cell in cells) == HEADER
                if header or not any(cells):
                    continue
                if len(cells) != 2 or not all(cells):
                    raise DataError(
                        f"Expected two columns, input and target, in line {reader.line_num} of {file}, "
                        f"got {len(cells)}: {','.join(row):.100}"
                    )
                pairs.append((file.parent / cells[0], file.parent / cells[1]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Expected a CSV file of pairs, but {file} cannot be read: {error}.") from error
    check_there(pairs, file)
    return pairs


def check_there(pairs: list[Paths], file: Path) -> None:
    missing = [str(path) for path in chain.from_iterable(pairs) if not os.path.isfile(path)]
    if missing:
        raise DataError(f"{len(missing)} of {2 * len(pairs)} files that {file} names are missing: {first_of(missing)}.")


def matched(folder: Path) -> list[Paths]:
    """Return the pairs of paths in a folder of pairs, in order of name."""
    if not folder.is_dir():
        raise DataError(f"Expected a CSV file or a folder of pairs, but {folder} is neither.")
    sides = next((s for s in SIDES if all((folder / name).is_dir() for name in s)), None)
    if sides is None:
        names = ", or ".join(" and ".join(pair) for pair in SIDES)
        raise DataError(f"Expected the subfolders {names} in {folder}, for pairs without a teacher.")
    inputs, targets = (by_stem(folder / name) for name in sides)
    alone = [str((inputs | targets)[stem].relative_to(folder)) for stem in sorted(inputs.keys() ^ targets.keys())]
    if alone:
        raise DataError(f"{len(alone)} files in {folder} have no counterpart of the same name: {first_of(alone)}.")
    return [(inputs[stem], targets[stem]) for stem in sorted(inputs)]


def by_stem(folder: Path) -> dict[str, Path]:
    """Image files and arrays in a folder, by name without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in {*SUFFIXES, ARRAY}):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise DataError(f"{other.name} and {path.name} in {folder} have one name: files are matched by it.")
    return found


def first_of(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
