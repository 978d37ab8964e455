"""The classifier."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base
from river.utils import dataframe

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.errors import ArgumentTypeError, shown
from fcbackends.maths.optimizers import Optimizer
from fcbackends.maths.schedules import Rate
from fcbackends.river import features
from fcbackends.river.network import Network


class FCClassifier(Network, base.MiniBatchClassifier):
    """A fully connected network that learns classes from a stream, sample by sample.

    It makes the cross-entropy of softmax small. Classes need not be known before: each that comes
    for the first time becomes a further output, as a feature that emerges becomes a further input;
    see `FCRegressor`. Before the first sample there are no classes, and the prediction is None.

    Parameters
    ----------
    hidden : sequence of int
        The sizes of the layers between inputs and outputs; () for a linear model.
    activation : str or sequence of str
        What goes between the layers: "relu", "leaky_relu", "tanh", "sigmoid" or "identity"; of a
        sequence, each hidden layer has its own.
    optimizer : SGD, Adam or None
        How parameters move; None for `Adam()`.
    lr : float or schedule
        The learning rate, or one for each step: a `ConstantRate`, `StepRate`, `ExponentialRate` or
        `CosineRate`.
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
    >>> from fcbackends.river import FCClassifier
    >>> model = preprocessing.StandardScaler() | FCClassifier(hidden=(16,))
    >>> metric = evaluate.progressive_val_score(datasets.Phishing(), model, metrics.Accuracy())
    >>> metric.get() > 0.88
    True
    """

    loss = "cross_entropy"

    def __init__(
        self,
        hidden: Sequence[int] = (16,),
        activation: str | Sequence[str] = "tanh",
        *,
        optimizer: Optimizer | None = None,
        lr: Rate = 0.01,
        clip_norm: float | None = None,
        seed: int = 0,
        dtype: str = "float64",
        backend: str | Backend | None = None,
        arithmetic: str | None = None,
    ) -> None:
        self._classes: features.Places = {}
        super().__init__(
            hidden, activation, optimizer, lr, clip_norm, seed, dtype, backend, arithmetic
        )

    def learn_one(self, x: dict[Hashable, Any], y: Hashable) -> None:
        """Take one step on a sample.

        Parameters
        ----------
        x : dict
            Its features: numbers by name.
        y : hashable
            Its class.
        """
        places = features.with_new(self._features, x)
        row = features.row(x, places, self.dtype)
        classes = self._with_classes([y])
        self._take(places, row, classes[y], len(classes))
        self._classes = classes

    def predict_one(self, x: dict[Hashable, Any], **kwargs: Any) -> Any:
        """The likeliest class of a sample; of equal ones, that which came first."""
        if self._trainer is None:
            return None
        y = self._raw(features.row(x, self._features, self.dtype)[None])
        return [*self._classes][y[0].argmax()]

    def predict_proba_one(self, x: dict[Hashable, Any], **kwargs: Any) -> dict[Any, float]:
        """The probability of each class that has come."""
        if self._trainer is None:
            return {}
        row = features.row(x, self._features, self.dtype)
        return dict(zip(self._classes, self._proba(row[None])[0].tolist(), strict=True))

    def learn_many(self, X: Any, y: Any) -> None:
        """Take one step on the mean loss of a batch; of no samples, none.

        Parameters
        ----------
        X : frame (N, K)
            A sample a row, a feature a column, of Pandas, Polars or another library that River
            takes. A feature whose column is not there is 0 in all of them.
        y : series (N,)
            The classes.
        """
        frame = dataframe.into_frame(X)
        if len(frame):
            places = features.with_new(self._features, frame.columns)
            rows = features.rows(frame, places, self.dtype)
            labels = list(y)
            classes = self._with_classes(labels)
            self._take(places, rows, np.array([classes[y] for y in labels]), len(classes))
            self._classes = classes

    def predict_many(self, X: Any) -> Any:
        """The likeliest classes of a batch, as a series of the frame's library."""
        frame = dataframe.into_frame(X)
        found: list[Hashable | None] = [None] * len(frame)
        if self._trainer is not None and len(frame):
            classes = [*self._classes]
            y = self._raw(features.rows(frame, self._features, self.dtype))
            found = [classes[place] for place in y.argmax(axis=1)]
        return dataframe.to_native_series(found, name=None, like=frame)

    def predict_proba_many(self, X: Any) -> Any:
        """The probabilities of the classes that have come, a column each."""
        frame = dataframe.into_frame(X)
        p = np.empty((len(frame), len(self._classes)), self.dtype)
        if self._trainer is not None and len(frame):
            p = self._proba(features.rows(frame, self._features, self.dtype))
        columns = {label: p[:, place] for label, place in self._classes.items()}
        return dataframe.to_native_frame(columns, like=frame)

    def _with_classes(self, labels: list[Any]) -> features.Places:
        """The outputs of the classes, with those of new ones behind them, as they come."""
        classes = self._classes
        try:
            if all(label in classes for label in labels):
                return classes
            return {label: at for at, label in enumerate(dict.fromkeys((*classes, *labels)))}
        except TypeError:
            raise ArgumentTypeError("y", "be hashable", shown(labels)) from None

    @property
    def _multiclass(self) -> bool:
        return True

    def _proba(self, x: NDArray[Any]) -> NDArray[Any]:
        assert self._trainer is not None
        backend = self._trainer.backend
        return arrays.as_numpy(backend.probabilities(backend.asarray(self._raw(x)), self.loss))
