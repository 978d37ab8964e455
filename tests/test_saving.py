"""Model files: what is kept, what goes on to the bit, and what is refused."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import fcbackends as fcb
from fcbackends import tensor_files
from tests.cases import BACKENDS, DTYPES, environment, problem
from tests.oracle import assert_same_bits
from tests.test_optimizers import OPTIMIZERS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def about_and_tensors(path):
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["fcbackends"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_result_is_kept_whole(path, optimizer, dtype):
    case = problem(1, (3, 5, 4, 2), 20, dtype)
    result = fcb.train(
        case.x,
        case.t,
        params=case.params,
        activation=("tanh", "relu"),
        optimizer=optimizer,
        lr=0.01,
        max_steps=30,
        dtype=dtype,
        arithmetic="fused",
    )
    fcb.save(path, result)
    loaded = fcb.load(path)
    assert_same_bits(loaded.params, result.params)
    assert_same_bits(loaded.slots, result.slots)
    assert (loaded.activation, loaded.optimizer) == (("tanh", "relu"), optimizer)
    assert (loaded.steps, loaded.arithmetic, loaded.loss) == (30, "fused", "mean_squared")
    assert loaded.contract == fcb.CONTRACT_VERSION
    assert loaded.inputs is loaded.outputs is loaded.table is None


def test_parameters_alone_are_kept(path):
    fcb.save(path, [([[1, 2]], [3, 4]), ([[5], [6]], [7])], activation="sigmoid")
    loaded = fcb.load(path)
    assert (loaded.activation, loaded.steps, loaded.slots) == ("sigmoid", 0, ())
    assert loaded.params[0][0].dtype == np.float64
    want = fcb.predict(loaded.params, [2.0], activation="sigmoid")
    assert_same_bits(loaded.predict([2.0]), want)
    fcb.save(str(path), fcb.init_params((2, 1)))
    assert fcb.load(str(path)).activation == "relu"


def test_a_loaded_model_can_be_saved_again(path, tmp_path):
    case = problem(2, (3, 5, 2), 20, "float64")
    result = fcb.train(case.x, case.t, optimizer=fcb.Adam(), lr=0.01, max_steps=9)
    fcb.save(path, result, inputs=fcb.Scaling.fit(case.x))
    fcb.save(tmp_path / "again", fcb.load(path))
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_are_in_the_columns_own_units(path, dtype):
    case = problem(3, (3, 5, 2), 20, "float64")
    x, t = 100 * case.x + 7, 1e-3 * case.t - 5
    inputs, outputs = fcb.Scaling.fit(x), fcb.Scaling.fit(t)
    result = fcb.train(
        inputs.apply(x), outputs.apply(t), hidden=(4,), lr=0.01, max_steps=99, dtype=dtype
    )
    fcb.save(path, result, inputs=inputs, outputs=outputs)
    loaded = fcb.load(path)
    scaled = ((x - inputs.mean) / inputs.scale).astype(dtype)
    y = fcb.predict(result.params, scaled).astype("f8") * outputs.scale + outputs.mean
    for backend in BACKENDS:
        assert_same_bits(loaded.predict(x, backend=backend), y)
        assert_same_bits(loaded.predict(x[3], backend=backend), y[3])
    one_sided = fcb.SavedModel(loaded.params, inputs=inputs)
    assert_same_bits(one_sided.predict(x.tolist()), fcb.predict(result.params, scaled))


def test_predictions_are_in_the_library_of_the_inputs(path):
    strict = pytest.importorskip("array_api_strict")
    x = strict.asarray([[1.0, 2.0]])
    scaling = fcb.Scaling(np.zeros(2), np.ones(2))
    fcb.save(path, fcb.init_params((2, 2)), inputs=scaling, outputs=scaling)
    y = fcb.load(path).predict(x)
    assert type(y) is type(x)
    assert_same_bits(np.asarray(y), fcb.load(path).predict([[1.0, 2.0]]))


def test_native_networks_predict_in_order(path):
    case = problem(3, (70, 2), 20, "float64")
    native = fcb.train(case.x, case.t, lr=1e-3, max_steps=9, backend="numpy", arithmetic="native")
    fcb.save(path, native)
    assert fcb.load(path).arithmetic == "native"
    assert_same_bits(fcb.load(path).predict(case.x), fcb.predict(native.params, case.x))


# --- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_saved_training_goes_on_to_the_bit(path, optimizer, backend):
    case = problem(4, (2, 5, 3), 20, "float32")
    how = dict(batch_size=3, sampling="epoch", seed=5)
    make = dict(activation="tanh", optimizer=optimizer, lr=0.01, backend=backend)
    whole, first = (fcb.Trainer(case.params, **make) for _ in range(2))
    whole.run(case.x, case.t, max_steps=60, **how)
    result = first.run(case.x, case.t, max_steps=25, **how)
    for saved in (first, result):
        fcb.save(path, saved)
        second = fcb.load(path).trainer(lr=0.01, backend=backend)
        assert second.steps == 25
        second.run(case.x, case.t, max_steps=35, **how)
        assert_same_bits(second.state, whole.state)


def test_a_state_goes_from_one_backend_to_another_and_through_pickle():
    case = problem(5, (2, 5, 3), 20, "float64")
    one, other, whole = (
        fcb.Trainer(case.params, optimizer=fcb.Adam(), lr=0.01, backend=name)
        for name in ("numba", "numpy", "numba")
    )
    whole.run(case.x, case.t, max_steps=40)
    one.run(case.x, case.t, max_steps=20)
    state = one.state
    one.run(case.x, case.t, max_steps=20)
    other.state = pickle.loads(pickle.dumps(state))
    other.run(case.x, case.t, max_steps=20)
    assert other.steps == 40
    assert_same_bits(other.params, whole.params)
    assert_same_bits(one.params, whole.params)
    one.state = state
    for row in fcb.sample_indices(20, steps=20, start=20):
        one.step(case.x[row], case.t[row])
    assert_same_bits(one.params, whole.params)


GOES_ON = """
import sys
import numpy as np
import fcbackends as fcb
trainer = fcb.load(sys.argv[1]).trainer(lr=0.01)
x = np.arange(20.0).reshape(10, 2) / 10
trainer.run(x, x, max_steps=50)
print(fcb.digest(trainer.params), trainer.steps)
"""


def test_another_process_goes_on(path):
    x = np.arange(20.0).reshape(10, 2) / 10
    whole = fcb.train(x, x, hidden=(3,), optimizer=fcb.Adam(), lr=0.01, max_steps=100)
    half = fcb.train(x, x, hidden=(3,), optimizer=fcb.Adam(), lr=0.01, max_steps=50)
    fcb.save(path, half)
    ran = subprocess.run(
        [sys.executable, "-c", GOES_ON, str(path)],
        text=True,
        capture_output=True,
        check=True,
        env=environment(PYTHONPATH=Path(__file__).parents[1]),
    )
    assert ran.stdout == f"{fcb.digest(whole.params)} 100\n"


STATE = fcb.Trainer(fcb.init_params((2, 3)), optimizer=fcb.Adam(), lr=0.1).state
OTHER = fcb.Trainer(fcb.init_params((2, 4)), lr=0.1).state


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        (None, fcb.ArgumentTypeError, "`state` must be a `TrainerState`, got None"),
        (
            STATE._replace(steps=-1),
            fcb.ArgumentError,
            "`state.steps` must be an integer of at least 0, got -1",
        ),
        (
            STATE._replace(params=OTHER.params),
            fcb.ArgumentError,
            "`state` must hold layers [('float64', (2, 3))], got [('float64', (2, 4))]",
        ),
        (
            STATE._replace(slots=STATE.slots[:1]),
            fcb.ArgumentError,
            f"`state.slots` must be 2, as {fcb.Adam()} keeps beside the parameters, got 1",
        ),
        (
            STATE._replace(params=tuple((w * np.nan, b) for w, b in STATE.params)),
            fcb.ArgumentError,
            "`params` must be finite, got NaN or infinity among them",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, kind, text):
    trainer = fcb.Trainer(fcb.init_params((2, 3)), optimizer=fcb.Adam(), lr=0.1)
    with pytest.raises(kind) as raised:
        trainer.state = state
    assert str(raised.value) == text
    assert_same_bits(trainer.state, STATE)


def test_a_schedule_a_loss_and_a_bound_go_on(path):
    rng = np.random.default_rng(6)
    x, t = rng.standard_normal((20, 3)), rng.integers(0, 3, 20)
    rate = fcb.CosineRate(0.1, steps=60)
    how = dict(lr=rate, clip_norm=0.2)
    make = dict(loss="cross_entropy", optimizer=fcb.Adam(), **how)
    whole, half = (fcb.Trainer(fcb.init_params((3, 4, 3)), **make) for _ in range(2))
    whole.run(x, t, max_steps=60)
    fcb.save(path, half.run(x, t, max_steps=30))
    second = fcb.load(path).trainer(**how)
    assert second.loss == "cross_entropy"
    second.run(x, t, max_steps=30)
    assert_same_bits(second.state, whole.state)


# --- files ---------------------------------------------------------------------------------------

REQUIRED = "`path` must be a file written by `fcbackends.save` or `fcbackends train --out`, got"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(version=4), "version 4, and this is for version 3"),
        (dict(contract=99), f"contract version 99; this fcbackends knows {fcb.CONTRACT_VERSION}"),
        (dict(arithmetic="exact"), "arithmetic 'exact'"),
        (dict(loss="hinge"), "loss 'hinge'"),
        (dict(activation="gelu"), "`activation` must be one of "),
        (dict(optimizer={"name": "LBFGS"}), "no entry 'LBFGS'"),
        (dict(optimizer={"name": "Adam", "beta1": 2}), "`beta1` must be a number >= 0 and < 1"),
        (dict(optimizer={"name": "Adam"}), "an optimizer's arrays "),
        (dict(steps=-1), "`steps` must be an integer of at least 0, got -1"),
        (dict(table=[1]), "table [1]"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(path, change, text):
    fcb.save(path, fcb.init_params((2, 1)))
    about, tensors = about_and_tensors(path)
    del about["sha256"]
    tensor_files.write(path, "fcbackends", about | change, tensors)
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.load(path)
    assert str(raised.value).startswith(f"{REQUIRED} '{path}': {text}")


def test_what_is_no_such_file_is_refused(path):
    for content in (b"", b"hello, hello, hello", b"\x08" + bytes(7) + b"{}      "):
        path.write_bytes(content)
        with pytest.raises(fcb.ArgumentError) as raised:
            fcb.load(path)
        assert str(raised.value).startswith(f"{REQUIRED} '{path}': ")
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.load(path / "none")
    assert str(raised.value).startswith("`path` must be a readable file, got ")


def test_files_of_the_first_version_are_read(path):
    w, b = np.ones((2, 1)), np.ones(1)
    about = {"version": 1, "names": ["a", "b", "y"], "targets": [2]}
    save_file({"layer0.w": w, "layer0.b": b}, path, metadata={"fcbackends": json.dumps(about)})
    loaded = fcb.load(path)
    assert loaded.predict([1.0, 2.0]) == [4.0]
    assert loaded.table == {"names": ["a", "b", "y"], "targets": [2]}
    assert (loaded.contract, loaded.optimizer, loaded.steps) == (1, fcb.SGD(), 0)


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    fcb.save(path, fcb.init_params((2, 1)))
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        fcb.save(path, fcb.init_params((3, 1)))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


PARAMS = fcb.init_params((2, 1))
RESULT = fcb.train([[1.0]], [[1.0]], lr=0.1, max_steps=1)
WIDE = fcb.Scaling(np.zeros(3), np.ones(3))


@pytest.mark.parametrize(
    ("save", "kind", "text"),
    [
        (
            lambda path: fcb.save(path, 3),
            fcb.ArgumentTypeError,
            "`model` must be a TrainResult, a Trainer, a SavedModel or a sequence of (w, b) "
            "pairs, got int",
        ),
        (
            lambda path: fcb.save(path, RESULT, activation="relu"),
            fcb.ArgumentError,
            "`activation` must be left out where `model` is a TrainResult, got 'relu'",
        ),
        (
            lambda path: fcb.save(path, PARAMS, inputs=WIDE),
            fcb.ArgumentError,
            "`inputs` must be None or a `Scaling` of 2 columns, got one of shapes (3,) and (3,)",
        ),
        (
            lambda path: fcb.save(path, PARAMS, outputs=2.0),
            fcb.ArgumentTypeError,
            "`outputs` must be None or a `Scaling` of 1 columns, got float",
        ),
        (
            lambda path: fcb.save(path / "m", PARAMS),
            fcb.ArgumentError,
            "`path` must be in a folder that exists, got ",
        ),
        (
            lambda path: fcb.save(path.parent, PARAMS),
            fcb.ArgumentError,
            "`path` must be a file, got ",
        ),
    ],
)
def test_what_cannot_be_saved_is_refused(path, save, kind, text):
    with pytest.raises(kind) as raised:
        save(path)
    assert str(raised.value).startswith(text)
    assert list(path.parent.iterdir()) == []


def test_without_the_extra(path, monkeypatch):
    fcb.save(path, PARAMS)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: fcb.save(path, PARAMS), lambda: fcb.load(path)):
        with pytest.raises(ImportError) as raised:
            call()
        text = "model files and checkpoints need safetensors: install `fcbackends[cli]`"
        assert str(raised.value) == text


@pytest.mark.parametrize(
    ("x", "kind", "text"),
    [
        ([1.0], fcb.ArgumentError, "`x` must be of shape (N, K) and not empty, got shape (1,)"),
        (np.ones((0, 2)), fcb.ArgumentError, "`x` must be of shape (N, K) and not empty, got "),
        (
            [[1e200], [0.0]],
            fcb.ArgumentError,
            "`x` must have values whose squares are finite in float64, got a largest of 1e+200",
        ),
        ([["a"]], fcb.ArgumentTypeError, "`x` must hold float64, float32 or integer values, got "),
    ],
)
def test_a_scaling_of_such_values_is_refused(x, kind, text):
    with pytest.raises(kind) as raised:
        fcb.Scaling.fit(x)
    assert str(raised.value).startswith(text)
