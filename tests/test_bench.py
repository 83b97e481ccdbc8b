"""The benchmark suite: its tables say what was measured, and the command runs it."""

import json
import os
import platform
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from conftest import ROOT

from learned_transforms.cli.main import main
from learned_transforms.errors import DataError

README = "# Title\n\nBefore.\n\n<!-- benchmarks -->\nold | figures\n<!-- /benchmarks -->\n\nAfter.\n"


@pytest.fixture
def suite(monkeypatch):
    """Imports a module of the suite, as its modules import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module


def entry(job, contender, micros, threads=1, images=1, fidelity=(1.0, 0.0), **about):
    measured = None if fidelity is None else dict(zip(("equal", "largest"), fidelity, strict=True))
    info = {
        "job": job,
        "contender": contender,
        "pipeline": f"the job {job}",
        "given": "a tensor",
        "pixels": "32 × 32",
        "summary": True,
        "title": f"the {contender}",
        "threads": threads,
        "images": images,
        "fidelity": measured,
        "compile_seconds": None,
        "loader": False,
        "shares": None,
        "note": "",
        "times_ours": 1.0,
    }
    return {"extra_info": info | about, "stats": {"median": micros * images / 1e6, "iqr": images / 1e6}}


@pytest.fixture
def result():
    about = {
        "versions": {"torch": "2.15.0"},
        "processor": "A CPU",
        "cpus": 4,
        "simd": "AVX2",
        "device": "cpu",
        "backends": {"reference": "available"},
        "quick": False,
    }
    missing = {"job": "seed-64", "contender": "kornia", "threads": 1, "title": "Kornia", "reason": "No module"}
    return {
        "machine_info": {"suite": about},
        "not_run": [missing, {**missing, "job": "resize-hwc"}, {**missing, "threads": 4}],
        "benchmarks": [
            entry("seed-64", "ours", 20.0, images=64),
            entry("seed-64", "v2-batched", 10.0, images=64, fidelity=(0.99999, 1.0), times_ours=0.5),
            entry("seed-64", "v2-compiled", 60.0, images=64, compile_seconds=12.0, times_ours=2.5),
            entry("seed-64", "dense", 40.0, images=64, fidelity=None, note="untrained", times_ours=2.0),
            entry("loader-2", "ours", 500.0, images=256, loader=True, summary=False),
            entry("photo", "ours", 50.0, pixels="640 × 427", shares={"decode": 0.8, "rest": 0.2}),
            entry("photo", "v1-pil", 400.0, pixels="640 × 427", times_ours=8.0),
            entry("photo", "opencv", 100.0, pixels="640 × 427", fidelity=(0.999999, 2.0), times_ours=2.0),
            entry("photo", "kornia", 90.0, pixels="640 × 427", fidelity=(0.5, 90.0), times_ours=6.0),
            entry("photo-1080", "ours", 80.0, pipeline="the job photo", pixels="1920 × 1080", fidelity=(0.995, 1.0)),
            entry("photo-1080", "v1-pil", 800.0, pipeline="the job photo", pixels="1920 × 1080", times_ours=10.0),
            entry("seed-64", "ours", 5.0, threads=4, images=64),
        ],
    }


def cells(text):
    """The cells of each line of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_full_report(suite, result):
    text = suite("report").report(result)
    assert text.count("| job | contender |") == 2
    assert text.index("## 1 thread") < text.index("## 4 threads")
    lines = cells(text)
    job, loader = "the job seed-64, a tensor, 32 × 32", "the job loader-2, a tensor, 32 × 32"
    assert [job, "**the ours**", "20 ± 1", "1", "exact"] in lines
    assert [job, "the v2-batched", "10 ± 1", "0.5", "rounding, 99.99 % equal, largest error 1"] in lines
    assert [job, "the v2-compiled (compiled in 12.0 s)", "60 ± 1", "2.5", "exact"] in lines
    assert [job, "the dense (untrained)", "40 ± 1", "2", "-"] in lines
    assert [loader, "**the ours**", "500 ± 1 (2,000 images/s)", "1", "exact"] in lines
    assert "- the job photo, a tensor, the ours: decode 80 %, rest 20 %." in text
    assert "A CPU, 4 CPUs, AVX2. torch 2.15.0. Backends: reference: available." in text


