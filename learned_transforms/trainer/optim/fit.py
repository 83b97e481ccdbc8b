"""The fitting of each kind of network: least squares, bounds on levels, and descent."""

from typing import Any

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Shape
from learned_transforms.layers.fixed_size import Separable, Unstructured
from learned_transforms.trainer.optim.checkpoint import Descent
from learned_transforms.trainer.optim.training import Epoch, Score, Settings, score, train

ENOUGH_INSIDE = 20
"""Samples a feature from which clamped ones may be left out."""

INTERVAL_PATIENCE = 3
"""Newton steps without gain after which weights of intervals are as good as they get."""


def separable(rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor, image: Tensor) -> Tensor:
    """``rows @ (weight . image) @ columns.T + bias`` for images ``[N, C, H, W]``."""
    mixed: Tensor = torch.einsum("oc,nchw->nohw", weight, image)
    return rows @ mixed @ columns.T + bias[:, None, None]


def solve(a: Tensor, b: Tensor) -> Tensor:
    """Return least squares from normal equations, with just enough ridge to survive directions that no image shows."""
    a, b = a.double(), b.double()
    ridge = 1e-10 * a.diagonal().mean() + 1e-30
    solution: Tensor = torch.linalg.solve(a + ridge * torch.eye(len(a), dtype=a.dtype, device=a.device), b)
    return solution


