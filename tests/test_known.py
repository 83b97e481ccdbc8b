"""Clients' classes are known by name and by what they do; everything else runs the client's own code."""

import random
import sys
import types
from functools import partial

import numpy as np
import pytest
import torchvision.transforms as v1
from helpers import compare, image_of, seeded, states, to_pil
from PIL import Image, ImageOps
from torch import nn
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, UnsupportedTransformError
from learned_transforms.transforms.clients import known
from learned_transforms.transforms.clients.entries import entry
from learned_transforms.transforms.clients.source import definitions_of, digest_of
from learned_transforms.transforms.clients.twins import Solarize, python_below
from learned_transforms.transforms.containers import Sometimes
from learned_transforms.transforms.spec import PILLOWS

PICTURE = to_pil(image_of(3, (40, 50)))
SOURCE = '''
import random
from PIL import ImageOps


def limit(p):
    return min(p, 1.0)


class Solarized:
    """Solarize some."""

    def __init__(self, p, threshold=128):
        self.p, self.threshold = p, threshold

    def __call__(self, image):
        # A comment.
        if random.random() < limit(self.p):
            return ImageOps.solarize(image, self.threshold)
        return image


class Plain(Solarized):
    """The same under another name."""


class Other(Solarized):
    def __call__(self, image):
        return image
'''
CHANGED = SOURCE.replace("< limit", "<= limit")


