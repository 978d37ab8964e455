"""What a run of training ends with."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fcbackends.backends.loop import Plan
from fcbackends.maths.activations import Activations
from fcbackends.maths.network import Method, Params
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.schedules import rates_at
from fcbackends.training.history import History
from fcbackends.training.pacing import Outcome


class TrainResult(NamedTuple):
    """What a run of training ends with.

    Attributes
    ----------
    params : tuple of (w, b)
        The trained parameters.
    loss : float
        With `tol_on` "batch" the last batch's loss, under the parameters before its step; with
        "data" the whole data's loss under `params`. NaN, where a run had to end before its first
        step, or before the loss of much data was known.
    steps : int
        The number of the last step, counted from 1 over all runs of a Trainer.
    stop_reason : str
        "tolerance", "max_steps", "patience", "callback", "time_limit", or "interrupted" (by
        Ctrl-C); of `train_many` also "diverged".
    history : History
        The losses at each multiple of `record_every` and at the last step that was taken, where
        they are known.
    arithmetic : str
        How it was computed: "ordered", "fused" or "native".
    activation : str or tuple of str
        What goes between the layers, as `predict` takes it.
    loss_name : str
        What was made small, as `predict_proba` takes it.
    optimizer : SGD or Adam
        How the parameters moved.
    slots : tuple of tuple of (w, b)
        What the optimizer keeps beside the parameters: one array of its shape for each, and none
        or more of these.
    best_step : int or None
        The first step with the smallest validation loss of all looks; None without validation.
        With `patience`, all of the above but the history is as it was after this step.
    best_validation_loss : float or None
        The validation loss there.
    """

    params: Params
    loss: float
    steps: int
    stop_reason: str
    history: History
    arithmetic: str
    activation: Activations
    loss_name: str
    optimizer: Optimizer = SGD()
    slots: tuple[Params, ...] = ()
    best_step: int | None = None
    best_validation_loss: float | None = None


def result_of(
    outcome: Outcome, arithmetic: str, method: Method, plan: Plan, first: int
) -> TrainResult:
    """What a run of training after step `first` ends with."""
    params, slots = outcome.state
    history = _history(outcome, method, plan, first)
    loss = outcome.loss if outcome.diverged_at is None else math.nan
    how = arithmetic, method.activation, method.loss, method.optimizer, slots
    best = outcome.looks and outcome.looks.best
    seen = (best.step, best.validation_loss) if best else (None, None)
    return TrainResult(params, loss, outcome.steps, outcome.stop_reason, history, *how, *seen)


def _history(outcome: Outcome, method: Method, plan: Plan, first: int) -> History:
    last, every = outcome.steps, plan.record_every
    if outcome.looks:
        return outcome.looks.history(None if outcome.diverged_at is None else last)
    steps = np.arange((first // every + 1) * every, last + 1, every, dtype=np.int64)
    losses = outcome.losses
    if outcome.diverged_at is not None or len(losses) < len(steps):
        # Backends differ in what they last looked at, and records may lie on either side.
        count = min(len(steps), len(losses))
        steps, losses = steps[:count], losses[:count]
    elif last % every != 0 and not math.isnan(outcome.loss):
        steps, losses = np.append(steps, last), np.append(losses, outcome.loss)
    return History(steps, losses, np.empty(0), rates_at(method.lr, steps), {})
