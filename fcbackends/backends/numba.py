"""The backend of fused, compiled kernels on NumPy arrays."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.backend import Backend
from fcbackends.backends.fused_loop import FusedLoop, plain
from fcbackends.kernels import layers
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.elements import ACTIVATIONS, LOSSES
from fcbackends.kernels.jit import entry
from fcbackends.kernels.matmul import PANEL_BYTES
from fcbackends.kernels.threads import get_threads, run_in_threads, set_threads, threads_for
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import Method, Params, StepResult


def _panels(threads: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.empty((threads, PANEL_BYTES // dtype.itemsize), dtype)


def fc_forward(
    arithmetic: str, x: Array, w: Array, b: Array, activation: str = "identity"
) -> NDArray[Any]:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m], activated."""
    kernel = entry(layers.forward(x.dtype.name, arithmetic))
    threads = threads_for(x.shape[0] * w.size)
    y, panels = np.empty((x.shape[0], w.shape[1]), x.dtype), _panels(threads, x.dtype)
    x, w, b = plain(x), plain(w), plain(b)
    tag, code = ARITHMETICS[arithmetic], ACTIVATIONS[activation]
    run_in_threads(lambda team: kernel(tag, team, x, w, b, code, y, panels), threads)
    return y


def fc_backward(arithmetic: str, dy: Array, x: Array, w: Array) -> FCGradients:
    """dw, db and dx, as in `fcbackends.maths`."""
    kernel = entry(layers.backward(x.dtype.name, arithmetic))
    threads = threads_for(2 * x.shape[0] * w.size)
    dw, db = np.empty(w.shape, w.dtype), np.empty(w.shape[1], w.dtype)
    dx, panels = np.empty(x.shape, x.dtype), _panels(threads, x.dtype)
    dy, x, w_transposed = plain(dy), plain(x), plain(w.T)
    tag = ARITHMETICS[arithmetic]
    run_in_threads(lambda team: kernel(tag, team, dy, x, w_transposed, dw, db, dx, panels), threads)
    return FCGradients(dw, db, dx)


def mean_squared_loss(y: Array, t: Array) -> LossAndGradient:
    """The loss and its gradient, as in `fcbackends.maths`."""
    dy = np.empty(y.shape, y.dtype)
    kernel = entry(layers.loss_and_gradient(y.dtype.name))
    loss = kernel(LOSSES["mean_squared"], plain(y), plain(t), dy)
    return LossAndGradient(y.dtype.type(loss), dy)


def predict(arithmetic: str, params: Params, x: Array, activation: str = "relu") -> NDArray[Any]:
    """The network's output: the activation between the layers, none after the last."""
    last = len(params) - 1
    for layer, (w, b) in enumerate(params):
        x = fc_forward(arithmetic, x, w, b, activation if layer < last else "identity")
    return x


def sgd_step(arithmetic: str, params: Params, x: Array, t: Array, method: Method) -> StepResult:
    """One step on the batch: new parameters, and the loss under the old ones."""
    loop = FusedLoop(arithmetic, params, method, capacity=x.shape[0])
    loss = loop.step(x, t, guarded=False)
    return StepResult(loop.params, x.dtype.type(loss))


def _backend(arithmetic: str) -> Backend:
    return Backend(
        name="numba",
        arithmetic=arithmetic,
        owns=lambda array: isinstance(array, np.ndarray),
        asarray=np.asarray,
        fc_forward=functools.partial(fc_forward, arithmetic),
        fc_backward=functools.partial(fc_backward, arithmetic),
        mean_squared_loss=mean_squared_loss,
        predict=functools.partial(predict, arithmetic),
        sgd_step=functools.partial(sgd_step, arithmetic),
        training_loop=functools.partial(FusedLoop, arithmetic),
        get_threads=get_threads,
        set_threads=set_threads,
    )


_BACKENDS = tuple(map(_backend, ARITHMETICS))


def load() -> tuple[Backend, ...]:
    """The backends of kernels, one for each arithmetic."""
    return _BACKENDS
