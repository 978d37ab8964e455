"""Other states and data for a step, to tell apart what a single outcome leaves open."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fcbackends.differences.operations import Floats
from fcbackends.differences.runs import Run
from fcbackends.maths.network import State

_OF_NUMBERS = ("mean_squared", "huber")
"""Losses whose targets may be any number."""


def probes_of(run: Run) -> Iterator[tuple[State, Floats, Floats]]:
    """States, and data of the run's shapes: ordinary, such that gradients are seen, and tiny."""
    rng = np.random.default_rng(0)
    while True:
        for kind in ("seen", "ordinary", "seen", "mixed", "seen", "own", "tiny", "tinier"):
            yield _probe(run, rng, kind)


def _probe(run: Run, rng: np.random.Generator, kind: str) -> tuple[State, Floats, Floats]:
    real = np.dtype(run.dtype)
    layers = len(run.params)
    least = float(np.finfo(real).smallest_normal)

    def numbers(shape: tuple[int, ...], scale: float) -> Floats:
        signs = rng.choice((-1.0, 1.0), shape)
        made: Floats = (signs * rng.uniform(0.5, 1.5, shape) * scale).astype(real)
        return made

    x = run.x if kind in ("own", "mixed") else numbers(run.x.shape, 1.0)
    t = run.t
    if run.method.loss in _OF_NUMBERS and kind not in ("own", "mixed"):
        outputs = run.params[-1][1].size
        scale = least * 64 if kind == "tinier" else 1.0
        t = np.concatenate([numbers((len(t), outputs), scale), t[:, outputs:]], axis=1)
    step = 2.0**-14 if run.dtype == "float32" else 2.0**-24
    pairs = []
    for layer, (w, b) in enumerate(run.params):
        scale = 1 / np.sqrt(w.shape[0])
        if kind == "seen":
            # Weights far smaller than their gradients: these are seen in full.
            scale *= max(step ** (layers - layer), least**0.5)
        elif kind == "tiny" and layer == rng.integers(layers):
            scale = least * 8
        elif kind == "tinier":
            scale = least * 64 if layer == layers - 1 else scale
        of_bias = scale if kind in ("tiny", "tinier") else 2.0**-3
        if kind == "seen" and layer == layers - 1:
            of_bias = scale
        pairs.append((numbers(w.shape, scale), numbers(b.shape, of_bias)))
        if kind != "tinier":
            pairs[-1] = pairs[-1][0], np.abs(pairs[-1][1]) if layer < layers - 1 else pairs[-1][1]
    slots = tuple(
        tuple((np.abs(numbers(w.shape, 2.0**-6)), np.abs(numbers(b.shape, 2.0**-6))) for w, b in slot)
        for slot in run.first.slots
    )
    return State(tuple(pairs), slots), x, t
