"""Families of spatial maps that are not separable: a window that slides over the image, and free sparse weights.

Both weigh pixels in every channel alike.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from learned_transforms.ir.ops import FILTER_BORDERS
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.fixed_size import Scattered
from learned_transforms.trainer.data.bundled import noise
from learned_transforms.trainer.optim.fit import fit_intervals, least_squares, solve
from learned_transforms.trainer.optim.snap import on_grid, snapped
from learned_transforms.trainer.optim.training import score
from learned_transforms.trainer.search.arithmetics import FLOATS, SUM_LEVELS
from learned_transforms.trainer.search.problem import FoundForm, Labelled, Problem, attempt

REACHES = (1, 2, 3, 5, 7)
"""Of windows, in pixels: a window is one more than twice as wide."""

PATCH_VALUES = 12_000_000
"""Values of all patches that a window is fitted to."""

ENOUGH = 1.05
"""A window whose loss is within this factor of the widest one's is wide enough."""

EXPLAINED = 0.5
"""A window that leaves more of the variance than this share explains nothing."""

RANK_IMAGES, CHECK_IMAGES = 6, 40
MOST_PIXELS = 5000
"""Pixels of an image that free weights are learned for: their normal equations have its square."""

MOST_TERMS = 16
SIGNIFICANT = 6.0
"""Weights that stand out by so many standard errors are kept."""

FIRMNESS = 2.0
"""Samples a pixel that free weights need, at least."""

REFINED_SAMPLES, REFINED_AT_ONCE, REFINEMENTS = 4000, 256, 12
MOST_GRIDS = 6
FINEST = 255
"""The largest divisor of a window of whole numbers."""

NEARLY_ONE = 1e-3
NUDGE = 2.0**-9
"""In levels: keeps sums that should be whole from being truncated to the level below."""


