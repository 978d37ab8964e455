"""The passes through one layer, in the contract's order of sums."""

from __future__ import annotations

from numba import types

from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.matmul import NO_BIAS, Finish, multiply, panel_width
from fcbackends.kernels.threads import share
from fcbackends.kernels.tiles import ROWS, Operand
from fcbackends.kernels.views import flat


@inlined
def loss_of_sample(y, t, dy, n, two_over_n):
    """The sum of the squared errors of row n; dy, which may be y, receives its gradient."""
    squares = y.dtype.type(0)
    for m in range(y.shape[1]):
        d = y[n, m] - t[n, m]
        squares = squares + d * d if m > 0 else d * d
        dy[n, m] = d * two_over_n
    return squares


def _matrices(real, count):
    return tuple(types.Array(real, 2, "C", readonly=True) for _ in range(count))


@kernel(
    lambda real: (
        *_matrices(real, 2),
        types.Array(real, 1, "C", readonly=True),
        real[:, ::1],
        types.boolean,
        real[:, ::1],
        types.int64,
        types.int64,
    )
)
def forward(x, w, b, y, activate, panels, thread, threads):
    """Y = x w + b, through ReLU where `activate`; each thread has its rows, and a row of panels."""
    samples, terms = x.shape
    outputs = y.shape[1]
    first, last = share(samples, ROWS, thread, threads)
    panel = Operand(panels[thread], 0, 0, 1)
    multiply(
        Operand(flat(y), first * outputs, outputs, 1),
        Operand(flat(x), first * terms, terms, 1),
        Operand(flat(w), 0, outputs, panel_width(w.itemsize)),
        last - first,
        terms,
        outputs,
        panel,
        Finish(flat(b), 0, 1 if activate else 0),
    )


@kernel(
    lambda real: (
        *_matrices(real, 3),
        real[:, ::1],
        real[::1],
        real[:, ::1],
        real[:, ::1],
        types.int64,
        types.int64,
    )
)
def backward(dy, x, w_transposed, dw, db, dx, panels, thread, threads):
    """Dw = x' dy, db = the sums of dy over the samples, dx = dy w'; each thread has its rows."""
    samples, inputs = x.shape
    outputs = dy.shape[1]
    first, last = share(inputs, ROWS, thread, threads)
    panel = Operand(panels[thread], 0, 0, 1)
    as_it_is = Finish(panels[thread], NO_BIAS, 0)
    multiply(
        Operand(flat(dw), first * outputs, outputs, 1),
        Operand(flat(x), first, 1, inputs),
        Operand(flat(dy), 0, outputs, panel_width(dy.itemsize)),
        last - first,
        samples,
        outputs,
        panel,
        as_it_is,
    )
    if thread == 0:
        for m in range(outputs):
            db[m] = 0
        for n in range(samples):
            for m in range(outputs):
                db[m] = db[m] + dy[n, m] if n > 0 else dy[n, m]
    first, last = share(samples, ROWS, thread, threads)
    multiply(
        Operand(flat(dx), first * inputs, inputs, 1),
        Operand(flat(dy), first * outputs, outputs, 1),
        Operand(flat(w_transposed), 0, inputs, panel_width(dy.itemsize)),
        last - first,
        outputs,
        inputs,
        panel,
        as_it_is,
    )


@kernel(lambda real: (*_matrices(real, 2), real[:, ::1], real, real))
def mean_squared_loss(y, t, dy, one_over_n, two_over_n):
    """The loss; dy receives its gradient."""
    total = y.dtype.type(0)
    for n in range(y.shape[0]):
        squares = loss_of_sample(y, t, dy, n, two_over_n)
        total = total + squares if n > 0 else squares
    return total * one_over_n
