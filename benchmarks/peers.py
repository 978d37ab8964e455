"""fcbackends beside PyTorch, JAX, scikit-learn, FANN, NumPy and C: the same work, in turns.

    python benchmarks/peers.py [--threads N]... [--rounds N] [--only TEXT] [--json FILE]

All contestants of a work start from the same parameters and take the same steps on the same samples
in the same order, all in one process that is held to so many cores. What is not installed is left
out by name. The exit status is 1 where a contestant has not done the work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import contest

from fcbackends.errors import ArgumentError
from fcbackends.report import figures
from fcbackends.report.machine import pinned_threads
from fcbackends.report.terminal import print_table
from fcbackends.report.workers import WorkerEndedError, WorkerError, worker

ROUNDS = 15
BASE = "fcbackends numba"

DISTURBING = 0.1
"""Times are no longer to be trusted where other processes kept so many cores busy."""


def main() -> int:
    """Measure, print, and save; 1 where a result is not the work's."""
    arguments = parsed()
    try:
        works = chosen_works(arguments.only)
        counts = arguments.threads or [n for n in (1, 2) if n <= len(cores())]
        for threads in counts:
            if not 1 <= threads <= len(cores()):
                required = f"be from 1 to {len(cores())}, the cores"
                raise ArgumentError("--threads", required, str(threads))
        if arguments.rounds < 1:
            raise ArgumentError("--rounds", "be at least 1", str(arguments.rounds))
    except ArgumentError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    try:
        runs = [run(threads, works, arguments.rounds) for threads in counts]
    except (WorkerError, WorkerEndedError) as error:
        print(f"peers: the contestants' process has failed: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(runs, indent=1))
    rows = [row for found in runs for work in found["works"] for row in work["rows"]]
    return 0 if all(row["kept"] for row in rows) else 1


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="fcbackends and its peers on the same work")
    parser.add_argument(
        "--threads",
        type=int,
        action="append",
        help="cores, and threads of every pool; may be given again (default: 1, and then 2)",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns (default: {ROUNDS})")
    parser.add_argument("--only", default="", metavar="TEXT", help="works with TEXT in their name")
    parser.add_argument("--json", metavar="FILE", help="write all rounds' times to FILE")
    return parser.parse_args()


def chosen_works(only: str) -> list[str]:
    """The names of the works that are asked for."""
    names = [work.name for work in contest.WORKS if only in work.name]
    if not names:
        raise ArgumentError("--only", "be a text in a work's name", repr(only))
    return names


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Hold processes that are started inside to so many cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(threads: int, works: list[str], turns: int) -> dict[str, Any]:
    """Let the contestants take turns in a process of their own, and print what it answers."""
    with contextlib.ExitStack() as stack:
        # Libraries read how many threads they may have when they are loaded.
        with pinned_threads(threads), on_cores(threads):
            ask = stack.enter_context(worker(Path(__file__).with_name("contest.py")))
        head = ask("machine", threads=threads)
        print_head(threads, head)
        found = []
        for work in works:
            left_out = head["left_out"]
            found.append(ask("contest", name=work, left_out=left_out, threads=threads, turns=turns))
            print_work(threads, found[-1])
    return {"threads": threads, **head, "works": found}


def print_head(threads: int, head: dict[str, Any]) -> None:
    """What the tables below are measured on."""
    machine = head["machine"]
    held = f", held to {counted(len(head['cores']), 'core')}" if head["cores"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"\n{counted(threads, 'thread')}{held}: {machine['cpu']}, {machine['blas']}")
    print(versions)
    print_left_out(head)


def print_left_out(answer: dict[str, Any]) -> None:
    """Who does not take part, and why."""
    for name, why in answer["left_out"].items():
        print(f"left out: {name}: {why}")


def print_work(threads: int, work: dict[str, Any]) -> None:
    """A work's table, and the peaks that its rates are shares of."""
    rows = work["rows"]
    base = next(row["seconds"] for row in rows if row["name"] == BASE)
    peaks = {peak["name"]: peak for peak in work["peaks"]}
    header = ["", "time", f"x {BASE}", "middle half", "agreement"]
    if peaks:
        times = f" x {threads}" if threads > 1 else ""
        header += ["GFLOP/s", *(f"of {name}{times}" for name in peaks)]
    lines = []
    for row in rows:
        ratios = [a / b for a, b in zip(row["seconds"], base, strict=True)]
        low, high = middle_half(ratios)
        time = statistics.median(row["seconds"])
        line = [
            row["name"],
            figures.seconds(time),
            figures.factor(statistics.median(ratios)),
            f"{figures.factor(low)} to {figures.factor(high)}",
            row["agreement"] if row["kept"] else f"NOT KEPT: {row['agreement']}",
        ]
        if peaks:
            line.append(rate(time / work["multiply_adds"]))
            for peak in peaks.values():
                shares = [
                    work["multiply_adds"] * limit / (threads * taken)
                    for limit, taken in zip(peak["seconds"], row["seconds"], strict=True)
                ]
                line.append(f"{100 * statistics.median(shares):.0f} %")
        lines.append(line)
    print(f"\n{work['work']}")
    print_table(lines, header, right=[1, 2, 3, *range(5, len(header))])
    for peak in peaks.values():
        reached = rate(statistics.median(peak["seconds"]))
        print(f"{peak['name']}, one core: {reached} GFLOP/s ({peak['how']})")
    if len(peaks) == 2:
        apart, fused = (statistics.median(peak["seconds"]) for peak in peaks.values())
        print(f"fused / apart: {figures.factor(apart / fused)} (2: sums and products share units)")
    print_left_out(work)
    if (busy := work["busy_elsewhere"] or 0) > DISTURBING:
        print(f"disturbed: other processes kept {busy:.1f} cores busy in the meantime")
    sys.stdout.flush()


def rate(seconds: float) -> str:
    """The floating-point operations a second of one product and one sum in so many seconds."""
    return f"{2e-9 / seconds:.1f}"


def middle_half(values: list[float]) -> tuple[float, float]:
    """The quartiles; both are the value itself where there is only one."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


if __name__ == "__main__":
    sys.exit(main())
