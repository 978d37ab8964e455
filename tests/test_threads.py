"""Several threads in one kernel: the bits do not depend on their number, and none is left behind.

As many as 4 run on any machine: threads that wait for one without a core give up their own.
"""

from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

import fcbackends as fcb
from fcbackends.backends import fused_loop
from fcbackends.backends import numba as layers
from fcbackends.kernels import threads as parts
from fcbackends.kernels.cache import cache_directory
from fcbackends.kernels.threads import Team, run_in_threads
from tests.cases import DTYPES, examples, needs_jit, numbers, problem, quick_first
from tests.oracle import assert_same_bits, fast
from tests.test_kernel_cache import run as run_process

COUNTS = (1, 2, 3, 4)

# Of a wide layer each thread has its panels, of a narrow one its rows, whatever the vectors:
# with 64 bytes each and in float32, four threads have panels from 128 outputs on.
NETWORKS = {
    "wide narrow": (5, 140, 3),
    "narrow wide": (6, 7, 131),
    "wide wide": (4, 129, 160, 130),
    "narrow narrow": (9, 12, 4),
    "wide narrow wide": (3, 130, 2, 128),
    "one wide": (17, 150),
    "one narrow": (40, 6),
}
BATCHES = (1, 8, 130, 3, 33)


@pytest.fixture
def threads(monkeypatch):
    """Let all work be worth so many threads; says how many were asked for since."""
    asked = []

    def noting(work, count, *arguments, **asked_of):
        asked.append(count)
        return run_in_threads(work, count, *arguments, **asked_of)

    def use(count):
        asked.clear()
        monkeypatch.setattr(parts, "get_threads", lambda: count)
        return asked

    monkeypatch.setattr(parts, "_PRODUCTS_A_THREAD", 1)
    for module in (fused_loop, layers):
        monkeypatch.setattr(module, "run_in_threads", noting)
    return use


def ending(case, **run):
    """All that a run of training tells."""
    r = fcb.train(
        case.x, case.t, params=case.params, lr=0.01, dtype=case.dtype.name, max_steps=6, **run
    )
    history = (r.history.steps.tolist(), r.history.losses.tolist())
    return fcb.digest(r.params), r.steps, r.stop_reason, r.loss, history


