"""scikit-learn's names of settings, and what `fcbackends.Trainer` makes of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fcbackends.checks import options
from fcbackends.errors import ArgumentError, ArgumentTypeError, one_of, shown
from fcbackends.maths import sampling
from fcbackends.maths.activations import ACTIVATIONS
from fcbackends.maths.network import Params
from fcbackends.maths.optimizers import SGD, Adam, Optimizer
from fcbackends.maths.schedules import CosineRate, Rate, Schedule
from fcbackends.sklearn.epochs import Rules

SOLVERS = ("adam", "sgd", "lbfgs")
LEARNING_RATES = ("constant", "invscaling", "adaptive")
STANDARDIZED = ("inputs", "both")
LARGEST_BATCH = 200
"""As scikit-learn's networks have it, where `batch_size` is "auto"."""

_TIMES = {"mean_squared": 2.0}


def check(estimator: Any) -> None:
    """Check what no other function does, before any work.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a setting is not of the form that the class describes.
    """
    options.choice("solver", estimator.solver, SOLVERS)
    options.choice("learning_rate", estimator.learning_rate, LEARNING_RATES)
    if estimator.standardize is not False:
        options.choice("standardize", estimator.standardize, estimator._standardized)
    for name in ("shuffle", "warm_start", "early_stopping", "nesterovs_momentum"):
        if not isinstance(getattr(estimator, name), bool | np.bool_):
            raise ArgumentTypeError(name, "be True or False", shown(getattr(estimator, name)))
    options.integer("max_iter", estimator.max_iter, 1)
    options.integer("max_fun", estimator.max_fun, 1)
    if estimator.n_iter_no_change != math.inf:
        options.integer("n_iter_no_change", estimator.n_iter_no_change, 1)
    for name in ("alpha", "tol", "power_t"):
        _number(name, getattr(estimator, name), 0.0)
    rate = estimator.schedule
    if rate is not None and not isinstance(rate, Schedule):
        required = "be None, a `ConstantRate`, `StepRate`, `ExponentialRate` or `CosineRate`"
        raise ArgumentTypeError("schedule", required, shown(rate))
    if rate is not None and estimator.learning_rate != "constant":
        required = 'be "constant" where there is a `schedule`'
        raise ArgumentError("learning_rate", required, shown(estimator.learning_rate))
    if not 0 < _number("validation_fraction", estimator.validation_fraction, 0.0) < 1:
        got = shown(estimator.validation_fraction)
        raise ArgumentError("validation_fraction", "be a number > 0 and < 1", got)


def times(loss: str) -> float:
    """How many times scikit-learn's a loss is here: it takes half of the squares."""
    return _TIMES.get(loss, 1.0)


def hidden_sizes(value: Any) -> tuple[int, ...]:
    """The sizes of the hidden layers; one of them may come as a number."""
    sizes = (value,) if np.ndim(value) == 0 and not isinstance(value, str) else value
    try:
        return options.hidden_sizes(sizes)
    except ArgumentError as error:
        renamed = {name: name.replace("hidden", "hidden_layer_sizes") for name in error.arguments}
        raise error.renamed(renamed) from None


def activation(value: Any) -> str | Sequence[str]:
    """Its name here: scikit-learn calls the sigmoid "logistic"."""
    if isinstance(value, str) and value not in (*ACTIVATIONS, "logistic"):
        raise ArgumentError("activation", one_of([*ACTIVATIONS, "logistic"]), shown(value))
    return "sigmoid" if isinstance(value, str) and value == "logistic" else value


def first_params(
    sizes: Sequence[int], activation: str | Sequence[str], seed: int, dtype: str
) -> Params:
    """The first parameters, as scikit-learn draws them: Glorot-uniform weights and biases.

    Those of a layer with K inputs and M outputs are uniform in [-r, r) with r = sqrt(6 / (K + M)),
    or sqrt(2 / (K + M)) where all activations are the logistic function: (2 u - 1) * r, rounded
    once to `dtype`, with u as in `fcbackends.init_params`, for the weights by rows and then the
    biases.
    """
    factor, params = 2.0 if activation == "sigmoid" else 6.0, []
    for layer, (k, m) in enumerate(itertools.pairwise(sizes)):
        u = sampling.uniforms(sampling.word(seed, 1 + layer), (k + 1) * m)
        values = ((2 * u - 1) * math.sqrt(factor / (k + m))).astype(dtype)
        params.append((values[: k * m].reshape(k, m), values[k * m :]))
    return tuple(params)


