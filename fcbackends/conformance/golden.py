"""Short training runs whose digests are known: the same on every machine, whatever computes.

The file `golden.txt` beside this module has a line for each of the runs: SHA-256, as `digest` makes
it of the trained parameters and the recorded losses, and the run in a few words.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from fcbackends.agreement import digest
from fcbackends.backends.backend import Backend
from fcbackends.maths.activations import ACTIVATIONS, of_hidden_layers
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.optimizers import SGD, Adam, Optimizer
from fcbackends.maths.sampling import Sampling, uniforms, word
from fcbackends.maths.schedules import CosineRate, Rate, StepRate
from fcbackends.training.initialization import init_params
from fcbackends.training.runs import train


class GoldenRun(NamedTuple):
    """One training: uniform numbers in [-1, 1) as data, parameters as `init_params` makes them."""

    sizes: tuple[int, ...]
    batch_size: int
    sampling: Sampling
    dtype: str
    samples: int = 50
    steps: int = 40
    activation: str | tuple[str, ...] = "relu"
    arithmetic: str = "ordered"
    optimizer: str = "sgd"
    loss: str = "mean_squared"
    weighted: bool = False
    rate: str = "constant"
    clip_norm: float | None = None

    def __str__(self) -> str:
        """The run in a few words."""
        sizes = "-".join(map(str, self.sizes))
        text = f"{sizes}, {self.steps} steps of {self.batch_size}, {self.sampling}, {self.dtype}"
        names = [self.activation] if isinstance(self.activation, str) else self.activation
        if self.activation != "relu":
            text += f", {' and '.join(names)}"
        text += "" if self.optimizer == "sgd" else f", {self.optimizer}"
        text += "" if self.loss == "mean_squared" else f", {self.loss}"
        text += ", weighted" if self.weighted else ""
        text += "" if self.rate == "constant" else f", {self.rate} rate"
        text += "" if self.clip_norm is None else f", clipped to {self.clip_norm}"
        return text if self.arithmetic == "ordered" else f"{text}, {self.arithmetic}"

    @property
    def needs_float64(self) -> bool:
        """Whether some of it is computed in float64, whatever its dtype."""
        names = of_hidden_layers(self.activation, len(self.sizes) - 2)
        activated = any(ACTIVATIONS[name].needs_float64 for name in names)
        return self.dtype == "float64" or activated or bool(LOSSES[self.loss].probabilities)


_SIZES = (
    *((1, 1), (2, 3), (13, 1)),
    *((5, 4, 3), (8, 16, 4), (64, 32, 10)),
    *((3, 7, 5, 2), (33, 17, 9, 1)),
)
_ACTIVATED: tuple[tuple[tuple[int, ...], int, str | tuple[str, ...]], ...] = (
    *(((8, 16, 4), 9, name) for name in ACTIVATIONS if name != "relu"),
    ((3, 7, 5, 2), 1, ("tanh", "sigmoid")),
    ((3, 7, 5, 2), 1, ("sigmoid", "leaky_relu")),
)
_LOST = (
    ("huber", 1, True),
    ("cross_entropy", 9, False),
    ("cross_entropy", 1, True),
    ("binary_cross_entropy", 9, True),
)
_DTYPES = ("float32", "float64")
_SAMPLINGS: tuple[Sampling, ...] = ("replacement", "epoch")

_OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9, weight_decay=0.01),
    "nesterov": SGD(momentum=0.8, nesterov=True),
    "adam": Adam(weight_decay=0.01, decoupled=False),
    "adamw": Adam(beta2=0.99, weight_decay=0.1, decay_bias=False),
}

_RATES: dict[str, Rate] = {
    "constant": 0.01,
    "cosine": CosineRate(0.03, steps=30, end=0.001, warmup=4),
    "step": StepRate(0.03, every=7, factor=0.6, warmup=4),
}

_ORDERED = (
    *(GoldenRun(*run) for run in itertools.product(_SIZES, (1, 9), _SAMPLINGS, _DTYPES)),
    # A step of these is work for two threads.
    *(GoldenRun((130, 200, 10), 64, "epoch", dtype, samples=100, steps=4) for dtype in _DTYPES),
    *(GoldenRun((257, 129, 65), 40, "epoch", dtype, samples=90, steps=4) for dtype in _DTYPES),
    *(
        GoldenRun(sizes, batch_size, "epoch", dtype, activation=activation)
        for (sizes, batch_size, activation), dtype in itertools.product(_ACTIVATED, _DTYPES)
    ),
    *(
        GoldenRun(sizes, batch_size, "epoch", dtype, optimizer=optimizer)
        for (sizes, batch_size), optimizer, dtype in itertools.product(
            (((8, 16, 4), 1), ((33, 17, 9, 1), 9)), tuple(_OPTIMIZERS)[1:], _DTYPES
        )
    ),
    *(
        GoldenRun((8, 16, 4), batch_size, "epoch", dtype, loss=loss, weighted=weighted)
        for (loss, batch_size, weighted), dtype in itertools.product(_LOST, _DTYPES)
    ),
    *(
        GoldenRun((8, 16, 4), batch_size, "epoch", dtype, optimizer=optimizer, rate=rate)
        for (batch_size, optimizer, rate), dtype in itertools.product(
            ((1, "sgd", "cosine"), (9, "adamw", "step")), _DTYPES
        )
    ),
    *(
        GoldenRun(sizes, batch_size, "epoch", dtype, optimizer=optimizer, clip_norm=clip_norm)
        for (sizes, batch_size, optimizer, clip_norm), dtype in itertools.product(
            (((8, 16, 4), 1, "sgd", 4.0), ((64, 32, 10), 9, "adamw", 3.0)), _DTYPES
        )
    ),
)

RUNS = *_ORDERED, *(run._replace(arithmetic="fused") for run in _ORDERED)


@functools.cache
def golden_digests() -> dict[str, str]:
    """The digest of each run that must come out, by the run's words."""
    text = resources.files(__package__).joinpath("golden.txt").read_text("ascii")
    pairs = (line.split("  ", 1) for line in text.splitlines())
    return {run: sha256 for sha256, run in pairs}


