"""What a pipeline keeps for the images that it has seen is bounded, in every table, whatever comes."""

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import pytest
import torch
from helpers import image_of, seeded, to_pil
from torch import Tensor
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.ir import interpolation
from learned_transforms.kernels import BACKENDS, cpu
from learned_transforms.kernels.memory import allocator
from learned_transforms.kernels.reference import executor as reference
from learned_transforms.layers import network
from learned_transforms.runtime import pipeline, segment

LIMIT = 6
"""In place of every limit, so that few images exceed it."""

LIMITS = (
    (segment, ("MOST_LANES", "MOST_CALLS", "MOST_PROGRAMS")),
    (pipeline, ("MOST_LANES",)),
    (network, ("MOST_PLANS", "MOST_LOWERED")),
    (interpolation, ("MOST_SIZES",)),
    (reference, ("MOST_SIZES",)),
)


def held(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """What an object of this package holds, by path: its attributes, entries, and what its functions close over."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    yield path, value
    inner: dict[Any, Any] = {}
    if isinstance(value, dict | list | set | tuple):
        inner = value if isinstance(value, dict) else dict(enumerate(value))
    elif isinstance(value, FunctionType):
        names, cells = value.__code__.co_freevars, value.__closure__ or ()
        inner = {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}
    elif isinstance(value, MethodType):
        inner = {"self": value.__self__}
    if type(value).__module__.startswith("learned_transforms"):
        inner = {**inner, **getattr(value, "__dict__", {})}
    for name, one in list(inner.items()):
        yield from held(one, f"{path}.{name}" if isinstance(name, str) else f"{path}[]", seen)


def longest(learned: Any) -> dict[str, int]:
    """The lengths of dicts, lists and sets, by path."""
    found: dict[str, int] = {}
    for path, value in held(learned, "", {}):
        if isinstance(value, dict | list | set):
            found[path] = max(len(value), found.get(path, 0))
    return found


def images() -> Iterator[Any]:
    """Of many kinds, sizes and signatures: each comes again at once, and some of them often, under other draws."""
    first = image_of(3, (11, 12))
    for number in range(40):
        yield first
        image = image_of(3, (9 + number, 50 - number), number)
        batch = first.expand(number + 1, 3, 11, 12).contiguous()
        yield from (image, image, batch, batch, to_pil(image), to_pil(image))


TRANSFORMS = {
    "jitter": [v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomHorizontalFlip(), v2.Resize((7, 8))],
    "windows": [
        v2.RandomResizedCrop(7),
        v2.RandomApply([v2.GaussianBlur(3)], p=0.5),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomInvert(),
    ],
    "resize": [v2.Resize((7, 8))],
    "crops": [v2.RandomCrop(5, padding=2), v2.RandomHorizontalFlip(), v2.RandomShortestSize([7, 9], 20)],
}


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_table_grows_with_images(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == "cpu" and cpu.MISSING is not None:
        pytest.skip("the native extension is not there")
    for module, names in LIMITS:
        for constant in names:
            monkeypatch.setattr(module, constant, LIMIT)
    learned = lt.LearnedCompose(TRANSFORMS[name], backend=backend)
    learned.budget.most = 2**40  # Bytes are counted in test_sizes.py.
    learned(image_of(3, (11, 12)))
    before = longest(learned)
    for seed, image in enumerate(images()):
        seeded(seed)
        learned(image)
        if seed % 20 == 19:
            grown = {path: n for path, n in longest(learned).items() if n > max(LIMIT, before.get(path, 0))}
            assert not grown


def test_taps_are_kept_for_few_sizes() -> None:
    learned = lt.LearnedCompose([v2.Resize((7, 8))], backend="reference")
    learned(image_of(3, (11, 12)))
    ((plan, _),) = next(iter(learned.segments.values())).network.plans.values()
    for length in range(9, 60):
        plan.stages[0].rows.taps(length)
        assert len(plan.stages[0].rows.evaluated) <= interpolation.MOST_SIZES


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_nothing_that_is_kept_is_of_inference_mode(name: str, floats: bool, backend: str) -> None:
    """Gradients could not pass through it later."""
    image = image_of(3, (11, 12)).float() / 255 if floats else image_of(3, (11, 12))
    with torch.inference_mode():
        learned = lt.LearnedCompose(TRANSFORMS[name], backend=backend)
        for seed in range(3):
            seeded(seed)
            learned(image)
        for part in [one for one in learned.segments.values() if not one.draws.tracking]:
            part.network.relower()
            part.network.why_not(BACKENDS["reference"], (3, 11, 12), torch.device("cpu"))
            learned(image)
    kept = [(path, one) for path, one in held(learned, "", {}) if isinstance(one, Tensor)]
    assert kept
    assert not [path for path, one in kept if one.is_inference()]
    allocator.cache_clear()
    with torch.inference_mode():
        allocator(torch.float32)
    assert not allocator(torch.float32)(3).is_inference()
