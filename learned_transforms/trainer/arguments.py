"""What ``retrain`` is called with, checked at once rather than after minutes of search."""

import os
from pathlib import Path

import torch

from learned_transforms.errors import OutputError, PipelineValueError, brief, check_number
from learned_transforms.plain import LONGEST

MOST_PAIRS = 2**31 - 1
SMALLEST_SHARE = 1e-6
LARGEST_SEED = 2**63 - 1
"""That torch takes; numpy takes none below 0."""


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device on which tensors can be made; told at once, rather than after minutes of search on the CPU.

    Raises:
        PipelineValueError: torch knows no such device, or has none of it here.
    """
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise PipelineValueError(
            f"Expected a device that torch can use, such as cpu, got {brief(device)}: {reason:.200}"
        ) from error


def check_folder(out: str | Path | None) -> None:
    """Require that a folder is there or can be made; told before minutes of training rather than after them.

    Raises:
        OutputError: a file is in its place, or the folder, or one that leads to it, may not be written to.
        PipelineValueError: it is no path.
    """
    if out is None:
        return
    if not isinstance(out, str | Path) or not str(out):
        raise PipelineValueError(f"Expected out to be the path of a folder, got {out!r}.")
    there = next(path for path in (Path(out), *Path(out).absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"Expected out to be a folder, but {there} is a file. Choose another place.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out} cannot be written: {there} may not be written to. Choose another place.")


def check_numbers(count: int | None, held_out: float, epochs: int, size: tuple[int, int] | None, seed: int) -> None:
    """Require numbers that make sense."""
    check_number("epochs", epochs, 1)
    if count is not None:
        check_number("count", count, 1, MOST_PAIRS)
    check_number("held_out", held_out, SMALLEST_SHARE, 0.4, whole=False)
    if size is not None:
        if not (isinstance(size, tuple | list) and len(size) == 2):
            raise PipelineValueError(f"Expected size to be (rows, columns), got {brief(size)}.")
        for length in size:
            check_number("rows and columns of size", length, 1, LONGEST)
    check_number("seed", seed, 0, LARGEST_SEED)
