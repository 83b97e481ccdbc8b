"""Published preprocessing by its configuration: what `LearnedCompose.from_processor` makes of it."""

from typing import Any

from learned_transforms.choices import Fallback, Stack
from learned_transforms.errors import ProcessorError, brief
from learned_transforms.processors.pipelines import eval_transforms, is_data_config, is_pipeline, pipeline_of
from learned_transforms.processors.processor import LearnedProcessor
from learned_transforms.processors.reading import configuration_of, is_configuration, is_object, read_configuration

__all__ = ["LearnedProcessor", "load"]


def load_processor(x: Any, backend: Stack | None, fallback: Fallback) -> Any:
    """Return a :class:`LearnedProcessor`, or what :class:`LearnedCompose` takes; see
    ``LearnedCompose.from_processor``."""
    if is_data_config(x):
        return eval_transforms(x)
    if is_configuration(x):
        return LearnedProcessor(read_configuration(x, backend), None, fallback)
    if is_object(x):
        held = getattr(x, "image_processor", x)
        own = configuration_of(held, None)
        configuration = configuration_of(held, backend)
        return LearnedProcessor(configuration, held if configuration.backend == own.backend else None, fallback)
    if is_pipeline(x):
        return pipeline_of(x)
    raise ProcessorError(
        f"Expected an image processor, its configuration or a path to it, timm's data config, weights or transforms of "
        f"torchvision, got {brief(x)}."
    )
