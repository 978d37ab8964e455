"""The gradients are those of the loss: central differences, and exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, problem, quick_first
from tests.oracle import assert_same_bits


def central_differences(f, at, h=1.0):
    """(f(at + h e) - f(at - h e)) / 2h for every unit vector e: exact for a quadratic f."""
    out = np.empty_like(at)
    for i in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up) - f(down)) / (2 * h)
    return out


def one_layer(case, backend):
    (w, b), x, t = case.params[0], case.x, case.t

    def loss_of(w, b, x):
        y = fcb.fc_forward(x, w, b, backend=backend)
        return float(fcb.mean_squared_loss(y, t, backend=backend).loss)

    y = fcb.fc_forward(x, w, b, backend=backend)
    dy = fcb.mean_squared_loss(y, t, backend=backend).dy
    grads = fcb.fc_backward(dy, x, w, backend=backend)
    numeric = (
        central_differences(lambda v: loss_of(v, b, x), w),
        central_differences(lambda v: loss_of(w, v, x), b),
        central_differences(lambda v: loss_of(w, b, v), x),
    )
    return grads, numeric, dy, y, t


def relative_error(got, want):
    return np.max(np.abs(got - want)) / np.max(np.abs(want))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(2, 3), (1, 1), (7, 5), (20, 10), (40, 40)])
@pytest.mark.parametrize("batch", quick_first([1, 5, 70], 2))
def test_gradients_equal_central_differences_with_step_one(sizes, batch, backend):
    if sizes == (40, 40) and batch == 70:
        batch = 32
    grads, numeric, *_ = one_layer(problem(1, sizes, batch, "float64"), backend)
    for name, got, want in zip(("dw", "db", "dx"), grads, numeric, strict=True):
        # The loss is quadratic: such a difference has no error but the loss's own rounding.
        assert relative_error(got, want) < 1e-12, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("sizes", "batch"), [((2, 3), 1), ((6, 4), 8), ((5, 3), 32)])
def test_gradients_of_integers_equal_central_differences_exactly(sizes, batch, backend):
    case = problem(2, sizes, batch, "float64")
    # No rounding anywhere: small integers, and a batch that is a power of two.
    for a in (case.x, case.t, *case.params[0]):
        a[...] = np.rint(a * 5)
    grads, numeric, *_ = one_layer(case, backend)
    for got, want in zip(grads, numeric, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_gradient_is_that_of_the_loss(backend):
    case = problem(3, (4, 6), 9, "float64")
    _, _, dy, y, t = one_layer(case, backend)
    numeric = central_differences(
        lambda v: float(fcb.mean_squared_loss(v, t, backend=backend).loss), y
    )
    # As above: quadratic.
    assert relative_error(dy, numeric) < 1e-12


# --- deep networks -------------------------------------------------------------------------------


def gradients(params, x, t, backend):
    """Every layer's (dw, db), chained from the public functions."""
    inputs, sums, a = [], [], x
    for w, b in params:
        inputs.append(a)
        sums.append(fcb.fc_forward(a, w, b, backend=backend))
        a = fcb.relu(sums[-1])
    dy = fcb.mean_squared_loss(sums[-1], t, backend=backend).dy
    grads = []
    for layer in reversed(range(len(params))):
        dw, db, dx = fcb.fc_backward(dy, inputs[layer], params[layer][0], backend=backend)
        grads.insert(0, (dw, db))
        if layer:
            dy = fcb.relu_backward(dx, sums[layer - 1])
    return tuple(grads)


def exact(a):
    return [[Fraction(float(v)) for v in row] for row in a]


def exact_loss(params, x, t):
    """The loss in rational numbers, and the sign of every hidden sum."""
    signs = []
    for layer, (w, b) in enumerate(params):
        y = [
            [sum((p * w[k][m] for k, p in enumerate(row)), b[m]) for m in range(len(b))]
            for row in x
        ]
        if layer < len(params) - 1:
            signs.append([[v > 0 for v in row] for row in y])
            y = [[max(v, Fraction(0)) for v in row] for row in y]
        x = y
    total = sum((p - q) ** 2 for row, want in zip(x, t, strict=True)
                for p, q in zip(row, want, strict=True))  # fmt: skip
    return total / len(x), signs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(3, 4, 2), (2, 5, 3, 2)])
def test_deep_gradients_equal_exact_rational_differences(sizes, backend):
    case = problem(5, sizes, 4, "float64")
    grads = gradients(case.params, case.x, case.t, backend)
    network = [(exact(w), [Fraction(float(v)) for v in b]) for w, b in case.params]
    x, t = exact(case.x), exact(case.t)
    _, signs = exact_loss(network, x, t)
    # Between two kinks the loss is quadratic in each single weight: a central difference over a
    # step that crosses none is the exact derivative.
    h = Fraction(1, 2**40)
    for (w, b), (dw, db) in zip(network, grads, strict=True):
        scale = max(np.max(np.abs(dw)), np.max(np.abs(db)))
        for row, slopes in [*zip(w, dw, strict=True), (b, db)]:
            for i, slope in enumerate(slopes):
                row[i] += h
                up, signs_up = exact_loss(network, x, t)
                row[i] -= 2 * h
                down, signs_down = exact_loss(network, x, t)
                row[i] += h
                assert signs_up == signs_down == signs
                # What is left is the rounding of our own sums: some 2**-52 of the largest.
                assert abs(float((up - down) / (2 * h)) - slope) < 1e-13 * scale


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 4), (3, 8, 2), (5, 4, 6, 3)])
def test_a_step_goes_down_the_chained_gradients(sizes, dtype, backend):
    case = problem(6, sizes, 9, dtype)
    grads = gradients(case.params, case.x, case.t, backend)
    rate = np.dtype(dtype).type(0.1)
    want = tuple(
        (w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(case.params, grads, strict=True)
    )
    stepped = fcb.sgd_step(case.params, case.x, case.t, 0.1, backend=backend)
    assert_same_bits(stepped.params, want)


@pytest.mark.parametrize("backend", BACKENDS)
def test_relus_gradient_is_zero_at_the_kink_and_below(backend):
    # Both hidden units of the first sample stand at the kink, at +0.0 and at -0.0.
    params = (
        (np.array([[0.0, -0.0]]), np.array([0.0, -0.0])),
        (np.array([[1.0], [1.0]]), np.array([0.0])),
    )
    x, t = np.array([[1.0]]), np.array([[1.0]])
    new, loss = fcb.sgd_step(params, x, t, 0.5, backend=backend)
    assert float(loss) == 1.0
    assert_same_bits(new[0], params[0])
    np.testing.assert_array_equal(new[1][1], [1.0])
