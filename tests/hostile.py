"""Weight files taken apart, mutated, and put together again, by hand: safetensors would not write most of them."""

import copy
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learned_transforms.artifacts.stored import digest, read_tensors
from learned_transforms.errors import WeightsError

RAW = "@raw text@"
"""A string that stands for text which Python's JSON would not write."""

DEEP, LONG = "[" * 5000 + "]" * 5000, "9" * 5000


def parted(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the tensors of a file, what the metadata holds as JSON read, too."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    plain = ("format", "digest")
    metadata = header["__metadata__"]
    header["__metadata__"] = {name: v if name in plain else json.loads(v) for name, v in metadata.items()}
    return header, content[8 + length :]


def joined(header: dict[str, Any], data: bytes = b"", text: str = "null") -> bytes:
    """A file of a header and tensors; ``text`` goes where RAW stands."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        parts = {n: v if isinstance(v, str) else json.dumps(v).replace(f'"{RAW}"', text) for n, v in metadata.items()}
        header = {**header, "__metadata__": parts}
    written = json.dumps(header).replace(f'"{RAW}"', text).encode()
    return struct.pack("<Q", len(written)) + written + data


def resealed(path: Path) -> bool:
    """Have a file's own hash fit what it holds; False where it cannot even be read."""
    content = path.read_bytes()
    try:
        metadata, tensors = read_tensors(path)
    except WeightsError:
        return False
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {**metadata, "digest": digest(metadata, tensors)}
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])
    return True


Mutation = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Some bits, most of them among the first bytes or the last: a header, and weights."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        place = draw.choice((draw.randrange(len(changed)), draw.randrange(min(16, len(changed))), -draw.randint(1, 64)))
        changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def spliced(content: bytes, draw: random.Random) -> bytes:
    """A part left out, or put in once more."""
    start, stop = sorted(draw.randrange(len(content)) for _ in "ab")
    stop = min(stop, start + draw.choice((1, 8, 64, 4096)))
    return content[:start] + (content[start:stop] * draw.choice((0, 2))) + content[stop:]


def lied(content: bytes, draw: random.Random) -> bytes:
    """Another length of the header."""
    length = struct.unpack("<Q", content[:8])[0]
    lie = draw.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**63, 2**64 - 1))
    return struct.pack("<Q", lie) + content[8:]


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**62, 2**63, 2**64, -(2**63), 10**300),
    *(0.5, -0.0, 1e-320, 1e39, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "x", "a" * 3000, "os.system", "v2.Lambda", "v2.Resize", "int", "float64", "reflect", "\x00", "\ud7ff", "é"),
    *([], [1], [0, 0], [-1, 5], [2**40] * 3, [[[]]], [None], ["x"] * 50, {}, {"dtype": "load"}, {"tensor": [1]}),
    *({"tensor": [[1, 2], [3]], "dtype": "float32"}, {"transform": "v2.Resize"}, {"network": {}}, {"network": None}),
)


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every holder and key in nested values."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        places(value[key], found)
    return found


def edited(content: bytes, draw: random.Random) -> bytes:
    """Values of the header and of the metadata replaced, deleted, renamed, doubled, nudged, or nested."""
    header, data = parted(content)
    text = draw.choice((DEEP, LONG, f"-{LONG}", f"1e{LONG}", "NaN", '{"a":' * 2000 + "1" + "}" * 2000))
    # Each part is as likely as another, however long it is.
    roots = [header, *(entry for entry in header.values() if entry), *header["__metadata__"].values()]
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        found = places(draw.choice([root for root in roots if isinstance(root, dict | list)]), [])
        if not found:
            continue
        holder, key = draw.choice(found)
        old = holder[key] if (isinstance(holder, list) and key < len(holder)) or key in holder else None
        how = draw.randrange(6)
        if how == 0 and draw.random() < 0.3:
            holder[key] = RAW
        elif how == 1:
            del holder[key]
        elif how == 2 and isinstance(holder, dict):
            holder[draw.choice(("x", "0", "p", "size", "weights", "layer", "0/0.kernel"))] = holder.pop(key)
        elif how == 3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(old))
        elif how == 4 and isinstance(old, int | float):
            holder[key] = draw.choice((old + 1, -old, old * 1000, float(old), bool(old), str(old), [old]))
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))
        roots = [root for root in roots if root is not old]
    return joined(header, data, text)


MUTATIONS: tuple[Mutation, ...] = (flipped, cut, spliced, lied, edited, edited, edited, edited)
