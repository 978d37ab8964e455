"""The whole life of networks in a loop: nothing may grow.

    python -m tests.soak --seconds 1800 --seed 1

Each round trains, predicts, saves, loads, keeps a run in a checkpoint, breaks it off, resumes it
in another process that is forked, and trains on several threads. After a third of the time, memory,
open files, threads and kernels in the cache are measured round by round. What is counted may not be
more at the end than at the beginning; a line is fitted to the memory, and may not rise by more than
`--growth` megabytes in the time measured, of which there are up to a thousand samples.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fcbackends as fcb
from fcbackends.kernels.cache import cache_directory
from tests.cases import problem
from tests.jobs import KINDS, NUMBERS, shared_by_threads, work

WARM_UP = 1 / 3

MOST_SAMPLES = 1000


class Sample(NamedTuple):
    """What a process holds, and its computer's folders."""

    seconds: float
    memory: float
    files: float
    threads: float
    system_threads: float
    kernels: float
    temporary: float


COUNTS = ("files", "threads", "system_threads", "kernels", "temporary")


def sample(begin):
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Sample(
        time.monotonic() - begin,
        resident,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(os.listdir("/proc/self/task")),
        sum(len(names) for _, _, names in os.walk(cache_directory() or "")),
        len(os.listdir(tempfile.gettempdir())),
    )


class BrokenOff(Exception):
    """A run ends here."""


def broken_off(look):
    if look.step >= 40:
        raise BrokenOff


def in_fork(task):
    """The digest that a forked process makes."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(write, task().encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        told = pipe.read()
    os.waitpid(process, 0)
    return told


def live(number, folder):
    """A network's life; what is wrong with it."""
    wrong = []
    if in_fork(lambda: work(number)) != work(number):
        wrong.append(f"work {number} has other bits in a fork")
    how = dict(KINDS[number % len(KINDS)])
    sizes = how.pop("sizes")
    case = problem(number, sizes, 60, how["dtype"])
    t = case.t
    if how.get("loss"):
        t = np.eye(sizes[-1], dtype=t.dtype)[np.arange(len(t)) % sizes[-1]]
    train = dict(hidden=sizes[1:-1], lr=0.01, seed=number, **how)
    train |= dict(record_every=20, max_steps=100, callback=lambda look: None)
    path = folder / "run.checkpoint"
    kept = dict(checkpoint=path, checkpoint_every=20, callback=broken_off)
    with contextlib.suppress(BrokenOff):
        fcb.train(case.x, t, **(train | kept))
    whole = fcb.digest(fcb.train(case.x, t, **train).params)
    resumed = in_fork(lambda: fcb.digest(fcb.train(case.x, t, resume=path, **train).params))
    if resumed != whole:
        wrong.append(f"run {number} resumed has other bits")
    path.unlink()
    with contextlib.suppress(fcb.ArgumentError):
        fcb.train(case.x, t, **(train | dict(lr=-1)))
    return wrong


def rise(samples):
    """The memory's rise over the time measured, in megabytes, by the line that fits best."""
    seconds = np.array([s.seconds for s in samples])
    slope, _ = np.polyfit(seconds, [s.memory / 1e6 for s in samples], 1)
    return slope * (seconds[-1] - seconds[0])


def judged(samples, growth):
    """What grew, in words."""
    measured = samples[int(len(samples) * WARM_UP) :]
    found = [
        f"{name} grew from {first:.0f} to {last:.0f}"
        for name in COUNTS
        if (last := min(getattr(s, name) for s in measured[-3:]))
        > (first := max(getattr(s, name) for s in measured[:3]))
    ]
    if (risen := rise(measured)) > growth:
        found.append(f"memory grew by {risen:.2f} MB")
    return found


def run(seconds, seed, growth, *, also=lambda: None):
    """Live for so long; the rounds, samples, and what went wrong. Each round does `also`, too."""
    rng = random.Random(seed)
    # Room for all from the start: as objects, those of half an hour would be a growth of 4.5 MB.
    table, wrong, taken, rounds = np.full((MOST_SAMPLES + 1, len(Sample._fields)), -1.0), [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        for number in range(len(KINDS)):  # all kernels are there before anything is measured
            wrong += live(number, Path(folder))
        begin = time.monotonic()
        while time.monotonic() < begin + seconds and not wrong:
            wrong += live(rng.randrange(NUMBERS), Path(folder))
            also()
            rounds += 1
            if time.monotonic() - begin >= taken * seconds / MOST_SAMPLES:
                table[taken] = sample(begin)
                taken += 1
        tempfile.tempdir = None
    samples = [Sample(*row) for row in table[:taken].tolist()]
    return rounds, samples, wrong or judged(samples, growth)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--growth", type=float, default=2.0, help="megabytes")
    chosen = parser.parse_args()
    np.seterr(all="ignore")
    shared_by_threads()
    rounds, samples, wrong = run(chosen.seconds, chosen.seed, chosen.growth)
    measured = samples[int(len(samples) * WARM_UP) :]
    first, last = measured[0], measured[-1]
    print(f"{rounds} rounds; memory {first.memory / 1e6:.1f} to {last.memory / 1e6:.1f} MB, "  # noqa: T201
          f"a line rises by {rise(measured):.2f} MB")  # fmt: skip
    for name in COUNTS:
        print(f"{name}: {getattr(first, name):.0f} to {getattr(last, name):.0f}")  # noqa: T201
    for line in wrong:
        print(f"wrong: {line}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
