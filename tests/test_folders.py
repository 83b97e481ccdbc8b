"""What a pipeline is saved as: a single file, or a folder; and what comes back, or is refused."""

import json
import os

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import Unknown, seed_v2
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.describe import describe, restore
from learned_transforms.errors import (
    ApproximateWeightsError,
    CheckpointError,
    LearnedTransformsError,
    OutputError,
    PipelineTypeError,
    UnknownPretrainedError,
    WeightsError,
)
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.pointwise import Mixing
from learned_transforms.trainer.optim.checkpoint import STATE, Checkpoint, Snapshot, check_sum

IMAGE = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def learned():
    return lt.LearnedCompose(seed_v2())


def test_a_folder_holds_what_hubs_expect(learned, tmp_path):
    path = tmp_path / "not" / "yet" / "mine"
    learned.save_pretrained(path)
    assert sorted(os.listdir(path)) == ["README.md", "certificate.json", "config.json", "model.safetensors"]
    loaded = lt.LearnedCompose.from_pretrained(path)
    assert loaded(IMAGE).equal(learned(IMAGE))
    assert json.loads((path / "config.json").read_text())["pipeline"][0]["transform"] == "v2.Resize"
    certificates = json.loads((path / "certificate.json").read_text())
    assert certificates.keys() == loaded.certificates.keys() >= {"uint8/gray"}
    card = (path / "README.md").read_text()
    assert "# mine" in card
    assert "RandomHorizontalFlip" in card
    assert f"| uint8/gray | {loaded.certificates['uint8/gray'].tier} |" in card
    learned.save_pretrained(path)  # An existing folder is written into.
    assert lt.LearnedCompose.from_pretrained(path / "model.safetensors")(IMAGE).equal(learned(IMAGE))


def test_a_config_that_tells_of_another_pipeline_is_refused(learned, tmp_path):
    learned.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    for changed in (text.replace("28", "29"), "[" * 9000, "{", "[]", "9" * 5000):
        (tmp_path / "config.json").write_text(changed)
        with pytest.raises(WeightsError, match=r"config\.json"):
            lt.LearnedCompose.from_pretrained(tmp_path)
    # What lies beside a single file is not about it.
    lt.LearnedCompose.from_pretrained(tmp_path / "model.safetensors")
    (tmp_path / "config.json").unlink()
    lt.LearnedCompose.from_pretrained(tmp_path)


