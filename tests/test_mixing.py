"""MixUp and CutMix: torchvision's contract, values and draws, alone, behind layers and in containers."""

import json
import pickle

import pytest
import torch
from helpers import compare, seeded, states
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import InputTypeError, OperationError, PipelineTypeError, PipelineValueError
from learned_transforms.kernels import cpu

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 10
BOTH = pytest.mark.parametrize("kind", [v2.MixUp, v2.CutMix])
NATIVE = pytest.mark.skipif(cpu.MISSING is not None, reason="no native extension")


def batch_of(count=6, size=(20, 24), channels=3):
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return torch.randn(count, channels, *size, generator=generator), labels


def check(transforms, *inputs, seeds=4):
    """As torchvision, without a fallback: values to the last bit, classes, layout, random state, inputs left alone."""
    learned = lt.LearnedCompose(transforms, fallback="error")
    before = [value.clone() for value in inputs if isinstance(value, torch.Tensor)]
    for seed in range(seeds):
        seeded(seed)
        expected = v2.Compose(transforms)(*inputs)
        state = states()
        seeded(seed)
        found = learned(*inputs)
        assert states() == state
        flat, structure = torch.utils._pytree.tree_flatten(found)
        wanted, same = torch.utils._pytree.tree_flatten(expected)
        assert structure == same
        for one, other in zip(flat, wanted, strict=True):
            if not isinstance(other, torch.Tensor):
                assert one == other
                continue
            compare(one, other, "exact")
            assert torch.equal(one, other)
            assert one.stride() == other.stride()
    after = [value for value in inputs if isinstance(value, torch.Tensor)]
    assert all(one.equal(other) for one, other in zip(before, after, strict=True))
    return learned


LAYOUTS = {
    "plain": lambda images: images,
    "image": tv_tensors.Image,
    "channels last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "part": lambda images: images[:, :, 2:17, 3:],
    "turned": lambda images: images.transpose(2, 3),
    "every other": lambda images: images[::2],
    "float64": lambda images: images.double(),
    "float16": lambda images: images.half(),
    "bfloat16": lambda images: images.bfloat16(),
    "video": lambda images: tv_tensors.Video(images[:, None].repeat(1, 4, 1, 1, 1)),
    "one row": lambda images: images[..., :1, :],
    "offset": lambda images: torch.cat([images[:1], images])[1:],
}


@BOTH
@pytest.mark.parametrize("layout", LAYOUTS)
def test_batches_are_mixed_as_in_torchvision(kind, layout):
    for count in (1, 2, 6):
        images, labels = batch_of(count)
        images = LAYOUTS[layout](images)
        for alpha in (0.2, 1.0, 5.0):
            check([kind(alpha=alpha, num_classes=CLASSES)], images, labels[: len(images)], seeds=2)


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (32, 32), (129, 131), (224, 224)])
def test_sizes(kind, size):
    for count in (2, 5):
        images, labels = batch_of(count, size)
        check([kind(num_classes=CLASSES)], images, labels)
        check([kind(num_classes=CLASSES)], images[:, :1], labels, seeds=1)


@NATIVE
@pytest.mark.parametrize("simd", cpu.instructions() or ["portable"])
@pytest.mark.parametrize("threads", [1, 3])
def test_native_sums_round_as_torchs(simd, threads):
    images = torch.cat([batch_of(4, (157, 211))[0], torch.zeros(1, 3, 157, 211)]) * 1e3
    images[0, 0, 0, :4] = torch.tensor([float("inf"), float("-inf"), float("nan"), 1e-42])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with cpu.forced(simd):
            for share in (0.0, 0.1, 1 / 3, 0.999999, 1.0):
                expected = images.roll(1, 0).mul_(1.0 - share).add_(images.mul(share))
                assert torch.allclose(cpu.mix_batch(images, share), expected, rtol=0, atol=0, equal_nan=True)
    finally:
        torch.set_num_threads(before)


def test_levels_are_pasted_and_not_mixed():
    images, labels = batch_of()
    levels = (images * 50 + 128).to(torch.uint8)
    check([v2.CutMix(num_classes=CLASSES)], levels, labels)
    with pytest.raises(RuntimeError, match="float images"):
        lt.LearnedCompose([v2.MixUp(num_classes=CLASSES)])(levels, labels)


def test_images_without_pixels():
    images, labels = batch_of()
    check([v2.MixUp(num_classes=CLASSES)], images[..., :0], labels)
    check([v2.MixUp(num_classes=CLASSES)], images[:0], labels[:0])


