"""The regressor."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from river import base
from river.utils import dataframe

from fcbackends.backends.backend import Backend
from fcbackends.checks import options
from fcbackends.maths.optimizers import Optimizer
from fcbackends.maths.schedules import Rate
from fcbackends.river import features
from fcbackends.river.network import Network


class FCRegressor(Network, base.MiniBatchRegressor):
    """A fully connected network that learns a number from a stream, sample by sample.

    The inputs are features by name. Those of the first sample are the first inputs, in the order of
    their `repr`; one that emerges later becomes a further input, whose weights are those that
    `fcbackends.init_params` has at its place for a network of the new sizes. One that a sample
    lacks is 0 there. Before the first sample, or as long as no sample had a feature, predictions
    are 0.

    Parameters
    ----------
    hidden : sequence of int
        The sizes of the layers between inputs and output; () for a linear model.
    activation : str or sequence of str
        What goes between the layers: "relu", "leaky_relu", "tanh", "sigmoid" or "identity"; of a
        sequence, each hidden layer has its own.
    optimizer : SGD, Adam or None
        How parameters move; None for `Adam()`.
    lr : float or schedule
        The learning rate, or one for each step: a `ConstantRate`, `StepRate`, `ExponentialRate` or
        `CosineRate`.
    loss : {"mean_squared", "huber"}
        What is made small.
    clip_norm : float, optional
        The largest norm of the gradient.
    seed : int
        What the first parameters are drawn from.
    dtype : {"float64", "float32"}
        Of all arithmetic.
    backend, arithmetic : str or None
        What computes, and how products join their sums; see `fcbackends.get_backend`.

    Attributes
    ----------
    digest : str or None
        `fcbackends.digest` of the parameters: the same for the same bits. None before the first
        sample.
    steps : int
        The steps that led to them.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a setting is not of the form above, or where a sample, which then changes nothing,
        holds what is no finite number.
    DivergenceError
        Where the loss is not finite: the step is not taken.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics, preprocessing
    >>> from fcbackends.river import FCRegressor
    >>> network = preprocessing.TargetStandardScaler(FCRegressor(hidden=(16,)))
    >>> model = preprocessing.StandardScaler() | network
    >>> metric = evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE())
    >>> metric.get() < 0.6
    True
    """

    def __init__(
        self,
        hidden: Sequence[int] = (16,),
        activation: str | Sequence[str] = "tanh",
        *,
        optimizer: Optimizer | None = None,
        lr: Rate = 0.01,
        loss: str = "mean_squared",
        clip_norm: float | None = None,
        seed: int = 0,
        dtype: str = "float64",
        backend: str | Backend | None = None,
        arithmetic: str | None = None,
    ) -> None:
        self.loss = options.choice("loss", loss, ("mean_squared", "huber"))
        super().__init__(
            hidden, activation, optimizer, lr, clip_norm, seed, dtype, backend, arithmetic
        )

    def learn_one(self, x: dict[Hashable, Any], y: Any) -> None:
        """Take one step on a sample.

        Parameters
        ----------
        x : dict
            Its features: numbers by name.
        y : float
            Its target.
        """
        places = features.with_new(self._features, x)
        row = features.row(x, places, self.dtype)
        self._take(places, row, features.numbers("y", [y], [features.TARGET], self.dtype), 1)

    def predict_one(self, x: dict[Hashable, Any]) -> float:
        """The target of a sample, as the network has it."""
        if self._trainer is None:
            return 0.0
        return float(self._raw(features.row(x, self._features, self.dtype)[None])[0, 0])

    def learn_many(self, X: Any, y: Any) -> None:
        """Take one step on the mean loss of a batch; of no samples, none.

        Parameters
        ----------
        X : frame (N, K)
            A sample a row, a feature a column, of Pandas, Polars or another library that River
            takes. A feature whose column is not there is 0 in all of them.
        y : series (N,)
            The targets.
        """
        frame = dataframe.into_frame(X)
        if len(frame):
            places = features.with_new(self._features, frame.columns)
            rows = features.rows(frame, places, self.dtype)
            values = list(y)
            names = [features.TARGET] * len(values)
            self._take(places, rows, features.numbers("y", values, names, self.dtype)[:, None], 1)

    def predict_many(self, X: Any) -> Any:
        """The targets of a batch, as a series of the frame's library."""
        frame = dataframe.into_frame(X)
        values = np.zeros(len(frame), self.dtype)
        if self._trainer is not None and len(frame):
            values = self._raw(features.rows(frame, self._features, self.dtype))[:, 0]
        return dataframe.to_native_series(values, name=None, like=frame)
