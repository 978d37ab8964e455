"""How long a training goes on after Ctrl-C, which comes at random moments, by the network's size.

    python benchmarks/stopping.py [--threads 1] [--stops 40] [--dtype float32]

Once a run ends in KeyboardInterrupt, and once it returns its result, which has to be copied.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fcbackends as fcb
from fcbackends.report.terminal import print_table

NETWORKS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((8, 8, 1), 32),
    ((30, 30, 1), 32),
    ((96, 96, 8), 32),
    ((300, 300, 30), 128),
    ((1000, 1000, 10), 1),
    ((1000, 1000, 10), 4096),
    ((2200, 2200, 2200), 256),
    ((4096, 4096, 4096), 4096),
    ((10_000, 10_000, 10), 32),
    ((10_000, 10_000, 10), 512),
)
"""The layers' sizes and the batch: from 1e2 to 1e8 parameters."""

MOST_SECONDS_BEFORE = 1.0


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stops", type=int, default=40, help="of each network")
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args()
    fcb.get_backend("numba").set_threads(asked.threads)
    rows = []
    for sizes, batch in NETWORKS:
        train = training(sizes, batch, asked.dtype)
        train(max_steps=1)
        for how in ("raise", "return"):
            run = functools.partial(train, max_steps=10**9, on_interrupt=how)
            times = sorted(seconds_to_stop(run, number) for number in range(asked.stops))
            at = times[len(times) // 2], times[int(0.99 * len(times))], times[-1]
            parameters = sum((k + 1) * m for k, m in itertools.pairwise(sizes))
            seconds = [f"{1e3 * value:.0f}" for value in at]
            rows.append(("-".join(map(str, sizes)), str(batch), f"{parameters:.1e}", how, *seconds))
            print(*rows[-1], flush=True)
    header = ("network", "batch", "parameters", "then", "median, ms", "99 %", "most")
    print_table(rows, header, right=(1, 2, 4, 5, 6))
    return 0


def training(sizes: tuple[int, ...], batch: int, dtype: str) -> Callable[..., Any]:
    """A training that is begun anew by each call."""
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((batch, count)).astype(dtype) for count in (sizes[0], sizes[-1]))
    params = fcb.init_params(sizes, dtype=dtype)
    how = dict(params=params, lr=1e-6, batch_size=batch, dtype=dtype, backend="numba")
    return functools.partial(fcb.train, x, t, **how, progress=False)


def seconds_to_stop(run: Callable[[], Any], seed: int) -> float:
    """How long a run goes on after the signal."""
    moment, sent = random.Random(seed).uniform(0, MOST_SECONDS_BEFORE), []

    def send() -> None:
        while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            time.sleep(0.001)
        time.sleep(moment)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    with contextlib.suppress(KeyboardInterrupt):
        run()
    ended = time.perf_counter()
    sender.join()
    return ended - sent[0]


if __name__ == "__main__":
    raise SystemExit(main())
