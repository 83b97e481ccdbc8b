"""The worst files of less than a megabyte: a typed error, or loaded, in less than a second and 200 megabytes."""

import json
import subprocess
import sys

import pytest
import torch
from hostile import DEEP, LONG, RAW, joined, parted, resealed
from safetensors.torch import save

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.errors import LONGEST_TEXT, ProcessorError, WeightsError

INT = {"number": "int", "bits": 22, "rounding": "half_up", "each_pass": True}
FLOAT = {"number": "float32", "rounding": "half_up"}
MANY = 900_000
RESIZE = {"transform": "v2.Resize", "arguments": {"size": [9, 9]}}
COLOR = {"transform": "v2.ColorJitter", "arguments": dict.fromkeys(("brightness", "contrast"), 0.5)}


def file_of(tensors=None, **parts):
    """A file with such parts; what is not given is empty."""
    whole = {"layers": {}, "pipeline": [RESIZE], "certificates": {}, "provenance": {}, "about": {}, **parts}
    header, data = parted(save(tensors or {}, {"format": weight_files.FORMAT, **dict.fromkeys(whole, "0")}))
    text = parts.pop("text", "null")
    return joined({**header, "__metadata__": {"format": weight_files.FORMAT, **whole}}, data, text)


def layer(name, tensors, **options):
    """A file with a network of one layer."""
    entry = {"layer": name, "options": options, "weights": sorted(tensors)}
    network = {"layers": ["0/0"], "params": [{}], "kind": "uint8"}
    own = {f"0/0.{key}": value for key, value in tensors.items()}
    return file_of(own, layers={"0/0": entry}, pipeline=[{"network": network}])


def nested(kind, depth, width):
    """Containers in containers."""
    inner = RESIZE if not depth else nested(kind, depth - 1, width)
    return {"transform": kind, "arguments": {}, "transforms": [inner] * width}


def unstructured(kind, shape, output):
    options = {"kind": kind, "shape": shape, "output": output, "full": 255.0, "arithmetic": FLOAT}
    return layer("Unstructured", {"body.0.weight": torch.zeros(1)}, **options)


def kernel(*shape):
    weights = {"kernel": torch.ones(shape).double(), "shift": torch.zeros(2)}
    return layer("Resampling", weights, arithmetic=INT)


def separable(channels):
    one, many = torch.ones(1, 1), torch.ones(channels, 1)
    weights = {"rows": one, "columns": one.clone(), "weight": many, "bias": many[:, 0].clone()}
    return layer("Separable", weights, arithmetic=FLOAT)


def shifted(dimensions):
    """A tensor of so many dimensions, of one value."""
    header = {"x": {"dtype": "F64", "shape": [1] * dimensions, "data_offsets": [0, 8]}}
    return joined({"__metadata__": {"format": weight_files.FORMAT}, **header}, b"\0" * 8)


def certificates(count):
    with open(weight_files.locate("bicubic_224"), "rb") as file:
        (one,) = parted(file.read())[0]["__metadata__"]["certificates"].values()
    return {f"x {n}": one for n in range(count)}


GRAY = {"layer": "Mixing", "options": {"arithmetic": FLOAT}, "weights": ["bias", "weight"]}


def many_layers(count):
    """Small layers, each of them used by a network."""
    weights = {"weight": torch.ones(1, 3).double() / 3, "bias": torch.zeros(1).double()}
    tensors = {f"{n}/0.{name}": value.clone() for n in range(count) for name, value in weights.items()}
    networks = [{"network": {"layers": [f"{n}/0"], "params": [{}], "kind": "uint8"}} for n in range(count)]
    return file_of(tensors, layers={f"{n}/0": GRAY for n in range(count)}, pipeline=networks)


