"""Records of runs: what is in them, what repeats them, and what finds where bits part."""

import contextlib
import os
import platform
import signal
import threading
from functools import partial

import numpy as np
import pytest

import fcbackends as fcb
from tests import broken
from tests.record_cases import HOW, T, X, opened, rewritten

RUNS = {
    "plain": {},
    "fused": dict(arithmetic="fused"),
    "float32": dict(dtype="float32"),
    "adam": dict(optimizer=fcb.Adam(weight_decay=0.1), activation="tanh", clip_norm=0.5),
    "scheduled": dict(lr=fcb.CosineRate(0.05, 300, warmup=7), sampling="epoch"),
    "tolerance": dict(tol=0.01, tol_on="data", record_every=7),
    "patience": dict(validation=0.3, patience=2, lr=0.5, record_every=3),
    "deep": dict(hidden=(4, 3), activation=("sigmoid", "relu"), loss="huber"),
    "momentum": dict(optimizer=fcb.SGD(momentum=np.float32(0.5), nesterov=True), lr=1),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.json"


def one_off(p, g, lr):
    """The next number to the right one."""
    return np.nextafter(broken.fast.descend(p, g, lr), np.inf)


def flawed_after(step, **changes):
    """A backend whose steps are right up to one, and then those of a broken one."""
    right, wrong = broken.backend_of(broken.fast), broken.backend_of(broken.fast, **changes)

    def training_loop(params, method):
        loop, other = right.training_loop(params, method), wrong.training_loop(params, method)

        class Flawed:
            called_off = None

            def __getattr__(self, name):
                return getattr(loop, name)

            @property
            def state(self):
                return loop.state

            @state.setter
            def state(self, state):
                loop.state = state

            def run(self, x, t, plan, start, stop):
                if start < step:
                    return loop.run(x, t, plan, start, min(stop, step))
                other.state = loop.state
                segment = other.run(x, t, plan, start, stop)
                loop.state = other.state
                return segment

        return Flawed()

    return broken.dataclasses.replace(right, name="flawed", training_loop=training_loop)


# --- the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("every", [None, 1, 7])
def test_a_recorded_run_is_the_run(path, run, backend, every):
    how = {**HOW, **RUNS[run], "backend": backend}
    plain = fcb.train(X, T, **how)
    recorded = fcb.train(X, T, **how, record=path, digest_every=every)
    assert fcb.compare(recorded.params, plain.params).equal
    assert (recorded.steps, recorded.stop_reason) == (plain.steps, plain.stop_reason)
    for one, other in zip(recorded.history[:4], plain.history[:4], strict=True):
        assert one.tobytes() == other.tobytes()
    about = opened(path)
    assert about["outcome"]["digest"] == fcb.digest(plain.params)
    assert about["outcome"]["steps"] == plain.steps
    steps = [step for step, _ in about["digests"]]
    last = about["outcome"]["last_step"]
    assert steps == sorted({*range(0, last, every or 1), last})
    of_best = dict(map(tuple, about["digests"])).get(plain.steps)
    assert of_best in (about["outcome"]["digest"], None)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("made_by", "backend"), [("numpy", "numba"), ("numba", "numpy")])
def test_a_record_is_reproduced_on_another_backend(path, run, made_by, backend):
    how = {**HOW, **RUNS[run]}
    result = fcb.train(X, T, **how, backend=made_by, record=path)
    again = fcb.reproduce(path, X, T, backend=backend)
    assert (again.equal, again.first_difference, again.reason) == (True, None, "")
    assert fcb.compare(again.result.params, result.params).equal
    assert again.result.stop_reason == result.stop_reason
    assert again.steps == opened(path)["outcome"]["last_step"]


