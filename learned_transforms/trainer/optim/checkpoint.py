"""Checkpoints: how each step of a training run stands, in a folder that is whole at any moment. Nothing is pickled."""

import json
import os
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from learned_transforms.errors import CheckpointError, OutputError, brief
from learned_transforms.plain import parsed

FORMAT = "learned_transforms checkpoint/1"
STATE = "state.json"
TENSORS = "step-{:05d}.safetensors"
NAMED = re.compile(r"step-\d{5,9}\.safetensors")
"""What that may give: a state that names anything else is foreign, whatever lies there."""

Tensors = Mapping[str, Tensor]
Values = Mapping[str, Any]
"""What JSON can hold; floats come back bit for bit."""

NOTHING: tuple[Tensors, Values] = ({}, {})

UNREADABLE = (AttributeError, KeyError, OSError, RecursionError, RuntimeError, TypeError, ValueError, SafetensorError)
"""What damaged files raise; a RuntimeError comes of tensors of too many dimensions."""


class State(Protocol):
    """What a step goes on from besides its weights, at the end of an epoch."""

    def dump(self) -> tuple[Tensors, Values]: ...
    def load(self, tensors: Tensors, values: Values) -> None: ...


@dataclass(frozen=True)
class Descent:
    """Where gradient descent stands: moments, learning rate, and the generator that orders the images."""

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator

    def dump(self) -> tuple[Tensors, Values]:
        own = self.optimizer.state_dict()
        moments = {f"{n}/{name}": value.clone() for n, part in own["state"].items() for name, value in part.items()}
        values = {"groups": own["param_groups"], "schedule": self.schedule.state_dict()}
        return {**moments, "generator": self.generator.get_state()}, values

    def load(self, tensors: Tensors, values: Values) -> None:
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key in tensors.keys() - {"generator"}:
            number, _, name = key.partition("/")
            moments[int(number)][name] = tensors[key]
        self.generator.set_state(tensors["generator"])
        self.optimizer.load_state_dict({"state": dict(moments), "param_groups": values["groups"]})
        self.schedule.load_state_dict(values["schedule"])


@dataclass(frozen=True)
class Snapshot:
    """How a step stands between two epochs.

    Attributes:
        history: of the epochs so far.
        best: the weights that validated best.
        weights, state: what the next epoch starts from.
        done: there is none.
    """

    history: tuple[dict[str, Any], ...]
    best: Tensors
    weights: Tensors = field(default_factory=dict)
    state: tuple[Tensors, Values] = NOTHING
    done: bool = False

    def result(self) -> "Snapshot":
        """Return what is left to keep of a step that is done."""
        return Snapshot(self.history, self.best, done=True)

    def dump(self) -> tuple[Tensors, Values]:
        groups = {"best": self.best, "weights": self.weights, "state": self.state[0]}
        tensors = {f"{group}/{name}": value for group, own in groups.items() for name, value in own.items()}
        return tensors, {"done": self.done, "history": self.history, "state": self.state[1]}

    @classmethod
    def load(cls, tensors: Tensors, values: Values) -> "Snapshot":
        groups: dict[str, dict[str, Tensor]] = {"best": {}, "weights": {}, "state": {}}
        for key, value in tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        state = groups["state"], values["state"]
        return cls(tuple(values["history"]), groups["best"], groups["weights"], state, values["done"])