HUGE = [2**16] * 3
WORST = {
    "dense of 2^96 weights": lambda: unstructured("dense", HUGE, HUGE),
    "dense of a few gigabytes": lambda: unstructured("dense", [3, 128, 128], [3, 64, 64]),
    "cnn of 2^80 weights": lambda: unstructured("cnn", [3, 2**16, 2**16], HUGE),
    "shape beyond int64": lambda: unstructured("dense", [2**70, 1, 1], [1, 1, 1]),
    "negative shape": lambda: unstructured("dense", [-3, -5, 1], [1, 1, 1]),
    "deep lists": lambda: file_of(about={"x": RAW}, text=DEEP),
    "deep pipeline": lambda: file_of(pipeline=[{**nested("v2.Compose", 0, 1), "transforms": RAW}], text=DEEP),
    "deep containers": lambda: file_of(pipeline=[nested("v2.Compose", 200, 1)]),
    "a very long number": lambda: file_of(about={"x": RAW}, text=LONG),
    "65 dimensions": lambda: shifted(65),
    "2,000 dimensions": lambda: shifted(2000),
    "orders of many": lambda: file_of(pipeline=[nested("v2.RandomOrder", 0, 8000)]),
    "orders of orders": lambda: file_of(pipeline=[nested("v1.RandomOrder", 10, 2)]),
    "many small orders": lambda: file_of(pipeline=[nested("v2.RandomOrder", 0, 31)] * 300),
    "many transforms": lambda: file_of(pipeline=[COLOR] * 8000),
    "as many as there may be": lambda: file_of(pipeline=[COLOR] * 1024),
    "many layers": lambda: many_layers(2000),
    "as many layers as there may be": lambda: many_layers(512),
    "one layer many times": lambda: file_of(
        layers={"0/0": {"layer": "Flipping", "options": {}, "weights": []}},
        pipeline=[{"network": {"layers": ["0/0"] * 500, "params": [None] * 500, "kind": "uint8"}}] * 100,
    ),
    "many certificates": lambda: file_of(certificates=certificates(700)),
    "many short lists": lambda: file_of(about={"x": [[] for _ in range(MANY // 4)]}),
    "many numbers": lambda: file_of(pipeline=[{**RESIZE, "arguments": {"size": [1] * (MANY // 3)}}]),
    "a long text": lambda: file_of(pipeline=[{"transform": "x" * MANY, "arguments": {}}]),
    "a long key": lambda: file_of({"x" * MANY: torch.zeros(1)}),
    "many tensors": lambda: file_of({f"{n}": torch.zeros(1) for n in range(10_000)}),
    "a kernel of many pieces": lambda: kernel(50_000, 2),
    "a kernel of many terms": lambda: kernel(2, 50_000),
    "many channels": lambda: separable(80_000),
    "many bits": lambda: layer("Mixing", {}, arithmetic={**INT, "bits": 2**40}),
    "wide borders": lambda: file_of(
        layers={"0/0": {"layer": "Padding", "options": {}, "weights": []}},
        pipeline=[
            {
                "network": {
                    "layers": ["0/0"],
                    "params": [{"padding": [2**40] * 4, "border": "edge", "fill": [0], "limited": False}],
                    "kind": "uint8",
                }
            }
        ],
    ),
    "a header that lies": lambda: b"\xff" * 7 + b"\x7f" + b"{}" * 9000,
    "a header of 900 kB": lambda: (MANY).to_bytes(8, "little") + b"{" * MANY,
}
FINE = {
    "deep containers",
    "as many as there may be",
    "as many layers as there may be",
    "many certificates",
    "many short lists",
}
"""Those that are only large."""

SCRIPT = """
import json, sys, time, warnings
from pathlib import Path
import learned_transforms as lt
from learned_transforms.errors import LearnedTransformsError

warnings.simplefilter("ignore")
lt.LearnedCompose.from_pretrained("cifar10_gray28")

def most():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmHWM"].split()[0]) / 1024

found, before = {}, most()
for path in sorted(Path(sys.argv[1]).glob("*.safetensors")):
    start = time.process_time()
    try:
        lt.LearnedCompose.from_pretrained(path, allow_approximate=True)
        text = ""
    except LearnedTransformsError as error:
        text = f"{type(error).__name__}: {error}"
    found[path.stem] = time.process_time() - start, most() - before, text
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """For each file: seconds of the processor, megabytes above the start so far, and the error; in a process apart."""
    folder = tmp_path_factory.mktemp("worst")
    for name, make in WORST.items():
        path = folder / f"{name}.safetensors"
        path.write_bytes(make())
        assert path.stat().st_size < 2**20, name
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", WORST)
def test_no_file_costs_more_than_it_is_worth(costs, name):
    seconds, megabytes, text = costs[name]
    assert seconds < 1
    assert megabytes < 200
    assert bool(text) == (name not in FINE), text[:300]
    assert not text or text.startswith("WeightsError")
    assert len(text) < LONGEST_TEXT + 99


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("provenance", None),
        ("provenance", {"uint8/gray.weight": None}),
        ("about", None),
        ("certificates", {"uint8/gray": {"tier": "exact"}}),
        ("pipeline", None),
        ("pipeline", [None]),
        ("pipeline", [{"network": None}]),
        ("pipeline", [{"transform": ["v2.Resize"], "arguments": {}}]),
        ("pipeline", [{"transform": "v2.ToDtype", "arguments": {"dtype": {"dtype": "load"}}}]),
        ("pipeline", [{"transform": "v2.ToDtype", "arguments": {"dtype": {"tensor": [[1, 2], [3]], "dtype": "int8"}}}]),
    ],
)
def test_damaged_parts_are_typed_errors(tmp_path, part, value):
    header, data = parted(weight_files.locate("cifar10_gray28").read_bytes())
    header["__metadata__"][part] = value
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(joined(header, data))
    resealed(path)
    with pytest.raises(WeightsError):
        lt.LearnedCompose.from_pretrained(path, allow_approximate=True)


PARAMS = [
    *({}, {"size": None}, {"size": []}, {"size": [1, 2, 3]}, {"size": [0, 5]}, {"size": ["9", 9]}, {"size": [9.5, 9]}),
    *({"size": [True, 9]}, {"size": 9}, {"size": [9, 9], "max_size": -1}, {"size": [9, 9], "antialias": 1}),
    *({"size": [9, 9], "color": 1}, {"size": [2**62, 9]}, [], 3),
]


@pytest.mark.parametrize("params", PARAMS)
def test_damaged_params_are_typed_errors(tmp_path, params):
    header, data = parted(weight_files.locate("bicubic_224").read_bytes())
    header["__metadata__"]["pipeline"][0]["network"]["params"] = [params]
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(joined(header, data))
    assert resealed(path)
    with pytest.raises(WeightsError, match="Expected"):
        lt.LearnedCompose.from_pretrained(path, allow_approximate=True)


@pytest.mark.parametrize(
    "text", [DEEP, '{"a": ' + LONG + "}", "[" * 900 + "]" * 900, "{"], ids=["deep", "long", "900", "cut"]
)
def test_configurations_that_cannot_be_read(text, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ProcessorError, match="Expected a configuration in JSON in"):
        lt.LearnedCompose.from_processor(tmp_path)
