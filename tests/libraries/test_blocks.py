"""Sums over samples in blocks of rows, on other libraries' arrays."""

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.conformance.running import run_cases
from tests.blocks_oracle import ORACLES, in_blocks
from tests.cases import DTYPES, numbers, problem
from tests.oracle import assert_same_bits

of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@of_each_dtype
@pytest.mark.parametrize("arithmetic", ORACLES)
def test_gradients_and_losses_have_the_oracles_bits(library, arithmetic, dtype):
    rng = np.random.default_rng(1)
    for samples, size in ((1, 64), (65, 64), (129, 64), (200, 64), (23, 3)):
        x, w, dy = (numbers(rng, shape, dtype) for shape in ((samples, 5), (5, 3), (samples, 3)))
        how = dict(arithmetic=arithmetic, rows_per_block=size)
        oracle = in_blocks(ORACLES[arithmetic], size)
        got = fcb.fc_backward(*library.make((dy, x, w)), **how)
        assert_same_bits(library.plain(tuple(got)), oracle.backward(dy, x, w), f"{samples}")
        t = np.zeros_like(dy)
        got = fcb.mean_squared_loss(*library.make((dy, t)), **how)
        want = oracle.loss_and_gradient(dy, t, "mean_squared")
        assert_same_bits(library.plain(tuple(got)), want, f"{samples}")


@of_each_dtype
def test_a_training_has_numpys_bits(library, dtype):
    case = problem(2, (3, 9, 2), 150, dtype)
    weights = np.linspace(0.5, 2, 150).astype(dtype)
    how = dict(
        optimizer=fcb.Adam(), clip_norm=0.4, lr=0.05, batch_size=100, max_steps=6, dtype=dtype,
        sampling="epoch", tol=0.0, tol_on="data", record_every=2, rows_per_block=16,
    )  # fmt: skip
    given = case.x, case.t, case.params, weights

    def trained(values, **how):
        x, t, params, own = values
        return fcb.train(x, t, params=params, sample_weight=own, **how)

    want = trained(given, backend="numpy", **how)
    got = trained(library.make(given), **how)
    assert fcb.digest(got.params) == fcb.digest(want.params)
    assert got.history.losses.tolist() == want.history.losses.tolist()
    how["rows_per_block"] = None
    assert fcb.digest(trained(given, backend="numpy", **how).params) != fcb.digest(want.params)


def test_the_kit_finds_the_contracts_bits(library):
    tally = run_cases(library.backend.with_rows_per_block(7), 1, range(16), DTYPES)
    assert (tally.different, tally.level.name) == (0, "A") or library.name == "jax"
    assert tally.level.name in "AB"
