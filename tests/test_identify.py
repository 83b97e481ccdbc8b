"""What a pipeline is, and which of its transforms are what torchvision published."""

import copy
import pickle
import warnings
from collections import UserList, deque

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import Unknown, compare, image_of, seeded, states, to_pil
from torch import nn
from torchvision.transforms import _presets as presets
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning
from learned_transforms.transforms import watch

IMAGE = image_of(3, (40, 50))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def agree(ours, plain, image=IMAGE, calls=3):
    """Equal results and random states, call after call."""
    for call in range(calls):
        seeded(call)
        expected = plain(image)
        state = states()
        seeded(call)
        compare(ours(image), expected, "exact")
        assert states() == state


def layered(transforms):
    """A pipeline all of which learned layers run."""
    return lt.LearnedCompose(transforms, fallback="error")


class Numbers(tuple):
    """A sequence that is neither a tuple nor a list."""


FLOAT = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
ARGUMENTS = {
    "v1 tensors": [v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))],
    "v1 columns": [v1.ToTensor(), v1.Normalize(np.array(MEAN), Numbers(STD))],
    "v2 tensors": [*FLOAT, v2.Normalize(torch.tensor(MEAN).double(), torch.tensor(STD))],
    "v2 arrays": [*FLOAT, v2.Normalize(np.array(MEAN, dtype=np.float32), np.array(STD))],
    "scalars": [
        v2.Resize([np.int64(20), np.int64(30)]),
        v2.RandomHorizontalFlip(np.float32(0.5)),
        v2.RandomInvert(np.float64(0.3)),
    ],
    "size": [v1.Resize(torch.Size((21, 22)))],
    "sequence": [v2.Resize(Numbers((20, 30))), v2.CenterCrop(np.array([9, 12]))],
    "fill": [v2.Pad(2, fill=Numbers((1, 2, 3)))],
    "within": [
        v2.RandomApply([v2.RandomSolarize(np.uint8(90)), v2.RandomGrayscale(torch.tensor(0.5))], p=np.float64(0.5))
    ],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_any_kind_are_numbers(name):
    transforms = ARGUMENTS[name]
    agree(layered(transforms), v2.Compose(transforms), to_pil(IMAGE))
    again = pickle.loads(pickle.dumps(layered(transforms)))
    agree(again, v2.Compose(transforms), to_pil(IMAGE))


def change_in_place(normalize):
    normalize.mean.mul_(0.5)


def change_behind_torch(normalize):
    normalize.mean.numpy()[0] += 1


def replace(normalize):
    normalize.std = np.array([0.5, 0.5, 0.25])


@pytest.mark.parametrize("change", [change_in_place, change_behind_torch, replace])
def test_changes_of_tensors_are_seen(change):
    normalize = v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))
    ours = layered([v1.ConvertImageDtype(torch.float32), normalize])
    agree(ours, v1.Compose(ours.transforms))
    change(normalize)
    agree(ours, v1.Compose(ours.transforms))


def test_a_mean_that_is_trained_keeps_its_gradient():
    mean = nn.Parameter(torch.tensor(MEAN))
    ours = lt.LearnedCompose([v1.Normalize(mean, STD)], fallback="torchvision")
    ours(torch.rand(3, 8, 8)).sum().backward()
    assert mean.grad is not None


