"""Bad input: one line that names the argument, what is required and what came; nothing written."""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

import fcbackends as fcb
from fcbackends.cli import main

LARGEST_SEED = 2**64 - 1
BACKENDS = ", ".join(map(repr, fcb.list_backends()))
THERE = "('a', 'b', 'y', or an index from -3 to 2, or a range a:b of these)"
FOREIGN = "must be a file written by `fcbackends train --out`"
WITHOUT_DATA = "got no `DATA` (without it there are only --seed and --dtype)"
OPTIONS = (
    "--header, --no-header, --target, --hidden, --lr, --batch, --steps, --epochs, --tol, --tol-on, "
    "--sampling, --standardize, --holdout, --seed, --dtype, --backend, --out, --plot, --help"
)
NAMES = "`DATA` must have names in its first line"
ADD = "add `--no-header` if it holds data, or `--header` if it holds names"
SHARE = "must be a share between 0 and 1 that leaves rows on both sides of the split"
SIZES = "must be layer sizes from 1 to 1000000 with commas between them, such as 64,32"

CSV = {
    "ok": "a,b,y\n1,2,3\n4,5,6\n7,8,10\n2,2,1\n",
    "long": "a,b\n1,2\n\n3,4,5\n",
    "short": "a,b\n1,2\n3\n",
    "numbers": "1,-2e3\n3,4\n",
    "gap": "1,,3\n4,5,6\n",
    "text": "1,2,x3\n4,5,6\n",
    "unnamed": ",b,y\n1,2,3\n",
    "words": "a,kind,y\n1,,3\n1,x,3\n",
    "nan": "a,y\n1,2\nNaN,3\n",
    "inf": "a,y\n1,2\n4,-inf\n",
    "large": "a,y\n1,2\n4,1e999\n",
    "missing": "a,y\n1,2\n ,3\n",
    "empty": "",
    "lines": "\n\r\n",
    "header": "a,b\n",
    "twice": "a,b,a\n1,2,3\n",
    "one": "a\n1\n2\n",
    "quote": 'a,b\n1,"2\n3,4\n',
    "semicolons": "a;b\n1;2\n",
    "tiny": "a,y\n1e200,1\n-1e200,2\n",
}


