"""The command line: ``learned-transforms demo | bench | list | doctor | certify | apply | retrain``."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from learned_transforms import __version__, list_pretrained
from learned_transforms.artifacts.weights import PACKAGE, Weights, load, packed
from learned_transforms.certificate import TIERS, Certificate
from learned_transforms.cli import commands
from learned_transforms.errors import LearnedTransformsError, MissingExtraError

TEACHER = "package.module:name"
TEACHERS = f"{TEACHER}, an .onnx file, weights, or a command with {{in}} and {{out}}"
MODEL = "a name out of list, a weight file, or a result folder of retrain"
CODES = """
exit codes: 0 all was done; 1 it ran, but images were skipped, a benchmark failed, or a certificate is below --require;
2 a mistake in options or input, told in one line; 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="learned-transforms",
        description="Image transforms as small networks: learned from their own inputs and outputs, and certified.",
        epilog=CODES,
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    added = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (add, about, _) in COMMANDS.items():
        add(added.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=CODES))
    return made


def add_demo(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=Path("demo_report"), help="folder of the report (%(default)s)")
    command.add_argument("--count", type=int, default=4000, metavar="N", help="training images (%(default)s)")
    command.add_argument(
        "--certified", type=int, default=400, metavar="N", help="held-out images of each group (%(default)s)"
    )


def add_bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="where tensors lie: cpu, cuda, mps, ... (%(default)s)")
    command.add_argument("--threads", metavar="N", help="1, all, or a number; by default first 1, then all")
    command.add_argument(
        "--out", type=Path, default=Path("bench_report"), help="folder of the tables and the chart (%(default)s)"
    )
    command.add_argument("--quick", action="store_true", help="few rounds: to see that all runs, not to quote")
    command.add_argument("-k", metavar="EXPR", default="", help="run only what matches, as in pytest")


def add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--json", action="store_true", help="print one JSON object")