@BOTH
def test_behind_layers(kind):
    images, labels = batch_of()
    levels = (images * 50 + 128).clamp(0, 255).to(torch.uint8)
    start = [v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    learned = check([*start, kind(num_classes=CLASSES)], levels, labels)
    rows = learned.explain("uint8").rows
    assert [row.reason for row in rows] == [""] * 4
    assert rows[-1].numbers == {"alpha": "given", "num_classes": "given"}
    check([*start, v2.RandomChoice([kind(num_classes=CLASSES), v2.MixUp(num_classes=CLASSES)])], levels, labels)
    check([*start, v2.RandomErasing(1), kind(num_classes=CLASSES), v2.RandomVerticalFlip()], levels, labels)


@BOTH
def test_labels_of_any_kind(kind):
    images, labels = batch_of()
    chances = torch.rand(len(images), CLASSES)
    for given in (chances, chances.double(), chances > 0.5, torch.nn.functional.one_hot(labels, CLASSES)):
        check([kind()], images, given)
        check([kind(num_classes=CLASSES)], images, given)
    check([kind(num_classes=CLASSES)], {"image": images, "labels": labels, "path": "a"})
    check([kind(num_classes=CLASSES, labels_getter=lambda sample: sample[2])], images, "between", labels)
    check([kind(num_classes=CLASSES)], tv_tensors.Image(images), labels, torch.rand(3))


def test_one_of_both():
    """As torchvision's documentation has it."""
    images, labels = batch_of()
    mix = [v2.CutMix(num_classes=CLASSES), v2.MixUp(num_classes=CLASSES)]
    for container in (v2.RandomChoice(mix), v2.RandomApply([mix[1]], 0.5), v2.RandomOrder([mix[1], v2.CutMix()][:1])):
        learned = check([container], images, labels, seeds=8)
    rows = lt.LearnedCompose([v2.RandomChoice(mix)]).explain("float32").rows
    assert [row.transform.strip().partition("(")[0] for row in rows] == ["RandomChoice", "CutMix", "MixUp"]
    assert learned.fallback == "error"


def test_in_a_collate_function():
    mix = lt.LearnedCompose([v2.RandomChoice([v2.CutMix(num_classes=CLASSES), v2.MixUp(num_classes=CLASSES)])])
    images, labels = batch_of(8)
    loader = torch.utils.data.DataLoader(
        list(zip(images, labels.tolist(), strict=True)), batch_size=4, collate_fn=lambda b: mix(*default_collate(b))
    )
    for made, target in loader:
        assert made.shape == (4, 3, 20, 24)
        assert target.shape == (4, CLASSES)


WRONG = {
    "no classes": ({}, lambda x, y: (x, y)),
    "too few classes": ({"num_classes": 3}, lambda x, y: (x, y)),
    "other classes": ({"num_classes": 3}, lambda x, y: (x, torch.rand(len(x), 5))),
    "no labels": ({"num_classes": CLASSES}, lambda x, y: (x,)),
    "labels of None": ({"num_classes": CLASSES, "labels_getter": None}, lambda x, y: (x, y)),
    "labels in a list": ({"num_classes": CLASSES}, lambda x, y: (x, y.tolist())),
    "labels of three axes": ({"num_classes": CLASSES}, lambda x, y: (x, torch.rand(6, 2, 3))),
    "fewer labels": ({"num_classes": CLASSES}, lambda x, y: (x, y[:3])),
    "one image": ({"num_classes": CLASSES}, lambda x, y: (x[0], y)),
    "a batch of batches": ({"num_classes": CLASSES}, lambda x, y: (x[None], y[:1])),
    "float labels": ({"num_classes": CLASSES}, lambda x, y: (x, y.float())),
    "masks": ({"num_classes": CLASSES}, lambda x, y: (tv_tensors.Image(x), y, tv_tensors.Mask(y))),
    "a PIL image": ({"num_classes": CLASSES}, lambda x, y: (v2.functional.to_pil_image(x[0]), y)),
}


@BOTH
@pytest.mark.parametrize("name", WRONG)
def test_what_torchvision_refuses(kind, name):
    arguments, inputs_of = WRONG[name]
    transform, inputs = kind(**arguments), inputs_of(*batch_of())
    seeded(0)
    with pytest.raises((TypeError, ValueError, RuntimeError)) as theirs:
        transform(*inputs)
    state = states()
    seeded(0)
    with pytest.raises(theirs.type, match="labels") as ours:
        lt.LearnedCompose([transform], fallback="error")(*inputs)
    assert states() == state
    assert isinstance(ours.value, OperationError)
    assert kind.__name__ in str(ours.value)


def test_errors_of_ones_own_function_stay_what_they_are():
    class NoTargetError(ValueError):
        pass

    def find(sample):
        raise NoTargetError("target")

    with pytest.raises(NoTargetError, match=r"^target$"):
        lt.LearnedCompose([v2.MixUp(num_classes=CLASSES, labels_getter=find)])(*batch_of())


def test_each_image_by_itself_has_none_to_be_mixed_with():
    images, labels = batch_of()
    learned = lt.LearnedCompose([v2.MixUp(num_classes=CLASSES)])
    with pytest.raises(InputTypeError, match="per_sample"):
        learned(images, labels, per_sample=True)
    with pytest.raises(ValueError, match="labels"):
        learned(images, per_sample=True)


@BOTH
def test_what_was_drawn_is_played_back(kind):
    images, labels = batch_of()
    other = torch.randn_like(images)
    for transforms in (
        [kind(num_classes=CLASSES)],
        [v2.RandomHorizontalFlip(), kind(num_classes=CLASSES)],
        [v2.RandomChoice([kind(num_classes=CLASSES), v2.MixUp(num_classes=CLASSES)])],
    ):
        learned = lt.LearnedCompose(transforms, fallback="error")
        seeded(3)
        params = json.loads(json.dumps(learned.make_params(images, labels)))
        for given in (images, other):
            seeded(3)
            expected = learned(given, labels)
            seeded(4)
            state = states()
            found = learned(given, labels, params=params)
            assert states() == state
            assert all(one.equal(two) for one, two in zip(found, expected, strict=True))


def test_params_that_do_not_fit():
    images, labels = batch_of()
    mixed, cut = (lt.LearnedCompose([kind(num_classes=CLASSES)]) for kind in (v2.MixUp, v2.CutMix))
    for entry in ({}, None, {"lam": 2}, {"lam": "a"}, {"box": [0, 0, 1, 1]}):
        with pytest.raises(PipelineValueError, match=r"\{lam\}"):
            mixed(images, labels, params=[entry])
    for box in ([0, 0, 1], [3, 0, 1, 1], [-1, 0, 1, 1], [0.0, 0, 1, 1]):
        with pytest.raises(PipelineValueError, match="box"):
            cut(images, labels, params=[{"box": box, "lam_adjusted": 0.5}])
    made, chances = mixed(images, labels, params=[{"lam": 0.25}])
    assert made.equal(images.roll(1, 0) * 0.75 + images * 0.25)
    assert chances.sum(1).allclose(torch.ones(6))


@BOTH
def test_gradients_pass(kind):
    images, labels = batch_of()
    for transform in ([kind(num_classes=CLASSES)], [v2.RandomHorizontalFlip(1), kind(num_classes=CLASSES)]):
        results = []
        for pipeline in (v2.Compose(transform), lt.LearnedCompose(transform)):
            given = images.clone().requires_grad_()
            seeded(1)
            (pipeline(given, labels)[0] * images.roll(2, 0)).sum().backward()
            results.append(given.grad)
        assert results[0].equal(results[1])


class Plain(v2.MixUp):
    """A plain subclass."""

    def __init__(self):
        super().__init__(num_classes=CLASSES)


def test_subclasses_copies_and_files(tmp_path):
    images, labels = batch_of()
    check([Plain()], images, labels)
    learned = lt.LearnedCompose([v2.CutMix(alpha=0.3, num_classes=CLASSES)])
    learned.save_pretrained(tmp_path / "a.safetensors")
    for made in (pickle.loads(pickle.dumps(learned)), lt.LearnedCompose.from_pretrained(tmp_path / "a.safetensors")):
        seeded(1)
        expected = learned(images, labels)
        seeded(1)
        assert all(one.equal(two) for one, two in zip(made(images, labels), expected, strict=True))
    own = lt.LearnedCompose([v2.MixUp(num_classes=CLASSES, labels_getter=len)])
    with pytest.raises(PipelineTypeError, match="labels_getter"):
        own.save_pretrained(tmp_path / "b.safetensors")


@NATIVE
def test_storage_that_was_taken_away_is_not_read():
    images, labels = batch_of()
    images.untyped_storage().resize_(2 * images[0].numel() * 4)
    with pytest.raises(RuntimeError):
        lt.LearnedCompose([v2.MixUp(num_classes=CLASSES)])(images, labels)