def golden_runs(arithmetic: str, dtypes: tuple[str, ...] = _DTYPES) -> tuple[GoldenRun, ...]:
    """The runs in this arithmetic and in numbers of these dtypes; none are in native arithmetic."""
    return tuple(
        run
        for run in RUNS
        if run.arithmetic == arithmetic
        and run.dtype in dtypes
        and ("float64" in dtypes or not run.needs_float64)
    )


def differing_runs(runs: Sequence[GoldenRun], backend: Backend) -> tuple[str, ...]:
    """Which of the runs end on another digest, or in an exception."""
    found = []
    for run in runs:
        try:
            if run_digest(run, backend) != golden_digests()[str(run)]:
                found.append(str(run))
        except Exception as error:  # whatever somebody's backend raises
            found.append(f"{run}: {type(error).__name__}: {error}")
    return tuple(found)


def run_digest(run: GoldenRun, backend: Backend) -> str:
    """The digest of a run that comes out on this backend."""
    seed = word(run.batch_size, sum(run.sizes))

    def numbers(stream: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        values = 2 * uniforms(word(seed, stream), run.samples * width) - 1
        return values.reshape(run.samples, width)

    t: Any = numbers(1, run.sizes[-1])
    if run.loss == "cross_entropy":
        t = np.argmax(t, axis=1)
    elif run.loss == "binary_cross_entropy":
        t = t > 0
    result = train(
        numbers(0, run.sizes[0]),
        t,
        params=init_params(run.sizes, seed=seed, dtype=run.dtype),
        optimizer=_OPTIMIZERS[run.optimizer],
        lr=_RATES[run.rate],
        clip_norm=run.clip_norm,
        activation=run.activation,
        loss=run.loss,
        sample_weight=np.abs(numbers(2, 1)[:, 0]) if run.weighted else None,
        batch_size=run.batch_size,
        max_steps=run.steps,
        sampling=run.sampling,
        seed=seed,
        dtype=run.dtype,
        record_every=3,
        progress=False,
        backend=backend,
    )
    return digest([result.params, result.history.losses])
