"""The family of tables of colors with trilinear interpolation: a teacher is asked about a grid of colors."""

from collections.abc import Iterator

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.cube import HIGHEST, MOST_NODES, ColorCube
from learned_transforms.trainer.search.problem import CHECK_IMAGES, Ask, FoundForm, Labelled, Problem, attempt

ARITHMETICS = tuple(Arithmetic("float32", rounding=rounding) for rounding in ("half_up", "half_even", "truncate"))
LEVELS = HIGHEST + 1
LINES = 96
"""Lines of colors along each axis, by which grids are told."""

EXPLAINED, NEARLY, ROUNDING = 0.15, 1.15, 1.05 / 12
"""Mean square, in levels, that a line of the right grid may leave; how near the least left it must be; and what
rounding alone leaves, which finer grids may fit better.
"""

SAMPLES, MOST_LEVELS = 8, 129
"""Levels between two nodes, and along an axis, that are asked about."""

REFINEMENTS, FARTHEST = 24, 16.0
"""Answers that are not met yet are pushed so many times as far as they are away, since the others hold them back."""

NUDGE = 1e-3
"""In levels, away from where roundings change."""

AT_ONCE = 64
"""Images of colors that a teacher is asked about at a time."""


def cubed(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Yield a table of colors of whatever grid."""
    yield "color table", cube_form(problem)


def cube_form(problem: Problem) -> FoundForm | str:
    """Return the grid from lines of colors along each axis, the nodes from a grid of colors."""
    ask = problem.ask
    if ask is None or not problem.train.quantized or problem.train.inputs.dtype != torch.uint8:
        return "there is no teacher to ask, or images and answers are no levels"
    if not problem.same_size or problem.channels[0] != 3:
        return "outputs have another size than inputs, or colors have no three channels"
    asked = Colors(ask, problem.train.inputs.shape)
    if not asked.alone(problem.train.rich(1)):
        return "pixels depend on others"
    counts = []
    for axis in range(3):
        count = nodes_along(*asked.lines(axis))
        if count is None:
            return f"no even grid explains channel {axis}"
        counts.append(count)
    nodes = fit_nodes(asked, counts)
    check = problem.val.part(slice(CHECK_IMAGES))
    # What is cut off rather than rounded lies half a level higher.
    layers = [ColorCube(nodes + 0.5 if how.rounding == "truncate" else nodes, how) for how in ARITHMETICS]
    trials = [attempt([layer], [check]) for layer in layers]
    best = min(range(len(layers)), key=lambda i: trials[i].worth)
    grid = " x ".join(map(str, counts))
    return FoundForm([layers[best]], [{}], trials, notes=[f"a table of {grid} colors, trilinear"])


class Colors:
    """Asks a teacher about colors, in images of the size that it is known to take."""

    def __init__(self, ask: Ask, shape: torch.Size) -> None:
        self.ask, self.size = ask, (shape[-2], shape[-1])

    def __call__(self, colors: Tensor) -> Tensor:
        """Return what colors ``[K, 3]`` come out as: ``[K, C_out]``."""
        height, width = self.size
        room = height * width
        images = torch.cat([colors, colors[:1].expand(-len(colors) % room, -1)])
        images = images.view(-1, height, width, 3).permute(0, 3, 1, 2).contiguous()
        made = torch.cat([self.ask(part).targets for part in images.split(AT_ONCE)])
        return made.permute(0, 2, 3, 1).flatten(0, 2)[: len(colors)]

    def alone(self, part: Labelled) -> bool:
        """Return whether pixels come out the same in another order."""
        colors, answers = (images[0].flatten(1).T for images in (part.inputs, part.targets))
        order = torch.randperm(len(colors), generator=torch.Generator().manual_seed(0))
        return self(colors[order]).equal(answers[order])

    def lines(self, axis: int) -> tuple[Tensor, Tensor]:
        """Answers ``[256, lines]`` along an axis, with others at random; and which of them nothing clamps."""
        generator = torch.Generator().manual_seed(axis)
        colors = torch.randint(0, LEVELS, (1, LINES, 3), generator=generator).repeat(LEVELS, 1, 1)
        colors[..., axis] = torch.arange(LEVELS)[:, None]
        answers = self(colors.to(torch.uint8).flatten(0, 1)).view(LEVELS, -1).double()
        free = ((answers > 0) & (answers < HIGHEST)).all(0)
        return answers, free


def hats(levels: Tensor, count: int) -> Tensor:
    """Weights ``[levels, count]`` of the nodes of one axis in linear interpolation, float64."""
    place = levels.double() * ((count - 1) / HIGHEST)
    return (1 - (place[:, None] - torch.arange(count)).abs()).clamp(min=0)


def nodes_along(answers: Tensor, free: Tensor) -> int | None:
    """Return the fewest nodes of an even grid between which lines of answers are straight; None: there is none."""
    lines = answers[:, free] if free.any() else answers
    levels = torch.arange(LEVELS)
    left = []
    for count in range(2, MOST_NODES + 1):
        basis, _ = torch.linalg.qr(hats(levels, count))
        rest = lines - basis @ (basis.T @ lines)
        left.append(float(rest.square().sum() / ((LEVELS - count) * lines.shape[1])))
    limit = min(EXPLAINED, max(ROUNDING, NEARLY * min(left)))
    return next((count for count, loss in enumerate(left, 2) if loss <= limit), None)


def fit_nodes(ask: Colors, counts: list[int]) -> Tensor:
    """Return the nodes ``[C_out, *counts]`` whose interpolation rounds to the answers, as nearly as there are any."""
    levels = [torch.linspace(0, HIGHEST, min(MOST_LEVELS, SAMPLES * (n - 1) + 1)).round() for n in counts]
    colors = torch.cartesian_prod(*levels).to(torch.uint8)
    answers = ask(colors).T.unflatten(1, [len(each) for each in levels]).float()
    weights = [hats(each, count) for each, count in zip(levels, counts, strict=True)]
    inverses = [torch.linalg.pinv(matrix) for matrix in weights]
    # Beyond the highest and the lowest level, anything is as good.
    low = torch.where(answers > 0, answers - 0.5, -torch.inf)
    high = torch.where(answers < HIGHEST, answers + 0.5, torch.inf)
    nodes = best = along(inverses, answers)
    least, push = float("inf"), FARTHEST
    for _ in range(REFINEMENTS):
        made = along(weights, nodes)
        missed = made.clamp(low, high) - made
        loss = float(missed.square().sum())
        if loss < least:
            best, step, least = nodes, along(inverses, missed), loss
        else:
            push /= 2
        nodes = best + push * step
    # Colors that lie on a node tell it apart from all others.
    at, on = zip(*((matrix == 1).nonzero().unbind(1) for matrix in weights), strict=True)
    asked, own = (torch.cartesian_prod(*parts).T for parts in (at, on))
    rows = torch.arange(len(best))[:, None]
    bounds = (bound[(rows, *asked)] for bound in (low + NUDGE, high - NUDGE))
    best[(rows, *own)] = best[(rows, *own)].clamp(*bounds)
    return best.double()


def along(matrices: list[Tensor], values: Tensor) -> Tensor:
    """Each matrix applied along its axis of ``[C_out, *axes]``."""
    for axis, matrix in enumerate(matrices, 1):
        values = torch.tensordot(matrix.to(values), values, ([1], [axis])).movedim(0, axis)
    return values
