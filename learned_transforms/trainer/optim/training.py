"""Training: epochs, and early stopping with the best weights restored."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from learned_transforms.errors import MissingExtraError, check_number
from learned_transforms.trainer.optim.checkpoint import NOTHING, Checkpoint, Snapshot, State, Tensors

CPU = torch.device("cpu")

Score = tuple[float, float]
"""Mean squared error and largest error."""


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

    def gentle(self, patience: int, min_delta: float) -> "Settings":
        """Return settings for a method that is there after a few epochs, or not at all."""
        return replace(self, patience=min(self.patience, patience), min_delta=max(self.min_delta, min_delta))

    def move(self, pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and targets where training happens."""
        return pairs[0].to(self.device), pairs[1].to(self.device)


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
