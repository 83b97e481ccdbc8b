"""The corpus in figures: what is equal, what falls back and how fast it is, each pipeline against its original."""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # helpers.py

from corpus import CORPUS, Pipeline
from likeness import INPUTS, RAISED, SIZES, WAYS, Inputs, Replacement, calls, copied, outcome, replaced, seeded

TIMED = ((375, 500), (224, 224), (500, 333))
"""Sizes of images that are timed."""


class Line:
    """What is said of one pipeline.

    Attributes:
        differing: the first difference of each kind of input; raising where the original works is told apart.
        raising: the same, where ours raised and the original did not.
        rounding: whether a layer is certified as `rounding`, so that single levels may differ.
        fallbacks: names of the transforms that torchvision runs.
        speed: how many times as fast as the original, the median over inputs; 0: not timed.
    """

    def __init__(self, pipeline: Pipeline, times: int):
        self.differing: list[str] = []
        self.raising: list[str] = []
        self.fallbacks: list[str] = []
        self.rounding = False
        self.speed = 0.0
        best: Replacement | None = None
        for way in WAYS:
            try:
                found = replaced(pipeline.build(), way)
            except Exception as error:  # of whatever type: it is what is reported
                self.raising.append(f"{way}, construction: {type(error).__name__}: {error}")
                continue
            if found is not None:
                # Where a client's own object holds Composes, those are what a person exchanges.
                best = found
                for kind in pipeline.inputs:
                    self.rounding |= found.rounds(kind)
                    self.compare(f"{way}, {kind}", found, pipeline.build, kind)
        if best is None:
            return
        # Of kinds that the original takes; what is said of others is of no use to anyone.
        taken = [kind for kind in pipeline.inputs if not outcome(pipeline.build(), INPUTS[kind](SIZES[0]), 0).raised]
        rows = [row for kind in taken for row in best.rows(kind)]
        self.fallbacks = sorted({name_of(row.transform) for row in rows if row.reason})
        ratios = [
            ratio
            for kind in taken
            for size in TIMED
            if (ratio := faster(best.pipeline, pipeline.build(), INPUTS[kind](size), times))
        ]
        self.speed = statistics.median(ratios) if ratios else 0.0

    @property
    def state(self) -> str:
        """In a word."""
        if self.raising or self.differing:
            return "raises" if self.raising else "differs"
        return "rounds" if self.rounding else "equal"

    def compare(self, label: str, found: Replacement, build: Callable[[], Any], kind: str) -> None:
        """Take down the first size that differs."""
        original = build()
        for size in SIZES:
            text = next(calls(found.pipeline, original, INPUTS[kind](size), rounds=found.rounds(kind)), None)
            if text is not None:
                into = self.raising if RAISED in text else self.differing
                into.append(f"{label} of {size[0]} x {size[1]}: {text}")
                return


def name_of(transform: str) -> str:
    """The class in a repr, torch's or Python's own."""
    text = re.sub(r"^<([\w.]+) .*", r"\1", transform.strip())
    return text.partition("(")[0].rpartition(".")[2]


def faster(found: Any, original: Any, inputs: Inputs, times: int) -> float | None:
    """How many times as fast, all calls together; nothing where a call raises.

    The two take turns, call by call, under equal seeds; seconds are the thread's. No median: it may be a call in which
    a random pipeline does nothing.
    """
    if not times:
        return None
    for pipeline in (found, original):
        outcome(pipeline, copied(inputs), 0)
    spent = [0.0, 0.0]
    for turn in range(times):
        for which, pipeline in enumerate((found, original)):
            given = copied(inputs)
            seeded(turn)
            start = time.thread_time()
            try:
                pipeline(*given)
            except Exception:  # of whatever type the original raises
                if not outcome(original, copied(inputs), turn).raised:
                    raise
                return None
            spent[which] += time.thread_time() - start
    return spent[1] / spent[0]


def main() -> int:
    """Print a line for each pipeline and a summary; 1 where anything differs or raises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pipelines whose name holds this")
    parser.add_argument("--times", type=int, default=15, help="calls that are timed, of each kind and size; 0: none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = {}
    for name, pipeline in CORPUS.items():
        if arguments.only in name:
            line = lines[name] = Line(pipeline, arguments.times)
            state = (
                "raises" if line.raising else "differs" if line.differing else "rounds" if line.rounding else "equal"
            )
            print(f"{name:<48} {state:<8} {line.speed:5.2f}x  {', '.join(line.fallbacks) or '-'}", flush=True)
            for text in (*line.raising, *line.differing):
                print(f"    {text}", flush=True)
    found = list(lines.values())
    clean = [line for line in found if not line.fallbacks]
    print(f"{len(found)} pipelines of {len({CORPUS[name].client for name in lines})} clients")
    for label in ("differing", "raising", "rounding"):
        print(f"{label}: {sum(bool(getattr(line, label)) for line in found)}")
    print(f"without a fallback: {len(clean)}")
    for label, some in (("all", found), ("without a fallback", clean)):
        speeds = [line.speed for line in some if line.speed]
        print(f"median speed-up, {label}: {statistics.median(speeds) if speeds else 0:.2f}")
    return int(any(line.differing or line.raising for line in found))


if __name__ == "__main__":
    raise SystemExit(main())
