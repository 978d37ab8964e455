"""The maths is written against the array API alone: it runs on the strict reference library."""

import array_api_strict as xp
import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.backends import array_api
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast, sample_indices

pytestmark = pytest.mark.jit_off

CASES = [((2, 3), 1), ((5, 4), 9), ((3, 7, 2), 6), ((4, 5, 6, 3), 10)]


@pytest.fixture(autouse=True, params=["default", "narrow"])
def flags(request):
    """Under the library's defaults, and with every optional part of the standard off."""
    if request.param == "narrow":
        with xp.ArrayAPIStrictFlags(
            boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
        ):
            yield
    else:
        yield


def strict(a, device=None):
    if isinstance(a, (tuple, list)):
        return tuple(strict(item, device) for item in a)
    return xp.asarray(a, device=device)


def plain(a, device=None):
    """The strict arrays as NumPy's; fails where one is of another library or device."""
    if isinstance(a, (tuple, list)):
        return tuple(plain(item, device) for item in a)
    assert type(a) is type(xp.asarray(0.0)), type(a)
    if device is not None:
        assert a.device == device
        a = xp.asarray(a, device=xp.Device("CPU_DEVICE"))
    return np.asarray(a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "batch"), CASES)
@pytest.mark.parametrize("spice", [0.0, 0.2])
def test_all_numerics_have_the_oracles_bits_on_strict_arrays(sizes, batch, dtype, spice):
    case = problem(batch, sizes, batch, dtype, spice)
    params, x, t = strict(case.params), strict(case.x), strict(case.t)
    (w, b), (w_plain, b_plain) = params[0], case.params[0]
    y = fast.forward(case.x, w_plain, b_plain)
    assert_same_bits(plain(fcb.fc_forward(x, w, b)), y)
    grads = fast.backward(y, case.x, w_plain)
    assert_same_bits(plain(fcb.fc_backward(strict(y), x, w)), grads)
    out = fast.predict(case.params, case.x)
    assert_same_bits(plain(fcb.predict(params, x)), out)
    assert_same_bits(plain(fcb.mean_squared_loss(strict(out), t)), fast.loss(out, case.t))
    assert_same_bits(plain(fcb.relu(x)), fast.relu(case.x))
    assert_same_bits(
        plain(fcb.relu_backward(strict(case.x[::-1].copy()), x)),
        fast.relu_backward(case.x[::-1], case.x),
    )
    new, loss = fcb.sgd_step(params, x, t, 0.3)
    want = fast.sgd_step(case.params, case.x, case.t, 0.3)
    assert_same_bits(plain((new, loss)), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_sample_on_strict_arrays(dtype):
    case = problem(3, (4, 5, 2), 1, dtype)
    params, x, t = strict(case.params), strict(case.x[0]), strict(case.t[0])
    assert_same_bits(plain(fcb.predict(params, x)), fast.predict(case.params, case.x)[0])
    want = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(plain(tuple(fcb.sgd_step(params, x, t, 0.1))), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
def test_training_on_strict_arrays_has_the_oracles_bits(dtype, sampling):
    case = problem(4, (3, 6, 2), 15, dtype)
    want, losses = fast.train(
        case.params, case.x, case.t, sample_indices(15, 40, 4, sampling, 2), 0.05
    )
    result = fcb.train(
        strict(case.x), strict(case.t), params=strict(case.params), lr=0.05, batch_size=4,
        max_steps=40, sampling=sampling, seed=2, dtype=dtype, record_every=1,
    )  # fmt: skip
    assert_same_bits(plain(result.params), want)
    assert_same_bits(np.asarray(result.history.losses, dtype), losses)


def test_training_strict_arrays_on_the_whole_datas_loss_equals_numpy():
    case = problem(5, (3, 4, 2), 12, "float64")
    settings = dict(params=case.params, lr=0.05, batch_size=3, max_steps=60, tol_on="data", tol=1.0)
    here = fcb.train(case.x, case.t, backend="numpy", **settings)
    settings["params"] = strict(case.params)
    there = fcb.train(strict(case.x), strict(case.t), **settings)
    assert (there.steps, there.stop_reason, there.loss) == (
        here.steps,
        here.stop_reason,
        here.loss,
    )
    assert_same_bits(plain(there.params), here.params)


@pytest.mark.parametrize("dtype", DTYPES)
def test_integer_strict_arrays_are_cast_once(dtype):
    case = problem(9, (3, 4, 2), 1, dtype)
    x = np.array([[1, 2**40 + 1, -3], [0, 5, 2**62 - 1]])
    t = np.array([[1, 2], [3, 4]])
    xf, tf = x.astype(dtype), t.astype(dtype)
    got = fcb.sgd_step(strict(case.params), strict(x), strict(t), 1e-30)
    assert_same_bits(plain(tuple(got)), fast.sgd_step(case.params, xf, tf, 1e-30))
    result = fcb.train(
        strict(x % 7), strict(t), params=strict(case.params), lr=0.01, max_steps=9, dtype=dtype
    )
    rows = sample_indices(2, 9, 1, "replacement", 0)
    want, _ = fast.train(case.params, (x % 7).astype(dtype), tf, rows, 0.01)
    assert_same_bits(plain(result.params), want)


def test_results_stay_on_their_device():
    device = xp.Device("device1")
    case = problem(6, (3, 4, 2), 7, "float64")
    params, x, t = (strict(a, device) for a in (case.params, case.x, case.t))
    assert_same_bits(plain(fcb.predict(params, x), device), fast.predict(case.params, case.x))
    want = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(plain(tuple(fcb.sgd_step(params, x, t, 0.1)), device), want)
    run = fcb.train(x, t, params=params, lr=0.1, max_steps=5)
    rows = sample_indices(7, 5, 1, "replacement", 0)
    assert_same_bits(
        plain(run.params, device), fast.train(case.params, case.x, case.t, rows, 0.1)[0]
    )


def test_native_arithmetic_runs_on_strict_arrays():
    native = fcb.get_backend("array_api_strict", arithmetic="native")
    case = problem(7, (3, 4, 2), 7, "float64")
    out = plain(fcb.predict(strict(case.params), strict(case.x), backend=native))
    hidden = np.maximum(case.x @ case.params[0][0] + case.params[0][1], 0)
    # Both multiply with NumPy's BLAS, whose sums may depend on the layout of what they are given.
    np.testing.assert_allclose(out, hidden @ case.params[1][0] + case.params[1][1], rtol=1e-13)


def test_strict_results_compare_and_digest_like_numpys():
    case = problem(8, (3, 4, 2), 7, "float32", spice=0.1)
    assert fcb.compare(strict(case.params), case.params) == (True, 0, 0, None)
    assert fcb.digest(strict(case.params)) == fcb.digest(case.params)


def test_a_library_that_narrows_a_dtype_without_a_word_is_refused(monkeypatch):
    made = xp.asarray

    def narrow(values, dtype=None, **options):
        array = made(values, dtype=dtype, **options)
        return xp.astype(array, xp.float32) if array.dtype == xp.float64 else array

    monkeypatch.setattr(xp, "asarray", narrow)
    narrowing, *_ = array_api.namespace_backends(xp, "narrowing")
    text = r"^`dtype` must be one that backend 'narrowing' has switched on, got float64 where it"
    with pytest.raises(fcb.ArgumentTypeError, match=text):
        fcb.train([[1.0]], [[2.0]], lr=0.1, max_steps=1, backend=narrowing)
