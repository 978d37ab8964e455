"""Revisions measured in turn, for real: processes, a git repository, wrapped backends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fcbackends

SOURCE = Path(fcbackends.__file__).parents[1]
WORK = "forward 64-128 batch 32 float64 numpy ordered"
GIT = ("git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org")

# Each is put at the end of the module that makes array-API backends.
WRAPPED = """
import dataclasses as _dataclasses
import time as _time

_unwrapped = namespace_backends


def namespace_backends(module, name):
    return tuple(
        _dataclasses.replace(backend, fc_forward=_wrapped(backend.fc_forward))
        for backend in _unwrapped(module, name)
    )
"""
SLOWER = (
    WRAPPED
    + """

def _wrapped(function):
    def run(*arguments):
        started = _time.perf_counter()
        result = function(*arguments)
        now = _time.perf_counter()
        until = now + 0.15 * (now - started)
        while _time.perf_counter() < until:
            pass
        return result

    return run
"""
)
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

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments):
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository of this project with the tags same, slower, bit and broken."""
    folder = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", ".benchmarks")
    for part in ("fcbackends", "benchmarks"):
        shutil.copytree(SOURCE / part, folder / part, ignore=skipped)
    git(folder, "init", "--quiet")
    module = folder / "fcbackends" / "backends" / "array_api.py"
    plain = module.read_text()
    for tag, added in (("same", ""), ("slower", SLOWER), ("bit", ONE_BIT), ("broken", "1 / 0")):
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
        command = [sys.executable, "-m", "fcbackends", "compare", *arguments, "--interleave"]
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


def test_one_revision_twice(compare):
    status, err, found = compare("same", "HEAD", "--fail-slower", "10%")
    assert (status, err) == (0, "")
    assert (found["verdict"], found["bits"]) == ("within noise", "kept")
    assert found["low"] <= found["ratio"] <= found["high"]


def test_a_kernel_15_percent_slower(compare):
    status, err, found = compare("same", "slower", "--fail-slower", "5%")
    assert found["verdict"] == "slower"
    assert 1.05 < found["ratio"] < 1.25
    assert found["bits"] == "kept"
    assert status == 1
    assert err.startswith("failed: forward 64-128 batch 32 float64, numpy: slower: 1.")


def test_one_changed_bit(compare):
    status, err, found = compare("same", "bit")
    assert found["bits"] == "lost"
    assert status == 1
    assert err == "failed: forward 64-128 batch 32 float64, numpy: lost agreement\n"


def test_a_folder_and_its_changes(compare, checkout, tmp_path):
    shutil.copytree(checkout / "fcbackends", tmp_path / "mine" / "fcbackends")
    with (tmp_path / "mine" / "fcbackends" / "backends" / "array_api.py").open("a") as file:
        file.write(ONE_BIT)
    status, _, found = compare("same", str(tmp_path / "mine"), cwd=checkout / "benchmarks")
    assert (status, found["bits"]) == (1, "lost")


def test_a_revision_that_does_not_run(compare):
    status, err, found = compare("same", "broken")
    assert (status, err) == (0, "")
    assert found["verdict"] == "not comparable"
    assert found["reason"] == "new: ZeroDivisionError: division by zero"


def test_no_such_revision(compare, checkout):
    status, err, found = compare("same", "nowhere")
    assert (status, found) == (2, None)
    assert err == (
        f"fcbackends: `NEW` must be a revision of {checkout} or a folder, each with the package "
        "fcbackends in it, got 'nowhere'\n"
    )


def test_no_such_benchmark(compare, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "WORK", "backward 3-2")
    status, err, found = compare("same", "same")
    assert (status, found) == (2, None)
    assert err == "fcbackends: `--only` must be a text in a benchmark's name, got 'backward 3-2'\n"
