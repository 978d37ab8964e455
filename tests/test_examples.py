"""The examples, each as a program of its own: what they print is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (SOURCE / "examples").glob("*.py"))


def run(name, *arguments, **environment):
    """What an example prints, in a folder of its own; it is to say nothing else, nor to warn."""
    search = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SOURCE / "examples" / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def numbers(pattern, printed):
    return [float(found) for found in re.findall(pattern, printed)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_says_how_to_run_it(name):
    text = (SOURCE / "examples" / name).read_text(encoding="utf-8")
    assert text.isascii()
    assert len(text.splitlines()) <= 60
    assert f"\npython examples/{name}" in text
    assert f"def test_{name.removesuffix('.py')}" in Path(__file__).read_text(encoding="utf-8")


def test_diabetes():
    printed = run("diabetes.py")
    network, line = numbers(r"(0\.\d{3})", printed)
    assert network > 0.34
    assert line > 0.34
    assert "patience ended the training" in printed
    digest = re.search("digest ([0-9a-f]{64})$", printed, re.MULTILINE)[1]
    assert digest in run("diabetes.py", FCBACKENDS_BACKEND="numpy")


def test_digits():
    printed = run("digits.py")
    (accuracy,) = numbers(r"accuracy (\d\.\d+)", printed)
    assert accuracy > 0.96
    table = [list(map(int, re.findall(r"\d+", row))) for row in re.findall(r"\[[\d ]+\]", printed)]
    right = sum(row[digit] for digit, row in enumerate(table))
    assert right / sum(map(sum, table)) == pytest.approx(accuracy, abs=1e-3)


def test_control():
    first, later, last, surprised, *_, end = numbers(r"off by (\d\.\d+)", run("control.py"))
    assert later < 0.5 * first
    assert last < 0.1
    assert surprised > last
    assert end < 0.1


def test_seeds(tmp_path):
    pytest.importorskip("matplotlib")
    printed = run("seeds.py", "--plot", tmp_path / "seeds.png", MPLBACKEND="agg")
    mean, deviation, low, high = numbers(r"(\d\.\d{3})", printed)
    assert low < mean < high <= 1
    assert mean > 0.94
    assert 0 < deviation < 0.05
    assert "alone has the same bits: yes" in printed
    assert (tmp_path / "seeds.png").read_bytes().startswith(b"\x89PNG")


def test_reproduce():
    printed = run("reproduce.py")
    assert re.search(r"^trained: 2000 steps, digest [0-9a-f]{64}$", printed, re.MULTILINE)
    assert "made again: the same bits" in printed
    assert "with one bit changed, refused: `x` must be as in the record" in printed
