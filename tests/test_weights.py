"""Weight files: whole, checked, and never executed."""

import json
import os
import resource
import shutil
from dataclasses import replace

import pytest
import torch
from helpers import seed_v2
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.errors import (
    ApproximateWeightsError,
    LearnedTransformsError,
    UnknownPretrainedError,
    WeightsError,
)

NAME = "cifar10_gray28"
SHIPPED = ["bicubic_224", NAME, f"{NAME}_upright", "lanczos_224", "torchvision"]


@pytest.fixture
def parts():
    """Tensors and metadata of the shipped file, to be damaged."""
    with safe_open(weight_files.locate(NAME), framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata())  # noqa: SIM118


def refuse(tmp_path, tensors, metadata, match):
    path = tmp_path / "damaged.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match=match):
        lt.LearnedCompose.from_pretrained(path)


def test_every_number_of_the_shipped_file_is_marked():
    loaded = weight_files.load(NAME)
    for key, layer in loaded.layers.items():
        for name, _ in layer.named_parameters():
            assert loaded.provenance[f"{key}.{name}"] == "learned"
        if layer.arithmetic is not None:
            assert loaded.provenance[f"{key}.arithmetic"] == "selected"
    assert set(loaded.about) == {"name", "description", "teachers", "settings", "steps"}
    assert loaded.about["steps"]["uint8"]["history"]


def test_shipped_certificates():
    tiers = {name: certificate.tier for name, certificate in weight_files.load(NAME).certificates.items()}
    for kind in ("uint8", "pil", "float32"):
        assert tiers[f"{kind}/pipeline"] == tiers[f"{kind}/resize_bilinear"] == "exact"
    assert tiers["pil_v2/pipeline"] == "exact"
    assert tiers["uint8_v1/pipeline"] in ("exact", "rounding")
    assert tiers["uint8/gray"] == tiers["pil/gray"] == tiers["uint8_v1/gray"] == "proved"
    assert tiers["uint8/to_float"] == tiers["pil/to_float"] == tiers["uint8_v1/to_float"] == "proved"
    for certificate in weight_files.load(NAME).certificates.values():
        assert {"torch", "torchvision", "pillow", "cpu_capability", "input"} <= set(certificate.reference)


def test_nan_missing_and_extra_weights(parts, tmp_path):
    tensors, metadata = parts
    broken = {**tensors, "uint8/gray.weight": torch.full((1, 3), float("nan"), dtype=torch.float64)}
    refuse(tmp_path, broken, metadata, "NaN or infinite weights in uint8/gray.weight")
    refuse(
        tmp_path,
        {k: v for k, v in tensors.items() if k != "uint8/gray.bias"},
        metadata,
        r"missing \['uint8/gray.bias'\]",
    )
    refuse(tmp_path, {**tensors, "more": torch.zeros(1)}, metadata, r"unexpected \['more'\]")
    refuse(tmp_path, {**tensors, "uint8/gray.bias": torch.zeros(2)}, metadata, "Layer 'uint8/gray' cannot be built")


def test_truncated_and_foreign_files(parts, tmp_path):
    tensors, metadata = parts
    whole = weight_files.locate(NAME).read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="truncated"):
            lt.LearnedCompose.from_pretrained(path)
    refuse(tmp_path, {"weight": torch.zeros(3)}, None, "not written by this library")
    refuse(tmp_path, tensors, {**metadata, "pipeline": "[{"}, "damaged metadata")
    refuse(
        tmp_path,
        tensors,
        {**metadata, "pipeline": json.dumps([{"transform": "os.system", "arguments": {}}])},
        "Expected a transform of torchvision's",
    )
    refuse(tmp_path, tensors, {**metadata, "pipeline": "[]"}, "no pipeline")
    layers = json.loads(metadata["layers"])
    layers["uint8/gray"]["layer"] = "Module"
    refuse(tmp_path, tensors, {**metadata, "layers": json.dumps(layers)}, "another layer, got 'Module'")
    layers["uint8/gray"] = {**layers["uint8/gray"], "layer": "Mixing", "options": {"arithmetic": {"number": "int4"}}}
    refuse(tmp_path, tensors, {**metadata, "layers": json.dumps(layers)}, "Unknown arithmetic")


def test_unknown_names():
    for name in ("nothing", "../etc/passwd", "cifar10_gray28.safetensors.bak"):
        with pytest.raises(UnknownPretrainedError, match=f"Known names: .*{NAME}") as caught:
            lt.LearnedCompose.from_pretrained(name)
        assert isinstance(caught.value, FileNotFoundError)
        assert isinstance(caught.value, LearnedTransformsError)


def test_approximate_weights_are_refused(parts, tmp_path):
    tensors, metadata = parts
    certificates = json.loads(metadata["certificates"])
    certificates["uint8/pipeline"]["tier"] = "approximate"
    path = tmp_path / "poor.safetensors"
    save_file(tensors, path, {**metadata, "certificates": json.dumps(certificates)})
    with pytest.raises(ApproximateWeightsError, match="allow_approximate=True"):
        lt.LearnedCompose.from_pretrained(path)
    assert lt.LearnedCompose.from_pretrained(path, allow_approximate=True)(
        torch.zeros(3, 9, 9, dtype=torch.uint8)
    ).shape == (1, 28, 28)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    lt.LearnedCompose(seed_v2()).save_pretrained(path)
    before = path.read_bytes()

    # A limit on the size of files is a full disk that a test can have.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            lt.LearnedCompose(seed_v2()).save_pretrained(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["mine.safetensors"]


