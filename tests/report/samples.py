"""Saved runs made up from a model of a noisy machine, in the form that pytest-benchmark writes."""

import copy
import json
import math

import msgspec
import numpy as np

from fcbackends.report.runs import Run

VISITS, ROUNDS = 8, 4

MACHINE = {
    "cpu": "Made-up CPU",
    "cores": 2,
    "os": "Linux-6.1",
    "python": "CPython 3.11.7",
    "versions": {"numpy": "2.4.6", "numba": "0.68.1"},
    "blas": "openblas 0.3.30 Zen",
    "threads": {"blas": 1, "numba": 1},
}

BACKENDS = (("numpy", "native"), ("numpy", "ordered"), ("numba", "ordered"))


def agreement(arithmetic, different=0):
    if arithmetic == "native":
        return {"equal": False, "different": 7, "values": 40, "max_ulp": 3, "stated": "C"}
    return {
        "equal": different == 0,
        "different": different,
        "values": 40,
        "max_ulp": 1 if different else 0,
        "stated": "A",
    }


def benchmark(
    workload="train step 64-32-10 batch 32 float32",
    backend="numba",
    arithmetic="ordered",
    *,
    kind="train step",
    seconds=1e-5,
    generator=None,
    busy=(),
    **extra,
):
    """One benchmark; in the visits `busy`, the whole machine is 1.7 times slower."""
    times, probes = [], []
    for visit in range(VISITS):
        machine = 1.7 if visit in busy else 1.0
        luck = math.exp(generator.normal(0, 0.03)) if generator else 1.0
        for _ in range(ROUNDS):
            jitter = math.exp(generator.normal(0, 0.02)) if generator else 1.0
            times.append(seconds * machine * luck * jitter)
            probes.append(6e-4 * machine)
    name = f"test_training[{workload}-{backend}-{arithmetic}]"
    q1, median, q3 = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    return {
        "group": workload,
        "name": name,
        "fullname": f"benchmarks/test_training.py::{name}",
        "params": None,
        "param": None,
        "options": {},
        "stats": {
            "min": min(times),
            "max": max(times),
            "mean": float(np.mean(times)),
            "stddev": float(np.std(times)),
            "rounds": len(times),
            "median": median,
            "iqr": q3 - q1,
            "q1": q1,
            "q3": q3,
            "data": times,
            "iterations": 100,
        },
        "extra_info": {
            "workload": workload,
            "kind": kind,
            "sizes": [64, 32, 10],
            "batch": 32,
            "dtype": "float32",
            "backend": backend,
            "arithmetic": arithmetic,
            "multiply_adds": 100_000,
            "samples": 32,
            "agreement": agreement(arithmetic),
            "samples_per_second": 32 / median,
            "visits": [ROUNDS] * VISITS,
            "probes": probes,
            "compile_cold_s": 6.0 if backend == "numba" else None,
            "compile_cached_s": 0.3 if backend == "numba" else None,
            "axis": None,
            "losses": None,
            **extra,
        },
    }


def run(*benchmarks, **machine):
    """A saved run of these benchmarks."""
    return {
        "machine_info": {"node": "here", "fcbackends": {**MACHINE, **machine}},
        "commit_info": {"id": "0123456789abcdef", "dirty": False, "project": "fcbackends"},
        "benchmarks": list(benchmarks),
        "datetime": "2026-01-02T03:04:05.000006+00:00",
        "version": "5.3.1",
    }


def noisy_run(seed, count=20, slowed=(), by=1.15):
    """A run of `count` benchmarks, of which those in `slowed` take longer; the rest is chance."""
    generator = np.random.default_rng(seed)
    return run(
        *(
            benchmark(
                f"train step {i}",
                seconds=1e-5 * (by if i in slowed else 1),
                generator=generator,
                busy=np.flatnonzero(generator.random(VISITS) < 0.4),
            )
            for i in range(count)
        )
    )


def full_run():
    """A run with several kinds of work, two series with a crossover, and losses that coincide."""
    losses = {"steps": [16, 32, 48], "losses": [1.0, 0.01, 0.0]}
    other = {"steps": [16, 32, 48], "losses": [1.0, 0.0100001, 0.0]}
    found = []
    for kind, seconds in (
        ("forward", (4e-5, 5e-4, 6e-5)),
        ("train step", (5e-5, 4e-5, 2.1e-8)),
        ("sgd step", (1.5e-4, 9e-4, 1.4e-4)),
    ):
        found += [
            benchmark(f"{kind} 64-32-10 batch 32 float32", *who, kind=kind, seconds=time)
            for who, time in zip(BACKENDS, seconds, strict=True)
        ]
    for width in (2, 8, 32, 128, 512):
        axis = {"series": "square layers", "name": "width", "value": width}
        times = 4e-5 + 2e-9 * width**2, 1e-4 + 6e-8 * width**2, 1e-8 * width**2
        found += [
            benchmark(f"train step {width}-{width}", *who, seconds=time, axis=axis)
            for who, time in zip(BACKENDS, times, strict=True)
        ]
    found += [
        benchmark(
            "training 2-3 batch 16 float64",
            *who,
            kind="training",
            seconds=time,
            losses=other if who[1] == "native" else losses,
        )
        for who, time in zip(BACKENDS, (2e-2, 6e-2, 2e-3), strict=True)
    ]
    return run(*found)


def as_run(saved):
    """What is read of a saved run."""
    return msgspec.convert(saved, Run)


def changed(saved, place, **extra):
    """A copy in which one benchmark's extra_info is changed."""
    saved = copy.deepcopy(saved)
    saved["benchmarks"][place]["extra_info"].update(extra)
    return saved


def write(path, saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(saved, indent=4))
    return path
