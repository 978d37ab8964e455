"""Bad input: one line that names the argument, what is required and what came; nothing written."""

import os
from pathlib import Path

import pytest

import fcbackends as fcb
from tests.cli.troubles import CSV, contents

LARGEST_SEED = 2**64 - 1
BACKENDS = ", ".join(map(repr, fcb.list_backends()))
THERE = "('a', 'b', 'y', or an index from -3 to 2, or a range a:b of these)"
FOREIGN = "must be a file written by `fcbackends train --out`"
WITHOUT_DATA = "got no `DATA` (without it there are only --seed and --dtype)"
OPTIONS = (
    "--format, --header, --no-header, --separator, --decimal, --encoding, --comment, --na, "
    "--target, --features, --drop, --categorical, --text, --missing, --standardize, --holdout, "
    "--validation, --split-seed, --hidden, --activation, --loss, --optimizer, --momentum, "
    "--nesterov, --weight-decay, --lr, --schedule, --decay-every, --decay-factor, --warmup, "
    "--clip-norm, --batch, --sampling, --steps, --epochs, --time-limit, --tol, --tol-on, "
    "--patience, --seed, --dtype, --backend, --arithmetic, --rows-per-block, --out, "
    "--keep-diverged, --plot, "
    "--record, --digest-every, --checkpoint, --checkpoint-every, --resume, --help"
)
MISSING = "`--missing drop` leaves such rows out, `--missing mean` or `median` fills features in"
NAMES = "`DATA` must have names in its first line"
ADD = "add `--no-header` if it holds data, or `--header` if it holds names"
SHARE = "must be a share between 0 and 1 that leaves rows on both sides of the split"
DURATION = "must be a finite time > 0 in seconds, or with its unit, such as 90, 90s, 10m or 2h"
SIZES = "must be layer sizes from 1 to 1000000 with commas between them, such as 64,32"


