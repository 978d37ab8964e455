"""The passes through one layer, in the contract's order of sums."""

from __future__ import annotations

from numba import types

from fcbackends.kernels.activations import activate, waits_for_rows
from fcbackends.kernels.blocks import Blocks, multiply_samples, sum_rows, total_of
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import kernel
from fcbackends.kernels.layout import ROWS_A_PASS
from fcbackends.kernels.losses import gradient_factor, is_squares, losses_of_rows
from fcbackends.kernels.matmul import NO_BIAS, PANEL_BYTES, Epilogue, multiply, panel_width
from fcbackends.kernels.threads import TEAM, no_stop_word, share
from fcbackends.kernels.tiles import ROWS, Operand
from fcbackends.kernels.views import flat, local, row

_new_panel = local(PANEL_BYTES // 4)
"""Room for a panel of the smaller dtype's numbers, and more than that of the other's."""


def _read_only(real, *axes):
    return (types.Array(real, count, "C", readonly=True) for count in axes)


@kernel(
    lambda real, arithmetic: (
        arithmetic,
        *_read_only(real, 2, 2, 1),
        types.int64,
        real[:, ::1],
        TEAM,
    )
)
def forward(arithmetic, x, w, b, activation, y, team):
    """y = x w + b, activated; each thread has its rows."""
    samples, terms = x.shape
    outputs = y.shape[1]
    first, last = share(samples, ROWS, team)
    multiply(
        arithmetic,
        Operand(flat(y), first * outputs, outputs, 1),
        Operand(flat(x), first * terms, terms, 1),
        Operand(flat(w), 0, outputs, panel_width(w.itemsize)),
        last - first,
        terms,
        outputs,
        Operand(_new_panel(flat(y)), 0, 0, 1),
        Epilogue(flat(b), 0, activation),
        no_stop_word(team),
    )
    if waits_for_rows(activation):
        activate(activation, row(flat(y), first * outputs, (last - first) * outputs))


@kernel(
    lambda real, arithmetic: (
        arithmetic,
        *_read_only(real, 2, 2, 2),
        real[:, ::1],
        real[::1],
        real[:, ::1],
        types.int64,
        real[:, ::1],
        TEAM,
    )
)
def backward(arithmetic, dy, x, w_transposed, dw, db, dx, rows_per_block, sums, team):
    """dw = x' dy, db = the sums of dy over the samples, dx = dy w'; each thread has its rows.

    Where samples are several blocks, each thread has a row of `sums` for those that wait.
    """
    samples, inputs = x.shape
    outputs = dy.shape[1]
    panel = Operand(_new_panel(flat(dx)), 0, 0, 1)
    as_it_is = Epilogue(flat(dx), NO_BIAS, 0)
    first, last = share(inputs, ROWS, team)
    width, height = outputs + 1, inputs + 1
    if samples > rows_per_block:
        width, height = panel_width(dy.itemsize), ROWS_A_PASS
    blocks = Blocks(rows_per_block, flat(sums), team.thread * sums.shape[1])
    for column in range(0, outputs, width):
        for start in range(first, last, height):
            multiply_samples(
                arithmetic,
                Operand(flat(dw), start * outputs + column, outputs, 1),
                Operand(flat(x), start, 1, inputs),
                Operand(flat(dy), column, outputs, panel_width(dy.itemsize)),
                smaller(height, last - start),
                samples,
                smaller(width, outputs - column),
                panel,
                no_stop_word(team),
                blocks,
            )
    if team.thread == 0 and samples > rows_per_block:
        sum_rows(dy, db, blocks)
    elif team.thread == 0:
        for m in range(outputs):
            db[m] = 0
        for n in range(samples):
            for m in range(outputs):
                db[m] = db[m] + dy[n, m] if n > 0 else dy[n, m]
    first, last = share(samples, ROWS, team)
    multiply(
        arithmetic,
        Operand(flat(dx), first * inputs, inputs, 1),
        Operand(flat(dy), first * outputs, outputs, 1),
        Operand(flat(w_transposed), 0, inputs, panel_width(dy.itemsize)),
        last - first,
        outputs,
        inputs,
        panel,
        as_it_is,
        no_stop_word(team),
    )


@kernel(lambda real, _: (types.int64, types.int64, real[::1], *[real[::1]] * 4, types.int64))
def loss_and_gradient(loss, outputs, y, t, weights, losses, room, rows_per_block):
    """The samples' mean loss; y becomes its gradient. The rows are those of `losses_of_rows`."""
    samples = weights.shape[0]
    factor = y.dtype.type(gradient_factor(is_squares(loss), samples))
    losses_of_rows(loss, y, t, weights, losses, room, samples, outputs, factor)
    return total_of(losses, rows_per_block) * y.dtype.type(1.0 / samples)
