"""Print the hash of all that the module in web/ is made of."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "learned_transforms" / "kernels" / "native"


def digest() -> str:
    """Return a hash of the native sources but Python's bindings, and of how they are built."""
    sources = [path for path in NATIVE.rglob("*") if path.is_file() and "bindings" not in path.parts]
    found = hashlib.sha256()
    for path in sorted([*sources, ROOT / "web" / "CMakeLists.txt"]):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


if __name__ == "__main__":
    print(digest())
