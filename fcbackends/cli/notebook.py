"""`fcbackends train` without data: the notebook's regression on both backends, bit for bit."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.report.terminal import print_table

W = np.array([[3, 7, 4], [5, 2, 6]])
B = np.array([2, 9, 3])
SAMPLES = 500
LR = 0.005
"""The notebook's 0.01 for its dy = y - t, which is half of the loss's gradient."""
SHOWN_EVERY = 1000
STOP: dict[str, dict[str, Any]] = {
    "float64": {"tol": 1e-20, "tol_on": "batch"},
    # In float32 the loss of one sample can be 0 long before W and b are right.
    "float32": {"tol": 1e-9, "tol_on": "data"},
}
"""The notebook's rule, and one that is as good for numbers of half the digits."""

_BACKENDS = ("numpy", "numba")
_TIMED_SECONDS = 0.05
_TIMED_RUNS = 5


def notebook_data(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """500 samples of two integers 0..9, the same on every machine, and t = x @ W + b."""
    x = fcb.sample_indices(10, steps=SAMPLES, batch_size=2, seed=seed)
    return x, x @ W + B


def train_notebook(seed: int, dtype: Literal["float32", "float64"]) -> int:
    """Train on both backends, print what came out; 1 if W and b or the bits are not right."""
    x, t = notebook_data(seed)
    initial = fcb.init_params((2, 3), seed=seed, dtype=dtype)

    def train(backend: str, max_steps: int = 100_000, **stop: Any) -> fcb.TrainResult:
        return fcb.train(
            x,
            t,
            params=initial,
            lr=LR,
            max_steps=max_steps,
            seed=seed,
            dtype=dtype,
            backend=backend,
            record_every=SHOWN_EVERY,
            **stop,
        )

    def seconds(backend: str, max_steps: int) -> float:
        started = time.perf_counter()
        train(backend, max_steps)
        return time.perf_counter() - started

    def seconds_a_step(backend: str) -> float:
        steps = 1000
        while seconds(backend, steps) < _TIMED_SECONDS:
            steps *= 4
        return statistics.median(seconds(backend, steps) / steps for _ in range(_TIMED_RUNS))

    stop = STOP[dtype]
    print(
        f"{SAMPLES} samples, t = x @ W + b, {dtype}, seed {seed}: training until the loss of the "
        f"{stop['tol_on']} <= {stop['tol']}\n"
    )
    results, first_seconds = {}, {}
    for backend in _BACKENDS:
        started = time.perf_counter()
        results[backend] = train(backend, **stop)
        first_seconds[backend] = time.perf_counter() - started
    _print_losses({backend: result.history for backend, result in results.items()})

    recovered = True
    for (w, b), *_ in (result.params for result in results.values()):
        recovered &= np.allclose(w, W) and np.allclose(b, B)
    w, b = results["numba"].params[0]
    print(f"\nW = {w.tolist()}\nb = {b.tolist()}\nrecovered: {'yes' if recovered else 'no'}\n")

    same = _print_agreement(results["numpy"], results["numba"])

    speed = {backend: seconds_a_step(backend) for backend in _BACKENDS}
    print_table(
        [
            (backend, f"{first_seconds[backend]:.3f} s", f"{s * 1e9:,.1f} ns", f"{1 / s:,.0f}")
            for backend, s in speed.items()
        ],
        ("backend", "training, with loading or compiling", "a step", "steps a second"),
        right=(1, 2, 3),
    )
    print(f"numba is {speed['numpy'] / speed['numba']:,.0f} times faster than numpy")
    return 0 if recovered and same else 1


def _print_losses(histories: dict[str, fcb.History]) -> None:
    losses = {
        backend: dict(zip(history.steps.tolist(), history.losses.tolist(), strict=True))
        for backend, history in histories.items()
    }
    print_table(
        [
            (
                str(step),
                *(f"{found[step]:.6e}" if step in found else "" for found in losses.values()),
            )
            for step in sorted(set(itertools.chain(*losses.values())))
        ],
        ("step", *(f"loss, {backend}" for backend in losses)),
        right=(0, 1, 2),
    )


def _print_agreement(a: fcb.TrainResult, b: fcb.TrainResult) -> bool:
    agreement = fcb.compare(a.params, b.params)
    digests = fcb.digest(a.params), fcb.digest(b.params)
    if agreement.equal and a.steps == b.steps and digests[0] == digests[1]:
        print(f"all bits agree: yes, after {a.steps} steps\ndigest {digests[0]}\n")
        return True
    print(
        f"all bits agree: no, {agreement.different} values differ by up to {agreement.max_ulp} ULP "
        f"after {a.steps} and {b.steps} steps\ndigests {digests[0]}\n        {digests[1]}\n"
    )
    return False
