"""Each command on a page is run: here, in another test, or else it says why not."""

import subprocess
import sys

import pytest

from tests.test_docs import PAGES, SOURCE, command_lines

# Commands that begin so are run as they are, or smaller by what stands behind them.
HERE = {
    "fcbackends train": "",
    "fcbackends info": "",
    "fcbackends warmup": "",
    "fcbackends verify": "numba --cases 3",
    "fcbackends verify --arithmetic": "numpy --cases 3",
    "fcbackends verify numpy": "--cases 3",
    "python benchmarks/scale.py": "--samples 1e3 --multiply-adds 1e6",
}

# Those that begin so are run by another file, which has this text.
ELSEWHERE = {
    "fcbackends train measurements.csv": ("tests/test_docs.py", "measurements.csv"),
    "fcbackends sweep measurements.csv": ("tests/cli/test_cli_sweep.py", "docs/command-line.md"),
    "fcbackends reproduce run.json": ("tests/test_docs.py", "run.json"),
    "fcbackends bisect run.json": ("tests/cli/test_cli_bisect.py", "bisect run.json"),
    "fcbackends predict model.safetensors": ("tests/test_docs.py", "model.safetensors"),
    "fcbackends train penguins.csv": ("tests/test_docs.py", "penguins.csv"),
    "fcbackends predict mass.safetensors": ("tests/test_docs.py", "mass.csv"),
    "fcbackends train iris.csv": ("tests/test_docs.py", "iris.csv"),
    "fcbackends predict iris.safetensors": ("tests/test_docs.py", "classes.csv"),
    "fcbackends export model.safetensors": ("tests/cli/test_cli_export.py", "export m.safetensors"),
    "fcbackends report": ("tests/cli/test_cli_report.py", "report --out r.md"),
    "fcbackends compare": ("tests/cli/test_cli_report.py", "compare 0001 0002 --fail-slower 10%"),
    "fcbackends compare main~5": ("tests/report/test_interleave.py", "--interleave"),
    "fcbackends verify cumulative": ("tests/conformance/test_third_party.py", '"verify"'),
    "python -m pip install": (".ci/run", "test-command"),
    "python -m pytest": (".ci/run", "test-command"),
    "python -m pytest benchmarks/": ("tests/report/test_benchmarks.py", '[2] / "benchmarks"'),
    "python -m pytest --pyargs": ("tests/conformance/test_third_party.py", '"--pyargs"'),
    "python -m sphinx": ("tests/site/test_site.py", "site-commands"),
    "python benchmarks/peers.py": ("tests/report/test_peers.py", "peers.py"),
}

# The same commands, from the longest beginning on.
BEGINNINGS = sorted({*HERE, *ELSEWHERE}, key=len, reverse=True)
LINES = sorted({" ".join(words) for page in PAGES for words in command_lines(page)})


def beginning(line):
    return next((known for known in BEGINNINGS if line.startswith(known)), None)


RUN_HERE = [line for line in LINES if beginning(line) in HERE]


def test_each_command_is_run_somewhere():
    assert {line for line in LINES if beginning(line) is None} == set()
    assert {beginning(line) for line in LINES} == set(BEGINNINGS)


def test_the_tests_that_run_them_know_the_commands():
    for known, (path, text) in ELSEWHERE.items():
        assert text in (SOURCE / path).read_text(encoding="utf-8"), (known, path)


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN_HERE)
def test_commands_run(line, tmp_path):
    program, *words = f"{line} {HERE[beginning(line)]}".split()
    start = ["-m", "fcbackends"] if program == "fcbackends" else [str(SOURCE / words.pop(0))]
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