def test_what_is_in_a_record(path):
    fcb.train(X, T, **HOW, record=path, digest_every=100)
    about = opened(path)
    assert list(about) == [
        *("sha256", "format", "version", "contract", "command", "options", "data", "backend"),
        *("outcome", "digests"),
    ]
    assert (about["format"], about["version"]) == ("fcbackends-record", 1)
    assert about["contract"] == fcb.CONTRACT_VERSION
    assert about["data"]["x"] == dict(shape=[60, 3], dtype="float64", digest=fcb.digest(X))
    assert about["data"]["t"] == dict(shape=[60, 2], dtype="float64", digest=fcb.digest(T))
    assert about["data"]["params"] is None
    assert about["options"]["optimizer"]["name"] == "SGD"
    assert about["backend"]["name"] == "numba"
    assert about["backend"]["versions"].keys() >= {"fcbackends", "python", "numpy", "numba"}
    assert about["outcome"] | {"loss": 0, "digest": ""} == dict(
        last_step=300, stop_reason="max_steps", steps=300, best_step=None, last_look=None, loss=0,
        digest="",
    )  # fmt: skip
    text = path.read_text()
    for private in (os.path.expanduser("~"), str(path.parent), platform.node()):
        assert not private or f'"{private}' not in text
    assert [step for step, _ in about["digests"]] == [0, 100, 200, 300]
    assert about["digests"][0][1] == fcb.digest(fcb.init_params((3, 5, 2), seed=3))
    shorter = fcb.train(X, T, **{**HOW, "max_steps": 100})
    assert about["digests"][1][1] == fcb.digest(shorter.params)


def test_a_record_has_so_many_digests_by_default(path):
    def count(sizes, **how):
        x, t = np.ones((4, sizes[0])), np.ones((4, sizes[-1]))
        params = fcb.init_params(sizes)
        fcb.train(x, t, params=params, lr=1e-9, **how, record=path, backend="numba")
        return len(opened(path)["digests"])

    assert count((1, 1), max_steps=300) == 301
    assert count((1, 1), max_steps=100_000) == 1001
    assert count((300, 300), max_steps=300, batch_size=1) == 2
    assert count((300, 300), max_steps=300, batch_size=100) == 5


def test_a_large_record_is_refused(path):
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train(X, T, lr=0.1, max_steps=10**6, record=path, digest_every=9)
    assert str(raised.value) == (
        "`digest_every` must be at least 10 where there may be 1000000 steps (a record has at most "
        "100000 digests), got 9"
    )
    assert not path.exists()


def test_a_run_that_fails_leaves_no_record(path):
    path.write_text("before")
    with pytest.raises(fcb.DivergenceError):
        fcb.train(X, T, lr=1e3, max_steps=1000, record=path)

    def failing(look):
        raise KeyError

    with pytest.raises(KeyError):
        fcb.train(X, T, lr=0.1, max_steps=1000, record=path, callback=failing)
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]
    assert path.read_text() == "before"


def test_a_time_limit_ends_a_run_that_is_repeated_up_to_there(path):
    how = dict(hidden=(5,), lr=0.01, max_steps=2**40, validation=0.2, patience=2**30)
    result = fcb.train(X, T, **how, time_limit=0.3, record=path, digest_every=2**30)
    about = opened(path)["outcome"]
    assert (result.stop_reason, about["stop_reason"]) == ("time_limit", "time_limit")
    again = fcb.reproduce(path, X, T)
    assert (again.equal, again.steps) == (True, about["last_step"])
    assert fcb.compare(again.result.params, result.params).equal
    assert again.result.history.steps.tolist() == result.history.steps.tolist()


def test_a_run_without_a_step_is_repeated(path):
    fcb.train(X, T, lr=0.01, max_steps=10, time_limit=1e-9, record=path)
    assert opened(path)["outcome"]["loss"] is None
    again = fcb.reproduce(path, X, T)
    assert (again.equal, again.steps) == (True, 0)


@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")
def test_an_interrupted_run_has_a_record(path, on_interrupt):
    def interrupt(look):
        if look.step == 50:
            signal.raise_signal(signal.SIGINT)

    raised = pytest.raises(KeyboardInterrupt) if on_interrupt == "raise" else None
    assert threading.current_thread() is threading.main_thread()
    with raised or contextlib.nullcontext():
        fcb.train(
            X, T, lr=0.01, max_steps=2**30, record_every=10, callback=interrupt, record=path,
            on_interrupt=on_interrupt, digest_every=2**20,
        )  # fmt: skip
    about = opened(path)["outcome"]
    assert (about["stop_reason"], about["last_step"]) == ("interrupted", 50)
    again = fcb.reproduce(path, X, T, callback=lambda look: None, backend="numpy")
    assert (again.equal, again.steps) == (True, 50)


