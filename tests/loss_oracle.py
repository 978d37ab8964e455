"""Losses and their gradients, written down a second time, and networks that have them.

Nothing here imports the package under test.
"""

from types import SimpleNamespace

import numpy as np

from tests.elementary_oracle import in_order
from tests.oracle import constant, fast, network_of, quiet

OPS = ("forward", "backward", "relu", "relu_backward", "descend")


def in_turn(terms):
    """The sum from the first term on."""
    total, *rest = terms
    for term in rest:
        total = total + term
    return total


def squares(y, t):
    d = y - t
    return in_turn(d * d), d


def huber(y, t):
    d, a = y - t, abs(y - t)
    half, one = constant(0.5, y.dtype), constant(1, y.dtype)
    terms = [half * (v * v) if w <= 1 else w - half for v, w in zip(d, a, strict=True)]
    return in_turn(terms), np.where(a > 1, np.copysign(one, d), d)


def softmax(y):
    """Of one sample: what its logits are below the largest, the probabilities, and the sum."""
    z = y - np.max(y)
    e = in_order("exp", z)
    total = in_turn(e)
    return z, e * (constant(1, y.dtype) / total), total


def cross_entropy(y, t):
    z, p, total = softmax(y)
    of_targets = in_turn([v * w if v != 0 else v.dtype.type(0) for v, w in zip(t, z, strict=True)])
    return in_order("log", total[None])[0] - of_targets, p - t


def binary_cross_entropy(y, t):
    above = np.where(y > 0, y, y.dtype.type(0))
    terms = (above - t * y) + in_order("softplus", -abs(y))
    return in_turn(terms), in_order("sigmoid", y) - t


SAMPLES = {
    "mean_squared": (squares, 2.0),
    "huber": (huber, 1.0),
    "cross_entropy": (cross_entropy, 1.0),
    "binary_cross_entropy": (binary_cross_entropy, 1.0),
}
"""By name: (y, t) of one sample -> its loss, and its gradient but for a factor."""

NAMES = tuple(SAMPLES)


def loss_of(name, weighted=False, samples=SAMPLES):
    """(y, t) -> the mean loss and dy; weights of samples stand in t's last column."""
    of_sample, factor = samples[name]

    @quiet
    def loss(y, t):
        count, outputs = y.shape
        share = constant(factor / count, y.dtype)
        losses, dy = [], np.empty_like(y)
        for n in range(count):
            value, g = of_sample(y[n], t[n, :outputs])
            weight = t[n, outputs] if weighted else constant(1, y.dtype)
            losses.append(weight * value)
            dy[n] = g * (weight * share)
        return in_turn(losses) * constant(1 / count, y.dtype), dy

    return loss


@quiet
def probabilities(name, y):
    if name == "binary_cross_entropy":
        return in_order("sigmoid", y).reshape(y.shape)
    return np.array([softmax(row)[1] for row in y])


def network(name, weighted=False, ops=fast):
    """The oracle's network under a loss."""
    return network_of(
        SimpleNamespace(**{op: getattr(ops, op) for op in OPS}, loss=loss_of(name, weighted))
    )
