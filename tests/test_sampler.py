"""What is drawn in one native call, held to torchvision's own draws and to the state that they leave."""

import threading

import pytest
import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import InputShapeError
from learned_transforms.transforms import rng, sampler
from learned_transforms.transforms.area import as_v2
from learned_transforms.transforms.color import JITTERED
from learned_transforms.transforms.containers import CONTAINERS, leaves
from learned_transforms.transforms.registry import spec_of

pytestmark = pytest.mark.skipif(sampler.scaled_at_once() is None, reason="this torch draws in a way not known here")

TRAIN = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
DRAWING = {
    "train": TRAIN,
    "train v1": [v1.RandomResizedCrop(224), v1.RandomHorizontalFlip(0.3)],
    "narrow": [v2.RandomResizedCrop(8, scale=(0.9, 1.0), ratio=(0.2, 3.0)), v2.RandomVerticalFlip(1e-7)],
    "timm": [v2.RandomResizedCrop(64, scale=(0.01, 0.1), ratio=(1, 1)), v2.ColorJitter(0.4, 0.4, 0.4)],
    "jitter": [v2.ColorJitter(0.4, (0.1, 1.9), None, 0.1), v2.RandomGrayscale(0.2)],
    "simclr": [
        *TRAIN,
        v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], p=0.5),
    ],
    "nested": [v1.RandomApply([v1.RandomApply([v1.ColorJitter(0.1, 0.2, 0.3, 0.4)], p=0.7)], p=0.7), *TRAIN],
    "distort": [v2.RandomPhotometricDistort(p=0.6), v2.RandomHorizontalFlip()],
    "permutation": [v2.RandomChannelPermutation(), *TRAIN],
}
CROPS = {
    f"{api.__name__.rpartition('.')[2]}, {size}, {padding}, {needed}, {mode}": [
        api.RandomCrop(size, padding, pad_if_needed=needed, padding_mode=mode),
        api.RandomHorizontalFlip(),
    ]
    for api in (v1, v2)
    for size, padding, needed, mode in (
        (32, 4, False, "constant"),
        ((7, 5), None, False, "constant"),
        ((33, 40), (1, 2, 3, 4), True, "edge"),
        ((500, 500), [0, 40], True, "constant"),
        ((427, 20), 0, True, "constant"),
    )
}
SIZES = ((427, 640), (480, 640), (33, 500), (7, 5), (1, 1), (2160, 3840))


def by_torchvision(transforms, size):
    """What transforms and those in them draw, in order, and the window, if one is drawn."""
    image, outcomes, windows = torch.empty(3, *size), [], []

    def visit(transform, reached):
        kind = type(transform)
        if spec_of(transform).coin:
            drawn = torch.rand(1) if reached else None
            # v1.RandomApply is applied at p itself, too.
            fell = reached and bool(drawn <= transform.p if kind is v1.RandomApply else drawn < transform.p)
            outcomes.append(fell)
            for inner in transform.transforms if kind in CONTAINERS else ():
                visit(inner, fell)
        elif not reached:
            outcomes.append(False)
        elif kind in (v1.RandomResizedCrop, v2.RandomResizedCrop):
            drawn = as_v2(transform).make_params([image])
            windows.append((drawn["top"], drawn["left"], drawn["height"], drawn["width"]))
            outcomes.append(True)
        else:
            if kind is v1.ColorJitter:
                values = transform.get_params(*(getattr(transform, name) for name in JITTERED))
            elif kind is v2.GaussianBlur:
                values = set(transform.make_params([image])["sigma"])  # of both axes
            else:
                values = transform.make_params([image]).values()
            outcomes.append(tuple(tuple(v.tolist()) if isinstance(v, torch.Tensor) else v for v in values))

    for transform in transforms:
        visit(transform, True)
    return outcomes, windows[0] if windows else None


def positions(transforms):
    """The transforms and those in them, and which of them draw."""
    found = []
    for transform in transforms:
        found += leaves(transform, len(found))
    return found, [n for n, leaf in enumerate(found) if spec_of(leaf.transform).random]