def test_a_run_that_goes_on_has_digests_from_there(path, tmp_path):
    kept = tmp_path / "kept"

    def stopping(look):
        if look.step == 120:
            raise OSError

    how = {**HOW, "record_every": 10}
    with pytest.raises(OSError, match=r"^$"):
        fcb.train(X, T, **how, checkpoint=kept, checkpoint_every=100, callback=stopping)
    calm = partial(lambda look: None)
    fcb.train(X, T, **how, resume=kept, record=path, digest_every=50, callback=calm)
    assert [step for step, _ in opened(path)["digests"]] == [100, 150, 200, 250, 300]
    assert fcb.reproduce(path, X, T, callback=calm).equal
    flawed = flawed_after(20, backward=broken.reversed_backward)
    again = fcb.reproduce(path, X, T, callback=calm, backend=flawed)
    assert again.first_difference == (0, 100)
    # What has ended before is ended.
    fcb.train(X, T, **how, checkpoint=kept, callback=calm)
    fcb.train(X, T, **how, resume=kept, record=path, callback=calm)
    assert [step for step, _ in opened(path)["digests"]] == [300]
    assert fcb.reproduce(path, X, T, callback=calm).equal


# --- where bits part -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "where"), [(1, (20, 21)), (7, (14, 21)), (50, (0, 50)), (300, (0, 300))]
)
def test_a_defect_is_found_between_two_digests(path, every, where):
    fcb.train(X, T, **HOW, record=path, digest_every=every)
    flawed = flawed_after(20, descend=one_off)
    again = fcb.reproduce(path, X, T, backend=flawed)
    assert (again.equal, again.first_difference) == (False, where)
    assert again.steps == where[1]
    assert again.result is None
    a, b = where
    assert (
        again.reason.startswith(
            f"the parameters differ after step {b}, and not after step {a}; backend 'flawed' is of "
            "class "
        )
        or again.reason == f"the parameters differ after step {b}, and not after step {a}"
    )
    right = flawed_after(20)
    assert fcb.reproduce(path, X, T, backend=right).equal


def test_native_arithmetic_promises_nothing(path):
    how = {**HOW, "hidden": (40,), "arithmetic": "native"}
    fcb.train(X, T, **how, backend="numpy", record=path, digest_every=1)
    again = fcb.reproduce(path, X, T)
    assert again.reason.endswith(
        "native arithmetic promises no bits, of other libraries, versions and CPUs"
    )


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        (dict(last_step=299, steps=299), (299, 300),
         "it goes on after step 299, where the record's run ended (tolerance)"),
        (dict(stop_reason="patience"), None,
         "it ends for 'tolerance', and the record's run for 'patience'"),
        (dict(best_step=9), None, "best_step is None, and 9 in the record"),
        (dict(steps=9), None, "steps is 300, and 9 in the record"),
        (dict(digest="0" * 64), None, "the final parameters differ"),
        (dict(loss=0.5), None, "the loss is "),
    ],
)  # fmt: skip
def test_other_ends_are_told(path, change, where, reason):
    fcb.train(X, T, **HOW, tol=1e9, tol_on="data", record_every=300, record=path, digest_every=1)
    about = opened(path)
    about["outcome"]["stop_reason"] = "tolerance"
    about["outcome"] |= change
    about["digests"] = about["digests"][: about["outcome"]["last_step"] + 1]
    rewritten(path, about)
    again = fcb.reproduce(path, X, T)
    assert not again.equal
    assert again.first_difference == where
    assert again.reason.startswith(reason)


def test_an_early_end_is_told(path):
    fcb.train(X, T, **HOW, record=path, digest_every=100)
    about = opened(path)
    about["options"]["tol"] = 1e9
    rewritten(path, about)
    again = fcb.reproduce(path, X, T)
    assert (again.equal, again.steps) == (False, 1)
    assert again.reason == (
        "it ends after step 1 (tolerance), and the record's run after step 300 (max_steps)"
    )


def test_a_run_that_diverges_is_told(path):
    fcb.train(X, T, **HOW, record=path, digest_every=300)
    about = opened(path)
    about["options"]["lr"] = 1e5
    rewritten(path, about)
    again = fcb.reproduce(path, X, T)
    assert not again.equal
    assert again.reason.startswith("the loss is not finite at step ")
