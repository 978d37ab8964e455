"""Ctrl-C and SIGTERM as real signals, at random moments of the program's life."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import quick_first

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SOURCE = Path(fcb.__file__).parents[1]
HANGS = 600

SCRIPT = """
import sys
from fcbackends.cli import main
sys.exit(main())
"""

ENDS = {
    # Once all is said, a signal's own way to end a process does as well: a shell sees the same.
    signal.SIGINT: ((130, "fcbackends: interrupted\n"), (-signal.SIGINT, "")),
    signal.SIGTERM: ((143, "fcbackends: terminated\n"), (-signal.SIGTERM, "")),
}
FIRST_IMPORT = "fcbackends._program\n"


@pytest.fixture
def program(tmp_path):
    """Start the program in an empty folder, in one of its two ways, and wait for its first import.

    Earlier, the interpreter is at work on itself. Imports are told on stderr: `say` leaves them
    out.
    """
    script = tmp_path / "bin" / "fcbackends"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    started = []

    def run(way, line):
        how = [str(script)] if way == "script" else ["-m", "fcbackends"]
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *how, *line.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        while not process.stderr.readline().endswith(FIRST_IMPORT):
            assert process.poll() is None
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def said(err):
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("import time:"))


LINES = [
    "--help",
    "info",
    "train table.npy --hidden 8 --steps 100000 --out m.safetensors",
    "train table.npy --hidden 300,300 --batch 200 --steps 100000000 --out m.safetensors",
]


MOMENTS = [*itertools.product(LINES[::-1], ["script", "module"], ENDS)]


@pytest.mark.parametrize(("line", "way", "signum"), quick_first(MOMENTS, 4))
def test_a_signal_ends_the_program_in_a_word(program, tmp_path, line, way, signum):
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(200, 6)))
    process = program(way, line)
    # Before its end or after: each end is as good.
    time.sleep(random.Random(f"{way} {line} {signum}").uniform(0, 1))
    process.send_signal(signum)
    out, err = process.communicate(timeout=HANGS)
    ended = process.returncode, said(err)
    assert ended in (*ENDS[signum], (0, "")), err
    assert ended != (0, "") or "100000000" not in line, out
    if (tmp_path / "m.safetensors").exists():
        assert fcb.load(tmp_path / "m.safetensors").params


@pytest.mark.parametrize("signum", ENDS, ids=["Ctrl-C", "SIGTERM"])
def test_a_second_signal_ends_it_at_once(program, tmp_path, signum):
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(200, 6)))
    process = program("module", f"{LINES[-1]} --backend numpy")
    for _ in range(2):
        time.sleep(random.Random(signum).uniform(0, 1))
        process.send_signal(signum)
    _, err = process.communicate(timeout=HANGS)
    assert (process.returncode, said(err)) in ENDS[signum]


@pytest.mark.parametrize("signum", quick_first([signal.SIGKILL, *ENDS], 1))
def test_workers_end_with_the_program(program, signum):
    process = program("module", "verify numpy --cases 1000000 --processes 2")
    while not process.stderr.readline().startswith("import time:"):
        pass
    time.sleep(random.Random(signum).uniform(0, 6))
    process.send_signal(signum)
    # They have its stdout and stderr: these end when the last of them has.
    _, err = process.communicate(timeout=HANGS)
    assert "Traceback" not in err
    if signum in ENDS:
        assert process.returncode in {status for status, _ in ENDS[signum]}
