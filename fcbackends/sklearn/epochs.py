"""Epochs of training, and scikit-learn's rules of when they end."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning

from fcbackends.maths.schedules import rate_at
from fcbackends.training.state import TrainerState
from fcbackends.training.trainer import Trainer

_LEAST_RATE = 1e-6
"""An adaptive rate falls no further, and training ends."""

_FALL = 0.2

_MOST_STEPS = 1_000_000
"""So many are one run at most, or one epoch: the loss of each batch is kept."""


class Rules(NamedTuple):
    """What an estimator's settings say of its epochs."""

    max_iter: int
    tol: float
    n_iter_no_change: float
    early_stopping: bool
    shuffle: bool
    seed: int
    batch_size: int
    verbose: bool
    learning_rate: str
    power_t: float


@dataclass
class Curve:
    """What was seen of a network, epoch by epoch, since it was drawn.

    Attributes
    ----------
    losses : list of float
        Each epoch's mean loss, of its batches before their steps.
    scores : list of float
        Each epoch's score of the validation data, if there are any.
    best_loss, best_score : float
        The smallest, and the largest.
    best : TrainerState or None
        Where the score was largest, with early stopping.
    unchanged : int
        The epochs since there was a change by more than the tolerance.
    samples : int
        How many samples were trained on, one of them as often as it was.
    epochs : int
        How many epochs of the data at hand the network's steps are, or -1 where they are others.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf
    best: TrainerState | None = None
    unchanged: int = 0
    samples: int = 0
    epochs: int = 0


def train(
    trainer: Trainer,
    curve: Curve,
    rules: Rules,
    x: Any,
    t: Any,
    weights: Any,
    factor: float,
    score: Callable[[Trainer], float] | None,
    at_rate: Callable[[float], Trainer],
) -> tuple[Trainer, str, int]:
    """Train for up to `max_iter` epochs; the Trainer, why they ended, and how many there were.

    Parameters
    ----------
    trainer : Trainer
        What goes on.
    curve : Curve
        It is written on.
    rules : Rules
        When to end.
    x, t, weights : arrays
        As `Trainer.run` takes them.
    factor : float
        What losses are multiplied by.
    score : callable or None
        Of a network, on data that it is not trained on.
    at_rate : callable
        The network as it stands, in a Trainer whose rate is such a share of the first.
    """
    samples, share, done = x.shape[0], 1.0, 0
    falls_always = rules.learning_rate == "invscaling"
    most_ahead = max(1, _MOST_STEPS // max(1, samples // rules.batch_size))
    curve.unchanged = 0
    try:
        while done < rules.max_iter:
            # Before so many epochs training cannot end: they are one run, and no rule is asked.
            ahead = 1
            if score is None and not falls_always:
                surely = rules.n_iter_no_change + 1 - curve.unchanged
                ahead = int(min(surely, rules.max_iter - done, most_ahead))
            if falls_always and curve.samples:
                trainer = at_rate((curve.samples + 1) ** -rules.power_t)
            losses = _epochs(trainer, curve, rules, x, t, weights, ahead)
            for loss in losses:
                done += 1
                curve.samples += samples
                curve.losses.append(factor * loss)
                if score is not None:
                    curve.scores.append(score(trainer))
                if rules.verbose:
                    print(f"Iteration {done}, loss = {curve.losses[-1]:.8f}")  # noqa: T201
                _note(trainer, curve, rules)
            if curve.unchanged > rules.n_iter_no_change:
                share *= _FALL
                if rules.learning_rate != "adaptive" or rate_at(trainer.lr, 1) <= _LEAST_RATE:
                    return trainer, "n_iter_no_change", done
                trainer, curve.unchanged = at_rate(share), 0
    except KeyboardInterrupt:
        curve.epochs = -1
        warnings.warn("Training interrupted by user.", stacklevel=3)
        return trainer, "interrupted", done
    text = (
        f"Maximum iterations ({rules.max_iter}) reached and the optimization hasn't converged yet."
    )
    warnings.warn(text, ConvergenceWarning, stacklevel=3)
    return trainer, "max_iter", done


def _epochs(
    trainer: Trainer, curve: Curve, rules: Rules, x: Any, t: Any, weights: Any, count: int
) -> list[float]:
    """The mean losses of so many epochs, which are then done."""
    samples, batch = x.shape[0], rules.batch_size
    if not rules.shuffle:
        curve.epochs = -1
        return [_in_order(trainer, x, t, weights, batch) for _ in range(count)]
    before = max(curve.epochs, 0)
    # Where batches run on into the next epoch, an epoch's last one is that with its last sample.
    ends = [-(-epoch * samples // batch) for epoch in range(before, before + count + 1)]
    ran = trainer.run(
        x,
        t,
        sample_weight=weights,
        batch_size=batch,
        max_steps=ends[-1] - ends[0],
        sampling="epoch",
        seed=rules.seed,
        record_every=1,
        progress=False,
    )
    curve.epochs += count if curve.epochs >= 0 else 0
    losses = ran.history.losses
    parts = [losses[a - ends[0] : b - ends[0]] for a, b in itertools.pairwise(ends)]
    return [float(part.mean()) if len(part) else math.nan for part in parts]


def _in_order(trainer: Trainer, x: Any, t: Any, weights: Any, batch: int) -> float:
    total = 0.0
    for rows in batches(len(x), batch):
        own = None if weights is None else weights[rows]
        total += trainer.step(x[rows], t[rows], sample_weight=own) * len(x[rows])
    return total / len(x)


def batches(samples: int, batch: int) -> Iterator[slice]:
    """Rows one batch after another, as they stand; the last has what is left."""
    for first in range(0, samples, batch):
        yield slice(first, min(first + batch, samples))


def _note(trainer: Trainer, curve: Curve, rules: Rules) -> None:
    """Write down whether the last epoch changed anything."""
    if rules.early_stopping:
        score = curve.scores[-1]
        curve.unchanged = curve.unchanged + 1 if score < curve.best_score + rules.tol else 0
        if score > curve.best_score:
            curve.best_score, curve.best = score, trainer.state
        return
    loss = curve.losses[-1]
    curve.unchanged = curve.unchanged + 1 if loss > curve.best_loss - rules.tol else 0
    curve.best_loss = min(curve.best_loss, loss)
