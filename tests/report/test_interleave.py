"""Revisions measured in turn: on given times, and for real in processes on a git repository."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fcbackends
from fcbackends.errors import ArgumentError
from fcbackends.report import interleave
from fcbackends.report.comparison import Comparison, Side
from fcbackends.report.workers import WorkerError
from tests.report import samples

SOURCE = Path(fcbackends.__file__).parents[1]
WORK = "forward 64-128 batch 32 float64 numpy ordered"
TASKS = [
    {"workload": f"train step {i}", "backend": "numba", "arithmetic": "ordered"} for i in range(20)
]


class Machine:
    """Workers whose times are a model's: the revision's, its process's luck, and the machine's.

    Parameters
    ----------
    seed : int
        Of luck.
    new : dict
        For some places in TASKS, by what factor the new revision is slower.
    drift : callable
        Of the number of turns so far, by what factor the machine is slower.
    """

    def __init__(self, seed=0, new=None, drift=lambda turn: 1.0, digests=None, errors=None):
        self.generator = np.random.default_rng(seed)
        self.new, self.drift = new or {}, drift
        self.digests, self.errors = digests or {}, errors or {}
        self.turns = itertools.count()
        self.asked = []

    @contextlib.contextmanager
    def start(self, side):
        luck = np.exp(self.generator.normal(0, 0.01, len(TASKS)))

        def ask(name, *, workload=None, units=1, **_):
            if name == "tasks":
                return TASKS
            place = int(workload.split()[-1])
            self.asked.append((side, name, place, units))
            if (side, place) in self.errors:
                raise WorkerError(self.errors[side, place])
            if name == "digest":
                return self.digests.get((side, place), "same")
            if name == "fitted":
                return [100, 1000, 0.01]
            factor = self.new.get(place, 1.0) if side == "NEW" else 1.0
            jitter = np.exp(self.generator.normal(0, 0.02))
            drift = self.drift(next(self.turns))
            return units * 1e-4 * factor * luck[place] * jitter * drift

        yield ask


def outcomes(machine):
    return [change.outcome for change in interleave.changes_in_turn(machine.start)]


@pytest.mark.parametrize("seed", range(5))
def test_one_revision_twice_is_within_noise(seed):
    assert outcomes(Machine(seed)) == ["within noise"] * len(TASKS)


@pytest.mark.parametrize("seed", range(5))
def test_a_kernel_15_percent_slower_is_called_slower(seed):
    found = interleave.changes_in_turn(Machine(seed, new={3: 1.15, 7: 1 / 1.15}).start)
    assert {i: c.outcome for i, c in enumerate(found) if c.outcome != "within noise"} == {
        3: "slower",
        7: "faster",
    }
    assert found[3].low < found[3].corrected < found[3].high
    # Visits are drawn 1 to 2 % apart, so that medians of them are as close at the least.
    assert found[3].corrected == pytest.approx(1.15, rel=0.03)
    assert found[3].base == pytest.approx(1e-4, rel=0.02)
    assert found[3].ratio == pytest.approx(found[3].new / found[3].base)
    side = Side("a", None, None)
    machine = samples.as_run(samples.run()).machine
    whole = Comparison(side, side, "interleaved", machine, (), found)
    assert whole.failures(0.05) == (found[3],)
    assert whole.failures(0.5) == ()


@pytest.mark.parametrize(
    "drift", [lambda turn: 1 + turn / 500, lambda turn: 1.7 if turn // 100 % 2 else 1.0]
)
def test_a_machine_that_drifts_slows_both_alike(drift):
    assert outcomes(Machine(drift=drift, new={3: 1.15})).count("within noise") == len(TASKS) - 1


def test_turns_alternate():
    machine = Machine()
    interleave.changes_in_turn(machine.start, "train step 4 ")
    turns = [side for side, name, _, units in machine.asked if (name, units) == ("seconds", 100)]
    assert turns[:8] == ["BASE", "NEW", "NEW", "BASE"] * 2
    assert len(turns) == 2 * interleave.PROCESS_PAIRS * interleave.MOST_TURNS


def test_each_new_process_is_warmed_as_the_first_was():
    machine = Machine()
    interleave.changes_in_turn(machine.start, "train step 4 ")
    warm = [side for side, name, _, units in machine.asked if (name, units) == ("seconds", 1000)]
    # The first base was warm when its rounds were fitted.
    assert warm == ["NEW", *["BASE", "NEW"] * (interleave.PROCESS_PAIRS - 1)]


def test_another_digest_is_lost_agreement():
    found = interleave.changes_in_turn(Machine(digests={("NEW", 5): "other"}).start)
    assert [i for i, change in enumerate(found) if change.bits == "lost"] == [5]


def test_what_one_revision_cannot_do_is_named():
    errors = {("NEW", 2): "ZeroDivisionError: division by zero"}
    found = interleave.changes_in_turn(Machine(errors=errors).start)
    assert [i for i, c in enumerate(found) if c.outcome == "not comparable"] == [2]
    assert found[2].reason == "new: ZeroDivisionError: division by zero"
    assert (found[2].corrected, found[2].bits) == (None, None)


def test_no_such_benchmark():
    with pytest.raises(ArgumentError) as caught:
        interleave.changes_in_turn(Machine().start, "backward 3-2")
    assert str(caught.value) == "`--only` must be a text in a benchmark's name, got 'backward 3-2'"


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
GIT = ("git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org")

# Each is put at the end of the module that makes array-API backends.
WRAPPED = """
import dataclasses as _dataclasses

