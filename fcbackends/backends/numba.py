"""The backend of fused, compiled kernels on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.kernels import layers as layer_kernels
from fcbackends.kernels import training as training_kernels
from fcbackends.kernels.sampling import ROUND_WORDS
from fcbackends.records import (
    Array,
    Backend,
    FCGradients,
    LossAndGradient,
    Params,
    Plan,
    Segment,
    StepResult,
)
from fcbackends.sampling import stream_key


def _plain(array: Array) -> NDArray[Any]:
    """The array as kernels read it: rows one after another, aligned; copied only if it is not."""
    return np.require(array, requirements=["C", "A"])


def _affine(x: Array, w: Array, b: Array, *, activate: bool) -> NDArray[Any]:
    y = np.empty((x.shape[0], w.shape[1]), x.dtype)
    layer_kernels.forward(x.dtype.name)(_plain(x), _plain(w), _plain(b), y, activate)
    return y


def fc_forward(x: Array, w: Array, b: Array) -> NDArray[Any]:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return _affine(x, w, b, activate=False)


def fc_backward(dy: Array, x: Array, w: Array) -> FCGradients:
    """dw, db and dx, as in `fcbackends.numerics`."""
    dw, db, dx = (
        np.empty_like(w, order="C"),
        np.empty(w.shape[1], w.dtype),
        np.empty(x.shape, x.dtype),
    )
    layer_kernels.backward(x.dtype.name)(
        _plain(dy), _plain(x), _plain(w), dw, db, dx, np.empty(w.shape[::-1], w.dtype)
    )
    return FCGradients(dw, db, dx)


def mean_squared_loss(y: Array, t: Array) -> LossAndGradient:
    """The loss and its gradient, as in `fcbackends.numerics`."""
    dy = np.empty(y.shape, y.dtype)
    samples = y.shape[0]
    loss = layer_kernels.mean_squared_loss(y.dtype.name)(
        _plain(y), _plain(t), dy, 1 / samples, 2 / samples
    )
    return LossAndGradient(y.dtype.type(loss), dy)


def predict(params: Params, x: Array) -> NDArray[Any]:
    """The network's output: ReLU between the layers, none after the last."""
    for layer, (w, b) in enumerate(params):
        x = _affine(x, w, b, activate=layer < len(params) - 1)
    return x


def sgd_step(params: Params, x: Array, t: Array, lr: float) -> StepResult:
    """One step on the batch: new parameters, and the loss under the old ones."""
    loop = FusedLoop(params, lr)
    loss = loop.step(x, t, guarded=False)
    return StepResult(loop.params, x.dtype.type(loss))


class FusedLoop:
    """A network in one flat buffer, moved on by the fused kernels."""

    def __init__(self, params: Params, lr: float) -> None:
        self._shapes = [w.shape for w, _ in params]
        self._sizes = (self._shapes[0][0], *(m for _, m in self._shapes))
        self._dtype = params[0][0].dtype
        self._dtype_name = self._dtype.name
        self._lr = self._dtype.type(lr)
        self._theta = np.concatenate([np.ravel(array) for pair in params for array in pair])
        self._previous = self._theta.copy()
        self._round_words = np.empty(ROUND_WORDS, np.uint64)
        self._batch_size = 0
        self._lay_out(1)

    def _lay_out(self, batch_size: int) -> None:
        if batch_size == self._batch_size:
            return
        layout = training_kernels.layout(self._sizes, batch_size)
        self._layers, self._places = layout.layers, layout.places
        self._work = np.empty(layout.work_size, self._dtype)
        self._batch_size = batch_size
        self._one_over_batch = self._dtype.type(1 / batch_size)
        self._two_over_batch = self._dtype.type(2 / batch_size)

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return self._unflatten(self._theta)

    @params.setter
    def params(self, params: Params) -> None:
        np.concatenate([np.ravel(array) for pair in params for array in pair], out=self._theta)

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""
        finite = bool(np.isfinite(self._theta).all())
        return self._unflatten(self._theta if finite else self._previous)

    def _unflatten(self, theta: NDArray[Any]) -> Params:
        pairs = []
        at = 0
        for k, m in self._shapes:
            w = theta[at : at + k * m].reshape(k, m).copy()
            b = theta[at + k * m : at + (k + 1) * m].copy()
            pairs.append((w, b))
            at += (k + 1) * m
        return tuple(pairs)

    def step(self, x: Array, t: Array, *, guarded: bool = True) -> float:
        """Take one step on a batch or one sample; returns the loss before it."""
        if x.ndim == 2:
            self._lay_out(x.shape[0])
            x, t = _plain(x).reshape(-1), _plain(t).reshape(-1)
        else:
            self._lay_out(1)
        return training_kernels.take_step(self._dtype_name)(
            self._layers,
            self._places,
            self._theta,
            self._previous,
            self._work,
            x,
            t,
            self._batch_size,
            guarded,
            self._lr,
            self._one_over_batch,
            self._two_over_batch,
        )

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        return training_kernels.data_loss(self._dtype_name)(
            self._layers,
            self._places,
            self._theta,
            self._work,
            self._batch_size,
            _plain(x),
            _plain(t),
            1 / x.shape[0],
        )

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        self._lay_out(plan.batch_size)
        losses = np.empty(stop // plan.record_every - start // plan.record_every)
        with np.errstate(all="ignore"):
            steps, loss, recorded, reached, diverged_at = training_kernels.train_steps(
                self._dtype_name
            )(
                self._layers,
                self._places,
                self._theta,
                self._work,
                _plain(x),
                _plain(t),
                losses,
                self._round_words,
                np.uint64(stream_key(plan.seed)),
                start,
                stop,
                plan.batch_size,
                plan.sampling == "epoch",
                plan.tol_on == "data",
                -1.0 if plan.tol is None else plan.tol,
                plan.record_every,
                self._lr,
                self._one_over_batch,
                self._two_over_batch,
                1 / x.shape[0],
            )
        return Segment(steps, loss, losses[:recorded].tolist(), reached, diverged_at or None)


BACKEND = Backend(
    name="numba",
    arithmetic="ordered",
    owns=lambda array: isinstance(array, np.ndarray),
    asarray=np.asarray,
    fc_forward=fc_forward,
    fc_backward=fc_backward,
    mean_squared_loss=mean_squared_loss,
    predict=predict,
    sgd_step=sgd_step,
    training_loop=FusedLoop,
)
