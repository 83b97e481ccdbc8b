"""What is told of stages that are done: a line each where there is no terminal, on which bars would move."""

import sys


def tell(line: str, progress: bool) -> None:
    """Print one line to stderr, unless a progress bar on a terminal says the same, or ``progress`` is off."""
    if progress and not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
