"""What a processor gives: tensors by name."""

from collections import UserDict
from typing import Any

import torch
from torch import Tensor


class Features(UserDict[str, Any]):
    """Tensors by name, as keys and as attributes: ``features["pixel_values"]``, ``features.pixel_values``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(
                f"No attribute {name!r}; there are {', '.join(self.__dict__.get('data', ()))}."
            ) from None

    def to(self, *args: Any, **kwargs: Any) -> "Features":
        """Move all tensors as :meth:`torch.Tensor.to` does; whole numbers keep their dtype."""
        device = torch._C._nn._parse_to(*args, **kwargs)[0]

        def moved(value: Any) -> Any:
            if isinstance(value, list):
                return [moved(one) for one in value]
            if not isinstance(value, Tensor):
                return value
            return value.to(*args, **kwargs) if value.is_floating_point() else value.to(device)

        self.data = {name: moved(value) for name, value in self.data.items()}
        return self
