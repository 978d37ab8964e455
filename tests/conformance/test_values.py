"""What cases are drawn from: numbers of all magnitudes, and decisions."""

import numpy as np
import pytest

from fcbackends.conformance.values import FORMATS, MAGNITUDES, Draws
from tests.cases import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_numbers_fill_their_range(magnitude, dtype):
    low, high = MAGNITUDES[magnitude](FORMATS[dtype])
    form = FORMATS[dtype]
    values = Draws(0, 0).numbers((20_000,), dtype, magnitude)
    assert values.dtype == dtype
    bits = values.view(form.unsigned).astype(np.uint64)
    exponents = (bits >> np.uint64(form.mantissa_bits)) & np.uint64(2 * form.bias + 1)
    assert (int(exponents.min()), int(exponents.max())) == (low, high)
    assert 0.45 < np.signbit(values).mean() < 0.55


def test_a_case_asks_for_as_many_decisions_as_it_likes():
    draws, again = Draws(0, 0), Draws(0, 0)
    shares = [draws.share() for _ in range(300)]
    assert len(set(shares)) == 300
    assert [again.share() for _ in range(300)] == shares