def write_files(folder):
    """One file of each kind of trouble."""
    for name, text in CSV.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "bytes.csv").write_bytes(bytes(range(128, 256)) * 4)
    (folder / "data.txt").write_text("1")
    (folder / "folder.csv").mkdir()
    (folder / "folder.safetensors").mkdir()
    for suffix in ("parquet", "npy", "npz", "safetensors"):
        (folder / f"foreign.{suffix}").write_text("hello, hello, hello")
    parquet = {
        "ok": {"a": [1.0, 2.0], "y": [3.0, 1.0]},
        "null": {"a": [1.0, 2.0], "y": [None, 1.0]},
        "words": {"a": [1.0, 2.0], "d": ["p", "q"]},
        "flags": {"a": [True, False], "d": [1, 2]},
        "none": {"a": [], "y": []},
    }
    for name, columns in parquet.items():
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    arrays = {
        "ok": np.arange(12.0).reshape(4, 3),
        "line": np.arange(3.0),
        "complex": np.ones((3, 2), complex),
        "texts": np.array([["a", "b"]]),
        "object": np.array([[1, None]], dtype=object),
        "nan": np.array([[1, 2], [3, np.nan]]),
        "none": np.ones((0, 3)),
        "large": np.array([[1e300, 1.0], [2e300, 3.0]]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    x, t = np.ones((4, 2)), np.ones(4)
    archives = {
        "ok": {"x": x, "t": t},
        "rows": {"x": x, "t": t[:3]},
        "names": {"a": x, "b": t},
        "cube": {"x": np.ones((2, 2, 2)), "t": t},
        "untargeted": {"x": x, "t": np.ones((4, 0))},
        "nothing": {},
    }
    for name, members in archives.items():
        np.savez(folder / f"{name}.npz", **members)
    write_models(folder)
    for name in ("ok.parquet", "ok.npy", "ok.npz", "ok.safetensors"):
        content = (folder / name).read_bytes()
        (folder / f"cut{Path(name).suffix}").write_bytes(content[: len(content) * 2 // 3])


def write_models(folder):
    w, b = np.ones((2, 1)), np.ones(1)
    about = {"version": 1, "names": ["a", "b", "y"], "targets": [2]}
    tensors = {"layer0.w": w, "layer0.b": b}
    models = {
        "ok": (tensors, about),
        "bare": (tensors, None),
        "newer": (tensors, {"version": 2}),
        "contract": (tensors, {**about, "contract": fcb.CONTRACT_VERSION + 1}),
        "layerless": ({}, about),
        "biasless": ({"layer0.w": w}, about),
        "misfit": ({**tensors, "layer1.w": np.ones((3, 1)), "layer1.b": b}, about),
        "halves": ({"layer0.w": w.astype("float16"), "layer0.b": b.astype("float16")}, about),
        "misnamed": (tensors, {**about, "names": ["a", "y"]}),
        "mistargeted": (tensors, {**about, "targets": [7]}),
        "misscaled": ({**tensors, "inputs.mean": b, "inputs.scale": b}, about),
        "numbers": (tensors, 7),
    }
    for name, (arrays, text) in models.items():
        metadata = None if text is None else {"fcbackends": json.dumps(text)}
        save_file(arrays, folder / f"{name}.safetensors", metadata=metadata)


CASES = {
    # the command line itself
    "frobnicate": "`COMMAND` must be one of 'train', 'predict', 'report', 'compare', 'info', "
    "'verify', 'warmup', got 'frobnicate'",
    "--frob": "`OPTION` must be one of --version, --help, got '--frob'",
    "train ok.csv --outt m": f"`OPTION` must be one of {OPTIONS}, got '--outt'",
    "train ok.csv more": "`train` must be followed by [OPTIONS] [DATA] and nothing else, got "
    "'more' as well",
    "info more": "`info` must be followed by [OPTIONS] and nothing else, got 'more' as well",
    "warmup more and more": "`warmup` must be followed by [OPTIONS] and nothing else, got 'more "
    "and more' as well",
    "compare a b --interleave=yes": "`--interleave` must come without a value, got one",
    "warmup --dtype": "`--dtype` must come with a value, got none",
    "warmup --dtype float16": "`--dtype` must be one of 'float64', 'float32', got 'float16'",
    "warmup --size 2-3": "`OPTION` must be one of --dtype, --sizes, --help, got '--size'",
    "warmup --sizes 2": "`--sizes` must be two whole numbers of at least 1, such as 2-3, got '2'",
    "warmup --sizes 2-0": "`--sizes` must be two whole numbers of at least 1, such as 2-3, "
    "got '2-0'",
    "warmup --sizes 2-3-4": "`--sizes` must be two whole numbers of at least 1, such as 2-3, "
    "got '2-3-4'",
    "warmup --sizes 31-2": "`--sizes` must be inputs and outputs with at most 32 weights and "
    "biases, (inputs + 1) * outputs, got 31-2",
    "train ok.csv --lr": "`--lr` must come with a value, got none",
    "predict": "`MODEL` must be given, got nothing",
    "predict ok.safetensors": "`DATA` must be given, got nothing",
    "train --lr 3": f"`--lr` must come with a file to train on, {WITHOUT_DATA}",
    "train --epochs 3 --out m": f"`--epochs` must come with a file to train on, {WITHOUT_DATA}",
    "train --tol-on data": f"`--tol-on` must come with a file to train on, {WITHOUT_DATA}",
    "train --seed -1": f"`--seed` must be an integer from 0 to {LARGEST_SEED}, got -1",
    # the options of training
    "train ok.csv --lr x": "`--lr` must be a number, got 'x'",
    "train ok.csv --lr nan": "`--lr` must be a finite number > 0 in float64, got nan",
    "train ok.csv --lr inf": "`--lr` must be a finite number > 0 in float64, got inf",
    "train ok.csv --lr 0": "`--lr` must be a finite number > 0 in float64, got 0.0",
    "train ok.csv --lr -1": "`--lr` must be a finite number > 0 in float64, got -1.0",
    "train ok.csv --batch 0": "`--batch` must be a whole number of at least 1, got '0'",
    "train ok.csv --batch 5": "`--batch` must be at most the 4 samples where each epoch takes "
    "each once, got 5",
    "train ok.csv --steps 1e6": "`--steps` must be a whole number of at least 1, got '1e6'",
    "train ok.csv --epochs -1": "`--epochs` must be a whole number of at least 1, got '-1'",
    "train ok.csv --steps 5 --epochs 2": "`--steps` and `--epochs` must not come together, got 5 "
    "and 2",
    f"train ok.csv --steps {10**20}": "`--steps` must be such that all draws ",
    "train ok.csv --tol nan": "`--tol` must be a finite number of at least 0, got 'nan'",
    "train ok.csv --tol -1": "`--tol` must be a finite number of at least 0, got '-1'",
    "train ok.csv --tol-on all": "`--tol-on` must be one of 'batch', 'data', got 'all'",
    "train ok.csv --sampling x": "`--sampling` must be one of 'epoch', 'replacement', got 'x'",
    "train ok.csv --standardize x": "`--standardize` must be one of 'inputs', 'targets', 'both', "
    "got 'x'",
    "train tiny.csv --standardize both": "`--standardize` must have values whose squares are "
    "finite in float64, got a largest of 1e+200",
    "train ok.csv --holdout 0": f"`--holdout` {SHARE}, got 0.0 of 4 rows",
    "train ok.csv --holdout 0.9": f"`--holdout` {SHARE}, got 0.9 of 4 rows",
    "train ok.csv --holdout nan": f"`--holdout` {SHARE}, got nan of 4 rows",
    "train ok.csv --holdout x": "`--holdout` must be a number, got 'x'",
    "train ok.csv --seed x": "`--seed` must be a whole number, got 'x'",
    f"train ok.csv --seed {2**64}": f"`--seed` must be an integer from 0 to {LARGEST_SEED}, "
    f"got {2**64}",
    "train ok.csv --dtype float16": "`--dtype` must be one of 'float64', 'float32', got 'float16'",
    "train ok.csv --backend nunpy": f"`--backend` must be one of {BACKENDS}, got 'nunpy'",
    "train ok.csv --hidden 4,,3": f"`--hidden` {SIZES}, got '4,,3'",
    "train ok.csv --hidden 0": f"`--hidden` {SIZES}, got '0'",
    "train ok.csv --hidden 10000000": f"`--hidden` {SIZES}, got '10000000'",
    # the targets
    "train ok.csv --target z": f"`--target` must name columns that are there {THERE}, got 'z'",
    "train ok.csv --target 3": f"`--target` must name columns that are there {THERE}, got '3'",
    "train ok.csv --target y,": f"`--target` must name columns that are there {THERE}, got ''",
    "train ok.csv --target 1:9": f"`--target` must name columns that are there {THERE}, got '1:9'",
    "train ok.csv --target 2:2": f"`--target` must name columns that are there {THERE}, got '2:2'",
    "train ok.csv --target 0:1:2": f"`--target` must name columns that are there {THERE}, got "
    "'0:1:2'",
    "train ok.npy --target y": "`--target` must name columns that are there (an index from -3 to "
    "2, or a range a:b of these), got 'y'",
    "train ok.csv --target a,1,y": "`--target` must leave a feature column, got all columns (3)",
    "train ok.npz --target 1": "`--target` must not come with a file whose array 't' holds the "
    "targets, got '1'",
    # the files to write
    "train ok.csv --out m.pt": "`--out` must end in .safetensors, got 'm.pt'",
    "train ok.csv --out no/m.safetensors": "`--out` must be in a folder that exists, got "
    "'no/m.safetensors'",
    "train ok.csv --out folder.safetensors": "`--out` must be a file, got 'folder.safetensors': "
    "a folder",
    "train ok.csv --plot m.jpg": "`--plot` must end in .png or .svg or .pdf, got 'm.jpg'",
    "train ok.csv --plot no/m.png": "`--plot` must be in a folder that exists, got 'no/m.png'",
    "train ok.csv --plot ok.npy/m.png": "`--plot` must be in a folder that exists, got "
    "'ok.npy/m.png'",
    "predict ok.safetensors ok.csv --out y.txt": "`--out` must end in .csv or .parquet or .npy, "
    "got 'y.txt'",
    "predict ok.safetensors ok.csv --out no/y.csv": "`--out` must be in a folder that exists, got "
    "'no/y.csv'",
    # the files to read
    "train absent.csv": "`DATA` must be a readable file, got 'absent.csv': No such file or "
    "directory",
    "train folder.csv": "`DATA` must be a readable file, got 'folder.csv': Is a directory",
    "train data.txt": "`DATA` must end in .csv or .parquet or .npy or .npz, got 'data.txt'",
    "train long.csv": "`DATA` must have as many values in each line as in the first (2), got 3 in "
    "line 4",
    "train short.csv": "`DATA` must hold finite numbers only, got no value in column 'b', row 2 "
    "of 2",
    "train numbers.csv": "`DATA` must have names in its first line, got numbers: add "
    "`--no-header` if it holds data, or `--header` if it holds names",
    "train gap.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train text.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train unnamed.csv": f"{NAMES}, got no value in column 0 (the first is 0): {ADD}",
    "predict ok.safetensors text.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train gap.csv --no-header": "`DATA` must hold finite numbers only, got no value in column 1 "
    "(the first is 0), row 1 of 2",
    "train text.csv --no-header": "`DATA` must hold finite numbers only, got 'x3' in column 2 "
    "(the first is 0), row 1 of 2",
    "train ok.npy --no-header": "`--no-header` must come with a .csv file, got 'ok.npy'",
    "train ok.npy --header": "`--header` must come with a .csv file, got 'ok.npy'",
    "train ok.csv --no-header": "`DATA` must hold finite numbers only, got 'a' in column 0 (the "
    "first is 0), row 1 of 5",
    "train words.csv": "`DATA` must hold finite numbers only, got no value in column 'kind', row "
    "1 of 2",
    "train words.csv --target kind": "`DATA` must hold finite numbers only, got no value in "
    "column 'kind', row 1 of 2",
    "train nan.csv": "`DATA` must hold finite numbers only, got nan in column 'a', row 2 of 2",
    "train inf.csv": "`DATA` must hold finite numbers only, got -inf in column 'y', row 2 of 2",
    "train large.csv": "`DATA` must hold finite numbers only, got inf in column 'y', row 2 of 2",
    "train missing.csv": "`DATA` must hold finite numbers only, got no value in column 'a', row 2 "
    "of 2",
    "train empty.csv": "`DATA` must be a readable .csv file, got 'empty.csv': ",
    "train lines.csv": "`DATA` must be a readable .csv file, got 'lines.csv': ",
    "train header.csv": "`DATA` must have at least one row of numbers, got none in 'header.csv'",
    "train bytes.csv": "`DATA` must be a readable .csv file, got 'bytes.csv': ",
    "train twice.csv": "`DATA` must have a name of its own for each column, got 'a' twice",
    "train one.csv": "`--target` must leave a feature column, got all columns (1)",
    "train semicolons.csv": "`--target` must leave a feature column, got all columns (1)",
    "train quote.csv": "`DATA` must be a readable .csv file, got 'quote.csv': ",
    "train foreign.parquet": "`DATA` must be a readable .parquet file, got 'foreign.parquet': ",
    "train cut.parquet": "`DATA` must be a readable .parquet file, got 'cut.parquet': ",
    "train none.parquet": "`DATA` must have at least one row of numbers, got none in "
    "'none.parquet'",
    "train null.parquet": "`DATA` must hold finite numbers only, got no value in column 'y', row "
    "1 of 2",
    "train words.parquet": "`DATA` must hold finite numbers only, got 'p' in column 'd', row 1 "
    "of 2",
    "train flags.parquet": "`DATA` must hold numbers, got Boolean in column 'a'",
    "train foreign.npy": "`DATA` must be a readable .npy file, got 'foreign.npy': not written by "
    "NumPy",
    "train cut.npy": "`DATA` must be a readable .npy file, got 'cut.npy': ",
    "train object.npy": "`DATA` must be a readable .npy file, got 'object.npy': Object arrays "
    "cannot be loaded",
    "train line.npy": "`DATA` must be 2-D, got shape (3,)",
    "train complex.npy": "`DATA` must hold integers or floats, got complex128",
    "train texts.npy": "`DATA` must hold integers or floats, got <U1",
    "train nan.npy": "`DATA` must hold finite numbers only, got nan in column 1 (the first is 0), "
    "row 2 of 2",
    "train none.npy": "`DATA` must not be empty, got shape (0, 3)",
    "train large.npy --dtype float32": "`DATA` must fit float32, got 1e+300",
    "train foreign.npz": "`DATA` must be a readable .npz file, got 'foreign.npz': not written by "
    "NumPy",
    "train cut.npz": "`DATA` must be a readable .npz file, got 'cut.npz': ",
    "train rows.npz": "`x` and `t` must have as many rows, got 4 and 3",
    "train names.npz": "`DATA` must hold arrays 'x' and 't', or one 2-D array, got 'a', 'b'",
    "train nothing.npz": "`DATA` must hold arrays 'x' and 't', or one 2-D array, got none",
    "train cube.npz": "`x` must be 2-D, got shape (2, 2, 2)",
    "train untargeted.npz": "`t` must not be empty, got shape (4, 0)",
    # the model
    "predict absent.safetensors ok.csv": "`MODEL` must be a readable file, got "
    "'absent.safetensors': No such file or directory",
    "predict folder.csv ok.csv": "`MODEL` must be a readable file, got 'folder.csv': Is a "
    "directory",
    "predict ok.csv ok.csv": f"`MODEL` {FOREIGN}, got 'ok.csv': ",
    "predict empty.csv ok.csv": f"`MODEL` {FOREIGN}, got 'empty.csv': ",
    "predict foreign.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'foreign.safetensors': ",
    "predict cut.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'cut.safetensors': ",
    "predict bare.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'bare.safetensors': no entry "
    "'fcbackends'",
    "predict newer.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'newer.safetensors': version 2, "
    "and this is for version 1",
    "predict contract.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'contract.safetensors': "
    f"contract version {fcb.CONTRACT_VERSION + 1}; this fcbackends knows {fcb.CONTRACT_VERSION}",
    "predict layerless.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'layerless.safetensors': ",
    "predict biasless.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'biasless.safetensors': no "
    "entry 'layer0.b'",
    "predict misfit.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'misfit.safetensors': layers of "
    "shapes [(2, 1), (3, 1)] do not chain",
    "predict halves.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'halves.safetensors': "
    "parameters of dtype float16",
    "predict misnamed.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'misnamed.safetensors': 2 "
    "names for 3 columns",
    "predict mistargeted.safetensors ok.csv": f"`MODEL` {FOREIGN}, got "
    "'mistargeted.safetensors': targets (7,) of 3 columns",
    "predict misscaled.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'misscaled.safetensors': "
    "(1,) scales for 2 columns",
    "predict numbers.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'numbers.safetensors': ",
    # a model and data that do not go together
    "predict ok.safetensors words.csv": "`DATA` must have the model's columns, got none named "
    "'b' (there are 'a', 'kind', 'y')",
    "predict ok.safetensors nan.npy": "`DATA` must hold finite numbers only, got nan in column 1 "
    "(the first is 0), row 2 of 2",
    "predict ok.safetensors numbers.csv --header": "`DATA` must have the model's columns, got "
    "none named 'a', 'b' (there are '1', '-2e3')",
    "predict ok.safetensors one.csv --no-header": "`DATA` must have the model's 2 feature "
    "columns, or these and its 1 targets as in training, got 1 columns",
}


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def troubles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("troubles")
    write_files(folder)
    return folder, contents(folder)


@pytest.mark.parametrize("arguments", CASES)
def test_one_line(command, monkeypatch, troubles, arguments):
    folder, before = troubles
    monkeypatch.chdir(folder)
    line = arguments
    if "--out" not in line and "--plot" not in line:
        line = line.replace("train ok", "train --out out.safetensors --plot plot.png ok")
    ran = command(line)
    assert ran.status == 2
    assert ran.out == ""
    expected = "fcbackends: " + CASES[arguments]
    assert ran.err.count("\n") == 1
    assert ran.err.startswith(expected)
    if not expected.endswith((": ", " ", "loaded")):
        assert ran.err == expected + "\n"
    assert contents(folder) == before


def test_an_empty_target(command):
    Path("ok.csv").write_text(CSV["ok"])
    ran = command("train ok.csv --target", "")
    assert (ran.status, ran.err) == (
        2,
        f"fcbackends: `--target` must name columns that are there {THERE}, got ''\n",
    )


def test_an_unknown_backend_in_the_environment(command, monkeypatch):
    Path("ok.csv").write_text(CSV["ok"])
    monkeypatch.setenv("FCBACKENDS_BACKEND", "nunpy")
    ran = command("train ok.csv")
    assert (ran.status, ran.err) == (
        2,
        f"fcbackends: `FCBACKENDS_BACKEND` must be one of {BACKENDS}, got 'nunpy'\n",
    )


def test_names_with_line_breaks_stay_in_one_line(command, tmp_path):
    (tmp_path / "a\nb.csv").write_text('"p\nq",y\n1,x\n')
    for words in (["a\nb.csv"], ["a\nb.csv", "--target", "c\nd"], ["c\nd.csv"], ["e\nf"]):
        ran = command("train", *words)
        assert ran.status == 2
        assert ran.err.count("\n") == 1


def test_without_permission(command, tmp_path):
    (tmp_path / "ok.csv").write_text(CSV["ok"])
    (tmp_path / "shut").mkdir(mode=0o500)
    if os.access(tmp_path / "shut", os.W_OK):
        pytest.skip("this user may write anywhere")
    ran = command("train ok.csv --out shut/m.safetensors")
    assert ran.status == 2
    assert ran.err == (
        "fcbackends: `--out` must be in a writable folder, got 'shut/m.safetensors'\n"
    )
    (tmp_path / "ok.csv").chmod(0)
    ran = command("train ok.csv")
    assert ran.status == 2
    assert ran.err == (
        "fcbackends: `DATA` must be a readable file, got 'ok.csv': Permission denied\n"
    )


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize(
    ("line", "names", "arguments"),
    [
        ("predict m.safetensors ok.csv --out {}", "y.csv ok.csv", "`--out` and `DATA`"),
        ("predict m.safetensors ok.csv --out {}", "y.csv m.safetensors", "`--out` and `MODEL`"),
        ("train ok.csv --steps 1 --out {}", "n.safetensors ok.csv", "`--out` and `DATA`"),
        ("train ok.csv --steps 1 --plot {}", "p.png ok.csv", "`--plot` and `DATA`"),
        ("train ok.csv --plot l.png --out {}", "n.safetensors l.png", "`--out` and `--plot`"),
    ],
)
def test_one_file_is_not_overwritten_by_another(command, tmp_path, line, names, arguments, link):
    name, target = names.split()
    Path("ok.csv").write_text(CSV["ok"])
    Path("l.png").touch()
    assert command("train ok.csv --steps 3 --out m.safetensors").status == 0
    getattr(Path(name), link)(target)
    before = contents(tmp_path)
    ran = command(line.format(name))
    text = f"{arguments} must be different files, got {name!r} and {target!r}"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("way", ["", "./", "../{}/"])
def test_a_prediction_does_not_overwrite_its_data(command, tmp_path, way):
    Path("ok.csv").write_text(CSV["ok"])
    assert command("train ok.csv --steps 3 --out m.safetensors").status == 0
    name = way.format(tmp_path.name) + "ok.csv"
    ran = command("predict m.safetensors ok.csv --out", name)
    text = f"`--out` and `DATA` must be different files, got {name!r} and 'ok.csv'"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
    assert Path("ok.csv").read_text() == CSV["ok"]


def test_files_yet_to_be_written_are_not_one(command, tmp_path):
    Path("ok.csv").write_text(CSV["ok"])
    Path("n.safetensors").symlink_to("l.png")
    ran = command("train ok.csv --steps 1 --out n.safetensors --plot l.png")
    assert ran.status == 2
    assert "`--out` and `--plot` must be different files" in ran.err
    assert not Path("l.png").exists()


@pytest.mark.parametrize("rows", ["trained on", "held out"])
def test_a_last_step_that_diverges_writes_nothing(command, tmp_path, rows):
    """Each step's own loss is finite; that of all rows after the last is not."""
    table = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 4.0]])
    options = "--lr 1e3 --steps {} --batch 4"
    if rows == "held out":
        order = fcb.sample_indices(4, steps=1, batch_size=4, sampling="epoch", seed=0)[0]
        table[order[0]] = 1e200
        options = "--lr 0.1 --steps 1 --holdout 0.25"
        last = 1
    else:
        np.save("table.npy", table)
        first = command("train table.npy", *options.format(1000).split()).err
        last = int(first.partition("at step ")[2].partition(":")[0]) - 1
    np.save("table.npy", table)
    before = contents(tmp_path)
    line = f"train table.npy {options.format(last)} --out m.safetensors --plot l.png"
    ran = command(line)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        f"fcbackends: the loss is not finite at step {last}: lower `--lr`, or scale the data with "
        "`--standardize both`\n"
    )
    assert contents(tmp_path) == before


