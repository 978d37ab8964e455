"""A process in which the contestants take turns, on the cores that it is started on."""

from __future__ import annotations

import functools
import gc
import os
import time
from pathlib import Path
from typing import Any

import compiled
import contestants
import fann
import frameworks
import msgspec
import numpy as np
from contestants import SHARE_OF_MOVE, TOLERANCE, Contestant
from rounds import fitted
from service import serve
from workloads import CLASSES, POLICY, Recipe, Workload, initial

import fcbackends as fcb
from fcbackends.report.machine import this_machine

F32, F64 = "float32", "float64"
WORKS = (
    Workload("train step", (2, 3), 1, F64),
    Workload("train step", (2, 3), 32, F32),
    Workload("train step", (13, 1), 32, F32),
    Workload("train step", (2, 8, 1), 1, F32),
    Workload("train step", (4, 16, 2), 1, F32),
    Workload("train step", (8, 16, 1), 1, F32),
    Workload("train step", (4, 64, 64, 2), 1, F32),
    Workload("train step", (12, 32, 32, 4), 1, F64),
    Workload("train step", (1, 10, 1), 4, F64),
    Workload("train step", (8, 16, 1), 16, F32),
    Workload("train step", (64, 32, 10), 32, F32),
    Workload("train step", (64, 128, 10), 32, F32),
    Workload("train step", (64, 64, 64, 1), 64, F32),
    Workload("train step", (784, 256, 10), 128, F32),
    Workload("train step", (4, 64, 64, 2), 1, F32, recipe=POLICY),
    Workload("train step", (4, 64, 64, 2), 64, F32, recipe=POLICY),
    Workload("train step", (64, 64, 64, 1), 64, F32, recipe=POLICY),
    Workload("train step", (64, 32, 10), 32, F32, recipe=CLASSES),
    Workload("forward", (1024, 1024), 512, F64),
    Workload("forward", (1024, 1024), 512, F32),
)

ROUND_SECONDS = 0.02
"""A turn of this length loses nothing to the timer's resolution or to the call itself."""

PAUSE_SECONDS = 0.1
"""Threads of one contestant's pool go on looking for work for a while; the next is not to feel it.
With 0.03, times alternated with the order of turns."""


def machine(threads: int) -> dict[str, Any]:
    """Where the contestants meet, on which cores, and who is left out and why."""
    left_out = frameworks.load(threads)
    try:
        compiled.compiler()
    except compiled.NoCompilerError as error:
        left_out["C"] = str(error)
    for dtype in fann.LIBRARIES:
        try:
            fann.load(dtype)
        except OSError as error:
            left_out["FANN"] = str(error)
    return {
        "machine": msgspec.to_builtins(this_machine()),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "left_out": left_out,
    }


def those_who_can(work: Workload, left_out: dict[str, str]) -> list[Contestant]:
    """The contestants of a work, the one that all are measured by in front.

    Who cannot take part is added to `left_out`.
    """
    found: list[Contestant]
    if work.kind == "forward":
        found = [
            contestants.Forward(work),
            contestants.FusedForward(work),
            contestants.NumpyForward(work),
        ]
    else:
        found = [
            contestants.NumbaTraining(work),
            contestants.FusedTraining(work),
            contestants.NumpyTraining(work),
            contestants.NativeTraining(work),
        ]
        if work.recipe == Recipe():
            found += of_plain_steps(work, left_out)
    return found + frameworks.contestants(work, left_out)


def of_plain_steps(work: Workload, left_out: dict[str, str]) -> list[Contestant]:
    """Those who know no other steps than ReLU's, with mean squares and SGD."""
    found: list[Contestant] = []
    if work.batch == 1 and len(work.sizes) == 2:
        found.append(contestants.NotebookLoop(work))
    if work.multiply_adds <= compiled.MOST_MULTIPLY_ADDS and "C" not in left_out:
        try:
            found.append(compiled.CLoop(work))
        except compiled.NoCompilerError as error:
            left_out["C"] = str(error)
    if work.batch == 1 and "FANN" not in left_out:
        found.append(fann.Fann(work))
    return found


