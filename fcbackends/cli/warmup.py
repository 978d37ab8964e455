"""Fill the cache of compiled kernels, so that no later process has to compile."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numba

import fcbackends as fcb
from fcbackends.errors import ArgumentError
from fcbackends.kernels import linear
from fcbackends.kernels.cache import CacheWarning, cache_directory
from fcbackends.kernels.jit import FAMILIES


def _label(name: str, arithmetic: str, dtype: str) -> str:
    return "-".join((name, *([] if arithmetic == "ordered" else [arithmetic]), dtype))


def warm_up(
    dtypes: Iterable[str], shapes: Iterable[tuple[int, int]], arithmetics: Iterable[str]
) -> None:
    """Compile or read the kernels of these dtypes and arithmetics; OSError where one is not kept.

    Those of small layers of these shapes, (inputs, outputs), are among them.
    """
    if numba.config.DISABLE_JIT:
        setting = os.environ.get("NUMBA_DISABLE_JIT")
        raise ArgumentError("NUMBA_DISABLE_JIT", "be 0 or left out", repr(setting))
    fcb.get_backend("numba")  # whose import makes the families
    families = dict(FAMILIES)
    for inputs, outputs in shapes:
        if not linear.is_small(inputs, outputs):
            required = (
                f"be inputs and outputs with at most {linear.MOST_WEIGHTS} weights and biases, "
                "(inputs + 1) * outputs"
            )
            raise ArgumentError("--sizes", required, f"{inputs}-{outputs}")
        for one_sample in (True, False):
            family = linear.linear_steps(inputs, outputs, one_sample=one_sample)
            families[f"linear.{family.__name__}"] = family
    kernels = [
        (_label(name, arithmetic, dtype), families[name], (dtype, arithmetic))
        for arithmetic in arithmetics
        for dtype in dtypes
        for name in families
    ]
    width = max(len(name) for name, _, _ in kernels)
    for name, family, chosen in kernels:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            kernel: Any = family(*chosen)
        seconds = time.perf_counter() - begin
        if kernel._cache.trouble:
            reason = f"compiled kernels cannot be kept ({kernel._cache.trouble})"
            raise OSError(None, reason, str(cache_directory() or "~"))
        done = (
            f"read from the cache in {seconds * 1e3:.0f} ms"
            if kernel._cache.loaded
            else f"compiled in {seconds:.1f} s"
        )
        print(f"{name:{width}}  {done}", flush=True)
    print(f"kept in {cache_directory()}")
