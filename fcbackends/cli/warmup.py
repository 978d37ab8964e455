"""Fill the cache of compiled kernels, so that no later process has to compile."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numba

import fcbackends as fcb
from fcbackends.checks import options
from fcbackends.cli.descent import optimizer_of
from fcbackends.errors import ArgumentError, printable
from fcbackends.kernels import small, training
from fcbackends.kernels.cache import CacheWarning, cache_directory
from fcbackends.kernels.elements import PLAIN
from fcbackends.kernels.jit import FAMILIES
from fcbackends.maths.activations import Activations, of_hidden_layers


def _label(name: str, arithmetic: str, dtype: str) -> str:
    return "-".join((name, *([] if arithmetic == "ordered" else [arithmetic]), dtype))


def warm_up(
    dtypes: Iterable[str],
    shapes: Iterable[tuple[int, ...]],
    arithmetics: Iterable[str],
    *,
    activation: Activations,
    loss: str,
    optimizer: str,
    momentum: float | None,
    nesterov: bool,
    weight_decay: float,
    schedule: str,
) -> None:
    """Compile or read the kernels of these dtypes and arithmetics; OSError where one is not kept.

    Those of trainings with these options are among them, also of small networks with layers of
    these sizes.
    """
    if numba.config.DISABLE_JIT:
        setting = os.environ.get("NUMBA_DISABLE_JIT")
        raise ArgumentError("NUMBA_DISABLE_JIT", "be 0 or left out", repr(setting))
    fcb.get_backend("numba")  # whose import makes the families
    families = dict(FAMILIES)
    descent = optimizer_of(optimizer, momentum, nesterov, weight_decay).rule
    rule = descent._replace(scheduled=schedule != "constant")
    if rule != PLAIN:
        for family in (training.stepping(rule), training.single_step(descent)):
            families[f"training.{family.__name__}"] = family
    for sizes in shapes:
        batches = [one for one in (True, False) if small.is_small(sizes, one_sample=one)]
        if not batches:
            required = (
                f"be a network with at most {small.MOST_WEIGHTS_OF_ONE} weights and biases, and "
                f"{small.MOST_UNITS_AT_ONCE} inputs and outputs of layers"
            )
            got = f"{'-'.join(map(str, sizes))} with {small.weights_of(sizes)} and {sum(sizes)}"
            raise ArgumentError("--sizes", required, got)
        for one_sample in batches:
            hidden = len(sizes) - 2
            names = of_hidden_layers(options.activation(activation, hidden), hidden)
            family = small.small_steps(
                sizes, names, loss, rule, weighted=False, one_sample=one_sample
            )
            families[f"small.{family.__name__}"] = family
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
    print(printable(f"kept in {cache_directory()}"))