class Twice:
    """Two views of an image, as a multi-crop object of a self-supervised recipe gives them."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        return [transform(image) for transform in self.transforms]


WHOLE = {
    "apply": lambda: v2.RandomApply([v2.RandomInvert(1)], p=0.5),
    "apply v1": lambda: v1.RandomApply([v1.RandomInvert(1)], p=0.5),
    "choice": lambda: v2.RandomChoice([v2.RandomInvert(1), v2.Resize(7)]),
    "order": lambda: v1.RandomOrder([v1.CenterCrop(20), v1.Pad(3)]),
    "flip": lambda: v2.RandomHorizontalFlip(0.5),
    "sequential": lambda: nn.Sequential(v1.Resize(20), nn.Sequential(v1.RandomHorizontalFlip(0.5))),
    "empty": lambda: v1.Compose([]),
    "empty sequential": lambda: nn.Sequential(),
    "nested": lambda: v2.Compose([v2.Resize(20), v2.Compose([v2.RandomInvert(0.5)])]),
    "classification": lambda: presets.ImageClassification(crop_size=20, resize_size=24),
    "segmentation": lambda: presets.SemanticSegmentation(resize_size=24),
    "unresized": lambda: presets.SemanticSegmentation(resize_size=None),
    "detection": lambda: presets.ObjectDetection(),
    "ours": lambda: lt.LearnedCompose([v2.Resize(20)]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_taken_as_a_pipeline(name):
    for image in (to_pil(IMAGE), IMAGE.float() / 255):
        agree(layered(WHOLE[name]()), WHOLE[name](), image)
        inside = [v2.RandomVerticalFlip(0.5), WHOLE[name]()]
        agree(layered(inside), v2.Compose(inside), image)


@pytest.mark.parametrize("hold", [UserList, deque, lambda given: dict(enumerate(given)).values()])
def test_a_compose_may_hold_them_in_any_collection(hold):
    inner = v1.Compose(hold([v1.CenterCrop(9), v1.RandomInvert(1)]))
    pipeline = [v1.RandomVerticalFlip(0.5), inner]
    ours = layered(pipeline)
    agree(ours, v1.Compose(pipeline))
    if hasattr(inner.transforms, "append"):
        inner.transforms.append(v1.RandomHorizontalFlip(1))
        agree(ours, v1.Compose(pipeline))


def test_objects_with_transforms_of_their_own_are_whole():
    views = Twice([v2.Resize(20), v2.Compose([v2.Resize(9), v2.RandomInvert(1)])])
    ours = lt.LearnedCompose(views, fallback="torchvision")
    assert [tuple(view.shape) for view in ours(IMAGE)] == [(3, 20, 25), (3, 9, 11)]
    with pytest.warns(FallbackWarning, match="Twice"):
        lt.LearnedCompose([v2.Resize(30), views])


def test_the_list_is_the_callers():
    transforms = [v2.Resize((20, 20))]
    ours = layered(transforms)
    assert ours.transforms is transforms
    agree(ours, v2.Compose(transforms))
    transforms.append(v2.ColorJitter(0.5, 0.5, 0.5, 0.1))
    agree(ours, v2.Compose(transforms))
    transforms[0] = v2.Resize(11, interpolation=v2.InterpolationMode.BICUBIC)
    agree(ours, v2.Compose(transforms))
    inner = v2.Compose([v2.Resize(12)])
    ours = layered([inner, v2.RandomInvert(1)])
    ours(IMAGE)
    inner.transforms.append(v2.Grayscale())
    agree(ours, v2.Compose([inner, v2.RandomInvert(1)]))


class Plain(v2.Resize):
    """A subclass as people write it to fix arguments."""

    def __init__(self, size=18):
        super().__init__(size, antialias=True)
        self.note = "mine"

    def helper(self):
        return self.note


class Other(v2.Resize):
    def transform(self, inpt, params):
        return super().transform(inpt, params) // 2


class Halved(v1.Resize):
    def forward(self, img):
        return super().forward(img)[..., ::2]


class Called(v1.Resize):
    def __call__(self, img):
        return super().__call__(img)[..., ::2]


class Everything(v2.RandomInvert):
    _transformed_types = (str,)


class Mixed:
    def make_params(self, flat_inputs):
        return {"top": 1, "left": 2, "height": 9, "width": 8}


class Cropped(Mixed, v2.RandomResizedCrop):
    pass


def test_a_plain_subclass_has_layers():
    agree(layered([Plain(), v2.RandomHorizontalFlip()]), v2.Compose([Plain(), v2.RandomHorizontalFlip()]))


@pytest.mark.parametrize(
    "made", [Other(9), Halved(9), Called(9), Everything(1), Cropped(30)], ids=lambda made: type(made).__name__
)
def test_a_subclass_that_overrides_runs_as_it_is(made):
    agree(lt.LearnedCompose([made], fallback="torchvision"), made)


def hooked(transform):
    transform.register_forward_hook(lambda module, inputs, made: made // 2)


def hooked_before(transform):
    transform.register_forward_pre_hook(lambda module, inputs: (inputs[0] // 2,))


def replaced_forward(transform):
    transform.forward = lambda image: image // 3


def replaced_transform(transform):
    transform.transform = lambda inpt, params: inpt // 4


def replaced_params(transform):
    transform.make_params = lambda flat_inputs: {"top": 2, "left": 1, "height": 9, "width": 9}


ALTERATIONS = [hooked, hooked_before, replaced_forward, replaced_transform, replaced_params]


@pytest.mark.parametrize("alter", ALTERATIONS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after a call"])
@pytest.mark.parametrize("within", [False, True], ids=["lone", "within"])
def test_an_altered_transform_runs_as_altered(alter, after, within):
    crop = v2.RandomResizedCrop(20)
    transforms = [v2.RandomApply([crop], p=1) if within else crop, v2.RandomHorizontalFlip()]
    ours = lt.LearnedCompose(transforms, fallback="torchvision")
    if after:
        ours(IMAGE)
    alter(crop)
    agree(ours, v2.Compose(transforms))
    reasons = [row.reason for row in ours.explain("uint8").rows if row.reason]
    assert any("hooks" in reason or "was replaced" in reason for reason in reasons)


@pytest.mark.parametrize("owner", [v2.RandomInvert, v2.Transform])
def test_an_altered_class_runs_as_altered(owner, monkeypatch):
    ours, plain = layered([v2.RandomInvert(1)]), v2.Compose([v2.RandomInvert(1)])
    ours.fallback = "torchvision"
    agree(ours, plain)
    name = "transform" if owner is v2.RandomInvert else "forward"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda self, inpt, params=None: inpt // 5)
        agree(ours, plain)
    agree(ours, plain)
    assert not any(row.reason for row in ours.explain("uint8").rows)


def test_v1_get_params_is_honoured(monkeypatch):
    crop = v1.RandomCrop(9)
    ours = lt.LearnedCompose([crop], fallback="torchvision")
    agree(ours, crop)
    monkeypatch.setattr(v1.RandomCrop, "get_params", staticmethod(lambda image, size: (1, 2, 9, 8)))
    agree(ours, crop)


@pytest.mark.parametrize("make", [watch.make_watch, watch.PlainWatch])
def test_both_watches_see_the_same(make):
    class Owner:
        method = len

    class Heir(Owner):
        pass

    values, items, number = {"a": 1, "b": [1, 2], "c": {}, "d": torch.ones(3)}, [object(), object()], [0]

    def watched():
        made = make()
        watch.watch_values(made, values)
        made.sequence(items, tuple(items))
        made.attributes(Heir, {"method": Heir.method})
        made.result(lambda: number[0], number[0])
        assert made.same()
        assert made.same()
        return made

    changes = [
        (lambda: values.update(a=2), lambda: values.update(a=1)),
        (lambda: values.update(a=1.0), lambda: values.update(a=1)),
        (lambda: values["b"].append(3), lambda: values["b"].pop()),
        (lambda: values["c"].update(x=1), values["c"].clear),
        (lambda: values["d"].add_(1), lambda: values["d"].sub_(1)),
        (lambda: values.update(d=torch.ones(3, dtype=torch.float64)), None),
        (lambda: values.update(e=1), lambda: values.pop("e")),
        (lambda: items.reverse(), lambda: items.reverse()),
        (lambda: items.append(1), lambda: items.pop()),
        (lambda: setattr(Owner, "method", max), lambda: setattr(Owner, "method", len)),
        (lambda: setattr(Heir, "method", max), lambda: delattr(Heir, "method")),
        (lambda: number.__setitem__(0, 1), lambda: number.__setitem__(0, 0)),
    ]
    for change, undo in changes:
        made = watched()
        change()
        assert not made.same()
        if undo is not None:
            undo()
            assert made.same()


def test_a_pipeline_in_its_own_hook_is_collected():
    """The watch holds what leads back to it, which only the garbage collector can free."""
    import gc
    import weakref

    flip = v2.RandomHorizontalFlip()
    ours = lt.LearnedCompose([flip])
    flip.pipeline = ours
    ours.renew()
    gone = weakref.ref(ours)
    del flip, ours
    gc.collect()
    assert gone() is None


def test_calls_leave_pickles_as_they_were():
    """Data sets are cached under a hash of the pickled transform."""
    ours = lt.LearnedCompose([v2.RandomResizedCrop(20), v2.ColorJitter(0.4), Unknown(9.0, 1.0)], fallback="torchvision")
    before = pickle.dumps(ours)
    ours(IMAGE)
    ours(to_pil(IMAGE))
    assert pickle.dumps(ours) == before
    assert len(before) < 12_000
    assert len(pickle.dumps(lt.LearnedCompose([v2.Resize(9)]))) < 4_000


def test_as_part_of_a_model():
    def model(compose):
        return nn.Sequential(compose([v2.Resize(20), v2.ToDtype(torch.float32, scale=True)]), nn.Conv2d(3, 4, 3))

    net = model(lt.LearnedCompose)
    assert net.state_dict().keys() == model(v2.Compose).state_dict().keys()
    net.load_state_dict(model(v2.Compose).state_dict())
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    agree(net[0], model(v2.Compose)[0])
    assert list(copy.deepcopy(net[0]).unfreeze().parameters())


def test_nothing_is_told_twice_and_silence_can_be_asked_for():
    elastic = Unknown(9.0, 1.0)
    with pytest.warns(FallbackWarning, match=r"Unknown \(not in the catalogue\), <lambda> ") as caught:
        ours = lt.LearnedCompose([elastic, v2.Resize(9), lambda image: image])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours(IMAGE)
        pickle.loads(pickle.dumps(lt.LearnedCompose([elastic], fallback="torchvision")))(IMAGE)
        lt.LearnedCompose([elastic], fallback="torchvision")(IMAGE.to(torch.int16))