def windowed(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Yield a window that slides over the image: blurs, sharpening, edges."""
    c_in, c_out = problem.channels
    if not problem.same_size or c_in != c_out:
        yield "filter", "outputs have another shape than inputs"
        return
    h, w = problem.train.inputs.shape[-2:]
    fits = [fit_window(problem, reach) for reach in REACHES if 2 * reach + 3 <= min(h, w)]
    if not fits:
        yield "filter", f"images of {h} x {w} pixels are too small to see a window in; at least 5 x 5 are needed"
        return
    left = min(loss for _, loss in fits) / max(float(problem.val.targets.double().var()), 1e-12)
    if left > EXPLAINED:
        yield "filter", f"windows leave {left:.0%} of the variance"
        return
    limit = max(ENOUGH * min(loss for _, loss in fits), 1e-12 * float(problem.val.targets.double().square().mean()))
    weights = next(found for found, loss in fits if loss <= limit)
    yield "filter", best_window(weights, problem)


def patches(part: Labelled, reach: int, most: int) -> tuple[Tensor, Tensor]:
    """Windows ``[w * w + 1, samples]``, a row of ones last, and the targets at their centres; float64."""
    side = 2 * reach + 1
    images = part.inputs.flatten(0, 1)[:, None]
    inner = (images.shape[-2] - 2 * reach) * (images.shape[-1] - 2 * reach)
    images = images[: max(2, most // (inner * side * side))].double()
    windows = F.unfold(images, side).transpose(0, 1).flatten(1)
    targets = part.targets.flatten(0, 1)[: len(images), reach:-reach, reach:-reach].double().flatten()
    return torch.cat([windows, torch.ones_like(windows[:1])]), targets


def fit_window(problem: Problem, reach: int) -> tuple[Tensor, float]:
    """Return the window ``[w, w]`` of least squares, and the loss that it leaves in validation pairs."""
    inputs, targets = patches(problem.train, reach, PATCH_VALUES)
    found = least_squares(inputs, targets[None])
    inputs, targets = patches(problem.val, reach, PATCH_VALUES // 4)
    return found[0, :-1].view(2 * reach + 1, -1), score(found @ inputs, targets[None])[0]


def best_window(weights: Tensor, problem: Problem) -> FoundForm:
    """Return the window snapped, with the arithmetic and the border with which the fewest values differ."""
    reach = len(weights) // 2
    if problem.train.quantized:
        inputs, targets = patches(problem.train, reach, PATCH_VALUES // 3)
        weights = fit_intervals(inputs, targets)[0][:-1].view_as(weights)
    few, check = problem.val.part(slice(RANK_IMAGES)), problem.val.part(slice(CHECK_IMAGES))
    arithmetics = SUM_LEVELS if problem.train.quantized else FLOATS
    tried = []
    divisor = common_divisor(weights)
    for (grid, values), arithmetic in product(
        [(divisor, on_grid(weights, divisor)), *near_grids(weights)], arithmetics
    ):
        if values.any():
            layer = Filtering(trimmed(values), FILTER_BORDERS[0], arithmetic)
            tried.append((attempt([layer], [few]).worth, grid, layer))
    _, grid, chosen = min(tried, key=lambda entry: entry[0])
    layers = [Filtering(chosen.weights, border, chosen.arithmetic) for border in FILTER_BORDERS]
    trials = [attempt([layer], [check]) for layer in layers]
    layer = layers[min(range(len(layers)), key=lambda i: trials[i].worth)]
    height, width = layer.weights.shape
    notes = [f"window of {height} x {width}, border: {layer.border}"]
    return FoundForm([layer], [{}], trials, grids={"weights": grid}, notes=notes)


def common_divisor(weights: Tensor) -> int:
    """Return the denominator with which weights are nearest to whole numbers."""
    return min(range(1, FINEST + 1), key=lambda d: float((weights * d - (weights * d).round()).abs().max()))


def trimmed(window: Tensor) -> Tensor:
    """Return the window without the rings around it that are 0."""
    while len(window) > 1 and not window[[0, -1]].any() and not window[:, [0, -1]].any():
        window = window[1:-1, 1:-1]
    return window


def near_grids(weights: Tensor) -> list[tuple[int | None, Tensor]]:
    """Return the simplest grids from which fitted weights are not farther than their noise; and the weights
    themselves."""
    found = [entry for entry in snapped(weights) if float((entry[1] - weights).abs().max()) < 0.01]
    return [*found[:MOST_GRIDS], (None, weights)]


def scattered(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Free weights from anywhere in the image, of which few are not 0: rotations, distortions, permutations."""
    yield "sparse map", sparse_form(problem)


def sparse_form(problem: Problem) -> FoundForm | str:
    c_in, c_out = problem.channels
    if c_in != c_out:
        return "outputs have other channels than inputs"
    pixels = problem.train.inputs[0, 0].numel()
    if pixels > MOST_PIXELS:
        return f"images of {pixels} pixels have too many free weights; at most {MOST_PIXELS} can be learned"
    needed = int(FIRMNESS * pixels) + 64
    part = problem.train if problem.ask is None else problem.ask(white(problem.train.inputs, -(-needed // c_in)))
    x, y = (images.flatten(0, 1).flatten(1) for images in (part.inputs, part.targets))
    if len(x) < needed:
        missing = -(-(needed - len(x)) // c_in)
        return f"{missing} more images are needed for {pixels} free weights an output"
    x, y = x[: 4 * pixels], y[: 4 * pixels]
    index, count = stand_out(x.float(), y.float())
    if int(count.max()) > MOST_TERMS:
        return f"outputs depend on up to {int(count.max())} pixels each; at most {MOST_TERMS} are told apart"
    x, y = x[-REFINED_SAMPLES:], y[-REFINED_SAMPLES:]
    parts = [
        refine(x, y[:, rows], index[rows], count[rows]) for rows in torch.arange(len(index)).split(REFINED_AT_ONCE)
    ]
    weights, bias = torch.cat([w for w, _ in parts]), torch.cat([b for _, b in parts])
    # Weights of a mean sum to 1: otherwise images of one color would come out a level off.
    total = weights.sum(1, keepdim=True)
    weights = torch.where((total - 1).abs() < NEARLY_ONE, weights / total, weights)
    return best_sparse(index, weights, bias, problem)


def white(images: Tensor, count: int) -> Tensor:
    """Noise of the size and type of images: no other pixels tell free weights apart as well."""
    shape = images.shape[1:]
    made = noise(count, (shape[0], shape[1], shape[2]), torch.Generator().manual_seed(0))
    return made if images.dtype == torch.uint8 else made.float() / 255


def stand_out(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each output, the inputs whose weights stand out from the noise: ``[P, K]``, padded; and how many, ``[P]``."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    weights = solve(x.T @ x, x.T @ y)
    spread = float(x.std())
    free = max(1, len(x) - x.shape[1])
    error = (y - x @ weights.float()).square().sum(0).div(free).sqrt() / (spread * free**0.5)
    used = weights.T.abs() > (SIGNIFICANT * error.double() + 1e-4)[:, None]
    count = used.sum(1)
    widest = max(1, min(int(count.max()), MOST_TERMS))
    order = torch.where(used, weights.T.abs(), -1.0).topk(widest, 1).indices
    return order, count


def refine(x: Tensor, y: Tensor, index: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``[P, K]`` and bias ``[P]`` for which each truncated sum is its level, as in ``fit_intervals``."""
    samples = x[:, index].permute(1, 2, 0).double()
    used = torch.arange(index.shape[1]) < count[:, None]
    samples = torch.cat([samples * used[..., None], torch.ones_like(samples[:, :1])], 1)
    wanted = y.T.double()
    levels = y.dtype == torch.uint8
    center = wanted + 0.5 if levels else wanted
    # What stands in for weights that are not there: they come out as 0.
    ridge = torch.diag_embed(torch.cat([~used, torch.zeros_like(used[:, :1])], 1).double() + 1e-9)
    weights = torch.linalg.solve(samples @ samples.mT + ridge, (samples @ center[..., None]))[..., 0]
    if not levels:
        return weights[:, :-1], weights[:, -1]
    low = torch.where(wanted == 0, -torch.inf, wanted)
    high = torch.where(wanted == 255, torch.inf, wanted + 1)
    firm = samples @ samples.mT * 1e-6 + ridge
    for _ in range(REFINEMENTS):
        value = (weights[:, None] @ samples)[:, 0]
        violation = value.clamp(low, high) - value
        active = samples * (violation != 0)[:, None]
        weights = weights + torch.linalg.solve(active @ active.mT + firm, (active @ violation[..., None]))[..., 0]
    return weights[:, :-1], weights[:, -1]


def best_sparse(index: Tensor, weights: Tensor, bias: Tensor, problem: Problem) -> FoundForm:
    """Return the weights snapped, with the arithmetic and the bias with which the fewest values differ."""
    h, w = problem.train.inputs.shape[-2:]
    check = problem.val.part(slice(CHECK_IMAGES))
    quantized = problem.train.quantized
    tried = []
    for (grid, values), arithmetic in product(near_grids(weights), SUM_LEVELS if quantized else FLOATS):
        for offset in offsets(bias, arithmetic.rounding):
            layer = Scattered(index, values, offset, (h, w), problem.train.size, arithmetic)
            tried.append((attempt([layer], [check]), grid, layer))
    trial, grid, layer = min(tried, key=lambda entry: entry[0].worth)
    return FoundForm([layer], [{}], [trial], grids={"weights": grid}, notes=[f"{index.shape[1]} weights an output"])


def offsets(bias: Tensor, rounding: str) -> Sequence[Tensor]:
    """Candidates for what is added last, from the bias of a truncating sum."""
    own = bias if rounding in ("truncate", "none") else bias - 0.5
    return own.round(), own.round() + NUDGE, own
