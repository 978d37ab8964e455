"""Negative controls: each way to break the contract is caught by the comparison the tests use."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cases import DTYPES, assert_layer_agrees, assert_network_agrees, problem
from tests.oracle import constant, fast, network_of

LAYER_OPS = ("forward", "loss", "backward", "relu", "relu_backward", "descend")


def broken(**changes):
    ops = {name: getattr(fast, name) for name in LAYER_OPS}
    return network_of(SimpleNamespace(**{**ops, **changes}))


def _rounded(value, dtype):
    return np.dtype(dtype).type(float(value))


def contracted_forward(x, w, b):
    """Fused multiply-add: the product is not rounded on its own."""
    y = np.empty((len(x), w.shape[1]), x.dtype)
    for n in range(len(x)):
        for m in range(w.shape[1]):
            total = x[n, 0] * w[0, m]
            for k in range(1, x.shape[1]):
                exact = Fraction(float(x[n, k])) * Fraction(float(w[k, m]))
                total = _rounded(Fraction(float(total)) + exact, x.dtype)
            y[n, m] = total + b[m]
    return y


def reversed_forward(x, w, b):
    return fast.forward(x[:, ::-1], w[::-1], b)


def bias_first_forward(x, w, b):
    total = np.broadcast_to(b, (len(x), len(b)))
    for k in range(x.shape[1]):
        total = total + x[:, k, None] * w[k]
    return total


def widened_forward(x, w, b):
    """Extended precision inside the sum."""
    return fast.forward(*(a.astype(np.longdouble) for a in (x, w, b))).astype(x.dtype)


def library_sums_backward(dy, x, w):
    dw, _, dx = fast.backward(dy, x, w)
    return dw, np.sum(dy.T.copy(), axis=1), dx  # pairwise along the contiguous axis


def reversed_backward(dy, x, w):
    dw, db, _ = fast.backward(dy[::-1], x[::-1], w)
    return dw, db, fast.backward(dy, x, w)[2]


def flat_loss(y, t):
    """One sum over all values, not a sum of each sample's sum."""
    d = y - t
    total = None
    for square in (d * d).reshape(-1):
        total = square if total is None else total + square
    return total * constant(1 / len(y), y.dtype), fast.loss(y, t)[1]


def dividing_loss(y, t):
    total = fast.loss(y, t)[0] / constant(1 / len(y), y.dtype)
    return total / y.dtype.type(len(y)), (y - t) * y.dtype.type(2) / y.dtype.type(len(y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "change",
    [
        {"forward": contracted_forward},
        {"forward": reversed_forward},
        {"forward": bias_first_forward},
        {"backward": library_sums_backward},
        {"backward": reversed_backward},
        {"loss": flat_loss},
        {"loss": dividing_loss},
    ],
    ids=lambda change: next(iter(change.values())).__name__,
)
def test_a_wrong_rounding_or_order_is_caught(change, dtype):
    case = problem(11, (12, 7), 30, dtype)
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_layer_agrees(broken(**change), fast, case)
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_network_agrees(broken(**change), fast, case)


def test_extended_precision_is_caught():
    case = problem(11, (12, 7), 30, "float32")
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_layer_agrees(broken(forward=widened_forward), fast, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_librarys_matmul_is_caught(dtype):
    # Long sums: BLAS cuts them into blocks, whatever the CPU.
    case = problem(1, (3000, 16), 16, dtype)
    with pytest.raises(AssertionError, match=r"^y: .* values differ in their bits"):
        assert_layer_agrees(broken(forward=lambda x, w, b: x @ w + b), fast, case)


def test_an_unrounded_learning_rate_is_caught_in_float32():
    def descend(p, g, lr):
        return (p.astype(np.float64) - lr * g.astype(np.float64)).astype(p.dtype)

    def rate_only(p, g, lr):
        return (p - (lr * g.astype(np.float64)).astype(p.dtype)).astype(p.dtype)

    case = problem(11, (12, 7), 30, "float32")
    for change in (descend, rate_only):
        with pytest.raises(AssertionError, match=r"^params.* values differ in their bits"):
            assert_network_agrees(broken(descend=change), fast, case, lr=0.1)


def test_gradients_from_the_new_weights_are_caught():
    def sgd_step(params, x, t, lr):
        """The last layer first, and the one below from the last one's new weights."""
        new = list(params)
        for layer in reversed(range(len(params))):
            stepped, _ = fast.sgd_step(tuple(new), x, t, lr)
            new[layer] = stepped[layer]
        return tuple(new), fast.sgd_step(params, x, t, lr)[1]

    late = SimpleNamespace(predict=fast.predict, sgd_step=sgd_step)
    with pytest.raises(AssertionError, match=r"^params.* values differ in their bits"):
        assert_network_agrees(late, fast, problem(2, (4, 5, 3), 6, "float64"))


@pytest.mark.parametrize(
    "change",
    [
        {"forward": lambda x, w, b: fast.forward(x, w, b) + 0.0},
        {"relu": lambda a: np.maximum(a, 0.0) + 0.0},
        {"relu": lambda a: a * (a > 0)},
        {"relu_backward": lambda dy, a: dy * (a > 0)},
        {"relu_backward": lambda dy, a: np.where(a >= 0, dy, 0.0)},
    ],
    ids=["sum from +0", "maximum", "masked", "masked gradient", "gradient at zero"],
)
def test_a_swapped_zero_is_caught(change):
    case = problem(0, (1, 2), 4, "float64")
    case.x[:], case.params[0][0][:], case.params[0][1][:] = -0.0, 1.0, -0.0
    case.x[0], case.params[0][0][0, 1] = 1.0, -1.0
    case.t[:] = [[-1.0, 2.0]]
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_layer_agrees(broken(**change), fast, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flushed_subnormals_are_caught(dtype):
    def forward(x, w, b):
        y = fast.forward(x, w, b)
        return np.where(abs(y) < np.finfo(y.dtype).smallest_normal, y * y.dtype.type(0), y)

    case = problem(0, (1, 2), 4, dtype)
    case.x[0] = 3 * np.finfo(dtype).smallest_subnormal
    case.params[0][0][:], case.params[0][1][:] = 1, 0
    with pytest.raises(AssertionError, match=r"^y: 2 of 8 values differ"):
        assert_layer_agrees(broken(forward=forward), fast, case)
