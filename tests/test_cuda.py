"""Tensors on a GPU: kernels with the CPU's pixels run what they can, torchvision the rest, and all stays there."""

import copy
import gc
import pickle
import random
import threading
import warnings

import pytest
import torch
from helpers import compare, image_of, seeded, states, to_pil
from kernel_cases import MODES, random_image, random_pipeline
from test_mixing import batch_of, check
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map_only
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import BackendError, FallbackWarning, ProcessorInputError, UnsupportedTransformError
from learned_transforms.kernels import backends, mixing

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

DEVICE = torch.device("cuda", 0)
SIZES = ((61, 75), (33, 40), (157, 98))
"""(rows, columns) of the images."""

FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
JITTER = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
PIPELINES = {
    "seed": [
        v2.Resize((28, 28)),
        v2.RandomHorizontalFlip(1),
        v2.RandomVerticalFlip(1),
        v2.Grayscale(1),
        v2.ToImage(),
    ],
    "imagenet": [v2.Resize(32), v2.CenterCrop(28), *FLOATS],
    "train": [v2.RandomResizedCrop(30), v2.RandomHorizontalFlip(), *FLOATS],
    "jitter": [JITTER],
    "moco": [
        v2.RandomResizedCrop(30, (0.2, 1.0)),
        v2.RandomApply([JITTER], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
        v2.RandomHorizontalFlip(),
        *FLOATS,
    ],
    "cifar": [v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), *FLOATS],
    "erasing": [v2.RandomHorizontalFlip(), *FLOATS, v2.RandomErasing(1.0)],
    "erasing by noise": [*FLOATS, v2.RandomErasing(1.0, value="random")],
    "bicubic": [v2.Resize((29, 31), InterpolationMode.BICUBIC)],
    "nearest": [v2.Resize((29, 31), InterpolationMode.NEAREST)],
    "not antialiased": [v2.Resize((29, 31), antialias=False)],
    "levels": [v2.RandomPosterize(4, 1), v2.RandomEqualize(1), v2.RandomAutocontrast(1), v2.RandomSolarize(100, 1)],
}
OUTSIDE = {
    "erasing": ["RandomErasing"],
    "erasing by noise": ["RandomErasing"],
    "nearest": ["Resize"],
    "not antialiased": ["Resize"],
    "levels": ["RandomEqualize", "RandomAutocontrast"],
}
"""By pipeline: what torchvision itself runs; the kernels run the rest."""

ROUNDED = {"moco"}
"""torchvision's own blur adds in an order that depends on the processor; the CPU's layers do not."""

LAYOUTS = {
    "planes": lambda image: image,
    "pixels": lambda image: image.movedim(0, -1).contiguous().movedim(-1, 0),
    "batch": lambda image: torch.stack([image, image.flip(-1)]),
    "batch of pixels": lambda image: torch.stack([image, 255 - image]).contiguous(memory_format=torch.channels_last),
    "part": lambda image: image[:, 1:, :-1],
}
ALL = pytest.mark.parametrize("name", PIPELINES)


def both_states():
    return states(), bytes(torch.cuda.get_rng_state(DEVICE).numpy())


def moved(value, device=DEVICE):
    """Every tensor in it on a device, of the same class."""

    def move(tensor):
        made = tensor.to(device)
        return made if type(tensor) is torch.Tensor else tv_tensors.wrap(made, like=tensor)

    return tree_map_only(torch.Tensor, move, value)


def compare_all(found, expected):
    """Two nested values: the same structure, types, devices and values."""
    (ours, structure), (theirs, wanted) = tree_flatten(found), tree_flatten(expected)
    assert structure == wanted
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(other, torch.Tensor):
            compare(one, other, "exact")
        else:
            assert one == other


