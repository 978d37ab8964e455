"""The state of the process, which others may change: noticed or harmless, never changed here."""

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import environment
from fcbackends.kernels.cache import cache_directory
from tests.cases import needs_jit, problem
from tests.float_state import SETS_REGISTER, needs_x86
from tests.oracle import assert_same_bits
from tests.test_kernel_cache import run as run_process

BOTH = pytest.mark.parametrize("backend", ["numpy", "numba"])


def run_here(code, **environment):
    """Run in a process of its own, with this one's kernels."""
    return run_process(cache_directory().parent, code, **environment)


# --- the floating-point environment of a thread --------------------------------------------------

CLASSES = """
import threading, warnings
import numpy as np
import fcbackends as fcb

backends = [fcb.get_backend(name) for name in ("numpy", "numba")]
tests = []
find = fcb.Backend.self_test
fcb.Backend.self_test = lambda backend: tests.append(backend.name) or find(backend)

def show(what):
    print(what, *(backend.conformance.letter for backend in backends), len(tests))
    for reason in {backend.conformance.reason for backend in backends}:
        print(" ", reason.partition(":")[0])

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

show("plain")
go, gone = threading.Event(), threading.Event()
waiting = threading.Thread(target=lambda: (go.wait(), show("started before"), gone.set()))
waiting.start()
set_register(FLUSHES)
show("flushes")
in_thread(lambda: show("started since"))
go.set()
waiting.join()
for mode in (UP, DOWN, TO_ZERO):
    set_register(mode)
    show("rounds otherwise")
set_register(PLAIN)
show("plain again")
"""


@needs_jit
@needs_x86
def test_a_class_is_not_remembered_past_a_change():
    status, out, err = run_here(SETS_REGISTER + CLASSES)
    assert (status, err) == (0, "")
    as_must, flushed = "every bit is as it must be", "subnormals become zero in float32 and float64"
    assert [line.strip() for line in out.splitlines()] == [
        *("plain A A 2", as_must),
        *("flushes B B 4", flushed),
        *("started since B B 4", flushed),
        *("started before A A 4", as_must),
        # One class for all other rounding modes: it is C.
        *("rounds otherwise C C 6", environment.ROUNDS_OTHERWISE),
        *("rounds otherwise C C 6", environment.ROUNDS_OTHERWISE) * 2,
        *("plain again A A 6", as_must),
    ]


WARNS = """
import warnings
import numpy as np
import fcbackends as fcb

x = np.arange(6.0).reshape(3, 2)
calls = {
    "train": lambda: fcb.train(x, x, lr=0.01, max_steps=5),
    "run": lambda: fcb.Trainer(fcb.init_params((2, 2)), lr=0.01).run(x, x, max_steps=5),
    "train_many": lambda: fcb.train_many(x, x, lr=0.01, max_steps=5, seed=[0, 1]),
}
for state in (PLAIN, FLUSHES, UP, DOWN, TO_ZERO, PLAIN):
    for name, call in calls.items():
        with warnings.catch_warnings(record=True) as came:
            warnings.simplefilter("always")
            set_register(state)
            call()
            left = get_register() & CONTROL
            set_register(PLAIN)
        print(name, left == state, [(w.category.__name__, str(w.message)) for w in came])
"""


@needs_jit
@needs_x86
def test_a_run_in_a_disturbed_thread_warns_and_leaves_the_thread_as_it_is():
    status, out, err = run_here(SETS_REGISTER + WARNS)
    assert (status, err) == (0, "")
    end = ": results may have other bits than elsewhere"
    flushes, otherwise = environment.FLUSHES + end, environment.ROUNDS_OTHERWISE + end
    want = [
        f"{name} True {[('FloatingPointWarning', text)] if text else []}"
        for text in ("", flushes, *[otherwise] * 3, "")
        for name in ("train", "run", "train_many")
    ]
    assert out.splitlines() == want


def test_a_plain_thread_is_not_disturbed():
    assert environment.disturbance() == ""


# --- what NumPy and Python do with errors --------------------------------------------------------


def extremes(dtype):
    """A network and data that underflow and overflow on the way, and stay finite at the end."""
    case = problem(1, (5, 4, 4), 20, dtype)
    small = np.asarray(np.finfo(dtype).smallest_normal * 1e3, dtype)
    x = case.x.copy()
    x[::3] *= small
    return case.params, x, case.t * small


def results(backend, dtype):
    params, x, t = extremes(dtype)
    (w, b), _ = params
    how = dict(backend=backend)
    yield fcb.fc_forward(x, w, b, **how)
    yield fcb.fc_forward(np.full_like(x, np.finfo(dtype).max), abs(w), b, **how)
    yield fcb.fc_backward(t, x, w, **how)
    yield fcb.mean_squared_loss(t, -t, **how)
    yield fcb.mean_squared_loss(np.full_like(t, np.finfo(dtype).max), t, **how)
    for activation in ("relu", "tanh", "sigmoid"):
        yield fcb.predict(params, 100 * x, activation=activation, **how)
    for optimizer in (fcb.SGD(), fcb.Adam(weight_decay=0.1)):
        train = dict(lr=0.1, max_steps=9, dtype=dtype, optimizer=optimizer, **how)
        yield fcb.train(x, t, hidden=(4,), validation=(x, t), **train).params
        yield [r.params for r in fcb.train_many(x, t, seed=[0, 1], **train)]
    trainer = fcb.Trainer(params, lr=0.1, **how)
    yield np.array([trainer.step(*pair) for pair in zip(x, t, strict=True)])
    yield trainer.state.params
    with pytest.raises(fcb.DivergenceError) as caught:
        fcb.train(x, t + 1, lr=1e30, dtype=dtype, max_steps=200, **how)
    yield caught.value.params


