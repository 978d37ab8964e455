"""One fully connected layer: its output, and the gradients of what it is made of."""

from __future__ import annotations

from typing import NamedTuple

from fcbackends.maths.arithmetic import Arithmetic, Array


class FCGradients(NamedTuple):
    """Gradients of the loss with respect to one layer's weights, bias and input."""

    dw: Array
    db: Array
    dx: Array


def fc_forward(arithmetic: Arithmetic, x: Array, w: Array, b: Array) -> Array:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return arithmetic.matmul(x, w) + b


def fc_backward(arithmetic: Arithmetic, dy: Array, x: Array, w: Array) -> FCGradients:
    """dw, db and dx, in arrays of their own."""
    dw, db = parameter_gradients(arithmetic, dy, x)
    # The caller's dy must not change with db: of one sample it is the sum.
    return FCGradients(dw, arithmetic.xp.asarray(db, copy=True), input_gradient(arithmetic, dy, w))


def parameter_gradients(arithmetic: Arithmetic, dy: Array, x: Array) -> tuple[Array, Array]:
    """dw[k, m] = sum_n x[n, k] * dy[n, m] and db[m] = sum_n dy[n, m]; db may be a view of dy."""
    return arithmetic.product_of_rows(x, dy), arithmetic.sum_of_rows(dy)


def input_gradient(arithmetic: Arithmetic, dy: Array, w: Array) -> Array:
    """dx[n, k] = sum_m dy[n, m] * w[k, m]."""
    return arithmetic.matmul(dy, w.T)
