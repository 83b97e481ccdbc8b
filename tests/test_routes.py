"""Calls that native code knows whole: what they give, that Python does not see them, and what sends them back to it."""

import copy
import gc
import pickle
import sys
import threading
import weakref
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import compare, image_of, seeded, states, to_pil
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.images.formats import to_tensor
from learned_transforms.kernels import backends
from learned_transforms.runtime.routes import install

pytestmark = pytest.mark.skipif(
    backends()["cpu"] != "available" or not hasattr(Tensor, "__dlpack_c_exchange_api__"), reason="no native entry here"
)

PACKAGE = str(Path(lt.__file__).parent)
FLOAT = v2.ToDtype(torch.float32, scale=True)
PIPELINES = {
    "seed": [v2.Resize((28, 28)), v2.RandomHorizontalFlip(), v2.Grayscale(1), v2.ToImage()],
    "both flips": [v2.Resize((28, 30)), v2.RandomHorizontalFlip(0.3), v2.RandomVerticalFlip(0.7), v2.ToImage(), FLOAT],
    "no draws": [v2.Resize((20, 21)), v2.ToImage(), FLOAT, v2.Normalize([0.5] * 3, [0.25] * 3)],
    "half": [v2.Resize((9, 40)), v2.ToImage(), v2.ToDtype(torch.float16, scale=True)],
    "gray at random": [v2.RandomGrayscale(0.5), v2.Resize(17), v2.ToImage(), FLOAT],
    "v1": [v1.Resize((28, 28)), v1.RandomHorizontalFlip(), v1.RandomVerticalFlip()],
    "copies": [v2.RandomVerticalFlip(), v2.ToImage()],
    "CIFAR": [v2.RandomCrop((32, 40), padding=4), v2.RandomHorizontalFlip(), v2.ToImage(), FLOAT],
    "train": [
        v2.RandomResizedCrop((20, 24)),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        FLOAT,
        v2.Normalize([0.5], [0.2]),
    ],
    "crop of any size": [
        v2.RandomCrop((50, 30), pad_if_needed=True, padding_mode="edge"),
        v2.RandomGrayscale(),
        v2.ToImage(),
    ],
    "within a coin": [
        v2.RandomApply([v2.RandomHorizontalFlip(), v2.Resize((9, 8))], 0.5),
        v2.Resize((12, 9)),
        v2.ToImage(),
    ],
    "v1, to tensor": [v1.Resize((28, 28)), v1.RandomHorizontalFlip(), v1.Grayscale(1), v1.ToTensor()],
}
WINDOWS = ("CIFAR", "train", "crop of any size")
ELSEWHERE = ("copies", "within a coin")
"""Where an outcome leaves nothing to do, or draws depend on others, there may be no route."""
LEVELS = image_of(3, (32, 40))
IMAGES = {
    "tensor": LEVELS,
    "HWC memory": LEVELS.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "Image": tv_tensors.Image(LEVELS),
    "Video": tv_tensors.Video(torch.stack([LEVELS, LEVELS.flip(-1)])),
    "batch": torch.stack([LEVELS, LEVELS.flip(-2), 255 - LEVELS]),
    "batch, channels last": torch.stack([LEVELS, LEVELS.flip(-2)]).contiguous(memory_format=torch.channels_last),
    "part": image_of(3, (50, 60))[:, 3:35, 7:47],
    "array": LEVELS.permute(1, 2, 0).contiguous().numpy(),
    "array, part": image_of(3, (50, 60)).permute(1, 2, 0).contiguous().numpy()[3:35, 7:47],
    "array, read-only": np.broadcast_to(LEVELS.permute(1, 2, 0).contiguous().numpy(), (32, 40, 3)),
    "PIL": to_pil(LEVELS),
    "PIL L": to_pil(LEVELS[:1]),
}


def test_arrays_come_back_as_arrays():
    steps = [v2.Resize((28, 28)), v2.RandomHorizontalFlip(), v2.RandomGrayscale(0.5)]
    given = IMAGES["array"]
    made, floats = ours(steps, given), ours([v2.Resize(9), FLOAT], given)
    for seed in range(40):
        seeded(seed)
        expected = v2.Compose(steps)(to_tensor(given))
        state = states()
        seeded(seed)
        found = made(given)
        assert states() == state
        assert type(found) is np.ndarray
        assert to_tensor(found).equal(expected)
        assert calls_of(made, given) == 0
    assert to_tensor(floats(given)).equal(v2.Compose([v2.Resize(9), FLOAT])(to_tensor(given)))
    for rows in range(20, 40):
        image = np.ascontiguousarray(image_of(3, (rows, 33)).permute(1, 2, 0).numpy())
        assert to_tensor(floats(image)).equal(v2.Compose([v2.Resize(9), FLOAT])(to_tensor(image)))