# --- results -------------------------------------------------------------------------------------


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", quick_first(BATCHES, 3))
@pytest.mark.parametrize("name", NETWORKS)
def test_training_has_the_same_bits_on_any_number_of_threads(name, batch_size, dtype, threads):
    case = problem(1, NETWORKS[name], 140, dtype)
    # Each network meets both ways to draw and to watch, with either dtype.
    turn = BATCHES.index(batch_size) + list(NETWORKS).index(name)
    run = dict(batch_size=batch_size, sampling=("epoch", "replacement")[turn % 2])
    run |= dict(tol_on=("batch", "data")[turn // 2 % 2], record_every=1 + turn % 3)
    free = ending(case, backend="numpy", **run)
    assert free[1:3] == (6, "max_steps")
    losses = sorted(free[-1][1])
    for tol in (None, losses[len(losses) // 2]):
        want = ending(case, backend="numpy", tol=tol, **run)
        assert want[2] == ("max_steps" if tol is None else "tolerance")
        for count in COUNTS:
            asked = threads(count)
            assert ending(case, backend="numba", tol=tol, **run) == want
            assert set(asked) == {count}


@needs_jit
@given(
    size=st.tuples(*[st.integers(0, 70)] * 3),
    wide=st.integers(0, 3),
    count=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from((0.0, 0.02, 0.3)),
)
@examples(60)
def test_layers_have_the_same_bits_on_any_number_of_threads(size, wide, count, seed, dtype, spice):
    size = tuple(n + 200 * (i == wide) for i, n in enumerate(size))
    samples, inputs, outputs = size
    rng = np.random.default_rng(seed)
    x, w, b, dy = (
        numbers(rng, shape, dtype, spice)
        for shape in ((samples, inputs), (inputs, outputs), (outputs,), (samples, outputs))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_PRODUCTS_A_THREAD", 1)
        patch.setattr(parts, "get_threads", lambda: count)
        y = fcb.fc_forward(x, w, b, backend="numba")
        grads = fcb.fc_backward(dy, x, w, backend="numba")
        out = fcb.predict(((w, b), (w.T.copy(), w[:, :1].sum(axis=1))), x, backend="numba")
    assert_same_bits(y, fast.forward(x, w, b))
    assert_same_bits(grads, fast.backward(dy, x, w))
    want = fast.predict(((w, b), (w.T.copy(), w[:, :1].sum(axis=1))), x)
    assert_same_bits(out, want)


@needs_jit
def test_a_trainer_may_go_on_with_more_threads_or_fewer(threads):
    case = problem(2, (6, 140, 9, 130), 50, "float32")
    whole = fcb.Trainer(case.params, lr=0.01, backend="numpy")
    trainer = fcb.Trainer(case.params, lr=0.01, backend="numba")
    run = dict(seed=3, tol_on="data", record_every=3)
    for count, batch_size in ((2, 4), (1, 4), (4, 40), (3, 1), (2, 7), (4, 41)):
        threads(count)
        want = whole.run(case.x, case.t, batch_size=batch_size, max_steps=4, **run)
        got = trainer.run(case.x, case.t, batch_size=batch_size, max_steps=4, **run)
        assert got.history.losses.tolist() == want.history.losses.tolist()
        assert trainer.step(case.x[0], case.t[0]) == whole.step(case.x[0], case.t[0])
        assert trainer.step(case.x, case.t) == whole.step(case.x, case.t)
        assert_same_bits(trainer.params, whole.params)


@needs_jit
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_divergence_on_several_threads(tol_on, threads):
    case = problem(3, (6, 140, 9), 50, "float64")
    ends = []
    for name, count in (("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 4)):
        threads(count)
        with pytest.raises(fcb.DivergenceError) as caught:
            fcb.train(
                case.x, case.t, params=case.params, lr=5.0, batch_size=33, max_steps=500,
                tol_on=tol_on, record_every=2, backend=name,
            )  # fmt: skip
        ends.append((caught.value.step, fcb.digest(caught.value.params)))
    assert len(set(ends)) == 1


# --- real threads, as a user sets them -----------------------------------------------------------

SET_BY_NUMBA = """
import threading
import numba
import numpy as np
import fcbackends as fcb
from fcbackends.kernels import threads
from tests.cases import problem

threads._PRODUCTS_A_THREAD = 1
begun = []
start = threading.Thread.start
def noting(thread):
    begun.append(thread)
    start(thread)
threading.Thread.start = noting

wide, narrow = problem(1, (5, 140, 3), 140, "float32"), problem(2, (9, 12, 4), 140, "float64")

def results(name):
    for case in (wide, narrow):
        w, b = case.params[0]
        y = fcb.fc_forward(case.x, w, b, backend=name)
        yield y
        yield fcb.fc_backward(y, case.x, w, backend=name)
        yield fcb.predict(case.params, case.x, backend=name)
        for batch_size, sampling, tol_on in (
            (1, "epoch", "batch"), (3, "replacement", "data"), (130, "epoch", "data"),
        ):
            r = fcb.train(
                case.x, case.t, params=case.params, lr=0.01, batch_size=batch_size, max_steps=7,
                dtype=case.dtype.name, sampling=sampling, tol_on=tol_on, record_every=2,
                backend=name,
            )
            yield r.params, r.history.losses, r.history.steps.astype(float), np.array(r.loss)

want = fcb.digest(list(results("numpy")))
print(len(begun))
for count in (1, 2, 3, 4):
    numba.set_num_threads(count)
    begun.clear()
    print(count, fcb.digest(list(results("numba"))) == want, len(begun) // (count - 1 or 1))

numba.set_num_threads(3)
networks = fcb.train_many(
    wide.x, wide.t, seed=[0, 1, 2, 3], lr=0.01, hidden=(140,), batch_size=33, max_steps=7,
    dtype="float32",
)
for seed, network in enumerate(networks):
    alone = fcb.train(
        wide.x, wide.t, seed=seed, lr=0.01, hidden=(140,), batch_size=33, max_steps=7,
        dtype="float32", backend="numpy",
    )
    print(fcb.digest(network.params) == fcb.digest(alone.params))
print(numba.get_num_threads(), threading.active_count())
"""


@needs_jit
def test_results_do_not_depend_on_numbas_number_of_threads(kernels):
    status, out, err = run_process(kernels, SET_BY_NUMBA, NUMBA_NUM_THREADS="4")
    assert (status, err) == (0, "")
    first, *lines = out.splitlines()
    assert first == "0"
    by_count = [line.split() for line in lines[:4]]
    assert [(count, same) for count, same, _ in by_count] == [(str(n), "True") for n in COUNTS]
    # As many threads are begun for each further one, and none where there is only the caller's.
    alone, *several = (int(begun) for *_, begun in by_count)
    assert alone == 0
    assert min(several) == max(several) > 0
    assert lines[4:] == ["True"] * 4 + ["3 1"]


@needs_jit
def test_two_threads_train_at_once_with_several_each(threads):
    cases = [problem(4, (6, 140, 9), 60, "float32"), problem(5, (30, 20, 5), 60, "float64")]
    run = dict(batch_size=16, tol_on="data", record_every=5)
    want = [ending(case, backend="numpy", **run) for case in cases]
    got = {}
    asked = threads(3)

    def work(number):
        got[number] = [ending(cases[number], backend="numba", **run) for _ in range(8)]

    running = [Thread(target=work, args=(number,)) for number in range(2)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=600)
        assert not thread.is_alive()
    assert set(asked) == {3}
    assert got == {number: [want[number]] * 8 for number in range(2)}


# --- threads that cannot be had ------------------------------------------------------------------

NO_MORE_THREADS = """
import threading
import numpy as np
import fcbackends as fcb
from fcbackends.kernels import threads
from tests.cases import problem

threads._PRODUCTS_A_THREAD = 1
case = problem(1, (5, {hidden}, 3), 140, "float32")
w, b = case.params[0]
start = threading.Thread.start

def refusing(threads):
    left = [threads]
    def begin(thread):
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)
    return begin

trainer = fcb.Trainer(case.params, lr=0.01, backend="numba")
run = dict(batch_size=33, max_steps=5, tol_on="data", record_every=2)
calls = [
    lambda: trainer.run(case.x, case.t, **run),
    lambda: trainer._loop.loss(case.x, case.t),
    lambda: fcb.fc_forward(case.x, w, b, backend="numba"),
    lambda: fcb.fc_backward(case.x @ w, case.x, w, backend="numba"),
]
for count in (1, 2, 4):
    threads.get_threads = lambda: count
    for call in calls:
        for may_start in range(count - 1):
            threading.Thread.start = refusing(may_start)
            try:
                call()
            except RuntimeError as error:
                print(error, threading.active_count())
            threading.Thread.start = start
        assert fcb.digest(trainer.params) == fcb.digest(case.params)
        assert trainer.steps == 0
got = trainer.run(case.x, case.t, **run)
want = fcb.Trainer(case.params, lr=0.01, backend="numpy").run(case.x, case.t, **run)
print(fcb.digest(got.params) == fcb.digest(want.params))
"""


@needs_jit
@pytest.mark.parametrize("hidden", [140, 7])
def test_a_thread_that_cannot_be_started_is_an_error_and_none_is_left(hidden, kernels):
    status, out, err = run_process(kernels, NO_MORE_THREADS.format(hidden=hidden))
    assert (status, err) == (0, "")
    assert out.splitlines() == ["can't start new thread 1"] * (1 + 3) * 4 + ["True"]


@pytest.fixture(scope="module")
def kernels():
    """The folder of compiled kernels that this process uses, for processes of their own."""
    folder = cache_directory()
    return None if folder is None else folder.parent


# --- the parts -----------------------------------------------------------------------------------

# Only kernels can call them: from Python they have no entry.
_barrier, _share = parts.barrier, parts.share


@njit(nogil=True)
def barrier(team):
    return _barrier(team)


@njit
def share(count, unit, team):
    return _share(count, unit, team)


@pytest.mark.jit_off
def test_a_barrier_opens_when_all_are_there():
    seen = []

    def work(team):
        opened = [barrier(team) for _ in range(5)]
        seen.append(opened)
        return team.thread

    assert run_in_threads(work, 3) == 0
    assert barrier(parts.ALONE)
    # The last time, the caller may be back, and call off, before another has looked.
    assert [opened[:4] for opened in seen] == [[True] * 4] * 3


@pytest.mark.jit_off
@pytest.mark.parametrize("threads", [2, 4])
def test_a_barrier_that_is_called_off_holds_nobody(threads):
    state, opened = parts.new_barrier_state(threads), []
    others = [
        Thread(target=lambda n=n: opened.append(barrier(Team(n, threads, state))))
        for n in range(1, threads)
    ]
    for other in others:
        other.start()
    assert opened == []
    state[threads * (len(state) // (threads + 1))] = 1
    for other in others:
        other.join(timeout=600)
        assert not other.is_alive()
    assert opened == [False] * (threads - 1)


@pytest.mark.jit_off
def test_an_error_in_the_callers_share_calls_the_others_off():
    states, opened, told = [], [], []

    def work(team):
        if team.thread == 0:
            states.append(team.barrier_state)
            raise ValueError("in the caller's share")
        opened.append(barrier(team))

    def call():
        try:
            run_in_threads(work, 2)
        except ValueError as error:
            told.append(str(error))

    caller = Thread(target=call)
    caller.start()
    caller.join(timeout=600)
    states[0][:] = 1  # where it holds, it is to fail the test and not the process's end
    assert told == ["in the caller's share"]
    assert opened == [False]


@pytest.mark.jit_off
@given(
    count=st.integers(0, 500),
    unit=st.sampled_from([1, 4, 8, 16, 32]),
    threads=st.integers(1, 9),
)
def test_shares_cover_everything_once_in_whole_units(count, unit, threads):
    shares = [
        share(count, unit, Team(thread, threads, parts.ALONE.barrier_state))
        for thread in range(threads)
    ]
    assert [n for first, last in shares for n in range(first, last)] == list(range(count))
    assert all(first % unit == 0 or first == count for first, _ in shares)
