"""Trainings at once, and for long: short turns of what `tests.concurrency` and `tests.soak` do."""

import importlib.util
import os
import subprocess
import sys
import threading

import pytest

from tests import concurrency, jobs, soak
from tests.cases import environment, needs_jit
from tests.test_kernel_cache import SOURCE

pytestmark = [needs_jit, pytest.mark.slow]
linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")

WAYS = ["threads", "trainer", "web"]
WAYS += ["fork", "web-fork"] if hasattr(os, "fork") else []
WAYS += ["loky", "threading"] if importlib.util.find_spec("joblib") else []
WAYS += ["dask"] if importlib.util.find_spec("dask") else []


def run_module(*words, **options):
    """Run one of the modules in a process of its own: what it forks has none of these tests."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=SOURCE,
        env=environment(PYTHONPATH=SOURCE),
        timeout=600,
        **options,
    )


def test_works_at_once_have_the_right_bits():
    ran = run_module("-m", "tests.concurrency", *WAYS, "--seconds", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line.partition(":")[0] for line in ran.stdout.splitlines()] == WAYS
    assert all(line.endswith(" 0 wrong") for line in ran.stdout.splitlines())


@pytest.mark.parametrize("way", ["threads", "fork", "web"])
def test_one_wrong_bit_is_told(way):
    if way not in WAYS:
        pytest.skip("no fork here")
    wrong = f"""
from tests import concurrency, jobs
right = dict.fromkeys(range(jobs.NUMBERS), "as it was")
jobs.work = lambda number: "as it was" if number != 5 else "another"
concurrency.work = jobs.work
print(concurrency.run("{way}", 60, 1, right)[1][0])
"""
    ran = run_module("-c", wrong)
    assert (ran.returncode, ran.stdout) == (0, "work 5: another\n"), ran.stderr


def test_threads_that_are_left_are_told(monkeypatch):
    go = threading.Event()

    def leaving(chosen):
        threading.Thread(target=go.wait).start()
        return chosen

    monkeypatch.setitem(concurrency.WAYS, "leaving", leaving)
    right = {number: number for number in range(jobs.NUMBERS)}
    try:
        assert concurrency.run("leaving", 0, 1, right)[1] == ["1 threads are left"]
    finally:
        go.set()


def test_a_way_that_hangs_ends_with_the_stacks():
    hangs = """
import threading
from tests import concurrency
concurrency.SECONDS_TO_HANG = 1
lock = threading.Lock()
def hanging(chosen):
    with lock, lock:
        pass
concurrency.WAYS["hanging"] = hanging
concurrency.run("hanging", 60, 1, {})
"""
    ran = run_module("-c", hangs)
    assert ran.returncode == 1
    assert "Timeout" in ran.stderr
    assert "in hanging" in ran.stderr


# --- nothing grows -------------------------------------------------------------------------------

GROWS = """
import threading, time
from tests import soak
kept, go = [], threading.Event()
soak.live = lambda number, folder: time.sleep(0.02) or []
{leak}
print(soak.run(1, 1, 2.0, also=leak)[2])
go.set()
"""
LEAKS = {
    "memory grew": "def leak(): kept.append(bytearray(b'1') * 2_000_000)",
    "files grew": "def leak(): kept.append(open('/dev/null'))",
    "threads grew": "def leak(): threading.Thread(target=go.wait).start()",
    "temporary grew": "import tempfile\ndef leak(): kept.append(tempfile.mkstemp())",
}


@linux
@pytest.mark.parametrize("told", LEAKS)
def test_what_grows_is_told(told):
    ran = run_module("-c", GROWS.format(leak=LEAKS[told]))
    assert ran.returncode == 0, ran.stderr
    assert told in ran.stdout


@linux
def test_nothing_grows_for_a_while():
    ran = run_module("-m", "tests.soak", "--seconds", "4", "--growth", "20")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_line_that_rises_is_measured():
    samples = [soak.Sample(second, 10**8 + 10**6 * second, 5, 1, 1, 9, 0) for second in range(90)]
    assert soak.rise(samples) == pytest.approx(89)
    assert soak.judged(samples, 60.0) == []
    assert soak.judged(samples, 40.0) == ["memory grew by 59.00 MB"]
