"""Where torch looks into a call: traces, transformations of functions, modes, gradients, and tensors without memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torchvision.transforms as v1
from helpers import image_of
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import InputShapeError

# torch warns of its own deprecated parts, and of what it does slowly.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:There is a performance drop:UserWarning",
    "ignore::torch.jit.TracerWarning",
)

LEVELS = image_of(3, (40, 50))
OTHER = image_of(3, (40, 50), seed=1)
FLOATS = LEVELS / 255


def steps(api=v2):
    last = [v2.ToDtype(torch.float32, scale=True)] if api is v2 else [v1.ConvertImageDtype(torch.float32)]
    return [api.RandomHorizontalFlip(1), api.Resize((20, 21)), *last, api.Normalize([0.5] * 3, [0.25] * 3)]


def ours(api=v2, called=True):
    made = lt.LearnedCompose(steps(api), fallback="torchvision")
    if called:  # What was compiled for other calls must not serve these.
        made(LEVELS)
        made(FLOATS)
    return made


def plain(api=v2):
    return api.Compose(steps(api))


def near(found, expected, tolerance=2e-6):
    assert (found - expected).abs().max() <= tolerance * max(1, expected.abs().max())


@pytest.mark.parametrize("api", [v1, v2])
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(("first", "second"), [(FLOATS, OTHER / 255), (LEVELS, OTHER)], ids=["float32", "uint8"])
def test_traces(api, called, first, second):
    traced = torch.jit.trace(nn.Sequential(ours(api, called)), first, check_trace=False)
    near(traced(second), plain(api)(second))
    assert not traced(first).equal(traced(second))


TRANSFORMED = {
    "jvp": lambda f: torch.func.jvp(f, (FLOATS,), (OTHER / 255,))[1],
    "jvp, value": lambda f: torch.func.jvp(f, (FLOATS,), (OTHER / 255,))[0],
    "vjp": lambda f: torch.func.vjp(f, FLOATS)[1](torch.ones(3, 20, 21))[0],
    "grad": lambda f: torch.func.grad(lambda image: f(image).square().sum())(FLOATS),
    "functionalize": lambda f: torch.func.functionalize(f)(FLOATS),
    "zeros": lambda f: f(torch._efficientzerotensor((3, 40, 50))),
}


@pytest.mark.parametrize("name", TRANSFORMED)
@pytest.mark.parametrize("called", [False, True])
def test_functions_of_functions(name, called):
    near(TRANSFORMED[name](ours(called=called)), TRANSFORMED[name](plain()))


def test_what_is_kept_belongs_to_no_level():
    def twice(function):
        once = torch.func.grad(lambda image: function(image).pow(3).sum())
        return torch.func.grad(lambda image: once(image).sum())

    transform = ours(called=False)
    expected = twice(plain())(FLOATS)
    for _ in range(2):  # What the first call has made serves the second.
        near(twice(transform)(FLOATS), expected, 1e-5)


@pytest.mark.parametrize(("image", "other"), [(FLOATS, OTHER / 255), (LEVELS, OTHER)])
def test_graphs(image, other):
    near(make_fx(lt.LearnedCompose(steps()[1:]))(image)(other), v2.Compose(steps()[1:])(other))
    for compose in (ours(), plain()):  # A graph cannot hang on what was drawn.
        with pytest.raises(RuntimeError, match="tracing tensor"):
            make_fx(compose)(image)


@pytest.mark.parametrize("images", [torch.stack([LEVELS, OTHER]), torch.stack([FLOATS, OTHER / 255])])
def test_vmap(images):
    near(torch.func.vmap(lt.LearnedCompose(steps()[1:]))(images), torch.stack([plain()(i) for i in images.flip(-1)]))
    found, expected = (torch.func.jacfwd(v(steps()[1:]))(FLOATS[:, :4, :5]) for v in (lt.LearnedCompose, v2.Compose))
    near(found, expected)
    with pytest.raises(RuntimeError, match="randomness"):  # As torchvision.
        torch.func.vmap(ours())(images)


def test_dual_numbers():
    tangents = []
    for compose in (ours(), plain()):
        with forward_ad.dual_level():
            made = compose(forward_ad.make_dual(FLOATS, OTHER / 255))
            tangents.append(forward_ad.unpack_dual(made).tangent)
    near(*tangents)


def test_tensors_without_values():
    with torch._subclasses.FakeTensorMode() as mode:
        fake = mode.from_tensor(FLOATS)
        found = lt.LearnedCompose(steps()[1:], fallback="torchvision")(fake)
        expected = v2.Compose(steps()[1:])(fake)
    for one, other in ((found, expected), (ours()(FLOATS.to("meta")), plain()(FLOATS.to("meta")))):
        assert type(one) is type(other)
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def test_inference_mode_first():
    for backend in ("auto", "reference"):
        transform = lt.LearnedCompose(steps(), backend=backend)
        with torch.inference_mode():
            expected = transform(FLOATS)
        image = FLOATS.clone().requires_grad_()
        made = transform(image)
        made.sum().backward()
        near(made.detach(), expected)
        assert image.grad is not None


def test_the_default_dtype_may_change():
    transform, image = lt.LearnedCompose([v1.ToTensor()], fallback="torchvision"), LEVELS.permute(1, 2, 0).numpy()
    assert transform(image).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert transform(image).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert transform(image).dtype == torch.float32


COLORS = {
    "saturation": [v2.ColorJitter(saturation=0.5)],
    "sharpness": [v1.RandomAdjustSharpness(2.3, p=1)],
    "gray": [v2.Grayscale(3)],
    "within": [v1.RandomApply([v1.ColorJitter(0.3, 0.3)], p=1)],
    "distort": [v2.RandomPhotometricDistort(p=1)],
    "floats": [v2.ToDtype(torch.float32, scale=True), v2.RandomEqualize(1), v2.RandomPosterize(3, p=1)],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", COLORS)
def test_bytes_times_a_number_have_the_default_dtype(name, dtype):
    transform, plain = lt.LearnedCompose(COLORS[name], fallback="torchvision"), v2.Compose(COLORS[name])
    for default in (torch.float32, dtype, torch.float32):
        torch.set_default_dtype(default)
        try:
            for seed in range(4):
                torch.manual_seed(seed)
                expected = plain(LEVELS)
                torch.manual_seed(seed)
                near(transform(LEVELS), expected)
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("image", [LEVELS, FLOATS])
def test_another_default_device(image):
    transform, expected = lt.LearnedCompose(steps()[1:]), v2.Compose(steps()[1:])(image)
    with torch.device("meta"):
        near(transform(image), expected)


@pytest.mark.parametrize("size", [0, 100, LEVELS.numel() - 1])
def test_memory_that_was_taken_away(size):
    transform, image = ours(), LEVELS.clone()
    image.untyped_storage().resize_(size)
    with pytest.raises(InputShapeError, match="storage of"):
        transform(image)
    batch = torch.stack([LEVELS] * 3)
    transform(batch)
    batch.untyped_storage().resize_(size)
    with pytest.raises(InputShapeError, match="storage of"):
        transform(batch)


def environment():
    """That of this process, with all that it imports from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}


def test_a_compiled_model():
    """Compilers break the graph around a pipeline, and changes of its transforms are seen."""
    code = """
import torch
import learned_transforms as lt
from test_modes import LEVELS, OTHER, ours, plain
compiled = torch.compile(torch.nn.Sequential(ours()), backend="eager")
for image in (LEVELS, OTHER):
    assert (compiled(image) - plain()(image)).abs().max() < 1e-5
from torchvision.transforms import v2
transform = lt.LearnedCompose([v2.RandomHorizontalFlip(0.0)])
compiled = torch.compile(transform, backend="eager")
assert torch.equal(compiled(LEVELS), LEVELS)
transform.transforms[0].p = 1.0
assert torch.equal(compiled(LEVELS), LEVELS.flip(-1))
transform.transforms.append(v2.RandomVerticalFlip(1.0))
assert torch.equal(compiled(LEVELS), LEVELS.flip(-1, -2))
print("equal")
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert made.stdout == "equal\n", made.stderr


def test_parameters():
    near(ours()(nn.Parameter(FLOATS)).detach(), plain()(FLOATS))


def test_scripts_are_refused():
    with pytest.raises(RuntimeError, match=r"torch\.jit\.trace"):
        torch.jit.script(ours())
