"""`fcbackends verify`: what it prints, writes and refuses."""

import dataclasses
import json
import os
import signal
import sys

import pytest

import fcbackends as fcb
from fcbackends.backends import registry
from tests.broken import backend_of, flushed, reversed_forward
from tests.cases import quick_first
from tests.oracle import fast


def test_all_backends_that_are_there_are_verified(command, monkeypatch):
    states = {"numpy": "available", "numba": "available", "gone": "not installed: pip install it"}
    monkeypatch.setattr(fcb, "list_backends", lambda: states)
    ran = command("verify --cases 60")
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["backend", "numpy", "numba"]
    assert ran.value("numpy").startswith("A      A       112 of 112     60  ")
    assert ran.value("numba").endswith("      0            every bit is as it must be")


def test_what_is_found_is_written_as_json(command, tmp_path):
    fcb.register_backend("acme", lambda: backend_of(fast, forward=reversed_forward))
    ran = command("verify numpy acme --cases 60 --seed 2 --json found.json")
    assert (ran.status, ran.err) == (1, "")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["fcbackends"], found["contract"]) == (fcb.__version__, fcb.CONTRACT_VERSION)
    assert found["seed"] == 2
    right, wrong = found["backends"]
    assert right["passed"]
    assert right == right | {
        "backend": "numpy", "arithmetic": "ordered", "stated": "A", "observed": "A",
        "self_test": {"class": "A", "reason": "every bit is as it must be"}, "golden_runs": 112,
        "golden_different": [], "cases": 60, "different": 0, "max_ulp": 0, "first": None,
        "error_share": None,
    }  # fmt: skip
    assert not wrong["passed"]
    assert (wrong["stated"], wrong["observed"], wrong["self_test"]["class"]) == ("A", "C", "C")
    assert wrong["different"] > 0
    assert (
        wrong["first"]["command"]
        == f"fcbackends verify acme --seed 2 --case {wrong['first']['case']}"
    )
    assert wrong["first"]["command"] in ran.out
    assert wrong["first"]["defect"] in ran.out


def test_one_case_alone_is_shown_again(command):
    fcb.register_backend("acme", lambda: backend_of(fast, forward=reversed_forward))
    ran = command("verify acme --cases 60")
    last = ran.out.splitlines()[-3:]
    again = command(last[-1].split(maxsplit=1)[1])
    assert again.status == 1
    assert again.out.splitlines()[-3:] == last
    assert (
        command("verify numpy --case 3")
        .value("numpy")
        .startswith("A      A       112 of 112      1")
    )


def test_without_cases_there_are_the_self_test_and_the_golden_runs(command):
    assert (
        command("verify numpy --cases 0")
        .value("numpy")
        .startswith("A      A       112 of 112      0       0       0")
    )
    fcb.register_backend("acme", lambda: backend_of(fast, forward=reversed_forward))
    ran = command("verify acme --cases 0")
    assert ran.status == 1
    assert "\nacme: another digest after 13-1, 40 steps of 1, replacement, float32\n" in ran.out


def test_native_arithmetic_is_held_against_its_bounds(command):
    ran = command("verify numpy --arithmetic native --cases 20")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("numpy native").startswith("C      C  ")
    assert "\nnumpy: the largest error is 0." in ran.out
    assert "--arithmetic native --seed 0 --case " in ran.out


def test_class_b_passes_and_shows_where_it_differs(command):
    def forward(x, w, b):
        return flushed(fast.forward(x, w, b))

    flushing = dataclasses.replace(fcb.get_backend("numpy"), fc_forward=forward)
    fcb.register_backend("acme", lambda: flushing)
    ran = command("verify acme --cases 0")
    assert ran.status == 0
    assert ran.value("acme").startswith("B      B  ")


COUNT = "must be a whole number of at least"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nunpy", "`BACKEND` must be one of 'numpy', "),
        ("numpy --cases few", f"`--cases` {COUNT} 0, got 'few'"),
        ("numpy --cases -1", f"`--cases` {COUNT} 0, got '-1'"),
        ("numpy --case -1", f"`--case` {COUNT} 0, got '-1'"),
        (f"numpy --case {2**63}", f"`--case` must be below 2**63, got {2**63}"),
        (f"numpy --cases {10**20}", f"`--cases` must end at an index below 2**63, got {10**20} "),
        ("numpy --seed -1", f"`--seed` must be an integer from 0 to {2**64 - 1}, got -1"),
        ("numpy --processes 0", f"`--processes` {COUNT} 1, got '0'"),
        (
            "numpy --arithmetic exact",
            "`--arithmetic` must be one of 'ordered', 'fused', 'native', got ",
        ),
        ("numba --arithmetic native", "`--arithmetic` must be one that backend 'numba' offers "),
        ("numpy --json found.txt", "`--json` must end in .json, got 'found.txt'"),
        ("numpy --json no/found.json", "`--json` must be in a folder that exists, got "),
    ],
)
def test_bad_input_costs_nothing(command, line, text, tmp_path):
    ran = command(f"verify {line}")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")
    assert ran.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_library_that_is_not_installed_is_refused_with_what_installs_it(command, monkeypatch):
    monkeypatch.setitem(registry._libraries, "not_there", "fcbackends[not-there]")
    monkeypatch.setitem(registry._loaders, "not_there", lambda: None)
    ran = command("verify numpy not_there")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "fcbackends: `BACKEND` must be a backend whose library is installed, got 'not_there', not "
        "installed: pip install 'fcbackends[not-there]'\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")
@pytest.mark.parametrize("processes", quick_first([2, 1], 1))
def test_ctrl_c(start, processes):
    import termios

    terminal, stderr = os.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    line = f"verify numpy --cases 1000000 --processes {processes}"
    process = start(line, stderr=stderr, start_new_session=True)
    os.close(stderr)
    shown = b""
    while b"/1.00M" not in shown:  # the progress bar: cases are being run
        shown += os.read(terminal, 1000)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes
    out, _ = process.communicate(timeout=600)
    while not shown.endswith(b"fcbackends: interrupted\r\n"):
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert (process.returncode, out) == (130, "")
    assert b"Traceback" not in shown
