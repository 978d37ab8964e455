"""The backend of fused, compiled kernels on NumPy arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import dtype_of
from fcbackends.backends.backend import Backend
from fcbackends.backends.fused_loop import FusedLoop, plain
from fcbackends.kernels import layers
from fcbackends.kernels.activations import codes
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.blocks import ONE_BLOCK, most_waiting
from fcbackends.kernels.jit import entry
from fcbackends.kernels.layout import ROWS_A_PASS
from fcbackends.kernels.losses import PROBABILITIES, code
from fcbackends.kernels.matmul import PANEL_ROW_BYTES
from fcbackends.kernels.threads import get_threads, run_in_threads, set_threads, threads_for
from fcbackends.maths.activations import Activations, of_hidden_layers
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import Method, Params, StepResult
from fcbackends.maths.optimizers import SGD


@functools.cache
def _kernel(family: Callable[..., Any], dtype: np.dtype[Any], *arithmetic: str) -> Any:
    """A family's kernel of this dtype; NumPy makes a dtype's name anew each time, in 2 us."""
    return entry(family(dtype.name, *arithmetic))


def fc_forward(
    arithmetic: str, x: Array, w: Array, b: Array, activation: str = "identity"
) -> NDArray[Any]:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m], activated."""
    kernel = _kernel(layers.forward, x.dtype, arithmetic)
    y = np.empty((x.shape[0], w.shape[1]), x.dtype)
    threads = threads_for(x.shape[0] * w.size)
    tag, (code, _) = ARITHMETICS[arithmetic], codes(activation, dtype_of(x))
    run_in_threads(kernel, threads, tag, plain(x), plain(w), plain(b), code, y)
    return y


def fc_backward(
    arithmetic: str, dy: Array, x: Array, w: Array, *, rows_per_block: int = ONE_BLOCK
) -> FCGradients:
    """dw, db and dx, as in `fcbackends.maths`."""
    kernel = _kernel(layers.backward, x.dtype, arithmetic)
    dw, db = np.empty(w.shape, w.dtype), np.empty(w.shape[1], w.dtype)
    dx = np.empty(x.shape, x.dtype)
    threads = threads_for(2 * x.shape[0] * w.size)
    tag = ARITHMETICS[arithmetic]
    room = 0
    if x.shape[0] > rows_per_block:
        tile = ROWS_A_PASS * PANEL_ROW_BYTES // w.itemsize
        room = most_waiting(x.shape[0], rows_per_block) * max(tile, w.shape[1])
    blocks = rows_per_block, np.empty((threads, room), w.dtype)
    run_in_threads(kernel, threads, tag, plain(dy), plain(x), plain(w.T), dw, db, dx, *blocks)
    return FCGradients(dw, db, dx)


def loss_and_gradient(
    y: Array,
    t: Array,
    loss: str = "mean_squared",
    weighted: bool = False,
    *,
    rows_per_block: int = ONE_BLOCK,
) -> LossAndGradient:
    """The loss and its gradient, as in `fcbackends.maths`."""
    samples, outputs = y.shape
    weights = np.ascontiguousarray(t[:, outputs]) if weighted else np.ones(samples, y.dtype)
    target, losses = plain(t[:, :outputs]).reshape(-1), np.empty(samples, y.dtype)
    # In the place of y; a row of y may be of no numbers.
    dy = np.array(y, order="C")
    room = np.empty(max(dy.size, 1), y.dtype)
    kernel = _kernel(layers.loss_and_gradient, y.dtype)
    of_loss = code(loss, dtype_of(y))
    rows = dy.reshape(-1), target, weights, losses, room
    value = kernel(of_loss, outputs, *rows, rows_per_block)
    return LossAndGradient(y.dtype.type(value), dy)


def probabilities(y: Array, loss: str) -> NDArray[Any]:
    """What the network's output stands for, as in `fcbackends.maths`."""
    p = np.array(y, order="C")
    _kernel(PROBABILITIES[loss], y.dtype)(p.reshape(-1), *p.shape)
    return p


def predict(
    arithmetic: str, params: Params, x: Array, activation: Activations = "relu"
) -> NDArray[Any]:
    """The network's output: activations between the layers, none after the last."""
    names = of_hidden_layers(activation, len(params) - 1)
    for (w, b), name in zip(params, (*names, "identity"), strict=True):
        x = fc_forward(arithmetic, x, w, b, name)
    return x


_idle: dict[Any, FusedLoop] = {}
"""Loops whose single step is done, by what they are made for: to make one takes 30 us."""

_MOST_IDLE = 8
_MOST_IDLE_BYTES = 2**20


def sgd_step(
    arithmetic: str,
    params: Params,
    x: Array,
    t: Array,
    method: Method,
    *,
    rows_per_block: int = ONE_BLOCK,
) -> StepResult:
    """One step on the batch: new parameters, and the loss under the old ones."""
    method = method._replace(optimizer=SGD(), clip_norm=None)
    kind = (arithmetic, rows_per_block, x.dtype, method[1:], *[w.shape for w, _ in params])
    # Taken out, so that no other thread has it as well.
    loop = _idle.pop(kind, None)
    if loop is None:
        room = dict(capacity=x.shape[0], rows_per_block=rows_per_block)
        loop = FusedLoop(arithmetic, params, method, **room)
    else:
        loop.restart(params, method)
    loss = loop.step(x, t, 1, guarded=False)
    result = StepResult(loop.params, x.dtype.type(loss))
    if loop.nbytes <= _MOST_IDLE_BYTES:
        if len(_idle) >= _MOST_IDLE:
            _idle.clear()
        _idle[kind] = loop
    return result


@functools.cache
def _backend(arithmetic: str, rows_per_block: int | None = None) -> Backend:
    size: dict[str, Any] = {}
    of_loss: Callable[..., LossAndGradient] = loss_and_gradient
    if rows_per_block is not None:
        size["rows_per_block"] = min(rows_per_block, ONE_BLOCK)
        of_loss = functools.partial(loss_and_gradient, **size)
    return Backend(
        name="numba",
        arithmetic=arithmetic,
        owns=lambda array: isinstance(array, np.ndarray),
        asarray=np.asarray,
        fc_forward=functools.partial(fc_forward, arithmetic),
        fc_backward=functools.partial(fc_backward, arithmetic, **size),
        mean_squared_loss=of_loss,
        loss_and_gradient=of_loss,
        probabilities=probabilities,
        predict=functools.partial(predict, arithmetic),
        sgd_step=functools.partial(sgd_step, arithmetic, **size),
        training_loop=functools.partial(FusedLoop, arithmetic, **size),
        get_threads=get_threads,
        set_threads=set_threads,
        rows_per_block=rows_per_block,
        with_rows_per_block=functools.partial(_backend, arithmetic),
    )


_BACKENDS = tuple(map(_backend, ARITHMETICS))


def load() -> tuple[Backend, ...]:
    """The backends of kernels, one for each arithmetic."""
    return _BACKENDS