def least_squares(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the matrix ``m`` for which ``m @ inputs`` is nearest to ``targets``; both ``[features, samples]``.

    Products are summed in float64: float32 loses four digits over a million samples.
    """
    inputs, targets = inputs.double(), targets.double()
    return solve(inputs @ inputs.T, inputs @ targets.T).T


def least_squares_inside(inputs: Tensor, targets: Tensor) -> Tensor:
    """As :func:`least_squares`, for each target by itself from those samples in which it is clamped to neither end."""
    rows = []
    for row in targets.double():
        inside = (row > row.min()) & (row < row.max())
        enough = int(inside.sum()) >= ENOUGH_INSIDE * len(inputs)
        rows.append(least_squares(inputs[:, inside] if enough else inputs, row[None, inside] if enough else row[None]))
    return torch.cat(rows)


def fit_intervals(inputs: Tensor, levels: Tensor, iterations: int = 40) -> tuple[Tensor, float]:
    """Weights for which every ``floor(weights @ inputs)`` is its level, by Newton steps on the squared violations.

    Sharper than least squares: a rounded value tells two bounds, and bounds from many images leave little room.

    Args:
        inputs: ``[features, samples]``; a row of ones makes a bias.
        levels: ``[samples]``, 0 and 255 also stand for anything beyond them.

    Returns:
        The weights ``[features]``, and the mean squared violation that remains.
    """
    inputs, levels = inputs.double(), levels.double()
    low = torch.where(levels == 0, -torch.inf, levels)
    high = torch.where(levels == 255, torch.inf, levels + 1)
    weights = least_squares_inside(inputs, levels[None] + 0.5)[0]
    damping = (inputs @ inputs.T) * 1e-6
    best, best_loss, waited = weights, float("inf"), 0
    for _ in range(iterations):
        value = weights @ inputs
        violation = value.clamp(low, high) - value
        loss = float(violation.square().mean())
        improved = loss < best_loss * (1 - 1e-6)
        waited = 0 if improved else waited + 1
        if improved:
            best, best_loss = weights, loss
        violated = violation.nonzero()[:, 0]
        if len(violated) == 0 or waited == INTERVAL_PATIENCE:
            break
        active = inputs[:, violated]
        weights = weights + torch.linalg.solve(active @ active.T + damping, active @ violation[violated])
    return best, best_loss


def fit_separable(
    data: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], settings: Settings, seed: int
) -> tuple[Separable, list[Epoch]]:
    """Return the free separable network, by alternating least squares from random matrices: one epoch solves for each
    in turn.

    It is trained on ``settings.device``, and comes back to the CPU.

    Args:
        data: inputs ``[N, C, H, W]`` and targets ``[N, C', H', W']``, float32, in levels or float units.
        held_out: the same, for validation.
    """
    (x, y), held_out = settings.move(data), settings.move(held_out)
    generator = torch.Generator().manual_seed(seed)
    (c_in, h_in, w_in), (c_out, h_out, w_out) = x.shape[1:], y.shape[1:]
    rows, columns = (
        (torch.randn(n_out, n_in, generator=generator) + 1).to(x) / n_in
        for n_out, n_in in ((h_out, h_in), (w_out, w_in))
    )
    weights = {
        "rows": rows,
        "columns": columns,
        "weight": torch.full((c_out, c_in), 1 / c_in).to(x),
        "bias": torch.zeros(c_out).to(x),
    }

    def step() -> Score:
        mixed = torch.einsum("oc,nchw->nohw", weights["weight"], x)
        target = y - weights["bias"][:, None, None]
        along = (mixed @ weights["columns"].T).permute(2, 0, 1, 3).reshape(h_in, -1)
        found = least_squares(along, target.permute(2, 0, 1, 3).reshape(h_out, -1))
        weights["rows"].copy_(found / found.abs().sum(1).mean())
        along = (weights["rows"] @ mixed).permute(3, 0, 1, 2).reshape(w_in, -1)
        found = least_squares(along, target.permute(3, 0, 1, 2).reshape(w_out, -1))
        weights["columns"].copy_(found / found.abs().sum(1).mean())
        planes = (weights["rows"] @ x @ weights["columns"].T).transpose(0, 1).reshape(c_in, -1)
        planes = torch.cat([planes, torch.ones_like(planes[:1])])
        found = least_squares(planes, y.transpose(0, 1).reshape(c_out, -1))
        weights["weight"].copy_(found[:, :-1])
        weights["bias"].copy_(found[:, -1])
        return score((found.to(planes) @ planes), y.transpose(0, 1).reshape(c_out, -1))

    history = train(
        "separable", weights, step, lambda: score(separable(image=held_out[0], **weights), held_out[1]), settings
    )
    return Separable(
        **{name: value.double().cpu() for name, value in weights.items()}, arithmetic=Arithmetic("float32")
    ), history


def fit_unstructured(
    kind: str,
    data: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    full: float,
    settings: Settings,
    seed: int,
    batch: int = 64,
) -> tuple[Unstructured, list[Epoch]]:
    """Return a plain network, by AdamW with a cosine schedule; trained on ``settings.device``, back on the CPU."""
    (x, y), held_out = settings.move(data), settings.move(held_out)
    shapes: list[Shape] = [tuple(part.shape[1:]) for part in data]  # type: ignore[misc]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Unstructured(kind, shapes[0], shapes[1], full, Arithmetic("float32")).to(x.device)
    layer.requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)

    def step() -> Score:
        losses, largest = 0.0, 0.0
        for index in torch.randperm(len(x), generator=generator).split(batch):
            error = layer(x[index]) - y[index].flatten(1)
            optimizer.zero_grad()
            loss = error.square().mean()
            # Losses are told in levels; gradients are those of values in [0, 1].
            (loss / full**2).backward()
            optimizer.step()
            losses += loss.item() * len(index)
            largest = max(largest, float(error.detach().abs().max()))
        schedule.step()
        return losses / len(x), largest

    def validate() -> Score:
        with torch.no_grad():
            scores = [
                score(layer(a), b.flatten(1))
                for a, b in zip(held_out[0].split(256), held_out[1].split(256), strict=True)
            ]
        sizes = [len(part) for part in held_out[0].split(256)]
        return sum(s[0] * n for s, n in zip(scores, sizes, strict=True)) / sum(sizes), max(s[1] for s in scores)

    weights: dict[str, Any] = dict(layer.named_parameters())
    history = train(kind, weights, step, validate, settings, Descent(optimizer, schedule, generator))
    return layer.requires_grad_(False).cpu(), history
