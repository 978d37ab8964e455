"""Training on all data at once, by L-BFGS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.errors import DivergenceError
from fcbackends.maths.network import Params
from fcbackends.sklearn import lbfgs
from fcbackends.sklearn.epochs import Curve, Data, Rules, looked_on, say
from fcbackends.sklearn.lbfgs import Point, Vector
from fcbackends.training.progress import Advance
from fcbackends.training.state import TrainerState
from fcbackends.training.trainer import Trainer


class _TooManyError(Exception):
    """There were as many evaluations as there may be."""


def train(
    trainer: Trainer,
    curve: Curve,
    rules: Rules,
    data: Data,
    scale: float,
    penalty: float,
    score: Callable[[Trainer], float] | None,
) -> str:
    """Take up to `max_iter` steps of L-BFGS; why they ended.

    Parameters
    ----------
    trainer : Trainer
        What goes on: of SGD with momentum, whose velocity after a first step is the gradient.
    curve : Curve
        It is written on.
    rules : Rules
        When to end.
    data : Data
        What is trained on.
    scale : float
        What the loss and its gradient are divided by.
    penalty : float
        What half of the weights' squares are multiplied by, and added to the loss.
    score : callable or None
        Of a network, on data that it is not trained on.
    """
    first, evaluations = trainer.state, 0

    def stand(values: Vector, steps: int) -> None:
        params = _params(values, first.params)
        trainer.state = TrainerState(params, (_params(0 * values, params),), steps)

    def added(values: Vector) -> float:
        weights = _flat(w for w, _ in _params(values, first.params))
        return 0.5 * penalty * lbfgs.dot(weights, weights)

    def evaluate(values: Vector) -> Point:
        nonlocal evaluations
        if evaluations == rules.max_fun:
            raise _TooManyError
        evaluations += 1
        # As the network has them, of float32 perhaps.
        own = _flat(itertools.chain.from_iterable(_params(values, first.params)))
        if not np.isfinite(own).all():
            return Point(own, math.inf, own)
        stand(own, first.steps)
        try:
            loss = trainer.step(data.x, data.t, sample_weight=data.weights)
        except DivergenceError:
            if evaluations == 1:
                raise
            return Point(own, math.inf, own)
        gradient = _flat(itertools.chain.from_iterable(trainer.state.slots[0]))
        return Point(own, loss / scale + added(own), gradient / scale)

    def ended(advanced: Advance) -> str:
        start = _flat(itertools.chain.from_iterable(first.params))
        points = lbfgs.iterates(evaluate, start, rules.tol)
        here, taken = start, -1
        try:
            for here, value, _ in points:
                taken += 1
                if taken == 0:
                    continue
                curve.samples += data.x.shape[0]
                curve.losses.append(rules.loss_factor * scale * (value - added(here)))
                curve.best_loss = min(curve.best_loss, curve.losses[-1])
                if score is not None:
                    stand(here, first.steps + taken)
                    curve.scores.append(score(trainer))
                advanced(1, curve.losses[-1])
                say(rules, curve, taken)
                if taken == rules.max_iter:
                    return "max_iter"
        except _TooManyError:
            return "max_fun"
        finally:
            # What was evaluated last may be no better.
            stand(here, first.steps + max(taken, 0))
        return "tol"

    curve.epochs = -1
    return looked_on(ended, curve, rules)


def _flat(parts: Iterable[Any]) -> Vector:
    return np.concatenate([arrays.as_numpy(part).ravel() for part in parts]).astype(np.float64)


def _params(values: Vector, like: Params) -> Params:
    """Numbers one after another as parameters of those shapes, dtypes and libraries."""
    made, first = [], 0
    for pair in like:
        own = []
        for array in pair:
            size = math.prod(array.shape)
            part = values[first : first + size].astype(arrays.dtype_of(array)).reshape(array.shape)
            own.append(arrays.beside(array, part) if arrays.is_foreign(array) else part)
            first += size
        made.append((own[0], own[1]))
    return tuple(made)
