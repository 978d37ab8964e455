"""docs/command-line.md: each command and each exit status by a real process."""

import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.cli.app import _cli
from tests.report import samples

SOURCE = Path(fcb.__file__).parents[1]
PAGE = (Path(__file__).parents[2] / "docs/command-line.md").read_text(encoding="ascii")


def table(title):
    """The rows of a table of the page, as texts."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).random((60, 2))
    np.savetxt(tmp_path / "d.csv", np.hstack([x, x[:, :1]]), delimiter=",", header="a,b,y",
               comments="")  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


EXAMPLES = [
    (int(status), *re.findall("`(.*)`", line)) for status, _, line in table("Exit statuses")
]


def test_the_page_has_each_status():
    assert [status for status, *_ in EXAMPLES] == [0, 1, 2, 130, 143]


@pytest.mark.parametrize(("status", "line"), [each for each in EXAMPLES if len(each) == 2])
def test_examples_have_the_status_that_the_page_says(start, data, tmp_path, status, line):
    code, out, err = ended(start(line.removeprefix("fcbackends ")))
    assert code == status
    assert (out == "") == (status > 0)
    assert re.fullmatch("(fcbackends: .*\n)?", err)
    assert bool(err) == (status > 0)
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("signum", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signals(start, data, tmp_path, signum, status, word):
    process = start("train d.csv --steps 2000000000 --checkpoint c --checkpoint-every 1000")
    while not (tmp_path / "c").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)
    code, out, err = ended(process)
    assert (code, err) == (status, f"fcbackends: {word}\n")
    assert "digest" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_and_a_closed_pipe_are_failures(start):
    with open("/dev/full", "w") as full:
        process = start("info", stdout=full)
        assert ended(process)[0] == 1
    read, write = os.pipe()
    os.close(read)
    process = start("info", stdout=write)
    os.close(write)
    assert ended(process)[0::2] == (1, "")


def test_the_page_has_each_command():
    named = {row[0].split()[1].strip("`") for row in table("Commands")}
    assert named == {*_cli.commands}


def test_variables_are_read_somewhere():
    source = "".join(path.read_text() for path in (SOURCE / "fcbackends").rglob("*.py"))
    for names, _ in table("Environment variables"):
        for name in re.findall("`(.*?)`", names):
            # Of Rich and Click.
            assert name in source or name in ("COLUMNS", "NO_COLOR")


def test_chosen_by_the_environment(start, data):
    chosen = {"FCBACKENDS_BACKEND": "numpy", "FCBACKENDS_ARITHMETIC": "fused"}
    code, out, _ = ended(start("train d.csv --epochs 1", env=chosen))
    assert code == 0
    assert re.search("^backend +numpy, fused, float64$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "begin"),
    [("text", "fcbackends: speed"), ("md", "# fcbackends: speed"), ("json", "{\n"),
     ("html", "<!doctype html>")],
)  # fmt: skip
def test_reports_go_through_pipes(start, tmp_path, kind, begin):
    run = tmp_path / "run.json"
    samples.write(run, samples.full_run())
    code, out, err = ended(start(f"report {shlex.quote(str(run))} --format {kind}"))
    assert (code, err) == (0, "")
    assert out.startswith(begin)
    assert "\x1b" not in out
    if kind == "text":
        assert out == ended(start(f"report {run}"))[1]
    else:
        assert ended(start(f"report {run} --out r.{kind}"))[0] == 0
        assert (tmp_path / f"r.{kind}").read_text() == out


def test_a_report_is_printed_or_written(command):
    ran = command("report --format md --out r.md")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "fcbackends: `--format` and `--out` must not come together, got md and 'r.md'\n"
    )
    assert command("report --format pdf").err == (
        "fcbackends: `--format` must be one of 'text', 'md', 'json', 'html', got 'pdf'\n"
    )
