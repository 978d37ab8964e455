"""A network held against the rows that it was trained on, and those that were held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.cli.model import Model
from fcbackends.cli.preparing import Part
from fcbackends.models.scaling import Floats

_LOSSES: dict[str, Callable[..., Any]] = {
    "mean_squared": fcb.mean_squared_loss,
    "huber": fcb.huber_loss,
    "cross_entropy": fcb.cross_entropy_loss,
    "binary_cross_entropy": fcb.binary_cross_entropy_loss,
}


_PRODUCTS_AT_ONCE = 200_000_000
"""Python asks for signals between two calls of kernels; one of so many takes 10 ms."""


_LONG_PRODUCTS = 1_000_000_000
"""Of a forward pass; a compiled one takes some 50 ms."""


@dataclass(frozen=True)
class Outcome:
    """Some rows, the network's outputs for them, and their loss."""

    part: Part
    y: Floats
    loss: float


def is_long(model: Model, parts: Mapping[str, Part]) -> bool:
    """Whether to evaluate all parts takes longer than a program that was interrupted may."""
    return _weights(model) * sum(len(part.x) for part in parts.values()) > _LONG_PRODUCTS


Outcomes: TypeAlias = Mapping[str, Outcome]
"""By the name of the part."""


def _weights(model: Model) -> int:
    return sum(w.size for w, _ in model.params)


def loss_of(model: Model, y: Floats, t: Any, backend: fcb.Backend) -> float:
    """The loss that the model was trained on."""
    return float(_LOSSES[model.loss](y, t, backend=backend).loss)


def evaluate(model: Model, part: Part, backend: fcb.Backend) -> Outcome:
    """The network's outputs, and their loss."""
    rows = max(1, _PRODUCTS_AT_ONCE // _weights(model))
    how: dict[str, Any] = dict(activation=model.activation, backend=backend)
    blocks = (part.x[first : first + rows] for first in range(0, len(part.x), rows))
    y = np.concatenate([as_numpy(fcb.predict(model.params, x, **how)) for x in blocks])
    return Outcome(part, y, loss_of(model, y, part.t, backend))


def outcomes(
    model: Model, parts: Mapping[str, Part], backend: fcb.Backend, result: fcb.TrainResult
) -> Outcomes:
    """The outcome of each part.

    Raises
    ------
    DivergenceError
        Where a loss is not finite.
    """
    found = {name: evaluate(model, part, backend) for name, part in parts.items()}
    for outcome in found.values():
        if not math.isfinite(outcome.loss):
            rate = float(result.history.rates[-1])
            raise fcb.DivergenceError(result.steps, result.params, outcome.loss, rate, result.slots)
    return found


def each(texts: Mapping[str, str]) -> str:
    """What is said of each part, in one line."""
    return ", ".join(f"{text} {name}" for name, text in texts.items())


def try_instead(standardized: str | None) -> str:
    """What may help a network that learnt nothing."""
    scale = "" if standardized in ("inputs", "both") else " `--standardize inputs`,"
    return f"try{scale} a smaller `--lr` or more `--epochs`"


def says_one_thing(outcome: Outcome) -> bool:
    """Whether the outputs are the same for all rows."""
    return len(outcome.y) > 1 and bool((outcome.y == outcome.y[0]).all())
