"""What shells get: scripts, and the words that may come next; also in real shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fcbackends as fcb

SOURCE = Path(fcb.__file__).parents[1]


@pytest.fixture
def complete(start):
    """The words that bash is given for the last word of a line."""

    def run(line):
        count = len(line.split(" ")) - 1
        process = start(
            "",
            env={
                "_FCBACKENDS_COMPLETE": "bash_complete",
                "COMP_WORDS": line,
                "COMP_CWORD": str(count),
            },
        )
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        return [tuple(line.split(",", 1)) for line in out.splitlines() if line]

    return run


@pytest.fixture
def path(tmp_path):
    """A folder for PATH, with the program in it."""
    program = tmp_path / "bin" / "fcbackends"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fcbackends "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fcbackends ", ["bisect", "compare", "export", "info", "predict", "report", "reproduce",
                         "sweep", "train", "verify", "warmup"]),
        ("fcbackends rep", ["report", "reproduce"]),
        ("fcbackends nothing", []),
        ("fcbackends train --tol", ["--tol", "--tol-on"]),
        ("fcbackends train d.csv --tol-on ", ["batch", "data"]),
        ("fcbackends train --tol-on d", ["data"]),
        ("fcbackends train --activation s", ["sigmoid"]),
        ("fcbackends train --loss cross", ["cross_entropy"]),
        ("fcbackends train --hidden x --act", ["--activation"]),
        ("fcbackends train a b c --hid", ["--hidden"]),
        ("fcbackends train --backend num", ["numpy", "numba"]),
        ("fcbackends verify num", ["numpy", "numba"]),
        ("fcbackends frobnicate --hid", []),
        ("fcbackends sweep d.csv --gr", ["--grid"]),
        ("fcbackends sweep --optimizer ada", ["adam", "adamw"]),
        ("fcbackends report --format ", ["text", "md", "json", "html"]),
    ],
)  # fmt: skip
def test_commands_options_and_choices(complete, line, words):
    assert complete(line) == [("plain", word) for word in words]


@pytest.mark.parametrize(
    "line",
    ["fcbackends train d", "fcbackends train --out d", "fcbackends predict d",
     "fcbackends sweep d", "fcbackends sweep --results d",
     "fcbackends reproduce run.json d", "fcbackends report --out d", "fcbackends compare a d"],
)  # fmt: skip
def test_files_are_looked_for_by_the_shell(complete, line):
    assert complete(line) == [("file", "d")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_it_understands(start, tmp_path, shell):
    process = start("", env={"_FCBACKENDS_COMPLETE": f"{shell}_source"})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "_FCBACKENDS_COMPLETE" in out
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        assert subprocess.run([shell, "-n", tmp_path / "script"]).returncode == 0


IN_SHELLS = {
    "bash": """
        eval "$(_FCBACKENDS_COMPLETE=bash_source fcbackends)"
        complete -p fcbackends
        COMP_WORDS=(fcbackends train --tol-on d) COMP_CWORD=3
        _fcbackends_completion fcbackends
        echo "${COMPREPLY[@]}"
    """,
    "zsh": """
        autoload -U compinit && compinit -u -d "$HOME/dump"
        eval "$(_FCBACKENDS_COMPLETE=zsh_source fcbackends)"
        compadd() { print -r -- $completions }
        _describe() { print -r -- $completions_with_descriptions }
        words=(fcbackends train --tol-on d) CURRENT=4
        _fcbackends_completion
    """,
    "fish": """
        _FCBACKENDS_COMPLETE=fish_source fcbackends | source
        complete -C "fcbackends train --tol-on d"
    """,
}


@pytest.mark.parametrize("shell", IN_SHELLS)
def test_a_real_shell_completes(path, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"has no {shell}")
    ran = subprocess.run(
        [shell, "-c", IN_SHELLS[shell]], env=path, cwd=tmp_path, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split()[-1] == "data"


@pytest.mark.parametrize("asked", ["bash", "frob_source", "bash_frob", "bash_complete", "\x1b[31m"])
def test_what_no_shell_asks_is_refused(start, asked):
    process = start("", env={"_FCBACKENDS_COMPLETE": asked})
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err.startswith(
        "fcbackends: `_FCBACKENDS_COMPLETE` must be bash_source, zsh_source or fish_source, for a "
        "shell's script, got "
    )
    assert err.count("\n") == 1