def test_found_beside_or_inside_the_package(tmp_path, monkeypatch):
    shipped = weight_files.folder()
    for place in ("package/weights", "weights"):
        root = tmp_path / place.replace("/", "_")
        (root / "package").mkdir(parents=True)
        shutil.copytree(shipped, root / place)
        monkeypatch.setattr(weight_files, "PACKAGE", root / "package")
        assert weight_files.shipped_names() == SHIPPED
    monkeypatch.setattr(weight_files, "PACKAGE", tmp_path / "nowhere" / "package")
    with pytest.raises(WeightsError, match="Reinstall"):
        weight_files.folder()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("layers", []),
        ("layers", None),
        ("layers", {"uint8/gray": []}),
        ("layers", {"uint8/gray": {"layer": "Mixing"}}),
        ("certificates", []),
        ("certificates", {"uint8/gray": None}),
        ("pipeline", 3),
        ("pipeline", ["v2.Resize"]),
        ("pipeline", {"transform": "v2.Resize"}),
        ("pipeline", [{"network": {"layers": ["uint8/gray"], "params": [], "kind": "uint8"}}]),
        ("pipeline", [{"network": {"layers": ["uint8/gray"], "params": [{}], "kind": "uint8", "output": "foo"}}]),
    ],
)
def test_damaged_metadata_is_a_typed_error(parts, tmp_path, part, value):
    tensors, metadata = parts
    refuse(tmp_path, tensors, {**metadata, part: json.dumps(value)}, "damaged metadata|Expected|cannot be built")


@pytest.mark.parametrize(
    ("name", "value"), [*(("bits", bits) for bits in (-3, 1000, "x", 0, 31, 2.0)), ("small", -1), ("small", 2.0)]
)
def test_impossible_arithmetic_is_refused(parts, tmp_path, name, value):
    tensors, metadata = parts
    layers = json.loads(metadata["layers"])
    layers["pil/gray"]["options"]["arithmetic"][name] = value
    refuse(tmp_path, tensors, {**metadata, "layers": json.dumps(layers)}, "Unknown arithmetic")


def test_weights_of_other_dtypes_are_refused(parts, tmp_path):
    tensors, metadata = parts
    wrong = {**tensors, "uint8/gray.weight": torch.ones(1, 3, dtype=torch.int8)}
    refuse(tmp_path, wrong, metadata, "no floats: uint8/gray.weight")


def test_names_are_strings_or_paths():
    for wrong in (None, 3, b"cifar10_gray28"):
        with pytest.raises(WeightsError, match="name or a path"):
            lt.LearnedCompose.from_pretrained(wrong)


def test_an_uncertified_network_counts_as_approximate(tmp_path):
    from learned_transforms.layers.geometry import Flipping
    from learned_transforms.layers.network import Network

    path = tmp_path / "flip.safetensors"
    flip = Network([Flipping()], [{"axis": "horizontal"}], "uint8", floats=False)
    lt.LearnedCompose([flip]).save_pretrained(path)
    with pytest.raises(ApproximateWeightsError, match="network 0 is not certified"):
        lt.LearnedCompose.from_pretrained(path)


def test_training_a_network_drops_its_certificate():
    from learned_transforms.certificate import measure
    from learned_transforms.layers.geometry import Flipping
    from learned_transforms.layers.network import Network

    same = torch.zeros(1, 1, 2, 2)
    flip = Network([Flipping()], [{"axis": "horizontal"}], "float32")
    flip.certificate = measure([("zeros", same, same)])
    learned = lt.LearnedCompose([flip])
    assert learned.certificates["0"].tier == "exact"
    learned.unfreeze().unfreeze(False)
    assert lt.LearnedCompose(learned.transforms).certificates == {}
    assert flip.certificate is not None


def test_shipped_layers_are_taken_only_if_their_certificates_say_that_they_are_faithful(monkeypatch):
    shipped = weight_files.load(weight_files.DEFAULT)
    poor = {key: replace(shipped.certificates[key], tier="approximate") for key in ("uint8/gray", "pil/resize_bicubic")}
    lacking = {key: found for key, found in shipped.certificates.items() if key != "uint8/hue"}
    doubtful = replace(shipped, certificates={**lacking, **poor})
    monkeypatch.setattr("learned_transforms.runtime.shipped.shipped", lambda: doubtful)
    lt.LearnedCompose([v2.Resize(28), v2.RandomHorizontalFlip()])  # Another role, and none.
    for transform, reason in (
        (v2.Grayscale(), "uint8/gray: approximate"),
        (v2.ColorJitter(hue=0.1), "uint8/hue is not"),
    ):
        with pytest.raises(ApproximateWeightsError, match=reason):
            lt.LearnedCompose([transform])
    with pytest.raises(ApproximateWeightsError, match="pil/resize_bicubic"):
        lt.LearnedCompose.from_processor({"image_processor_type": "CLIPImageProcessor"}, backend="pil")
    monkeypatch.setattr("learned_transforms.runtime.shipped.shipped", lambda: replace(shipped, intact=False))
    with pytest.raises(ApproximateWeightsError, match="changed after it was written"):
        lt.LearnedCompose([v2.Resize(28)])