@ALL
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_network_gives_the_pixels_of_the_cpu(name, layout):
    here = lt.LearnedCompose(PIPELINES[name], fallback="torchvision")
    there = lt.LearnedCompose(PIPELINES[name], backend="reference", fallback="error")
    for seed, size in enumerate(SIZES * 2):
        image = LAYOUTS[layout](image_of(3, size, seed))
        seeded(seed)
        expected, state = here(image), states()
        given = image.to(DEVICE)
        before = given.clone()
        seeded(seed)
        found = there(given)
        assert states() == state
        assert found.device == DEVICE
        assert given.equal(before)
        compare(moved(found, "cpu"), expected, "exact")


@ALL
def test_the_network_draws_as_torchvision_does_there(name):
    given, learned = image_of(3, SIZES[0]).to(DEVICE), lt.LearnedCompose(PIPELINES[name], backend="reference")
    for seed in range(3):
        seeded(seed)
        v2.Compose(PIPELINES[name])(given)
        state = both_states()
        seeded(seed)
        learned(given)
        assert both_states() == state


def beside(transforms, outside, image):
    """What torchvision makes of an image, on the GPU by transforms that it runs there, on the CPU by the others."""
    for transform in transforms:
        own = type(transform).__name__ in outside
        image = transform(image) if own else transform(image.cpu()).to(DEVICE)
    return image


