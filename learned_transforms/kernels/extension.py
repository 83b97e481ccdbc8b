"""The compiled extension, if it is there."""

from typing import TYPE_CHECKING

MISSING: str | None = None
"""Why the compiled part is not there, if it is not."""

if TYPE_CHECKING:
    from learned_transforms.kernels import _native
else:
    try:
        from learned_transforms.kernels import _native
    except ImportError as error:
        _native = None
        MISSING = (
            f"the native extension is not there ({type(error).__name__}). Install a C++ compiler, then the package "
            "once more with pip install --no-cache-dir --force-reinstall --no-deps"
        )

__all__ = ("MISSING", "_native")