def test_divergence(command, tmp_path):
    (tmp_path / "ok.csv").write_text(CSV["ok"])
    ran = command("train ok.csv --lr 1e300 --out m.safetensors --plot m.png")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        "fcbackends: the loss is not finite at step 2: lower `--lr`, or scale the data with "
        "`--standardize both`\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["ok.csv"]


def test_a_network_that_no_memory_holds(command, tmp_path):
    (tmp_path / "ok.csv").write_text(CSV["ok"])
    ran = command("train ok.csv --hidden 1000000,1000000")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("fcbackends: not enough memory: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--out m.safetensors", "--plot m.png"])
@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(command, tmp_path, monkeypatch, option, trouble):
    def fail(*_):
        raise trouble

    (tmp_path / "ok.csv").write_text(CSV["ok"])
    name = option.split()[1]
    (tmp_path / name).write_text("the old file")
    monkeypatch.setattr(Path, "replace", fail)
    ran = command(f"train ok.csv --steps 1 {option}")
    assert ran.status == (1 if isinstance(trouble, OSError) else 130)
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["ok.csv", name])
    assert (tmp_path / name).read_text() == "the old file"


def test_a_failed_prediction_leaves_the_old_file(command, troubles, tmp_path):
    folder, _ = troubles
    (tmp_path / "y.csv").write_text("the old file")
    ran = command("predict --out y.csv", folder / "ok.safetensors", folder / "nan.npy")
    assert ran.status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["y.csv"]
    assert (tmp_path / "y.csv").read_text() == "the old file"


