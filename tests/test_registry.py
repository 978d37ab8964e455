"""Which backend a call gets, and how backends are added."""

import asyncio
import contextlib
import dataclasses
import threading

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import problem

X, W, B = np.ones((1, 2)), np.ones((2, 3)), np.zeros(3)
VARIABLE = "FCBACKENDS_BACKEND"


class Spy:
    """Backends that note their name when they compute."""

    def __init__(self):
        self.used = []

    def backend(self, name):
        numpy = fcb.get_backend("numpy")

        def fc_forward(x, w, b):
            self.used.append(name)
            return numpy.fc_forward(x, w, b)

        return dataclasses.replace(numpy, name=name, fc_forward=fc_forward)

    def __call__(self, x=X, w=W, b=B, **keywords):
        """The name of the spy that a call got, or None."""
        self.used.clear()
        fcb.fc_forward(x, w, b, **keywords)
        return self.used[0] if self.used else None


@pytest.fixture
def spy():
    spy = Spy()
    for name in ("spy-a", "spy-b", "spy-c", "spy-d"):
        fcb.register_backend(name, lambda name=name: spy.backend(name))
    return spy


# --- order of selection --------------------------------------------------------------------------


def test_keyword_then_block_then_environment_then_library(spy, monkeypatch):
    assert spy() is None
    assert fcb.get_backend().name == "numba"
    monkeypatch.setenv(VARIABLE, "spy-c")
    assert spy() == "spy-c"
    with fcb.use_backend("spy-b"):
        assert spy() == "spy-b"
        assert spy(backend="spy-a") == "spy-a"
        assert spy(backend=spy.backend("spy-d")) == "spy-d"
        assert spy(backend="numpy") is None
    assert spy() == "spy-c"
    assert spy(backend="spy-a") == "spy-a"
    assert fcb.get_backend().name == "spy-c"


def test_the_environment_is_read_at_the_call(spy, monkeypatch):
    for name in ("spy-a", "spy-b"):
        monkeypatch.setenv(VARIABLE, name)
        assert spy() == name
    monkeypatch.setenv(VARIABLE, "")
    assert spy() is None
    assert fcb.get_backend().name == "numba"
    monkeypatch.setenv(VARIABLE, "numpy")
    assert fcb.get_backend().name == "numpy"
    assert fcb.Trainer(fcb.init_params((2, 1)), lr=0.1).backend.name == "numpy"


def test_arrays_go_to_their_own_library():
    case = problem(0, (2, 3), 4, "float64")
    assert fcb.Trainer(case.params, lr=0.1).backend.name == "numba"
    strict = tuple(tuple(array_api_strict.asarray(a) for a in pair) for pair in case.params)
    assert fcb.Trainer(strict, lr=0.1).backend.name == "array_api_strict"
    mixed = fcb.fc_forward(case.x, strict[0][0], case.params[0][1])
    assert type(mixed) is type(strict[0][0])
    assert type(fcb.fc_forward([[1, 2]], [[1], [2]], [0])) is np.ndarray


def test_every_function_takes_the_keyword_and_the_block():
    case = problem(1, (2, 3), 4, "float64")
    (w, b), x, t = case.params[0], case.x, case.t
    calls = [
        lambda **k: fcb.fc_forward(x, w, b, **k),
        lambda **k: fcb.fc_backward(t, x, w, **k),
        lambda **k: fcb.mean_squared_loss(t, t, **k),
        lambda **k: fcb.predict(case.params, x, **k),
        lambda **k: fcb.sgd_step(case.params, x, t, 0.1, **k),
        lambda **k: fcb.train(x, t, lr=0.1, max_steps=2, **k),
        lambda **k: fcb.Trainer(case.params, lr=0.1, **k),
    ]

    def not_these(*_):
        raise ZeroDivisionError

    functions = [f.name for f in dataclasses.fields(fcb.Backend) if "a" < f.name[0] <= "z"]
    keep = {"name", "arithmetic", "asarray", "owns"}
    broken = dataclasses.replace(
        fcb.get_backend("numpy"), **{f: not_these for f in functions if f not in keep}
    )
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            call(backend=broken)
        with fcb.use_backend(broken), pytest.raises(ZeroDivisionError):
            call()
        with fcb.use_backend(broken):
            call(backend="numpy")


# --- the with-block ------------------------------------------------------------------------------


