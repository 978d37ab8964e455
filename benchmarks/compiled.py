"""What C gives on this machine: the limit of a step, and of products and sums themselves."""

from __future__ import annotations

import ctypes
import functools
import itertools
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

VECTORS_FIRST = "--param", "max-completely-peel-times=7"
"""For batches of one. gcc otherwise writes out loops of up to 16 rounds before it makes vectors of
them, and then jumps where `relu` has to choose: on a Zen 4 8-16-1 takes 126 ns a step so, and 38
with this, 4-16-2 97 and 37, 2-8-1 29 and 18."""

MOST_MULTIPLY_ADDS = 20_000
"""A step of more is no small network's, and its limit lies in tiles, which these loops have not."""

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
    """A small network's steps in C, the sizes constants, the samples drawn beforehand."""

    name = "C, sizes constant"
    promise = "bits"

    def __init__(self, workload: Workload) -> None:
        real = REAL[workload.dtype]
        macros = {
            "REAL": real,
            "N": workload.batch,
            "INPUTS": workload.sizes[0],
            "OUTPUTS": workload.sizes[-1],
            **_network(workload.sizes),
        }
        flags = [f"-D{name}={value}" for name, value in macros.items()]
        if workload.batch == 1:
            flags += VECTORS_FIRST
        self._sgd = build("sgd.c", "-ffp-contract=off", *flags).sgd
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
        pairs = initial(self._workload)
        self._params = np.concatenate([array.ravel() for pair in pairs for array in pair])
        self._drawn = drawn(self._workload, units)

    def go(self) -> None:
        steps = len(self._drawn)
        at = [array.ctypes.data for array in (self._drawn, *data(self._workload), self._params)]
        taken = self._sgd(at[0], steps, *at[1:], LR)
        if taken != steps:
            raise ArithmeticError(f"the loss is not finite in step {taken + 1}")

    def result(self) -> Any:
        pairs, rest = [], self._params
        for k, m in itertools.pairwise(self._workload.sizes):
            w, b, rest = np.split(rest, [k * m, (k + 1) * m])
            pairs.append((w.reshape(k, m), b))
        return tuple(pairs)


def _network(sizes: tuple[int, ...]) -> dict[str, str]:
    """The calls of sgd.c's functions that make a network with layers of these sizes.

    Layer i, from 1 on, has the weights w, which are v transposed where a gradient goes on through
    them, the biases b, the outputs h and their gradients d.
    """
    params = forward = backward = result = ""
    at, last = 0, len(sizes) - 1
    for i, (k, m) in enumerate(itertools.pairwise(sizes), 1):
        below, layer, bias_at = i - 1, f"{k}, {m}", at + k * m
        params += f"REAL w{i}[{k * m}], b{i}[{m}];"
        params += f"copy({k * m}, params + {at}, w{i}); copy({m}, params + {bias_at}, b{i});"
        result += f"copy({k * m}, w{i}, params + {at}); copy({m}, b{i}, params + {bias_at});"
        forward += f"REAL h{i}[N * {m}], d{i}[N * {m}];"
        forward += f"forward({layer}, h{below}, w{i}, b{i}, h{i});"
        forward += f"relu({m}, h{i});" if i < last else f"total = loss({m}, h{i}, targets, d{i});"
        updates = f"update({layer}, h{below}, d{i}, w{i}, lr); update_bias({m}, d{i}, b{i}, lr);"
        if i > 1:
            # One output's weights are their own transpose.
            v = f"v{i}" if m > 1 else f"w{i}"
            updates = f"backward({layer}, d{i}, {v}, h{below}, d{below}); {updates}"
            if m > 1:
                params += f"REAL {v}[{k * m}]; transpose({layer}, w{i}, {v});"
                updates += f"update_transposed({layer}, h{below}, d{i}, w{i}, {v}, lr);"
        backward = updates + backward
        at = bias_at + m
    return {"PARAMS": params, "FORWARD": forward, "BACKWARD": backward, "RESULT": result}


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
