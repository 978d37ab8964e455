"""Ordered matrix products of any size, blocked for the caches.

Each element of a product is summed in ascending order of the
terms, whatever the blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.tiles import ROWS, VECTOR_BYTES, VECTORS, Operand, copy_row, tile
from fcbackends.kernels.views import matrix

_wide_8, _wide_4, _wide_2, _wide_1 = (tile(rows, VECTORS) for rows in (8, 4, 2, 1))
_edge_8, _edge_4, _edge_2, _edge_1 = (tile(rows, 1, masked=True) for rows in (8, 4, 2, 1))
PANELS_OF_ONE_ROW = 4
_long_1 = tile(1, PANELS_OF_ONE_ROW * VECTORS)

PANEL_ROW_BYTES = VECTORS * VECTOR_BYTES
"""What a panel, the columns that one tile goes through, has of a row."""

_TERMS_A_BLOCK = 256
"""So many rows of a panel of b, 32 KiB with 64-byte vectors, stay in the first-level cache."""

ROWS_A_BLOCK = 256
"""So many rows of a block of a stay in the second-level cache."""

_FAR_APART_BYTES = 2048
"""Rows of b that lie so far apart share few sets of the cache and take a page or two each: their
panel is copied together first, which took a 512 x 1024 x 1024 product from 102 to 107 GFLOP/s."""

PANEL_BYTES = _TERMS_A_BLOCK * PANEL_ROW_BYTES
"""Room for a panel that is copied together."""


NO_BIAS = -1


class Finish(NamedTuple):
    """What becomes of a row of sums: a bias is added, then ReLU applied.

    The bias stands at `bias` in the buffer, unless that is NO_BIAS; `activates` is 1 or 0, for
    Numba compiles a function anew for each constant truth value that it is called with.
    """

    buffer: Any
    bias: int
    activates: int


@inlined
def panel_width(itemsize):
    """How many columns a panel has; a matrix's last may have fewer."""
    return PANEL_ROW_BYTES // itemsize


@inlined
def at(operand, place):
    """The same matrix, but beginning at another place."""
    return Operand(operand.buffer, place, operand.row, operand.column)


@inlined
def from_row(operand, row):
    """The part of a matrix that begins at this row."""
    return at(operand, operand.at + row * operand.row)


@inlined
def relu(values):
    """Put 0 where values < 0."""
    # A store whatever the value vectorises; a branch on the value is mispredicted half the time.
    zero = values.dtype.type(0)
    for i in range(values.shape[0]):
        value = values[i]
        values[i] = zero if value < 0 else value


@called
def multiply(c, a, b, rows, terms, columns, panel, finish):
    """C = a b, for rows x terms and terms x columns, and what `finish` makes of it.

    The others are Operands; c's columns stand side by side, b's in panels, and `panel` has room
    for PANEL_BYTES. Without terms, the sums are zero.
    """
    if terms == 0:
        for i in range(rows):
            for j in range(columns):
                c.buffer[c.at + i * c.row + j] = 0
        _finish(c, 0, rows, columns, finish)
        return
    itemsize = c.buffer.itemsize
    width = panel_width(itemsize)
    start = 0
    if rows == 1:
        # One row has no other that hides its additions' latency: it takes more columns at once.
        long = PANELS_OF_ONE_ROW * width
        while start + long <= columns:
            place = b.at + start // width * b.column
            _long_1(at(c, c.at + start), a, at(b, place), terms, False, 0)
            _finish(c, start, rows, long, finish)
            start += long
    packs = rows >= 4 * ROWS and b.row * itemsize >= _FAR_APART_BYTES
    for row in range(0, rows, ROWS_A_BLOCK):
        block = min(ROWS_A_BLOCK, rows - row)
        for term in range(0, terms, _TERMS_A_BLOCK):
            depth = min(_TERMS_A_BLOCK, terms - term)
            a_here = at(a, a.at + row * a.row + term * a.column)
            for column in range(start, columns, width):
                used = min(width, columns - column)
                c_here = at(c, c.at + row * c.row + column)
                b_here = at(b, b.at + term * b.row + column // width * b.column)
                if packs:
                    copied = Operand(panel.buffer, panel.at, width, 0)
                    for p in range(depth):
                        copy_row(from_row(copied, p), from_row(b_here, p), used)
                    b_here = copied
                _multiply_panel(c_here, a_here, b_here, block, depth, term > 0, used)
                if term + depth == terms:
                    _finish(from_row(c, row), column, block, used, finish)


@called
def _finish(c, first, rows, columns, finish):
    """Finish so many columns of c from `first` on, while they are in the cache."""
    for i in range(rows):
        row = matrix(c.buffer, c.at + i * c.row + first, 1, columns)[0]
        if finish.bias != NO_BIAS:
            bias = matrix(finish.buffer, finish.bias + first, 1, columns)[0]
            for j in range(columns):
                row[j] += bias[j]
        if finish.activates != 0:
            relu(row)


@called
def _multiply_panel(c, a, b, rows, terms, goes_on, columns):
    """The columns of c that one panel of b gives: a whole panel's width of them, or fewer."""
    lanes = VECTOR_BYTES // c.buffer.itemsize
    if columns == VECTORS * lanes:
        _multiply_wide(c, a, b, rows, terms, goes_on)
        return
    for column in range(0, columns, lanes):
        _multiply_edge(
            at(c, c.at + column), a, at(b, b.at + column), rows, terms, goes_on, columns - column
        )


@called
def _multiply_wide(c, a, b, rows, terms, goes_on):
    i = 0
    if ROWS == 8:
        while i + 8 <= rows:
            _wide_8(from_row(c, i), from_row(a, i), b, terms, goes_on, 0)
            i += 8
    while i + 4 <= rows:
        _wide_4(from_row(c, i), from_row(a, i), b, terms, goes_on, 0)
        i += 4
    if i + 2 <= rows:
        _wide_2(from_row(c, i), from_row(a, i), b, terms, goes_on, 0)
        i += 2
    if i < rows:
        _wide_1(from_row(c, i), from_row(a, i), b, terms, goes_on, 0)


@called
def _multiply_edge(c, a, b, rows, terms, goes_on, columns):
    i = 0
    while i + 8 <= rows:
        _edge_8(from_row(c, i), from_row(a, i), b, terms, goes_on, columns)
        i += 8
    if i + 4 <= rows:
        _edge_4(from_row(c, i), from_row(a, i), b, terms, goes_on, columns)
        i += 4
    if i + 2 <= rows:
        _edge_2(from_row(c, i), from_row(a, i), b, terms, goes_on, columns)
        i += 2
    if i < rows:
        _edge_1(from_row(c, i), from_row(a, i), b, terms, goes_on, columns)
