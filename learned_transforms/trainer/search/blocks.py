"""Means of blocks of pixels: alone, and before a resize of images that are much larger than its result."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import torch

from learned_transforms.errors import LearnedTransformsError
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.network import Network
from learned_transforms.layers.pooling import MOST_BITS, AveragePooling, PooledResampling
from learned_transforms.layers.resize import Resampling, sizing_of, with_size
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FoundForm, Labelled, Problem, attempt
from learned_transforms.trainer.sizes.bounds import Bounds
from learned_transforms.trainer.sizes.hypotheses import simplest
from learned_transforms.trainer.sizes.ruled import whole_answer

BITS = (MOST_BITS, 0)
FEW = 0.01
"""Share of values that may differ behind means of blocks."""


def averaged(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Blocks of the size that the sizes of answers tell, each way of rounding."""
    yield "blocks", block_form(problem)


def block_form(problem: Problem) -> FoundForm | str:
    if not problem.train.quantized or problem.train.inputs.dtype != torch.uint8 or problem.rules is None:
        return "images or answers are no levels, or of one size"
    checks = [problem.val.part(slice(CHECK_IMAGES))]
    checks += [p for p in problem.probes if whole_answer(problem.rules, input_size(p))]
    if not whole_answer(problem.rules, input_size(problem.train)):
        return "only a part of answers is seen"
    factors = [factors_along(axis, checks) for axis in (0, 1)]
    if not all(factors) or max(map(max, factors)) == 1:
        return "the size of answers is no whole part of that of images"
    params = {"factor": (factors[0][0], factors[1][0])}
    layers = [AveragePooling(bits) for bits in BITS]
    trials = [attempt([layer], checks, [params]) for layer in layers]
    best = min(range(len(layers)), key=lambda i: trials[i].worth)
    if trials[best].differing > FEW:
        return f"means of blocks of {params['factor']} leave {trials[best].differing:.1%} of values different"
    return FoundForm(
        [layers[best]], [params], trials, ("factor",), notes=["means of blocks of {} x {}".format(*params["factor"])]
    )


def input_size(part: Labelled) -> Size:
    return part.inputs.shape[-2], part.inputs.shape[-1]


def factors_along(axis: int, parts: list[Labelled]) -> list[int]:
    """By what lengths along an axis may be divided, and rounded up, for each of the parts."""
    lengths = [(input_size(part)[axis], part.size[axis]) for part in parts]
    return [f for f in range(1, lengths[0][0] + 1) if all(-(-n // f) == m for n, m in lengths)]


def with_blocks(network: Network, bounds: Bounds, ask: Callable[[Network], Bounds]) -> tuple[Network, Bounds] | None:
    """Return a network that resizes, with means of blocks before where that explains the sizes at which it did not
    hold.

    Args:
        network: it holds at some sizes.
        bounds: these, and those at which it fails.
        ask: where another network holds.
    """
    first = network.members[0] if network.layers else None
    params = network.params[0] if network.params else None
    if type(first) is not Resampling or params is None or first.arithmetic.number != "int" or not bounds.held:
        return None

    def ratio(size: Size) -> float:
        small = sizing_of(with_size(params, (1, *size))).of(size)
        return max(n / m for n, m in zip(size, small, strict=True))

    try:
        held, failed = max(map(ratio, bounds.held)), min(map(ratio, bounds.failed), default=0.0)
    except LearnedTransformsError:  # Nothing is left of one of them.
        return None
    if held >= failed:
        return None
    # Blocks of two pixels are the first: twice the gap lies between what held and what failed.
    gap = float(simplest(Fraction(held) / 2, Fraction(failed) / 2))
    for bits in BITS:
        layer = PooledResampling(first.kernel, first.shift, first.arithmetic, bits, first.width)
        layer.picked = first.picked
        made = Network(
            [layer, *network.members[1:]],
            [{**params, "gap": gap}, *network.params[1:]],
            network.kind,
            network.output,
            network.floats,
            (*network.learned, "gap"),
        )
        found = ask(made)
        if len(found.held) > len(bounds.held):
            return made, found
    return None