def contest(name: str, left_out: dict[str, str], threads: int, turns: int) -> dict[str, Any]:
    """Let all contestants of a work take turns, and compare what they end on.

    The result has for each the seconds of a step in each turn, and how it agrees with the
    reference; for the peaks the seconds of one product and one sum in each turn; and how many
    cores other processes kept busy in the meantime, where the system tells.
    """
    work = next(work for work in WORKS if work.name == name)
    wanted = {name: contestants.reference(work, name) for name in ("ordered", "fused")}
    left_out_here = dict(left_out)
    there = those_who_can(work, left_out_here)
    rows = [
        {
            "name": one.name,
            "units": units,
            "seconds": [],
            **agreement(work, one, wanted[one.reference]),
        }
        for one in there
        for units in [units_of(work, one)]
    ]
    peaks = peaks_of(work, left_out_here)
    probed: list[dict[str, Any]] = [{"name": p.name, "how": p.how, "seconds": []} for p in peaks]
    gc.collect()
    before = of_others()
    for turn in range(turns):
        for place in sorted(range(len(there)), reverse=turn % 2 == 1):
            one, row = there[place], rows[place]
            if threads > 1:
                time.sleep(PAUSE_SECONDS)
                seconds(one, 1)  # its own threads are awake again
            steps = row["units"] * one.steps_a_unit
            row["seconds"].append(seconds(one, row["units"]) / steps)
            if not is_finite(one.result()):
                row.update(agreement=f"not finite after {steps} steps", kept=False)
        for peak, row in zip(peaks, probed, strict=True):
            row["seconds"].append(peak.seconds())
    after = of_others()
    others = None
    if before and after:
        others = (after[0] - before[0]) / (after[1] - before[1])
    return {
        "work": work.name,
        "multiply_adds": work.multiply_adds,
        "rows": rows,
        "peaks": probed,
        "left_out": {name: why for name, why in left_out_here.items() if name not in left_out},
        "busy_elsewhere": others,
    }


def units_of(work: Workload, one: Contestant) -> int:
    """The units of a turn, once all that long runs use is in place."""
    one.settle()
    return fitted(functools.partial(seconds, one), ROUND_SECONDS, work.units_a_run).units


def of_others() -> tuple[float, float] | None:
    """The seconds that all cores together gave to other processes so far, and the time now."""
    try:
        counts = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        user, nice, system, _, _, irq, softirq, steal = counts
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + softirq + steal
    return busy / ticks - time.process_time(), time.perf_counter()


def peaks_of(work: Workload, left_out: dict[str, str]) -> list[compiled.Peak]:
    """The limits that a work's rates are shares of; what has none is added to `left_out`."""
    found: list[compiled.Peak] = []
    if work.kind != "forward" or "C" in left_out:
        return found
    for fused in (False, True):
        try:
            found.append(compiled.Peak(work.dtype, fused=fused))
        except compiled.NoCompilerError as error:
            left_out["peak, " + ("fused" if fused else "apart")] = str(error)
    return found


def seconds(one: Contestant, units: int) -> float:
    """The time of so many units from the start."""
    one.start(units)
    started = time.perf_counter()
    one.go()
    return time.perf_counter() - started


def agreement(work: Workload, one: Contestant, wanted: Any) -> dict[str, Any]:
    """How a result agrees with the reference's, and whether that is what was promised."""
    one.start(1 if work.kind == "forward" else work.steps_compared)
    one.go()
    result = one.result()
    kind, _, own = one.promise.partition(" ")
    if kind == "own":
        return {"agreement": f"{own} of its own", "kept": True}
    if one.promise == "bits":
        found = fcb.compare(result, wanted)
        text = f"{found.different} values differ, by up to {found.max_ulp} ULP"
        return {"agreement": "all bits equal" if found.equal else text, "kept": found.equal}
    largest, allowed = difference(result, wanted), TOLERANCE[work.dtype]
    if work.kind != "forward":
        allowed = min(allowed, SHARE_OF_MOVE * difference(wanted, initial(work)))
    text = f"within {largest:.1e}" if largest else "equal values"
    return {"agreement": text, "kept": bool(largest <= allowed)}


def difference(a: Any, b: Any) -> float:
    """The largest absolute difference of two results."""
    if isinstance(a, tuple):
        return max(difference(*pair) for pair in zip(a, b, strict=True))
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"a result of shape {a.shape} in {a.dtype}, not {b.shape} in {b.dtype}")
    return float(np.max(np.abs(a - b)))


def is_finite(result: Any) -> bool:
    """Whether all numbers are."""
    if isinstance(result, tuple):
        return all(map(is_finite, result))
    return bool(np.isfinite(result).all())


if __name__ == "__main__":
    serve(machine, contest)
