"""Compiled kernels on disk: they spare time, and can do no harm."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cases import needs_jit

pytestmark = needs_jit

CODE = """
import numpy as np
import fcbackends as fcb
y = fcb.fc_forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([5.0]))
print(y)
"""


def run(cache, *options, **environment):
    return subprocess.run(
        [sys.executable, *options, "-c", CODE],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_process_reads_what_the_first_compiled(tmp_path):
    first, made = run(tmp_path), files(tmp_path)
    assert (first.stdout, first.stderr) == ("[[16.]]\n", "")
    assert len(made) == 1
    again = run(tmp_path)
    assert (again.stdout, again.stderr) == ("[[16.]]\n", "")
    assert files(tmp_path) == made
    # Another option of the compiler is another kernel.
    run(tmp_path, NUMBA_OPT="1")
    assert len(files(tmp_path)) == 2


def test_a_damaged_file_is_compiled_anew(tmp_path):
    run(tmp_path)
    ((path, content),) = files(tmp_path).items()
    one_bit = content[:40] + bytes([content[40] ^ 1]) + content[41:]
    for damaged in (b"", content[:-1], one_bit):
        path.write_bytes(damaged)
        again = run(tmp_path)
        assert (again.returncode, again.stdout, again.stderr) == (0, "[[16.]]\n", "")
        assert len(path.read_bytes()) > 1000
        assert path.read_bytes() != damaged


def test_without_a_writable_folder_a_warning_says_so_and_the_results_are_right(tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    result = run(blocked / "below")
    assert (result.returncode, result.stdout) == (0, "[[16.]]\n")
    assert "NUMBA_CACHE_DIR" in result.stderr
    assert "Traceback" not in result.stderr
