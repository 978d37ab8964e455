"""Command lines with hostile words, run in this process on small files."""

import contextlib
import io
import itertools
import os
import pathlib
import re
import sys
import tempfile

import numpy as np

import fcbackends as fcb
from fcbackends.cli import main
from fcbackends.cli.app import _cli

FILES = ("a.csv", "b.csv", "c.tsv", "d.npy", "e.npz", "model.safetensors", "run.json")

WORDS = (
    *("0", "1", "2", "-1", "0.5", "0.25", "nan", "inf", "1e400", "-0", "1e-320", "x", "", " "),
    *("1,2", "y", "a,y", "0:1", "-1", ":", "2**3", "tanh", "relu,tanh", "8-16-1", "10%", "%"),
    *("99999999999999999999", "9" * 5000, "\x1b[31m\n\u202e", "\ud800", "é" * 999, "--", "-", "-x"),
    *("a.csv", "no.csv", "no/out.csv", "out.csv", "out.safetensors", "out.png", "/", ".", "\x00"),
    *("a" * 300 + ".csv", "latin-1", "utf-16", ";", ",", "tab", "1_0", "\uff11", "0x1", "1 "),
)

SOUND = {
    "--activation": ("relu", "tanh"), "--arithmetic": ("ordered", "fused"), "--batch": ("1", "3"),
    "--backend": ("numpy", "numba"), "--categorical": ("k",), "--clip-norm": ("0.5",),
    "--rows-per-block": ("2", "64"),
    "--decimal": (".",), "--drop": ("b",), "--dtype": ("float64",), "--encoding": ("utf-8",),
    "--features": ("a,b",), "--format": ("csv",), "--hidden": ("2", "3,2"), "--holdout": ("0.25",),
    "--keep": ("a",), "--loss": ("mean_squared", "cross_entropy"), "--lr": ("0.01",),
    "--missing": ("drop", "mean"), "--na": ("?",), "--optimizer": ("sgd",), "--seed": ("3",),
    "--out": ("out.safetensors", "out.csv"), "--patience": ("2",), "--sampling": ("replacement",),
    "--separator": (",",), "--standardize": ("both",), "--target": ("y", "-1", "k"),
    "--text": ("drop", "onehot"), "--tol": ("0.5",), "--tol-on": ("data",), "--unknown": ("zeros",),
    "--validation": ("0.25",), "--weight-decay": ("0.1",), "--epochs": ("1", "2"),
    "--cases": ("1",), "--case": ("3",), "--json": ("out.json",), "--record": ("out.json",),
    "--digest-every": ("1",), "--seeds": ("0:2", "3,1"), "--split-seed": ("1",),
    "--grid": ("lr=0.1,1e9", "hidden=|2", "batch=1,2"), "--results": ("out.results",),
}  # fmt: skip
"""What most commands get; of the others, and now and then of these, any word."""

COMMANDS = (
    "train",
    "train",
    "train",
    "sweep",
    "predict",
    "predict",
    "export",
    "reproduce",
    "bisect",
    "verify",
    "compare",
    "report",
    "warmup",
)

WRITING = {"--out", "--json", "--checkpoint", "--plot", "--record", "--results"}

LONG = {
    *("--schema", "--interleave", "--processes", "--plot", "--help", "--only", "--workers"),
    "--scheduler",
}
"""Options left out: they print much, start processes, wait for somebody or draw."""


def write_files(folder):
    """The files that commands are run on."""
    table = "a,b,k,y\n" + "".join(f"{i},{i % 3},{'pq'[i % 2]},{2 * i + 1}\n" for i in range(8))
    (folder / "a.csv").write_text(table)
    (folder / "b.csv").write_text(table.replace("3,0", ",0").replace("p", "?"))
    (folder / "c.tsv").write_text(table.replace(",", "\t"))
    np.save(folder / "d.npy", np.arange(24.0).reshape(8, 3))
    np.savez(folder / "e.npz", x=np.arange(16.0).reshape(8, 2), t=np.arange(8.0)[:, None])
    fcb.save(folder / "model.safetensors", fcb.init_params((2, 1)))
    x, t = np.arange(24.0).reshape(8, 3)[:, :2].copy(), np.arange(24.0).reshape(8, 3)[:, 2:].copy()
    fcb.train(x, t, lr=1e-4, max_steps=5, record=folder / "run.json")


