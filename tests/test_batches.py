"""A draw for each image of a batch, or of a list of images of any sizes: one batch, as a stack of single calls."""

import os
import signal
import threading

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import Unknown, image_of, noise, seeded, states, to_pil
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import ChannelsError, InputTypeError, PipelineValueError, UnevenBatchError
from learned_transforms.kernels import cpu

native = pytest.importorskip("learned_transforms.kernels._native", reason="built without a compiler")

FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
PIPELINES = {
    "train": [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), *FLOATS],
    "levels": [v2.RandomResizedCrop((9, 31), antialias=False), v2.RandomVerticalFlip()],
    "flips": [v2.RandomHorizontalFlip(), v2.Resize((20, 12)), v2.RandomVerticalFlip(), *FLOATS],
    "padded": [v2.RandomCrop((16, 12), padding=4, pad_if_needed=True), v2.RandomGrayscale(0.3), *FLOATS],
    "edges": [v2.RandomCrop(24, padding=3, padding_mode="edge", pad_if_needed=True), *FLOATS],
    "jitter": [v2.RandomResizedCrop(24), v2.ColorJitter(0.4, 0.4, 0.4, 0.1), *FLOATS],
    "moco": [
        v2.RandomResizedCrop(24, scale=(0.2, 1)),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], 0.5),
        *FLOATS,
    ],
    "chosen": [
        v2.Resize((20, 21), InterpolationMode.BICUBIC),
        v2.RandomChoice([v2.ColorJitter(0.4), v2.RandomApply([v2.RandomInvert()])]),
        v2.RandomOrder([v2.RandomAutocontrast(), v2.RandomEqualize(), v2.RandomPosterize(3)]),
    ],
    "erased": [v2.RandomErasing(0.7, value=5), v2.Resize((20, 20)), v2.RandomHorizontalFlip()],
    "eval": [v2.Resize(28), v2.CenterCrop(24), *FLOATS],
    "same size": [v2.RandomResizedCrop(24, scale=(1, 1), ratio=(1, 1)), *FLOATS],
}
SIZES = ((24, 24), (1, 1), (1, 97), (64, 2), (33, 47), (150, 31), (255, 260))
LAYOUTS = {
    "CHW": lambda batch: batch,
    "HWC": lambda batch: batch.contiguous(memory_format=torch.channels_last),
    "parts": lambda batch: torch.cat([batch, batch], 3).repeat_interleave(2, 0)[::2, :, :, : batch.shape[3]],
    "turned": lambda batch: batch.transpose(2, 3).contiguous().transpose(2, 3),
    "float32": lambda batch: batch.float() / 255,
    "image": tv_tensors.Image,
}


