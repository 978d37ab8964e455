"""Sums over samples in blocks of so many, whose sums are joined by a binary tree over their index.

As `fcbackends.maths.arithmetic.joined` has it: of n blocks' sums so far there waits one for each 1
in n, and a further one is joined by those that the number's last digits stand for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.matmul import (
    MOST_TERMS_THAT_JOIN,
    NO_BIAS,
    Epilogue,
    at,
    from_row,
    multiply,
)
from fcbackends.kernels.tiles import JOIN, OVERWRITTEN, Operand
from fcbackends.kernels.views import local, row

ONE_BLOCK = 2**63 - 1
"""So many rows in a block are all that there may be."""

_PARTS_A_THREAD = 4

_MOST_WAITING = 64
"""Of a number of blocks below 2**63."""

new_sums = local(_MOST_WAITING)
"""Room for the sums of numbers that wait."""


def most_waiting(rows: int, rows_per_block: int) -> int:
    """How many sums wait at most, where so many rows are several blocks; 0 where they are one."""
    blocks = -(-rows // rows_per_block)
    return (blocks - 1).bit_length() + 1 if blocks > 1 else 0


def parts_of(rows: int, rows_per_block: int, threads: int) -> tuple[int, int]:
    """The rows of a part that a thread of several sums apart, and how many parts there are.

    A part has as many blocks as a power of two, so that its sum is one of the tree's: as large a
    power as leaves each thread some, which then have about as much to do. One thread has no parts.
    """
    blocks, size = -(-rows // rows_per_block), 1
    if threads == 1 or blocks == 1:
        return ONE_BLOCK, 0
    while blocks >= 2 * _PARTS_A_THREAD * threads * size:
        size *= 2
    return size * rows_per_block, -(-blocks // size)


class Blocks(NamedTuple):
    """How many terms a block has, and where in a buffer the blocks' sums wait."""

    size: int
    buffer: Any
    at: int


# --- numbers -------------------------------------------------------------------------------------


class Running(NamedTuple):
    """A sum under way: how many sums wait, of how many blocks, and the terms of the next so far."""

    waiting: int
    done: int
    terms: int


@inlined
def no_terms():
    """Before the first term."""
    return Running(0, 0, 0)


@inlined
def join(sums, waiting, done):
    """Join what stands behind so many waiting sums, of the block of this number; what waits now."""
    while done % 2 == 0:
        waiting -= 1
        sums[waiting] = sums[waiting] + sums[waiting + 1]
        done //= 2
    return waiting + 1


@inlined
def joined(sums, waiting):
    """The sum of so many that wait."""
    total = sums[waiting - 1]
    for i in range(waiting - 2, -1, -1):
        total = sums[i] + total
    return total


@called
def sum_on(values, size, sums, running):
    """Go on with a sum, whose blocks are of so many terms, by some more terms."""
    waiting, done, terms = running
    count, n = values.shape[0], 0
    while n < count:
        end = n + smaller(size - terms, count - n)
        total = sums[waiting] + values[n] if terms > 0 else values[n]
        for i in range(n + 1, end):
            total = total + values[i]
        sums[waiting] = total
        terms += end - n
        n = end
        if terms == size:
            done += 1
            waiting, terms = join(sums, waiting, done), 0
    return Running(waiting, done, terms)


@inlined
def sum_of(sums, running):
    """A sum of at least one term."""
    return joined(sums, running.waiting + (1 if running.terms > 0 else 0))


@called
def _total_of_blocks(values, size):
    sums = new_sums(values)
    return sum_of(sums, sum_on(values, size, sums, no_terms()))


@inlined
def total_of(values, size):
    """The sum of at least one number."""
    if values.shape[0] > size:
        return _total_of_blocks(values, size)
    total = values[0]
    for n in range(1, values.shape[0]):
        total = total + values[n]
    return total


# --- rows and matrices ---------------------------------------------------------------------------


