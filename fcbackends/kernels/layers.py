"""The passes through one layer, in the contract's order of sums."""

from __future__ import annotations

from numba import types

from fcbackends.kernels.jit import inlined, kernel

# Rows narrower than a vector register are summed one output after another, the sum in a register;
# wider ones are summed all outputs at once, vector by vector, in memory.
NARROW = 8


@inlined
def sum_products(factors, rows, out):
    """out[m] = sum_k factors[k] * rows[k, m] over ascending k."""
    if out.shape[0] < NARROW:
        for m in range(out.shape[0]):
            out[m] = sum_column(factors, rows, m)
    else:
        sum_wide_rows(factors, rows, out)


@inlined
def sum_column(factors, rows, m):
    """sum_k factors[k] * rows[k, m] over ascending k."""
    if factors.shape[0] == 0:
        return rows.dtype.type(0)
    total = factors[0] * rows[0, m]
    for k in range(1, factors.shape[0]):
        total += factors[k] * rows[k, m]
    return total


@inlined
def sum_wide_rows(factors, rows, out):
    """`sum_products` for many outputs."""
    terms = factors.shape[0]
    width = out.shape[0]
    if terms == 0:
        for m in range(width):
            out[m] = 0
        return
    factor = factors[0]
    for m in range(width):
        out[m] = factor * rows[0, m]
    k = 1
    # Four terms a pass, added one after another, save three in four loads and stores of `out`.
    while k + 4 <= terms:
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        for m in range(width):
            total = out[m] + f0 * rows[k, m]
            total = total + f1 * rows[k + 1, m]
            total = total + f2 * rows[k + 2, m]
            out[m] = total + f3 * rows[k + 3, m]
        k += 4
    while k < terms:
        factor = factors[k]
        for m in range(width):
            out[m] += factor * rows[k, m]
        k += 1


@inlined
def descend(factors, rows, lr, out, gradient):
    """out[m] = out[m] - lr * (sum_n factors[n] * rows[n, m]); `gradient` is room for a row."""
    width = out.shape[0]
    if width < NARROW:
        for m in range(width):
            out[m] -= lr * sum_column(factors, rows, m)
    else:
        sum_wide_rows(factors, rows, gradient)
        for m in range(width):
            out[m] -= lr * gradient[m]


@inlined
def relu(row):
    """Put 0 where row < 0."""
    for m in range(row.shape[0]):
        if row[m] < 0:
            row[m] = 0


@inlined
def transpose(w, out):
    """out[m, k] = w[k, m], for the rows w has beside out's columns."""
    for m in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[m, k] = w[k, m]


@inlined
def loss_and_gradient(y, t, dy, one_over_n, two_over_n):
    """The mean squared loss of y; dy, which may be y, receives its gradient."""
    total = y.dtype.type(0)
    for n in range(y.shape[0]):
        squares = y.dtype.type(0)
        for m in range(y.shape[1]):
            d = y[n, m] - t[n, m]
            squares = squares + d * d if m > 0 else d * d
            dy[n, m] = d * two_over_n
        total = total + squares if n > 0 else squares
    return total * one_over_n


def _matrices(real, count):
    return tuple(types.Array(real, 2, "C", readonly=True) for _ in range(count))


@kernel(
    lambda real: (
        *_matrices(real, 2),
        types.Array(real, 1, "C", readonly=True),
        real[:, ::1],
        types.boolean,
    )
)
def forward(x, w, b, y, activate):
    """Y = x w + b, through ReLU where `activate`."""
    for n in range(x.shape[0]):
        row = y[n]
        sum_products(x[n], w, row)
        for m in range(b.shape[0]):
            row[m] += b[m]
        if activate:
            relu(row)


@kernel(lambda real: (*_matrices(real, 3), real[:, ::1], real[::1], real[:, ::1], real[:, ::1]))
def backward(dy, x, w, dw, db, dx, w_transposed):
    """Dw = x' dy, db = the sums of dy over the samples, dx = dy w'."""
    for k in range(x.shape[1]):
        sum_products(x[:, k], dy, dw[k])
    for m in range(db.shape[0]):
        db[m] = 0
    for n in range(dy.shape[0]):
        for m in range(db.shape[0]):
            db[m] = db[m] + dy[n, m] if n > 0 else dy[n, m]
    transpose(w, w_transposed)
    for n in range(dy.shape[0]):
        sum_products(dy[n], w_transposed, dx[n])


@kernel(lambda real: (*_matrices(real, 2), real[:, ::1], real, real))
def mean_squared_loss(y, t, dy, one_over_n, two_over_n):
    """The loss; dy receives its gradient."""
    return loss_and_gradient(y, t, dy, one_over_n, two_over_n)
