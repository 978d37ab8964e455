"""Saved runs are found and read; whatever else lies there is refused in one line."""

import json
import os

import numpy as np
import pytest

from fcbackends.errors import ArgumentError
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.report import runs
from tests.report import samples


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(number, tag="a", python="CPython-3.11", age=0):
    path = runs.STORAGE / f"Linux-{python}-64bit" / f"{number:04}_{tag}.json"
    samples.write(path, samples.noisy_run(number, count=1))
    os.utime(path, (2e9 - age, 2e9 - age))
    return path


def test_the_newest_run_is_the_one_written_last():
    save(7, age=10)
    newest = save(3, python="CPython-3.12", age=5)
    save(1, age=20)
    assert runs.load(None) == runs.load(str(newest))


@pytest.mark.parametrize("name", ["0002", "0002_b", "0002_bc"])
def test_a_run_by_the_beginning_of_its_name(name):
    save(1)
    wanted = save(2, "bc")
    assert runs.load(name) == runs.load(str(wanted))


def test_what_is_read_is_what_was_saved():
    saved = samples.full_run()
    samples.write(runs.STORAGE / "here" / "0001_a.json", saved)
    run = runs.load(None)
    assert run.machine.threads.blas == 1
    assert run.commit_info.id == "0123456789abcdef"
    assert [b.extra_info.workload for b in run.benchmarks] == [
        b["extra_info"]["workload"] for b in saved["benchmarks"]
    ]
    first, (*_, last) = saved["benchmarks"][0], run.benchmarks[0].visits
    assert len(run.benchmarks[0].visits) == samples.VISITS
    of_last = slice(-samples.ROUNDS, None)
    assert last == (
        np.median(first["stats"]["data"][of_last]),
        np.median(first["extra_info"]["probes"][of_last]),
    )


def test_a_run_saved_without_its_rounds_has_no_visits():
    saved = samples.full_run()
    del saved["benchmarks"][0]["stats"]["data"]
    samples.write(runs.STORAGE / "here" / "0001_a.json", saved)
    assert runs.load(None).benchmarks[0].visits == []


def test_a_run_of_before_versions_is_of_the_contracts_first():
    samples.write(runs.STORAGE / "here" / "0001_a.json", samples.full_run())
    assert runs.load(None).machine.contract == 1


def test_a_run_of_a_later_contract_is_refused(tmp_path):
    samples.write(tmp_path / "run.json", samples.run(samples.benchmark(), contract=99))
    with pytest.raises(ArgumentError) as caught:
        runs.load("run.json")
    assert str(caught.value) == (
        f"`RUN` must be a run of the contract's version {CONTRACT_VERSION} or an older one, "
        "got 'run.json' of version 99"
    )


WHOLE = json.dumps(samples.noisy_run(0, count=2))
FOREIGN = samples.noisy_run(0, count=1)
FOREIGN["benchmarks"][0]["extra_info"] = {}
ELSEWHERE = samples.noisy_run(0, count=1)
del ELSEWHERE["machine_info"]["fcbackends"]
EMPTY = samples.run()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Input data was truncated"),
        (WHOLE[: len(WHOLE) // 2], "Input data was truncated"),
        (WHOLE[:-1] + "x", "malformed"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ("{}", "missing required field `machine_info`"),
        (json.dumps(FOREIGN), "missing required field `backend`"),
        (json.dumps(ELSEWHERE), "missing required field `fcbackends`"),
        ("\ufeff\x00", "malformed"),
        (json.dumps(samples.changed(json.loads(WHOLE), 0, dtype="float16")), "float16"),
    ],
)
def test_other_files_are_refused(tmp_path, content, says):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ArgumentError) as caught:
        runs.load("run.json")
    text = str(caught.value)
    assert text.startswith("`RUN` must be a run saved by `pytest benchmarks/`, got 'run.json': ")
    assert says in text
    assert "\n" not in text


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "run.json").write_bytes(b'{"machine_info": "\xff"}')
    with pytest.raises(ArgumentError, match="saved by `pytest benchmarks/`"):
        runs.load("run.json")


def test_a_run_without_benchmarks(tmp_path):
    samples.write(tmp_path / "run.json", EMPTY)
    with pytest.raises(ArgumentError, match=r"with benchmarks in it, got none in 'run\.json'"):
        runs.load("run.json")


def test_a_folder_is_no_run(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArgumentError, match="readable file, got 'folder': Is a directory"):
        runs.load("folder", "BASE")


def test_nothing_saved_yet():
    with pytest.raises(ArgumentError) as caught:
        runs.load(None)
    assert str(caught.value) == (
        "`RUN` must be given, or found among what `pytest benchmarks/` saves, got no run in "
        "'.benchmarks'"
    )


def test_no_such_run_names_the_newest():
    save(1, age=3)
    save(2, age=2)
    with pytest.raises(ArgumentError) as caught:
        runs.load("0009", "NEW")
    assert str(caught.value) == (
        "`NEW` must be a file, or a saved run of '.benchmarks' (the newest: 0001_a, 0002_a), "
        "got '0009'"
    )
    with pytest.raises(ArgumentError, match="got '000', which 2 of them start with"):
        runs.load("000")
