"""The oracle with sums over samples in blocks, whose sums are joined by the tree as it is defined.

What a block is summed to is the oracle's own; the tree is a recursion, which no code of the product
has.
"""

from types import SimpleNamespace

import numpy as np

from tests.fused_oracle import fused
from tests.oracle import constant, fast, network_of, quiet

ORACLES = {"ordered": fast, "fused": fused}
_OF_LAYERS = (
    "forward",
    "loss",
    "loss_and_gradient",
    "backward",
    "relu",
    "relu_backward",
    "descend",
)


def tree(parts):
    """The sum of at least one part: of the first half, a power of two of them, and of the rest."""
    if len(parts) == 1:
        return parts[0]
    half = 1
    while 2 * half < len(parts):
        half *= 2
    return tree(parts[:half]) + tree(parts[half:])


def ascending(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def blocks_of(rows, size):
    return [slice(first, first + size) for first in range(0, rows, size)]


def in_blocks(ops, size):
    """The functions of an oracle, with blocks of so many samples."""

    @quiet
    def backward(dy, x, w):
        parts = [ops.backward(dy[b], x[b], w) for b in blocks_of(len(x), size)]
        dw, db, dx = zip(*parts, strict=True)
        return tree(dw), tree(db), np.concatenate(dx)

    @quiet
    def loss_and_gradient(y, t, loss, weighted=False):
        _, dy = ops.loss_and_gradient(y, t, loss, weighted)
        samples = range(len(y))
        each = [ops.loss_and_gradient(y[[n]], t[[n]], loss, weighted)[0] for n in samples]
        total = tree([ascending(each[b]) for b in blocks_of(len(y), size)])
        return total * constant(1 / len(y), y.dtype), dy

    own = {name: getattr(ops, name) for name in _OF_LAYERS}
    own |= dict(
        backward=backward,
        loss_and_gradient=loss_and_gradient,
        loss=lambda y, t: loss_and_gradient(y, t, "mean_squared"),
    )
    return network_of(SimpleNamespace(**own))
