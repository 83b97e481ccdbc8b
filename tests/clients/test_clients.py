"""Every pipeline of the corpus against its original: on each kind of image and size, pickled, and in a worker."""

import pickle
from itertools import product

import pytest
from corpus import CORPUS, Pipeline
from likeness import INPUTS, SIZES, WAYS, Calls, as_is, calls, copied, differences, outcome, pickles, replaced
from torch.utils.data import DataLoader

MOST = 15
"""Pipelines of one client."""

CLIENTS = sorted({pipeline.client for pipeline in CORPUS.values()})


def named(name: str):
    """A pipeline by its name; those of one client run in one process, which alone imports it."""
    return pytest.param(CORPUS[name], id=name, marks=pytest.mark.xdist_group(CORPUS[name].client))


def grouped(client: str):
    return pytest.param(client, marks=pytest.mark.xdist_group(client))


def ways(pipeline: Pipeline):
    """What stands in the pipeline's place, each way."""
    for way in WAYS:
        replacement = replaced(pipeline.build(), way)
        if replacement is not None:
            yield way, replacement


def test_corpus_is_large_and_varied():
    assert len(CORPUS) >= 120
    counts = [sum(pipeline.client == client for pipeline in CORPUS.values()) for client in CLIENTS]
    assert len(counts) >= 12
    assert max(counts) <= MOST


@pytest.mark.parametrize("pipeline", [named(name) for name in CORPUS])
def test_as_the_original(pipeline: Pipeline):
    for way, replacement in ways(pipeline):
        original = pipeline.build()
        for kind, size in product(pipeline.inputs, SIZES):
            found = list(calls(replacement.pipeline, original, INPUTS[kind](size), rounds=replacement.rounds(kind)))
            assert not found, f"{way}, {kind} of {size}"


@pytest.mark.parametrize("pipeline", [named(name) for name in CORPUS])
def test_pickled(pipeline: Pipeline):
    if not pickles(pipeline.build()):
        pytest.skip("the original cannot be pickled")
    for way, replacement in ways(pipeline):
        for kind in pipeline.inputs:
            inputs, options = INPUTS[kind](SIZES[0]), {"times": 1, "rounds": replacement.rounds(kind)}
            new = pickle.loads(pickle.dumps(replacement.pipeline))
            found = list(calls(new, pickle.loads(pickle.dumps(pipeline.build())), inputs, **options))
            # The state of one that has run is no obstacle either.
            outcome(replacement.pipeline, copied(inputs), 0)
            run = pickle.loads(pickle.dumps(replacement.pipeline))
            found += calls(run, pickle.loads(pickle.dumps(pipeline.build())), inputs, **options)
            assert not found, f"{way}, {kind}"


@pytest.mark.parametrize("client", [grouped(client) for client in CLIENTS])
def test_in_a_spawned_worker(client: str):
    of_client = [pipeline for pipeline in CORPUS.values() if pipeline.client == client and pickles(pipeline.build())]
    cases = [(pipeline, kind) for pipeline in of_client for kind in pipeline.inputs]
    sent, inputs, expected = [], [], []
    for pipeline, kind in cases:
        for _, replacement in ways(pipeline):
            sent.append((replacement, kind))
            inputs.append(INPUTS[kind](SIZES[0]))
            expected.append(outcome(pipeline.build(), copied(inputs[-1]), len(expected)))
    calls_there = Calls([replacement.pipeline for replacement, _ in sent], inputs)
    loader = DataLoader(calls_there, None, num_workers=1, multiprocessing_context="spawn", collate_fn=as_is)
    for (replacement, kind), found, wanted in zip(sent, loader, expected, strict=True):
        assert not differences(found, wanted, replacement.rounds(kind)), replacement.pipeline
