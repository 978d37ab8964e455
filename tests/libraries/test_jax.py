"""JAX: compiled steps with exact bits, 64-bit values off by default, and tracing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.maths.network import Method
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast, sample_indices

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

HINT = (
    "`dtype` must be one that backend 'jax' has switched on, got float64 where it makes float32; "
    "jax.config.update('jax_enable_x64', True) switches it on"
)


def on_jax(values):
    return jax.tree.map(jnp.asarray, values)


def plain(values):
    return tuple(jax.tree.leaves(jax.tree.map(np.asarray, values)))


def flat(values):
    return tuple(jax.tree.leaves(values))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "batch"), [((1, 1), 1), ((2, 3), 1), ((3, 5, 2), 7)])
def test_compiled_steps_have_the_oracles_bits_in_a_thousand_cases(x64, sizes, batch, dtype):
    # Nearly every one of these differs where a product is contracted into its sum.
    backend = fcb.get_backend("jax")
    for seed in range(1000):
        case = problem(seed, sizes, batch, dtype)
        arrays = on_jax((case.params, case.x, case.t))
        got = backend.sgd_step(*arrays, Method(0.3 / (1 + seed)))
        want = fast.sgd_step(case.params, case.x, case.t, 0.3 / (1 + seed))
        assert_same_bits(plain(tuple(got)), flat(want))


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_functions_have_the_oracles_bits(x64, dtype):
    for seed in range(100):
        case = problem(seed, (9, 5), 4, dtype)
        (w, b), x, y = on_jax(case.params[0]), on_jax(case.x), on_jax(case.t)
        want = fast.forward(case.x, *case.params[0])
        assert_same_bits(plain(fcb.fc_forward(x, w, b)), (want,))
        want = fast.backward(case.t, case.x, case.params[0][0])
        assert_same_bits(plain(fcb.fc_backward(y, x, w)), want)
        assert_same_bits(
            plain(fcb.mean_squared_loss(y, x[:, :5])), fast.loss(case.t, case.x[:, :5])
        )


def test_infinities_nan_and_signed_zeros_are_kept(x64):
    values = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e300, -1e300])
    rng = np.random.default_rng(0)
    for _ in range(100):
        x, w, b, t = (rng.choice(values, shape) for shape in [(4, 3), (3, 2), 2, (4, 2)])
        for hidden in (False, True):
            params = ((w, b), (w[:2], b)) if hidden else ((w, b),)
            got = fcb.sgd_step(on_jax(params), on_jax(x), on_jax(t), 0.1)
            assert_same_bits(plain(tuple(got)), flat(fast.sgd_step(params, x, t, 0.1)))


def test_what_is_too_large_to_compile_has_the_same_bits(x64):
    case = problem(0, (600, 30, 2), 40, "float32")
    got = fcb.sgd_step(*on_jax((case.params, case.x, case.t)), 0.1)
    assert_same_bits(plain(tuple(got)), flat(fast.sgd_step(case.params, case.x, case.t, 0.1)))


def test_one_compiled_step_serves_all_learning_rates(x64):
    case = problem(0, (3, 11, 2), 5, "float64")
    args = on_jax((case.params, case.x, case.t))
    fcb.sgd_step(*args, 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "make_jaxpr", None)  # nothing is traced again
        for lr in (0.2, 0.3, 1e-3):
            got = fcb.sgd_step(*args, lr)
            want = fast.sgd_step(case.params, case.x, case.t, lr)
            assert_same_bits(plain(tuple(got)), flat(want))


def test_tracing_is_refused_but_for_native_arithmetic(x64):
    case = problem(1, (3, 2), 5, "float64")
    (w, b), x = on_jax(case.params[0]), on_jax(case.x)
    text = "^`backend` must be given arrays with values where it is 'jax' .within "
    for trace in (jax.jit, jax.grad, jax.vmap):
        with pytest.raises(fcb.ArgumentTypeError, match=text):
            trace(lambda x: fcb.predict(((w, b),), x).sum())(x)
    native = fcb.get_backend("jax", arithmetic="native")
    step = jax.jit(lambda params, x, t: fcb.sgd_step(params, x, t, 0.1, backend=native))
    params, _ = step(((w, b),), x, on_jax(case.t))
    want, _ = fast.sgd_step(case.params, case.x, case.t, 0.1)
    # Native sums run in no order that is known.
    np.testing.assert_allclose(params[0][0], want[0][0], rtol=1e-12)


def test_results_stay_jax_arrays_on_their_device(x64):
    case = problem(2, (3, 2), 5, "float64")
    run = fcb.train(on_jax(case.x), on_jax(case.t), lr=0.1, max_steps=3)
    assert all(isinstance(a, jax.Array) for a in flat(run.params))
    assert run.params[0][0].device == jnp.asarray(1.0).device


# --- without 64-bit values -----------------------------------------------------------------------


def test_float32_works_where_float64_is_off(recwarn):
    assert not jax.config.jax_enable_x64
    case = problem(3, (3, 4, 2), 6, "float32")
    rows = sample_indices(6, 20, 2, "epoch", 5)
    want, _ = fast.train(case.params, case.x, case.t, rows, 0.1)
    run = dict(lr=0.1, max_steps=20, batch_size=2, sampling="epoch", seed=5, dtype="float32")
    for backend, make in ((None, on_jax), ("jax", lambda a: a)):
        x, t, params = make(case.x), make(case.t), make(case.params)
        got = fcb.train(x, t, params=params, backend=backend, **run)
        assert_same_bits(plain(got.params), flat(want))
    integers = np.array([[1, 2**40 + 1, -3]])
    got = fcb.predict(on_jax(case.params), integers)
    assert_same_bits(np.asarray(got), fast.predict(case.params, integers.astype("f4")))
    got = fcb.train_many(case.x, case.t, rows=[[0, 1]], backend="jax", **run)
    assert got[0].steps == 20
    assert not recwarn.list


def test_float64_is_refused_where_it_is_off_with_how_to_switch_it_on(recwarn):
    assert not jax.config.jax_enable_x64
    case = problem(3, (3, 2), 6, "float64")
    single = on_jax(case.x.astype("f4"))
    for call in (
        lambda: fcb.train(case.x, case.t, lr=0.1, backend="jax"),
        lambda: fcb.train(single, single, lr=0.1),
        lambda: fcb.predict(case.params, case.x, backend="jax"),
        lambda: fcb.Trainer(case.params, lr=0.1, backend="jax"),
        lambda: fcb.sgd_step(case.params, jnp.ones((6, 3), int), case.t, 0.1),
        lambda: fcb.relu(jnp.ones((6, 3), int)),
    ):
        with pytest.raises(fcb.ArgumentTypeError) as caught:
            call()
        assert str(caught.value) == HINT
    text = "^`x`, `w` must be of one floating dtype, got `x` float32, `w` float64$"
    with pytest.raises(fcb.ArgumentTypeError, match=text):
        fcb.fc_forward(single, case.params[0][0], [1, 2])
    assert not recwarn.list


# --- several devices -----------------------------------------------------------------------------

TWO_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, pytest
import fcbackends as fcb
from fcbackends.maths.network import Method
from tests.cases import problem
jax.config.update("jax_enable_x64", True)
first, second = jax.devices()
case = problem(0, (3, 4, 2), 6, "float64")
want = fcb.train(case.x, case.t, params=case.params, lr=0.1, max_steps=7, batch_size=2)
x, t = (jax.device_put(a, second) for a in (case.x, case.t))
for params in (case.params, jax.device_put(case.params, second)):
    got = fcb.train(x, t, params=params, lr=0.1, max_steps=7, batch_size=2)
    assert fcb.digest(got.params) == fcb.digest(want.params)
    assert all(a.device == second for pair in got.params for a in pair)
assert fcb.train(x, case.t, lr=0.1, max_steps=3).params[0][0].device == second
got = fcb.train_many(x, t, lr=0.1, seed=[0], rows=[[2, 1]], max_steps=3)[0].params
assert got[0][0].device == second
text = "^`x`, `w` must be on one device, got `x` .*1, `w` .*0$"
with pytest.raises(fcb.ArgumentError, match=text):
    fcb.fc_forward(x, jax.device_put(case.params[0][0], first), case.params[0][1])
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("n",))
by_rows, whole = (
    jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in (("n",), ())
)
spread, params = jax.device_put(case.x, by_rows), jax.device_put(case.params, whole)
y = fcb.predict(params, spread)
assert fcb.digest(y) == fcb.digest(fcb.predict(case.params, case.x))
assert len(y.sharding.device_set) == 2
"""


def test_arrays_stay_on_the_second_of_two_devices():
    flags = "--xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_sum_of_no_terms_is_added_as_plus_zero(x64):
    x, w, b = jnp.zeros((2, 0)), jnp.zeros((0, 3)), jnp.full(3, -0.0)
    assert_same_bits(plain(fcb.fc_forward(x, w, b)), (np.zeros((2, 3)),))


def test_a_jitted_step_of_plain_jax_parts_where_products_are_fused(x64):
    def loss(params, x, t):
        ((w, b), (v, c)) = params
        return ((jnp.maximum(x @ w + b, 0) @ v + c - t) ** 2).sum(1).mean()

    @jax.jit
    def moved(params, x, t):
        return jax.tree.map(lambda p, d: p - 0.01 * d, params, jax.grad(loss)(params, x, t))

    def step(params, x, t):
        return moved(tuple(tuple(map(jnp.asarray, pair)) for pair in params), x, t)

    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((200, 6)), rng.standard_normal((200, 2))
    how = dict(hidden=(8,), lr=0.01, batch_size=16, max_steps=200)
    found = fcb.first_difference("numba", step, x, t, **how)
    assert (found.step, found.operation) == (1, "forward of layer 0")
    assert "products fused into sums" in found.causes
