"""Training that is stopped, killed or short of room, and goes on as if nothing had happened."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import count, pairwise
from pathlib import Path

import pytest
import torch

from learned_transforms.errors import CheckpointError, LearnedTransformsError, OutputError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.optim.checkpoint import Checkpoint
from learned_transforms.trainer.optim.fit import fit_separable, fit_unstructured, separable
from learned_transforms.trainer.optim.kernel import fit_kernel, kernel_matrices
from learned_transforms.trainer.optim.training import Settings

EPOCHS = 6
FINGERPRINT = {"epochs": EPOCHS, "size": (5, 4), "min_delta": 0.1, "data": "c0ffee"}
MOMENTS = (*range(1, 11), 17, 24)
"""What a kill comes just before, counted over all flushes, renames and deletions of a run."""


def pairs(dtype=torch.float32):
    """Images, and what a fixed map and rounding make of them."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(0, 256, (90, 2, 9, 8), generator=generator).to(dtype)
    rows, columns, weight = (torch.rand(*s, generator=generator).to(dtype) for s in ((5, 9), (4, 8), (1, 2)))
    y = separable(rows / rows.sum(1, True), columns / columns.sum(1, True), weight, torch.zeros(1).to(dtype), x)
    return (x[:70], y[:70].round()), (x[70:], y[70:].round())


def fit_a_kernel(settings):
    truth = Resampling(
        torch.tensor([[1, -0.2, -0.7]]).double(), torch.tensor([0.1, 0.2]).double(), Arithmetic("float64")
    )
    data, held_out = ((x, y[..., :4].clone()) for x, y in pairs(torch.float64))
    parts = [
        (x, separable(*kernel_matrices(truth, x, y), torch.ones(1, 2).double() / 2, torch.zeros(1).double(), x).round())
        for x, y in (data, held_out)
    ]
    layer = Resampling(torch.tensor([[1, -0.9, -0.1]]).double(), torch.zeros(2).double(), Arithmetic("float64"))
    mix = torch.tensor([[0.9, 0.1]]), torch.zeros(1)
    weight, bias, history = fit_kernel(layer, mix, parts[:1], parts[1:], settings)
    return [layer.kernel, layer.shift, weight, bias], history


def fit(kind, settings):
    """The weights and the history of a small fit."""
    if kind == "kernel":
        return fit_a_kernel(settings)
    if kind == "separable":
        layer, history = fit_separable(*pairs(), settings, 0)
    else:
        layer, history = fit_unstructured(kind, *pairs(), 255.0, settings, 0, batch=16)
    return list(layer.parameters()), history


def settings_with(checkpoint=None, log=lambda epoch: None):
    return Settings(EPOCHS, EPOCHS, 0.0, False, log, checkpoint)


def open_checkpoint(folder, resume=True, interval=0.0, **fingerprint):
    """A checkpoint that saves every epoch, unless told otherwise."""
    checkpoint = Checkpoint(folder, {**FINGERPRINT, **fingerprint}, resume, interval)
    checkpoint.rest = 0
    return checkpoint


def plain(history):
    return [{**asdict(epoch), "seconds": None} for epoch in history]


def check_equal(found, expected):
    assert plain(found[1]) == plain(expected[1])
    assert all(a.equal(b) and a.dtype == b.dtype for a, b in zip(found[0], expected[0], strict=True))


def check_resumes(kind, folder, expected):
    """That what a folder holds leads to the uninterrupted result, and then to it again at once."""
    check_equal(fit(kind, settings_with(open_checkpoint(folder))), expected)
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["state.json", "step"]
    epochs = []
    check_equal(fit(kind, settings_with(open_checkpoint(folder), epochs.append)), expected)
    assert epochs == []


class StopError(Exception):
    pass


def stop_after(number, error):
    """A log that raises after so many epochs of its own."""
    epochs = count(1)

    def log(epoch):
        if next(epochs) == number:
            raise error

    return log


KINDS = ["separable", "kernel", "dense", "cnn"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums depend on the number of threads, and small ones are faster with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(one_thread):
    """Uninterrupted fits without a checkpoint, by kind."""
    found = {kind: fit(kind, settings_with()) for kind in KINDS}
    assert [len(history) for _, history in found.values()] == [EPOCHS] * 4
    return found


@pytest.mark.parametrize("number", range(1, EPOCHS + 1))
def test_a_failure_then_resumed(kind, number, whole, tmp_path):
    for _ in range(2):
        with suppress(StopError):
            fit(kind, settings_with(open_checkpoint(tmp_path), stop_after(number, StopError)))
    check_resumes(kind, tmp_path, whole[kind])


def kill_before(moment):
    """Kill this process just before the file system is changed for the n-th time."""
    moments = count(1)

    def guard(owner, name):
        inner = getattr(owner, name)

        def call(*args, **kwargs):
            if next(moments) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*args, **kwargs)

        setattr(owner, name, call)

    for owner, name in ((os, "fsync"), (os, "replace"), (Path, "unlink")):
        guard(owner, name)


