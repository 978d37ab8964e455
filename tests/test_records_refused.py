"""Records of runs: what is refused, other data, and damaged and hostile files."""

import dataclasses
import os
import random
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from tests import broken
from tests.cli.test_cli_hostile_models import VALUES, places, replaced, without
from tests.record_cases import HOW, T, X, opened, rewritten


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.json"


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
    flawed = dataclasses.replace(broken.backend_of(broken.fast), name="flawed")
    fcb.train(X, T, **HOW, backend=flawed, record=path)
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
