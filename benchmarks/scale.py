"""How cost grows: a sample's with the number of samples on disk, a step's with its multiply-adds.

    python benchmarks/scale.py [--samples 1e8] [--multiply-adds 1e9] [--folder DIR]

The samples stand in memory-mapped files, written to a temporary folder (40 bytes a sample), from
which the notebook's network is trained one by one; beside the time stands what memory of its own
the process holds. The steps are those of one square layer, batch 32, float32. One core, medians of
seven runs.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fcbackends as fcb
from fcbackends.report import figures
from fcbackends.report.machine import pinned_threads
from fcbackends.report.statistics import fit_exponent
from fcbackends.report.terminal import print_table

RUNS = 7
DRAWS = 2_000_000
ROWS_A_WRITE = 1_000_000
BATCH = 32


def main() -> int:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=float, default=1e7, help="the most (default: 1e7)")
    parser.add_argument("--multiply-adds", type=float, default=1e9, help="the most (default: 1e9)")
    parser.add_argument("--folder", help="where the files are written (default: a temporary one)")
    arguments = parser.parse_args()
    with pinned_threads(1), tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        samples(Path(folder), round(math.log10(arguments.samples)))
    with pinned_threads(1):
        steps(arguments.multiply_adds)
    return 0


def samples(folder: Path, largest: int) -> None:
    """The time of a drawn sample, from a thousand of them on disk to 10**largest."""
    rows, sizes, times = [], [], []
    for exponent in range(3, largest + 1):
        x, t = files(folder, 10**exponent)
        row = [f"1e{exponent}"]
        for sampling in ("replacement", "epoch"):
            how = {"lr": 0.002, "sampling": sampling, "progress": False, "record_every": 10**9}
            fcb.train(x, t, max_steps=DRAWS // 10, **how)
            run = functools.partial(fcb.train, x, t, max_steps=DRAWS, **how)
            seconds = median(run) / DRAWS
            row.append(figures.seconds(seconds))
            if sampling == "replacement":
                sizes.append(10**exponent)
                times.append(seconds)
        rows.append([*row, own_memory()])
        x._mmap.close()
        t._mmap.close()
    print_table(
        rows, ["samples", "with replacement", "by epochs", "own memory"], right=(0, 1, 2, 3)
    )
    print(f"exponent of time over samples: {fit_exponent(sizes, times).value:.2f}\n")


def files(folder: Path, count: int) -> tuple[np.memmap, np.memmap]:
    """The notebook's regression with so many samples, mapped from files."""
    for name in ("x.npy", "t.npy"):
        (folder / name).unlink(missing_ok=True)
    x, t = (
        np.lib.format.open_memmap(folder / name, "w+", np.float64, (count, columns))
        for name, columns in (("x.npy", 2), ("t.npy", 3))
    )
    for first in range(0, count, ROWS_A_WRITE):
        rows = min(ROWS_A_WRITE, count - first)
        x[first : first + rows] = fcb.sample_indices(10, steps=rows, batch_size=2, seed=first)
        t[first : first + rows] = x[first : first + rows] @ [[3, 7, 4], [5, 2, 6]] + [2, 9, 3]
    del x, t
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "t.npy", mmap_mode="r")


def own_memory() -> str:
    """What the process holds beside mapped files, where the system tells."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return ""
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
    return f"{int(line.split()[1]) // 1024} MB"


def steps(most: float) -> None:
    """The time of a step from a hundred multiply-adds on."""
    rows, sizes, times = [], [], []
    widths = [2**power for power in range(1, 13)]
    for width in widths:
        products = 2 * BATCH * width * width
        if products > 1.1 * most:
            break
        x = np.resize(np.float32([0.5, -0.25, 0.125]), (256, width))
        trainer = fcb.Trainer(fcb.init_params((width, width), dtype="float32"), lr=2.0**-14)
        how = {"batch_size": BATCH, "progress": False}
        # Enough steps for a kernel of its own, where the layer is small, and for a steady time.
        count = max(20, min(400_000, int(2e9 / products)))
        run = functools.partial(trainer.run, x, x, max_steps=count, **how)
        run()
        seconds = median(run) / count
        rows.append(
            [
                f"{width}-{width}",
                figures.many(products),
                figures.seconds(seconds),
                f"{2 * products / seconds / 1e9:.1f}",
            ]
        )
        sizes.append(products)
        times.append(seconds)
    print_table(rows, ["layer", "multiply-adds", "step", "GFLOP/s"], right=(1, 2, 3))
    print(f"exponent of time over multiply-adds: {fit_exponent(sizes, times).value:.2f}")


def median(work: Callable[[], object]) -> float:
    """The median time of some runs."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    sys.exit(main())
