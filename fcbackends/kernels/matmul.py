"""Ordered matrix products of any size, blocked for the caches.

Each element of a product is summed in ascending order of the
terms, whatever the blocks.
"""

from __future__ import annotations

from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.tiles import ROWS, VECTOR_BYTES, VECTORS, Operand, copy_row, tile

_wide_8, _wide_4, _wide_2, _wide_1 = (tile(rows, VECTORS) for rows in (8, 4, 2, 1))
_edge_8, _edge_4, _edge_2, _edge_1 = (tile(rows, 1, masked=True) for rows in (8, 4, 2, 1))
_VECTORS_OF_ONE_ROW = 8
_long_1 = tile(1, _VECTORS_OF_ONE_ROW)

_PANEL_ROW_BYTES = VECTORS * VECTOR_BYTES

_TERMS_A_BLOCK = 256
"""So many rows of a panel of b, 32 KiB with 64-byte vectors, stay in the first-level cache."""

_ROWS_A_BLOCK = 256
"""So many rows of a block of a stay in the second-level cache."""

_FAR_APART_BYTES = 2048
"""Rows of b that lie so far apart share few sets of the cache and take a page or two each: their
panel is copied together first, which took a 512 x 1024 x 1024 product from 102 to 107 GFLOP/s."""

PANEL_BYTES = _TERMS_A_BLOCK * _PANEL_ROW_BYTES
"""Room for a panel that is copied together."""


@inlined
def moved(operand, row, column):
    """The part of a matrix that begins at this row and column."""
    at = operand.at + row * operand.row + column * operand.column
    return Operand(operand.buffer, at, operand.row, operand.column)


@called
def multiply(c, a, b, rows, terms, columns, panel):
    """C = a b, for rows x terms and terms x columns; without terms, c is zero.

    All are Operands, and `panel` is one with room for PANEL_BYTES.
    """
    if terms == 0:
        for i in range(rows):
            for j in range(columns):
                c.buffer[c.at + i * c.row + j] = 0
        return
    itemsize = c.buffer.itemsize
    start = 0
    if rows == 1:
        # One row has no other that hides its additions' latency: it takes more columns at once.
        width = _VECTORS_OF_ONE_ROW * VECTOR_BYTES // itemsize
        while start + width <= columns:
            _long_1(moved(c, 0, start), a, moved(b, 0, start), terms, False, 0)
            start += width
    width = _PANEL_ROW_BYTES // itemsize
    packs = rows >= 4 * ROWS and b.row * itemsize >= _FAR_APART_BYTES
    for row in range(0, rows, _ROWS_A_BLOCK):
        block = min(_ROWS_A_BLOCK, rows - row)
        for term in range(0, terms, _TERMS_A_BLOCK):
            depth = min(_TERMS_A_BLOCK, terms - term)
            a_here = moved(a, row, term)
            for column in range(start, columns, width):
                used = min(width, columns - column)
                b_here = moved(b, term, column)
                if packs:
                    copied = Operand(panel.buffer, panel.at, width, 1)
                    for p in range(depth):
                        copy_row(moved(copied, p, 0), moved(b_here, p, 0), used)
                    b_here = copied
                _multiply_panel(moved(c, row, column), a_here, b_here, block, depth, term > 0, used)


@called
def _multiply_panel(c, a, b, rows, terms, goes_on, columns):
    """The columns of c that one panel of b gives: a whole panel's width of them, or fewer."""
    lanes = VECTOR_BYTES // c.buffer.itemsize
    if columns == VECTORS * lanes:
        _multiply_wide(c, a, b, rows, terms, goes_on)
        return
    for column in range(0, columns, lanes):
        _multiply_edge(
            moved(c, 0, column), a, moved(b, 0, column), rows, terms, goes_on, columns - column
        )


@called
def _multiply_wide(c, a, b, rows, terms, goes_on):
    i = 0
    if ROWS == 8:
        while i + 8 <= rows:
            _wide_8(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, 0)
            i += 8
    while i + 4 <= rows:
        _wide_4(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, 0)
        i += 4
    if i + 2 <= rows:
        _wide_2(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, 0)
        i += 2
    if i < rows:
        _wide_1(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, 0)


@called
def _multiply_edge(c, a, b, rows, terms, goes_on, columns):
    i = 0
    while i + 8 <= rows:
        _edge_8(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, columns)
        i += 8
    if i + 4 <= rows:
        _edge_4(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, columns)
        i += 4
    if i + 2 <= rows:
        _edge_2(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, columns)
        i += 2
    if i < rows:
        _edge_1(moved(c, i, 0), moved(a, i, 0), b, terms, goes_on, columns)
