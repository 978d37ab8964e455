"""Ctrl-C, as a real signal to a real process; and the progress bar on a real terminal."""

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.cases import BACKENDS, TELLS_WHEN_CTRL_C_IS_HELD_BACK, needs_jit

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX"),
    needs_jit,
]

CHILD = (
    TELLS_WHEN_CTRL_C_IS_HELD_BACK
    + """
import numpy as np
import fcbackends as fcb
rng = np.random.default_rng(0)
samples, sizes, run = {samples}, {sizes}, dict({run})
x = rng.standard_normal((samples, sizes[0]))
t = rng.standard_normal((samples, sizes[-1]))
run = dict(hidden=sizes[1:-1], lr=1e-6, max_steps=10**12, on_interrupt="return", **run)
fcb.train(x, t, **(run | dict(tol=1e300)))  # compiles what the long run needs
tell_when_held_back("running")
result = fcb.train(x, t, **run)
print(result.stop_reason, result.steps, flush=True)
again = fcb.train(x, t, **(run | dict(max_steps=result.steps, record_every=10**12, tol=None)))
print(fcb.digest(again.params) == fcb.digest(result.params), flush=True)
print(result.history.steps[-1] == result.steps, len(result.history.losses), flush=True)
"""
)

HANGS = 600
"""Seconds after which a process that does not end is held to hang."""

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
        (SMALL, {"validation": 0.2}),
        (WIDE, {"batch_size": 64, "dtype": "float32"}),
    ],
    ids=["small", "epochs", "whole data", "validation", "wide"],
)
def test_ctrl_c_ends_a_run(backend, network, run):
    if backend == "numpy" and network is WIDE:
        run = run | {"batch_size": 8}
    settings = ", ".join(f"{k}={v!r}" for k, v in {**run, "backend": backend}.items())
    process = child(CHILD.format(run=settings, **network), stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "running\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    first, *rest = out.splitlines()
    reason, steps = first.split()
    assert reason == "interrupted"
    assert int(steps) > 0
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
    out, err = process.communicate(timeout=HANGS)
    assert (process.returncode, err) == (0, "")
    assert out == "as ever\n[1]\n"


LOOP = (
    TELLS_WHEN_CTRL_C_IS_HELD_BACK
    + """
import numpy as np
import fcbackends as fcb
x, t = np.ones((4, 2)), np.ones((4, 1))
trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=1e-6, backend={backend!r})
runs = dict(
    train=lambda: fcb.train(x, t, lr=1e-6, max_steps=10**12, backend={backend!r}),
    train_many=lambda: fcb.train_many(
        x, t, seed=(0, 1), lr=1e-6, max_steps=10**12, backend={backend!r}
    ),
    trainer=lambda: trainer.run(x, t, max_steps=10**12),
)
tell_when_held_back("running")
begun = 0
try:
    for _ in range(12):
        begun += 1
        runs[{run!r}]()
except KeyboardInterrupt:
    print(begun, trainer.steps > 0, flush=True)
    same = fcb.train(x, t, params=fcb.init_params((2, 1)), lr=1e-6, max_steps=trainer.steps + 1)
    trainer.run(x, t, max_steps=1)
    print(fcb.digest(same.params) == fcb.digest(trainer.params), flush=True)
    raise
"""
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("run", ["train", "train_many", "trainer"])
def test_ctrl_c_ends_the_callers_loop_too(backend, run):
    process = child(LOOP.format(backend=backend, run=run), stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "running\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    # As the shell expects of a program that Ctrl-C has ended.
    assert process.returncode == -signal.SIGINT
    assert out == f"1 {run == 'trainer'}\nTrue\n"
    assert err.endswith("KeyboardInterrupt\n")


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
    out, err = process.communicate(timeout=HANGS)
    assert (process.returncode, err, out) == (0, "", "['max_steps']\n")


ON_TERMINAL = """
import numpy as np
import fcbackends as fcb
x, t = np.ones((50, 2)), np.ones((50, 1))
fcb.train(x, t, lr=1e-9, max_steps=10**12)
"""


def test_a_long_run_on_a_terminal_shows_its_progress():
    missing = "a terminal of a test's own is had on POSIX only"
    pty = pytest.importorskip("pty", reason=missing)
    termios = pytest.importorskip("termios", reason=missing)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = child(ON_TERMINAL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while b"step/s" not in shown:
            assert select.select([ours], [], [], HANGS)[0]
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=HANGS) == -signal.SIGINT
    finally:
        process.kill()
        process.stdout.close()
        os.close(ours)
