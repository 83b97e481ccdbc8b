"""Program files, and what runs them without Python: the library of C, and its module in Node and in a browser."""

import hashlib
import importlib.util
import json
import platform
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import runtime_cases
import torch
from safetensors import safe_open
from torchvision import transforms as v1
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms import errors, export
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_size import FixedResampling
from learned_transforms.layers.network import Network

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
MODULE = WEB / "learned_transforms.wasm"
BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    *(f"--disable-{what}" for what in ("gpu", "quic", "background-networking", "component-update", "sync")),
)
"""Of the browser, which asks nobody but this machine."""

LARGEST_MODULE = 400_000
"""Bytes."""

needs_module = pytest.mark.skipif(
    not MODULE.is_file() or shutil.which("node") is None, reason="needs Node, and the module that tools/wasm builds"
)


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluation() -> lt.LearnedCompose:
    return lt.LearnedCompose(
        [v2.Resize(32), v2.CenterCrop(28), v2.ToDtype(torch.float32, scale=True)], fallback="error"
    )


def training() -> lt.LearnedCompose:
    steps = [v1.RandomResizedCrop(24), v1.RandomHorizontalFlip(), v1.RandomGrayscale(0.5), v1.ToTensor()]
    return lt.LearnedCompose(steps, fallback="error")


def metadata_of(content: bytes) -> dict[str, str]:
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


# Files.


def test_a_file_tells_of_itself(tmp_path):
    path = tmp_path / "folder" / "eval.ltp"
    content = export.program(evaluation(), path)
    assert path.read_bytes() == content == export.program(evaluation())
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        assert all(np.isfinite(file.get_tensor(key).astype(float)).all() for key in file.keys())  # noqa: SIM118
    assert json.loads(metadata["pipeline"])[0]["transform"] == "v2.Resize"
    assert json.loads(metadata["certificates"])["uint8/resize_bilinear"]["differing"] == 0
    without = content.replace(metadata["digest"].encode(), b"0" * 64, 1)
    assert metadata["digest"] == hashlib.sha256(without).hexdigest()


def test_operations_are_written_once_for_all_outcomes():
    described = json.loads(metadata_of(export.program(training(), kind="pil"))["program"])
    assert described["coins"] == ["RandomHorizontalFlip", "RandomGrayscale"]
    assert described["windowed"]
    lists = [stages for stages, _ in described["outcomes"]]
    assert [len(stages) for stages in lists] == [2, 3, 4, 5]
    assert len(described["stages"]) == 5


def test_draws_are_inputs_of_programs():
    pipeline = training()
    params = [{"top": 1, "left": 2, "height": 20, "width": 30}, None, {}, {}]
    assert export.draw_of(pipeline, params, kind="pil") == {"outcome": 2, "window": [1, 2, 20, 30]}
    assert export.draw_of(evaluation(), [{}] * 3) == {"outcome": 0, "window": None}
    with pytest.raises(errors.PipelineValueError, match="a list of 4 params"):
        export.draw_of(pipeline, params[:2], kind="pil")


def mine(image):
    return image


@pytest.mark.parametrize(
    ("transforms", "kind", "told"),
    [
        ([v2.Resize(8), mine], "uint8", "mine cannot be part of a program file: .*Leave it out of this pipeline"),
        ([v2.ColorJitter(0.5)], "uint8", "ColorJitter cannot be part of a program file: it draws other things"),
        ([v2.Resize(9), v2.RandomCrop(8)], "pil", "RandomCrop cannot be part of a program file: it draws other things"),
        ([v2.RandomHorizontalFlip(), v2.RandomResizedCrop(8)], "pil", "RandomResizedCrop cannot .* those before it"),
        ([v2.FiveCrop(8)], "uint8", "FiveCrop cannot be part of a program file: it makes several"),
        ([v2.RandomErasing()], "uint8", "RandomErasing cannot be part of a program file"),
        ([v1.ToTensor()], "uint8", "ToTensor cannot be part of a program file: ToTensor takes PIL images"),
        ([v2.RandomHorizontalFlip() for _ in range(11)], "uint8", "RandomHorizontalFlip .* 10 coins before it"),
    ],
)
def test_what_no_file_holds_is_named(transforms, kind, told):
    with pytest.raises(errors.UnsupportedTransformError, match=told):
        export.program(lt.LearnedCompose(transforms, fallback="torchvision"), kind=kind)