_unwrapped = namespace_backends


def namespace_backends(module, name):
    return tuple(
        _dataclasses.replace(backend, fc_forward=_wrapped(backend.fc_forward))
        for backend in _unwrapped(module, name)
    )
"""
ONE_BIT = (
    WRAPPED
    + """

def _wrapped(function):
    def run(*arguments):
        result = function(*arguments)
        result[0, 0] = np.nextafter(result[0, 0], np.inf)
        return result

    return run
"""
)

BROKEN = (
    WRAPPED
    + """

def _wrapped(function):
    return lambda *arguments: 1 / 0
"""
)

# Fewer pairs of processes than users are given.
PROGRAM = """
import sys
from fcbackends.cli import main
from fcbackends.report import interleave
interleave.PROCESS_PAIRS = 2
sys.exit(main(sys.argv[1:]))
"""


def git(folder, *arguments):
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository of this project with the tags same, bit and broken."""
    folder = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", ".benchmarks")
    for place, part in ((SOURCE, "fcbackends"), (Path(__file__).parents[2], "benchmarks")):
        shutil.copytree(place / part, folder / part, ignore=skipped)
    git(folder, "init", "--quiet")
    module = folder / "fcbackends" / "backends" / "array_api.py"
    plain = module.read_text()
    for tag, added in (("same", ""), ("bit", ONE_BIT), ("broken", BROKEN)):
        module.write_text(plain + added)
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "--allow-empty", "-m", tag)
        git(folder, "tag", tag)
    git(folder, "reset", "--hard", "--quiet", "same")
    return folder


@pytest.fixture
def compare(checkout, tmp_path):
    """Run `fcbackends compare ... --interleave`; its status, stderr, and what it found."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    out = tmp_path / "found.json"

    def run(*arguments, cwd=checkout):
        command = [sys.executable, "-c", PROGRAM, "compare", *arguments, "--interleave"]
        done = subprocess.run(
            [*command, "--only", WORK, "--out", out],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert list(temporary.iterdir()) == []
        if not out.exists():
            return done.returncode, done.stderr, None
        ((found,),) = (one["changes"] for one in json.loads(out.read_text()))
        return done.returncode, done.stderr, found

    return run


@needs_git
@pytest.mark.slow
def test_real_revisions_that_are_the_same(compare):
    status, err, found = compare("same", "HEAD")
    assert (status, err) == (0, "")
    assert found["bits"] == "kept"
    assert found["low"] <= found["corrected"] <= found["high"]


@needs_git
@pytest.mark.slow
def test_one_changed_bit(compare):
    status, err, found = compare("same", "bit")
    assert found["bits"] == "lost"
    assert status == 1
    assert err == "failed: forward 64-128 batch 32 float64, numpy: lost agreement\n"


@needs_git
@pytest.mark.slow
def test_a_folder_and_its_changes(compare, checkout, tmp_path):
    shutil.copytree(checkout / "fcbackends", tmp_path / "mine" / "fcbackends")
    with (tmp_path / "mine" / "fcbackends" / "backends" / "array_api.py").open("a") as file:
        file.write(ONE_BIT)
    status, _, found = compare("same", str(tmp_path / "mine"), cwd=checkout / "benchmarks")
    assert (status, found["bits"]) == (1, "lost")


@needs_git
@pytest.mark.slow
def test_a_revision_that_does_not_run(compare):
    status, err, found = compare("same", "broken")
    assert (status, err) == (0, "")
    assert found["outcome"] == "not comparable"
    assert found["reason"] == "new: ZeroDivisionError: division by zero"


@needs_git
def test_no_such_revision(compare, checkout):
    status, err, found = compare("same", "nowhere")
    assert (status, found) == (2, None)
    assert err == (
        f"fcbackends: `NEW` must be a revision of {checkout} or a folder, each with the package "
        "fcbackends in it, got 'nowhere'\n"
    )
