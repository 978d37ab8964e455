"""Other states and data for a step, to tell apart what a single outcome leaves open."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from fcbackends.differences.operations import Floats
from fcbackends.differences.runs import Run
from fcbackends.maths.network import State

_OF_NUMBERS = ("mean_squared", "huber")
"""Losses whose targets may be any number."""


def probes_of(run: Run) -> Iterator[tuple[State, Floats, Floats, bool]]:
    """States, and data of the run's shapes.

    In some, gradients are far larger than what they move, so that each bit of theirs is seen: for
    large targets, or small parameters. Others are ordinary, or have the run's own data, or numbers
    near to the least: these are marked, since there are many ways to treat subnormal numbers.
    """
    rng = np.random.default_rng(0)
    kinds = ["far", "ordinary", "far", "own", "far", "tiny", "small weights", "tinier"]
    if run.method.loss != "mean_squared":
        kinds = ["small", "ordinary", "small weights", "own", "small", "tiny", "tinier"]
    for kind in itertools.cycle(kinds):
        yield *_probe(run, rng, kind), kind.startswith("tin")


def _probe(run: Run, rng: np.random.Generator, kind: str) -> tuple[State, Floats, Floats]:
    real = np.dtype(run.dtype)
    layers, single = len(run.params), run.dtype == "float32"
    least = float(np.finfo(real).smallest_normal)

    def numbers(shape: tuple[int, ...], scale: float) -> Floats:
        signs = rng.choice((-1.0, 1.0), shape)
        made: Floats = (signs * rng.uniform(0.5, 1.5, shape) * scale).astype(real)
        return made

    x, t = run.x, run.t
    if kind != "own":
        x = numbers(x.shape, 1.0)
        if run.method.loss in _OF_NUMBERS:
            outputs = run.params[-1][1].size
            sizes = {"far": 2.0**30 if single else 2.0**45, "tinier": least * 64}
            t = np.concatenate(
                [numbers((len(t), outputs), sizes.get(kind, 1.0)), t[:, outputs:]], 1
            )
    step = 2.0**-8 if single else 2.0**-16
    tiny = rng.integers(layers)
    pairs = []
    for layer, (w, b) in enumerate(run.params):
        of_w, of_b = 1 / np.sqrt(w.shape[0]), 2.0**-3
        if kind in ("small", "small weights"):
            # The gradient is that of the output times all weights in between.
            of_w *= max(step ** min(2 ** (layers - 1 - layer), 8), least**0.5)
            of_b = of_w if kind == "small" or layer == layers - 1 else of_b
        elif kind == "tinier":
            of_w = least * 64 if layer == layers - 1 else of_w
            of_b = least * 64
        elif kind == "tiny" and layer == tiny:
            of_w, of_b = least * 8, least * 8
        pairs.append((numbers(w.shape, of_w), numbers(b.shape, of_b)))
        if kind == "small weights" and layer < layers - 1:
            pairs[-1] = pairs[-1][0], np.abs(pairs[-1][1])
    slots = tuple(
        tuple(
            (np.abs(numbers(w.shape, 2.0**-6)), np.abs(numbers(b.shape, 2.0**-6))) for w, b in slot
        )
        for slot in run.first.slots
    )
    return State(tuple(pairs), slots), x, t