def compare(transforms, size, seeds):
    """Draw both ways; give how often the sampler left it to Python."""
    draw, left = sampler.sampler_of(*positions(transforms)), 0
    for seed in seeds:
        torch.manual_seed(seed)
        torch.rand(seed % 640)
        before = torch.get_rng_state()
        drawn = draw((3, *size))
        after = torch.get_rng_state()
        if drawn is None:
            left += 1
            assert after.equal(before)
            continue
        torch.set_rng_state(before)
        outcomes, window = by_torchvision(transforms, size)
        assert torch.get_rng_state().equal(after)
        plain = [o if isinstance(o, bool) else tuple(value for _, value in o) for o in drawn[0]]
        assert (plain, drawn[1]) == (outcomes, window)
    return left


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", DRAWING)
def test_as_torchvision_draws(name, size):
    """The images are small or odd, and the state is made anew meanwhile; what has no window is never left to Python."""
    left = compare(DRAWING[name], size, range(400))
    if by_torchvision(DRAWING[name], (40, 40))[1] is None:
        assert left == 0
    elif min(size) > 30 and name not in ("narrow", "train v1") and size[1] < 12 * size[0]:
        assert left < 8


@pytest.mark.parametrize("size", [*SIZES, (427, 20), (33, 41)], ids=str)
@pytest.mark.parametrize("name", CROPS)
def test_crops_as_python_draws_them(name, size):
    """Which tests/test_crops.py holds to torchvision; what it refuses, the sampler leaves to it."""
    crop, flip = CROPS[name]
    draw = sampler.sampler_of(*positions(CROPS[name]))
    for seed in range(100):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        drawn = draw((3, *size))
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        if drawn is None:
            assert after.equal(before)
            with pytest.raises(InputShapeError):
                spec_of(crop).window(size, limited=True)
            continue
        window = spec_of(crop).window(size, limited=True)
        fell = bool(torch.rand(1) < flip.p)
        assert drawn == ((True, fell), window)
        assert torch.get_rng_state().equal(after)


@pytest.mark.full
@pytest.mark.parametrize("name", DRAWING)
def test_many_draws(name):
    """Of all together, more than 10^7 numbers."""
    for size in SIZES[:2]:
        compare(DRAWING[name], size, range(60_000))


def test_little_is_drawn_by_python():
    for few in ([], [v2.RandomHorizontalFlip()], [v2.GaussianBlur(5)]):
        draw = sampler.sampler_of(*positions(few))
        assert draw((3, 40, 50)) is None
        assert len(draw.many((3, 40, 50), 7)) == 7


@pytest.mark.parametrize(
    "unknown",
    [
        v2.RandomErasing(),
        v2.RandomCrop(5, padding_mode="reflect"),
        v2.RandomChoice([v2.RandomHorizontalFlip()]),
        v2.RandomResizedCrop(5, scale=(-0.5, 0.1)),
        v2.RandomResizedCrop(5, ratio=(1e-9, 1e9)),
        v2.RandomOrder([v2.RandomHorizontalFlip()]),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_what_is_not_known_is_drawn_by_python(unknown):
    assert sampler.sampler_of(*positions([unknown, *DRAWING["jitter"]])) is None


def test_no_number_is_given_out_twice(monkeypatch):
    """Another thread draws between the look ahead and the draw: then nothing of the look ahead is used."""
    draw = sampler.sampler_of(*positions(TRAIN))

    class Between:
        def __init__(self, native):
            self.native = native

        def __call__(self, *arguments):
            ahead = self.native(*arguments)
            thread = threading.Thread(target=torch.rand, args=(1,))
            thread.start()
            thread.join()
            return ahead

    draw.native = Between(draw.native)
    assert draw((3, 427, 640)) is None


def test_pipelines_draw_so(monkeypatch):
    """And draw alike where Python must: under another default dtype, or where torch looks on."""
    model, image = lt.LearnedCompose(DRAWING["simclr"]), torch.zeros(3, 300, 400, dtype=torch.uint8)
    calls = []
    native = sampler.Sampler.__call__
    monkeypatch.setattr(sampler.Sampler, "__call__", lambda self, shape: calls.append(shape) or native(self, shape))
    torch.manual_seed(3)
    model(image)
    state = torch.get_rng_state()
    assert calls
    torch.manual_seed(3)
    v2.Compose(DRAWING["simclr"])(image)
    assert torch.get_rng_state().equal(state)
    with rng.visible():
        torch.manual_seed(3)
        model(image)
    assert torch.get_rng_state().equal(state)


def test_only_a_state_is_read():
    native = sampler._native.Sampler(False)
    native.coin(-1, 0.5)
    state = torch.zeros(sampler.BYTES, dtype=torch.uint8)
    with pytest.raises(ValueError, match="Mersenne"):
        native(state.data_ptr(), 3, 5, 5)
    with pytest.raises(ValueError, match="gate"):
        native.coin(7, 0.5)