def image_is_batch(image):
    return isinstance(image, Tensor) and image.ndim > 3


def calls_of(function, *inputs):
    """Return how many functions of the package a call enters."""
    found = []

    def look(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function(*inputs)
    finally:
        sys.setprofile(before)
    return len(found)


def ours(steps, image, calls=80):
    """Return a pipeline that has seen images like this one under every outcome of its coins."""
    made = lt.LearnedCompose(steps)
    for seed in range(calls):
        torch.manual_seed(seed)
        made(image)
    return made


def check(made, steps, image, seeds=range(40)):
    """As torchvision: values, type, layout in memory, random state."""
    for seed in seeds:
        seeded(seed)
        expected = to_tensor(image) if isinstance(image, np.ndarray) else image  # Arrays use tensor arithmetic.
        for step in steps:
            expected = step(expected)
        state = states()
        seeded(seed)
        found = made(image)
        assert states() == state
        compare(found, expected, "exact")
        seeded(seed)
        python = made.forward(image)
        assert states() == state
        assert found.equal(python)
        assert (found.stride(), found.is_contiguous()) == (python.stride(), python.is_contiguous())


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", PIPELINES)
def test_python_sees_no_call_and_nothing_differs(name, kind):
    steps, image = list(PIPELINES[name]), IMAGES[kind]
    if name == "v1, to tensor" and not isinstance(image, Image.Image):
        pytest.skip("ToTensor takes no tensors, and arrays use tensor arithmetic")
    if name == "v1" and type(image) is not Tensor:
        pytest.skip("v1 takes no tv_tensors, and PIL images stay PIL images")
    made = ours(steps, image)
    check(made, steps, image)
    if name not in ELSEWHERE and not (name in WINDOWS and image_is_batch(image)):
        # A window of all that there is is left to Python.
        assert sum(calls_of(made, image) == 0 for _ in range(20)) >= (14 if name in WINDOWS else 20)


@pytest.mark.parametrize("kind", ["tensor", "HWC memory", "Image", "PIL", "PIL L"])
@pytest.mark.parametrize("name", PIPELINES)
def test_images_of_ever_new_sizes(name, kind):
    steps, given = PIPELINES[name], IMAGES[kind]
    if name.startswith("v1") and (name == "v1, to tensor") == isinstance(given, Tensor):
        pytest.skip("ToTensor takes no tensors, and PIL images stay PIL images without it")
    if name == "v1" and type(given) is not Tensor:
        pytest.skip("v1 takes no tv_tensors")
    made, seen = lt.LearnedCompose(steps), []
    for number, (rows, columns) in enumerate(product(range(33, 45), (40, 9 + 32, 57))):
        channels = 1 if kind == "PIL L" else 3
        image = image_of(channels, (rows, columns), seed=number)
        if kind == "HWC memory":
            image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        image = to_pil(image) if isinstance(given, Image.Image) else image.as_subclass(type(given))
        seeded(number)
        expected = image
        for step in steps:
            expected = step(expected)
        state = states()
        seeded(number)
        found = []
        seen.append(calls_of(lambda image=image, found=found: found.append(made(image))))
        assert states() == state
        compare(found[0], expected, "exact")
        seeded(number)
        python = made.forward(image)
        assert found[0].equal(python)
        assert found[0].stride() == python.stride()
    if name not in (*ELSEWHERE, "crop of any size"):  # Crops of tensors are views.
        # For results of ever new sizes one function makes memory.
        assert sum(calls <= 1 for calls in seen[8:]) >= 0.75 * len(seen[8:])


STEPS = PIPELINES["seed"]


class Seen(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Dispatched(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def fresh():
    return ours(list(STEPS), LEVELS)


@pytest.mark.parametrize(
    "image",
    [
        image_of(3, (33, 40)),
        image_of(1, (32, 40)),
        LEVELS / 255,
        image_of(3, (64, 80))[:, ::2, ::2],
        LEVELS.flip(-1),
        tv_tensors.Image(LEVELS),
        torch.stack([LEVELS, LEVELS]),
        LEVELS.numpy().transpose(1, 2, 0),
        to_pil(LEVELS),
    ],
    ids=["size", "channels", "float", "strided", "turned", "Image", "batch", "array", "PIL"],
)
def test_other_images_take_the_way_through_python(image):
    made = fresh()
    assert calls_of(made, LEVELS) == 0 or image is LEVELS
    for seed in range(6):
        seeded(seed)
        expected = v2.Compose(STEPS)(image)
        state = states()
        seeded(seed)
        found = made(image)
        assert states() == state
        if isinstance(image, Tensor | Image.Image):  # Arrays use tensor arithmetic, which v2 has none of.
            compare(found, expected, "exact")
    check(made, STEPS, LEVELS, range(4))


def test_hooks_see_calls():
    made, seen = fresh(), []
    for register in (made.register_forward_hook, nn.modules.module.register_module_forward_hook):
        handle = register(lambda *what: seen.append(what[1][0]))
        made(LEVELS)
        assert len(seen) == 1
        assert seen.pop() is LEVELS
        handle.remove()
        assert calls_of(made, LEVELS) == 0
    handle = made.register_forward_pre_hook(lambda module, inputs: (LEVELS.flip(-1),))
    seeded(3)
    changed = made(LEVELS)
    handle.remove()
    seeded(3)
    assert changed.equal(made(LEVELS.flip(-1)))


def test_changes_count_from_the_next_call():
    steps = [v2.Resize([28, 28]), v2.RandomHorizontalFlip(), v2.ToImage()]
    made = ours(steps, LEVELS)
    steps[1].p = 1.0
    check(made, made.transforms, LEVELS, range(4))
    steps[0].size[0] = 14
    check(made, made.transforms, LEVELS, range(4))
    made.transforms.append(FLOAT)
    check(made, made.transforms, LEVELS, range(4))
    made.transforms = [v2.Resize(9), v2.ToImage()]
    check(made, made.transforms, LEVELS, range(4))
    assert calls_of(ours(made.transforms, LEVELS), LEVELS) == 0


def test_another_forward_is_called(monkeypatch):
    made = fresh()
    with monkeypatch.context() as patched:
        patched.setattr(lt.LearnedCompose, "forward", lambda self, *inputs: "of the class")
        assert made(LEVELS) == "of the class"
    assert calls_of(made, LEVELS) == 0
    with monkeypatch.context() as patched:
        patched.setattr(lt.LearnedCompose, "__call__", lambda self, *inputs: "called")
        assert made(LEVELS) == "called"
    assert calls_of(made, LEVELS) > 0
    assert install(lt.LearnedCompose)
    assert calls_of(made, LEVELS) == 0
    made.forward = lambda *inputs: "of the object"
    assert [made(LEVELS) for _ in range(3)] == ["of the object"] * 3


def test_subclasses_have_their_own_calls():
    class Counting(lt.LearnedCompose):
        calls = 0

        def forward(self, *inputs, **options):
            self.calls += 1
            return super().forward(*inputs, **options)

    made = Counting(list(STEPS))
    for _ in range(30):
        made(LEVELS)
    assert made.calls == 30


@pytest.mark.parametrize("mode", [Seen, Dispatched, lambda: torch.device("cpu")])
def test_modes_see_calls(mode):
    made = fresh()
    with mode():
        assert calls_of(made, LEVELS) > 0
    check(made, STEPS, LEVELS, range(4))
    assert calls_of(made, LEVELS) == 0


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_functions_of_functions_see_calls():
    made = ours([v2.Resize((28, 28)), v2.ToImage(), FLOAT], LEVELS)
    batch = torch.stack([LEVELS, LEVELS.flip(-1)])
    plain = lt.LearnedCompose([v2.Resize((28, 28)), FLOAT])
    for image in (LEVELS, LEVELS, LEVELS):
        plain(image)
    assert (torch.func.vmap(plain)(batch) - plain(batch)).abs().max() <= 1e-6
    traced = torch.jit.trace(plain, LEVELS, check_trace=False)
    assert (traced(batch[1]) - plain(batch[1])).abs().max() <= 1e-6
    assert made(LEVELS).shape == (3, 28, 28)


def test_the_default_dtype_is_heeded():
    made = fresh()
    steps = [v2.RandomHorizontalFlip(), v2.Resize((9, 9))]
    plain = ours(steps, LEVELS)
    torch.set_default_dtype(torch.float64)
    try:
        check(plain, steps, LEVELS, range(6))
        assert calls_of(plain, LEVELS) > 0
        with pytest.warns(lt.errors.FallbackWarning):
            check(made, STEPS, LEVELS, range(6))
    finally:
        torch.set_default_dtype(torch.float32)
    assert calls_of(plain, LEVELS) == 0


def test_options_go_through_python():
    made = fresh()
    generator = torch.Generator().manual_seed(3)
    before = states()
    found = made(LEVELS, generator=generator)
    assert states() == before
    seeded(3)
    assert found.equal(made(LEVELS))
    assert made(LEVELS, params=made.make_params(LEVELS)).shape == (1, 28, 28)
    with pytest.raises(TypeError, match="nonsense"):
        made(LEVELS, nonsense=1)


def test_inference_mode_and_gradients():
    made = ours([v2.Resize((28, 28)), FLOAT], LEVELS)
    with torch.inference_mode():
        assert made(LEVELS).is_inference()
        assert calls_of(made, LEVELS) == 0
    assert not made(LEVELS).is_inference()
    made(LEVELS).requires_grad_().sum().backward()


def test_memory_that_was_taken_away():
    made = fresh()
    image = LEVELS.clone()
    made(image)
    image.untyped_storage().resize_(100)
    with pytest.raises(lt.errors.InputShapeError, match="storage of 100 bytes"):
        made(image)


def test_damaged_files_raise_before_anything_is_drawn(tmp_path):
    image = to_pil(image_of(3, (320, 400)))
    steps = [v1.Resize((28, 28)), v1.RandomHorizontalFlip(), v1.ToTensor()]
    made = ours(steps, image)
    image.save(tmp_path / "whole.jpg", quality=95)
    found = [made(Image.open(tmp_path / "whole.jpg")) for _ in range(40)]
    assert all(one.shape == (3, 28, 28) for one in found)
    (tmp_path / "damaged.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:20000])
    with Image.open(tmp_path / "damaged.jpg") as image, pytest.raises(OSError, match="truncated"):
        made(image)
    image = to_pil(image_of(3, (320, 400)))
    check(made, steps, image, range(4))


def test_copies_have_routes_of_their_own():
    made = fresh()
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert other.entry is None
        check(other, STEPS, LEVELS, range(40))
        assert calls_of(other, LEVELS) == 0
    assert calls_of(made, LEVELS) == 0


def test_many_sizes_leave_a_few_routes():
    made = lt.LearnedCompose(list(STEPS))
    images = [image_of(3, (20 + n, 30)) for n in range(40)]
    for image in images:
        for _ in range(12):
            made(image)
    for image in images:
        check(made, STEPS, image, range(2))


def test_what_nobody_holds_is_freed():
    made = fresh()
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_other_numbers_of_threads():
    made, before = fresh(), torch.get_num_threads()
    try:
        for threads in (before + 1, before):
            torch.set_num_threads(threads)
            check(made, STEPS, LEVELS, range(40))
            assert calls_of(made, LEVELS) == 0 or threads == before
    finally:
        torch.set_num_threads(before)


def test_threads_share_a_pipeline():
    made = fresh()
    wanted = {bytes(made(LEVELS).numpy()) for _ in range(60)}
    assert len(wanted) == 2
    large = image_of(3, (600, 800))
    expected = ours([v2.Resize((300, 300)), v2.ToImage()], large)
    target, wrong = expected(large), []

    def work():
        for number in range(2000):
            if bytes(made(LEVELS).numpy()) not in wanted:
                wrong.append("small")
            if number % 40 == 0 and not expected(large).equal(target):
                wrong.append("large")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):  # Routes are dropped and made again meanwhile.
        made.train(number % 2 == 0)
    for thread in threads:
        thread.join()
    assert not wrong


def test_compilers_see_the_call_in_python():
    made = fresh()
    seeded(2)
    expected = made(LEVELS) / 2
    torch._dynamo.reset()
    seeded(2)
    assert torch.compile(lambda image: made(image) / 2, backend="eager")(LEVELS).equal(expected)


def test_calls_leave_nothing_behind():
    made = fresh()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(500):
        made(LEVELS)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


@pytest.mark.parametrize("lead", [(3, 3), (1, 1), (3, 1), (1, 3), (4, 3)])
def test_batches_make_no_routes_for_single_images(lead):
    """Of as many images as those have channels, or more."""
    steps = [v2.Resize((8, 8)), v2.RandomHorizontalFlip(), FLOAT]
    made = lt.LearnedCompose(steps)
    for number in range(12):
        batch = torch.stack([image_of(lead[1], (20 + number, 30), seed=n) for n in range(lead[0])])
        check(made, steps, batch, range(2))
        for channels in (1, 3, 4):
            check(made, steps, image_of(channels, (21 + number, 31)), range(2))


def test_threads_with_other_sizes_share_a_pipeline():
    """Each gets what it gave, of its own size, however often they take turns within a call."""
    made, wrong = lt.LearnedCompose([v2.RandomInvert(1.0), v2.RandomHorizontalFlip(1.0), v2.ToImage()]), []
    images = [image_of(3, (30 + n, 50 - n)) for n in range(16)]
    expected = [255 - image.flip(-1) for image in images]

    def work(first):
        for number in range(4000):
            which = (first + number // 3) % len(images)
            if not made(images[which]).equal(expected[which]):
                wrong.append(which)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(4 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