def batch_size(value: Any, samples: int) -> int:
    """The samples of a step, of all that there are at most."""
    if isinstance(value, str) and value == "auto":
        return min(LARGEST_BATCH, samples)
    try:
        return min(options.integer("batch_size", value, 1), samples)
    except ArgumentError:
        required = 'be "auto" or an integer of at least 1'
        raise ArgumentError("batch_size", required, shown(value)) from None


def even_batch_size(value: Any, samples: int) -> int:
    """The samples of a step where an epoch has as many as scikit-learn's, of one size.

    There the last one has what is left; here, where a batch runs on into the next epoch, an epoch
    of 300 samples in batches of 200 would have one step and a half.
    """
    steps = -(-samples // batch_size(value, samples))
    return -(-samples // steps)


def optimizer(estimator: Any, loss: str, batch: int) -> Optimizer:
    """The optimizer whose steps are scikit-learn's.

    There a batch's loss has alpha / (2 * batch) times the weights' squares added to it, none of
    the biases', and squares count by half.
    """
    twice = times(loss)
    decay: dict[str, Any] = {
        "weight_decay": twice * float(estimator.alpha) / batch,
        "decay_bias": False,
    }
    with_names = {"beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon"}
    try:
        if estimator.solver == "lbfgs":
            return SGD(momentum=0.5, **decay)
        if estimator.solver == "sgd":
            nesterov = bool(estimator.nesterovs_momentum) and estimator.momentum != 0
            return SGD(momentum=estimator.momentum, nesterov=nesterov, **decay)
        betas = {"beta1": estimator.beta_1, "beta2": estimator.beta_2}
        eps = twice * _number("epsilon", estimator.epsilon, 0.0)
        return Adam(**betas, eps=eps, decoupled=False, **decay)
    except ArgumentError as error:
        raise error.renamed(with_names) from None


def rate(estimator: Any, loss: str, falls_to: float) -> Rate:
    """The learning rate of steps down that loss, where it has fallen to such a share."""
    share = falls_to
    if estimator.solver == "sgd":
        # Of twice the gradient half is to be taken; Adam's steps are of the same length.
        share /= times(loss)
    schedule = estimator.schedule
    if schedule is None:
        first = _number("learning_rate_init", estimator.learning_rate_init, 0.0)
        if first == 0:
            got = shown(estimator.learning_rate_init)
            raise ArgumentError("learning_rate_init", "be a finite number > 0", got)
        return first * share
    changed = {"lr": schedule.lr * share}
    if isinstance(schedule, CosineRate):
        changed["end"] = schedule.end * share
    return dataclasses.replace(schedule, **changed)


def loss_factor(loss: str, outputs: int) -> float:
    """What a loss here is multiplied by to be scikit-learn's, which is of a mean over outputs."""
    if loss in ("mean_squared", "huber"):
        return 1 / (times(loss) * outputs)
    return 1.0


def seed_of(random_state: Any) -> int:
    """A seed: the number itself, or one drawn."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**32:
            required = "be None, a RandomState, or an integer from 0 to 2**32 - 1"
            raise ArgumentError("random_state", required, str(random_state))
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def rules(estimator: Any, loss: str, seed: int, outputs: int, batch: int) -> Rules:
    """When the training of an estimator ends, and how its epochs are gone through."""
    return Rules(
        max_iter=estimator.max_iter,
        tol=float(estimator.tol),
        n_iter_no_change=estimator.n_iter_no_change,
        early_stopping=bool(estimator.early_stopping),
        shuffle=bool(estimator.shuffle),
        seed=seed,
        batch_size=batch,
        verbose=bool(estimator.verbose),
        learning_rate=estimator.learning_rate if estimator.solver == "sgd" else "constant",
        power_t=float(estimator.power_t),
        loss_factor=loss_factor(loss, outputs),
        max_fun=estimator.max_fun,
    )


def _number(name: str, value: Any, low: float) -> float:
    required = f"be a finite number >= {low:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ArgumentTypeError(name, required, shown(value))
    if not low <= value < math.inf:
        raise ArgumentError(name, required, shown(value))
    return float(value)