@inlined
def _place(blocks, first, number, length):
    """Where the sum of this number stands, of those that wait: from 1 on, in the blocks' room."""
    if number == 0:
        return first
    return Operand(blocks.buffer, blocks.at + (number - 1) * length, first.row, 1)


@inlined
def _add(to, other, length):
    """Add rows of numbers that stand one after another."""
    total, more = row(to.buffer, to.at, length), row(other.buffer, other.at, length)
    for i in range(length):
        total[i] = total[i] + more[i]


@inlined
def _join_rows(blocks, first, waiting, done, length):
    """As `join`, of rows of numbers."""
    while done % 2 == 0:
        waiting -= 1
        other = _place(blocks, first, waiting + 1, length)
        _add(_place(blocks, first, waiting, length), other, length)
        done //= 2
    return waiting + 1


@inlined
def _join_all(blocks, first, waiting, length):
    """The sum of all that wait comes in the place of the first."""
    for number in range(waiting - 1, 0, -1):
        other = _place(blocks, first, number, length)
        _add(_place(blocks, first, number - 1, length), other, length)


@called
def sum_rows(rows, out, blocks):
    """The sum of all rows of a matrix, at least one, in blocks."""
    count, length = rows.shape
    first = Operand(out, 0, length, 1)
    waiting = 0
    for start in range(0, count, blocks.size):
        place = _place(blocks, first, waiting, length)
        total = row(place.buffer, place.at, length)
        for n in range(start, start + smaller(blocks.size, count - start)):
            for m in range(length):
                total[m] = total[m] + rows[n, m] if n > start else rows[n, m]
        waiting = _join_rows(blocks, first, waiting, start // blocks.size + 1, length)
    _join_all(blocks, first, waiting, length)


@called
def multiply_in_blocks(arithmetic, c, a, b, rows, terms, columns, panel, stop, blocks):
    """c = a b as `multiply` has it, with sums of several blocks of terms, which are samples."""
    length = rows * columns
    joins = blocks.size <= MOST_TERMS_THAT_JOIN
    is_whole = c.row == columns
    first = c if is_whole else Operand(blocks.buffer, blocks.at, columns, 1)
    rest = Blocks(blocks.size, blocks.buffer, blocks.at + (0 if is_whole else length))
    waiting = 0
    for start in range(0, terms, blocks.size):
        done = start // blocks.size + 1
        # Every second block has its neighbour in the first-level cache, or in registers.
        in_pair = joins and done % 2 == 0
        multiply(
            arithmetic,
            _place(rest, first, waiting - 1 if in_pair else waiting, length),
            at(a, a.at + start * a.column),
            from_row(b, start),
            rows,
            smaller(blocks.size, terms - start),
            columns,
            panel,
            Epilogue(blocks.buffer, NO_BIAS, 0),
            stop,
            JOIN if in_pair else OVERWRITTEN,
        )
        if in_pair:
            waiting = _join_rows(rest, first, waiting - 1, done // 2, length)
        else:
            waiting = _join_rows(rest, first, waiting, done, length)
    _join_all(rest, first, waiting, length)
    for i in range(0 if is_whole else rows):
        total = row(blocks.buffer, blocks.at + i * columns, columns)
        to = row(c.buffer, c.at + i * c.row, columns)
        for j in range(columns):
            to[j] = total[j]


@inlined
def multiply_one_block(arithmetic, c, a, b, rows, terms, columns, panel, stop, blocks):
    """c = a b as `multiply` has it, of no more terms than a block has: it compiles to less."""
    multiply(arithmetic, c, a, b, rows, terms, columns, panel, Epilogue(c.buffer, NO_BIAS, 0), stop)


@inlined
def multiply_samples(arithmetic, c, a, b, rows, terms, columns, panel, stop, blocks):
    """c = a b as `multiply` has it, with sums of one block of terms, which are samples, or more."""
    if terms > blocks.size:
        multiply_in_blocks(arithmetic, c, a, b, rows, terms, columns, panel, stop, blocks)
    else:
        multiply_one_block(arithmetic, c, a, b, rows, terms, columns, panel, stop, blocks)
