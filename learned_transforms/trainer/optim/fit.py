"""Training: epochs, early stopping with the best weights restored, and the fitting of each kind of network."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from learned_transforms.errors import MissingExtraError, check_number
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Shape
from learned_transforms.layers.fixed_size import Separable, Unstructured
from learned_transforms.trainer.optim.checkpoint import NOTHING, Checkpoint, Descent, Snapshot, State, Tensors

CPU = torch.device("cpu")

ENOUGH_INSIDE = 20
"""Samples a feature from which clamped ones may be left out."""

INTERVAL_PATIENCE = 3
"""Newton steps without gain after which weights of intervals are as good as they get."""


class EarlyStopping:
    """Stop when the validation loss has not fallen by more than ``min_delta`` for ``patience`` epochs.

    Args:
        patience: epochs without improvement that are borne.
        min_delta: the least fall that counts as one, in units of the loss.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        check_number("patience", patience, 1)
        check_number("min_delta", min_delta, 0, whole=False)
        self.patience, self.min_delta = patience, min_delta
        self.best = float("inf")
        self.waited = 0

    def improved(self, loss: float) -> bool:
        """Take note of an epoch's validation loss; True if it is the best so far."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        return self.waited >= self.patience


@dataclass(frozen=True)
class Epoch:
    """One line of a history. Losses are mean squared errors; errors are in the units of the targets."""

    step: str
    epoch: int
    train_loss: float
    train_largest: float
    val_loss: float
    val_largest: float
    seconds: float


class Log(Protocol):
    """What is told of each epoch."""

    def __call__(self, epoch: Epoch) -> None: ...


@contextmanager
def tensorboard(log_dir: str | Path | None) -> Iterator[Log]:
    """A log into TensorBoard event files, in the groups Train and Val; silent where ``log_dir`` is None.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if log_dir is None:
        yield lambda epoch: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "log_dir needs TensorBoard. Install it with: pip install 'learned_transforms[tensorboard]'"
        ) from error
    with closing(SummaryWriter(str(log_dir))) as writer:

        def write(epoch: Epoch) -> None:
            for group in ("Train", "Val"):
                for name in ("loss", "largest"):
                    value = getattr(epoch, f"{group.lower()}_{name}")
                    label = "largest error" if name == "largest" else name
                    writer.add_scalar(f"{group}/{label} ({epoch.step})", value, epoch.epoch)

        yield write


@dataclass(frozen=True)
class Settings:
    """How long to train.

    Attributes:
        epochs: at most so many.
        patience, min_delta: see :class:`EarlyStopping`.
        progress: show a progress bar where the output is a terminal.
        log: told of each epoch.
        checkpoint: where steps are kept, and resumed from; None: nowhere.
        interrupt: once set, by Ctrl-C or by hand, training ends with the best weights so far, and none begins.
        device: where free matrices and plain networks are trained; all else is quicker where the pairs lie.
    """

    epochs: int
    patience: int
    min_delta: float
    progress: bool
    log: Log
    checkpoint: Checkpoint | None = None
    interrupt: Event = field(default_factory=Event)
    device: torch.device = CPU

    def move(self, pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and targets where training happens."""
        return pairs[0].to(self.device), pairs[1].to(self.device)


Score = tuple[float, float]
"""Mean squared error and largest error."""


class Run:
    """A step under way. ``now`` is replaced as a whole after each epoch, so that the step can be stopped anywhere."""

    def __init__(self, name: str, weights: Tensors, settings: Settings, state: State | None) -> None:
        self.name, self.weights, self.settings, self.state = name, weights, settings, state
        self.now = self.snapshot((), clone(weights))
        if settings.checkpoint is not None:
            self.key, stored = settings.checkpoint.begin(name)
            if stored is not None:
                self.resume(settings.checkpoint, stored)

    def history(self) -> list[Epoch]:
        return [Epoch(**epoch) for epoch in self.now.history]

    def snapshot(self, history: tuple[dict[str, Any], ...], best: Tensors) -> Snapshot:
        """Return how things stand at the end of an epoch; without a checkpoint, what the result is made of."""
        if self.settings.checkpoint is None:
            return Snapshot(history, best)
        return Snapshot(history, best, clone(self.weights), self.state.dump() if self.state else NOTHING)

    def resume(self, checkpoint: Checkpoint, stored: Snapshot) -> None:
        """Go back to where the step was left."""
        self.now = stored
        try:
            self.history()
            put(stored.best if stored.done else stored.weights, self.weights)
            if self.state and not stored.done:
                self.state.load(*stored.state)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise checkpoint.damaged(error) from error

    def epochs(self, step: Callable[[], Score], validate: Callable[[], Score]) -> None:
        """Train until validation stops improving."""
        settings, history = self.settings, self.history()
        stopping, lowest = EarlyStopping(settings.patience, settings.min_delta), EarlyStopping()
        for epoch in history:
            stopping.improved(epoch.val_loss)
            lowest.improved(epoch.val_loss)
        start = time.perf_counter() - (history[-1].seconds if history else 0.0)
        numbers, hidden = range(len(history) + 1, settings.epochs + 1), None if settings.progress else True
        with tqdm(numbers, self.name, settings.epochs, initial=len(history), disable=hidden) as bar:
            for number in bar:
                if stopping.stop or settings.interrupt.is_set():
                    break
                scores = (*step(), *validate())
                epoch = Epoch(self.name, number, *scores, time.perf_counter() - start)
                stopping.improved(epoch.val_loss)
                best = clone(self.weights) if lowest.improved(epoch.val_loss) else self.now.best
                self.now = self.snapshot((*self.now.history, asdict(epoch)), best)
                settings.log(epoch)
                bar.set_postfix(loss=f"{epoch.val_loss:.4g}", largest=f"{epoch.val_largest:.3g}")
                if settings.checkpoint is not None and settings.checkpoint.due:
                    settings.checkpoint.save(self.key, self.now)

    def end(self) -> None:
        """Put the best weights back, in place, and store them; a step that was interrupted stays in progress."""
        put(self.now.best, self.weights)
        if self.settings.checkpoint is not None:
            interrupted = self.settings.interrupt.is_set()
            self.settings.checkpoint.save(self.key, self.now if interrupted else self.now.result())


def train(
    name: str,
    weights: Tensors,
    step: Callable[[], Score],
    validate: Callable[[], Score],
    settings: Settings,
    state: State | None = None,
) -> list[Epoch]:
    """Run ``step`` until validation stops improving, then put the best ``weights`` back, in place.

    A step that the checkpoint holds is taken up where it was left. Ctrl-C ends it early, with the best weights so far.

    Raises:
        CheckpointError: the checkpoint does not fit. OutputError: it cannot be written.
    """
    if settings.interrupt.is_set():
        return []
    run = Run(name, weights, settings, state)
    if not run.now.done:
        try:
            run.epochs(step, validate)
            run.end()
        except KeyboardInterrupt:
            settings.interrupt.set()
            run.end()
    return run.history()


def clone(weights: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in weights.items()}


def put(values: Tensors, weights: Tensors) -> None:
    """Copy values into weights, in place."""
    expected, found = ({name: (*v.shape, v.dtype) for name, v in part.items()} for part in (weights, values))
    if expected != found:
        raise ValueError(f"expected weights of {expected}, got {found}")
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(values[name])


def score(prediction: Tensor, target: Tensor) -> Score:
    error = prediction - target
    return float(error.square().mean()), float(error.abs().max())


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
