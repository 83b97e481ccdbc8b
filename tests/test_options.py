"""Options of the public calls: whatever is given, what is refused is refused by an error of this package."""

import inspect
import os
from typing import Any

import numpy as np
import pytest
import torch
from helpers import seed_v2
from PIL import Image
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import LearnedTransformsError, PipelineValueError
from learned_transforms.trainer import EarlyStopping, retrain

ANYTHING: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, 3.5, float("nan"), float("inf"), "", "x", b"b", object(), int, os, lambda value: value),
    *([], [1], (), {}, {"a": 1}, set(), range(3), (28,), (28, "28"), torch.device("cpu"), torch.Generator()),
    *(np.float32(3), np.zeros((3, 4, 5)), torch.zeros(3, 4, 5, dtype=torch.uint8), Image.new("RGB", (9, 9))),
)


def options_of(call):
    """The names of what a call takes by name."""
    return [p.name for p in inspect.signature(call).parameters.values() if p.kind is not p.VAR_KEYWORD]


CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "construct": (lt.LearnedCompose, {"transforms": seed_v2()}),
    "from_pretrained": (lt.LearnedCompose.from_pretrained, {"name": "cifar10_gray28"}),
    "from_processor": (lt.LearnedCompose.from_processor, {"x": {"image_processor_type": "CLIPImageProcessor"}}),
    "explain": (lt.LearnedCompose(seed_v2()).explain, {}),
    "certify": (lt.LearnedCompose(seed_v2()).certify, {"images": []}),
    "unfreeze": (lt.LearnedCompose(seed_v2()).unfreeze, {}),
    "early stopping": (EarlyStopping, {}),
    # Whatever passes meets that there is nothing to learn from.
    "retrain": (retrain, {"teacher": v2.Resize((8, 8)), "data": []}),
}


PAIRS = [(name, option) for name, (call, _) in CALLS.items() for option in options_of(call)]


def refusal(call, given):
    """What a call says if it raises an error of this package; others come through."""
    try:
        call(**given)
    except LearnedTransformsError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize(("name", "option"), PAIRS)
def test_refusals_are_typed(name, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Some are taken for paths.
    call, given = CALLS[name]
    told = [refusal(call, {**given, option: value}) for value in ANYTHING]
    assert any(told)
    assert all(10 < len(text) < 1500 for text in told if text is not None)


def test_per_sample_is_a_flag():
    learned, batch = lt.LearnedCompose(seed_v2()), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for value in ANYTHING:
        told = refusal(lambda per_sample: learned(batch, per_sample=per_sample), {"per_sample": value})
        assert (told is None) == (value is True), value


CONFIGURATIONS = {
    "CLIPImageProcessor": {},
    "DetrImageProcessor": {"pad_size": None},
    "Siglip2ImageProcessor": {"max_num_patches": 64, "patch_size": 16},
    "Qwen2VLImageProcessor": {"temporal_patch_size": 2, "patch_size": 14, "merge_size": 2},
}


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_refusals_of_processors_are_typed(name):
    image = Image.new("RGB", (40, 30))

    def configured(**options):
        lt.LearnedCompose.from_processor({"image_processor_type": name, **options})([image])

    processor = lt.LearnedCompose.from_processor({"image_processor_type": name})
    odd = ("\0", "\ud800", *(value for value in ANYTHING if value is not None))
    told = [refusal(processor, {"images": [image], key: v}) for key in ("device", "return_tensors") for v in odd]
    told += [refusal(configured, {key: value}) for key in CONFIGURATIONS[name] for value in odd]
    assert any(told)
    assert all(10 < len(text) < 1500 for text in told if text is not None)


@pytest.mark.parametrize(
    "path", ["", "a\0b", "a\0b.safetensors", "\ud800", "x/" * 3000 + "y.safetensors", "~nobody-here/x"]
)
def test_paths_that_no_system_takes(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learned = lt.LearnedCompose(seed_v2())
    assert refusal(learned.save_pretrained, {"path": path})
    assert refusal(lt.LearnedCompose.from_pretrained, {"name": path})
    assert refusal(lt.LearnedCompose.from_processor, {"x": path})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [np.zeros(()), np.zeros((9, 9, 3), np.uint8), torch.zeros(3, 9, 9), np.zeros((4, 4))])
def test_what_is_no_batch_of_images(data):
    assert "Expected images [N, " in refusal(lt.LearnedCompose(seed_v2()).certify, {"images": data})


ODD = {
    "meta": (lambda image: image.to("meta"), "Make images on the CPU"),
    "sparse": (lambda image: image.to_sparse(), "image.to_dense()"),
    "rows": (lambda image: image.flatten(0, -2).to_sparse_csr(), "image.to_dense()"),
    "nested": (lambda image: torch.nested.nested_tensor(list(image)), "image.unbind()"),
    "quantized": (lambda image: torch.quantize_per_tensor(image, 0.1, 0, torch.quint8), "image.dequantize()"),
    "complex": (lambda image: image.to(torch.complex64), "image.abs()"),
}
if hasattr(torch.Tensor, "refine_names"):
    ODD["named"] = (lambda image: image.refine_names(*"NCHW"[-image.ndim :]), "image.rename(None)")


@pytest.mark.filterwarnings("ignore:.*(CSR|nested|Named|quantized|quantize_per_tensor).*")
@pytest.mark.parametrize("shape", [(3, 8, 9), (20, 3, 8, 9)], ids=["images", "batch"])
@pytest.mark.parametrize("name", ODD)
def test_tensors_without_plain_values(name, shape):
    make, remedy = ODD[name]
    odd = make(torch.rand(shape))
    data = odd if len(shape) == 4 else [odd]
    told = [
        refusal(lt.LearnedCompose([v2.Resize(5)]).certify, {"images": data}),
        refusal(lt.LearnedCompose([v2.Resize(5)]).certify, {"images": data, "teacher": v2.Resize(5)}),
        refusal(retrain, {"teacher": v2.Resize((4, 4)), "data": data}),
    ]
    if len(shape) == 3:
        told.append(refusal(retrain, {"teacher": None, "data": [(odd, torch.rand(shape))]}))
        told.append(refusal(retrain, {"teacher": None, "data": [(torch.rand(shape), odd)]}))
    assert all(text is not None and "Expected a tensor of real numbers in memory, got" in text for text in told), told
    assert all(remedy in text for text in told)


def test_certify_takes_no_tensor_of_two_dimensions():
    told = refusal(lt.LearnedCompose([v2.Resize(5)]).certify, {"images": [torch.rand(8, 9)]})
    assert told == "Expected an image [..., C, H, W], got (8, 9). Of a gray one [H, W], make image[None]."


@pytest.mark.parametrize("given", [2.0, np.int64(2), True, "2"])
@pytest.mark.parametrize("option", ["epochs", "count", "seed", "patience"])
def test_numbers_of_things_are_integers(option, given):
    with pytest.raises(PipelineValueError, match=f"{option} to be an integer"):
        retrain(v2.Resize((8, 8)), torch.zeros(20, 3, 9, 9, dtype=torch.uint8), progress=False, **{option: given})


@pytest.mark.parametrize("option", ["held_out", "min_delta"])
def test_shares_may_be_no_integers(option):
    with pytest.raises(PipelineValueError, match=f"{option} to be a number"):
        retrain(v2.Resize((8, 8)), [], progress=False, **{option: -0.5})
