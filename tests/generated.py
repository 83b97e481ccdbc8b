"""Many generated cases in a row, for the marker `full` and for a person: ``python tests/generated.py SEED COUNT``.

Each case is written before it runs, so that a crash shows which it was; what differs follows, a line each.
"""

import json
import sys
from collections.abc import Callable

import torch
from generated_check import Difference, check
from generated_sources import Case, cases
from hypothesis import HealthCheck, Phase, given, seed, settings

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def drawn(number: int, count: int, do: Callable[[Case], None]) -> None:
    """So many cases of one seed."""

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], **QUIET)
    @given(case=cases())
    def run(case: Case) -> None:
        do(case)

    run()


def main(number: int, count: int) -> None:
    """Try so many cases, and write them and what differs."""
    torch.set_num_threads(1)

    def do(case: Case) -> None:
        print("case", json.dumps(case), sep="\t", flush=True)
        try:
            print("same" if check(case) else "nothing to compare", flush=True)
        except Difference as error:
            print("differs", json.dumps([error.kind, error.detail, *case]), sep="\t", flush=True)

    drawn(number, count, do)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
