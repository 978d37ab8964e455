"""Losses and their gradients, sample by sample and number by number, written down a second time.

Nothing here imports the package under test.
"""

import numpy as np

from tests.elementary_oracle import ordered as elementary


def _added(terms):
    total, *rest = terms
    for term in rest:
        total = total + term
    return total


def _of_number(name, value):
    return type(value)(getattr(elementary, name)(float(value)))


def _mean_squared(y, t):
    d = [a - b for a, b in zip(y, t, strict=True)]
    return _added([e * e for e in d]), d


def _huber(y, t):
    terms, gradient = [], []
    for a, b in zip(y, t, strict=True):
        d = a - b
        one, half = type(d)(1), type(d)(0.5)
        terms.append(half * (d * d) if abs(d) <= one else abs(d) - half)
        gradient.append(one if d > one else -one if d < -one else d)
    return _added(terms), gradient


def softmax(y):
    """z, each class's probability, and the sum of the exponentials."""
    z = [a - np.max(y) for a in y]
    e = [_of_number("exp", a) for a in z]
    total = _added(e)
    share = type(total)(1) / total
    return z, [a * share for a in e], total


def _cross_entropy(y, t):
    z, p, total = softmax(y)
    zero = type(total)(0)
    of_targets = _added([zero if b == 0 else b * a for a, b in zip(z, t, strict=True)])
    return _of_number("log", total) - of_targets, [a - b for a, b in zip(p, t, strict=True)]


def _binary_cross_entropy(y, t):
    terms, gradient = [], []
    for a, b in zip(y, t, strict=True):
        above = a if a > 0 else type(a)(0)
        terms.append((above - b * a) + _of_number("softplus", -abs(a)))
        gradient.append(_of_number("sigmoid", a) - b)
    return _added(terms), gradient


_LOSSES = {
    "mean_squared": (_mean_squared, 2),
    "huber": (_huber, 1),
    "cross_entropy": (_cross_entropy, 1),
    "binary_cross_entropy": (_binary_cross_entropy, 1),
}
NAMES = tuple(_LOSSES)


def loss_and_gradient(y, t, loss, weighted=False):
    """The loss of a batch, and its gradient; weights of samples are the last column of t."""
    of_sample, factor = _LOSSES[loss]
    real, (samples, outputs) = y.dtype.type, y.shape
    share = real(factor / samples)
    with np.errstate(all="ignore"):
        losses, dy = [], np.empty_like(y)
        for n in range(samples):
            value, gradient = of_sample(list(y[n]), list(t[n, :outputs]))
            if weighted:
                losses.append(t[n, outputs] * value)
                dy[n] = [g * (t[n, outputs] * share) for g in gradient]
            else:
                losses.append(value)
                dy[n] = [g * share for g in gradient]
        return _added(losses) * real(1 / samples), dy


def probabilities(y, loss):
    """What outputs stand for."""
    with np.errstate(all="ignore"):
        if loss == "cross_entropy":
            return np.array([softmax(list(row))[1] for row in y], y.dtype).reshape(y.shape)
        of_each = [_of_number("sigmoid", value) for value in y.ravel()]
        return np.array(of_each, y.dtype).reshape(y.shape)
