"""Workers: asked by name, answered in kind, their errors told, and gone at the end."""

import os
from pathlib import Path

import pytest

from fcbackends.report.workers import WorkerEndedError, WorkerError, worker

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PROGRAM = """
import os, sys
from service import serve

def double(of):
    print("what is printed is no answer")
    return [2 * of, os.getpid()]

def fail(how):
    raise KeyError(how)

def leave():
    sys.stderr.write("noise\\nthe reason\\n")
    os._exit(1)

serve(double, fail, leave)
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return lambda: worker(tmp_path / "program.py", {"PYTHONPATH": str(BENCHMARKS)})


def test_functions_are_called_by_name(start):
    with start() as one, start() as other:
        (two, pid), (four, other_pid) = one("double", of=1), other("double", of=2)
        assert (two, four) == (2, 4)
        assert len({pid, other_pid, os.getpid()}) == 3


def test_an_error_is_told_by_name_and_the_worker_goes_on(start):
    with start() as ask:
        with pytest.raises(WorkerError, match=r"^KeyError: 'badly'$"):
            ask("fail", how="badly")
        with pytest.raises(WorkerError, match=r"^KeyError: 'nothing'$"):
            ask("nothing")
        assert ask("double", of=3)[0] == 6


def test_a_worker_that_has_ended_says_its_last_words(start):
    with start() as ask:
        for _ in range(2):
            with pytest.raises(WorkerEndedError, match=r"^the reason$"):
                ask("leave")


def test_a_worker_is_killed_at_the_end(start):
    with start() as ask:
        _, pid = ask("double", of=1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_does_not_start(tmp_path):
    (tmp_path / "program.py").write_text("import no_such_module")
    with worker(tmp_path / "program.py") as ask, pytest.raises(WorkerEndedError, match="no_such"):
        ask("double", of=1)