def test_blocks_nest_and_end_with_an_exception(spy):
    with fcb.use_backend("spy-a") as outer:
        assert outer is fcb.get_backend()
        with contextlib.suppress(KeyError), fcb.use_backend("spy-b"):
            assert spy() == "spy-b"
            raise KeyError
        assert spy() == "spy-a"
        with pytest.raises(fcb.ArgumentError), fcb.use_backend("nothing"):
            pass
        assert spy() == "spy-a"
        with fcb.use_backend(spy.backend("spy-d")):
            assert spy() == "spy-d"
        assert spy() == "spy-a"
    assert spy() is None


def test_a_block_holds_in_its_own_thread_only(spy):
    seen, inside, outside = {}, threading.Event(), threading.Event()

    def other():
        seen["before"] = fcb.get_backend().name
        with fcb.use_backend("spy-b"):
            inside.set()
            outside.wait(10)
            seen["inside"] = fcb.get_backend().name
        seen["after"] = fcb.get_backend().name

    thread = threading.Thread(target=other)
    with fcb.use_backend("spy-a"):
        thread.start()
        inside.wait(10)
        assert fcb.get_backend().name == "spy-a"
        outside.set()
        thread.join(10)
        assert fcb.get_backend().name == "spy-a"
    assert seen == {"before": "numba", "inside": "spy-b", "after": "numba"}


def test_a_block_holds_in_its_own_task_only(spy):
    async def task(name):
        with fcb.use_backend(name):
            for _ in range(3):
                await asyncio.sleep(0)
                assert fcb.get_backend().name == name
        return fcb.get_backend().name

    async def both():
        return await asyncio.gather(task("spy-a"), task("spy-b"))

    assert asyncio.run(both()) == ["numba", "numba"]


# --- names and arithmetics -----------------------------------------------------------------------


def test_the_backends_that_come_with_the_package_are_listed():
    states = fcb.list_backends()
    for name in ("numpy", "numba", "array_api_strict"):
        assert states[name] == "available"
        assert fcb.get_backend(name).name == name
        assert fcb.get_backend(name).arithmetic == "ordered"
        assert fcb.get_backend(name) is fcb.get_backend(name)
    assert all(
        state == "available" or state.startswith("not installed: pip install")
        for state in states.values()
    )


@pytest.mark.parametrize("how", ["keyword", "block", "environment", "get_backend"])
def test_an_unknown_name_is_refused_with_the_choices(how, monkeypatch):
    if how == "environment":
        monkeypatch.setenv(VARIABLE, "nunpy")
    call = {
        "keyword": lambda: fcb.fc_forward(X, W, B, backend="nunpy"),
        "block": lambda: fcb.use_backend("nunpy").__enter__(),
        "environment": lambda: fcb.fc_forward(X, W, B),
        "get_backend": lambda: fcb.get_backend("nunpy"),
    }[how]
    with pytest.raises(fcb.ArgumentError) as caught:
        call()
    text = str(caught.value)
    argument = VARIABLE if how == "environment" else "backend"
    assert text.startswith(f"`{argument}` must be one of ")
    assert text.endswith(", got 'nunpy'")
    for name in fcb.list_backends():
        assert repr(name) in text


@pytest.mark.parametrize("backend", [3, np, b"numpy", ("numpy",)])
def test_what_is_no_backend_is_refused(backend):
    with pytest.raises(
        fcb.ArgumentTypeError, match=r"^`backend` must be a name or a Backend, got "
    ):
        fcb.fc_forward(X, W, B, backend=backend)


def test_a_library_that_is_not_installed_says_what_installs_it():
    missing = [n for n, state in fcb.list_backends().items() if state != "available"]
    if not missing:
        pytest.skip("every library is installed here")
    for name in missing:
        text = rf"^`backend` must be .* installed, got '{name}', .* pip install "
        with pytest.raises(fcb.ArgumentError, match=text):
            fcb.get_backend(name)


def test_native_arithmetic_is_numpys_own_within_its_error_bound():
    native = fcb.get_backend("numpy", arithmetic="native")
    assert (native.name, native.arithmetic) == ("numpy", "native")
    for dtype in (np.float32, np.float64):
        case = problem(2, (300, 20), 50, dtype)
        w, b = case.params[0]
        y = fcb.fc_forward(case.x, w, b, backend=native)
        np.testing.assert_array_equal(y, case.x @ w + b)
        wide = [a.astype(np.longdouble) for a in (case.x, w, b)]
        k, u = 300, np.finfo(dtype).eps / 2
        gamma = (k + 1) * u / (1 - (k + 1) * u)
        bound = gamma * (np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2]))
        assert (np.abs(y - (wide[0] @ wide[1] + wide[2])) <= bound).all()


