"""Elementary functions that differ by a constant, an order or a rounding are found."""

import numpy as np
import pytest

from fcbackends.kernels.libm import c_fma
from fcbackends.maths import elementary
from tests import elementary_oracle as oracle
from tests.elementary_cases import BOUNDS, around, compiled, of_full_length, on_numpy, turns
from tests.oracle import bits


def agrees(name, x):
    return bits(compiled(name, x)) == bits(on_numpy(name, x))


CONSTANTS = [("exp", "_EXP", i) for i in range(10)] + [("log", "_LOG", i) for i in range(7)]


@pytest.mark.parametrize(("name", "table", "index"), CONSTANTS)
def test_a_control_with_a_constant_changed_is_found(name, table, index, monkeypatch):
    x = of_full_length(6, 20_000)
    assert agrees(name, x)
    changed = list(getattr(elementary, table))
    # The first by their last bit, the others by what reaches the last bits of a result.
    changed[index] *= 1 + 2.0 ** min(-52 + 8 * index, -4)
    monkeypatch.setattr(elementary, table, tuple(changed))
    assert not agrees(name, x)


REDUCTION = {"_PER_LN2": 2.0**-52, "_LN2_HIGH": 2.0**-41, "_LN2_LOW": 2.0**-20, "_SQRT2": 2.0**-4}
"""Its constants, and by how much they are changed: others of their digits reach few results."""


@pytest.mark.parametrize("constant", REDUCTION)
def test_a_control_that_is_reduced_otherwise_is_found(constant, monkeypatch):
    ends = around(turns(), np.float64)
    x = np.concatenate([of_full_length(6, 20_000) * 300, abs(ends[np.isfinite(ends)])])
    assert agrees("exp", x)
    assert agrees("log", x)
    changed = getattr(elementary, constant) * (1 + REDUCTION[constant])
    monkeypatch.setattr(elementary, constant, changed)
    assert not (agrees("exp", x) and agrees("log", x))


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus"])
def test_a_control_that_fuses_products_and_sums_is_found(name, monkeypatch):
    x = of_full_length(7, 5000)
    assert agrees(name, x)
    fma = c_fma("float64")

    def fused(xp, x):
        k = xp.round(x * elementary._PER_LN2)
        h = x - k * elementary._LN2_HIGH
        r = fma(-k, elementary._LN2_LOW, h)
        p = np.zeros_like(r)
        for c in elementary._EXP[::-1]:
            p = fma(p, r, np.full_like(r, c))
        return k, h, 0.5 * (r * r) + fma(r * r * r, p, -k * elementary._LN2_LOW)

    monkeypatch.setattr(elementary, "_exponential", fused)
    assert not agrees(name, x)


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus"])
def test_a_control_that_loses_what_rounding_takes_misses_its_bound(name, monkeypatch):
    monkeypatch.setattr(elementary, "fast_two_sum", lambda a, b: (a + b, np.zeros_like(a + b)))
    x = of_full_length(8, 2000) * np.array([1, -1] * 1000)
    errors = [oracle.units(y, name, v) for y, v in zip(on_numpy(name, x), x, strict=True)]
    assert max(errors) > BOUNDS[name]