def test_mistakes_of_a_caller():
    with pytest.raises(errors.PipelineTypeError, match="Expected a LearnedCompose"):
        export.program(v2.Resize(8))
    with pytest.raises(errors.PipelineValueError, match="kind"):
        export.program(evaluation(), kind="float32")
    with pytest.raises(errors.PipelineValueError, match="channels"):
        export.program(evaluation(), channels=0)
    with pytest.raises(errors.PipelineValueError, match=r"size to be \(rows, columns\)"):
        export.program(evaluation(), size=(0, 8))
    with pytest.raises(errors.WeightsError, match="a path to write to"):
        export.program(evaluation(), "")


def test_layers_of_one_size_need_it():
    matrix, how = torch.eye(4)[:3], Arithmetic("float32", rounding="half_up")
    pipeline = lt.LearnedCompose([Network([FixedResampling(matrix, matrix, how)], [{}], "uint8", floats=False)])
    with pytest.raises(errors.UnsupportedTransformError, match=r"Pass size=\(rows, columns\)"):
        export.program(pipeline)
    assert json.loads(metadata_of(export.program(pipeline, size=(4, 4)))["program"])["size"] == [4, 4]


def test_what_is_certain_is_no_coin():
    pipeline = lt.LearnedCompose(
        [v2.RandomHorizontalFlip(1), v2.RandomInvert(0), v2.RandomSolarize(9)], fallback="error"
    )
    described = json.loads(metadata_of(export.program(pipeline))["program"])
    assert described["coins"] == ["RandomSolarize"]
    assert [len(stages) for stages, _ in described["outcomes"]] == [1, 2]
    assert export.draw_of(pipeline, [{}, None, {}])["outcome"] == 1
    with pytest.raises(errors.PipelineValueError, match="RandomHorizontalFlip to be applied always"):
        export.draw_of(pipeline, [None, None, {}])


