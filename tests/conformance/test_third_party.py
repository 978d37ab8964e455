"""The documented backend of one's own, as an installed package: named, verified and broken."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import environment

SOURCE = Path(__file__).parents[2]
PRODUCT = "return sum_first(a.T[:, :, None] * b[:, None, :])"


@pytest.fixture(scope="module")
def code():
    text = (SOURCE / "docs" / "backends.md").read_text(encoding="utf-8")
    return re.search(r"<!-- backend -->\n```python\n(.*?)```", text, re.DOTALL).group(1)


@pytest.fixture
def install(tmp_path, code):
    """Leave what an installer does: the module, changed or not, and its entry point."""

    def installed(change=lambda text: text):
        info = tmp_path / "cumulative_backend-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: cumulative-backend\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(
            "[fcbackends.backends]\ncumulative = cumulative_backend:load\n"
        )
        (tmp_path / "cumulative_backend.py").write_text(change(code))

    return installed


@pytest.fixture
def run(tmp_path):
    def process(*arguments):
        path = os.pathsep.join([str(tmp_path), str(SOURCE)])
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment(PYTHONPATH=path),
            capture_output=True,
            text=True,
            check=False,
        )

    return process


def test_the_documented_backend_is_about_a_dozen_lines(code):
    assert len([line for line in code.splitlines() if line.strip()]) <= 12


def test_it_is_listed_and_conforms(install, run, tmp_path):
    install()
    assert re.search(
        r"^cumulative +available +ordered +A ", run("fcbackends", "info").stdout, re.MULTILINE
    )
    done = run("fcbackends", "verify", "cumulative", "--cases", "200", "--json", "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^cumulative +A +A +112 of 112 +200 +[\d,]+ +0 ", done.stdout, re.MULTILINE)
    (found,) = json.loads((tmp_path / "found.json").read_text())["backends"]
    assert (found["backend"], found["passed"], found["first"]) == ("cumulative", True, None)


@pytest.mark.slow
def test_it_passes_the_kits_tests(install, run):
    install()
    kit = "pytest", "--pyargs", "fcbackends.conformance", "--backend", "cumulative", "-q"
    done = run(*kit, "--cases", "120", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert f"{1 + 112 + 3} passed" in done.stdout


def test_a_defect_is_found_and_its_line_shows_it_again(install, run):
    install(lambda text: text.replace(PRODUCT, "return a @ b"))
    done = run("fcbackends", "verify", "cumulative", "--cases", "60", "--seed", "5")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^cumulative +A +C +\d+ of 112 +60 ", done.stdout, re.MULTILINE)
    assert "\ncumulative misses class A\n" in done.stdout
    described, defect, line = done.stdout.splitlines()[-3:]
    match = re.fullmatch(r"  fcbackends verify cumulative --seed 5 --case (\d+)", line)
    assert described.startswith(f"cumulative, case {match[1]}: ")
    assert " differ, by up to " in defect
    again = run(*line.split())
    assert again.returncode == 1
    assert again.stdout.splitlines()[-3:] == [described, defect, line]
    # With the defect mended, the same line finds nothing.
    install()
    mended = run(*line.split())
    assert (mended.returncode, defect in mended.stdout) == (0, False)


@pytest.mark.slow
def test_a_defect_fails_the_kits_tests_with_its_line(install, run):
    install(lambda text: text.replace("accumulate(a)", "accumulate(a[::-1])"))
    kit = "pytest", "--pyargs", "fcbackends.conformance", "--backend", "cumulative", "-q"
    done = run(*kit, "--cases", "100", "--seed", "7", "-p", "no:cacheprovider")
    assert done.returncode == 1
    assert re.search(
        r"^fcbackends verify cumulative --seed 7 --case \d+$", done.stdout, re.MULTILINE
    )


@pytest.mark.slow
def test_a_backend_that_kills_its_process_is_found(install, run):
    deadly = "import os\n        if len(a) == 23: os._exit(3)\n        "
    install(lambda text: text.replace(PRODUCT, deadly + PRODUCT))
    done = run("fcbackends", "verify", "cumulative", "--cases", "300", "--processes", "2")
    assert (done.returncode, done.stderr) == (1, "")
    assert "  the process that ran it died\n" in done.stdout


def test_a_package_that_cannot_be_loaded_is_told_in_one_line(install, run):
    install(lambda text: "import nothing_of_that_name\n")
    info = run("fcbackends", "info")
    assert (info.returncode, info.stderr) == (0, "")
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in info.stdout


@pytest.mark.slow
def test_the_kits_options_are_not_there_for_other_tests(run, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--backend')\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(request):\n    assert request.config.getoption('--backend') == 'mine'\n"
    )
    done = run("pytest", "-q", "--backend", "mine", "test_mine.py", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
