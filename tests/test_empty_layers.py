"""Networks in which a layer has no inputs or no outputs: sums of no terms are +0.0 everywhere."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, DTYPES, problem
from tests.oracle import assert_same_bits, fast

pytestmark = pytest.mark.jit_off

SIZES = ((3, 0), (3, 4, 0), (0, 2), (0, 3, 2), (3, 0, 2), (3, 0, 0), (0, 0))


@pytest.mark.parametrize("backend", [*BACKENDS, "array_api_strict"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_empty_layers_have_the_contracts_bits(sizes, batch, dtype, backend):
    case = problem(4, tuple(max(n, 1) for n in sizes), batch, dtype)
    # The bias alone of a sum of no terms: +0.0 + -0.0 is +0.0.
    params = tuple(
        (w[:k, :m], np.where(np.arange(m) % 2 == 0, b[:m] * 0, -b[:m]))
        for (w, b), k, m in zip(case.params, sizes, sizes[1:], strict=False)
    )
    x, t = case.x[:, : sizes[0]], case.t[:, : sizes[-1]]
    with np.errstate(all="ignore"):
        want_y, (want_params, want_loss) = fast.predict(params, x), fast.sgd_step(params, x, t, 0.3)
    got = fcb.sgd_step(params, x, t, 0.3, backend=backend)
    assert_same_bits(np.asarray(fcb.predict(params, x, backend=backend)), want_y)
    assert_same_bits(np.asarray(got.loss), want_loss)
    for (w, b), (want_w, want_b) in zip(got.params, want_params, strict=True):
        assert_same_bits((np.asarray(w), np.asarray(b)), (want_w, want_b))
