"""From what a search found in a part of each answer to a network that gives all of it."""

from dataclasses import replace

import torch

from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer.data.asking import ask
from learned_transforms.trainer.data.quantization import Levels
from learned_transforms.trainer.data.sources import Pairs, Teacher
from learned_transforms.trainer.search.placement import PlacedResampling
from learned_transforms.trainer.search.problem import FoundForm, Problem
from learned_transforms.trainer.search.search import SearchRow
from learned_transforms.trainer.sizes.ruled import Ruled, behind, finished, whole_answer

MOST_VALUES = 40_000_000
"""Values of whole answers that a certificate is measured on, where only parts of them were learned from."""

FEWEST = 8
LEARNED = ("frame", "place", "fill", "levels")
"""Names of params that follow from rules for sizes."""


def serves(form: FoundForm, problem: Problem) -> bool:
    """Return whether a form that was found can give whole answers: not so if it knows only some rows of them."""
    rules, inputs = problem.rules, problem.train.inputs
    if rules is None or whole_answer(rules, (inputs.shape[-2], inputs.shape[-1])):
        return True
    return any(isinstance(layer, PlacedResampling) and isinstance(layer.placement, Ruled) for layer in form.layers)


def without_form(row: SearchRow) -> SearchRow:
    """Return the row of a form that gives no whole answers."""
    return replace(row, form=None, trial=None, reason=f"{row}; of every few rows only")


def assembled(form: FoundForm, levels: Levels, pairs: Pairs) -> Network:
    """Return the network of a form: its layers, the levels behind them, and what puts them into the frame of the
    answer."""
    if pairs.rules is None:
        return levels.network(list(form.layers), list(form.params), pairs, tuple(form.learned))
    layers, params = zip(*finished(form.layers, form.params), strict=True)
    made = levels.network(list(layers), list(params), pairs, (*form.learned, *LEARNED))
    around = behind(pairs.rules, not made.floats)
    if not around:
        return made
    parts = [*without_copies(made), *around]
    return Network(
        [layer for layer, _ in parts], [given for _, given in parts], made.kind, made.output, made.floats, made.learned
    )


def without_copies(network: Network) -> list[tuple[Layer, Params | None]]:
    """Its layers without tables that give each level itself."""
    levels = torch.arange(256, dtype=torch.uint8)
    return [
        (layer, params)
        for layer, params in zip(network.members, network.params, strict=True)
        if not (isinstance(layer, Lookup) and layer.values.dtype == torch.uint8 and layer.values.eq(levels).all())
    ]


def with_whole_answers(teacher: Teacher, pairs: Pairs) -> Pairs:
    """As many of the pairs as fit into memory, with all of the teacher's answer to each.

    Raises:
        TeacherError: see :func:`~learned_transforms.trainer.data.asking.ask`.
    """
    first = ask(teacher, pairs.inputs[:1], pairs.kind)[0][0]
    inputs = pairs.inputs[: max(FEWEST, MOST_VALUES // first.numel())]
    return replace(pairs, inputs=inputs, targets=torch.stack(ask(teacher, inputs, pairs.kind)[0]))