def test_paths(learned, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    learned.save_pretrained("~/deep/one.safetensors")
    learned.save_pretrained("~/two")
    for name in ("~/deep/one.safetensors", "~/two"):
        assert lt.LearnedCompose.from_pretrained(name)(IMAGE).equal(learned(IMAGE))
    with pytest.raises(WeightsError, match="home"):
        lt.LearnedCompose.from_pretrained("~nobody-of-that-name/x")
    (tmp_path / "a.safetensors").mkdir()
    (tmp_path / "file").write_text("")
    for taken in ("a.safetensors", "file"):
        with pytest.raises(OutputError, match=r"got the (folder|file)") as caught:
            learned.save_pretrained(tmp_path / taken)
        assert isinstance(caught.value, OSError)
    for empty in (tmp_path, "x" * 5000, "nul\0byte"):
        with pytest.raises(UnknownPretrainedError, match="Known names: bicubic_224"):
            lt.LearnedCompose.from_pretrained(empty)
    with pytest.raises(UnknownPretrainedError, match=r"Expected a file model\.safetensors in the folder"):
        lt.LearnedCompose.from_pretrained(tmp_path)


def test_every_name_that_is_listed_loads():
    for name in lt.list_pretrained():
        lt.LearnedCompose.from_pretrained(name)
    assert set(weight_files.shipped_names()) - set(lt.list_pretrained()) == {weight_files.DEFAULT}
    with pytest.raises(WeightsError, match=r"no pipeline\. Pass transforms"):
        lt.LearnedCompose.from_pretrained(weight_files.DEFAULT)


def test_unknown_options_are_named():
    with pytest.raises(PipelineTypeError, match=r"Unexpected keyword 'device'.*allow_approximate, fallback, backend"):
        lt.LearnedCompose.from_pretrained("bicubic_224", device="cpu", color=1)


def refused(learned, path):
    learned.save_pretrained(path)
    with pytest.raises(ApproximateWeightsError, match="not certified"):
        lt.LearnedCompose.from_pretrained(path)
    assert lt.LearnedCompose.from_pretrained(path, allow_approximate=True).certificates.keys() < {"uint8/gray"} | {
        *weight_files.load(weight_files.DEFAULT).certificates
    }


def test_certificates_do_not_outlive_their_weights(learned, tmp_path):
    learned.save_pretrained(tmp_path / "whole.safetensors")
    changed = lt.LearnedCompose.from_pretrained(tmp_path / "whole.safetensors")
    with torch.no_grad():
        changed.layers["uint8/gray"].weight.mul_(1.001)
    refused(changed, tmp_path / "changed.safetensors")
    refused(learned.unfreeze().unfreeze(False), tmp_path / "trained.safetensors")
    # Nor do those of a network, whose params count too.
    network = lt.LearnedCompose.from_pretrained("bicubic_224")
    network.transforms[0].params = ({"size": (9, 9)},)
    refused(network, tmp_path / "network.safetensors")


def test_a_digest_is_of_values_however_they_lie_in_memory():
    weight, bias = torch.rand(1, 4, dtype=torch.float64), torch.rand(1, 4, dtype=torch.float64)[:, 0]
    assert bias.stride() == (4,)
    same, odd, other = (Mixing(weight, value, Arithmetic("float32")) for value in (bias.clone(), bias, bias + 1))
    odd.bias.data = bias
    assert same.digest() == odd.digest() != other.digest()


def test_other_transforms_of_torchvision_are_saved(tmp_path):
    v2_steps = [
        v2.RandomRotation(30, fill=[1, 2, 3], expand=True),
        v2.RandomApply([v2.ElasticTransform(20.0)], p=0.5),
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        v2.RandomAffine(10, translate=[0.1, 0.2], shear=5, interpolation=v2.InterpolationMode.BILINEAR),
        v2.Resize([20, 20]),
    ]
    v1_steps = [v1.RandomPerspective(0.3, 1.0), v1.ElasticTransform(9.0, 0.5), v1.RandAugment(3), v1.Resize([20, 20])]
    for number, steps in enumerate((v2_steps, v1_steps)):
        learned = lt.LearnedCompose(steps, fallback="torchvision")
        learned.save_pretrained(tmp_path / str(number))
        loaded = lt.LearnedCompose.from_pretrained(tmp_path / str(number), fallback="torchvision")
        assert repr(loaded) == repr(learned)
        for seed in range(4):
            torch.manual_seed(seed)
            expected = learned(IMAGE)
            torch.manual_seed(seed)
            assert loaded(IMAGE).equal(expected)


def test_foreign_transforms_are_refused_by_name(tmp_path):
    def shout(image):
        return image

    for foreign, name in ((Unknown(3.0), "Unknown"), (shout, "shout"), (v2.Lambda(shout), "Lambda")):
        with pytest.raises(PipelineTypeError, match=name):
            lt.LearnedCompose([v2.Resize(9), foreign], fallback="torchvision").save_pretrained(tmp_path / "no")
    with pytest.raises(PipelineTypeError, match=r"v2.SanitizeBoundingBoxes cannot be saved: .*shout"):
        describe(v2.SanitizeBoundingBoxes(labels_getter=shout))
    assert not (tmp_path / "no").exists()


def test_numbers_of_any_kind_are_written_down():
    mean, std = torch.tensor([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.125], dtype=np.float32)
    again = restore(json.loads(json.dumps(describe(v2.Normalize(mean, std)))))
    assert torch.equal(torch.stack(list(again.mean)), mean)
    assert again.std == std.tolist()
    assert describe(v2.RandomInvert(np.float32(0.5)))["arguments"] == {"p": 0.5}


def test_a_checkpoint_reads_files_of_its_own_folder_only(tmp_path):
    folder, secret = tmp_path / "run", tmp_path / "step-00001.safetensors"
    checkpoint = Checkpoint(folder, {}, False)
    checkpoint.save(checkpoint.begin("a")[0], Snapshot((), {"x": torch.ones(2)}))
    secret.write_bytes((folder / secret.name).read_bytes())
    assert Checkpoint(folder, {}, True).stored
    state = json.loads((folder / STATE).read_text())
    del state["crc32"]
    for name in (f"../{secret.name}", str(secret), f"./{secret.name}", "state.json", None, 3, ["x"]):
        state["steps"]["a #1"]["file"] = name
        (folder / STATE).write_text(json.dumps({**state, "crc32": check_sum(state)}))
        with pytest.raises(CheckpointError):
            Checkpoint(folder, {}, True)


def test_no_error_text_is_a_novel():
    for wrong in ("x" * 200_000, ["x" * 9] * 50_000):
        error = PipelineTypeError(f"Expected less, got {wrong}. Take less.")
        assert len(str(error)) < 4100
        assert str(error).endswith("Take less.")
        assert str(error).startswith("Expected less")
    assert str(LearnedTransformsError("short")) == "short"
