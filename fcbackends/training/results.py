"""What a run of training ends with."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.loop import Plan
from fcbackends.maths.activations import Activations
from fcbackends.maths.network import Method, Params, State
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.training.pacing import Outcome


class History(NamedTuple):
    """The watched loss over a run: step numbers, counted from 1, and the losses there."""

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]


class TrainResult(NamedTuple):
    """What a run of training ends with.

    Attributes
    ----------
    params : tuple of (w, b)
        The trained parameters.
    loss : float
        With `tol_on` "batch" the last batch's loss, under the parameters before its step; with
        "data" the whole data's loss under `params`.
    steps : int
        The number of the last step, counted from 1 over all runs of a Trainer.
    stop_reason : str
        "tolerance", "max_steps", or "interrupted" (by Ctrl-C); of `train_many` also "diverged".
    history : History
        The loss at each multiple of `record_every` and at the last step.
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


def result_of(
    outcome: Outcome, state: State, arithmetic: str, method: Method, plan: Plan, first: int
) -> TrainResult:
    """What a run of training after step `first` ends with."""
    params, slots = state
    how = arithmetic, method.activation, method.loss, method.optimizer, slots
    last, every = outcome.steps, plan.record_every
    steps = np.arange((first // every + 1) * every, last + 1, every, dtype=np.int64)
    losses = outcome.losses
    if outcome.diverged_at is not None:
        # Backends differ in what they last looked at, and records may lie on either side.
        count = min(len(steps), len(losses))
        history = History(steps[:count], losses[:count])
        return TrainResult(params, math.nan, last, outcome.stop_reason, history, *how)
    if last % every != 0:
        steps, losses = np.append(steps, last), np.append(losses, outcome.loss)
    history = History(steps, losses)
    return TrainResult(params, outcome.loss, last, outcome.stop_reason, history, *how)
