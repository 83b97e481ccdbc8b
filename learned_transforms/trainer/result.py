"""What training gives, and the folder that it is kept in."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from learned_transforms.artifacts.weights import MODEL
from learned_transforms.certificate import Certificate
from learned_transforms.compose import LearnedCompose
from learned_transforms.errors import MissingExtraError, OutputError
from learned_transforms.layers.network import Network
from learned_transforms.trainer.data.sources import Pairs
from learned_transforms.trainer.figures import Example, curves, examples
from learned_transforms.trainer.optim.training import Epoch
from learned_transforms.trainer.search.problem import Trial
from learned_transforms.trainer.search.search import SearchRow
from learned_transforms.trainer.speed import Speed

HELD_OUT = "held out"
"""The group of held-out pairs in a certificate; others are of other sizes."""

SHOWN = 5
"""Examples in the picture: the worst, and the first others."""


@dataclass
class Result:
    """What :func:`retrain` found.

    Attributes:
        transform: the network as a drop-in transform.
        history: one entry per epoch of each step.
        certificate: of ``transform``, on pairs that neither training nor selection has seen.
        certificates: of every form that was found, by family.
        networks: those forms.
        trials: what was tried for the chosen form, each with its validation error.
        table: a baseline, then one row for each family, in the order of the search.
        notes: what was found out on the way, in words.
        fitted: the kernel as fitted, before snapping, if one was recognized.
        family: of the chosen form.
        held_out: the pairs of ``certificate``.
        folder: where all of this was saved, if it was.
        outliers: numbers of the pairs that disagree with the rest, and were left out.
        speed: of ``transform`` beside its teacher, where there is one.
    """

    transform: LearnedCompose
    history: list[Epoch]
    certificate: Certificate
    certificates: dict[str, Certificate]
    networks: dict[str, Network]
    trials: Sequence[Trial] = ()
    table: Sequence[SearchRow] = ()
    notes: list[str] = field(default_factory=list)
    fitted: Tensor | None = None
    family: str = ""
    held_out: Pairs | None = None
    folder: Path | None = None
    outliers: Sequence[int] = ()
    speed: Speed | None = None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result folder: weights, certificate, history, search table, curves, and examples.

        ``LearnedCompose.from_pretrained(folder)`` loads it. Each file is written whole or not at all; pictures are
        left out, with a note, where Matplotlib is not installed.

        Raises:
            OutputError: the folder or a file in it cannot be written.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.transform.save_pretrained(path / MODEL)
            write(path / "certificate.json", as_json(self.certificate.to_json()))
            write(path / "history.json", as_json([asdict(epoch) for epoch in self.history]))
            write(path / "search.json", as_json([row_json(row) for row in self.table]))
            write(path / "search.md", self.page())
            self.draw(path)
        except MissingExtraError as error:
            self.notes.append(f"no pictures: {error}")
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror}). Make room, or choose another folder."
            ) from error
        self.folder = path
        return path

    def draw(self, folder: Path) -> None:
        """Training and validation curves, and Input | Label | Output | Error of the worst pair and a few others."""
        for kind in ("train", "val") if self.history else ():
            replace_by(folder / f"{kind}.png", partial(curves, self.history, kind=kind))
        if self.held_out is None:
            return
        network, pairs = self.networks[self.family], self.held_out
        group, _, number = self.certificate.worst.rpartition(" ")
        worst = int(number) if group == HELD_OUT else 0
        chosen = list(dict.fromkeys([worst, *range(min(SHOWN, len(pairs)))]))[:SHOWN]
        rows = [
            Example(
                "worst" if i == worst and self.certificate.largest else f"pair {i}",
                pairs.inputs[i],
                pairs.targets[i],
                network(pairs.inputs[i]),
            )
            for i in chosen
        ]
        replace_by(folder / "examples.png", lambda path: examples(rows, f"{self.family}: {self.certificate}", path))

    def page(self) -> str:
        """Return the search table and what was found, as Markdown."""
        lines = [f"# {self.family}", "", str(self.certificate), ""]
        if self.certificate.tier == "approximate":
            lines += [
                "**Approximate: it does not replace its teacher, and is loaded only with allow_approximate=True.**",
                "",
            ]
        lines += ["| family | differing | largest error | mean squared error | seconds | |", "| --- " * 6 + "|"]
        for row in self.table:
            trial = row.trial
            figures = (
                "| - | - | - "
                if trial is None
                else f"| {trial.differing:.4%} | {trial.largest:.3g} | {trial.squares:.3g} "
            )
            lines.append(f"| {row.family} {figures}| {row.seconds:.1f} | {row.reason or (trial and trial.form)} |")
        notes = self.notes if self.speed is None else [*self.notes, f"speed: {self.speed}"]
        lines += ["", *(f"- {note}" for note in notes), ""]
        return "\n".join(lines)


def row_json(row: SearchRow) -> dict[str, Any]:
    """Return a row without its network."""
    trial = None if row.trial is None else asdict(row.trial)
    return {"family": row.family, "trial": trial, "reason": row.reason, "seconds": row.seconds}


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    replace_by(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_by(path: Path, make: Callable[[Path], Any]) -> None:
    """Have a file made under another name, then put in its place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        make(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
