"""Coming from the notebook: its own expressions, as a loop over the samples that `train` draws."""

import itertools

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import linear_data, needs_jit, quick_first
from tests.oracle import assert_same_bits

W_TRUE = np.array([[3, 7, 4], [5, 2, 6]])
B_TRUE = np.array([2, 9, 3])
SEEDS = (0, 1, 7, 2**63 - 1)

pytestmark = needs_jit


def notebook(x, t, W, b, rows, dot):
    """The notebook's loop; only where the samples come from and the product z W are parameters."""
    W, b = W.copy(), b.copy()
    lr = 0.01
    loss = 1
    losses = []
    draws = iter(rows)
    while loss > 1e-20:
        n = next(draws)
        z, target = x[n], t[n]
        y = dot(z, W) + b
        dy = y - target
        loss = np.mean(np.sum(np.square(y - target), axis=-1))
        dw = np.dot(z.reshape(1, -1).T, dy.reshape(1, -1))
        db = dy
        W -= lr * dw
        b -= lr * db
        losses.append(loss)
    return W, b, losses


def two_rounded_products(z, W):
    """np.dot(z, W) with every product and sum rounded; BLAS may fuse the two."""
    return z[0] * W[0] + z[1] * W[1]


def both(seed, dot):
    """The notebook's run with the given product, and the package's with half its lr."""
    x, t = linear_data()
    ((W, b),) = fcb.init_params((2, 3), seed=seed)
    result = fcb.train(x, t, lr=0.005, tol=1e-20, seed=seed, record_every=1)
    rows = fcb.sample_indices(500, steps=result.steps + 1000, seed=seed)[:, 0].tolist()
    return notebook(x.astype(float), t.astype(float), W, b, rows, dot), result


@pytest.mark.parametrize("seed", SEEDS)
def test_the_notebooks_expressions_with_rounded_products_have_the_same_bits(seed):
    (W, b, losses), result = both(seed, two_rounded_products)
    assert len(losses) == result.steps
    assert_same_bits(np.array(losses), result.history.losses)
    assert_same_bits(((W, b),), result.params)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_notebooks_own_products_take_the_same_steps_to_the_same_weights(seed):
    (W, b, losses), result = both(seed, np.dot)
    assert len(losses) == result.steps
    assert result.stop_reason == "tolerance"
    ((w_here, b_here),) = result.params
    # Where BLAS fuses a product and a sum, y (up to 100) differs by a unit of its last place,
    # 1.4e-14, in some steps; the descent contracts such differences.
    np.testing.assert_allclose(W, w_here, rtol=0, atol=3e-14)
    np.testing.assert_allclose(b, b_here, rtol=0, atol=3e-14)
    x, rng = linear_data()[0].astype(float), np.random.default_rng(0)
    fused = any(
        not np.array_equal(np.dot(z, V), two_rounded_products(z, V))
        for z, V in itertools.product(x[:50], rng.standard_normal((50, 2, 3)))
    )
    if not fused:
        assert_same_bits(((W, b),), result.params)


@pytest.mark.parametrize("seed", quick_first(SEEDS, 1))
@pytest.mark.parametrize("tol_on", ["batch", "data"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_backends_stop_at_the_same_step_with_the_same_bits(seed, tol_on, dtype):
    x, t = linear_data()
    tol = {"float64": 1e-20, "float32": 1e-9}[dtype]
    run = dict(lr=0.005, tol=tol, tol_on=tol_on, max_steps=30_000, seed=seed, dtype=dtype)
    here = fcb.train(x, t, backend="numpy", **run)
    there = fcb.train(x, t, backend="numba", **run)
    assert (there.steps, there.stop_reason, there.loss) == (here.steps, "tolerance", here.loss)
    assert fcb.digest(there.params) == fcb.digest(here.params)
    assert_same_bits(there.history.losses, here.history.losses)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
def test_the_notebooks_weights_are_recovered(seed, sampling):
    x, t = linear_data()
    result = fcb.train(
        x, t, lr=0.005, tol=1e-20, tol_on="data", max_steps=10**6, sampling=sampling, seed=seed
    )
    assert result.stop_reason == "tolerance"
    ((w, b),) = result.params
    # The loss bounds the error: the smallest eigenvalue of the inputs' mean square is above 0.1.
    np.testing.assert_allclose(w, W_TRUE, rtol=0, atol=1e-9)
    np.testing.assert_allclose(b, B_TRUE, rtol=0, atol=1e-9)
