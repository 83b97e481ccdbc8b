"""What training saw and a clone does not do: told, rather than outvoted; and how much of the colors was asked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.search.problem import FoundForm, Labelled, run_layers

COLORS = 2**24
AT_ONCE = 256
NAMED = 10


def contradictions(form: FoundForm, pairs: Labelled, unit: float) -> list[int]:
    """Return the numbers of the pairs that a form misses by more than one level."""
    found: list[int] = []
    for start in range(0, len(pairs.inputs), AT_ONCE):
        part = pairs.part(slice(start, start + AT_ONCE))
        error = (run_layers(form.layers, part, form.params).double() - part.targets.double()).abs().flatten(1).amax(1)
        found += (start + (error > 1.001 * unit).nonzero()[:, 0]).tolist()
    return found


def tell_missed(numbers: Sequence[int], count: int) -> str:
    """Return what to say of them."""
    named = ", ".join(f"#{number}" for number in numbers[:NAMED]) + (", ..." if len(numbers) > NAMED else "")
    return f"{len(numbers):,} of {count:,} images {'disagree' if len(numbers) > 1 else 'disagrees'}: {named}"


def colors_asked(form: FoundForm, inputs: Tensor) -> str:
    """Return the share of all colors that a map of colors was asked about; empty for other forms and other images."""
    colors = all(type(layer) in (Lookup, Mixing) for layer in form.layers)
    if not colors or inputs.dtype != torch.uint8 or inputs.shape[1] != 3:
        return ""
    red, green, blue = inputs.transpose(0, 1).flatten(1).int()
    asked = len((red * 65536 + green * 256 + blue).unique())
    return f"asked {asked / COLORS:.2%} of 2^24 colors"


def basis_of(form: FoundForm) -> str:
    """Return what a claim of exactness rests on, beside the images that were compared."""
    whole = any(isinstance(layer, Resampling) and layer.arithmetic.number == "int" for layer in form.layers)
    return "taps recovered" if whole and form.grids.get("kernel") is not None else ""
