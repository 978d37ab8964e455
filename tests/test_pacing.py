"""How long Ctrl-C waits, and when progress shows: on a clock that the tests hand in."""

import dataclasses
import io
import sys

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS

pytestmark = pytest.mark.jit_off

X, T = np.ones((4, 2)), np.ones((4, 1))
MOST = 0.25
"""Seconds that Ctrl-C waits at most: as long as one call into the loop takes."""


def clocked(backend, monkeypatch, seconds_a_step):
    """The backend on a clock of its own, and a list of how long each call into its loop took.

    A call takes its last step alone; `seconds_a_step` is given how long the run has gone on.
    """
    plain, now, calls = fcb.get_backend(backend), [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def training_loop(params, method):
        loop = plain.training_loop(params, method)
        run = loop.run

        def timed(x, t, plan, start, stop):
            if stop > start:
                calls.append((stop - start) * seconds_a_step(now[0]))
                now[0] += calls[-1]
            return run(x, t, plan, max(start, stop - 1), stop)

        loop.run = timed
        return loop

    return dataclasses.replace(plain, training_loop=training_loop), calls


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seconds", [1e-8, 1e-6, 3e-5, 9e-4])
@pytest.mark.parametrize("slows", [1, 4])
def test_no_call_into_the_loop_takes_long(backend, seconds, slows, monkeypatch):
    on_clock, calls = clocked(backend, monkeypatch, lambda now: seconds * (slows if now > 1 else 1))
    result = fcb.train(
        X, T, lr=1e-3, max_steps=int(4 / seconds), record_every=10**9, backend=on_clock
    )
    assert result.steps == int(4 / seconds)
    assert sum(calls) >= 3.9
    assert max(calls) <= MOST
    # Calls are not so short that a run consists of them: a fiftieth of a second each.
    assert len(calls) < 60 * sum(calls)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "seconds", "shows"),
    [
        (Terminal, None, 0.1, False),
        (Terminal, None, 5.0, True),
        (Terminal, False, 5.0, False),
        (Terminal, True, 0.1, True),
        (io.StringIO, None, 5.0, False),
        (io.StringIO, True, 0.1, True),
    ],
)
def test_a_bar_shows_what_takes_longer_than_two_seconds(
    stream, progress, seconds, shows, monkeypatch
):
    pytest.importorskip("tqdm")
    now = [0.0]

    def tick():
        now[0] += seconds
        return now[0]

    monkeypatch.setattr("tqdm.std.time", tick)
    monkeypatch.setattr(sys, "stderr", stream())
    fcb.train(X, T, lr=1e-3, max_steps=1000, progress=progress, backend="numpy")
    shown = sys.stderr.getvalue()
    assert ("step/s" in shown) == shows
    assert bool(shown) == shows