def test_native_arithmetic_trains():
    case = problem(3, (4, 5, 2), 20, "float64")
    run = dict(params=case.params, lr=0.01, batch_size=4, max_steps=200)
    native = fcb.get_backend("numpy", arithmetic="native")
    a = fcb.train(case.x, case.t, backend=native, **run)
    b = fcb.train(case.x, case.t, backend="numpy", **run)
    # BLAS sums in another order: 2e-16 apart after 200 steps of a descent, which contracts.
    np.testing.assert_allclose(a.params[0][0], b.params[0][0], rtol=1e-13)
    assert fcb.Trainer(case.params, lr=0.1, backend=native).backend is native


def test_an_arithmetic_that_is_not_offered_is_refused_with_what_there_is():
    text = r"^`arithmetic` must be one that backend 'numba' offers .'ordered', 'fused'., got 'nati"
    for name in ("numba", None):
        with pytest.raises(fcb.ArgumentError, match=text):
            fcb.get_backend(name, arithmetic="native")
    with pytest.raises(fcb.ArgumentError, match=r"^`arithmetic` must be .*'ordered'.*'native'"):
        fcb.get_backend("numpy", arithmetic="exact")


def test_native_arithmetic_is_never_replaced_by_ordered_in_silence():
    ordered = fcb.get_backend("numpy")
    with fcb.use_backend("numpy"):
        assert fcb.get_backend(arithmetic="native").arithmetic == "native"
    with pytest.raises(fcb.ArgumentError, match=r"^`arithmetic` must be .*, got 'native'$"):
        fcb.get_backend(fcb.get_backend("numba"), arithmetic="native")
    try:
        assert fcb.get_backend(ordered, arithmetic="native").arithmetic == "native"
    except fcb.ArgumentError as error:
        assert "'native'" in str(error)  # noqa: PT017


# --- adding backends -----------------------------------------------------------------------------


def test_a_loader_is_called_once_and_when_its_backend_is_first_asked_for():
    calls = []

    def loader():
        calls.append(1)
        return dataclasses.replace(fcb.get_backend("numpy"), name="lazy")

    fcb.register_backend("lazy", loader)
    assert fcb.list_backends()["lazy"] == "available"
    assert calls == []
    assert fcb.get_backend("lazy").name == "lazy"
    fcb.fc_forward(X, W, B, backend="lazy")
    assert calls == [1]
    fcb.register_backend("lazy", lambda: fcb.get_backend("numba"))
    assert fcb.get_backend("lazy").name == "numba"


def test_a_loader_may_offer_both_arithmetics():
    both = [fcb.get_backend("numpy", arithmetic=a) for a in ("ordered", "native")]
    fcb.register_backend("both", lambda: both)
    assert fcb.get_backend("both") is both[0]
    assert fcb.get_backend("both", arithmetic="native") is both[1]


@pytest.mark.parametrize("made", [None, [], "numpy", [1], [None]])
def test_a_loader_that_gives_no_backend_is_refused(made):
    fcb.register_backend("empty", lambda: made)
    with pytest.raises(fcb.ArgumentTypeError, match="whose loader returns a Backend or a sequence"):
        fcb.get_backend("empty")


def test_what_cannot_be_registered_is_refused():
    for name in (None, 3, ""):
        with pytest.raises(
            fcb.ArgumentTypeError, match=r"^`name` must be a non-empty string, got "
        ):
            fcb.register_backend(name, lambda: None)
    with pytest.raises(fcb.ArgumentTypeError, match=r"^`loader` must be a function that returns a"):
        fcb.register_backend("fine", fcb.get_backend("numpy"))


def test_relu_is_of_its_arrays_library_whatever_a_with_block_says():
    a = np.array([-1.0, 2.0])
    theirs = array_api_strict.asarray(a)
    with fcb.use_backend("array_api_strict"):
        assert type(fcb.relu(a)) is type(fcb.relu_backward(a, a)) is np.ndarray
    with fcb.use_backend("numpy"):
        assert type(fcb.relu(theirs)) is type(fcb.relu_backward(theirs, theirs)) is type(theirs)
