"""Mistakes that a type checker finds: ``mypy tests/typing_cases.py`` fails where one of these is none to it."""

from collections.abc import Sequence

from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts.explain import Explanation
from learned_transforms.certificate import Certificate
from learned_transforms.trainer import retrain

STEPS: Sequence[object] = [v2.Resize(28)]


def mistakes() -> None:
    lt.LearnedCompose(STEPS, fallback="warning")  # type: ignore[arg-type]
    lt.LearnedCompose(STEPS, backend="gpu")  # type: ignore[arg-type]
    lt.LearnedCompose(STEPS, falback="error")  # type: ignore[arg-type]
    lt.LearnedCompose.from_pretrained("cifar10_gray28", fallback=None)  # type: ignore[arg-type]
    lt.LearnedCompose.from_pretrained("cifar10_gray28", approximate=True)  # type: ignore[arg-type]
    lt.LearnedCompose.from_processor({}, backend="pillow")  # type: ignore[arg-type]
    transform = lt.LearnedCompose(STEPS)
    transform(None, per_sampel=True)  # type: ignore[call-arg]
    transform(None, per_sample=1)  # type: ignore[arg-type]
    transform.explain("RGB")  # type: ignore[arg-type]
    transform.unfreeze("yes")  # type: ignore[arg-type]
    retrain(None, [], arch="resnet")  # type: ignore[arg-type]
    retrain(None, [], kind="float64")  # type: ignore[arg-type]


def results() -> None:
    transform: lt.LearnedCompose = lt.LearnedCompose(STEPS, fallback="error", backend="cpu").unfreeze(False)
    told: Explanation = transform.explain("uint8")
    certificate: Certificate = retrain(None, [], arch="auto", kind="numpy").certificate
    names: list[str] = lt.list_pretrained()
    why: dict[str, str] = lt.backends()
    print(told, certificate, names, why)
