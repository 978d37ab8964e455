"""The machine that a run is made on, and how many threads its pools may use."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import Any

import cpuinfo
from threadpoolctl import threadpool_info, threadpool_limits

from fcbackends.maths import CONTRACT_VERSION
from fcbackends.report.runs import Machine, Threads

_PACKAGES = (
    "fcbackends",
    "numpy",
    "numba",
    "llvmlite",
    "array-api-compat",
    "array-api-strict",
    "torch",
    "jax",
    "dask",
)

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@contextlib.contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Hold BLAS and Numba to so many threads, here and in processes that are started inside.

    Numba has to be imported inside, if at all: it reads the number once.
    """
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    with threadpool_limits(threads):
        yield


def this_machine() -> Machine:
    """What there is, and the threads as they are set now."""
    import numba

    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return Machine(
        cpu=cpuinfo.get_cpu_info().get("brand_raw") or platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        os=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={package: v for package in _PACKAGES if (v := _version(package)) is not None},
        # Which library loads its BLAS first is chance.
        blas=", ".join(sorted({_blas_name(pool) for pool in blas})) or "unknown",
        threads=Threads(
            blas=max((pool["num_threads"] for pool in blas), default=1),
            numba=numba.get_num_threads(),
        ),
        contract=CONTRACT_VERSION,
    )


def _blas_name(pool: dict[str, Any]) -> str:
    parts = (pool.get(key) for key in ("internal_api", "version", "architecture"))
    return " ".join(str(part) for part in parts if part)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
