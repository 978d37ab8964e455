"""Negative controls: each way to break the contract is caught by the comparison the tests use."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.broken import (
    bias_first_forward,
    broken,
    contracted_forward,
    dividing_loss,
    flat_loss,
    masked_gradient,
    matmul_forward,
    maximum,
    pairwise_sums_backward,
    reversed_backward,
    reversed_forward,
    sum_from_zero_forward,
    unrounded_rate,
    wide_descent,
    widened_forward,
)
from tests.cases import DTYPES, assert_layer_agrees, assert_network_agrees, problem
from tests.oracle import fast


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "change",
    [
        {"forward": contracted_forward},
        {"forward": reversed_forward},
        {"forward": bias_first_forward},
        {"backward": pairwise_sums_backward},
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
        assert_layer_agrees(broken(forward=matmul_forward), fast, case)


def test_an_unrounded_learning_rate_is_caught_in_float32():
    case = problem(11, (12, 7), 30, "float32")
    for change in (wide_descent, unrounded_rate):
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
        {"forward": sum_from_zero_forward},
        {"relu": maximum},
        {"relu": lambda a: a * (a > 0)},
        {"relu_backward": masked_gradient},
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
