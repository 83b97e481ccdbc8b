"""The demo: train, certify, time, and write a report that needs nothing but a browser."""

import base64
import html
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from tqdm import tqdm

from learned_transforms.certificate import Certificate
from learned_transforms.choices import Architecture
from learned_transforms.errors import PipelineValueError
from learned_transforms.layers.fixed_size import Separable
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import Result, retrain
from learned_transforms.trainer.data.bundled import held_out_images, training_images
from learned_transforms.trainer.data.sources import as_kind
from learned_transforms.trainer.figures import Example, curves, drawing, examples, kernel, matrices, new_figure
from learned_transforms.trainer.stages import tell
from learned_transforms.trainer.zoo.build import learn
from learned_transforms.trainer.zoo.certify import compare
from learned_transforms.trainer.zoo.teachers import TEACHER_KINDS, opaque, seed_pipeline

SHAPE = (3, 32, 32)
RUNS = 5
BATCH = 1024
PLAIN_EPOCHS: dict[Architecture, int] = {"dense": 20, "cnn": 15}
TITLE = "Resize((28, 28)) → RandomHorizontalFlip(p=1) → RandomVerticalFlip(p=1) → Grayscale(1) → float"

Times = dict[str, dict[str, float]]
"""By device and by what ran: median seconds for one pass over the whole set."""