@pytest.fixture(params=native.simd())
def simd(request, monkeypatch):
    """Each set of instructions that this processor has."""
    monkeypatch.setenv(cpu.SIMD, request.param)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Batches are made in memory that holds what no result has; how many jobs ran is counted."""
    ran, fresh, run_all = [], cpu.fresh, cpu.run_all

    def counted(jobs, made):
        ran.append(len(jobs))
        run_all(jobs, made)

    monkeypatch.setattr(
        cpu, "fresh", lambda size, dtype: fresh(size, dtype).fill_(float("nan") if dtype.is_floating_point else 171)
    )
    monkeypatch.setattr(cpu, "run_all", counted)
    return ran


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def stack(made):
    return np.stack(made) if isinstance(made[0], np.ndarray) else torch.stack(made)


def one_by_one(transform, images, seed):
    """What single calls give, and the random states behind them."""
    seeded(seed)
    return stack([transform(image) for image in images]), states()


def check(transform, images, seed=3):
    """A batch of its own draws is what single calls make, to the bit, and leaves the random states that they do."""
    expected, state = one_by_one(transform, images, seed)
    seeded(seed)
    found = transform(images, per_sample=True)
    assert states() == state
    assert type(found) is type(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=True)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.usefixtures("simd", "threads")
def test_batches_are_what_single_calls_make(name, layout, poisoned):
    transform = lt.LearnedCompose(PIPELINES[name], fallback="torchvision")
    for seed, size in enumerate(SIZES):
        batch = torch.stack([image_of(3, size, number) for number in range(5)])
        check(transform, LAYOUTS[layout](batch), seed)
    assert max(poisoned) == 5


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.usefixtures("threads")
def test_batches_are_what_the_reference_makes(name):
    images = torch.stack([image_of(3, (61, 47), number) for number in range(6)])
    images[0], images[1] = 0, 255
    found = check(lt.LearnedCompose(PIPELINES[name]), images)
    seeded(3)
    expected = lt.LearnedCompose(PIPELINES[name], backend="reference")(images, per_sample=True)
    assert (found.float() - expected.float()).abs().max() <= (1e-5 if found.is_floating_point() else 0)


def test_batches_are_what_torchvision_makes(threads):
    steps = [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), v2.RandomInvert()]
    images = torch.stack([image_of(3, (61, 47), number) for number in range(9)])
    expected, state = one_by_one(v2.Compose(steps), images, 5)
    seeded(5)
    assert lt.LearnedCompose(steps)(images, per_sample=True).equal(expected)
    assert states() == state


FORMS = {
    "uint8": lambda image: image,
    "HWC": lambda image: image.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "pil": to_pil,
    "array": lambda image: image.permute(1, 2, 0).numpy(),
    "read-only": lambda image: np.frombuffer(image.permute(1, 2, 0).numpy().tobytes(), np.uint8).reshape(
        *image.shape[1:], 3
    ),
    "flipped": lambda image: image.permute(1, 2, 0).numpy()[:, ::-1],
    "float32": lambda image: image / 255,
    "image": tv_tensors.Image,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("threads", [2], indirect=True)
@pytest.mark.usefixtures("simd", "threads")
def test_lists_of_images_of_mixed_sizes(name, form, poisoned):
    steps = PIPELINES[name]
    if form == "pil":
        steps = [v2.ToImage(), *steps] if name == "erased" else [*steps[:-2], v2.ToImage(), *steps[-2:]]
    transform = lt.LearnedCompose(steps, fallback="torchvision")
    images = [FORMS[form](image_of(3, size, number)) for number, size in enumerate((*SIZES, *SIZES[:2]))]
    for given in (images, tuple(images), images[:1]):
        check(transform, given)
    # What erases looks at the image first, and so begins another segment.
    assert (name, form) == ("erased", "pil") or max(poisoned) >= len(images) - 2


def test_lists_of_images_of_several_kinds():
    shapes = (30, 40), (50, 44), (1, 90)
    transform = lt.LearnedCompose([v2.ToImage(), v2.RandomResizedCrop(20), *FLOATS])
    images = [FORMS[form](image_of(3, size)) for size in shapes for form in ("pil", "uint8", "array", "image", "HWC")]
    check(transform, images)
    # Gray ones become three channels.
    transform = lt.LearnedCompose([v2.Resize((20, 20)), v2.Grayscale(3), v2.ToImage(), *FLOATS])
    check(transform, [to_pil(image_of(channels, size)) for size in shapes for channels in (1, 3)])


def test_lists_of_arrays_give_arrays():
    images = [FORMS["array"](image_of(3, size)) for size in SIZES]
    transform = lt.LearnedCompose([v2.Resize(20), v2.CenterCrop(12), v2.RandomHorizontalFlip()])
    assert check(transform, images).shape == (len(SIZES), 12, 12, 3)
    # Nothing is done to some.
    check(lt.LearnedCompose([v2.Resize((33, 47))]), [images[4], images[4][::-1], images[3]])
    gray = [image[..., 0] for image in images]
    assert check(transform, gray).shape == (len(SIZES), 12, 12, 1)


@pytest.mark.parametrize(
    "steps",
    [
        [Unknown(30.0, 1.0), v2.Resize((20, 20))],
        [v2.RandomRotation(30), v2.Resize((20, 20))],
        [v2.Resize((20, 20)), v2.RandomRotation(30), v2.RandomHorizontalFlip()],
        [v2.Resize((30, 30)), lambda image: image + torch.rand(1), v2.RandomVerticalFlip()],
        [v2.Resize((30, 30)), v2.GaussianNoise(), v2.RandomHorizontalFlip()],
        [v2.RandomErasing(0.7, value=5), v2.Resize((20, 20)), v2.RandomErasing(0.7, value="random")],
        [v2.RandomHorizontalFlip()],
        [v2.Identity()],
    ],
)
@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_what_layers_do_not_run_goes_one_by_one(steps):
    transform = lt.LearnedCompose(steps)
    images = [image_of(3, (40, 40), number) / 255 for number in range(4)]
    check(transform, images)
    check(transform, torch.stack(images))


def test_several_images_of_one_make_several_batches():
    transform = lt.LearnedCompose([v2.Resize((30, 30)), v2.FiveCrop(20)])
    images = [image_of(3, size) for size in SIZES]
    for given in (images, torch.stack([image_of(3, (40, 50), n) for n in range(3)])):
        expected = [torch.stack(parts) for parts in zip(*map(transform, given), strict=True)]
        found = transform(given, per_sample=True)
        assert all(one.equal(other) for one, other in zip(found, expected, strict=True))


def test_lists_of_batches():
    """Videos, each under one draw."""
    transform = lt.LearnedCompose([v2.RandomResizedCrop(20), v2.RandomHorizontalFlip()])
    check(transform, [noise(4, size) for size in ((30, 40), (50, 22))])


@pytest.mark.parametrize("inplace", [False, True])
def test_one_image_many_times(inplace):
    """What a transform writes into an image is there for the next."""
    transform = lt.LearnedCompose([v2.RandomErasing(1, value=3, inplace=inplace), v2.RandomHorizontalFlip()])
    original = image_of(3, (40, 50))
    first, second = original.clone(), original.clone()
    expected, _ = one_by_one(transform, [first] * 4, 1)
    seeded(1)
    assert transform([second] * 4, per_sample=True).equal(expected)
    assert second.equal(first)
    assert first.equal(original) is not inplace


def test_gradients_and_generators():
    transform = lt.LearnedCompose([v2.RandomHorizontalFlip(), v2.Resize((8, 9))])
    images = (noise(3, (20, 22)) / 255).requires_grad_()
    check(transform, images.detach())
    transform(images, per_sample=True).sum().backward()
    assert images.grad.sum() > 0
    generator, state = torch.Generator().manual_seed(5), states()
    found = transform(list(images), per_sample=True, generator=generator)
    assert states() == state
    torch.manual_seed(5)
    assert found.equal(torch.stack([transform(image) for image in images]))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_batches_that_torch_looks_into():
    transform = lt.LearnedCompose([v2.RandomHorizontalFlip(1), v2.Resize((8, 9))])
    images = noise(3, (20, 22))
    expected = check(transform, images)
    traced = torch.jit.trace(lambda batch: transform(batch, per_sample=True), images, check_trace=False)
    assert traced(images).equal(expected)
    assert torch.func.functionalize(lambda batch: transform(batch, per_sample=True))(images).equal(expected)
    with torch.inference_mode():
        assert transform(images, per_sample=True).equal(expected)


def test_changed_transforms_count():
    crop = v2.RandomResizedCrop(20)
    transform = lt.LearnedCompose([crop, v2.RandomHorizontalFlip()])
    images = noise(4, (40, 50))
    check(transform, images)
    crop.size = (11, 12)
    assert transform(images, per_sample=True).shape[2:] == (11, 12)
    check(transform, images)


def test_results_that_make_no_batch():
    images = [image_of(3, (40, 50)), image_of(3, (50, 40))]
    transform = lt.LearnedCompose([v2.Resize(20)])
    for _ in range(2):  # The first time, some go alone.
        with pytest.raises(
            UnevenBatchError, match=r"\(3, 20, 25\) and \(3, 25, 20\).*Resize\(\(224, 224\)\).*CenterCrop"
        ):
            transform(images, per_sample=True)
        with pytest.raises(UnevenBatchError, match=r"\(1, 20, 25\).*convert"):
            transform([images[0][:1], images[0]], per_sample=True)
        with pytest.raises(InputTypeError, match=r"PIL|Image.*ToImage"):
            transform([to_pil(image) for image in images], per_sample=True)
        with pytest.raises(InputTypeError, match=r"uint8.*float32"):
            transform([images[0], images[0] / 255], per_sample=True)
        with pytest.raises(InputTypeError, match=r"tensor.*array"):
            lt.LearnedCompose([v2.Resize((3, 3))])([images[0], np.zeros((40, 50, 3), np.uint8)], per_sample=True)
    for wrong in ([], [images], [None], [images[0], "image"], [{"image": images[0]}], {"image": images[0]}, 3):
        with pytest.raises(InputTypeError, match="list of images"):
            transform(wrong, per_sample=True)


def bound(channels=3, size=(8, 9), factors=False):
    """A native call, an image for it, and memory for what it makes."""
    transform = [v2.ColorJitter(0.5) if factors else v2.RandomHorizontalFlip(1), v2.Resize((4, 4))]
    taken = []
    pipeline = lt.LearnedCompose(transform)
    image = image_of(channels, size)
    pipeline(image)
    lane = pipeline.patient(image)
    assert lane.row(image, lambda *what: taken.append(what)) is None
    call, source, _, window, drawn = taken[0]
    return call, source, window, drawn, image


def test_rows_that_do_not_fit():
    call, source, window, factors, image = bound()
    made = torch.full((3, 3, 4, 4), 7, dtype=torch.uint8)
    good = call, source, 0, window, factors
    wrong = {
        "fit the memory": [(call, source, offset, window, factors) for offset in (-1, 97, 2**62, -(2**63), 2**63 - 1)],
        "no memory": [(call, 0, 0, window, factors), (None, source, 0, window, factors)],
    }
    for why, jobs in wrong.items():
        for job in jobs:
            with pytest.raises(PipelineValueError, match=why):
                cpu.run_all([good, job], made)
            assert made.eq(7).all()
    with pytest.raises(TypeError):
        cpu.run_all([good, (call, source, 0, (1, 2, 3), factors)], made)
    assert made.eq(7).all()
    call, source, window, factors, image = bound(factors=True)
    for drawn in ((), (float("nan"),), (float("inf"),)):
        with pytest.raises(PipelineValueError, match="factor"):
            cpu.run_all([(call, source, 0, window, drawn)], made)
    cpu.run_all([(call, source, 48, window, factors)], made)
    assert made[1].ne(7).any()
    assert made[::2].eq(7).all()
    assert image.any()


def test_an_exception_leaves_nothing_behind(monkeypatch):
    """Ctrl-C while images are drawn for, and a failure in native code: the next call is as the first."""
    transform = lt.LearnedCompose(PIPELINES["jitter"])
    images = noise(4, (40, 50))
    check(transform, images)
    kind = type(next(iter(transform.segments.values())).draws)
    for name, given in (("many", images), ("__call__", list(images))):
        draw, left = getattr(kind, name), [len(given) - 2]

        def interrupted(self, *what, draw=draw, left=left):
            drawn = draw(self, *what)
            left[0] -= 1
            if left[0] < 0 or isinstance(drawn, list):
                raise KeyboardInterrupt
            return drawn

        monkeypatch.setattr(kind, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            transform(given, per_sample=True)
    monkeypatch.undo()
    check(transform, images)
    with pytest.raises(ChannelsError):
        transform([*images, torch.zeros(2, 40, 50, dtype=torch.uint8)], per_sample=True)
    check(transform, images)


def test_interrupts():
    """Ctrl-C, wherever it comes, breaks off one call and no other."""
    transform = lt.LearnedCompose(PIPELINES["train"])
    images = noise(64, (64, 64))
    check(transform, images)
    for moment in (0.005, 0.01, 0.02):
        alarm = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            alarm.start()
            while True:
                transform(images, per_sample=True)
        alarm.join()
        check(transform, images)


def test_threads_share_a_pipeline():
    transform = lt.LearnedCompose([v2.Resize(28), v2.CenterCrop(24), *FLOATS])
    images = [image_of(3, size) for size in SIZES * 4]
    expected = transform(images, per_sample=True)
    found: list[Tensor] = []

    def work():
        found.extend(transform(images, per_sample=True) for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 60
    assert all(one.equal(expected) for one in found)


def test_memory_of_images_lives_as_long_as_the_call():
    transform = lt.LearnedCompose([v2.Resize((24, 24)), v2.ToImage(), *FLOATS])
    pixels = [np.full((300, 400, 3), level, np.uint8) for level in range(40)]
    expected = torch.stack([transform(Image.fromarray(one)) for one in pixels])
    assert transform([Image.fromarray(one) for one in pixels], per_sample=True).equal(expected)


def test_v1_transforms():
    steps = [v1.RandomResizedCrop(24), v1.RandomHorizontalFlip(), v1.ToTensor()]
    check(lt.LearnedCompose(steps), [to_pil(image_of(3, size)) for size in SIZES])