def test_what_did_not_run_is_named(suite, result):
    report = suite("report")
    line = "- Not run: Kornia, No module (resize-hwc, seed-64)."
    assert report.report(result).count(line) == 1
    assert report.short_table(result).count(line) == 1


def test_readme_block(suite, result, tmp_path, capsys):
    report = suite("report")
    file, readme = tmp_path / "result.json", tmp_path / "README.md"
    file.write_text(json.dumps(result))
    readme.write_text(README)
    report.main([str(file), "--readme", str(readme)])
    once = readme.read_text()
    head, _, seed, photo = cells(once)
    assert (head[0], head[-1]) == ("pipeline", "1920 × 1080: ours, µs; torchvision; fastest other")
    assert seed == ["the job seed-64, 32 × 32", "a tensor", "20", "10", "0.5", "2.5 (the v2-compiled)", "exact", ""]
    fastest, worst = "2 (the opencv, 99.99 % equal)", "rounding, 99.5 % equal, largest error 1"
    assert photo == ["the job photo, 640 × 427", "a tensor", "50", "400", "8", fastest, worst, "80; 10; -"]
    assert "- the job photo, a tensor, the ours: decode 80 %, rest 20 %." in once
    assert once.startswith("# Title\n\nBefore.\n")
    assert once.endswith("\n\nAfter.\n")
    assert "old" not in once
    report.main([str(file), "--readme", str(readme)])
    assert readme.read_text() == once
    assert capsys.readouterr().out.count("# Benchmarks") == 2
    assert (tmp_path / "benchmarks.md").read_text() == report.report(result)
    assert {path.name for path in tmp_path.glob("*.png")} == {"benchmarks_1.png", "benchmarks_4.png"}


def test_a_readme_without_marks_stays_as_it_is(suite, result):
    with pytest.raises(DataError, match="once each, found 0"):
        suite("report").replace_block("no marks", "block")
    result["benchmarks"] = [e for e in result["benchmarks"] if e["extra_info"]["threads"] == 4]
    with pytest.raises(DataError, match="--threads 1"):
        suite("report").short_table(result)


@pytest.mark.parametrize(
    ("measured", "tier"),
    [
        ((1.0, 0.0), "exact"),
        ((0.99, 1.0), "rounding"),
        ((0.989, 1.0), "approximate"),
        ((0.999, 1.5), "approximate"),
        (None, ""),
    ],
)
def test_the_tier_is_that_of_certificates(suite, result, measured, tier):
    result["benchmarks"] = [entry("seed-64", "ours", 20.0, fidelity=measured)]
    assert [row.tier for row in suite("report").rows_of(result)] == [tier]


@pytest.mark.parametrize(
    "name", ["seed-chw", "imagenet-pil", "resize-hwc", "train-hwc", "clip-hwc-1080", "cifar-pil", "mnist-chw"]
)
def test_fidelity_is_told_in_levels(suite, name):
    jobs = suite("jobs")
    job = jobs.JOBS[name]
    target = jobs.expected(job)
    assert jobs.fidelity(target.clone(), job) == {"equal": 1, "largest": 0}
    off = target.clone()
    std = job.settings.std[0] if job.settings.mean else 1
    off[0, 5, 5] += 1 / 255 / std if job.settings.floats else 1
    measured = jobs.fidelity(off, job)
    assert measured["equal"] == pytest.approx(1 - 1 / target.numel())
    assert measured["largest"] == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="as torchvision gives"):
        jobs.fidelity(target.double(), job)


def test_a_prescribed_draw_is_torchvisions(suite):
    jobs = suite("jobs")
    job = jobs.JOBS["train-pil"]
    top, left, height, width = job.prescribed().draw.box
    image = torch.as_tensor(jobs.values(job.source()))[:, top : top + height, left : left + width]
    crop = jobs.from_tensor(image, "pil").resize((224, 224), resample=2)
    target = jobs.expected(job)
    mean, std = (torch.tensor(values)[:, None, None] for values in (job.settings.mean, job.settings.std))
    found = (jobs.values(crop) / 255 - mean) / std
    assert torch.allclose(found.flip(-1) if job.prescribed().draw.horizontal else found, target, atol=1e-5)