def demo(out: Path, count: int = 4000, certified: int = 400, progress: bool = True) -> dict[str, Any]:
    """Run the demo, and write ``index.html``, ``report.json`` and the pictures into ``out``.

    Args:
        count: training images.
        certified: held-out images of each group.
        progress: show progress bars, where the output is a terminal; elsewhere, print a line for each stage to stderr.

    Returns:
        What ``report.json`` holds.

    Raises:
        PipelineValueError: a count below 1. DataError: too few training images.
        MissingExtraError: Matplotlib is not installed.
    """
    start = time.perf_counter()
    if count < 1 or certified < 1:
        raise PipelineValueError(f"Expected count and certified of at least 1, got {count!r} and {certified!r}.")
    out.mkdir(parents=True, exist_ok=True)
    new_figure(1, 1)  # If Matplotlib is missing, that is said before minutes of training.
    with tqdm(total=7, desc="demo", disable=None if progress else True) as bar:

        def done(stage: str) -> None:
            bar.update()
            tell(f"demo: {stage} ({time.perf_counter() - start:.0f} s so far)", progress)

        results: dict[str, Result] = {}
        for name in ("uint8", "pil", "float32"):
            results[name] = learn(name, count, progress)
            done(f"learned the seed from {TEACHER_KINDS[name]} images: {results[name].certificate}")
        networks = dict(results["uint8"].networks)
        history = list(results["uint8"].history)
        for arch, epochs in PLAIN_EPOCHS.items():
            plain = retrain(
                opaque(seed_pipeline("uint8")),
                training_images(count),
                kind="uint8",
                count=count,
                arch=arch,
                epochs=epochs,
                progress=progress,
            )
            networks[arch] = plain.networks[arch]
            history += plain.history
            done(f"trained a plain network, {arch}: {plain.certificate}")
        certificates = certify_all(networks, results, certified)
        done(f"certified {len(certificates)} networks on held-out images")
        times = time_all(networks, training_images(count))
        done(f"timed {len(networks)} networks and the transforms")
    pictures = draw_all(out, networks, results["uint8"], history)
    report = {
        "job": TITLE,
        "seconds": time.perf_counter() - start,
        "machine": machine(),
        "images": {"training": count, "held out, each group": certified},
        "certificates": {name: certificate.to_json() for name, certificate in certificates.items()},
        "learned": learned_numbers(results),
        "times": times,
        "trials": [asdict(trial) for trial in results["uint8"].trials],
        "history": [asdict(epoch) for epoch in history],
        "notes": {name: result.notes for name, result in results.items()},
    }
    (out / "report.json").write_text(json.dumps(report, indent=1))
    (out / "index.html").write_text(page(report, certificates, pictures))
    return report


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """Return the processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def certify_all(networks: Mapping[str, Network], results: Mapping[str, Result], count: int) -> dict[str, Certificate]:
    """Each form of the uint8 network, and the kernel forms of the others, on held-out photos and patterns."""
    groups = {name: list(images) for name, images in held_out_images(count).items()}
    found = {}
    for name, network in networks.items():
        found[f"uint8, {name}"] = compare(network, opaque(seed_pipeline("uint8")), groups, "uint8")
    for kind in ("pil", "float32"):
        transform = results[kind].transform
        found[f"{kind}, kernel"] = compare(transform, opaque(seed_pipeline(kind)), groups, kind)
    return found


def learned_numbers(results: Mapping[str, Result]) -> dict[str, Any]:
    """Kernel, channel weights and arithmetic of each kernel form, as learned and selected."""
    found = {}
    for name, result in results.items():
        for layer in result.networks.get("kernel", Network([], [], name)).layers:
            numbers = {key: value.tolist() for key, value in layer.named_parameters() if value.numel() < 64}
            if numbers:
                found[f"{name}, {type(layer).__name__}"] = {**numbers, "arithmetic": str(layer.arithmetic)}
    return found


def time_all(networks: Mapping[str, Network], images: Tensor) -> Times:
    """Seconds for one pass over all images: transforms one by one and batched, and each network batched."""
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    times: Times = {}
    pil = [as_kind(image, "pil") for image in images]
    v1_teacher, v2_teacher = opaque(seed_pipeline("pil")), opaque(seed_pipeline("uint8"))
    for device in devices:
        here = images.to(device)
        jobs: dict[str, Callable[[], Any]] = {
            "torchvision v1 on PIL, one by one": partial(run_all, v1_teacher, pil),
            "torchvision v2 on tensors, one by one": partial(run_all, v2_teacher, here),
            "torchvision v2, batched": partial(v2_teacher, here),
        }
        for name, network in networks.items():
            jobs[f"{name} network, batched"] = partial(run_all, network.to(device), here.split(BATCH))
        times[device] = {name: median_seconds(job, device) for name, job in jobs.items()}
        for network in networks.values():
            network.to("cpu")
    return times


def run_all(transform: Callable[[Any], Any], images: Iterable[Any]) -> None:
    for image in images:
        transform(image)


def median_seconds(job: Callable[[], Any], device: str) -> float:
    """Median over a few runs after a warm-up; fewer for jobs that take long."""
    seconds = []
    for run in range(RUNS + 1):
        start = time.perf_counter()
        job()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if run and sum(seconds) > 4:
            break
    return statistics.median(seconds[1:])


def draw_all(out: Path, networks: Mapping[str, Network], result: Result, history: Sequence[Any]) -> dict[str, Path]:
    """Every picture of the report, by caption."""
    teacher = opaque(seed_pipeline("uint8"))
    groups = held_out_images(8, seed=5)
    chosen = [("photo", groups["photos"][i]) for i in (0, 3, 6)] + [(n, groups[n][1]) for n in ("noise", "edges")]
    names = {"separable": "Step one: free separable network", "kernel": "Step two: kernel form"}
    pictures = {}
    for name, network in networks.items():
        rows = [Example(label, image, teacher(image), network(image)) for label, image in chosen]
        title = names.get(name, f"Plain network: {name}")
        pictures[f"{title}. Input, label, model output, error"] = examples(rows, title, out / f"examples_{name}.png")
    pictures["The networks, as the plans that they come to"] = drawing(networks, SHAPE, out / "model.png")
    pictures["Training curve"] = curves(history, out / "training.png", "train")
    pictures["Validation curves"] = curves(history, out / "validation.png", "val")
    free = result.networks["separable"].layers[0]
    if isinstance(free, Separable):
        caption = "The learned matrices: mirrored diagonals, because both flips were learned"
        pictures[caption] = matrices(free, out / "matrices.png")
    if "kernel" in result.networks and result.fitted is not None:
        layer = result.networks["kernel"].layers[0]
        if isinstance(layer, Resampling):
            pictures["The learned kernel, before and after snapping"] = kernel(result.fitted, layer, out / "kernel.png")
    return pictures


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-size: .9rem } td, th { padding: .25rem .7rem; text-align: right }
td:first-child, th:first-child { text-align: left; white-space: nowrap } tr + tr { border-top: 1px solid #ddd }
.proved, .exact { color: #12702f; font-weight: 600 } .rounding { color: #8a6d00 } .approximate { color: #a3341c }
img { max-width: 100% } figure { margin: 1.5rem 0 } figcaption { font-size: .9rem; color: #555 }
code { background: #f3f3f3; padding: 0 .2rem } pre { background: #f3f3f3; padding: .7rem; overflow-x: auto;
  font-size: .8rem }
"""