def module_of(source, name, folder, monkeypatch):
    """A module of this source, in sys.modules as if a client had been imported."""
    path = folder / f"{name}.py"
    path.write_text(source)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), vars(module))
    monkeypatch.setitem(sys.modules, name, module)
    definitions_of.cache_clear()
    return module


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client with one class that is known."""
    module = module_of(SOURCE, "a_client", tmp_path, monkeypatch)
    digest = digest_of(definitions_of("a_client"), "Solarized", ("limit",))

    def read(transform, inner):
        return Sometimes([Solarize(transform.threshold)], transform.p, python_below)

    monkeypatch.setitem(known.TABLE, "a_client.Solarized", entry(digest, read, helpers=("limit",)))
    yield module
    definitions_of.cache_clear()


def reasons(transforms, kind="pil"):
    return [
        row.reason for row in lt.LearnedCompose(transforms, fallback="torchvision").explain(kind).rows if row.reason
    ]


def agree(ours, transforms, image=PICTURE, times=8):
    for seed in range(times):
        seeded(seed)
        expected = v1.Compose(transforms)(image.copy() if isinstance(image, Image.Image) else image)
        state = states()
        seeded(seed)
        compare(ours(image), expected, "exact")
        assert states() == state


def test_a_known_class_has_layers(client):
    transforms = [client.Solarized(0.5, 90), v1.ToTensor()]
    ours = lt.LearnedCompose(transforms, fallback="error")
    agree(ours, transforms)


def test_comments_and_constructors_do_not_count(client, tmp_path, monkeypatch):
    source = SOURCE.replace("# A comment.", "# Another.").replace("Solarize some.", "Solarize.")
    module = module_of(
        source.replace("self.p, self", "self.q, self.p, self").replace("= p, t", "= 0, p, t"),
        "a_client",
        tmp_path,
        monkeypatch,
    )
    assert reasons([module.Solarized(0.5)]) == []


def test_another_source_runs_itself(client, tmp_path, monkeypatch):
    module = module_of(CHANGED, "a_client", tmp_path, monkeypatch)
    transforms = [module.Solarized(0.5)]
    assert reasons(transforms) == ["its source is none of those that were checked"]
    agree(lt.LearnedCompose(transforms, fallback="torchvision"), transforms)
    with pytest.warns(FallbackWarning, match="none of those that were checked"):
        lt.LearnedCompose(transforms)


def test_a_missing_source_is_told(client, monkeypatch):
    monkeypatch.delattr(client, "__file__")
    definitions_of.cache_clear()
    assert reasons([client.Solarized(0.5)]) == ["its source cannot be read"]


def test_subclasses(client):
    assert reasons([client.Plain(0.5)]) == []
    assert reasons([client.Other(0.5)]) == ["not in the catalogue"]


def test_replaced_methods_are_seen(client, monkeypatch):
    transforms = [client.Solarized(1.0)]
    ours = lt.LearnedCompose(transforms, fallback="torchvision")
    assert ours(PICTURE).tobytes() != PICTURE.tobytes()
    monkeypatch.setattr(client.Solarized, "__call__", lambda self, image: image)
    assert ours(PICTURE).tobytes() == PICTURE.tobytes()
    assert reasons(transforms) == ["its __call__ was replaced"]


def test_replaced_helpers_are_seen(client, monkeypatch):
    transforms = [client.Solarized(1.0)]
    ours = lt.LearnedCompose(transforms, fallback="torchvision")
    assert ours(PICTURE).tobytes() != PICTURE.tobytes()
    monkeypatch.setattr(client, "limit", lambda p: -1.0)
    assert ours(PICTURE).tobytes() == PICTURE.tobytes()
    assert reasons(transforms) == ["its limit was replaced"]


def test_names_that_stand_for_something_else_are_seen(client, monkeypatch):
    monkeypatch.setattr(client, "random", random.Random(0))
    assert reasons([client.Solarized(0.5)]) == ["it relies on random, which is not what was checked"]


def test_methods_of_an_object_are_seen(client):
    one = client.Solarized(0.5)
    one.__call__ = lambda image: image
    assert reasons([one]) == ["its __call__ was replaced"]


def test_arguments_are_watched(client):
    one = client.Solarized(1.0, 10)
    ours = lt.LearnedCompose([one], fallback="error")
    agree(ours, [one])
    one.threshold = 200
    agree(ours, [one])
    one.p = 0.0
    agree(ours, [one])


def test_it_may_come_into_a_list_later(client):
    transforms = [v1.RandomHorizontalFlip()]
    ours = lt.LearnedCompose(transforms, fallback="error")
    ours(PICTURE)
    transforms.append(client.Solarized(1.0))
    agree(ours, transforms)


def test_what_it_draws_cannot_be_written_down(client):
    with pytest.raises(UnsupportedTransformError, match="draws as the client does"):
        lt.LearnedCompose([client.Solarized(0.5)], fallback="error").make_params(PICTURE)


def test_it_cannot_be_saved(client, tmp_path):
    with pytest.raises(lt.errors.PipelineTypeError, match="cannot be saved"):
        lt.LearnedCompose([client.Solarized(0.5)], fallback="error").save_pretrained(tmp_path / "one.safetensors")


class GaussianBlur:
    """Of a name that is known, but nothing else of it; and without a dictionary of its own."""

    __slots__ = ("radius",)

    def __call__(self, image):
        return image


class TwoCropsTransform:
    """The same, with one."""

    def __init__(self, base_transform):
        self.base_transform = base_transform

    def __call__(self, x):
        return [self.base_transform(x)]


def test_names_that_others_use_too_say_nothing():
    assert reasons([GaussianBlur()]) == ["not in the catalogue"]
    assert reasons([TwoCropsTransform(v1.RandomHorizontalFlip())]) == ["not in the catalogue"]


VIEWS = """
class Views:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        return [transform(image) for transform in self.transforms]
"""


def test_views_are_pipelines_of_their_own(tmp_path, monkeypatch):
    module = module_of(VIEWS, "other_client", tmp_path, monkeypatch)
    digest = digest_of(definitions_of("other_client"), "Views")
    monkeypatch.setitem(known.TABLE, "other_client.Views", entry(digest, views=("transforms",)))
    one = v1.Compose([v1.RandomResizedCrop(20), v1.ColorJitter(0.4), v1.ToTensor()])
    views = module.Views([one, one, v1.Compose([ForeignBlur(), v1.RandomHorizontalFlip()])])
    ours = lt.LearnedCompose(views, fallback="torchvision")
    for seed in range(5):
        seeded(seed)
        expected, after = views(PICTURE), states()
        seeded(seed)
        for found, wanted in zip(ours(PICTURE), expected, strict=True):
            compare(found, wanted, "exact")
        assert states() == after
    rows = ours.explain("pil").rows
    assert [row.reason for row in rows if row.reason not in ("", PILLOWS)] == ["not in the catalogue"]
    assert sum(row.layer == "Resampling" for row in rows) == 1
    views.transforms.append(v1.RandomVerticalFlip(1.0))
    assert len(ours(PICTURE)) == 4
    definitions_of.cache_clear()
    with pytest.warns(FallbackWarning, match="ForeignBlur"):
        lt.LearnedCompose(views)


def convert_to_rgb(image):
    return image.convert("RGB")


FUNCTIONS = {
    "lambda": [lambda img: img.convert("RGB")],
    "function": [convert_to_rgb],
    "gray": [v1.Lambda(lambda x: x.convert("L"))],
    "solarize": [partial(ImageOps.solarize, threshold=90)],
    "solarize alone": [ImageOps.solarize],
    "posterize": [v1.Lambda(partial(ImageOps.posterize, bits=3))],
    "equalize": [ImageOps.equalize],
    "autocontrast": [ImageOps.autocontrast],
    "invert": [v2.Lambda(ImageOps.invert)],
    "grayscale": [ImageOps.grayscale],
    "identity": [nn.Identity()],
    "identity within": [v1.Lambda(nn.Identity())],
}


@pytest.mark.parametrize("transforms", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_functions_of_pillow(transforms, mode):
    image = PICTURE.convert(mode)
    image.info = {"dpi": (72, 72)}
    ours = lt.LearnedCompose(transforms, fallback="error")
    found, expected = ours(image), v1.Compose(transforms)(image)
    assert (found.mode, found.info, np.asarray(found).tobytes()) == (
        expected.mode,
        expected.info,
        np.asarray(expected).tobytes(),
    )
    assert (found is image) == (expected is image)


FOREIGN = {
    "more than that": lambda img: img.convert("RGB").copy(),
    "another name": lambda img: img.resize("RGB"),
    "cut off": partial(ImageOps.autocontrast, cutoff=3),
    "another mode": lambda img: img.convert("HSV"),
    "missing": partial(ImageOps.posterize),
}


@pytest.mark.parametrize("transform", FOREIGN.values(), ids=FOREIGN)
def test_other_functions_stay_foreign(transform):
    assert reasons([transform]) == ["not in the catalogue"]


def test_partial_arguments_are_watched():
    transform = partial(ImageOps.solarize, threshold=90)
    ours = lt.LearnedCompose([transform], fallback="error")
    ours(PICTURE)
    transform.keywords["threshold"] = 200
    agree(ours, [transform])


class ForeignBlur:
    """Of nobody's catalogue; draws from Python's generator."""

    def __call__(self, image):
        return image.rotate(random.randint(0, 9))


JITTER = v1.ColorJitter(0.4, 0.4, 0.4, 0.1)
MIXED = {
    "apply": [v1.RandomApply([JITTER, ForeignBlur(), v1.RandomHorizontalFlip(), v1.Grayscale(3)], p=0.7)],
    "choice": [v1.RandomChoice([JITTER, v1.AutoAugment(), ForeignBlur()])],
    "order": [v1.RandomOrder([JITTER, ForeignBlur(), v1.RandomHorizontalFlip()])],
    "apply v2": [v2.RandomApply([v2.ColorJitter(0.4), ForeignBlur()], p=0.7)],
    "choice v2": [v2.RandomChoice([v2.ColorJitter(0.4), ForeignBlur()], p=[0.3, 0.7])],
    "order v2": [v2.RandomOrder([v2.ColorJitter(0.4), ForeignBlur(), v2.RandomHorizontalFlip()])],
    "nested": [v1.RandomApply([v1.RandomChoice([ForeignBlur(), v1.RandomVerticalFlip()]), JITTER], p=0.8)],
}


@pytest.mark.parametrize("transforms", MIXED.values(), ids=MIXED)
def test_what_is_not_foreign_in_a_container_keeps_its_layers(transforms):
    around = [v1.RandomHorizontalFlip(), *transforms]
    ours = lt.LearnedCompose(around, fallback="torchvision")
    agree(ours, around, times=24)
    rows = ours.explain("pil").rows
    assert any(row.layer in ("Blending", "Flipping") for row in rows[1:] if row.transform.startswith(" "))
    assert {row.reason for row in rows if row.reason} - {PILLOWS} == {"not in the catalogue"}


def test_a_foreign_transform_in_a_container_is_told_of():
    with pytest.warns(FallbackWarning, match="ForeignBlur"):
        lt.LearnedCompose(MIXED["apply"])
    with pytest.raises(UnsupportedTransformError, match="ForeignBlur"):
        lt.LearnedCompose(MIXED["apply"], fallback="error")


def test_a_container_of_foreign_transforms_runs_as_it_is():
    one = v1.RandomApply([ForeignBlur()], p=0.5)
    ours = lt.LearnedCompose([one], fallback="torchvision")
    agree(ours, [one])
    assert ours.stand_in(0) is None


def test_changes_in_a_container_count():
    one = v1.RandomApply([v1.RandomHorizontalFlip(1.0), ForeignBlur()], p=1.0)
    ours = lt.LearnedCompose([one], fallback="torchvision")
    agree(ours, [one])
    one.transforms.append(v1.RandomVerticalFlip(1.0))
    agree(ours, [one])
