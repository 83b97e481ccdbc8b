"""The command line: ``learned-transforms demo | bench | list``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from learned_transforms import list_pretrained
from learned_transforms.certificate import Certificate
from learned_transforms.errors import LearnedTransformsError, MissingExtraError
from learned_transforms.report import demo
from learned_transforms.weights import load


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="learned-transforms", description="Image transforms, learned and certified.")
    commands = made.add_subparsers(dest="command", required=True)
    run = commands.add_parser("demo", help="learn the seed pipeline from scratch, certify it, time it, write a report")
    run.add_argument("--out", type=Path, default=Path("demo_report"), help="folder of the report")
    run.add_argument("--count", type=int, default=4000, help="training images")
    run.add_argument("--certified", type=int, default=400, help="held-out images of each group")
    timing = commands.add_parser("bench", help="time the transforms beside torchvision and other libraries")
    timing.add_argument("--device", default="cpu", help="where tensors lie: cpu, cuda, mps, ...")
    timing.add_argument("--threads", help="1, all, or a number; by default first 1, then all")
    timing.add_argument("--out", type=Path, default=Path("bench_report"), help="folder of the tables and the chart")
    timing.add_argument("--quick", action="store_true", help="few rounds: to see that all runs, not to quote")
    timing.add_argument("-k", metavar="EXPR", default="", help="run only what matches, as in pytest")
    commands.add_parser("list", help="list the shipped weights and their certificates")
    return made


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 1 on a mistake of the user's, told without a traceback."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "demo":
            report = demo(options.out, options.count, options.certified)
            for name, entry in report["certificates"].items():
                print(f"{name:<18} {Certificate.from_json(entry)}")
            print(f"{report['seconds']:.0f} s; report in {options.out / 'index.html'}")
        elif options.command == "bench":
            return bench(options)
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