@needs_jit
@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpys_error_state_and_warnings_as_errors_change_nothing(backend, dtype):
    with np.errstate(all="ignore"):
        params, x, t = extremes(dtype)
        want = list(results(backend, dtype))
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="raise"):
        patch.setattr("tests.test_environment.extremes", lambda dtype: (params, x, t))
        before = np.geterr()
        got = list(results(backend, dtype))
        assert np.geterr() == before
    assert_same_bits(got, want)


@needs_jit
def test_numbers_that_underflow_where_they_are_brought_change_nothing():
    tiny = [[1e-300], [1.0]]
    how = dict(lr=0.1, dtype="float32", max_steps=9)
    calls = [
        lambda: fcb.train(tiny, tiny, **how).params,
        lambda: fcb.train(tiny, tiny, sample_weight=[1e-300, 1.0], **how).params,
        lambda: fcb.train(tiny, tiny, optimizer=fcb.SGD(weight_decay=1e-50), **how).params,
    ]
    want = [call() for call in calls]
    with np.errstate(all="raise"):
        got = [call() for call in calls]
    assert_same_bits(got, want)


# --- what is left as it is -----------------------------------------------------------------------

LEFT = """
import decimal, gc, locale, os, random, signal, sys, threading, warnings
import numpy as np

def state():
    yield "register", get_register() & CONTROL
    yield "NumPy's errors", np.geterr()
    yield "NumPy's printing", str(np.get_printoptions())
    yield "NumPy's random state", str(np.random.get_state()[1:])
    yield "random state", random.getstate()
    yield "warnings", list(warnings.filters)
    yield "handlers", [signal.getsignal(s) for s in signal.valid_signals()]
    yield "environment", dict(os.environ)
    yield "garbage", (gc.isenabled(), gc.get_threshold())
    yield "locale", locale.setlocale(locale.LC_ALL)
    yield "decimal", str(decimal.getcontext())
    yield "interpreter", (sys.getrecursionlimit(), sys.getswitchinterval(), sys.path)
    yield "hooks", (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield "folder", (os.getcwd(), os.umask(0o22), os.umask(0o22))
    yield "threads", threading.active_count()
    if os.path.isdir("/proc/self"):
        yield "threads of the system", len(os.listdir("/proc/self/task"))
        yield "files", len(os.listdir("/proc/self/fd"))

# NumPy and Numba change what they change when they are imported.
import numba, safetensors, array_api_compat, tqdm
before = dict(state())
import fcbackends as fcb
from fcbackends.kernels import threads
x = np.arange(600.0).reshape(300, 2) % 7
for backend in ("numpy", "numba"):
    fcb.train(x, x, lr=0.001, hidden=(3,), max_steps=20, backend=backend, tol_on="data")
    fcb.train_many(x, x, lr=0.001, seed=[0, 1], max_steps=20, backend=backend)
    fcb.Trainer(fcb.init_params((2, 2)), lr=0.01, backend=backend).step(x[0], x[0])
    fcb.get_backend(backend).conformance
threads._PRODUCTS_A_THREAD = 1
threads.get_threads = lambda: 3
fcb.train(x, x, lr=0.001, hidden=(3,), max_steps=20, batch_size=30)
fcb.list_backends()
after = dict(state())
for name in before:
    if before[name] != after[name]:
        print(name, before[name], after[name])
"""


@needs_jit
@needs_x86
def test_the_state_of_the_process_is_left_as_it_is():
    assert run_here(SETS_REGISTER + LEFT) == (0, "", "")


@needs_jit
@pytest.mark.slow
def test_warnings_as_errors_from_the_start():
    code = """
import numpy as np
import fcbackends as fcb
from fcbackends.cli import main
np.seterr(all="raise")
x = np.arange(6.0).reshape(3, 2)
print(fcb.digest(fcb.train(x, x, lr=0.01, max_steps=9).params))
print([fcb.get_backend(name).conformance.letter for name in ("numpy", "numba")])
"""
    status, out, err = run_process(cache_directory().parent, code, "-Werror")
    x = np.arange(6.0).reshape(3, 2)
    digest = fcb.digest(fcb.train(x, x, lr=0.01, max_steps=9).params)
    assert (status, out, err) == (0, f"{digest}\n['A', 'A']\n", "")


def test_python_without_its_lock_is_refused_by_name():
    """Free-threaded Python says so by a function that others do not have."""
    code = "import sys\nsys._is_gil_enabled = lambda: {}\nimport fcbackends as fcb\nprint(fcb.relu)"
    status, _, err = run_process(None, code.format(False))
    assert status == 1
    assert err.splitlines()[-1] == (
        "ImportError: fcbackends needs Python's global interpreter lock: set PYTHON_GIL=1, or run "
        "`python -X gil=1`"
    )
    assert run_process(None, code.format(True))[0] == 0


@pytest.mark.jit_off
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
def test_kernels_as_plain_python_are_of_class_a(arithmetic):
    found = fcb.get_backend("numba", arithmetic=arithmetic).conformance
    assert found == ("A", "every bit is as it must be")
