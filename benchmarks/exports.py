"""ONNX graphs of pipelines in onnxruntime, on one thread: ``python benchmarks/exports.py [--rounds 15]``.

A line for each pipeline and graph: bytes, milliseconds for a uint8 image of 640 x 427, how many times as fast as
torchvision's v2 that is, and as onnxruntime's own antialiased Resize of the same image, which does the resize alone;
call by call in alternation, medians.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

SIZE = (427, 640)
END = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
PIPELINES: dict[str, list[Any]] = {
    "eval": [v2.Resize(256), v2.CenterCrop(224), *END],
    "clip": [v2.Resize(224, InterpolationMode.BICUBIC), v2.CenterCrop(224), *END],
    "train": [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *END],
    "jitter": [
        v2.RandomResizedCrop(224, (0.2, 1.0)),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomHorizontalFlip(),
        *END,
    ],
}
GRAPHS: dict[str, dict[str, Any]] = {
    "any size": {},
    "one size": {"size": SIZE},
    "one size, Pillow's": {"size": SIZE, "kind": "pil"},
    "one size, Pillow's, no float64": {"size": SIZE, "kind": "pil", "float64": False},
}


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def own_resize() -> onnxruntime.InferenceSession:
    """onnxruntime's antialiased Resize to 256 x 383, of bytes."""
    node = helper.make_node("Resize", ["image", "", "", "size"], ["made"], mode="linear", antialias=1, axes=[2, 3])
    infos = [helper.make_tensor_value_info(n, TensorProto.UINT8, ["n", 3, "h", "w"]) for n in ("image", "made")]
    size = numpy_helper.from_array(np.array([256, 383]), "size")
    graph = helper.make_graph([node], "resize", infos[:1], infos[1:], [size])
    return session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))


def measured(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each (%(default)s)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    given, resize = {"image": image[None].numpy()}, own_resize()
    print(f"{'pipeline':<9}{'graph':<32}{'bytes':>8}{'ms':>8}{'torchvision':>13}{'own Resize':>12}")
    for name, transforms in PIPELINES.items():
        compose = v2.Compose(transforms)
        for graph, options in GRAPHS.items():
            steps = [*transforms[:-2], v2.ToImage(), *END] if options.get("kind") == "pil" else transforms
            pipeline = lt.LearnedCompose(steps)
            try:
                model = lt.export.onnx(pipeline, **options)
            except lt.errors.UnsupportedTransformError:
                continue
            runs, draws = session(model), [pipeline.make_params(image) for _ in range(50)]
            rows = [lt.export.pack(pipeline, params).numpy() for params in draws]
            feeds = [given | ({"params": row} if len(row) else {}) for row in rows]
            found = measured(
                {
                    "ours": lambda runs=runs, feeds=feeds: runs.run(None, random.choice(feeds)),
                    "torchvision": lambda compose=compose: compose(image),
                    "resize": lambda: resize.run(None, given),
                },
                rounds,
            )
            ratios = f"{found['torchvision'] / found['ours']:13.2f}{found['resize'] / found['ours']:12.2f}"
            print(f"{name:<9}{graph:<32}{len(model.SerializeToString()):8}{found['ours']:8.2f}{ratios}", flush=True)


if __name__ == "__main__":
    main()
