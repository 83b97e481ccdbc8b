"""A pipeline as a folder, as model hubs hold it: ``config.json``, the weight file, its certificates, and a card.

The weight file is whole by itself; what lies beside it is for people and hubs, and is held to it on loading.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learned_transforms.artifacts.stored import write
from learned_transforms.artifacts.weights import FORMAT, MODEL, Weights, save
from learned_transforms.certificate import Certificate
from learned_transforms.errors import OutputError, WeightsError, brief
from learned_transforms.plain import parsed

CONFIG, CERTIFICATES, CARD = "config.json", "certificate.json", "README.md"
MOST_BYTES = 2**22
"""Of a config that is read."""


def save_folder(weights: Weights, folder: Path, text: str) -> None:
    """Write the folder, each file whole or not at all; folders that lead to it are made.

    Args:
        text: the pipeline in words, for the card.

    Raises:
        OSError: the disk is full, the folder cannot be written, or a file has that name.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"Expected a folder, got the file {folder}. A single file is named *.safetensors.")
    folder.mkdir(parents=True, exist_ok=True)
    # The config comes last: a save that is cut short leaves none that tells of another file.
    (folder / CONFIG).unlink(missing_ok=True)
    certificates = save(weights, folder / MODEL)
    write(folder / CERTIFICATES, as_json({name: c.to_json() for name, c in certificates.items()}))
    write(folder / CARD, card(folder.resolve().name, certificates, text).encode())
    write(folder / CONFIG, as_json(config(weights)))


def config(weights: Weights) -> dict[str, Any]:
    return {"format": FORMAT, "library_name": "learned_transforms", "pipeline": weights.pipeline}


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def check_config(folder: Path, weights: Weights) -> None:
    """Require a config to tell of the pipeline that the weight file holds, if both lie in this folder.

    Raises:
        WeightsError: it is unreadable, or tells of another.
    """
    if not os.path.isfile(folder / MODEL) or not os.path.exists(folder / CONFIG):
        return
    try:
        with open(folder / CONFIG, "rb") as file:
            found = parsed(file.read(MOST_BYTES))
    except (OSError, RecursionError, ValueError) as error:
        raise WeightsError(
            f"{CONFIG} cannot be read ({error!r:.300}). Delete it, or save the pipeline again."
        ) from error
    if not isinstance(found, dict) or found.get("pipeline") != weights.pipeline:
        raise WeightsError(
            f"{CONFIG} tells of another pipeline than {MODEL}: {brief(found)}. To change a pipeline, change its "
            f"transforms in Python, and save it again; or delete {CONFIG}."
        )


def card(name: str, certificates: Mapping[str, Certificate], text: str) -> str:
    """Return a model card."""
    rows = "\n".join(f"| {title} | {c.tier} | {c.images:,} | {c.largest:.3g} |" for title, c in certificates.items())
    return f"""---
library_name: learned_transforms
pipeline_tag: image-feature-extraction
---

# {name}

Image transforms as a small network, for [torchvision](https://pytorch.org/vision)'s Compose.

```python
import learned_transforms as lt

transform = lt.LearnedCompose.from_pretrained("path/to/{name}")
```

```
{text}
```

| weights | tier | images compared | largest error, in levels |
| --- | --- | --- | --- |
{rows}
"""
