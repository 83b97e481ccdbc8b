"""Policies of augmentation in the ImageNet recipe: torchvision's on PIL images and tensors, timm's own object.

Run ``python benchmarks/policies.py [-k NAME] [--draws N]``: one thread, photos of ten sizes, ours and the original call
by call in turn under equal seeds, so that both draw the same; sums over all draws, each of which is compared, too. timm
must be installed for its rows. Ours has warmed up before: it makes a plan for every choice of operations, once.
"""

import argparse
import importlib.util
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from entries import FORMS, SIZES, floats, photos, training
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt

SMOOTH = {"interpolation": InterpolationMode.BILINEAR}
POLICIES: dict[str, Callable[[Any], Any]] = {
    "none": lambda api: None,
    "TrivialAugmentWide": lambda api: api.TrivialAugmentWide(**SMOOTH),
    "RandAugment": lambda api: api.RandAugment(**SMOOTH),
    "AutoAugment": lambda api: api.AutoAugment(**SMOOTH),
    "AugMix": lambda api: api.AugMix(**SMOOTH),
}
TIMM = {"rand-m9-mstd0.5-inc1": 3.0, "original-mstd0.5": 3.0, "3a": 3.0, "augmix-m3-w3": 3.0}
"""timm's names of policies, and how many times as fast as timm ours should be."""

WARM_UP = 3000
"""Draws before any timing."""


def recipe(api: Any, policy: Any) -> Any:
    """torchvision's training preset, with a policy or None."""
    last = [api.PILToTensor()] if api is v1 else [v2.PILToTensor()]
    return [*training(api), *([] if policy is None else [policy]), *last, *floats(api), api.RandomErasing(0.1)]


def rows() -> Iterator[tuple[str, str, Any, float]]:
    """Name, form of images, what the original runs, and the bar."""
    for name, make in POLICIES.items():
        for form in ("PIL", "uint8 CHW"):
            for api in (v2, v1):
                if api is v2 or form == "PIL":  # v1's PILToTensor takes no tensors.
                    yield f"{name}, {'v1' if api is v1 else 'v2'}", form, api.Compose(recipe(api, make(api))), 4.0
    if importlib.util.find_spec("timm") is not None:
        from timm.data import create_transform

        for name, bar in TIMM.items():
            yield f"timm {name}", "PIL", create_transform(224, is_training=True, auto_augment=name), bar


def result(run: Any, image: Any, seed: int) -> tuple[Any, float]:
    """What it makes of an image under a seed, or the error that it raises; and how long that takes, in microseconds."""
    torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)
    start = time.thread_time()
    try:
        made = run(image)
    except ValueError as error:  # Pillow refuses some of what timm draws.
        made = error
    return made, (time.thread_time() - start) * 1e6


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time policies of augmentation against their originals.")
    parser.add_argument("-k", default="", help="only rows whose name and form contain this")
    parser.add_argument("--draws", type=int, default=400, help="timed for each row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| policy | form | original, us | ours, us | ratio | bar | differing |\n" + "| --- " * 7 + "|")
    for name, form, original, bar in rows():
        if options.k not in f"{name}, {form}":
            continue
        ours, images = lt.LearnedCompose(original), [FORMS[form](image) for image in photos(SIZES)]
        for seed in range(WARM_UP):
            result(ours, images[seed % len(images)], seed)
        spent, differing = np.zeros(2), 0
        for seed in range(options.draws):
            image = images[seed % len(images)]
            (theirs, first), (mine, second) = result(original, image, seed), result(ours, image, seed)
            spent += first, second
            refused = isinstance(theirs, ValueError)
            differing += not isinstance(mine, ValueError) if refused else not torch.equal(mine, theirs)
        theirs, mine = spent / options.draws
        print(
            f"| {name} | {form} | {theirs:,.0f} | {mine:,.0f} | {theirs / mine:.2f} | {bar:g}x "
            f"| {differing} of {options.draws} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
