"""One object per transform: what it says of arguments and draws is what its class takes and draws."""

import json

import pytest
import torch
import torchvision.transforms as v1
from helpers import Unknown, UnknownV1
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.errors import PipelineValueError
from learned_transforms.transforms.containers import CONTAINERS
from learned_transforms.transforms.elastic import ElasticTransform
from learned_transforms.transforms.params import from_params, to_params
from learned_transforms.transforms.registry import SPECS, spec_of
from learned_transforms.transforms.spec import Seen, Spec, Twin

ARGUMENTS = {
    "Resize": (9,),
    "RandomResizedCrop": (9,),
    "CenterCrop": (9,),
    "RandomCrop": (9, (1, 2, 3, 4)),
    "Pad": (2,),
    "RandomRotation": (30, "bilinear", True, (3, 4.5), 7),
    "RandomAffine": (10, (0.1, 0.2), (0.8, 1.2), (3, 4, 5, 6)),
    "FiveCrop": (5,),
    "TenCrop": (5, True),
    "RandomPosterize": (3,),
    "RandomSolarize": (128,),
    "RandomAdjustSharpness": (1.5,),
    "ColorJitter": (0.4, 0.3, 0.2, 0.1),
    "GaussianBlur": (3,),
    "LinearTransformation": (torch.eye(12), torch.zeros(12)),
    "Normalize": ([0.5] * 3, [0.2] * 3),
    "ConvertImageDtype": (torch.float32,),
    "ToDtype": (torch.float32,),
    "RandomShortestSize": (9,),
    "RandomResize": (9, 14),
    "ScaleJitter": ((40, 50),),
    "ConvertBoundingBoxFormat": ("XYXY",),
    "SetClampingMode": ("soft",),
    "UniformTemporalSubsample": (3,),
    "JPEG": (50,),
    "MixUp": (),
    "CutMix": (),
}
PUBLISHED = [kind for kind in SPECS if not (issubclass(kind, Twin) or kind in CONTAINERS)]
CORNERS = torch.tensor([[3.0, 4.0, 30.0, 25.0], [10.0, 9.0, 22.0, 33.0]])
BOXES = tv_tensors.BoundingBoxes(CORNERS, format="XYXY", canvas_size=(37, 46))


def made(kind):
    return kind(*ARGUMENTS.get(kind.__name__, ()))


def names(kinds):
    return {"argvalues": kinds, "ids": [f"{kind.__module__.split('.')[2][:2]}.{kind.__name__}" for kind in kinds]}


@pytest.mark.filterwarnings("ignore:The transform `ToTensor")
@pytest.mark.parametrize("kind", **names(PUBLISHED))
def test_arguments_make_the_same_transform_again(kind):
    transform = made(kind)
    spec = spec_of(transform)
    assert type(spec) is SPECS[kind] is not Spec
    given = {name: spec.argument(name) for name in (*spec.arguments, *spec.tensors)}
    again = spec_of(kind(**given))
    for name, value in given.items():
        assert torch.equal(again.argument(name), value) if name in spec.tensors else again.argument(name) == value


@pytest.mark.parametrize("kind", **names([kind for kind in PUBLISHED if SPECS[kind].random]))
def test_what_is_drawn_is_read_again(kind):
    spec = spec_of(made(kind))
    assert spec.relative or set(spec.factors) <= set(spec.names)
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = spec.sample(Seen((3, 37, 46), boxes=[BOXES]))
        assert drawn is True or drawn is False or [name for name, _ in drawn] == list(spec.names)
        again = from_params(spec, json.loads(json.dumps(to_params(drawn))))
        # Of a displacement the state of a generator is kept, out of which it is drawn again.
        assert to_params(again) == to_params(drawn) if isinstance(spec, ElasticTransform) else again == drawn
        if spec.factors:
            structure, factors = spec.split(drawn, (37, 46), "tensor")
            assert len(factors) == len(spec.factors)
            assert drawn is False or len(spec.parts(structure)) == max(1, len(spec.parts(drawn)))
    for odd in (7, {"nothing": 1}, [None]):
        with pytest.raises(PipelineValueError, match=type(spec.transform).__name__):
            from_params(spec, odd)


DRAWING = [
    v2.RandomRotation,
    v2.RandomAffine,
    v2.RandomResizedCrop,
    v2.RandomChannelPermutation,
    v2.RandomShortestSize,
    v2.ScaleJitter,
    v2.RandomIoUCrop,
]


@pytest.mark.parametrize("kind", **names(DRAWING))
def test_draws_and_their_order_are_torchvisions(kind):
    transform = made(kind)
    spec = spec_of(transform)
    for seed in range(40):
        torch.manual_seed(seed)
        expected, state = transform.make_params([torch.empty(3, 37, 46), BOXES]), torch.get_rng_state()
        torch.manual_seed(seed)
        drawn = spec.sample(Seen((3, 37, 46), boxes=[BOXES]))
        assert torch.get_rng_state().equal(state)
        found = {} if drawn is False else dict(drawn)
        plain = [v.tolist() if isinstance(v, torch.Tensor) else v for v in expected.values()]
        assert [list(v) if isinstance(v, tuple) else v for v in found.values()] == [
            list(v) if isinstance(v, tuple) else v for v in plain
        ]


def test_of_others_nothing_is_known():
    spec = spec_of(Unknown(3.0))
    traits = {name for name, value in vars(Spec).items() if value is True}
    assert type(spec) is Spec
    assert not traits
    assert not spec.random
    assert spec_of(UnknownV1(3.0)).api == "v1"


COINS = {
    "v1.RandomApply": (lambda p: v1.RandomApply([v1.Pad(1)], p), lambda drawn, p: not p < drawn),
    "v2.RandomApply": (lambda p: v2.RandomApply([v2.Pad(1)], p), lambda drawn, p: not drawn >= p),
    "v1.RandomHorizontalFlip": (v1.RandomHorizontalFlip, lambda drawn, p: drawn < p),
    "v2.RandomVerticalFlip": (v2.RandomVerticalFlip, lambda drawn, p: not drawn >= p),
    "v1.RandomInvert": (v1.RandomInvert, lambda drawn, p: drawn.item() < p),
    "v2.RandomInvert": (v2.RandomInvert, lambda drawn, p: not drawn >= p),
}


@pytest.mark.parametrize("name", COINS)
def test_coins_fall_as_torchvision_compares(name):
    """At the chance itself, and at the float32 before and behind it."""
    make, applies = COINS[name]
    for p in (0.1, 1 / 3, 0.5, 0.7, 1.0):
        chance = spec_of(make(p)).chance()
        middle = torch.tensor([p])
        for drawn in (middle.nextafter(torch.zeros(1)), middle, middle.nextafter(torch.ones(1) * 2)):
            assert (drawn.item() < chance) == bool(applies(drawn, p)), (p, drawn)
