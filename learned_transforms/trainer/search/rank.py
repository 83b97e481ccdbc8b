"""The family of ranks: medians, minima and maxima of a window."""

from collections.abc import Iterator

from learned_transforms.layers.rank import RANK_BORDERS, Ranking, windows
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FoundForm, Labelled, Problem, attempt

WINDOWS = (3, 5, 7)
RANK_IMAGES = 6
MOST_WRONG = 0.02
"""Share of values inside that may be of another rank."""


def ranked(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Windows from small to large."""
    yield "rank", rank_form(problem)


def rank_form(problem: Problem) -> FoundForm | str:
    if problem.train.inputs.shape != problem.train.targets.shape or not problem.train.quantized:
        return "outputs have another shape than inputs, or are no levels"
    few = problem.train.rich(RANK_IMAGES)
    for window in WINDOWS:
        if min(few.size) <= 2 * window:
            break
        rank, wrong = best_rank(few, window)
        if wrong <= MOST_WRONG:
            layers = [Ranking(window, rank, border) for border in RANK_BORDERS]
            trials = [attempt([layer], [problem.val.part(slice(CHECK_IMAGES))]) for layer in layers]
            best = min(range(len(layers)), key=lambda i: trials[i].worth)
            return FoundForm([layers[best]], [{}], trials, notes=[f"rank {rank} of a window of {window} x {window}"])
    return "no rank of a window explains it"


def best_rank(part: Labelled, window: int) -> tuple[int, float]:
    """Return the rank with which the fewest values inside differ, and their share."""
    inner = slice(window // 2, -(window // 2))
    found = windows(part.inputs, window, RANK_BORDERS[0])[..., inner, inner, :].sort(-1).values
    wrong = (found != part.targets[..., inner, inner, None]).double().flatten(0, -2).mean(0)
    return int(wrong.argmin()), float(wrong.min())