# The library of C.


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder of the programs of tests/native, with portable kernels alone: tools/c_test has the others."""
    if shutil.which("cmake") is None or shutil.which("cc") is None or shutil.which("c++") is None:
        pytest.skip("needs CMake and compilers of C and C++")
    folder = tmp_path_factory.mktemp("native")
    portable = [f"-DCMAKE_SYSTEM_NAME={platform.system()}", "-DCMAKE_SYSTEM_PROCESSOR=none"]
    run = partial(subprocess.run, check=True, capture_output=True)
    run(["cmake", "-S", ROOT / "tests" / "native", "-B", folder, *portable])
    run(["cmake", "--build", folder, "--target", "runtime", "fuzz_program", "--parallel", "2"])
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    path = tmp_path_factory.mktemp("cases") / "cases"
    path.write_bytes(b"".join(map(runtime_cases.packed, runtime_cases.cases(80, 500))))
    return path


def test_c_gives_the_pixels_of_python(built, cases):
    made = subprocess.run([built / "runtime", cases], capture_output=True, text=True)
    assert (made.returncode, made.stdout) == (0, "0 of 80 cases differ, in 0 bytes; 0 mistakes have another status\n")


def test_a_changed_expectation_is_seen(built, cases, tmp_path):
    changed = bytearray(cases.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed").write_bytes(changed)
    made = subprocess.run([built / "runtime", tmp_path / "changed"], capture_output=True, text=True)
    assert made.returncode == 1
    assert "1 of 80 cases differ" in made.stdout


def test_damaged_files_have_a_status(built, tmp_path):
    export.program(evaluation(), tmp_path / "eval.ltp")
    export.program(training(), tmp_path / "train.ltp", kind="pil")
    files = sorted(tmp_path.glob("*.ltp"))
    made = subprocess.run([built / "fuzz_program", "3000", "0", *files], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.endswith("0 wrong\n")


def recipe(language: str) -> str:
    """Return the first example of a language in docs/runtimes.md."""
    return (ROOT / "docs" / "runtimes.md").read_text().partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a folder in which the example of Python ran, and what its pipeline makes of a black photo, in words."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(recipe("python"), names)
    made = names["evaluation"](torch.zeros(3, 427, 640, dtype=torch.uint8))
    assert (tmp_path / "eval.ltp").is_file()
    return tmp_path, " x ".join(map(str, made.shape)), float(made[0, 0, 0])


def test_the_example_of_c_runs(built, written):
    folder, shape, first = written
    (folder / "main.c").write_text(recipe("c"))
    headers = ROOT / "learned_transforms" / "kernels" / "native" / "c"
    found = next(built.rglob("liblt_runtime.so")).parent
    link = ["-I", headers, "-L", found, "-llt_runtime", f"-Wl,-rpath,{found}"]
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "main.c", "-o", "main", *link], cwd=folder, check=True)
    made = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert made == f"{shape}, the first value {first:.9g}\n"


# The module in Node and in a browser.


@needs_module
def test_the_module_is_of_these_sources():
    found = (WEB / "learned_transforms.sources").read_text().strip()
    assert found == loaded(ROOT / "tools" / "wasm_sources.py").digest(), "Run tools/wasm: the native sources changed."
    assert MODULE.stat().st_size < LARGEST_MODULE


@needs_module
def test_node_gives_the_pixels_of_python(cases):
    made = subprocess.run(["node", ROOT / "tests" / "web" / "cases.mjs", cases], capture_output=True, text=True)
    assert json.loads(made.stdout or "{}") == {"cases": 80, "bad": [], "mistakes": []}, made.stderr


class Served(SimpleHTTPRequestHandler):
    """Serves the source tree, and the cases; what pages report is kept."""

    cases: Path
    told: Queue

    def translate_path(self, path):
        return str(self.cases) if path == "/cases" else super().translate_path(path)

    def do_POST(self):
        self.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def reported(cases, tmp_path):
    """Return what gives what a page of tests/web reports in a headless browser."""
    if BROWSER is None:
        pytest.skip("needs Chromium")
    handler = type("Handler", (Served,), {"cases": cases, "told": Queue()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=ROOT))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def report(page: str):
        url = f"http://127.0.0.1:{server.server_port}/tests/web/{page}"
        command = [BROWSER, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={tmp_path}", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return handler.told.get(timeout=300)
            finally:
                browser.terminate()

    yield report
    server.shutdown()
    server.server_close()


@needs_module
def test_a_browser_gives_the_pixels_of_python(reported):
    found = reported("cases.html")
    assert "Chrome/" in found.pop("browser", "")
    assert found == {"cases": 80, "bad": [], "mistakes": []}


@needs_module
def test_the_demo_shows_the_hash_of_python(reported):
    golden = json.loads((WEB / "demo" / "files" / "golden.json").read_text())
    expected = [
        [program, photo, answers[0]["sha256"]]
        for program, one in golden["programs"].items()
        for photo, answers in one["python"].items()
    ]
    assert len(expected) == 9
    assert reported("demo.html") == [[*known, known[2], "yes, all values"] for known in expected]


@needs_module
def test_the_example_of_javascript_runs(written):
    folder, shape, first = written
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "learned-transforms").symlink_to(WEB)
    (folder / "main.mjs").write_text(recipe("js"))
    made = subprocess.run(["node", "main.mjs"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert made == f"{shape}, the first value {first}\n"


@needs_module
def test_the_demo_is_of_this_python(tmp_path, monkeypatch):
    made = loaded(WEB / "demo" / "make.py")
    monkeypatch.setattr(made, "HERE", tmp_path)
    made.main()
    for path in (WEB / "demo" / "files").iterdir():
        assert path.read_bytes() == (tmp_path / "files" / path.name).read_bytes(), f"{path.name}: run tools/wasm"
