"""The backend of fused, compiled kernels on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.fused_loop import FusedLoop, plain
from fcbackends.interface import Backend
from fcbackends.kernels import layers
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.elements import ACTIVATIONS, LOSSES
from fcbackends.kernels.jit import entry
from fcbackends.kernels.matmul import PANEL_BYTES
from fcbackends.kernels.threads import get_threads, run_in_threads, set_threads, threads_for
from fcbackends.records import Array, FCGradients, LossAndGradient, Params, StepResult

_ARITHMETIC = "ordered"


def _panels(threads: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.empty((threads, PANEL_BYTES // dtype.itemsize), dtype)


def _affine(x: Array, w: Array, b: Array, activation: str) -> NDArray[Any]:
    kernel = entry(layers.forward(x.dtype.name, _ARITHMETIC))
    threads = threads_for(x.shape[0] * w.size)
    y, panels = np.empty((x.shape[0], w.shape[1]), x.dtype), _panels(threads, x.dtype)
    x, w, b = plain(x), plain(w), plain(b)
    tag, code = ARITHMETICS[_ARITHMETIC], ACTIVATIONS[activation]
    run_in_threads(lambda team: kernel(tag, team, x, w, b, code, y, panels), threads)
    return y


def fc_forward(x: Array, w: Array, b: Array) -> NDArray[Any]:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return _affine(x, w, b, "identity")


def fc_backward(dy: Array, x: Array, w: Array) -> FCGradients:
    """dw, db and dx, as in `fcbackends.numerics`."""
    kernel = entry(layers.backward(x.dtype.name, _ARITHMETIC))
    threads = threads_for(2 * x.shape[0] * w.size)
    dw, db = np.empty(w.shape, w.dtype), np.empty(w.shape[1], w.dtype)
    dx, panels = np.empty(x.shape, x.dtype), _panels(threads, x.dtype)
    dy, x, w_transposed = plain(dy), plain(x), plain(w.T)
    tag = ARITHMETICS[_ARITHMETIC]
    run_in_threads(lambda team: kernel(tag, team, dy, x, w_transposed, dw, db, dx, panels), threads)
    return FCGradients(dw, db, dx)


def mean_squared_loss(y: Array, t: Array) -> LossAndGradient:
    """The loss and its gradient, as in `fcbackends.numerics`."""
    kernel = entry(layers.loss_and_gradient(y.dtype.name, _ARITHMETIC))
    dy = np.empty(y.shape, y.dtype)
    loss = kernel(LOSSES["mean_squared"], plain(y), plain(t), dy)
    return LossAndGradient(y.dtype.type(loss), dy)


def predict(params: Params, x: Array) -> NDArray[Any]:
    """The network's output: ReLU between the layers, none after the last."""
    for layer, (w, b) in enumerate(params):
        x = _affine(x, w, b, "relu" if layer < len(params) - 1 else "identity")
    return x


def sgd_step(params: Params, x: Array, t: Array, lr: float) -> StepResult:
    """One step on the batch: new parameters, and the loss under the old ones."""
    loop = FusedLoop(params, lr, capacity=x.shape[0])
    loss = loop.step(x, t, guarded=False)
    return StepResult(loop.params, x.dtype.type(loss))


BACKEND = Backend(
    name="numba",
    arithmetic=_ARITHMETIC,
    owns=lambda array: isinstance(array, np.ndarray),
    asarray=np.asarray,
    fc_forward=fc_forward,
    fc_backward=fc_backward,
    mean_squared_loss=mean_squared_loss,
    predict=predict,
    sgd_step=sgd_step,
    training_loop=FusedLoop,
    get_threads=get_threads,
    set_threads=set_threads,
)