@pytest.mark.parametrize("name", ["ok.parquet", "ok.npy", "ok.npz", "ok.safetensors"])
def test_damaged_files(troubles, capfd, monkeypatch, tmp_path, name):
    """Cut, or with two bytes changed: one line, or other numbers where the damage is in those."""
    folder, _ = troubles
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in rng.integers(0, len(whole), 40)]
    for _ in range(80):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        changed[rng.integers(len(whole))] = rng.integers(256)
        damaged.append(bytes(changed))
    monkeypatch.chdir(tmp_path)
    file = Path(f"damaged{Path(name).suffix}")
    predict = ["predict", str(file), str(folder / "ok.csv")]
    for i, content in enumerate(damaged):
        file.write_bytes(content)
        status = main(predict if name == "ok.safetensors" else ["train", str(file)])
        out, err = capfd.readouterr()  # with what compiled code writes past Python
        if i < 40:
            assert status == 2
        if status:
            assert out == ""
            assert err.startswith("fcbackends: ")
        assert err.count("\n") == (1 if status else 0)


@pytest.mark.parametrize("package", ["click", "rich", "polars", "safetensors", "matplotlib"])
def test_without_the_extra(command, monkeypatch, package):
    Path("ok.csv").write_text(CSV["ok"])
    for module in [
        name for name in sys.modules if name.startswith(("fcbackends.cli.", "fcbackends.report."))
    ]:
        monkeypatch.delitem(sys.modules, module)
        parent, _, child = module.rpartition(".")
        monkeypatch.delattr(importlib.import_module(parent), child, raising=False)
    for module in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
        monkeypatch.setitem(sys.modules, module, None)
    ran = command("train ok.csv --steps 1 --out m.safetensors --plot m.png")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (f"fcbackends: this command needs {package}: install `fcbackends[cli]`\n")
    assert not Path("m.safetensors").exists()
