"""Elementary functions on every array library: NumPy's bits."""

import array_api_compat
import numpy as np
import pytest

from fcbackends.maths import elementary
from tests.cases import DTYPES
from tests.elementary_cases import all_sorts, of_each, of_full_length, on_numpy
from tests.oracle import assert_same_bits

# Dask computes in threads of its own, where NumPy's error handling is the default.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")


def numbers(library, name, dtype):
    # Dask's blocks here are of two numbers.
    x = all_sorts(name, dtype)[:: 50 if library == "dask" else 1]
    x = x[: x.size // 2 * 2].reshape(2, -1)
    if library == "jax":  # which takes subnormals for zeros
        subnormal = np.finfo(dtype).smallest_normal
        y = on_numpy(name, x)
        x = np.where((abs(x) < subnormal) | (abs(y) < subnormal), np.asarray(1, dtype), x)
    return x


@of_each
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_library_has_numpys_bits(library, name, dtype):
    x = numbers(library.name, name, dtype)
    array = library.make(x)
    y = getattr(elementary, name)(array_api_compat.array_namespace(array), array)
    assert_same_bits(library.plain(y), on_numpy(name, x), name)


@of_each
@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_compiles_it_to_the_same_bits(x64, name, dtype):
    from fcbackends.backends.jax import _compiled

    jnp = pytest.importorskip("jax.numpy")
    x = numbers("jax", name, dtype)
    y = _compiled(lambda array: getattr(elementary, name)(jnp, array))(jnp.asarray(x))
    assert_same_bits(np.asarray(y), on_numpy(name, x), name)


@of_each
def test_contracted_the_bits_differ_and_the_error_is_as_small(x64, name):
    """A control; and what a function has, in native arithmetic, that JAX compiles by itself."""
    jnp = pytest.importorskip("jax.numpy")
    x = of_full_length(9, 50_000)
    y = np.asarray(x64.jit(lambda array: getattr(elementary, name)(jnp, array))(jnp.asarray(x)))
    want = on_numpy(name, x)
    assert 0 < (abs(y - want) / np.spacing(want)).max() <= 1