def page(report: Mapping[str, Any], certificates: Mapping[str, Certificate], pictures: Mapping[str, Path]) -> str:
    """Return the report as one file: styles and pictures inside, nothing fetched."""
    figures = "\n".join(
        f'<figure><figcaption>{html.escape(caption)}</figcaption><img alt="{html.escape(caption)}" '
        f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"></figure>'
        for caption, path in pictures.items()
    )
    about = ", ".join(f"{name} {value}" for name, value in report["machine"].items() if value is not None)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>learned_transforms: the seed, learned</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>
<h1>The seed, learned end to end</h1>
<p><code>{html.escape(report["job"])}</code>, from 3×32×32 to 1×28×28. Networks learned it from
{report["images"]["training"]:,} pairs of image and label by mean squared error with early stopping; nothing in them was
written by hand. The whole run took {report["seconds"]:.0f} s.</p><p>{html.escape(about)}</p>
<h2>Fidelity on held-out photos and patterns</h2>{certificate_table(certificates)}
<h2>Seconds for one pass over {report["images"]["training"]:,} images</h2>{times_table(report["times"])}
<h2>Pictures</h2>{figures}
<h2>What was learned</h2><pre>{html.escape(json.dumps(report["learned"], indent=1))}</pre>
<h2>Arithmetics tried for uint8 tensors</h2>{trials_table(report["trials"])}
</body></html>
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; cells are HTML already."""
    lines = ["".join(f"<th>{cell}</th>" for cell in head)] + ["".join(f"<td>{c}</td>" for c in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def certificate_table(certificates: Mapping[str, Certificate]) -> str:
    head = ("network", "tier", "images", "values", "differing", "equal", "largest error, levels", "PSNR, dB", "SSIM")
    rows = [
        (
            html.escape(name),
            f'<span class="{c.tier}">{c.tier}</span>',
            f"{c.images:,}",
            f"{c.values:,}",
            f"{c.differing:,}",
            f"{c.equal:.4%}",
            f"{c.largest:.3g}",
            f"{c.psnr:.1f}".replace("inf", "∞"),
            f"{c.ssim:.6f}",
        )
        for name, c in certificates.items()
    ]
    return table(head, rows)


def times_table(times: Mapping[str, Mapping[str, float]]) -> str:
    """Seconds, and how many times faster than the sequential transforms on tensors."""
    rows = []
    for device, entries in times.items():
        base = entries["torchvision v2 on tensors, one by one"]
        rows += [(html.escape(f"{device}: {name}"), f"{s:.4f}", f"{base / s:.1f}×") for name, s in entries.items()]
    if "cuda" not in times:
        rows.append(("cuda", "not measured: no GPU here", ""))
    return table(("what", "seconds", "against v2, one by one"), rows)


def trials_table(trials: Sequence[Mapping[str, Any]]) -> str:
    rows = [(html.escape(t["form"]), f"{t['differing']:.4%}", f"{t['largest']:.3g}") for t in trials]
    return table(("form", "differing", "largest error"), rows)
