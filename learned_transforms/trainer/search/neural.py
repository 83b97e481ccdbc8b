"""Plain networks, which know nothing of what they imitate: for comparison, and where no other family is faithful."""

from dataclasses import replace

from learned_transforms.trainer.optim.fit import fit_unstructured
from learned_transforms.trainer.search.problem import FoundForm, Problem

MOST_WEIGHTS = 20_000_000
"""Of a dense network; more would neither fit into memory beside their gradients nor be learned in minutes."""


LAST_RESORT = 500, 12
"""Images, and epochs, where a plain network is trained because no other family is faithful."""


def last_resort(problem: Problem, full: float, seed: int) -> tuple[str, FoundForm | str]:
    """Return the plain network for a teacher that no other family is faithful to, trained for a minute."""
    images, epochs = LAST_RESORT
    part, settings = slice(images), replace(problem.settings, epochs=min(epochs, problem.settings.epochs))
    problem = replace(problem, train=problem.train.part(part), val=problem.val.part(part), settings=settings)
    name = "local" if problem.same_size else "dense"
    return name, plain_network(name, problem, full, seed)


def plain_network(kind: str, problem: Problem, full: float, seed: int) -> FoundForm | str:
    """Return a plain network, trained by AdamW."""
    weights = problem.train.inputs[0].numel() * problem.train.targets[0].numel()
    if kind == "dense" and weights > MOST_WEIGHTS:
        return f"a dense network would have {weights:,} weights; at most {MOST_WEIGHTS:,} are trained"
    data, held_out = problem.train.floats(), problem.val.floats()
    layer, history = fit_unstructured(kind, data, held_out, full, problem.settings, seed)
    problem.history.extend(history)
    layer.arithmetic = problem.train.rounded
    return FoundForm.plain(layer)
