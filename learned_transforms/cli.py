"""The command line: ``learned-transforms demo | list``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from learned_transforms import list_pretrained
from learned_transforms.certificate import Certificate
from learned_transforms.errors import LearnedTransformsError
from learned_transforms.report import demo
from learned_transforms.weights import load


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="learned-transforms", description="Image transforms, learned and certified.")
    commands = made.add_subparsers(dest="command", required=True)
    run = commands.add_parser("demo", help="learn the seed pipeline from scratch, certify it, time it, write a report")
    run.add_argument("--out", type=Path, default=Path("demo_report"), help="folder of the report")
    run.add_argument("--count", type=int, default=4000, help="training images")
    run.add_argument("--certified", type=int, default=400, help="held-out images of each group")
    commands.add_parser("list", help="list the shipped weights and their certificates")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 1 on a mistake of the user's, told without a traceback."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "demo":
            report = demo(options.out, options.count, options.certified)
            for name, entry in report["certificates"].items():
                print(f"{name:<18} {Certificate.from_json(entry)}")
            print(f"{report['seconds']:.0f} s; report in {options.out / 'index.html'}")
        else:
            for name in list_pretrained():
                print(name)
                for key, certificate in load(name).certificates.items():
                    print(f"  {key:<24} {certificate}")
    except LearnedTransformsError as error:
        print(f"learned-transforms: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