def test_a_prescribed_window_is_torchvisions(suite):
    jobs = suite("jobs")
    job = jobs.JOBS["cifar-chw"]
    top, left, height, width = job.prescribed().draw.box
    window = torch.nn.functional.pad(job.source(), (4,) * 4)[:, top : top + height, left : left + width]
    window = window.flip(-1) if job.prescribed().draw.horizontal else window
    mean, std = (torch.tensor(values)[:, None, None] for values in (job.settings.mean, job.settings.std))
    assert torch.allclose((window / 255 - mean) / std, jobs.expected(job), atol=1e-5)


def test_files_hold_photos_of_the_usual_size(suite, tmp_path):
    jobs = suite("jobs")
    paths = jobs.write_files(tmp_path)
    assert len(set(paths)) == jobs.IMAGES
    images = [jobs.DECODERS["pil"](path) for path in (paths[0], paths[-1])]
    assert all((image.mode, image.size) == ("RGB", jobs.SMALL[::-1]) for image in images)
    assert images[0].tobytes() != images[1].tobytes()


def test_small_photos_go_on_in_mirror_images(suite):
    jobs = suite("jobs")
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4)
    found = jobs.mirrored(image, (5, 3))
    assert torch.equal(found, torch.cat([image, image.flip(1)[:, :2]], 1)[..., :3])


def test_every_contender_has_work(suite):
    jobs, contenders = suite("jobs"), suite("contenders")
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for contender in contenders.CONTENDERS.values():
        work = [job for job in jobs.JOBS.values() if contender.takes(job, cpu)]
        assert work, contender.name
        assert any(contender.takes(job, gpu) for job in work) == contender.devices, contender.name
    for job in jobs.JOBS.values():
        takers = [c.name for c in contenders.CONTENDERS.values() if c.takes(job, cpu)]
        assert (takers[0], takers[-1]) == ("ours", "ours-again")
        assert len(set(takers) & set(suite("report").REFERENCES)) == 1, job.name
        assert not (job.workers is not None and any(c.takes(job, gpu) for c in contenders.CONTENDERS.values()))


def test_command(tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "learned_transforms",
        "bench",
        "--quick",
        "--threads",
        "1",
        "--out",
        str(out),
    ]
    run = subprocess.run(
        [*command, "-k", "(seed-chw and (ours or floor or pillow)) or (train-hwc-folder-0 and v2)"],
        cwd=tmp_path,
        # Among several workers of these tests nothing would be timed.
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| seed, uint8 tensor, 32 × 32 | **ours** |" in run.stdout
    assert "warnings" not in run.stdout
    assert "A quick run" in run.stdout
    result = json.loads((out / "benchmarks.json").read_text())
    assert [e["extra_info"]["contender"] for e in result["benchmarks"]] == [
        "ours",
        "ours-reference",
        "floor",
        "ours-again",
        "v2-tensor",
    ]
    assert result["benchmarks"][0]["extra_info"]["fidelity"] == {"equal": 1, "largest": 0}
    parts = result["benchmarks"][-1]["extra_info"]["shares"]
    assert list(parts) == ["decode", "transform", "collate", "rest"]
    assert sum(parts.values()) == pytest.approx(1)
    assert all(share > 0 for share in parts.values())
    assert "node" not in result["machine_info"]
    assert platform.node() not in (out / "benchmarks.md").read_text()
    assert (out / "benchmarks_1.png").stat().st_size > 0
    assert list(tmp_path.iterdir()) == [out]
    run = subprocess.run([*command, "-k", "nothing-of-that-name"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert not (out / "benchmarks.json").exists()


def test_command_without_pytest_benchmark(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)
    assert main(["bench", "--out", str(tmp_path)]) == 2
    assert "pip install 'learned_transforms[bench]'" in capsys.readouterr().err


def test_contenders_take_turns(suite):
    turns, order = suite("test_benchmarks").in_turns, []
    seconds = iter([1.0, 2.0, 4.0, 4.0, 40.0])

    def ours():
        order.append("ours")
        return next(seconds)

    def other():
        order.append("other")
        return 8.0

    assert turns(ours, other, True) == 2
    assert order == ["ours", "other"] * 5
