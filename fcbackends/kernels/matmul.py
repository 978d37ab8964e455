"""Ordered matrix products of any size, blocked for the caches.

Each element of a product is summed in ascending order of the
terms, whatever the blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fcbackends.kernels.activations import relu_at_once
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.threads import is_set
from fcbackends.kernels.tiles import (
    GO_ON,
    OVERWRITTEN,
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    Operand,
    copy_row,
    tile,
)
from fcbackends.kernels.views import row

_wide, _wide_4, _wide_2, _wide_1 = (tile(rows, VECTORS) for rows in (ROWS, 4, 2, 1))
_edge_8, _edge_4, _edge_2, _edge_1 = (tile(rows, 1, masked=True) for rows in (8, 4, 2, 1))
PANELS_OF_ONE_ROW = 4
_long_1 = tile(1, PANELS_OF_ONE_ROW * VECTORS)

PANEL_ROW_BYTES = VECTORS * VECTOR_BYTES
"""What a panel, the columns that one tile goes through, has of a row."""

_TERMS_A_BLOCK = 256
"""So many rows of a panel of b, 32 KiB with 64-byte vectors, stay in the first-level cache."""

MOST_TERMS_THAT_JOIN = _TERMS_A_BLOCK

ROWS_A_BLOCK = 256
"""So many rows of a block of a stay in the second-level cache."""

_FAR_APART_BYTES = 1024
"""Rows of b that lie so far apart share few sets of the cache: their panel is copied together
first, which took a 512 x 1024 x 1024 product from 102 to 107 GFLOP/s."""

PANEL_BYTES = _TERMS_A_BLOCK * PANEL_ROW_BYTES
"""Room for a panel that is copied together."""


NO_BIAS = -1


class Epilogue(NamedTuple):
    """What becomes of a row of sums: a bias is added, and then it is activated.

    The bias stands at `bias` in the buffer, unless that is NO_BIAS.
    """

    buffer: Any
    bias: int
    activation: int


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


@called
def multiply(arithmetic, c, a, b, rows, terms, columns, panel, epilogue, stop, before=OVERWRITTEN):
    """c = a b, for rows x terms and terms x columns, and what `epilogue` makes of it.

    Up to MOST_TERMS_THAT_JOIN terms may also be summed to JOIN what stands in c `before`.

    Where the word at the address `stop` is set, the product is left unfinished.

    The matrices are Operands; c's columns stand side by side, b's in panels, and `panel` has room
    for PANEL_BYTES. Without terms, the sums are zero.
    """
    if terms == 0:
        for i in range(rows):
            for j in range(columns):
                c.buffer[c.at + i * c.row + j] = 0
        _finish(c, 0, rows, columns, epilogue)
        return
    itemsize = c.buffer.itemsize
    width = panel_width(itemsize)
    start = 0
    if rows == 1 and before == OVERWRITTEN:
        # One row has no other that hides its additions' latency: it takes more columns at once.
        long = PANELS_OF_ONE_ROW * width
        while start + long <= columns:
            if is_set(stop):
                return
            place = b.at + start // width * b.column
            _long_1(arithmetic, at(c, c.at + start), a, at(b, place), terms, OVERWRITTEN, 0)
            _finish(c, start, rows, long, epilogue)
            start += long
    packs = rows >= 4 * ROWS and b.row * itemsize >= _FAR_APART_BYTES
    for first in range(0, rows, ROWS_A_BLOCK):
        block = smaller(ROWS_A_BLOCK, rows - first)
        for term in range(0, terms, _TERMS_A_BLOCK):
            if is_set(stop):
                return
            depth = smaller(_TERMS_A_BLOCK, terms - term)
            earlier = GO_ON if term > 0 else before
            a_here = at(a, a.at + first * a.row + term * a.column)
            for column in range(start, columns, width):
                used = smaller(width, columns - column)
                c_here = at(c, c.at + first * c.row + column)
                b_here = at(b, b.at + term * b.row + column // width * b.column)
                if packs:
                    copied = Operand(panel.buffer, panel.at, width, 0)
                    for p in range(depth):
                        copy_row(from_row(copied, p), from_row(b_here, p), used)
                    b_here = copied
                _multiply_panel(arithmetic, c_here, a_here, b_here, block, depth, earlier, used)
                if term + depth == terms:
                    _finish(from_row(c, first), column, block, used, epilogue)


@called
def _finish(c, first, rows, columns, epilogue):
    """Finish so many columns of c from `first` on, while they are in the cache."""
    for i in range(rows):
        sums = row(c.buffer, c.at + i * c.row + first, columns)
        if epilogue.bias != NO_BIAS:
            bias = row(epilogue.buffer, epilogue.bias + first, columns)
            for j in range(columns):
                sums[j] += bias[j]
        relu_at_once(epilogue.activation, sums)


@called
def _multiply_panel(arithmetic, c, a, b, rows, terms, before, columns):
    """The columns of c that one panel of b gives: a whole panel's width of them, or fewer."""
    lanes = VECTOR_BYTES // c.buffer.itemsize
    if columns == VECTORS * lanes:
        _multiply_wide(arithmetic, c, a, b, rows, terms, before)
        return
    for column in range(0, columns, lanes):
        _multiply_edge(
            arithmetic,
            at(c, c.at + column),
            a,
            at(b, b.at + column),
            rows,
            terms,
            before,
            columns - column,
        )


@called
def _multiply_wide(arithmetic, c, a, b, rows, terms, before):
    i = 0
    while i + ROWS <= rows:
        _wide(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, 0)
        i += ROWS
    if i + 4 <= rows:
        _wide_4(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, 0)
        i += 4
    if i + 2 <= rows:
        _wide_2(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, 0)
        i += 2
    if i < rows:
        _wide_1(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, 0)


@called
def _multiply_edge(arithmetic, c, a, b, rows, terms, before, columns):
    i = 0
    while i + 8 <= rows:
        _edge_8(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, columns)
        i += 8
    if i + 4 <= rows:
        _edge_4(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, columns)
        i += 4
    if i + 2 <= rows:
        _edge_2(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, columns)
        i += 2
    if i < rows:
        _edge_1(arithmetic, from_row(c, i), from_row(a, i), b, terms, before, columns)
