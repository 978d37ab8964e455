"""What goes between layers, and its gradient from what it gave, written down a second time.

Nothing here imports the package under test.
"""

import numpy as np

from tests.elementary_oracle import in_order


def _of_numbers(name):
    return lambda a: in_order(name, a).reshape(a.shape)


def _slope(a):
    return a.dtype.type(0.01)


def _one(a):
    return a.dtype.type(1)


def activations_of(ops):
    """By name: (a) -> h, and (dh, h) -> da; those of ReLU are the ops' own."""
    return {
        "relu": (ops.relu, ops.relu_backward),
        "leaky_relu": (
            lambda a: np.where(a >= 0, a, _slope(a) * a),
            lambda dh, h: np.where(h > 0, dh, _slope(dh) * dh),
        ),
        "tanh": (_of_numbers("tanh"), lambda dh, h: dh * (_one(h) - h * h)),
        "sigmoid": (_of_numbers("sigmoid"), lambda dh, h: dh * (h * (_one(h) - h))),
        "identity": (lambda a: a, lambda dh, h: dh),
    }


NAMES = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")


def of_each_layer(activation, layers):
    """The names for all layers: the last is not activated."""
    hidden = layers - 1
    names = (activation,) * hidden if isinstance(activation, str) else tuple(activation)
    assert len(names) == hidden
    return (*names, "identity")
