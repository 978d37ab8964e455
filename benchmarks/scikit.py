"""The same work in scikit-learn: its estimators' `partial_fit`, batch by batch and otherwise."""

from __future__ import annotations

import math
from typing import Any

from contestants import Contestant, drawn
from workloads import LR, Workload, data, initial


class ScikitLinear(Contestant):
    """`SGDRegressor.partial_fit` on each batch, which it goes through sample by sample.

    Its loss is half of the squared error: with twice the lr over the batch's size, a pass over
    a batch moves the parameters as the batch's step does, but for the square of lr.
    """

    name = "scikit-learn SGDRegressor (batch 1 inside)"

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        x, t = data(workload)
        self._data = x, t[:, 0]

    def start(self, units: int) -> None:
        from sklearn.linear_model import SGDRegressor

        x, t = self._data
        self._model = SGDRegressor(
            penalty=None,
            learning_rate="constant",
            eta0=2 * LR / self._workload.batch,
            shuffle=False,
        )
        self._model.partial_fit(x[:1], t[:1])
        ((w, b),) = initial(self._workload)
        self._model.coef_[...] = w[:, 0]
        self._model.intercept_[...] = b
        self._drawn = drawn(self._workload, units)

    def go(self) -> None:
        x, t = self._data
        fit = self._model.partial_fit
        for rows in self._drawn:
            fit(x[rows], t[rows])

    def result(self) -> Any:
        w = self._model.coef_[:, None]
        # It keeps b in float64 beside any w.
        return ((w, self._model.intercept_.astype(w.dtype)),)


class ScikitNetwork(Contestant):
    """`MLPRegressor.partial_fit` on each batch in the drawn order.

    Its loss is half of the squared error, hence twice the lr.
    """

    name = "scikit-learn MLPRegressor, a batch a call"
    shuffle = False

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        x, t = data(workload)
        self._data = x, t if t.shape[1] > 1 else t[:, 0]

    def start(self, units: int) -> None:
        from sklearn.neural_network import MLPRegressor

        x, t = self._data
        batch = self._workload.batch
        self._model = MLPRegressor(
            hidden_layer_sizes=self._workload.sizes[1:-1],
            activation="relu",
            solver="sgd",
            learning_rate_init=2 * LR,
            momentum=0,
            alpha=0,
            batch_size=batch,
            shuffle=self.shuffle,
        )
        self._model.partial_fit(x[:batch], t[:batch])
        pairs = zip(self._model.coefs_, self._model.intercepts_, strict=True)
        for (there, also), (w, b) in zip(pairs, initial(self._workload), strict=True):
            there[...], also[...] = w, b
        self._get_ready(units)

    def _get_ready(self, units: int) -> None:
        self._drawn = drawn(self._workload, units)

    def go(self) -> None:
        x, t = self._data
        fit = self._model.partial_fit
        for rows in self._drawn:
            fit(x[rows], t[rows])

    def result(self) -> Any:
        return tuple(zip(self._model.coefs_, self._model.intercepts_, strict=True))


class ScikitEpochs(ScikitNetwork):
    """`MLPRegressor.partial_fit` on the whole data: an epoch a call, shuffled by itself."""

    name = "scikit-learn MLPRegressor, an epoch a call (shuffles itself)"
    promise = "own order"
    shuffle = True

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.steps_a_unit = math.ceil(workload.samples / workload.batch)

    def _get_ready(self, units: int) -> None:
        self._epochs = units

    def go(self) -> None:
        for _ in range(self._epochs):
            self._model.partial_fit(*self._data)