CASES = {
    # the command line itself
    "frobnicate": "`COMMAND` must be one of 'train', 'sweep', 'predict', 'export', "
    "'reproduce', 'bisect', 'report', 'compare', 'info', 'verify', 'warmup', got 'frobnicate'",
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
    "warmup --size 2-3": "`OPTION` must be one of --dtype, --sizes, --arithmetic, "
    "--activation, --loss, --optimizer, --momentum, --nesterov, --weight-decay, --schedule, "
    "--help, got '--size'",
    "warmup --sizes 2": "`--sizes` must be two or more whole numbers of at least 1, such as 2-3 "
    "or 8-16-1, got '2'",
    "warmup --sizes 2-0": "`--sizes` must be two or more whole numbers of at least 1, such as 2-3 "
    "or 8-16-1, got '2-0'",
    "warmup --sizes 300-300": "`--sizes` must be a network with at most 65536 weights and biases, "
    "and 2048 inputs and outputs of layers, got 300-300 with 90300 and 600",
    "train ok.csv --lr": "`--lr` must come with a value, got none",
    "predict": "`MODEL` must be given, got nothing",
    "predict ok.safetensors": "`DATA` must be given, got nothing",
    "export": "`MODEL` must be given, got nothing",
    "export ok.safetensors": "`--out` must be given, got nothing",
    "export ok.safetensors --out n.h": "`--out` must end in .c, got 'n.h'",
    "export ok.safetensors --out no/n.c": "`--out` must be in a folder that exists, got 'no/n.c'",
    "export ok.safetensors --out n.c --name 2x": "`--name` must be a C identifier: letters, digits "
    "and _, of which the first is a letter, got '2x'",
    "export absent.safetensors --out n.c": "`MODEL` must be a readable file, got "
    "'absent.safetensors': No such file or directory",
    "export ok.csv --out n.c": f"`MODEL` {FOREIGN}, got 'ok.csv': ",
    "train --lr 3": f"`--lr` must come with a file to train on, {WITHOUT_DATA}",
    "train --epochs 3 --out m": f"`--epochs` must come with a file to train on, {WITHOUT_DATA}",
    "train --tol-on data": f"`--tol-on` must come with a file to train on, {WITHOUT_DATA}",
    "train --seed -1": f"`--seed` must be an integer from 0 to {LARGEST_SEED}, got -1",
    # the options of training
    "train ok.csv --optimizer x": "`--optimizer` must be one of 'sgd', 'adam', 'adamw', got 'x'",
    "train ok.csv --momentum 1": "`--momentum` must be a number >= 0 and < 1, got 1.0",
    "train ok.csv --nesterov": "`--momentum` must be > 0 with `--nesterov`, got none",
    "train ok.csv --nesterov --momentum 0": "`--momentum` must be > 0 with `--nesterov`, got 0.0",
    "train ok.csv --optimizer adam --momentum 0.9": "`--momentum` must come with --optimizer sgd, "
    "got --optimizer adam",
    "train ok.csv --optimizer adamw --nesterov": "`--nesterov` must come with --optimizer sgd, got "
    "--optimizer adamw",
    "train ok.csv --weight-decay -1": "`--weight-decay` must be a finite number >= 0 in float32, "
    "got -1.0",
    "train ok.csv --schedule x": "`--schedule` must be one of 'constant', 'step', 'exponential', "
    "'cosine', got 'x'",
    "train ok.csv --schedule step --decay-factor 0.5": "`--decay-every` must be given with "
    "--schedule step, got nothing",
    "train ok.csv --schedule exponential": "`--decay-factor` must be given with --schedule "
    "exponential, got nothing",
    "train ok.csv --decay-factor 0.5": "`--decay-factor` must come with --schedule step or "
    "exponential, got --schedule constant",
    "train ok.csv --schedule cosine --decay-every 5": "`--decay-every` must come with --schedule "
    "step, got --schedule cosine",
    "train ok.csv --schedule exponential --decay-factor 2": "`--decay-factor` must be a number > 0 "
    "and <= 1, got 2.0",
    "train ok.csv --schedule cosine --steps 5 --warmup 5": "`--warmup` must be less than the 5 "
    "steps, got 5",
    "train ok.csv --clip-norm 0": "`--clip-norm` must be None or a finite number > 0 in float64, "
    "got 0.0",
    "train ok.csv --warmup -1": "`--warmup` must be a whole number of at least 0, got '-1'",
    "train ok.csv --schedule cosine --lr 0": "`--lr` must be a finite number > 0, got 0.0",
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
    **{
        f"train ok.csv --time-limit {text}": f"`--time-limit` {DURATION}, got {text!r}"
        for text in ("0", "-1", "nan", "inf", "s", "5x", "1m30s", "1_s", "0h")
    },
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
    "train data.txt": "`DATA` must end in .csv or .tsv or .parquet or .npy or .npz, or come "
    "with `--format`, got 'data.txt'",
    "train long.csv": "`DATA` must have as many values in each line as in the first (2), got 3 in "
    "line 4",
    "train short.csv": "`DATA` must hold finite numbers only, got no value in column 'b', row 2 "
    f"of 2: {MISSING}",
    "train numbers.csv": "`DATA` must have names in its first line, got numbers: add "
    "`--no-header` if it holds data, or `--header` if it holds names",
    "train gap.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train text.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train unnamed.csv": f"{NAMES}, got no value in column 0 (the first is 0): {ADD}",
    "predict ok.safetensors text.csv": f"{NAMES}, got '1' in column 0 (the first is 0): {ADD}",
    "train gap.csv --no-header": "`DATA` must hold finite numbers only, got no value in column 1 "
    f"(the first is 0), row 1 of 2: {MISSING}",
    "train text.csv --no-header": "`DATA` must hold finite numbers only, got 'x3' in column 2 "
    "(the first is 0), row 1 of 2",
    "train ok.npy --no-header": "`--no-header` must come with a .csv file, got 'ok.npy'",
    "train ok.npy --header": "`--header` must come with a .csv file, got 'ok.npy'",
    "train ok.csv --no-header": "`DATA` must hold finite numbers only, got 'a' in column 0 (the "
    "first is 0), row 1 of 5: `--na` names texts for missing values, `--categorical` columns of "
    "categories",
    "train words.csv": "`DATA` must hold a value in each row, got none in column 'kind', row 1 of "
    f"2: {MISSING}",
    "train words.csv --target kind": "`DATA` must hold finite numbers only, got 'x' in column "
    "'kind', row 2 of 2: `--loss cross_entropy` takes texts for classes",
    "train nan.csv": "`DATA` must hold finite numbers only, got nan in column 'a', row 2 "
    f"of 2: {MISSING}",
    "train inf.csv": "`DATA` must hold finite numbers only, got -inf in column 'y', row 2 of 2",
    "train large.csv": "`DATA` must hold finite numbers only, got inf in column 'y', row 2 of 2",
    "train missing.csv": "`DATA` must hold finite numbers only, got no value in column 'a', row 2 "
    f"of 2: {MISSING}",
    "train empty.csv": "`DATA` must be a readable .csv file, got 'empty.csv': ",
    "train lines.csv": "`DATA` must be a readable .csv file, got 'lines.csv': ",
    "train header.csv": "`DATA` must have at least one row of numbers, got none in 'header.csv'",
    "train bytes.csv": "`DATA` must be a readable .csv file, got 'bytes.csv': ",
    "train twice.csv": "`DATA` must have a name of its own for each column, got 'a' twice",
    "train one.csv": "`--target` must leave a feature column, got all columns (1)",
    "train semicolons.csv --separator ,": "`--target` must leave a feature column, got all "
    "columns (1)",
    "train quote.csv": "`DATA` must be a readable .csv file, got 'quote.csv': ",
    "train foreign.parquet": "`DATA` must be a readable .parquet file, got 'foreign.parquet': ",
    "train cut.parquet": "`DATA` must be a readable .parquet file, got 'cut.parquet': ",
    "train none.parquet": "`DATA` must have at least one row of numbers, got none in "
    "'none.parquet'",
    "train null.parquet": "`DATA` must hold finite numbers only, got no value in column 'y', row "
    f"1 of 2: {MISSING}",
    "train words.parquet": "`DATA` must hold finite numbers only, got 'p' in column 'd', row 1 "
    "of 2: `--loss cross_entropy` takes texts for classes",
    "train days.parquet": "`DATA` must hold numbers, booleans or texts, got Date in column "
    "'a': `--drop a` leaves it out",
    "train foreign.npy": "`DATA` must be a readable .npy file, got 'foreign.npy': not written by "
    "NumPy",
    "train cut.npy": "`DATA` must be a readable .npy file, got 'cut.npy': ",
    "train object.npy": "`DATA` must be a readable .npy file, got 'object.npy': Object arrays "
    "cannot be loaded",
    "train line.npy": "`DATA` must be 2-D, got shape (3,)",
    "train complex.npy": "`DATA` must hold integers or floats, got complex128",
    "train texts.npy": "`DATA` must hold integers or floats, got <U1",
    "train nan.npy": "`DATA` must hold finite numbers only, got nan in column 1 (the first is 0), "
    f"row 2 of 2: {MISSING}",
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
    "predict newer.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'newer.safetensors': version 4 "
    "without a checksum",
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
    "'mistargeted.safetensors': columns (7,) of 3",
    "predict misscaled.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'misscaled.safetensors': "
    "(1,) scales for 2 columns",
    "predict numbers.safetensors ok.csv": f"`MODEL` {FOREIGN}, got 'numbers.safetensors': ",
    # a model and data that do not go together
    "predict ok.safetensors words.csv": "`DATA` must have the model's columns, got none named "
    "'b' (there are 'a', 'kind', 'y')",
    "predict ok.safetensors nan.npy": "`DATA` must hold finite numbers only, got nan in column 1 "
    "(the first is 0), row 2 of 2: a model of `train --missing mean` or `median` "
    "fills such values in",
    "predict ok.safetensors numbers.csv --header": "`DATA` must have the model's columns, got "
    "none named 'a', 'b' (there are '1', '-2e3')",
    "predict ok.safetensors one.csv --no-header": "`DATA` must have the model's 2 feature "
    "columns, or these and its 1 targets as in training, got 1 columns",
}


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


@pytest.mark.parametrize("line", ["report {}", "train {}.csv", "train ok.csv --target {}", "{}"])
def test_long_words_are_cut(command, line):
    Path("ok.csv").write_text(CSV["ok"])
    ran = command(line.format("x" * 9000))
    assert ran.status in (1, 2)
    assert ran.err.startswith("fcbackends: ")
    assert (ran.out, ran.err.count("\n"), len(ran.err) < 1000) == ("", 1, True)


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