def forked(work, delay=None):
    """Run ``work`` in a process of its own, which is killed after ``delay`` seconds, if it does not do so itself."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def be_killed(kind, root):
    """Leave one folder per moment of death under ``root``."""

    def work(name, moment=None):
        kill_before(moment)
        fit(kind, settings_with(open_checkpoint(root / name)))

    ends = [forked(lambda m=moment: work(f"before {m}", m)) for moment in MOMENTS]
    start = time.monotonic()
    ends.append(forked(lambda: work("alive")))
    took = time.monotonic() - start
    for _ in range(4):
        delay = random.uniform(0, took)
        forked(lambda d=delay: work(f"after {d} s"), delay)
    print(json.dumps(ends))


def test_killed_then_resumed(kind, whole, tmp_path):
    command = [sys.executable, __file__, kind, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [*[-signal.SIGKILL] * len(MOMENTS), 0]
    left = {path.name: {p.name for p in path.iterdir()} for path in tmp_path.iterdir()}
    assert left["before 1"] == {"step-00001.safetensors.tmp"}
    assert left["before 3"] == {"step-00001.safetensors", "state.json.tmp"}
    assert left["before 7"] == {"step-00001.safetensors", "step-00002.safetensors", "state.json", "state.json.tmp"}
    for folder in tmp_path.iterdir():
        check_resumes(kind, folder, whole[kind])


def test_ctrl_c_then_resumed(kind, whole, tmp_path):
    settings = settings_with(open_checkpoint(tmp_path, interval=60.0), stop_after(3, KeyboardInterrupt))
    _, history = fit(kind, settings)
    assert plain(history) == plain(whole[kind][1][:3])
    assert settings.interrupt.is_set()
    assert fit(kind, settings)[1] == []
    _, resumed = fit(kind, settings_with(open_checkpoint(tmp_path)))
    assert resumed[:3] == history  # With their seconds.
    assert all(a.seconds < b.seconds for a, b in pairwise(resumed))
    check_resumes(kind, tmp_path, whole[kind])


def interrupted(folder):
    """A checkpoint in the middle of a step."""
    fit("dense", settings_with(open_checkpoint(folder, resume=False), stop_after(3, KeyboardInterrupt)))


def test_another_run_is_not_resumed(whole, tmp_path):
    interrupted(tmp_path)
    open_checkpoint(tmp_path, size=[5, 4])
    with pytest.raises(CheckpointError, match=r"data was 'c0ffee', is 'tea'; epochs was 6, is 7.*start anew") as caught:
        open_checkpoint(tmp_path, epochs=7, data="tea")
    assert str(tmp_path) in str(caught.value)
    assert "size" not in str(caught.value)
    assert isinstance(caught.value, LearnedTransformsError)
    with pytest.raises(CheckpointError, match="seed was 'not given', is None"):
        open_checkpoint(tmp_path, seed=None)
    with pytest.raises(CheckpointError, match=r"size was .5, 4., is 'not given'"):
        Checkpoint(tmp_path, {k: v for k, v in FINGERPRINT.items() if k != "size"}, True)


def test_a_new_start_replaces_what_is_there(whole, tmp_path):
    interrupted(tmp_path)
    before = contents(tmp_path)
    checkpoint = open_checkpoint(tmp_path, resume=False, data="other")
    assert contents(tmp_path) == before
    check_equal(fit("separable", settings_with(checkpoint)), whole["separable"])
    assert list(json.loads((tmp_path / "state.json").read_text())["steps"]) == ["separable #1"]
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_to_resume_is_a_start(whole, tmp_path):
    check_equal(fit("kernel", settings_with(open_checkpoint(tmp_path / "a" / "b"))), whole["kernel"])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def swap(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new))


DAMAGE = {
    "tensors cut": ("step-00001.safetensors", cut),
    "tensors changed": ("step-00001.safetensors", flip_a_byte),
    "tensors missing": ("step-00001.safetensors", Path.unlink),
    "state cut": ("state.json", cut),
    "state empty": ("state.json", lambda path: path.write_bytes(b"")),
    "state binary": ("state.json", lambda path: path.write_bytes(b"\xff\xfe")),
    "state of another kind": ("state.json", lambda path: path.write_text("[1]")),
    "state without steps": ("state.json", swap('"steps"', '"stairs"')),
    "steps of another kind": (
        "state.json",
        lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "steps": [1]})),
    ),
    "state changed": ("state.json", swap('"lr": 0.00', '"lr": 0.01')),
    "another format": ("state.json", swap("checkpoint/1", "checkpoint/2")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen(name, whole, tmp_path):
    interrupted(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "step-00001.safetensors"]
    file, damage = DAMAGE[name]
    damage(tmp_path / file)
    with pytest.raises(CheckpointError, match="damaged or foreign one") as caught:
        open_checkpoint(tmp_path)
    assert f"Delete {tmp_path}," in str(caught.value)
    check_equal(fit("dense", settings_with(open_checkpoint(tmp_path, resume=False))), whole["dense"])
    check_resumes("dense", tmp_path, whole["dense"])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_full_disk(call, number, whole, monkeypatch, tmp_path):
    """At each write of the first and of the second save."""
    calls, inner = count(1), getattr(os, call)

    def fail(*args):
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return inner(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OutputError, match=r"No space left.*Free some space") as caught:
            fit("cnn", settings_with(open_checkpoint(tmp_path)))
    assert isinstance(caught.value, OSError)
    assert str(tmp_path) in str(caught.value)
    expected = [] if number <= 2 else ["state.json", "step-00001.safetensors"]
    assert sorted(contents(tmp_path)) == expected
    check_resumes("cnn", tmp_path, whole["cnn"])


def test_a_file_that_can_be_written_in_part_only(whole, tmp_path):
    interrupted(tmp_path)
    before, (_, hard) = contents(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    settings = settings_with(open_checkpoint(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="File too large"):
            fit("dense", settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert contents(tmp_path) == before
    check_resumes("dense", tmp_path, whole["dense"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    be_killed(sys.argv[1], Path(sys.argv[2]))
