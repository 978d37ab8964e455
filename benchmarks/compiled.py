"""What C gives on this machine: the limit of a step, and of products and sums themselves."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Contestant, drawn
from workloads import LR, Workload, data, initial

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")
REAL = {"float32": "float", "float64": "double"}

VECTOR_BYTES = 16, 32, 64
CHAINS = 8, 12, 16, 24
PROBE_START = 1.1, 0.9, 0.3
"""Values that go to 3, and stay there."""

PROBE_SECONDS = 0.001


class NoCompilerError(Exception):
    """There is no C compiler, or it does not compile."""


def compiler() -> str:
    """The path of a C compiler."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise NoCompilerError("no compiler found")


def build(source: str, *flags: str) -> ctypes.CDLL:
    """Compile a file of this folder into a library and load it."""
    command = [compiler(), *FLAGS, *flags, str(Path(__file__).parent / source)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = str(Path(folder) / "library.so")
        done = subprocess.run(
            [*command, "-o", library], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            *_, reason = ["no reason given", *done.stderr.splitlines()]
            raise NoCompilerError(f"{source} does not compile: {reason}")
        return ctypes.CDLL(library)


class CLoop(Contestant):
    """One layer's steps in C, the sizes constants, the samples drawn beforehand."""

    name = "C, sizes constant"
    promise = "bits"

    def __init__(self, workload: Workload) -> None:
        real = REAL[workload.dtype]
        k, m = workload.sizes
        sizes = f"-DK={k}", f"-DM={m}", f"-DN={workload.batch}", f"-DREAL={real}"
        self._sgd = build("sgd.c", "-ffp-contract=off", *sizes).sgd
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        self._sgd.restype = integer
        self._sgd.argtypes = [
            pointer,
            integer,
            *[pointer] * 3,
            getattr(ctypes, f"c_{real}"),
        ]
        self._workload = workload

    def start(self, units: int) -> None:
        ((w, b),) = initial(self._workload)
        self._params = np.concatenate([w.ravel(), b])
        self._drawn = drawn(self._workload, units)

    def go(self) -> None:
        steps = len(self._drawn)
        at = [array.ctypes.data for array in (self._drawn, *data(self._workload), self._params)]
        taken = self._sgd(at[0], steps, *at[1:], LR)
        if taken != steps:
            raise ArithmeticError(f"the loss is not finite in step {taken + 1}")

    def result(self) -> Any:
        k, m = self._workload.sizes
        return ((self._params[: k * m].reshape(k, m), self._params[k * m :]),)


class Peak:
    """Products and sums a second, as many as one core does in the best way that was found.

    Attributes
    ----------
    name : str
        Whether products and sums are apart or fused.
    how : str
        The vectors' size, and how many chains of them.
    """

    def __init__(self, dtype: str, *, fused: bool) -> None:
        self.name = "product and sum fused" if fused else "product and sum apart"
        lanes = {size: size // np.dtype(dtype).itemsize for size in VECTOR_BYTES}
        library = _probes(fused)
        rates = {}
        for size in VECTOR_BYTES:
            for chains in CHAINS:
                probe = _probe(library, dtype, size, chains)
                if _fuses(probe, dtype, lanes[size], chains) != fused:
                    raise NoCompilerError(f"no {self.name} in {dtype}")
                rounds = 1024
                while (seconds := _seconds(probe, rounds)) < PROBE_SECONDS / 2:
                    rounds *= 2
                seconds = min(seconds, *(_seconds(probe, rounds) for _ in range(3)))
                rates[size, chains] = rounds * chains * lanes[size] / seconds, rounds
        size, chains = max(rates, key=lambda key: rates[key][0])
        rate, _ = rates[size, chains]
        self.how = f"{size}-byte vectors, {chains} chains"
        self._probe = _probe(library, dtype, size, chains)
        self._multiply_adds = chains * lanes[size]
        self._rounds = max(1, int(10 * PROBE_SECONDS * rate / self._multiply_adds))

    def seconds(self) -> float:
        """The time of one product and one sum, now."""
        return _seconds(self._probe, self._rounds) / (self._rounds * self._multiply_adds)


@functools.cache
def _probes(fused: bool) -> ctypes.CDLL:
    flags = f"-ffp-contract={'fast' if fused else 'off'}", "-Wno-psabi"
    try:
        return build("peak.c", *flags, "-mprefer-vector-width=512")
    except NoCompilerError:
        return build("peak.c", *flags)


def _probe(library: ctypes.CDLL, dtype: str, size: int, chains: int) -> Callable[..., float]:
    probe = getattr(library, f"{REAL[dtype]}_{size}_{chains}")
    real = getattr(ctypes, f"c_{REAL[dtype]}")
    probe.restype, probe.argtypes = real, [ctypes.c_int64, *[real] * 3]
    return probe


def _seconds(probe: Callable[..., float], rounds: int) -> float:
    started = time.perf_counter()
    probe(rounds, *PROBE_START)
    return time.perf_counter() - started


def _fuses(probe: Callable[..., float], dtype: str, lanes: int, chains: int) -> bool:
    """Whether any result is another than that of products and sums rounded one by one."""
    real = np.dtype(dtype).type
    rounds = 5
    for start in np.linspace(1, 2, 20):
        first, factor, term = map(real, (start, *PROBE_START[1:]))
        total = real(0)
        for chain in range(chains):
            value = first + real(chain)
            for _ in range(rounds):
                value = value * factor + term
            for _ in range(lanes):
                total += value
        if probe(rounds, first, factor, term) != total:
            return True
    return False
