"""What is said of a network of numbers: losses, R2, and whether it beats the targets' mean."""

from __future__ import annotations

import numpy as np

import fcbackends as fcb
from fcbackends.cli.model import Model
from fcbackends.cli.outcome import Outcome, Outcomes, each, loss_of, says_one_thing, try_instead
from fcbackends.models.scaling import Floats

_NO_BETTER = 0.999
"""A loss of this share of the mean's, or more, is no better than that."""


def describe(model: Model, found: Outcomes, backend: fcb.Backend) -> list[tuple[str, str]]:
    """The lines of the report."""
    lines = []
    for name, outcome in found.items():
        text = f"{outcome.loss:.6g}"
        if model.outputs:
            own = loss_of(model, model.restore(outcome.y), outcome.part.own_t, backend)
            text += f" standardised, {own:.6g} in the targets' own units"
        lines.append((f"{name} loss", text))
    means = {
        name: f"{_loss_of_mean(model, found, outcome, backend):.6g}"
        for name, outcome in found.items()
    }
    r2 = {name: _r2(model.restore(o.y), o.part.own_t) for name, o in found.items()}
    return [*lines, ("loss of mean", each(means)), ("R2", each(r2))]


def warning(
    model: Model, found: Outcomes, standardized: str | None, backend: fcb.Backend
) -> str | None:
    """What to say of a network that is no better than the mean on the rows it was trained on."""
    outcome = found["training"]
    of_mean = _loss_of_mean(model, found, outcome, backend)
    if outcome.loss < _NO_BETTER * of_mean or of_mean == 0:
        return None
    what = "is no better than the mean of its targets"
    if says_one_thing(outcome):
        what = "says the same for every row"
    return f"the network {what}: {try_instead(standardized)}"


def _loss_of_mean(model: Model, found: Outcomes, outcome: Outcome, backend: fcb.Backend) -> float:
    """The loss of saying, for each row, the mean of the targets trained on."""
    mean = found["training"].part.t.mean(axis=0, dtype=np.float64)
    t = outcome.part.t
    return loss_of(model, np.full_like(t, mean), t, backend)


def _r2(y: Floats, t: Floats) -> str:
    """The mean of the targets' coefficients of determination, of those that are not constant."""
    varied = (t != t[0]).any(axis=0)
    if not varied.any():
        return "none (constant targets)"
    y, t = y[:, varied].astype(np.float64), t[:, varied].astype(np.float64)
    unexplained = ((y - t) ** 2).sum(axis=0) / ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    return f"{(1 - unexplained).mean():.4f}"
