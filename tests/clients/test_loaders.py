"""Pipelines of the corpus inside the loaders that people run them in: what comes out is what the original gives."""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import CORPUS
from likeness import INPUTS, SIZES, as_is, replaced, seeded, unlike
from PIL import Image
from torch.utils.data import DataLoader, Dataset

CHOSEN = {
    "timm: train": "whole",
    "open_clip: train": "whole",
    "clip: preprocess 224": "whole",
    "lightly: SimCLR": "inside",
    "robustness: train imagenet": "whole",
}
"""Pipelines, and the way they are replaced."""

PICTURES = [INPUTS["pil"](size)[0] for size in SIZES[:4]]

Sample = tuple[int, Image.Image]


class Seeded:
    """Pipelines that draw for each sample by the sample's number, wherever and in whatever order they run."""

    def __init__(self, pipelines: list[Any]):
        self.pipelines = pipelines

    def __call__(self, sample: Sample) -> list[Any]:
        found = []
        for pipeline in self.pipelines:
            seeded(sample[0])
            found.append(pipeline(sample[1]))
        return found

    def of_rows(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"out": [self(sample) for sample in zip(rows["index"], rows["image"], strict=True)]}

    def of_bytes(self, row: dict[str, Any]) -> dict[str, Any]:
        """Tensors go back as bytes, which Ray does not convert."""
        sample = row["index"], Image.frombytes("RGB", tuple(row["size"]), row["image"])
        return {"index": row["index"], "out": pickle.dumps(self(sample))}


class Pictures(Dataset[Any]):
    def __init__(self, pipeline: Seeded):
        self.pipeline = pipeline

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, index: int) -> Any:
        return self.pipeline((index, PICTURES[index]))


def lightning(pipeline: Seeded, folder: Path) -> list[Any]:
    """Trainer.predict over a LightningDataModule with one spawned worker."""
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def predict_step(self, batch: Any) -> Any:
            return batch

    class Data(pl.LightningDataModule):
        def predict_dataloader(self) -> Any:
            options = {"num_workers": 1, "multiprocessing_context": "spawn", "collate_fn": as_is}
            return DataLoader(Pictures(pipeline), None, **options)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **quiet).predict(
        Module(), datamodule=Data()
    )


def rows() -> dict[str, list[Any]]:
    return {"index": list(range(len(PICTURES))), "image": PICTURES}


def hugging_face(pipeline: Seeded, folder: Path) -> list[Any]:
    """Dataset.with_transform."""
    import datasets

    features = datasets.Features({"index": datasets.Value("int64"), "image": datasets.Image()})
    return [row["out"] for row in datasets.Dataset.from_dict(rows(), features).with_transform(pipeline.of_rows)]


def webdataset(pipeline: Seeded, folder: Path) -> list[Any]:
    """A shard of PNG files, decoded and mapped in a worker."""
    import webdataset as wds

    with wds.TarWriter(str(folder / "shard.tar")) as sink:
        for index, image in enumerate(PICTURES):
            sink.write({"__key__": f"{index:04}", "png": image, "cls": index})
    shard = wds.WebDataset(str(folder / "shard.tar"), shardshuffle=False).decode("pil").to_tuple("cls", "png")
    return list(wds.WebLoader(shard.map(pipeline), None, num_workers=1, collate_fn=as_is))


def nodes(method: str) -> Callable[[Seeded, Path], list[Any]]:
    """torchdata's ParallelMapper, with one worker: threads share the generators, and would draw in any order."""

    def run(pipeline: Seeded, folder: Path) -> list[Any]:
        from torchdata.nodes import IterableWrapper, Loader, ParallelMapper

        context = "spawn" if method == "process" else None
        options = {"num_workers": 1, "method": method, "multiprocessing_context": context}
        return list(Loader(ParallelMapper(IterableWrapper(list(enumerate(PICTURES))), pipeline, **options)))

    return run


def stateful(pipeline: Seeded, folder: Path) -> list[Any]:
    """torchdata's StatefulDataLoader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    context = multiprocessing.get_context("spawn")
    data = Pictures(pipeline)
    return list(StatefulDataLoader(data, None, num_workers=1, multiprocessing_context=context, collate_fn=as_is))


def ray_data(pipeline: Seeded, folder: Path) -> list[Any]:
    """Ray Data's map over rows, in its own processes."""
    import ray

    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"index": i, "size": list(p.size), "image": p.tobytes()} for i, p in enumerate(PICTURES)]
    found = sorted(ray.data.from_items(items).map(pipeline.of_bytes).take_all(), key=lambda row: row["index"])
    ray.shutdown()
    return [pickle.loads(row["out"]) for row in found]


LOADERS = {
    "lightning": lightning,
    "datasets": hugging_face,
    "webdataset": webdataset,
    "torchdata threads": nodes("thread"),
    "torchdata processes": nodes("process"),
    "torchdata stateful": stateful,
    "ray": ray_data,
}


def chosen() -> tuple[list[Any], list[Any]]:
    """The pipelines as replaced, and the originals."""
    ours = [replaced(CORPUS[name].build(), way) for name, way in CHOSEN.items()]
    return [one.pipeline for one in ours], [CORPUS[name].build() for name in CHOSEN]


# What these warn of in their own threads and at exit is not of our making.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in LOADERS])
def test_as_the_original(name: str, tmp_path: Path):
    ours, originals = chosen()
    expected = list(map(Seeded(originals), enumerate(PICTURES)))
    assert unlike(LOADERS[name](Seeded(ours), tmp_path), expected, rounds=True) == []


def test_fingerprints_stay():
    from datasets.fingerprint import Hasher

    for pipeline in chosen()[0]:
        before = Hasher.hash(pipeline)
        pipeline(PICTURES[0])
        assert Hasher.hash(pipeline) == before, pipeline
