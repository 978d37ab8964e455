"""What the tests of elementary functions share: the ways to compute them, numbers and bounds."""

import array_api_strict
import numpy as np
import pytest

from fcbackends.kernels.elementary import ELEMENTWISE
from fcbackends.maths import elementary
from tests import elementary_oracle as oracle
from tests.cases import special_values

of_each = pytest.mark.parametrize("name", oracle.NAMES)

# --- ways ----------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def on_numpy(name, x):
    return getattr(elementary, name)(np, x)


@np.errstate(all="ignore")
def on_strict(name, x):
    return np.asarray(getattr(elementary, name)(array_api_strict, array_api_strict.asarray(x)))


def compiled(name, x):
    y = np.empty_like(x)
    ELEMENTWISE[name](x.dtype.name)(x, y)
    return y


WAYS = {"NumPy": on_numpy, "array_api_strict": on_strict, "compiled": compiled}

# --- numbers -------------------------------------------------------------------------------------


def around(values, dtype, each=6):
    """So many numbers below and above each."""
    rows = [np.array(values, dtype)]
    for side in (-np.inf, np.inf):
        row = rows[0]
        for _ in range(each):
            row = np.nextafter(row, dtype(side))
            rows.append(row)
    return np.sort(np.concatenate(rows))


def turns():
    """Where an algorithm goes from one way to another, or from one exponent to the next."""
    of_exp = [(k + 0.5) * np.log(2) for k in (*range(-6, 6), -1075, -1022, -151, -127, 127, 1023)]
    of_log = [2.0**k * np.sqrt(2) for k in (-1060, -1022, -150, -127, -2, -1, 0, 1, 9, 127, 1023)]
    of_scaling = [2.0**k for k in (-501, -500, 499, 500, -28, -29, -54, -53)]
    of_ends = [710.0, 709.782712893384, 745.1332191019412, 746.0, 88.72284, 103.97208, 22.0, 40.0]
    return [*of_exp, *of_log, *of_scaling, *of_ends, np.log(np.sqrt(2) - 1), 1.0]


def numbers_of_every_size(dtype, seed, count):
    """One number and more of every exponent, of both signs, and many of the sizes that occur."""
    info, rng = np.finfo(dtype), np.random.default_rng(seed)
    lowest = info.minexp - info.nmant
    exponents = np.arange(lowest, info.maxexp)
    each = (1 + rng.random(exponents.size)) * 2.0**exponents
    # The uniform numbers of NumPy lack the last bits.
    some = [
        rng.uniform(-size, size, count) * (1 + rng.random(count))
        for size in (0.1, 0.2, 1, 3, 20, 50, 375)
    ]
    return np.concatenate([each, -each, *some]).astype(dtype)


def all_sorts(name, dtype, count=200):
    kind = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        ends = around([s * v for v in turns() for s in (-1, 1)], kind, each=2)
        x = np.concatenate(
            [special_values(dtype), ends, numbers_of_every_size(dtype, 1, count)], dtype=kind
        )
    return np.concatenate([x, abs(x)]) if name == "log" else x


def of_full_length(seed, count):
    """Numbers from 1/2 to 2, each with bits in its last places."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1, count) * (1 + rng.random(count))


# --- bounds --------------------------------------------------------------------------------------

BOUNDS = {"exp": 0.7, "log": 0.75, "sigmoid": 0.7, "tanh": 0.8, "softplus": 0.75}
"""What the docstrings state, in units of the last place. The largest errors of ten million numbers
each were 0.64, 0.69, 0.64, 0.76 and 0.68."""
SUBNORMAL_BOUND = 0.8
"""Rounded twice; 0.77 was the largest."""
