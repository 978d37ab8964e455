"""Every array library gives NumPy's bits, keeps its arrays, and refuses what is not its own."""

import functools

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import DTYPES, LAYOUTS, laid_out, problem
from tests.oracle import assert_same_bits, fast, sample_indices

# Dask computes in threads of its own, where NumPy's error handling is the default.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning:dask")

CASES = [((2, 3), 1), ((5, 4), 9), ((3, 7, 2), 6), ((4, 5, 6, 3), 10)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "batch"), CASES)
def test_all_functions_have_the_oracles_bits(library, sizes, batch, dtype):
    case = problem(batch, sizes, batch, dtype, library.spice)
    params, x, t = library.make(case.params), library.make(case.x), library.make(case.t)
    (w, b), plain = params[0], library.plain
    y = fast.forward(case.x, *case.params[0])
    assert_same_bits(plain(fcb.fc_forward(x, w, b)), y)
    gradients = fast.backward(y, case.x, case.params[0][0])
    assert_same_bits(plain(fcb.fc_backward(library.make(y), x, w)), gradients)
    out = fast.predict(case.params, case.x)
    assert_same_bits(plain(fcb.predict(params, x)), out)
    loss = fcb.mean_squared_loss(library.make(out), t)
    assert_same_bits(plain(loss), fast.loss(out, case.t))
    assert_same_bits(plain(fcb.relu(x)), fast.relu(case.x))
    dy = case.x[::-1].copy()
    assert_same_bits(plain(fcb.relu_backward(library.make(dy), x)), fast.relu_backward(dy, case.x))
    want = fast.sgd_step(case.params, case.x, case.t, 0.3)
    assert_same_bits(plain(tuple(fcb.sgd_step(params, x, t, 0.3))), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_sample_has_the_oracles_bits(library, dtype):
    case = problem(3, (4, 5, 2), 1, dtype)
    params, x, t = map(library.make, (case.params, case.x[0], case.t[0]))
    plain, w = library.plain, case.params[0][0]
    assert_same_bits(plain(fcb.predict(params, x)), fast.predict(case.params, case.x)[0])
    want = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(plain(tuple(fcb.sgd_step(params, x, t, 0.1))), want)
    dy = fast.forward(case.x, *case.params[0])
    dw, db, dx = fast.backward(dy, case.x, w)
    got = fcb.fc_backward(library.make(dy[0]), x, params[0][0])
    assert_same_bits(plain(tuple(got)), (dw, db, dx[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_training_ends_on_the_digest_of_numpy_and_numba(library, dtype, sampling, tol_on):
    case = problem(4, (3, 6, 2), 15, dtype)
    run = dict(
        lr=0.05, batch_size=4, max_steps=40, sampling=sampling, tol_on=tol_on, tol=0.05, seed=2,
        dtype=dtype, record_every=3,
    )  # fmt: skip
    results = [
        fcb.train(library.make(case.x), library.make(case.t), **settings, **run)
        for settings in (dict(params=library.make(case.params)), dict(params=case.params))
    ]
    for name in ("numpy", "numba"):
        want = fcb.train(case.x, case.t, params=case.params, backend=name, **run)
        for got in results:
            assert_same_bits(library.plain(got.params), want.params)
            assert fcb.digest(got.params) == fcb.digest(want.params)
            assert (got.steps, got.stop_reason, got.loss) == (
                want.steps, want.stop_reason, want.loss,
            )  # fmt: skip
            assert got.history.losses.tolist() == want.history.losses.tolist()
    rows = sample_indices(15, want.steps, 4, sampling, 2)
    assert_same_bits(want.params, fast.train(case.params, case.x, case.t, rows, 0.05)[0])


def test_a_trainer_steps_and_runs_to_numpys_digest(library):
    case = problem(5, (3, 4, 2), 12, "float64")
    here = fcb.Trainer(case.params, lr=0.1, backend="numpy")
    there = fcb.Trainer(library.make(case.params), lr=0.1)
    assert there.backend.name == library.name
    for x, t in ((case.x[0], case.t[0]), (case.x[:5], case.t[:5]), (case.x[3], case.t[3])):
        assert there.step(library.make(x), library.make(t)) == here.step(x, t)
    assert here.run(case.x, case.t, max_steps=9).loss == (
        there.run(library.make(case.x), library.make(case.t), max_steps=9).loss
    )
    assert fcb.digest(there.params) == fcb.digest(here.params)
    library.plain(there.params)


def test_many_networks_have_numpys_digests(library):
    case = problem(6, (3, 4, 2), 9, "float32")
    run = dict(seed=[0, 1, 2], lr=[0.1, 0.2, 0.1], batch_size=2, max_steps=20, dtype="float32")
    rows = [np.arange(9), np.array([5, 1, 1, 7]), [8, 0]]
    for params in (None, case.params):
        want = fcb.train_many(case.x, case.t, rows=rows, params=params, backend="numpy", **run)
        given = None if params is None else library.make(params)
        own_rows = [library.make(rows[0]), *rows[1:]]
        x, t = library.make(case.x), library.make(case.t)
        got = fcb.train_many(x, t, rows=own_rows, params=given, **run)
        for one, other in zip(got, want, strict=True):
            assert fcb.digest(one.params) == fcb.digest(other.params)
            library.plain(one.params)


def test_a_run_that_diverges_keeps_the_last_finite_parameters(library):
    case = problem(7, (3, 4, 2), 9, "float64")
    run = dict(params=case.params, lr=50.0, max_steps=200)
    with pytest.raises(fcb.DivergenceError) as want:
        fcb.train(case.x, case.t, backend="numpy", **run)
    with pytest.raises(fcb.DivergenceError) as got:
        fcb.train(case.x, case.t, backend=library.name, **run)
    assert got.value.step == want.value.step
    assert fcb.digest(got.value.params) == fcb.digest(want.value.params)
    library.plain(got.value.params)


# --- what comes in -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_arrays_of_any_layout_are_taken_and_left_alone(library, layout, dtype):
    case = problem(8, (3, 4, 2), 7, dtype)
    given = [LAYOUTS[layout](a) for a in (case.x, case.t)]
    params = laid_out(case.params, LAYOUTS[layout])
    got = fcb.sgd_step(params, *given, 0.1, backend=library.name)
    want = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(library.plain(tuple(got)), want)
    beside = fcb.sgd_step(params, library.make(case.x), given[1], 0.1)
    assert_same_bits(library.plain(tuple(beside)), want)
    run = dict(params=params, lr=0.1, max_steps=5, batch_size=2, dtype=dtype)
    trained = fcb.train(*given, backend=library.name, **run)
    rows = sample_indices(7, 5, 2, "replacement", 0)
    trained_want, _ = fast.train(case.params, case.x, case.t, rows, 0.1)
    assert_same_bits(library.plain(trained.params), trained_want)
    for array, want in zip((*given, *params[1]), (case.x, case.t, *case.params[1]), strict=True):
        assert np.array_equal(array, want)


def test_memory_mapped_arrays_are_taken(library, tmp_path):
    case = problem(8, (3, 2), 7, "float64")
    np.save(tmp_path / "x.npy", case.x)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    got = fcb.predict(case.params, x, backend=library.name)
    assert_same_bits(library.plain(got), fast.predict(case.params, case.x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_are_cast_once(library, dtype):
    case = problem(9, (3, 4, 2), 1, dtype)
    x = np.array([[1, 2**40 + 1, -3], [0, 5, 2**62 - 1]])
    t = np.array([[1, 2], [3, 4]])
    want = fast.sgd_step(case.params, x.astype(dtype), t.astype(dtype), 1e-30)
    params = library.make(case.params)
    for given in ((x, t), (library.make(x), library.make(t)), (x, library.make(t))):
        assert_same_bits(library.plain(tuple(fcb.sgd_step(params, *given, 1e-30))), want)


def test_shapes_without_elements_work(library):
    make, plain = library.make, library.plain
    ones = functools.partial(np.ones, dtype=np.float32)
    for n, k, m in [(0, 3, 2), (4, 0, 2), (4, 3, 0), (0, 0, 2), (0, 3, 0)]:
        dy, x, w, b = ones((n, m)), ones((n, k)), ones((k, m)), ones(m)
        got = fcb.fc_forward(make(x), make(w), make(b))
        assert_same_bits(plain(got), fast.forward(x, w, b))
        got = fcb.fc_backward(make(dy), make(x), make(w))
        assert_same_bits(plain(tuple(got)), fast.backward(dy, x, w))
        assert_same_bits(plain(fcb.predict(((make(w), make(b)),), make(x))), fast.forward(x, w, b))
    loss = fcb.mean_squared_loss(make(ones((3, 0))), make(ones((3, 0))))
    assert_same_bits(plain(tuple(loss)), (np.float32(0), ones((3, 0))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_librarys_own_dtypes_are_known(library, dtype):
    own = getattr(library.module, dtype)
    result = fcb.train([[1.0], [2.0]], [[3.0], [5.0]], lr=0.1, max_steps=3, dtype=own)
    assert result.params[0][0].dtype == np.dtype(dtype)
    result = fcb.train(
        [[1.0], [2.0]], [[3.0], [5.0]], lr=0.1, max_steps=3, dtype=own, backend=library.name
    )
    assert library.plain(result.params)[0][0].dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "bool"])
def test_other_dtypes_are_refused(library, dtype):
    xp = library.module
    own = getattr(xp, dtype, None)
    if own is None:
        pytest.skip(f"{library.name} has no {dtype}")
    x = xp.zeros((5, 3), dtype=own)
    text = f"^`x` must hold float64, float32 or integer values, got dtype {dtype}"
    with pytest.raises(fcb.ArgumentTypeError, match=text):
        fcb.fc_forward(x, np.ones((3, 2)), np.ones(2))
    if dtype != "bool":
        text = f"^`dtype` must be one of 'float64', 'float32', got '{dtype}'"
        with pytest.raises(fcb.ArgumentError, match=text):
            fcb.train([[1.0]], [[1.0]], lr=0.1, dtype=own)


# --- what goes out -------------------------------------------------------------------------------


def test_results_share_no_memory_with_arguments(library):
    if library.name not in ("torch", "array_api_strict"):
        pytest.skip(f"arrays of {library.name} do not change")
    case = problem(10, (3, 2), 1, "float64")
    (w, b), x, t = library.make(case.params[0]), library.make(case.x), library.make(case.t)
    trainer = fcb.Trainer(((w, b),), lr=0.1)
    results = [
        fcb.fc_forward(x, w, b), fcb.fc_backward(t, x, w), fcb.mean_squared_loss(x, x),
        fcb.relu(x), fcb.relu_backward(t, t), fcb.predict(((w, b),), x),
        fcb.sgd_step(((w, b),), x, t, 0.1), trainer.params,
        fcb.train(x, t, params=((w, b),), lr=0.1, max_steps=1).params,
    ]  # fmt: skip
    before = [fcb.digest(result) for result in (results, trainer.params)]
    for array in (w, b, x, t):
        array[...] = 7.0
    assert [fcb.digest(result) for result in (results, trainer.params)] == before


def test_changing_the_numpy_arrays_given_to_a_trainer_changes_nothing(library):
    case = problem(11, (3, 2), 4, "float64")
    given = tuple((w.copy(), b.copy()) for w, b in case.params)
    trainer = fcb.Trainer(given, lr=0.1, backend=library.name)
    for pair in given:
        for array in pair:
            array[...] = 7.0
    trainer.step(case.x, case.t)
    want, _ = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(library.plain(trainer.params), want)


# --- arrays of two libraries ---------------------------------------------------------------------


PARAMS_NAMES = ("params[0].w", "params[0].b", "params[1].w", "params[1].b")

CALLS = {
    "fc_forward": (lambda a: fcb.fc_forward(a["x"], a["w"], a["b"]), ("x", "w", "b")),
    "fc_backward": (lambda a: fcb.fc_backward(a["h"], a["x"], a["w"]), ("dy", "x", "w")),
    "mean_squared_loss": (lambda a: fcb.mean_squared_loss(a["t"], a["t2"]), ("y", "t")),
    "relu_backward": (lambda a: fcb.relu_backward(a["t"], a["t2"]), ("dy", "a")),
    "predict": (lambda a: fcb.predict(a["params"], a["x"]), (*PARAMS_NAMES, "x")),
    "sgd_step": (
        lambda a: fcb.sgd_step(a["params"], a["x"], a["t"], 0.1), (*PARAMS_NAMES, "x", "t"),
    ),
    "train": (lambda a: fcb.train(a["x"], a["t"], lr=0.1), ("x", "t")),
    "train, params": (
        lambda a: fcb.train(a["x"], a["t"], params=a["params"], lr=0.1), ("x", "t", *PARAMS_NAMES),
    ),
    "train_many": (
        lambda a: fcb.train_many(a["x"], a["t"], seed=[0], lr=0.1, params=a["params"]),
        ("x", "t", *PARAMS_NAMES),
    ),
    "Trainer": (lambda a: fcb.Trainer(a["params"], lr=0.1), PARAMS_NAMES),
}  # fmt: skip


def all_arguments(make):
    case = problem(12, (3, 4, 2), 5, "float32")
    arguments = dict(x=case.x, t=case.t, t2=case.t, h=np.ones((5, 4), np.float32))
    made = {name: make(a) for name, a in arguments.items()}
    params = [[make(w), make(b)] for w, b in case.params]
    return {**made, "params": params, "w": params[0][0], "b": params[0][1]}


def with_last(arguments, call, other):
    """The arguments, the call's last one from `other`."""
    last = CALLS[call][1][-1]
    if last == "params[1].b":
        arguments["params"][1][1] = other["params"][1][1]
    elif call in ("relu_backward", "mean_squared_loss"):
        arguments["t2"] = other["t2"]
    else:
        arguments[last] = other[last]
    return arguments


def refusal(call, required, ours, others):
    names = CALLS[call][1]
    found = [ours] * (len(names) - 1) + [others]
    listed = ", ".join(f"`{name}`" for name in names)
    got = ", ".join(f"`{name}` {what}" for name, what in zip(names, found, strict=True))
    return f"{listed} must be {required}, got {got}"


@pytest.mark.parametrize("call", CALLS)
def test_a_mix_of_libraries_is_refused_by_name(library, call):
    if library.name == "array_api_strict":
        pytest.skip("this is the other one")
    other = all_arguments(lambda a: array_api_strict.asarray(np.array(a)))
    arguments = with_last(all_arguments(library.make), call, other)
    with pytest.raises(fcb.ArgumentTypeError) as caught:
        CALLS[call][0](arguments)
    assert str(caught.value) == refusal(
        call, "arrays of one library", library.name, "array_api_strict"
    )


def test_data_of_another_library_than_the_trainers_is_refused_by_name(library):
    if library.name == "array_api_strict":
        pytest.skip("this is the other one")
    case = problem(12, (3, 4, 2), 5, "float64")
    trainer = fcb.Trainer(library.make(case.params), lr=0.1)
    x, t = library.make(case.x), array_api_strict.asarray(case.t)
    text = f"`t` must be an array of backend '{library.name}' or of NumPy, got one of array_api_str"
    for call in (trainer.step, trainer.run):
        with pytest.raises(fcb.ArgumentTypeError, match=text):
            call(x, t)
    text = f"`x` must be an array of backend 'numba' or of NumPy, got one of {library.name}"
    with pytest.raises(fcb.ArgumentTypeError, match=text):
        fcb.predict(case.params, x, backend="numba")


# --- arrays of two devices -----------------------------------------------------------------------


def strict_devices():
    def there(a):
        return array_api_strict.asarray(np.array(a), device=array_api_strict.Device("device1"))

    def here(a):
        return array_api_strict.asarray(np.array(a))

    return here, there


def torch_devices():
    torch = pytest.importorskip("torch")
    return (
        lambda a: torch.asarray(np.array(a)), lambda a: torch.asarray(np.array(a), device="meta"),
    )  # fmt: skip


@pytest.mark.parametrize("devices", [strict_devices, torch_devices])
@pytest.mark.parametrize("call", CALLS)
def test_a_mix_of_devices_is_refused_by_name(devices, call):
    here, there = devices()
    first, second = all_arguments(here), all_arguments(there)
    names = [str(arguments["x"].device) for arguments in (first, second)]
    with pytest.raises(fcb.ArgumentError) as caught:
        CALLS[call][0](with_last(first, call, second))
    assert type(caught.value) is fcb.ArgumentError
    assert str(caught.value) == refusal(call, "on one device", *names)


@pytest.mark.parametrize("devices", [strict_devices, torch_devices])
def test_data_on_another_device_than_the_trainers_is_refused_by_name(devices):
    here, there = devices()
    case = problem(12, (3, 4, 2), 5, "float64")
    trainer = fcb.Trainer(tuple((here(w), here(b)) for w, b in case.params), lr=0.1)
    x, t = there(case.x), here(case.t)
    text = "^`x`, `t`, `params` must be on one device, got `x` .*, `t` .*, `params` "
    for call in (trainer.step, trainer.run):
        with pytest.raises(fcb.ArgumentError, match=text):
            call(x, t)


@pytest.mark.parametrize("given", ["x", "params", "both"])
def test_numpy_arrays_go_to_the_device_of_the_others(given):
    there = strict_devices()[1]
    case = problem(13, (3, 4, 2), 7, "float64")
    made = tuple((there(w), there(b)) for w, b in case.params)
    params = case.params if given == "x" else made
    x = case.x if given == "params" else there(case.x)
    rows = sample_indices(7, 5, 1, "replacement", 0)
    results = [
        (fcb.predict(params, x), fast.predict(case.params, case.x)),
        (tuple(fcb.sgd_step(params, x, case.t, 0.1)),
         fast.sgd_step(case.params, case.x, case.t, 0.1)),
        (fcb.train(x, case.t, params=params, lr=0.1, max_steps=5).params,
         fast.train(case.params, case.x, case.t, rows, 0.1)[0]),
        (fcb.train_many(x, case.t, params=params, lr=0.1, seed=[0], rows=[[0, 1, 2, 3, 4, 5, 6]],
                        max_steps=5)[0].params,
         fast.train(case.params, case.x, case.t, rows, 0.1)[0]),
    ]  # fmt: skip
    for got, want in results:
        assert_same_bits(on_host(got), want)
    if given != "params":
        drawn = fcb.train(x, case.t, lr=0.1, max_steps=5).params
        assert_same_bits(on_host(drawn), fcb.train(case.x, case.t, lr=0.1, max_steps=5).params)


def on_host(values):
    if isinstance(values, (tuple, list)):
        return tuple(on_host(value) for value in values)
    assert values.device == array_api_strict.Device("device1")
    return np.asarray(values.to_device(array_api_strict.Device("CPU_DEVICE")))
