"""Arrays beside JSON in one file of safetensors' format, with a checksum of every byte.

Nothing in such a file is run when it is read. It has one entry of metadata, since the order of
several is not the same in every run: JSON whose first entry, "sha256", is the SHA-256 of the whole
file with this number's 64 digits replaced by zeros.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends import files

_ZEROS = "0" * 64
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000
"""As safetensors has it."""


def require_safetensors() -> None:
    """Raise ImportError, which names the extra, where safetensors is not installed."""
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        text = "model files and checkpoints need safetensors: install `fcbackends[cli]`"
        raise ImportError(text, name="safetensors") from error


def write(
    path: Path, entry: str, about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Write a file, whole or not at all."""
    import hashlib

    from safetensors.numpy import save

    plain = {
        name: np.require(tensor, tensor.dtype.newbyteorder("="), "C")
        for name, tensor in tensors.items()
    }
    content = save(plain, metadata={entry: json.dumps({"sha256": _ZEROS, **about})})
    sha = hashlib.sha256(content).hexdigest()
    at = content.index(_ZEROS.encode())
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        # Parts, not a sum: another copy would be as large as the file.
        for part in (content[:at], sha.encode(), memoryview(content)[at + len(sha) :]):
            file.write(part)


def read(
    path: Path, entry: str, unsigned: range = range(0)
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON and the arrays of a file; any exception, where it is no such file or damaged.

    Versions in `unsigned` were written without a checksum.
    """
    import hashlib

    from safetensors.numpy import load

    size = path.stat().st_size
    if size > _memory():
        raise ValueError(f"{size} bytes, more than the memory holds")
    content = path.read_bytes()
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if length > min(len(content) - _LENGTH_BYTES, _MOST_HEADER_BYTES):
        raise ValueError(f"a header of {length} bytes in a file of {len(content)}")
    header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    about = json.loads(header.get("__metadata__", {})[entry])
    sha = about.pop("sha256", None)
    if sha is None:
        if about["version"] not in unsigned:
            raise ValueError(f"version {about['version']!r} without a checksum")
        return about, load(content)
    zeroed = content.replace(str(sha).encode(), _ZEROS.encode(), 1)
    if hashlib.sha256(zeroed).hexdigest() != sha:
        raise ValueError("damaged: its bytes are not those of its checksum")
    return about, load(content)


def _memory() -> int:
    """Bytes that the machine has, or as good as endless where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 2**63
