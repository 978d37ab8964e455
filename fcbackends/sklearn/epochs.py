"""Epochs of training, and scikit-learn's rules of when they end."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning

from fcbackends.maths.schedules import rate_at
from fcbackends.training.progress import Advance, progress_bar
from fcbackends.training.state import TrainerState
from fcbackends.training.trainer import Trainer

_LEAST_RATE = 1e-6
"""An adaptive rate falls no further, and training ends."""

_FALL = 0.2

_MOST_STEPS = 1_000_000
"""So many are one run at most, or one epoch: the loss of each batch is kept."""

_SECONDS_A_RUN = 0.5
"""After about so long the progress bar moves on."""


_TOO_SOON = {"max_iter": "iterations", "max_fun": "evaluations"}


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
    loss_factor: float
    max_fun: int


class Data(NamedTuple):
    """What is trained on, as `Trainer.run` takes it."""

    x: Any
    t: Any
    weights: Any


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
    data: Data,
    score: Callable[[Trainer], float] | None,
    at_rate: Callable[[float], Trainer],
) -> str:
    """Train for up to `max_iter` epochs; why they ended.

    Parameters
    ----------
    trainer : Trainer
        What goes on.
    curve : Curve
        It is written on.
    rules : Rules
        When to end.
    data : Data
        What is trained on.
    score : callable or None
        Of a network, on data that it is not trained on.
    at_rate : callable
        The network as it stands, in a Trainer whose rate is such a share of the first.
    """
    curve.unchanged = 0

    def ended(advanced: Advance) -> str:
        changes_end = _changes_end(trainer, curve, rules, data, score, at_rate, advanced)
        return "n_iter_no_change" if changes_end else "max_iter"

    return looked_on(ended, curve, rules)


def looked_on(ended: Callable[[Advance], str], curve: Curve, rules: Rules) -> str:
    """Why a training ended, under a progress bar, after Ctrl-C too; a warning, if too soon."""
    # In threads and workers there are many at once.
    is_alone = multiprocessing.parent_process() is None
    is_alone &= threading.current_thread() is threading.main_thread()
    shown = None if is_alone and not rules.verbose else False
    try:
        with progress_bar(rules.max_iter, "epoch", shown) as advanced:
            reason = ended(advanced)
    except KeyboardInterrupt:
        curve.epochs = -1
        warnings.warn("Training interrupted by user.", stacklevel=4)
        return "interrupted"
    if reason in _TOO_SOON:
        what, most = _TOO_SOON[reason], getattr(rules, reason)
        text = f"Maximum {what} ({most}) reached and the optimization hasn't converged yet."
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
    return reason


def _changes_end(
    trainer: Trainer,
    curve: Curve,
    rules: Rules,
    data: Data,
    score: Callable[[Trainer], float] | None,
    at_rate: Callable[[float], Trainer],
    advanced: Advance,
) -> bool:
    """Train until nothing changes any more, or all epochs are done: whether it was the first."""
    samples, share, done = data.x.shape[0], 1.0, 0
    falls_always = rules.learning_rate == "invscaling"
    most_ahead = 1
    while done < rules.max_iter:
        # Before so many epochs training cannot end: they are one run, and no rule is asked.
        ahead = 1
        if score is None and not falls_always:
            surely = rules.n_iter_no_change + 1 - curve.unchanged
            ahead = int(min(surely, rules.max_iter - done, most_ahead))
        if falls_always and curve.samples:
            trainer = at_rate((curve.samples + 1) ** -rules.power_t)
        began = time.perf_counter()
        losses = _epochs(trainer, curve, rules, data, ahead)
        for loss in losses:
            curve.samples += samples
            curve.losses.append(rules.loss_factor * loss)
            if score is not None:
                curve.scores.append(score(trainer))
            _note(trainer, curve, rules)
            done += 1
            say(rules, curve, done)
        advanced(len(losses), curve.losses[-1])
        an_epoch = (time.perf_counter() - began) / len(losses)
        most_steps = max(1, _MOST_STEPS // max(1, samples // rules.batch_size))
        most_ahead = max(1, min(most_steps, int(_SECONDS_A_RUN / an_epoch)))
        if curve.unchanged > rules.n_iter_no_change:
            share *= _FALL
            if rules.learning_rate != "adaptive" or rate_at(trainer.lr, 1) <= _LEAST_RATE:
                return True
            trainer, curve.unchanged = at_rate(share), 0
    return False


def _epochs(trainer: Trainer, curve: Curve, rules: Rules, data: Data, count: int) -> list[float]:
    """The mean losses of so many epochs, which are then done."""
    samples, batch = data.x.shape[0], rules.batch_size
    if not rules.shuffle:
        curve.epochs = -1
        return [in_order(trainer, data, batch) for _ in range(count)]
    before = max(curve.epochs, 0)
    # Where batches run on into the next epoch, an epoch's last one is that with its last sample.
    ends = [-(-epoch * samples // batch) for epoch in range(before, before + count + 1)]
    ran = trainer.run(
        data.x,
        data.t,
        sample_weight=data.weights,
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


def in_order(trainer: Trainer, data: Data, batch: int) -> float:
    """Take the steps of one epoch on the samples as they stand; their mean loss.

    The last batch has what is left.
    """
    x, t, weights = data
    samples, total = x.shape[0], 0.0
    for first in range(0, samples, batch):
        rows = slice(first, min(first + batch, samples))
        own = None if weights is None else weights[rows]
        loss = trainer.step(x[rows, ...], t[rows, ...], sample_weight=own)
        total += loss * (rows.stop - first)
    return total / samples


def say(rules: Rules, curve: Curve, done: int) -> None:
    """Print the loss of so many epochs, where that is asked for."""
    if rules.verbose:
        print(f"Iteration {done}, loss = {curve.losses[-1]:.8f}")  # noqa: T201


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
