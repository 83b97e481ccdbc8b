"""The command line: ``learned-transforms demo | bench | list | doctor | certify | apply | retrain``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from learned_transforms import commands, list_pretrained
from learned_transforms.certificate import Certificate
from learned_transforms.errors import LearnedTransformsError, MissingExtraError
from learned_transforms.weights import load

TEACHER = "package.module:name"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="learned-transforms", description="Image transforms, learned and certified.")
    added = made.add_subparsers(dest="command", required=True)
    run = added.add_parser("demo", help="learn the seed pipeline from scratch, certify it, time it, write a report")
    run.add_argument("--out", type=Path, default=Path("demo_report"), help="folder of the report")
    run.add_argument("--count", type=int, default=4000, help="training images")
    run.add_argument("--certified", type=int, default=400, help="held-out images of each group")
    timing = added.add_parser("bench", help="time the transforms beside torchvision and other libraries")
    timing.add_argument("--device", default="cpu", help="where tensors lie: cpu, cuda, mps, ...")
    timing.add_argument("--threads", help="1, all, or a number; by default first 1, then all")
    timing.add_argument("--out", type=Path, default=Path("bench_report"), help="folder of the tables and the chart")
    timing.add_argument("--quick", action="store_true", help="few rounds: to see that all runs, not to quote")
    timing.add_argument("-k", metavar="EXPR", default="", help="run only what matches, as in pytest")
    added.add_parser("list", help="list the shipped weights and their certificates")
    doctor = added.add_parser("doctor", help="certify every shipped layer against what is installed here, in seconds")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    add_certify(added.add_parser("certify", help="measure a model, or a second teacher, against a teacher"))
    add_apply(added.add_parser("apply", help="run a model over a folder of images; goes on where a killed run stopped"))
    add_retrain(added.add_parser("retrain", help="learn a model from a teacher, or from pairs of input and target"))
    return made


def add_certify(command: argparse.ArgumentParser) -> None:
    candidate = command.add_mutually_exclusive_group(required=True)
    candidate.add_argument("model", nargs="?", metavar="MODEL", help="shipped name, weight file, or result folder")
    candidate.add_argument("--against", metavar=TEACHER, help="a second teacher, in place of a model")
    command.add_argument("--teacher", metavar=TEACHER, required=True, help="callable to compare with")
    command.add_argument("--data", metavar="DIR", type=Path, required=True, help="folder of images")
    command.add_argument("--kind", help="how images are given; default: as the model takes them, else pil")
    command.add_argument("--count", type=int, metavar="N", help="at most so many images; default: all")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_apply(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="shipped name, weight file, or result folder")
    command.add_argument("source", metavar="SRC", type=Path, help="folder of images")
    command.add_argument("destination", metavar="DST", type=Path, help="folder of results")
    command.add_argument("--workers", type=int, metavar="N", help="threads; default: one for each processor")
    command.add_argument("--overwrite", action="store_true", help="write results anew that are there already")
    command.add_argument("--allow-approximate", action="store_true", help="take a model certified as approximate only")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_retrain(command: argparse.ArgumentParser) -> None:
    answers = command.add_mutually_exclusive_group(required=True)
    answers.add_argument("--teacher", metavar=TEACHER, help="callable to learn from; needs --data")
    answers.add_argument("--pairs", metavar="CSV_OR_FOLDER", type=Path, help="pairs of input and target to learn from")
    command.add_argument("--data", metavar="DIR", type=Path, help="folder of images for the teacher")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the model")
    command.add_argument("--kind", help="how the teacher takes images: pil, numpy, uint8 or float32")
    command.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="of the training images")
    command.add_argument("--count", type=int, metavar="N", help="training images")
    command.add_argument("--epochs", type=int, metavar="N", help="at most so many in each step")
    command.add_argument("--arch", help="what to train, see retrain")
    command.add_argument("--seed", type=int, metavar="N")
    command.add_argument("--resume", action="store_true", help="go on where a run into the same folder stopped")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; a mistake in them ends the program with code 2."""
    made = parser()
    options = made.parse_args(arguments)
    if options.command == "retrain" and (options.teacher is None) != (options.data is None):
        made.error("retrain takes --teacher and --data together, or --pairs alone")
    return options


def bench(options: argparse.Namespace) -> int:
    """Run the benchmark suite, and write ``benchmarks.json``, ``benchmarks.md`` and the chart; 0 if nothing failed.

    Raises:
        MissingExtraError: pytest-benchmark is not installed.
        LearnedTransformsError: the suite is not installed.
    """
    if find_spec("pytest") is None or find_spec("pytest_benchmark") is None:
        raise MissingExtraError(
            "Benchmarks need pytest-benchmark. Install it with: pip install 'learned_transforms[bench]'"
        )
    import pytest

    folder = suite()
    options.out.mkdir(parents=True, exist_ok=True)
    result = options.out / "benchmarks.json"
    result.unlink(missing_ok=True)
    given = ["--device", options.device, "-k", options.k, "--benchmark-json", str(result)]
    # Otherwise pytest-benchmark leaves an empty folder where the command was run.
    given += ["--benchmark-storage", str(options.out)]
    given += ["--threads", options.threads] if options.threads else []
    given += ["--quick"] if options.quick else []
    code = pytest.main([str(folder), *given])
    if result.is_file():
        # The modules of the suite import each other by plain name.
        sys.path.insert(0, str(folder))
        print(import_module("report").write(result, options.out))
    return 0 if code == 0 else 1


def suite() -> Path:
    """Where the benchmark suite lies: inside an installed package, beside it in a source tree or editable install.

    Raises:
        LearnedTransformsError: neither is there.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "benchmarks", package.parent / "benchmarks"):
        if (candidate / "test_benchmarks.py").is_file():
            return candidate
    raise LearnedTransformsError(f"Expected the benchmarks in {package / 'benchmarks'}. Reinstall the package.")


def run_demo(options: argparse.Namespace) -> int:
    """Write the demo's report, and print its certificates."""
    from learned_transforms.report import demo

    report = demo(options.out, options.count, options.certified)
    for name, entry in report["certificates"].items():
        print(f"{name:<18} {Certificate.from_json(entry)}")
    print(f"{report['seconds']:.0f} s; report in {options.out / 'index.html'}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the shipped weights and their certificates."""
    for name in list_pretrained():
        print(name)
        for key, certificate in load(name).certificates.items():
            print(f"  {key:<24} {certificate}")
    return 0


COMMANDS = {
    "demo": run_demo,
    "bench": bench,
    "list": show,
    "doctor": commands.doctor,
    "certify": commands.certify,
    "apply": commands.apply_model,
    "retrain": commands.retrain,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 1 on a mistake told without a traceback, 130 if it was interrupted."""
    options = read(arguments)
    try:
        return COMMANDS[options.command](options)
    except LearnedTransformsError as error:
        print(f"learned-transforms: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("learned-transforms: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
