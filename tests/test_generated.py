"""Generated inputs x pipelines against torchvision under equal seeds, three calls each; see generated_check.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from generated import QUIET
from generated_check import Difference, check
from generated_sources import Case, cases
from generated_values import evaluated
from hypothesis import given, settings

import learned_transforms

HERE = Path(__file__).parent
CHUNK = 1000
"""Cases of one process."""


@settings(max_examples=300, derandomize=True, **QUIET)
@given(case=cases())
def test_generated(case: Case) -> None:
    check(case)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
def test_many_generated(seed: int) -> None:
    """A thousand in a child process each: where it dies, the case that it died of is told."""
    paths = [str(HERE), str(Path(learned_transforms.__file__).parent.parent)]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "generated.py"), str(seed), str(CHUNK)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    lines = [line.partition("\t") for line in ran.stdout.splitlines()]
    tried, differing = ([rest for tag, _, rest in lines if tag == wanted] for wanted in ("case", "differs"))
    assert ran.returncode == 0, f"exit status {ran.returncode} at {tried[-1:]}:\n{ran.stderr[-2000:]}"
    assert len(tried) >= CHUNK
    assert not differing, f"{len(differing)} of {len(tried)} differ, the shortest: {min(differing, key=len)}"


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        ("v2.RandomHorizontalFlip(0)", "values"),
        ("v2.RandomHorizontalFlip(1), v2.RandomHorizontalFlip(0)", "random state"),
        ("v2.RandomHorizontalFlip(1), v2.ToDtype(torch.float32)", "dtype or shape"),
        ("v2.RandomHorizontalFlip(1), tv_tensors.Image", "type"),
        ("v2.RandomHorizontalFlip(1), lambda x: x.mT.contiguous().mT", "layout"),
        ("v2.RandomHorizontalFlip(1), v2.Lambda(lambda x: x / 0 if x.sum() else 1 / 0)", "dtype or shape"),
        ("lambda x: (torch.rand(1), v2.functional.horizontal_flip(x), x.add_(1))[1]", "input modified"),
        ("v2.RandomHorizontalFlip(1), v2.Identity(), lambda x: 1 / 0", "raises"),
    ],
)
def test_check_sees(ours: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that does other things than it should is noticed, whatever it is that differs."""
    real = learned_transforms.LearnedCompose
    other = evaluated(f"[{ours}]")
    monkeypatch.setattr(learned_transforms, "LearnedCompose", lambda transforms: real(other))
    with pytest.raises(Difference) as found:
        check(Case("[v2.RandomHorizontalFlip(1)]", "tensor((3, 4, 5))"))
    assert found.value.kind == kind
