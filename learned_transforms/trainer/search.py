"""From a recognised geometry to an exact network: refit the kernel, snap it, select the arithmetic."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.layers import Flipping, Layer, Mixing, Params, Resampling, Separable
from learned_transforms.network import Network
from learned_transforms.trainer.data import every_colour
from learned_transforms.trainer.fit import Epoch, Settings, fit_intervals, least_squares, score, separable
from learned_transforms.trainer.kernel import UNROUNDED, Sized, fit_kernel, kernel_loss
from learned_transforms.trainer.recognise import Geometry, estimate_kernel
from learned_transforms.trainer.snap import snap, snapped

SHAPES = ((1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (4, 3))
"""Kernels from simple to rich: (support, degree)."""

ENOUGH = 1.5
"""A kernel that validates within this factor of the free matrices explains them; a wrong one misses by far more."""

NEAR = 0.15
"""Snapped kernels stay candidates within this relative rise of the loss; the exact arithmetic decides among them."""

REFIT_VALUES = 800_000
REFIT_PATIENCE = 3
RANK_IMAGES = 200
CHECK_IMAGES = 200
HELD_OUT_PROBES = 4
DISPUTED = 64

RESAMPLE_LEVELS = (
    Arithmetic("int", 22, adaptive=True, rounding="half_up", each_pass=True),
    Arithmetic("int", 22, rounding="half_up", each_pass=True),
    Arithmetic("int", 22, rounding="half_up", each_pass=True, tall_first=True),
    Arithmetic("float32", fma=True, rounding="half_even"),
    Arithmetic("float32", rounding="half_even"),
    Arithmetic("float64", rounding="half_even"),
    Arithmetic("float64", rounding="half_up"),
    Arithmetic("float64", rounding="truncate"),
    Arithmetic("float32", fma=True),
)
MIX_LEVELS = (
    *(Arithmetic("int", bits, rounding="half_up") for bits in (8, 14, 15, 16, 20)),
    Arithmetic("float32", fma=True, rounding="truncate"),
    Arithmetic("float32", rounding="truncate"),
    Arithmetic("float32", fma=True, rounding="half_even"),
    Arithmetic("float64", rounding="half_up"),
)
FLOATS = (Arithmetic("float32", fma=True), Arithmetic("float32"), Arithmetic("float64"))
"""Candidate arithmetics, those to prefer among equals first."""

Grid = int | None
"""The denominator of the grid that weights were snapped onto; None: left as trained."""


@dataclass(frozen=True)
class Labelled:
    """Inputs and what a network should make of them.

    Attributes:
        inputs: ``[N, C, H, W]``, uint8 levels or float32.
        targets: ``[N, C', H', W']``, uint8 levels (where the teacher's output is quantised) or float32.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def size(self) -> tuple[int, int]:
        h, w = self.targets.shape[-2:]
        return h, w

    @property
    def quantised(self) -> bool:
        return self.targets.dtype == torch.uint8

    def floats(self, dtype: torch.dtype = torch.float32) -> Sized:
        return self.inputs.to(dtype), self.targets.to(dtype)

    def part(self, index: slice | Tensor) -> "Labelled":
        return Labelled(self.inputs[index], self.targets[index])

    def rich(self, count: int) -> "Labelled":
        """``count`` images with many different values: the rounding errors of the others do not average out."""
        values = self.inputs[:, 0].flatten(1).sort(1).values
        different = (values.diff(dim=1) != 0).sum(1)
        index = (different >= min(64, values.shape[1] // 4)).nonzero()[:count, 0]
        return self.part(index) if len(index) else self.part(slice(count))

    def flip(self, flips: tuple[bool, bool]) -> "Labelled":
        """With targets flipped along (rows, columns)."""
        axes = [axis for axis, on in zip((-2, -1), flips, strict=True) if on]
        return Labelled(self.inputs, self.targets.flip(axes))


Ask = Callable[[Tensor], Labelled]
"""From images ``[N, C, H, W]`` to what the teacher makes of them, flips undone."""


@dataclass(frozen=True)
class Trial:
    """One row of the search table.

    Attributes:
        form: what was tried.
        differing: share of validation values that differ from the teacher's.
        largest: largest error, in the units of the targets.
    """

    form: str
    differing: float
    largest: float


@dataclass(frozen=True)
class Found:
    """A kernel form.

    Attributes:
        layers, params: in order.
        trials: the search table.
        fitted: the kernel before snapping.
        grids: the grid of each kind of weight.
    """

    layers: list[Layer]
    params: list[Params]
    trials: list[Trial]
    fitted: Tensor
    grids: Mapping[str, Grid]


def kernel_form(
    start: Separable,
    geometry: Geometry,
    data: Labelled,
    held_out: Labelled,
    probes: Sequence[Labelled],
    ask: Ask | None,
    settings: Settings,
) -> tuple[Found | str, list[Epoch]]:
    """Refit, snap and select: the kernel form of a separable network.

    Args:
        start: the free network, for the first channel weights.
        geometry: what was recognised in it.
        data, held_out: training and validation pairs of one size.
        probes: pairs of other sizes, where the teacher could be asked.
        ask: the teacher's answers to more images of the training size; None if there are pairs only.
        settings: for the refit.

    Returns:
        The kernel form, or the reason why there is none; and the history.
    """
    data, held_out = data.flip(geometry.flips), held_out.flip(geometry.flips)
    probes = [p.flip(geometry.flips) for p in probes]
    most = max(50, REFIT_VALUES // data.targets[0].numel())
    rich, rich_val = data.rich(most), held_out.rich(most)
    sets = [s.floats(torch.float64) for s in (rich, *(p.part(slice(HELD_OUT_PROBES, None)) for p in probes))]
    val_sets = [s.floats(torch.float64) for s in (rich_val, *(p.part(slice(HELD_OUT_PROBES)) for p in probes))]
    limit = ENOUGH * free_loss(start, geometry, val_sets[0])
    # Second-order steps are there after a few epochs, or not at all.
    patience, min_delta = min(settings.patience, REFIT_PATIENCE), max(settings.min_delta, 1e-3 * limit)
    settings = replace(settings, patience=patience, min_delta=min_delta)
    history: list[Epoch] = []
    for support, degree in SHAPES:
        layer = Resampling(estimate_kernel(geometry, support, degree), geometry.shift, UNROUNDED).to(data.inputs.device)
        weight, bias, epochs = fit_kernel(layer, (start.weight, start.bias), sets, val_sets, settings)
        history += epochs
        if kernel_loss(layer, weight, bias, val_sets[:1])[0] <= limit:
            break
    else:
        return "no kernel explains the matrices", history
    kernels, shift = snap_geometry(layer, weight, bias, sets)
    checks = [held_out.part(slice(CHECK_IMAGES)), *probes]
    best, trials = select(kernels, shift, weight, rich, checks, ask)
    layers = best.layers
    params: list[Params] = [{"size": data.size}, *({} for _ in layers[1:])]
    for axis, on in zip(("vertical", "horizontal"), geometry.flips, strict=True):
        if on:
            layers, params = [*layers, Flipping()], [*params, {"axis": axis}]
    return Found(layers, params, trials, layer.kernel.detach().cpu(), best.grids), history


def free_loss(network: Separable, geometry: Geometry, part: Sized) -> float:
    """Mean squared error of the free matrices, flips undone; at least the rounding of float32."""
    x, y = part
    rows, columns = (
        matrix.flip(0) if flipped else matrix
        for matrix, flipped in zip((network.rows, network.columns), geometry.flips, strict=True)
    )
    rows, columns, weight, bias = (t.detach().to(x) for t in (rows, columns, network.weight, network.bias))
    return max(score(separable(rows, columns, weight, bias, x), y)[0], 1e-12 * float(y.square().mean()))


def snap_geometry(
    layer: Resampling, weight: Tensor, bias: Tensor, sets: Sequence[Sized]
) -> tuple[list[tuple[Grid, Tensor]], Tensor]:
    """The simplest kernels, and the simplest shift, that do as well as the fitted ones; no rounding modelled."""

    def loss(kernel: Tensor, shift: Tensor) -> float:
        return kernel_loss(Resampling(kernel, shift, UNROUNDED), weight, bias, sets)[0]

    floor = 1e-12 * float(sets[0][1].square().mean())
    fitted = layer.kernel.detach()
    shift = snap(layer.shift.detach(), lambda s: loss(fitted, s), 1e-3, floor, 1)[0][1]
    return snap(fitted, lambda k: loss(k, shift), NEAR, floor, 8), shift


@dataclass(frozen=True)
class Candidate:
    """Layers, the grids that their weights are on, and how far they are from the teacher."""

    layers: list[Layer]
    grids: Mapping[str, Grid]
    trial: Trial

    @property
    def worth(self) -> tuple[float, float]:
        """Smaller is better. Errors of a float network below the tolerance are the noise of its arithmetic."""
        return self.trial.differing, self.trial.largest if self.trial.differing else 0.0


def select(
    kernels: Sequence[tuple[Grid, Tensor]],
    shift: Tensor,
    weight: Tensor,
    data: Labelled,
    checks: Sequence[Labelled],
    ask: Ask | None,
) -> tuple[Candidate, list[Trial]]:
    """The kernel, the arithmetic and the channel map with which the fewest values differ; the simplest among equals."""
    tried: list[Candidate] = []
    if is_identity(weight):
        for (grid, kernel), arithmetic in rank(kernels, shift, data, plain=True):
            layers: list[Layer] = [Resampling(kernel, shift, arithmetic)]
            tried.append(Candidate(layers, {"kernel": grid}, attempt(layers, checks)))
    if not any(candidate.trial.differing == 0 for candidate in tried):
        for (grid, kernel), arithmetic in rank(kernels, shift, data, plain=False):
            layer = Resampling(kernel, shift, arithmetic)
            for mixing, mix_grid in mixings(layer, data, checks[0]):
                layers = [layer, mixing]
                tried.append(Candidate(layers, {"kernel": grid, "weight": mix_grid}, attempt(layers, checks)))
    best = min(tried, key=lambda candidate: candidate.worth)
    rivals = [c for c in tried if c.worth == best.worth and c.layers[0] is best.layers[0]]
    if ask is not None and len(rivals) > 1 and data.quantised and data.inputs.shape[1] == 3:
        best = settle(rivals, checks, ask)
    return best, [candidate.trial for candidate in tried]


def settle(rivals: Sequence[Candidate], checks: Sequence[Labelled], ask: Ask) -> Candidate:
    """Of channel maps that no image told apart, the one with which the teacher agrees on the colours they dispute.

    All 2^24 colours are looked at: a few of them can lie on a tie that no photo happens to show.
    """
    colours = every_colour()
    maps = [Labelled(colours, colours) for _ in rivals]
    results = [run(rival.layers[1:], part)[0] for rival, part in zip(rivals, maps, strict=True)]
    disputed = torch.stack([result != results[0] for result in results]).any(0).any(0)
    found = colours[0][:, disputed].T
    if not len(found):
        return rivals[0]
    chosen = found[torch.linspace(0, len(found) - 1, min(len(found), DISPUTED)).long()]
    answers = ask(chosen[:, :, None, None].expand(-1, -1, *checks[0].inputs.shape[-2:]).contiguous())
    return min(rivals, key=lambda rival: attempt(rival.layers, [answers]).differing)


def is_identity(weight: Tensor) -> bool:
    """Whether channels seem to pass unchanged; clamping between passes blurs the fitted weights a little."""
    c_out, c_in = weight.shape
    return c_out == c_in and float((weight.cpu() - torch.eye(c_out)).abs().max()) < 0.02


def rank(
    kernels: Sequence[tuple[Grid, Tensor]], shift: Tensor, data: Labelled, plain: bool, most: int = 4
) -> list[tuple[tuple[Grid, Tensor], Arithmetic]]:
    """The pairs of kernel and arithmetic that leave the smallest error, best first.

    Where channels are mixed (not ``plain``), that is the error behind the best channel map for each.

    Pairs within a few percent of each other keep their order, so that the simpler one comes first.
    """
    part = data.part(slice(-RANK_IMAGES, None))
    scored = []
    for kernel, arithmetic in product(kernels, RESAMPLE_LEVELS if data.quantised else FLOATS):
        output = run([Resampling(kernel[1], shift, arithmetic)], part)
        loss = mismatch(output, part.targets) if plain else fit_mix(flat(output), part.targets)[2]
        scored.append((loss, kernel, arithmetic))
    floor = 1e-9 if data.quantised else 1e-13 * float(part.targets.double().square().mean())
    least = max(min(entry[0] for entry in scored), floor)
    scored.sort(key=lambda entry: max(0, round((entry[0] / least - 1) * 20)))
    return [(kernel, arithmetic) for _, kernel, arithmetic in scored[:most]]


def run(layers: Sequence[Layer], part: Labelled) -> Tensor:
    """The output of layers, the first of which may resample."""
    params: list[Params] = [{"size": part.size} if isinstance(layer, Resampling) else {} for layer in layers]
    result: Tensor = Network(layers, params, "float32")(part.inputs, backend="reference")
    return result


def flat(image: Tensor) -> Tensor:
    """Channels and a row of ones, float64 ``[C + 1, samples]``."""
    planes = image.transpose(0, 1).reshape(image.shape[1], -1).double()
    return torch.cat([planes, torch.ones_like(planes[:1])])


def fit_mix(planes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
    """Channel weights and bias from resampled planes ``[C_in + 1, samples]``, and the loss that they leave.

    For levels, the bias is that of a truncating sum; for floats, the fit is least squares.
    """
    wanted = flat(targets)[:-1]
    if targets.dtype == torch.uint8:
        rows = [fit_intervals(planes, row) for row in wanted]
        found, loss = torch.stack([weights for weights, _ in rows]), max(loss for _, loss in rows)
    else:
        found = least_squares(planes, wanted)
        loss = score(found @ planes, wanted)[0]
    return found[:, :-1].cpu(), found[:, -1].cpu(), loss


def mixings(layer: Resampling, data: Labelled, check: Labelled) -> Iterator[tuple[Mixing, Grid]]:
    """Channel maps to go behind ``layer``: each arithmetic with its best grid."""
    weight, bias, _ = fit_mix(flat(run([layer], data)), data.targets)
    inner = Labelled(run([layer], check), check.targets)
    for arithmetic in MIX_LEVELS if data.quantised else FLOATS:
        centred = bias if arithmetic.rounding in ("truncate", "none") else bias - 0.5
        best: tuple[float, Grid, Mixing] | None = None
        for denominator, values in snapped(weight):
            if arithmetic.number == "int" and (denominator is None or (1 << arithmetic.bits) % denominator):
                continue
            for offset in (torch.round(centred * 2) / 2, centred):
                mixing = Mixing(values, offset, arithmetic)
                worth = mismatch(run([mixing], inner), check.targets)
                if best is None or worth < best[0] * 0.9:
                    best = worth, denominator, mixing
        if best is not None:
            yield best[2], best[1]


def mismatch(output: Tensor, target: Tensor) -> float:
    """Share of levels that differ; for floats the mean squared error, not less than what float32 can say."""
    if target.dtype == torch.uint8:
        return float((output != target).double().mean())
    return max(score(output, target)[0], 1e-14 * float(target.double().square().mean()))


def attempt(layers: Sequence[Layer], checks: Sequence[Labelled]) -> Trial:
    """How far a candidate is from the teacher, over validation pairs and probes together."""
    differing, values, largest = 0, 0, 0.0
    for check in checks:
        error = (run(layers, check).double() - check.targets.double()).abs()
        differing += int((error > (0.0 if check.quantised else 1e-6)).sum())
        values += error.numel()
        largest = max(largest, float(error.max()))
    form = " -> ".join(f"{type(layer).__name__} ({layer.arithmetic})" for layer in layers)
    return Trial(form, differing / values, largest)
