"""The results of many networks in a file that grows as they come, and from which a call goes on.

The file is a row of frames: 8 bytes with the length of the content (little-endian), 4 with their
CRC-32, the content's SHA-256, the content. The first is JSON: what the call asks for. Each other
one is a pack of results (`packs`), or JSON: networks whose results count no more, or that were
audited. Nothing that was written is ever changed; a frame that a killed process left unfinished at
the end is cut off.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fcbackends import files
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths import CONTRACT_VERSION

_FORMAT = "fcbackends results"
_VERSION = 1
_LENGTH_BYTES = 12
_HEAD_BYTES = _LENGTH_BYTES + 32


class ResultsFile:
    """A file of results, open to be added to.

    Parameters
    ----------
    path : path
        The file, begun where it is not there.
    asked : mapping
        What the call asks for, in the form of JSON.

    Raises
    ------
    ArgumentError
        Where the file is none of results, damaged, or of another call.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self._path = path
        self.frames: list[bytes] = []
        whole = 0
        if path.exists() and path.stat().st_size:
            with files.understood(str(path), "results", "be a file of results"):
                first, *self.frames, whole = _read(path)
                kept = _header(first)
            _compare(path, kept, asked)
        if whole:
            os.truncate(path, whole)
        else:
            header = {"format": _FORMAT, "version": _VERSION, "contract": CONTRACT_VERSION}
            content = json.dumps({**header, "asked": asked}, allow_nan=False).encode()
            files.write(path, _framed(content))
        # Not even two calls at once would write over each other.
        self._file = path.open("ab", buffering=0)

    def add(self, content: bytes) -> None:
        """Add a frame, which stays if the process is killed."""
        try:
            self._file.write(_framed(content))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        """Have all on the disk, and close the file."""
        os.fsync(self._file.fileno())
        self._file.close()


def _framed(content: bytes) -> bytes:
    import hashlib

    length = len(content).to_bytes(8, "little")
    checked = length + zlib.crc32(length).to_bytes(4, "little")
    return checked + hashlib.sha256(content).digest() + content


def _read(path: Path) -> Iterator[Any]:
    """The contents of all whole frames, and then where they end."""
    import hashlib

    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while size - place >= _HEAD_BYTES:
            head = file.read(_HEAD_BYTES)
            length = int.from_bytes(head[:8], "little")
            if zlib.crc32(head[:8]).to_bytes(4, "little") != head[8:_LENGTH_BYTES]:
                raise ValueError(f"damaged: no length at byte {place}" if place else "no results")
            end = place + _HEAD_BYTES + length
            if end > size:
                break
            content = file.read(length)
            if hashlib.sha256(content).digest() != head[_LENGTH_BYTES:]:
                if end == size:
                    break
                raise ValueError(f"damaged: the bytes from {place} to {end} are not as written")
            yield content
            place = end
    if not place:
        raise ValueError("no results")
    yield place


def _header(content: bytes) -> Mapping[str, Any]:
    about = json.loads(content)
    if about["format"] != _FORMAT:
        raise ValueError("no results")
    if about["version"] != _VERSION:
        raise ValueError(f"version {about['version']!r}, and this is for version {_VERSION}")
    if about["contract"] != CONTRACT_VERSION:
        known = f"this fcbackends has {CONTRACT_VERSION}, whose bits may be others"
        raise ValueError(f"contract version {about['contract']!r}; {known}")
    kept: Mapping[str, Any] = about["asked"]
    return kept


def _compare(path: Path, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse the first option in which the file is of another call."""
    for option, value in asked.items():
        before = kept.get(option)
        if before == value:
            continue
        place = option
        if isinstance(before, list) and isinstance(value, list) and len(before) == len(value):
            number = next(i for i in range(len(value)) if before[i] != value[i])
            place, before, value = f"{option}[{number}]", before[number], value[number]
        required = f"be as in the results {str(path)!r}, {shown(before)}"
        raise ArgumentError(place, required, shown(value))
