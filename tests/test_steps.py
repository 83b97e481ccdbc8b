"""Single steps of training, on a weight that counts its epochs: stopped, told apart, stored and resumed."""

import errno
import os
import signal

import pytest
import torch
from test_checkpoint import EPOCHS, open_checkpoint, settings_with, stop_after

from learned_transforms.errors import CheckpointError, OutputError
from learned_transforms.trainer.optim.checkpoint import Checkpoint
from learned_transforms.trainer.optim.training import Settings, train


def train_counter(settings, losses, stop=None, name="x"):
    """A weight that counts epochs, and is caught by Ctrl-C in the middle of epoch ``stop``."""
    weight, losses = torch.zeros(1), list(losses)

    def step():
        weight.add_(1)
        if weight == stop:
            signal.raise_signal(signal.SIGINT)
        return 0.0, 0.0

    history = train(name, {"w": weight}, step, lambda: (losses[int(weight) - 1], 0.0), settings)
    return weight.item(), [epoch.val_loss for epoch in history]


@pytest.mark.parametrize("kept", [False, True])
def test_ctrl_c_leaves_the_best_weights_so_far(kept, tmp_path):
    losses = [3.0, float("nan"), 1.0, 2.0, 0.1 + 0.2, 4.0]

    def settings():
        return settings_with(open_checkpoint(tmp_path) if kept else None)

    assert train_counter(settings(), losses, stop=1) == (0, [])
    assert str(train_counter(settings(), losses, stop=3)) == "(1.0, [3.0, nan])"
    assert str(train_counter(settings(), losses, stop=5)) == "(3.0, [3.0, nan, 1.0, 2.0])"
    assert str(train_counter(settings(), losses)) == f"(5.0, {losses})"


def test_an_interrupt_by_hand_ends_training(tmp_path):
    settings = settings_with(open_checkpoint(tmp_path), lambda epoch: settings.interrupt.set())
    assert train_counter(settings, [30.0, 2.0]) == (1, [30.0])
    assert train_counter(settings, [30.0, 2.0]) == (0, [])
    assert train_counter(settings_with(open_checkpoint(tmp_path)), range(9, 0, -1)) == (6, [30.0, 8, 7, 6, 5, 4])


def test_a_step_that_has_stopped_improving_is_not_gone_on_with(tmp_path):
    settings = Settings(9, 2, 0.0, False, stop_after(3, KeyboardInterrupt), open_checkpoint(tmp_path))
    assert train_counter(settings, [1.0, 2.0, 2.0, 0.0]) == (1, [1.0, 2.0, 2.0])
    settings = Settings(9, 2, 0.0, False, lambda epoch: None, open_checkpoint(tmp_path))
    assert train_counter(settings, [1.0, 2.0, 2.0, 0.0]) == (1, [1.0, 2.0, 2.0])


def test_steps_of_one_name_are_told_apart(tmp_path):
    first, second, third = [6.0, 5, 4, 3, 2, 9], [1.0, 5, 4, 3, 2, 9], [1.0, 0, 4, 3, 2, 9]
    settings = settings_with(open_checkpoint(tmp_path))
    assert train_counter(settings, first) == (5, first)
    assert train_counter(settings, second, name="x #1") == (1, second)
    assert train_counter(settings, third, stop=4) == (2, third[:3])
    settings = settings_with(open_checkpoint(tmp_path))
    assert train_counter(settings, []) == (5, first)
    assert train_counter(settings, [], name="x #1") == (1, second)
    assert train_counter(settings, third) == (2, third)
    assert len(list(tmp_path.iterdir())) == 4


def test_fast_epochs_are_not_saved_one_by_one(monkeypatch, tmp_path):
    saved, inner = [], Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda self, *args: (saved.append(args), inner(self, *args)))
    train_counter(settings_with(Checkpoint(tmp_path, {}, False)), range(EPOCHS))
    assert [snapshot.done for _, snapshot in saved] == [True]
    checkpoint = Checkpoint(tmp_path, {}, False, interval=0.0)
    checkpoint.rest = 1e9
    train_counter(settings_with(checkpoint), range(EPOCHS))
    assert [snapshot.done for _, snapshot in saved] == [True, False, True]


@pytest.mark.parametrize("weights", [{"v": torch.zeros(1)}, {"w": torch.zeros(2)}, {"w": torch.zeros(1).double()}])
def test_weights_of_other_shapes_do_not_fit(weights, tmp_path):
    train_counter(settings_with(open_checkpoint(tmp_path)), range(EPOCHS))
    with pytest.raises(CheckpointError, match="expected weights of"):
        train("x", weights, lambda: (0.0, 0.0), lambda: (0.0, 0.0), settings_with(open_checkpoint(tmp_path)))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        train_counter(settings_with(open_checkpoint(tmp_path / "file", resume=False)), range(EPOCHS))


def test_a_full_disk_on_ctrl_c_leaves_the_best_weights(monkeypatch, tmp_path):
    weight = torch.zeros(1)
    settings = settings_with(open_checkpoint(tmp_path, interval=60.0), stop_after(2, KeyboardInterrupt))

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError):
        train("x", {"w": weight}, lambda: (float(weight.add_(1)), 0.0), lambda: (float(weight), 0.0), settings)
    assert weight.item() == 1
    assert settings.interrupt.is_set()
    assert list(tmp_path.iterdir()) == []
