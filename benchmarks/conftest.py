"""Options of the suite, what a result file tells besides times, and which test runs what."""

import os
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
import torch
from contenders import CONTENDERS
from jobs import JOBS

import learned_transforms as lt
from learned_transforms.cli.demo import processor

PACKAGES = (
    "learned_transforms",
    "torch",
    "torchvision",
    "pillow",
    "numpy",
    "albumentations",
    "albumentationsx",
    "kornia",
    "opencv-python-headless",
    "opencv-python",
    "cykooz.resizer",
    "pytest-benchmark",
)
NOT_RUN = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("learned_transforms")
    group.addoption("--device", default="cpu", help="where tensors lie: cpu, cuda, mps, ...")
    group.addoption("--threads", default=None, help="1, all, or a number; by default first 1, then all")
    group.addoption("--quick", action="store_true", help="few rounds: to see that all runs, not to quote")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN] = []
    thread_counts(config)  # A mistake is told before anything runs.


def thread_counts(config: pytest.Config) -> list[int]:
    """The thread counts asked for; a single one on other devices than the CPU, where they hardly matter."""
    everything = os.cpu_count() or 1
    given = config.getoption("threads")
    if given is None:
        return sorted({1, everything}) if config.getoption("device") == "cpu" else [1]
    if given != "all" and not (given.isdecimal() and int(given)):
        raise pytest.UsageError(f"Expected --threads to be a positive number or all, got {given!r}.")
    return [everything if given == "all" else int(given)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every contender of a job in a row, every job under one thread count before the next."""
    if "contender" not in metafunc.fixturenames:
        return
    counts = thread_counts(metafunc.config)
    device = torch.device(metafunc.config.getoption("device"))
    cases = [
        (job.name, contender.name, threads)
        for threads in counts
        for job in JOBS.values()
        # Workers of a DataLoader have one thread each, whatever the count.
        if not job.workers or threads == counts[0]
        for contender in CONTENDERS.values()
        if contender.takes(job, device)
    ]
    metafunc.parametrize("job, contender, threads", cases, ids=["/".join(map(str, case)) for case in cases])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember what was skipped or failed, and why, for the report."""
    report = yield
    if call.excinfo is not None:
        reason = str(call.excinfo.value).partition("\n")[0]
        why = reason if report.skipped else f"failed: {call.excinfo.typename}: {reason}"
        params = item.callspec.params
        item.config.stash[NOT_RUN].append(
            {**params, "title": CONTENDERS[str(params["contender"])].title, "reason": why}
        )
    return report


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """What figures depend on; the machine's own name is nobody's business."""
    machine_info.pop("node", None)
    device = config.getoption("device")
    machine_info["suite"] = {
        "versions": {name: found for name in PACKAGES if (found := installed(name)) is not None},
        "processor": processor(),
        "cpus": os.cpu_count(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "backends": lt.backends(),
        "quick": config.getoption("quick"),
    }


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    output_json["not_run"] = config.stash[NOT_RUN]


def installed(name: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