def add_list(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object, by name")


def add_certify(command: argparse.ArgumentParser) -> None:
    candidate = command.add_mutually_exclusive_group(required=True)
    candidate.add_argument("model", nargs="?", metavar="MODEL", help=f"{MODEL}, or an .onnx file")
    candidate.add_argument("--against", metavar="TEACHER", help=f"a second teacher, in place of a model: {TEACHERS}")
    command.add_argument("--teacher", metavar="TEACHER", required=True, help=f"what to compare with: {TEACHERS}")
    command.add_argument("--data", metavar="DIR", type=Path, required=True, help="folder of images")
    command.add_argument("--kind", help="how images are given: pil, numpy, uint8 or float32; default: as MODEL does")
    command.add_argument("--count", type=int, metavar="N", help="at most so many images; default: all")
    command.add_argument(
        "--require", choices=TIERS, metavar="TIER", help=f"exit with 1 below this tier: {', '.join(TIERS)}"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_apply(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "source", metavar="SRC", type=Path, help="folder of images, RGB or gray, of 8 bits; others become RGB or fail"
    )
    command.add_argument("destination", metavar="DST", type=Path, help="folder of results: .png, and .npy for floats")
    command.add_argument("--workers", type=int, metavar="N", help="threads; default: one for each processor")
    command.add_argument("--overwrite", action="store_true", help="write results anew that are there already")
    command.add_argument("--allow-approximate", action="store_true", help="take a model certified as approximate only")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_retrain(command: argparse.ArgumentParser) -> None:
    answers = command.add_mutually_exclusive_group(required=True)
    answers.add_argument("--teacher", metavar=TEACHER, help="callable to learn from, or an .onnx file; needs --data")
    answers.add_argument(
        "--command",
        metavar="COMMAND",
        dest="shell",
        help="command to learn from, such as 'vips resize {in} {out} 0.5', of PNG files; needs --data",
    )
    answers.add_argument("--pairs", metavar="CSV_OR_FOLDER", type=Path, help="pairs of input and target to learn from")
    command.add_argument("--data", metavar="DIR", type=Path, help="folder of images for the teacher")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the model")
    command.add_argument("--kind", help="how the teacher takes images: pil, numpy, uint8 or float32")
    command.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="of the training images")
    command.add_argument("--count", type=int, metavar="N", help="training images")
    command.add_argument("--epochs", type=int, metavar="N", help="at most so many in each step")
    command.add_argument(
        "--arch", help="auto, or one family only: separable (free matrices), dense, cnn or local (plain networks)"
    )
    command.add_argument("--seed", type=int, metavar="N", help="of patches, split and first weights")
    command.add_argument("--resume", action="store_true", help="go on where a run into the same folder stopped")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; a mistake in them ends the program with code 2."""
    made = parser()
    options = made.parse_args(arguments)
    if options.command == "retrain" and (options.data is None) != (options.pairs is not None):
        made.error("retrain takes --teacher or --command together with --data, or --pairs alone")
    return options


def bench(options: argparse.Namespace) -> int:
    """Run the benchmark suite, and write ``benchmarks.json``, ``benchmarks.md`` and the chart; 0 if nothing failed.

    Raises:
        MissingExtraError: pytest-benchmark is not installed.
        PipelineValueError: torch has no such device here.
        LearnedTransformsError: the suite is not installed.
    """
    from learned_transforms.trainer.arguments import usable_device

    usable_device(options.device)
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
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        result.unlink(missing_ok=True)  # Older versions of pytest-benchmark write that nothing was timed.
    if result.is_file():
        # The modules of the suite import each other by plain name.
        sys.path.insert(0, str(folder))
        print(import_module("report").write(result, options.out))
    return {pytest.ExitCode.OK: 0, pytest.ExitCode.USAGE_ERROR: 2}.get(pytest.ExitCode(code), 1)


def suite() -> Path:
    """Return where the benchmark suite lies.

    Raises:
        LearnedTransformsError: neither is there.
    """
    found = packed("benchmarks", "test_benchmarks.py")
    if found is None:
        raise LearnedTransformsError(f"Expected the benchmarks in {PACKAGE / 'benchmarks'}. Reinstall the package.")
    return found


def run_demo(options: argparse.Namespace) -> int:
    """Write the demo's report, and print its certificates."""
    from learned_transforms.cli.demo import demo

    report = demo(options.out, options.count, options.certified)
    for name, entry in report["certificates"].items():
        print(f"{name:<18} {Certificate.from_json(entry)}")
    print(f"{report['seconds']:.0f} s; report in {options.out / 'index.html'}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print what each of the shipped weights does, and their certificates."""
    shipped = {name: load(name) for name in list_pretrained()}
    if options.json:
        print(json.dumps({name: entry(made) for name, made in shipped.items()}))
        return 0
    for name, made in shipped.items():
        print(": ".join([name, *filter(None, [made.about.get("description")])]))
        for key, certificate in made.certificates.items():
            print(f"  {key:<24} {certificate}")
    return 0


def entry(weights: Weights) -> dict[str, Any]:
    """Return a weight file's description and certificates, for JSON."""
    certificates = {name: certificate.to_json() for name, certificate in weights.certificates.items()}
    return {"description": weights.about.get("description"), "certificates": certificates}


COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str, Callable[[argparse.Namespace], int]]] = {
    "demo": (add_demo, "learn the seed pipeline from scratch, certify it, time it, and write a report", run_demo),
    "bench": (add_bench, "time the transforms beside torchvision and other libraries", bench),
    "list": (add_list, "list the shipped weights and their certificates", show),
    "doctor": (add_doctor, "certify every shipped layer against what is installed here, in seconds", commands.doctor),
    "certify": (
        add_certify,
        "measure how faithful a model, or a second teacher, is to a teacher",
        commands.certify,
    ),
    "apply": (
        add_apply,
        "run a model over a folder of images; the same command goes on where a killed run stopped",
        commands.apply_model,
    ),
    "retrain": (add_retrain, "learn a model from a teacher, or from pairs of input and target", commands.retrain),
}
"""By name: how its options are added, what it does, and what runs it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code, see ``CODES``. Mistakes are told in one line, without a traceback."""
    options = read(arguments)
    try:
        code = COMMANDS[options.command][2](options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # Who reads the output has seen enough, as in ``| head``; nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except LearnedTransformsError as error:
        return mistake(str(error))
    except OSError as error:
        return mistake(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("learned-transforms: interrupted", file=sys.stderr)
        return 130


def mistake(text: str) -> int:
    """Tell a mistake in one line; gives its exit code."""
    print("learned-transforms:", " ".join(text.split()), file=sys.stderr)
    return 2