def drawn(rng):
    """The words of a command line."""
    name = rng.choice(COMMANDS)
    command = _cli.commands.get(name)
    words = [name if rng.random() < 0.98 else rng.choice(WORDS)]
    if name == "train":
        words += [rng.choice(FILES[:5]), "--steps", rng.choice(("1", "5"))]
    elif name == "sweep":
        words += [rng.choice(FILES[:5]), "--grid", "lr=0.1,0.01", "--seeds", "0:2", "--steps", "2"]
    elif name == "predict":
        words += ["model.safetensors", rng.choice(FILES[:5])]
    elif name == "export":
        words += ["model.safetensors", "--out", "out.c"]
    elif name == "reproduce":
        words += ["run.json" if rng.random() < 0.8 else rng.choice(WORDS), rng.choice(FILES)]
    elif name == "bisect":
        words += ["run.json", rng.choice(("run.json", "numpy", *WORDS)), rng.choice(FILES)]
    elif name == "verify":
        words += ["numpy" if rng.random() < 0.1 else rng.choice(WORDS), "--cases", "1"]
    elif name == "warmup":
        words += ["--dtype", "float64", "--dtype", rng.choice(WORDS)]
    options = [o for param in command.params for o in param.opts if o.startswith("--")]
    options = [option for option in options if option not in LONG]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5)) if options else 0):
        option = rng.choice(options)
        is_sound = option in SOUND and rng.random() < 0.7
        words += [option, rng.choice(SOUND[option] if is_sound else WORDS)]
    if rng.random() < 0.15:
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    if rng.random() < 0.1:
        words.append(
            rng.choice((*WORDS, "--no-header", "--header", "--probabilities", "--nesterov"))
        )
    return words


class Folder:
    """A folder with the files, in which commands run."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz")
        self.path = pathlib.Path(self._folder.name)
        write_files(self.path)
        self.before = self.contents()

    def contents(self):
        return {path.name: path.read_bytes() for path in self.path.iterdir() if path.is_file()}

    def clean(self):
        """Remove what was written, and tell its names."""
        made = sorted({path.name for path in self.path.iterdir()} - self.before.keys())
        for name in made:
            (self.path / name).unlink()
        return made


@contextlib.contextmanager
def _standing_in(folder):
    before = os.getcwd()
    os.chdir(folder.path)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(b"a,y\n1,2\n3,4\n5,6\n"), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield err
    finally:
        sys.stdin = stdin
        os.chdir(before)


def defects(words, folder):
    """What is wrong with how a command line ends: nothing, or sentences."""
    with _standing_in(folder) as err:
        try:
            status = main(words)
        except BaseException as error:
            return [f"{type(error).__name__}: {str(error)[:300]!r}"]
    said, found = err.getvalue(), []
    if status not in (0, 1, 2):
        found.append(f"status {status}")
    lines = said.splitlines()
    if (status and (len(lines) != 1 or not said.endswith("\n"))) or "\n\n" in said:
        found.append(f"{len(lines)} lines with status {status}: {said[:300]!r}")
    for line in lines:
        if not re.match("fcbackends: .", line) or not line.isprintable() or len(line) > 1200:
            found.append(f"a line of {len(line)} characters: {line[:300]!r}")
    made = folder.clean()
    if changed := {n for n, content in folder.contents().items() if content != folder.before[n]}:
        write_files(folder.path)
        written = {word for option, word in itertools.pairwise(words) if option in WRITING}
        if changed - written:
            found.append("a file that was only to be read was changed")
    asked = {word.rpartition("/")[2] for word in words}
    if any(name not in asked for name in made) or (made and status == 2):
        found.append(f"files {made} with status {status}")
    return found
