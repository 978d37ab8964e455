"""What a training came to: losses, R2, and whether the network beats the targets' mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.cli.model import Model
from fcbackends.cli.preparing import Part
from fcbackends.models.scaling import Floats

_NO_BETTER = 0.999
"""A loss of this share of the mean's, or more, is no better than that."""


@dataclass(frozen=True)
class Outcome:
    """A network held against some rows.

    Attributes
    ----------
    loss : float
        Its loss, as trained on.
    own_loss : float, or None
        Where targets are standardised, the loss in their own units.
    mean_loss : float
        The loss of predicting the mean of the targets trained on.
    r2 : float, or None
        The mean of the targets' coefficients of determination; None, where all are constant.
    says_one_thing : bool
        Whether the outputs are the same for all rows.
    """

    loss: float
    own_loss: float | None
    mean_loss: float
    r2: float | None
    says_one_thing: bool


def evaluate(model: Model, part: Part, backend: fcb.Backend) -> tuple[Floats, float]:
    """The network's outputs, and their loss."""
    y = as_numpy(fcb.predict(model.params, part.x, activation=model.activation, backend=backend))
    return y, float(fcb.mean_squared_loss(y, part.t, backend=backend).loss)


def outcomes(
    model: Model, parts: Mapping[str, Part], backend: fcb.Backend, result: fcb.TrainResult
) -> dict[str, Outcome]:
    """The outcome for each part.

    Raises
    ------
    DivergenceError
        Where a loss is not finite.
    """
    mean = parts["training"].t.mean(axis=0, dtype=np.float64)
    found = {}
    for name, part in parts.items():
        y, loss = evaluate(model, part, backend)
        if not math.isfinite(loss):
            raise fcb.DivergenceError(result.steps, result.params)
        own_y = model.restore(y)
        own = None
        if model.outputs:
            own = float(fcb.mean_squared_loss(own_y, part.own_t, backend=backend).loss)
        found[name] = Outcome(
            loss,
            own,
            float(((part.t - mean) ** 2).sum(axis=1).mean()),
            _r2(own_y, part.own_t),
            len(y) > 1 and bool((y == y[0]).all()),
        )
    return found


def describe(found: Mapping[str, Outcome]) -> list[tuple[str, str]]:
    """The lines of the report."""
    lines = []
    for name, outcome in found.items():
        text = f"{outcome.loss:.6g}"
        if outcome.own_loss is not None:
            text += f" standardised, {outcome.own_loss:.6g} in the targets' own units"
        lines.append((f"{name} loss", text))
    lines.append(("loss of mean", _each(found, lambda o: f"{o.mean_loss:.6g}")))
    r2 = _each(found, lambda o: "none (constant targets)" if o.r2 is None else f"{o.r2:.4f}")
    return [*lines, ("R2", r2)]


def warning(outcome: Outcome, standardized: str | None) -> str | None:
    """What to say of a network that is no better than the mean on the rows it was trained on."""
    if outcome.loss < _NO_BETTER * outcome.mean_loss or outcome.mean_loss == 0:
        return None
    what = "is no better than the mean of its targets"
    if outcome.says_one_thing:
        what = "says the same for every row"
    scale = "" if standardized in ("inputs", "both") else " `--standardize inputs`,"
    return f"the network {what}: try{scale} a smaller `--lr` or more `--epochs`"


def _each(found: Mapping[str, Outcome], text: Callable[[Outcome], str]) -> str:
    return ", ".join(f"{text(outcome)} {name}" for name, outcome in found.items())


def _r2(y: Floats, t: Floats) -> float | None:
    varied = (t != t[0]).any(axis=0)
    if not varied.any():
        return None
    y, t = y[:, varied].astype(np.float64), t[:, varied].astype(np.float64)
    unexplained = ((y - t) ** 2).sum(axis=0) / ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    return float((1 - unexplained).mean())
