"""Records of runs: what is in them, what repeats them, and what finds where bits part."""

import contextlib
import hashlib
import json
import os
import platform
import random
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.training import records
from tests import broken
from tests.cli.test_cli_hostile_models import VALUES, places, replaced, without

X = np.random.default_rng(1).random((60, 3))
T = np.column_stack([np.sin(3 * X[:, 0]) * X[:, 1], X[:, 2]])
HOW = dict(hidden=(5,), lr=0.05, batch_size=4, max_steps=300, seed=3)

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


def opened(path):
    return json.loads(path.read_text(encoding="ascii"))


def rewritten(path, about):
    """The record with something else in it, and the checksum of that."""
    del about["sha256"]
    with contextlib.suppress(KeyError, TypeError, ValueError):
        path.write_bytes(records.encoded(about))
        return
    text = json.dumps({"sha256": "0" * 64, **about}) if isinstance(about, dict) else "[]"
    sha = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.replace("0" * 64, sha, 1))


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


# --- refused -------------------------------------------------------------------------------------


def changed(array):
    array = array.copy()
    array[7, 1] = np.nextafter(array[7, 1], 9)
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [("x", dict(x=changed(X))), ("t", dict(t=changed(T))),
     ("sample_weight", dict(sample_weight=np.full(60, 2.0))),
     ("validation[1]", dict(validation=(X, changed(T)))),
     ("params", dict(params=fcb.init_params((3, 5, 2), seed=9)))],
)  # fmt: skip
def test_other_arrays_are_refused_before_any_step(path, monkeypatch, name, change):
    given = dict(
        sample_weight=np.ones(60), validation=(X, T), params=fcb.init_params((3, 5, 2), seed=8)
    )
    fcb.train(X, T, **HOW, **given, record=path)
    assert fcb.reproduce(path, X, T, **given).equal
    monkeypatch.setattr(
        "fcbackends.training.runs.run_segments", lambda *a, **k: pytest.fail("a step")
    )
    data = {"x": X, "t": T, **given, **change}
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.reproduce(path, **data)
    text = str(raised.value)
    assert text.startswith(f"`{name}` must be as in the record {str(path)!r}: {name} of [")
    assert text.count(", float64, digest ") == 2


def test_fewer_rows_are_named(path):
    fcb.train(X, T, **HOW, record=path)
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.reproduce(path, X[:9], T[:9])
    assert f"x of [60, 3], float64, digest {fcb.digest(X)[:16]}, got x of [9, 3], " in str(
        raised.value
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("callback", lambda look: None), ("validation", (X, T)), ("sample_weight", np.ones(60)),
     ("params", fcb.init_params((3, 5, 2), seed=3))],
)  # fmt: skip
def test_what_the_run_had_is_to_be_given_and_nothing_else(path, name, value):
    fcb.train(X, T, **HOW, record=path)
    with pytest.raises(fcb.ArgumentError, match=f"`{name}` must be left out, as in the record"):
        fcb.reproduce(path, X, T, **{name: value})
    fcb.train(X, T, **HOW, record=path, **{name: value})
    with pytest.raises(fcb.ArgumentError, match=f"`{name}` must be given, as in .*, got nothing"):
        fcb.reproduce(path, X, T)
    assert fcb.reproduce(path, X, T, **{name: value}, backend="numpy").equal


