"""Compiled kernels on disk, in a form that can slow a run down but never fail it.

Numba's own cache does not see a changed callee in another file, raises where no directory is
writable, and raises on a truncated file. Here one file holds one kernel, its name is a hash of
everything that shapes the machine code, and its content is checked before it is read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import tempfile
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import platformdirs
from numba.core import caching, compiler, serialize

_NOT_IN_CODE = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
"""Numba's settings that leave the machine code as it is."""

_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_directory() -> Path:
    """Where compiled kernels are kept: NUMBA_CACHE_DIR if set, else the user's cache folder."""
    configured = numba.config.CACHE_DIR
    base = Path(configured) if configured else Path(platformdirs.user_cache_dir())
    return base / "fcbackends"


class KernelCache(caching._Cache):  # type: ignore[misc]
    """The cache of one kernel of one signature, in the form a Numba dispatcher asks for."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def cache_path(self) -> str:
        """The root folder of all kernels."""
        return str(cache_directory())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None where the file is missing, damaged or foreign."""
        target_context.refresh()
        try:
            content = self._file(target_context.codegen()).read_bytes()
            digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() != digest:
                return None
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:
            # Whatever a damaged file leads to, compiling anew is right.
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled kernel; where that fails, warn and go on."""
        payload = serialize.dumps(data._reduce())
        try:
            _write_whole(self._file(data.codegen), hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            warnings.warn(
                f"compiled kernels are not kept in {cache_directory()} ({error.strerror}): "
                "each process compiles them anew; set NUMBA_CACHE_DIR to a writable folder",
                stacklevel=2,
            )

    def enable(self) -> None:
        """Nothing to do: the cache is always on."""

    def disable(self) -> None:
        """Nothing to do: the cache is always on."""

    def flush(self) -> None:
        """Nothing to do: files are replaced whole."""

    def _file(self, codegen: Any) -> Path:
        target = repr((*codegen.magic_tuple(), _build()))
        key = hashlib.sha256(target.encode()).hexdigest()[:24]
        return cache_directory() / key / f"{self._name}.kernel"


@functools.cache
def _build() -> tuple[str, ...]:
    """What shapes a kernel's machine code beside the target: sources, versions, options."""
    sources = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(source.read_bytes())
    options = [f"{name}={value}" for name, value in sorted(os.environ.items())]
    return (
        sources.hexdigest(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        platform.python_version(),
        *[o for o in options if o.startswith("NUMBA_") and not o.startswith(_NOT_IN_CODE)],
    )


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside the file and replace it, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
