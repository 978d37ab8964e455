"""Ctrl-C, as a real signal to a real process; and the progress bar on a real terminal."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.cases import BACKENDS, needs_jit

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX"),
    needs_jit,
]

CHILD = """
import sys, time
import numpy as np
import fcbackends as fcb
rng = np.random.default_rng(0)
samples, sizes, run = {samples}, {sizes}, dict({run})
x = rng.standard_normal((samples, sizes[0]))
t = rng.standard_normal((samples, sizes[-1]))
run = dict(hidden=sizes[1:-1], lr=1e-6, max_steps=10**12, **run)
fcb.train(x, t, **(run | dict(tol=1e300)))  # compiles what the long run needs
print("ready", flush=True)
result = fcb.train(x, t, **run)
print(time.monotonic(), result.stop_reason, result.steps, flush=True)
again = fcb.train(x, t, **(run | dict(max_steps=result.steps, record_every=10**12, tol=None)))
print(fcb.digest(again.params) == fcb.digest(result.params), flush=True)
print(result.history.steps[-1] == result.steps, len(result.history.losses), flush=True)
"""

SMALL = dict(samples=500, sizes=(2, 3))
WIDE = dict(samples=300, sizes=(256, 128, 10))


def child(program, **pipes):
    return subprocess.Popen(
        [sys.executable, "-c", program], text=True, stdout=subprocess.PIPE, **pipes
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("network", "run"),
    [
        (SMALL, {}),
        (SMALL, {"sampling": "epoch", "batch_size": 7}),
        (SMALL, {"tol_on": "data"}),
        (WIDE, {"batch_size": 64, "dtype": "float32"}),
    ],
    ids=["small", "epochs", "whole data", "wide"],
)
def test_ctrl_c_ends_a_run_within_a_quarter_of_a_second(backend, network, run):
    if backend == "numpy" and network is WIDE:
        run = run | {"batch_size": 8}
    settings = ", ".join(f"{k}={v!r}" for k, v in {**run, "backend": backend}.items())
    process = child(CHILD.format(run=settings, **network), stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(0.7)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    first, *rest = out.splitlines()
    ended, reason, steps = first.split()
    assert reason == "interrupted"
    assert int(steps) > 0
    assert float(ended) - sent < 0.25
    # The parameters so far are those of a run of so many steps.
    assert rest[0] == "True"
    assert rest[1].startswith("True")


RAISES_AFTER = """
import os, signal
import numpy as np
import fcbackends as fcb
x, t = np.ones((4, 2)), np.ones((4, 1))
before = signal.getsignal(signal.SIGINT)
fcb.train(x, t, lr=0.1, max_steps=10)
assert signal.getsignal(signal.SIGINT) is before
try:
    fcb.train(x * 1e200, t, lr=0.1, max_steps=10)
except fcb.DivergenceError:
    pass
assert signal.getsignal(signal.SIGINT) is before
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("as ever")
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
fcb.train(x, t, lr=0.1, max_steps=10)
os.kill(os.getpid(), signal.SIGINT)
print(heard)
"""


def test_ctrl_c_outside_a_run_is_as_ever():
    process = child(RAISES_AFTER, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == "as ever\n[1]\n"


THREAD = """
import threading
import numpy as np
import fcbackends as fcb
x, t = np.ones((4, 2)), np.ones((4, 1))
ends = []
def train():
    ends.append(fcb.train(x, t, lr=0.1, max_steps=1000).stop_reason)
thread = threading.Thread(target=train)
thread.start()
thread.join()
print(ends)
"""


def test_a_run_outside_the_main_thread_touches_no_signals():
    process = child(THREAD, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, out) == (0, "", "['max_steps']\n")


ON_TERMINAL = """
import numpy as np
import fcbackends as fcb
x, t = np.ones((50, 2)), np.ones((50, 1))
fcb.train(x, t, lr=1e-9, max_steps=1000, progress={progress})
print("short done", flush=True)
fcb.train(x, t, lr=1e-9, max_steps=10**12, progress={progress})
"""


@pytest.mark.parametrize("progress", [None, False])
def test_a_long_run_on_a_terminal_shows_its_progress(progress):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = child(ON_TERMINAL.format(progress=progress), stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown, times = b"", []
    try:
        assert process.stdout.readline() == "short done\n"
        begin = time.monotonic()
        while time.monotonic() < begin + 3.5 and b"step" not in shown:
            try:
                shown += os.read(ours, 65536)
                times.append(time.monotonic() - begin)
            except BlockingIOError:
                time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.stdout.close()
        os.close(ours)
    if progress is None:
        assert b"step/s" in shown
        assert np.min(times) > 1.5  # nothing before two seconds, and nothing of the short run
    else:
        assert shown == b""
