"""The family of sums of a few separable maps: for linear teachers that one row and one column matrix do not explain."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from learned_transforms.layers.fixed_size import SeparableSum
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.optim.kernel import Sized
from learned_transforms.trainer.optim.training import Score, Settings, score, train
from learned_transforms.trainer.search.problem import CHECK_IMAGES, FoundForm, Problem, attempt, flat
from learned_transforms.trainer.search.prune import SMALL, SMALL_FLOAT, fit_support
from learned_transforms.trainer.search.separable import NOISE_FREE

MOST_TERMS = 4
ROUGH_VALUES, FINE_VALUES = 600_000, 5_000_000
"""Input values that all weights are fitted to, and those that stand out."""

ENOUGH = 0.1
"""Mean square, in levels, that rounding alone leaves, and a little more."""

GAIN = 0.8
"""One term more must leave less than this share of the loss, or the teacher is no such sum."""

PATIENCE, DELTA = 4, 1e-3
FINE_SWEEPS = 3
SHARP_SWEEPS, PUSH, FARTHEST = 10, 0.25, 32.0


def summed(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Sums of more and more terms, as long as each is worth it."""
    yield "sum of separable maps", sum_form(problem)


def sum_form(problem: Problem) -> FoundForm | str:
    pixels = problem.train.inputs[0].numel()
    part, val = (p.part(slice(max(60, ROUGH_VALUES // pixels))) for p in (problem.train, problem.val))
    data, held_out = part.floats(torch.float64), val.floats(torch.float64)
    quantized = problem.train.quantized
    enough = ENOUGH if quantized else NOISE_FREE * float(data[1].square().mean())
    best: SumFit | None = None
    least = float("inf")
    for terms in range(1, MOST_TERMS + 1):
        fit = SumFit(terms, data)
        # A term that is not worth it is not fitted to the end.
        rough = max(enough, fit.loss(held_out) if best is None else least)
        loss = fit.train(data, held_out, problem.settings.gentle(PATIENCE, DELTA * rough), problem)
        if loss > GAIN * least:
            break
        if enough < loss:
            loss = fit.train(data, held_out, problem.settings.gentle(PATIENCE, DELTA * max(enough, loss)), problem)
        best, least = fit, loss
        if loss <= enough:
            break
    if best is None or best.terms == 1:
        unit = problem.unit**2
        return f"one separable map leaves a mean square of {least / unit:.3g} levels, and a sum of two not much less"
    fine = problem.train.part(slice(max(60, FINE_VALUES // pixels))).floats(torch.float64)
    small = SMALL if quantized else SMALL_FLOAT
    for _ in range(FINE_SWEEPS):
        best.sweep(*fine, small)
    if quantized:
        best.sharpen(*fine, small)
    return rounded(best, problem)


def low(levels: Tensor) -> Tensor:
    """Return the least value that is rounded to a level, 0 standing for all below."""
    return torch.where(levels == 0, -torch.inf, levels - 0.5)


def high(levels: Tensor) -> Tensor:
    """Return the largest, 255 standing for all above."""
    return torch.where(levels == 255, torch.inf, levels + 0.5)


class SumFit:
    """Weights of a sum under way.

    Attributes:
        rows, columns: ``[H_out, K * H_in]`` and ``[W_out, K * W_in]``, term after term.
        weight: ``[C_out, K * C_in + 1]``, the bias last.
    """

    def __init__(self, terms: int, data: Sized) -> None:
        x, y = data
        generator = torch.Generator().manual_seed(0)
        self.terms = terms
        self.rows, self.columns = (
            (torch.randn(n_out, terms * n_in, generator=generator, dtype=torch.float64) / n_in).to(x.device)
            for n_out, n_in in zip(y.shape[2:], x.shape[2:], strict=True)
        )
        c_out, c_in = y.shape[1], x.shape[1]
        first = torch.eye(c_out, c_in) if c_out == c_in else torch.full((c_out, c_in), 1 / c_in)
        self.weight = torch.cat([first.repeat(1, terms), torch.zeros(c_out, 1)], 1).to(x)

    def train(self, data: Sized, held_out: Sized, settings: Settings, problem: Problem) -> float:
        """Alternate until validation stops improving; the loss that is left."""
        weights = {"rows": self.rows, "columns": self.columns, "weight": self.weight}

        def validate() -> Score:
            return score(self.predict(held_out[0]), held_out[1])

        def step() -> Score:
            return self.sweep(*data)

        problem.history.extend(train(f"sum of {self.terms}", weights, step, validate, settings))
        return validate()[0]

    def sharpen(self, x: Tensor, y: Tensor, small: float) -> None:
        """Sweep towards values that are rounded to the levels ``y``: a level tells two bounds.

        The few values that violate theirs are pushed farther than that, since the others hold them back; but not so far
        that sweeps would swing.
        """
        least = float("inf")
        kept = self.rows.clone(), self.columns.clone(), self.weight.clone()
        for _ in range(SHARP_SWEEPS):
            made = self.predict(x)
            violation = made.clamp(low(y), high(y)) - made
            loss = float(violation.square().mean())
            if loss >= least:
                break
            least, kept = loss, (self.rows.clone(), self.columns.clone(), self.weight.clone())
            share = float((violation != 0).double().mean())
            self.sweep(x, made + violation * min(FARTHEST, max(1.0, PUSH / max(share, 1e-9))), small)
        for part, best in zip((self.rows, self.columns, self.weight), kept, strict=True):
            part.copy_(best)

    def loss(self, part: Sized) -> float:
        return score(self.predict(part[0]), part[1])[0]

    def split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows ``[K, H_out, H_in]``, columns ``[K, W_out, W_in]`` and channel weights ``[K, C_out, C_in]``."""
        rows, columns, weight = (
            matrix.unflatten(1, (self.terms, -1)).transpose(0, 1)
            for matrix in (self.rows, self.columns, self.weight[:, :-1])
        )
        return rows, columns, weight

    def predict(self, x: Tensor) -> Tensor:
        rows, columns, weight = self.split()
        made = torch.stack(
            [r @ torch.einsum("oc,nchw->nohw", w, x) @ c.T for r, c, w in zip(rows, columns, weight, strict=True)]
        )
        return made.sum(0) + self.weight[:, -1, None, None]

    def sweep(self, x: Tensor, y: Tensor, small: float = 0.0) -> Score:
        """Return least squares for the rows of all terms at once, then the columns, then the channel weights; in place.

        Entries below the share ``small`` of the largest become 0.
        """
        target = y - self.weight[:, -1, None, None]
        _, columns, weight = self.split()
        mixed = [torch.einsum("oc,nchw->nohw", w, x) for w in weight]
        along = torch.cat([plane @ c.T for plane, c in zip(mixed, columns, strict=True)], -2)
        self.rows.copy_(fit_support(along, target, self.rows, small))
        self.rows /= self.rows.abs().sum(1).mean() / self.terms
        along = torch.cat([(r @ plane).mT for plane, r in zip(mixed, self.split()[0], strict=True)], -2)
        self.columns.copy_(fit_support(along, target.mT, self.columns, small))
        self.columns /= self.columns.abs().sum(1).mean() / self.terms
        rows, columns, _ = self.split()
        planes = flat(torch.cat([r @ x @ c.T for r, c in zip(rows, columns, strict=True)], 1))
        wanted = y.transpose(0, 1).flatten(1)
        self.weight.copy_(least_squares(planes, wanted))
        return score(self.weight @ planes, wanted)


def rounded(fit: SumFit, problem: Problem) -> FoundForm:
    """Return the sum with the rounding and the bias with which the fewest values differ."""
    check = problem.val.part(slice(CHECK_IMAGES))
    rows, columns, weight = (part.cpu() for part in fit.split())
    bias = fit.weight[:, -1].cpu()
    plain = problem.train.rounded
    arithmetics = [plain, replace(plain, rounding="half_even")] if problem.train.quantized else [plain]
    biases = [(bias * 2).round() / 2, bias] if problem.train.quantized else [bias]
    layers = [SeparableSum(rows, columns, weight, b, how) for how, b in product(arithmetics, biases)]
    trials = [attempt([layer], [check]) for layer in layers]
    layer = layers[min(range(len(layers)), key=lambda i: trials[i].worth)]
    return FoundForm([layer], [{}], trials, notes=[f"a sum of {fit.terms} separable maps"])
