"""The maths of FC networks, written once against an array-API namespace `xp`.

All functions take batches: N samples, K inputs, M outputs; x (N, K), w (K, M), b (M,), y and t
(N, M), all of one real floating dtype. `arithmetic` says how products are summed.
"""

from __future__ import annotations

import functools
import struct
from numbers import Real
from typing import Any

from fcbackends.arithmetic import Arithmetic
from fcbackends.records import Array, FCGradients, LossAndGradient, Params, StepResult


def fc_forward(x: Array, w: Array, b: Array, *, xp: Any, arithmetic: Arithmetic) -> Array:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return arithmetic.matmul(x, w, xp=xp) + b


def fc_backward(dy: Array, x: Array, w: Array, *, xp: Any, arithmetic: Arithmetic) -> FCGradients:
    """Dw = sum_n x[n, k] * dy[n, m], db = sum_n dy[n, m], dx = sum_m dy[n, m] * w[k, m]."""
    dw, db = _parameter_gradients(dy, x, xp=xp, arithmetic=arithmetic)
    dx = _input_gradient(dy, w, xp=xp, arithmetic=arithmetic)
    # The caller's dy must not change with db: of one sample it is the sum.
    return FCGradients(dw, xp.asarray(db, copy=True), dx)


def _parameter_gradients(
    dy: Array, x: Array, *, xp: Any, arithmetic: Arithmetic
) -> tuple[Array, Array]:
    return arithmetic.matmul(x.T, dy, xp=xp), arithmetic.sum_first(dy, xp=xp)


def _input_gradient(dy: Array, w: Array, *, xp: Any, arithmetic: Arithmetic) -> Array:
    return arithmetic.matmul(dy, w.T, xp=xp)


def relu(a: Array, *, xp: Any) -> Array:
    """0 where a < 0, else a: NaN and -0.0 stay."""
    return xp.where(a < 0, xp.zeros_like(a), a)


def relu_backward(dy: Array, a: Array, *, xp: Any) -> Array:
    """Dy where a > 0, else +0.0; relu(a) may stand for a."""
    return xp.where(a > 0, dy, xp.zeros_like(dy))


def mean_squared_loss(y: Array, t: Array, *, xp: Any, arithmetic: Arithmetic) -> LossAndGradient:
    """Loss = (sum_n (sum_m d * d)) * (1 / N) and dy = d * (2 / N), with d = y - t.

    1 / N and 2 / N are computed in float64 and rounded once to the arrays' dtype.
    """
    samples = y.shape[0]
    d = y - t
    squares = d * d
    per_sample = arithmetic.sum_first(squares.T, xp=xp)
    total = arithmetic.sum_first(per_sample, xp=xp)
    loss = total * _rounded(1 / samples, y.dtype, xp)
    return LossAndGradient(loss, d * _rounded(2 / samples, y.dtype, xp))


def predict(params: Params, x: Array, *, xp: Any, arithmetic: Arithmetic) -> Array:
    """The network's output: ReLU between the layers, none after the last."""
    return _activations(params, x, xp=xp, arithmetic=arithmetic)[-1]


def loss_of_data(params: Params, x: Array, t: Array, *, xp: Any, arithmetic: Arithmetic) -> Array:
    """The loss of a network's output."""
    y = predict(params, x, xp=xp, arithmetic=arithmetic)
    return mean_squared_loss(y, t, xp=xp, arithmetic=arithmetic).loss


def sgd_step(
    params: Params, x: Array, t: Array, lr: float | Array, *, xp: Any, arithmetic: Arithmetic
) -> StepResult:
    """One step of SGD on the batch: new parameters, and the loss under the old ones.

    Every gradient comes from the old parameters; the first layer's dx is not computed. `lr` may be
    an array of no axes that has been rounded already: one compiled step then serves all rates.
    """
    *inputs, y = _activations(params, x, xp=xp, arithmetic=arithmetic)
    loss, dy = mean_squared_loss(y, t, xp=xp, arithmetic=arithmetic)
    rate = _rounded(float(lr), y.dtype, xp) if isinstance(lr, Real) else lr
    updated: list[tuple[Array, Array]] = []
    for layer in reversed(range(len(params))):
        w, b = params[layer]
        dw, db = _parameter_gradients(dy, inputs[layer], xp=xp, arithmetic=arithmetic)
        if layer > 0:
            dx = _input_gradient(dy, w, xp=xp, arithmetic=arithmetic)
            dy = relu_backward(dx, inputs[layer], xp=xp)
        updated.append((w - rate * dw, b - rate * db))
    return StepResult(tuple(reversed(updated)), loss)


def is_finite(params: Params, *, xp: Any) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(xp.all(xp.isfinite(array))) for pair in params for array in pair)


def _activations(params: Params, x: Array, *, xp: Any, arithmetic: Arithmetic) -> list[Array]:
    """Each layer's input, then the last layer's output."""
    values = [x]
    for layer, (w, b) in enumerate(params):
        a = fc_forward(values[-1], w, b, xp=xp, arithmetic=arithmetic)
        values.append(a if layer == len(params) - 1 else relu(a, xp=xp))
    return values


@functools.lru_cache(maxsize=1024)
def _rounded(value: float, dtype: Any, xp: Any) -> float:
    """The float64 `value` rounded to `dtype`: no library can then round it once more.

    Rounded without an array, since a traced or a lazy one has no value yet.
    """
    form = "f" if xp.finfo(dtype).bits == 32 else "d"
    return float(struct.unpack(form, struct.pack(form, value))[0])