@ALL
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kernels_run_what_they_can_and_one_warning_tells_of_the_rest(name, layout):
    transforms, outside = PIPELINES[name], OUTSIDE.get(name, [])
    learned, given = lt.LearnedCompose(transforms), LAYOUTS[layout](image_of(3, SIZES[0])).to(DEVICE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for seed in range(6):
            seeded(seed)
            own = lt.LearnedCompose(transforms) if name in ROUNDED else None
            expected = beside(transforms, outside, given) if own is None else own(given.cpu()).to(DEVICE)
            state = both_states()
            seeded(seed)
            found = learned(given)
            assert both_states() == state
            assert found.device == DEVICE
            compare(found, expected, "exact")
            seeded(seed)
            v2.Compose(transforms)(given)
            assert both_states() == state
    assert [one.category for one in said] == [FallbackWarning] * bool(outside)
    assert all(f"{one} (" in str(said[0].message) for one in outside)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_noise_and_all_before_it_is_left_to_torchvision(layout):
    transforms = [v2.Resize((29, 31)), v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise()]
    learned, given = lt.LearnedCompose(transforms), LAYOUTS[layout](image_of(3, SIZES[0])).to(DEVICE)
    with pytest.warns(FallbackWarning, match="noise is drawn"):
        learned(given)
    for seed in range(3):
        seeded(seed)
        expected, state = v2.Compose(transforms)(given), both_states()
        seeded(seed)
        compare(learned(given), expected, "exact")
        assert both_states() == state


def test_the_backend_is_available():
    assert backends()["cuda"] == "available"


@pytest.mark.parametrize("per_sample", [False, True])
def test_random_pipelines_give_the_pixels_of_the_cpu(per_sample):
    ran = 0
    for seed in range(120):
        rng = random.Random(seed)
        image = random_image(rng)
        if per_sample and image.ndim != 4:
            continue
        transforms = random_pipeline(rng, image.shape[-3]) or [v2.Identity()]
        # Copies have the layout of what they are of, as far as torch keeps it.
        given = image.to(DEVICE)
        seeded(seed)
        try:
            expected = lt.LearnedCompose(transforms, backend="cpu")(given.cpu(), per_sample=per_sample)
        except lt.errors.LearnedTransformsError:
            continue
        seeded(seed)
        found = lt.LearnedCompose(transforms, backend="cuda")(given, per_sample=per_sample)
        assert found.cpu().equal(expected), (seed, tuple(given.shape), given.stride(), transforms)
        assert given.cpu().equal(image)
        ran += 1
    assert ran > 30


@pytest.mark.parametrize("size", [(3000, 40), (40, 3000), (1200, 1100)])
@pytest.mark.parametrize("mode", MODES)
def test_scales_at_which_one_chunk_of_lines_is_not_all(size, mode):
    image = image_of(3, size)
    for transforms in ([v2.Resize((7, 5), mode)], [v2.Resize((150, 80), mode), *FLOATS]):
        found = lt.LearnedCompose(transforms, backend="cuda")(image.to(DEVICE))
        compare(found.cpu(), lt.LearnedCompose(transforms)(image), "exact")


def test_large_batches():
    batch = torch.stack([image_of(3, (120, 150), seed) for seed in range(8)]).repeat(32, 1, 1, 1)
    transforms = [v2.Resize(64), v2.CenterCrop(56), *FLOATS]
    expected = lt.LearnedCompose(transforms)(batch)
    for given in (batch.to(DEVICE), batch.to(DEVICE, memory_format=torch.channels_last)):
        found = lt.LearnedCompose(transforms, fallback="error")(given)
        assert found.is_contiguous(memory_format=torch.channels_last) == (not given.is_contiguous())
        assert found.cpu().equal(expected)


def test_streams_and_threads():
    transforms = [v2.Resize(64), v2.CenterCrop(56), *FLOATS]
    learned = lt.LearnedCompose(transforms, fallback="error")
    batches = [torch.stack([image_of(3, (120, 150), 10 * n + k) for k in range(8)]) for n in range(4)]
    given, expected = [batch.to(DEVICE) for batch in batches], [learned(batch) for batch in batches]
    streams = [torch.cuda.Stream() for _ in batches]
    torch.cuda.synchronize()
    for _ in range(10):
        found = []
        for stream, batch in zip(streams, given, strict=True):
            with torch.cuda.stream(stream):
                found.append(learned(batch))
        torch.cuda.synchronize()
        assert all(one.cpu().equal(other) for one, other in zip(found, expected, strict=True))
    found = {}

    def work(n):
        found[n] = learned(given[n]).cpu()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n].equal(expected[n]) for n in range(4))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_many_calls_hold_no_more_memory_and_never_wait():
    learned = lt.LearnedCompose(PIPELINES["train"], fallback="error")
    batch = torch.stack([image_of(3, SIZES[0], seed) for seed in range(4)]).to(DEVICE)
    for _ in range(20):
        learned(batch)
    gc.collect()  # What tests before have left goes now, not meanwhile.
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(2000):
            learned(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    # Less, where what others held was given back meanwhile.
    assert torch.cuda.memory_allocated() <= held[0]
    assert torch.cuda.memory_reserved() <= held[1]


def test_a_graph_captures_it():
    learned = lt.LearnedCompose(PIPELINES["imagenet"], fallback="error")
    images = [torch.stack([image_of(3, SIZES[0], 5 * n + k) for k in range(4)]) for n in range(3)]
    static = images[0].to(DEVICE)
    learned(static)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = learned(static)
    for batch in images:
        static.copy_(batch)
        graph.replay()
        assert made.cpu().equal(learned(batch))


def test_out_of_memory_is_torchs_and_leaves_all_as_it_was():
    learned = lt.LearnedCompose([v2.Resize((224, 224)), *FLOATS], fallback="error")
    image = image_of(3, (8, 8))
    expected = learned(image)
    many = image.to(DEVICE).expand(2**22, 3, 8, 8)
    with pytest.raises(torch.OutOfMemoryError):
        learned(many)
    assert learned(image.to(DEVICE)).cpu().equal(expected)


def sample():
    size = (61, 75)
    boxes = torch.tensor([[3, 5, 40, 50], [0, 0, 75, 61]])
    return {
        "image": tv_tensors.Image(image_of(3, size)),
        "mask": tv_tensors.Mask(image_of(1, size, 1) // 200),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "label": torch.tensor(3),
        "name": "one",
    }


SAMPLES = {
    "eval": [v2.Resize((30, 41)), v2.CenterCrop(28), v2.ToDtype({tv_tensors.Image: torch.float32, "others": None})],
    "train": [v2.RandomCrop(40), v2.RandomHorizontalFlip(0.5), JITTER],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_with_masks_and_boxes(name):
    default = lt.LearnedCompose(SAMPLES[name], fallback="torchvision")
    network = lt.LearnedCompose(SAMPLES[name], backend="reference", fallback="torchvision")
    for seed in range(4):
        seeded(seed)
        expected = v2.Compose(SAMPLES[name])(moved(sample()))
        seeded(seed)
        compare_all(default(moved(sample())), expected)
        seeded(seed)
        expected = v2.Compose(SAMPLES[name])(sample())
        seeded(seed)
        found = network(moved(sample()))
        assert {value.device for value in found.values() if isinstance(value, torch.Tensor)} == {DEVICE}
        compare_all(moved(found, "cpu"), expected)


@pytest.mark.parametrize("first", ["cuda", "cpu"])
def test_images_in_the_cpus_memory_go_on_as_before(first):
    transforms = [v2.ToImage(), v2.Resize((28, 28)), v2.ToDtype(torch.float32, scale=True)]
    learned, image = lt.LearnedCompose(transforms, fallback="torchvision"), image_of(3, SIZES[0])
    inputs = {"cuda": [image.to(DEVICE)], "cpu": [to_pil(image), image]}
    order = [first, "cpu" if first == "cuda" else "cuda"]
    for given in [given for _ in range(3) for device in order for given in inputs[device]]:
        here = given.cpu() if isinstance(given, torch.Tensor) else given
        found = learned(given)
        assert found.device == (given.device if isinstance(given, torch.Tensor) else torch.device("cpu"))
        compare(moved(found, "cpu"), v2.Compose(transforms)(here), "exact")


EQUALIZED = [v2.Resize((28, 28)), v2.RandomEqualize(1)]


def test_explain_tells_of_the_call_before():
    learned = lt.LearnedCompose(EQUALIZED, fallback="torchvision")
    learned(image_of(3, SIZES[0]).to(DEVICE))
    rows = learned.explain("uint8").rows
    assert rows[0].layer == "Resampling"
    assert (rows[1].layer, rows[1].reason) == ("torchvision", "no kernels for cuda run Equalizing")
    learned(image_of(3, SIZES[0]))
    assert [row.layer for row in learned.explain("uint8").rows] == ["Resampling", "Equalizing"]


def test_what_is_not_allowed_is_refused():
    given = image_of(3, SIZES[0]).to(DEVICE)
    with pytest.raises(UnsupportedTransformError, match="no kernels for cuda run Equalizing"):
        lt.LearnedCompose(EQUALIZED, fallback="error")(given)
    with pytest.raises(BackendError, match="it has no Equalize"):
        lt.LearnedCompose(EQUALIZED, backend="cuda")(given)
    with pytest.raises(BackendError, match="it runs on the CPU, not on cuda"):
        lt.LearnedCompose(PIPELINES["seed"], backend="cpu")(given)


@pytest.mark.parametrize("name", ["cifar10_gray28", "cifar10_gray28_upright"])
def test_a_shipped_network_runs_there(name):
    learned = lt.LearnedCompose.from_pretrained(name, backend="reference")
    for images in (image_of(3, (32, 32)), torch.stack([image_of(3, (32, 32), seed) for seed in range(5)])):
        found = learned(images.to(DEVICE))
        assert found.device == DEVICE
        compare(found.cpu(), learned(images), "exact")


@pytest.mark.parametrize("backend", ["auto", "cuda", "reference"])
def test_draws_for_each_image_and_given_ones(backend):
    here, there = lt.LearnedCompose(PIPELINES["train"]), lt.LearnedCompose(PIPELINES["train"], backend=backend)
    batch = torch.stack([image_of(3, SIZES[0], seed) for seed in range(4)])
    given = batch.to(DEVICE)
    seeded(3)
    expected = here(batch, per_sample=True)
    seeded(3)
    compare(there(given, per_sample=True).cpu(), expected, "exact")
    params = there.make_params(given)
    compare(there(given, params=params).cpu(), here(batch, params=params), "exact")
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    compare(there(given, generator=generators[0]).cpu(), here(batch, generator=generators[1]), "exact")


def test_autocast_changes_no_pixel():
    learned, image = lt.LearnedCompose(PIPELINES["imagenet"], backend="reference"), image_of(3, SIZES[0])
    with torch.autocast("cuda"):
        found = learned(image.to(DEVICE))
    compare(found.cpu(), learned(image), "exact")


def gradients(learned, image):
    """Of the image, and of every weight that it meets, for a loss to which all pixels count differently."""
    image = image.clone().requires_grad_()
    made = learned(image)
    (made * torch.linspace(0, 1, made.numel(), device=made.device).view(made.shape)).sum().backward()
    return [image.grad, *(parameter.grad for parameter in learned.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("where", [DEVICE, torch.device("cpu")], ids=["moved", "weights on the CPU"])
def test_gradients(where):
    image = torch.rand(2, 3, 21, 26)
    expected = gradients(lt.LearnedCompose([v2.Resize((9, 11)), v2.Grayscale(1)]).unfreeze(), image)
    learned = lt.LearnedCompose([v2.Resize((9, 11)), v2.Grayscale(1)]).unfreeze()
    learned(image)  # What was lowered for the CPU is not used there.
    learned.to(where)
    found = gradients(learned, image.to(DEVICE))
    assert len(found) == len(expected) > 1
    assert [one.device for one in found] == [DEVICE, *[where] * (len(found) - 1)]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.cpu(), other, rtol=1e-4, atol=1e-5)
        assert other.abs().sum() > 0


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_that_begins_with_it_moves(trained):
    learned = lt.LearnedCompose([v2.Resize((9, 11)), *FLOATS], fallback="torchvision")
    model = nn.Sequential(learned.unfreeze() if trained else learned, nn.Conv2d(3, 2, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert (len(before) > 2) == trained
    images = torch.rand(2, 3, 21, 26)
    expected = model(images)
    model.to("cuda")
    with torch.no_grad():
        found = model(images.to(DEVICE))
    assert found.device == DEVICE
    # torchvision's own sums there have another order, and convolutions may use TF32.
    assert torch.allclose(found.cpu(), expected, atol=0.01)
    assert list(model.state_dict()) == list(before)
    assert {value.device for value in model.state_dict().values()} == {DEVICE}
    model.to("cpu")
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert model(images).equal(expected)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda learned: pickle.loads(pickle.dumps(learned))])
def test_copies_after_a_call_there(backend, copied):
    learned = lt.LearnedCompose(PIPELINES["imagenet"], backend=backend, fallback="torchvision")
    image = image_of(3, SIZES[0])
    given = image.to(DEVICE)
    there, here = learned(given), learned(image)
    twin = copied(learned)
    assert twin(given).equal(there)
    assert twin(image).equal(here)
    assert twin(given).device == DEVICE


PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def test_processors_say_that_they_stay_on_the_cpu():
    processor, image = lt.LearnedCompose.from_processor(PROCESSOR), image_of(3, SIZES[0])
    expected = processor(image)["pixel_values"]
    for given in (image.to(DEVICE), [image, image.to(DEVICE)]):
        with pytest.raises(ProcessorInputError, match=r"in the CPU's memory, got torch\.uint8 on cuda:0"):
            processor(given)
    with pytest.raises(ProcessorInputError, match="No learned layers know of devices"):
        processor(image, device="cuda")
    assert processor(image)["pixel_values"].equal(expected)


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_batches_are_mixed_there(kind):
    images, labels = (value.to(DEVICE) for value in batch_of(6, (40, 44)))
    check([getattr(v2, kind)(num_classes=10)], images, labels)
    for given in (images, images.contiguous(memory_format=torch.channels_last), images.half()):
        seeded(1)
        expected = getattr(v2, kind)(num_classes=10)(given, labels)
        seeded(1)
        compare_all(getattr(mixing, kind)(num_classes=10)(given, labels), expected)