def test_classes_are_those_of_the_record(path):
    classes = (X[:, 0] > 0.5).astype(int)
    fcb.train(X, classes, classes=4, loss="cross_entropy", lr=0.1, max_steps=50, record=path)
    assert fcb.reproduce(path, X, classes, backend="numpy").equal
    fcb.train(X, np.eye(2)[classes], loss="cross_entropy", lr=0.1, max_steps=50, record=path)
    assert fcb.reproduce(path, X, np.eye(2)[classes], backend="numpy").equal


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (dict(digest_every=5), "`digest_every` must come with `record`, got 5 without"),
        (dict(record="r", digest_every=0), "`digest_every` must be an integer of at least 1"),
        (dict(record=5), "`record` must be a path, got 5"),
        (dict(record="no/r"), "`record` must be in a folder that exists, got 'no/r'"),
        (dict(record="a\0b"), "`record` must be the name of a file"),
        (dict(record="r", checkpoint="r"), "`record` and `checkpoint` must be different files"),
        (dict(record="r", resume="r"), "`record` and `resume` must be different files"),
    ],
)  # fmt: skip
def test_arguments_are_refused(tmp_path, monkeypatch, how, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train(X, T, **HOW, **how)
    assert str(raised.value).startswith(text)
    assert list(tmp_path.iterdir()) == []


def test_another_contract_or_version_is_refused(path):
    fcb.train(X, T, **HOW, record=path)
    for name, text in (
        ("contract", f"contract version 99; this fcbackends has {fcb.CONTRACT_VERSION}, whose"),
        ("version", "version 99, and this is for version 1"),
    ):
        about = opened(path)
        rewritten(path, about | {name: 99})
        with pytest.raises(fcb.ArgumentError) as raised:
            fcb.reproduce(path, X, T)
        assert str(raised.value).startswith("`record` must be a record that `train` wrote, got ")
        assert text in str(raised.value)
        about["sha256"] = ""
        rewritten(path, about)


def test_what_computes_is_to_be_there(path):
    fcb.train(X, T, **HOW, backend=flawed_after(9), record=path)
    with pytest.raises(fcb.ArgumentError, match=r"`backend` must be one of .* got 'flawed'"):
        fcb.reproduce(path, X, T)
    assert fcb.reproduce(path, X, T, backend="numba").equal


# --- damaged and hostile -------------------------------------------------------------------------


def outcome(path):
    """How a record ends: reproduced, differently, or with an ArgumentError of one line."""
    said = ""
    try:
        again = fcb.reproduce(path, X[:8], T[:8], backend="numpy")
    except fcb.ArgumentError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 1000
    return "refused" if said else "equal" if again.equal else "other"


@pytest.fixture
def small(path):
    how = dict(lr=0.1, max_steps=4, validation=0.4, patience=2, optimizer=fcb.Adam())
    fcb.train(X[:8], T[:8], **how, record=path, backend="numpy")
    assert fcb.reproduce(path, X[:8], T[:8]).equal
    return path


def test_a_record_cut_or_changed_in_any_byte_is_refused(small):
    content = small.read_bytes()
    rng = random.Random(1)
    for at in range(len(content)):
        small.write_bytes(content[:at])
        assert outcome(small) == "refused", at
        other = bytes([content[at] ^ (1 << rng.randrange(8))])
        small.write_bytes(content[:at] + other + content[at + 1 :])
        assert outcome(small) == "refused", at


def test_records_with_anything_in_them(small):
    about, rng = opened(small), random.Random(1)
    found = []
    for place in places(about):
        if not place or place[0] == "sha256":
            continue
        rewritten(small, without(about, place))
        found.append(outcome(small))
        for new in rng.sample(VALUES, 6):
            rewritten(small, dict(replaced(about, place, new)))
            found.append(outcome(small))
    assert len(found) > 300
    assert found.count("refused") > len(found) / 2


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"format": NaN}', b"\xff", b"9" * 9999]
)
def test_what_is_no_record_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(
        fcb.ArgumentError, match="`record` must be a record that `train` wrote, got"
    ):
        fcb.reproduce(path, X, T)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(fcb.ArgumentError, match="`record` must be a readable file"):
        fcb.reproduce(tmp_path / "none", X, T)
    with pytest.raises(fcb.ArgumentError, match="`record` must be a path, got None"):
        fcb.reproduce(None, X, T)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(fcb.ArgumentError, match="no regular file"):
            fcb.reproduce(tmp_path / "pipe", X, T)


def test_a_record_is_strict_json(path):
    fcb.train(X, T, lr=0.01, max_steps=10, time_limit=1e-9, record=path)
    assert "NaN" not in Path(path).read_text()
