"""Weight files that are damaged, or made to harm: a typed error, or refused as uncertified, or unchanged."""

import random
import warnings
from collections import Counter

import pytest
import torch
from helpers import seed_v2, to_pil, values
from hostile import MUTATIONS, edited, resealed
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.certificate import measure
from learned_transforms.errors import LONGEST_TEXT, ApproximateWeightsError, LearnedTransformsError, WeightsError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_size import Scattered, SeparableSum, Unstructured
from learned_transforms.layers.geometry import Cropping, Flipping, Padding
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Mixing

ROUNDED = Arithmetic("float32", rounding="half_up")


def certified(layers, params, floats=False):
    """A network that is certified, as if it were right."""
    network = Network(layers, params, "uint8", floats=floats)
    network.certificate = measure([("zeros", torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))])
    return network


def images(shape=(3, 9, 8)):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def scattered():
    index = torch.randint(0, 72, (12, 2), generator=torch.Generator().manual_seed(0))
    return Scattered(index, torch.full((12, 2), 0.5).double(), torch.zeros(12).double(), (9, 8), (3, 4), ROUNDED)


def summed():
    draw = torch.Generator().manual_seed(0)
    rows, columns, weight = (torch.rand(*s, generator=draw) / 9 for s in ((2, 4, 9), (2, 5, 8), (2, 1, 3)))
    return SeparableSum(rows, columns, weight, torch.ones(1), ROUNDED)


PIPELINES = {
    "seed": lambda: seed_v2((7, 6)),
    "colors": lambda: [
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomChoice(
            [v2.GaussianBlur(3), v2.RandomOrder([v2.RandomInvert(1), v2.RandomPosterize(3, 1)])], [0.6, 0.4]
        ),
        v2.RandomRotation(30, fill=[1, 2, 3]),
        v2.RandomHorizontalFlip(),
    ],
    "windows": lambda: [
        certified(
            [Padding(), Cropping(), Mixing(torch.eye(3).double(), torch.zeros(3).double(), ROUNDED), Flipping()],
            [
                {"padding": (1, 2, 1, 0), "border": "zero", "fill": (3.0,), "limited": True},
                {"size": (6, 5), "start": (1, -6)},
                {},
                {"axis": "vertical"},
            ],
        )
    ],
    "scattered": lambda: [certified([scattered(), Lookup(torch.rand(1, 256))], [{}, {}], True)],
    "summed": lambda: [certified([summed()], [{}])],
    "cnn": lambda: [certified([Unstructured("cnn", (3, 9, 8), (1, 2, 2), 255.0, ROUNDED)], [{}])],
    "local": lambda: [certified([Unstructured("local", (3, 9, 8), (3, 9, 8), 255.0, ROUNDED)], [{}])],
}
"""By name: what makes small pipelines, with layers of every kind."""

KINDS = (*PIPELINES, "bicubic_224")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small file of each kind, and the images that its pipeline makes."""
    folder, found = tmp_path_factory.mktemp("whole"), {}
    for kind in KINDS:
        path = folder / f"{kind}.safetensors"
        if kind in PIPELINES:
            torch.manual_seed(0)
            lt.LearnedCompose(PIPELINES[kind](), fallback="torchvision").save_pretrained(path)
        else:
            path.write_bytes(weight_files.locate(kind).read_bytes())
        found[kind] = path.read_bytes(), pixels(lt.LearnedCompose.from_pretrained(path, fallback="torchvision"))
    return found


def pixels(pipeline):
    """What a pipeline makes of images, under a few seeds."""
    kind = next((t.kind for t in pipeline.transforms if isinstance(t, Network)), "uint8")
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(3):
            torch.manual_seed(seed)
            made.append(values(pipeline(to_pil(images()) if kind == "pil" else images())))
    return torch.stack(made)


def loaded(path, **options):
    """The pipeline of a file, or the error: a typed one, and no novel."""
    try:
        return lt.LearnedCompose.from_pretrained(path, fallback="torchvision", **options)
    except LearnedTransformsError as error:
        found = error
    assert isinstance(found, WeightsError), repr(found)
    assert len(str(found)) < LONGEST_TEXT + 10
    return found


def outcome(path, expected, sealed):
    """What comes of a file: ``error``, ``refused``, ``same``, or ``other``, which only a sealed file may be."""
    found = loaded(path)
    if isinstance(found, ApproximateWeightsError):
        loaded(path, allow_approximate=True)
        return "refused"
    if isinstance(found, WeightsError):
        return "error"
    if sealed:
        return "other"
    assert pixels(found).equal(expected), "what is no longer the same loads unasked"
    return "same"


def mutate(files, tmp_path, count, seed):
    """So many mutated files, and what comes of them."""
    path, found = tmp_path / "mutated.safetensors", Counter()
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        content, expected = files[KINDS[number % len(KINDS)]]
        mutation = draw.choice(MUTATIONS)
        path.write_bytes(mutation(content, draw))
        # A file whose own hash was made to fit gets further.
        sealed = mutation is edited and draw.random() < 0.5 and resealed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[outcome(path, expected, sealed)] += 1
    return found


def test_mutated_files(files, tmp_path):
    found = mutate(files, tmp_path, 1600, "quick")
    assert min(found["error"], found["refused"], found["other"]) > 10, found


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_twenty_thousand_mutated_files(files, tmp_path):
    found = mutate(files, tmp_path, 20_000, "full")
    print(dict(found))
    assert sum(found.values()) == 20_000
