"""Plain networks, which know nothing of what they imitate: for comparison, and where no other family is faithful."""

from learned_transforms.trainer.fit import fit_unstructured
from learned_transforms.trainer.problem import Form, Problem

MOST_WEIGHTS = 20_000_000
"""Of a dense network; more would neither fit into memory beside their gradients nor be learned in minutes."""


def plain(kind: str, problem: Problem, full: float, seed: int) -> Form | str:
    """A plain network, trained by AdamW."""
    weights = problem.train.inputs[0].numel() * problem.train.targets[0].numel()
    if kind == "dense" and weights > MOST_WEIGHTS:
        return f"a dense network would have {weights:,} weights; at most {MOST_WEIGHTS:,} are trained"
    data, held_out = problem.train.floats(), problem.val.floats()
    layer, history = fit_unstructured(kind, data, held_out, full, problem.settings, seed)
    problem.history.extend(history)
    layer.arithmetic = problem.train.rounded
    return Form.plain(layer)