class Checkpoint:
    """The steps of one training run, each of them done or in progress.

    A save writes the tensors of one step to a file of their own; then ``state.json``, which names the files that count,
    takes the place of the one before in a single rename; then files that no longer count are deleted. A run that is
    killed leaves the last state or the one before.

    Args:
        folder: made with the first save; for checkpoints only.
        fingerprint: what the result depends on, as JSON: settings, and a hash of the training data.
        resume: go on from what the folder holds, if it holds anything; else start anew, and replace it.
        interval: seconds between saves of a step in progress, at least.

    Raises:
        CheckpointError: what is to be resumed is another run, or unreadable.
    """

    rest = 20
    """Saving pauses for so many times as long as it took, so that large states do not slow down training."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], resume: bool, interval: float = 2.0) -> None:
        self.folder, self.interval = folder, interval
        self.fingerprint: dict[str, Any] = json.loads(json.dumps(dict(fingerprint)))
        self.entries: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, Snapshot] = {}
        self.begun: Counter[str] = Counter()
        self.wait = time.monotonic() + interval
        if resume:
            self.read()

    def begin(self, name: str) -> tuple[str, Snapshot | None]:
        """Return what the next step of that name is called here, since names may recur, and where it was left, if it
        was."""
        self.begun[name] += 1
        key = f"{name} #{self.begun[name]}"
        return key, self.stored.pop(key, None)

    @property
    def due(self) -> bool:
        """Whether it is time to save a step in progress."""
        return time.monotonic() >= self.wait

    def save(self, key: str, snapshot: Snapshot) -> None:
        """Write where a step stands.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        start = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.commit(key, snapshot)
            self.tidy()
        except OSError as error:
            raise OutputError(
                f"Expected room and permission for a checkpoint in {self.folder}, got: {error}. "
                "What was saved before is still there. Free some space, or choose another folder, then resume."
            ) from error
        end = time.monotonic()
        self.wait = end + max(self.interval, self.rest * (end - start))

    def commit(self, key: str, snapshot: Snapshot) -> None:
        """Write the tensors, then the state that names them."""
        path = next(p for p in (self.folder / TENSORS.format(n) for n in count(1)) if not p.exists())
        tensors, values = snapshot.dump()
        content = save_tensors({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
        entry = {"file": path.name, "crc32": zlib.crc32(content), **values}
        entries = {**self.entries, key: entry}
        state = {"format": FORMAT, "fingerprint": self.fingerprint, "steps": entries}
        try:
            write(path, content)
            write(self.folder / STATE, json.dumps({**state, "crc32": check_sum(state)}).encode())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self.entries = entries

    def tidy(self) -> None:
        """Delete what the state does not name: older tensors, and what a killed run was writing."""
        named = {entry["file"] for entry in self.entries.values()}
        for path in self.folder.glob("step-*.safetensors*"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def read(self) -> None:
        """Take over what the folder holds."""
        try:
            state = parsed((self.folder / STATE).read_bytes())
            if state["format"] != FORMAT:
                raise self.damaged(f"expected format {FORMAT!r}, got {state['format']!r:.80}")
            if state.pop("crc32") != check_sum(state):
                raise self.damaged(f"the check sum of {STATE} is wrong")
            self.check_fingerprint(state["fingerprint"])
            self.entries = state["steps"]
            self.stored = {key: self.read_step(entry) for key, entry in self.entries.items()}
        except CheckpointError:
            raise
        except FileNotFoundError as error:
            # Nothing has been saved yet, unless the state names what is not there.
            if self.entries:
                raise self.damaged(error) from error
        except UNREADABLE as error:
            raise self.damaged(error) from error

    def read_step(self, entry: Mapping[str, Any]) -> Snapshot:
        if not NAMED.fullmatch(entry["file"]):
            raise self.damaged(f"{brief(entry['file'])} is no file of a checkpoint")
        content = (self.folder / entry["file"]).read_bytes()
        if zlib.crc32(content) != entry["crc32"]:
            raise self.damaged(f"the check sum of {entry['file']} is wrong")
        return Snapshot.load(load_tensors(content), entry)

    def check_fingerprint(self, stored: Mapping[str, Any]) -> None:
        """Require the settings and data that the stored run was started with."""
        missing = object()
        differing = [
            f"{name} was {stored.get(name, 'not given')!r:.80}, is {self.fingerprint.get(name, 'not given')!r:.80}"
            for name in sorted({*stored, *self.fingerprint})
            if stored.get(name, missing) != self.fingerprint.get(name, missing)
        ]
        if differing:
            raise CheckpointError(
                f"Expected the settings and data of the run that {self.folder} holds a checkpoint of, got others: "
                f"{'; '.join(differing)}. Go back to those, or start anew without resuming."
            )

    def damaged(self, reason: object) -> CheckpointError:
        """Return the error for a checkpoint that cannot be used."""
        why = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else reason
        return CheckpointError(
            f"Expected a readable checkpoint in {self.folder}, got a damaged or foreign one ({why}). "
            f"Delete {self.folder}, or start anew without resuming."
        )


def check_sum(state: Values) -> int:
    return zlib.crc32(json.dumps(state).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
