"""Tables and options of tables that are refused: what is wrong, where, and what helps."""

import io
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli_tables import PENGUINS

THERE = "('a', 'b', 'kind', 'y', or an index from -4 to 3, or a range a:b of these)"
SEPARATORS = "tab, \\t, space, whitespace"

CASES = {
    "train t.csv --features a --drop b": "`--features` and `--drop` must not come together, got "
    "'a' and 'b'",
    "train t.csv --features z": f"`--features` must name columns that are there {THERE}, got 'z'",
    "train t.csv --drop 7": f"`--drop` must name columns that are there {THERE}, got '7'",
    "train t.csv --target y,3": "`--target` must name each column once, got column 'y' twice",
    "train t.csv --features a,0:2": "`--features` must name each column once, got column 'a' twice",
    "train t.csv --features a,y": "`--features` must name no target, got column 'y'",
    "train t.csv --drop y": "`--drop` must name no target, got column 'y'",
    "train t.csv --drop a,b,kind": "`--drop` must leave a feature column, got all of them (3)",
    "train t.csv --features kind --text drop": "`--text` must leave a feature column, got drop, "
    "and only text columns",
    "train t.csv --categorical y": "`--categorical` must name feature columns, got column 'y', "
    "which is none",
    "train t.csv --drop a --categorical a": "`--categorical` must name feature columns, got column "
    "'a', which is none",
    "train t.csv --target kind": "`DATA` must hold finite numbers only, got 'p' in column 'kind', "
    "row 1 of 3: `--loss cross_entropy` takes texts for classes",
    "train t.csv --text no": "`--text` must be one of 'onehot', 'drop', got 'no'",
    "train t.csv --missing zero": "`--missing` must be one of 'drop', 'mean', 'median', got 'zero'",
    "train t.csv --separator ;;": f"`--separator` must be one character, such as ';', or one of "
    f"{SEPARATORS}, got ';;'",
    "train t.csv --decimal ;": "`--decimal` must be one of '.', ',', got ';'",
    "train t.csv --encoding latin-99": "`--encoding` must be an encoding such as utf-8, latin-1 or "
    "utf-16, got 'latin-99'",
    "train t.csv --encoding utf-16": "`DATA` must be a readable .csv file, got 't.csv': ",
    "train t.csv --format xls": "`--format` must be one of 'csv', 'parquet', 'npy', 'npz', got "
    "'xls'",
    "train t.csv --format parquet": "`DATA` must be a readable .parquet file, got 't.csv': ",
    "train t.npy --separator ;": "`--separator` must come with a .csv file, got 't.npy'",
    "train t.npy --decimal ,": "`--decimal` must come with a .csv file, got 't.npy'",
    "train t.npy --encoding latin-1": "`--encoding` must come with a .csv file, got 't.npy'",
    "train t.npy --comment %": "`--comment` must come with a .csv file, got 't.npy'",
    "train -": "`--format` must say what standard input holds, got nothing",
    "train /dev/stdin": "`--format` must say what standard input holds, got nothing",
    "train - --format csv": "`DATA` must be a readable .csv file, got '-': ",
    "train latin.csv": "`DATA` must be a readable .csv file, got 'latin.csv': b'\\xe4' in line 2 "
    "is no utf-8: name its `--encoding`, such as latin-1 or utf-16",
    "train ragged.csv --comment #": "`DATA` must have as many values in each line as in the "
    "first (2), got 3 in line 4",
    "train commas.csv": "`DATA` must hold finite numbers only, got '1,5' in column 'a', row 1 of "
    "2: `--decimal ,` reads such numbers",
    "train typo.csv": "`DATA` must hold finite numbers only, got '3x' in column 'a', row 3 of "
    "3: `--na` names texts for missing values, `--categorical` columns of categories",
    "train ids.csv": "`DATA` must have at most 10 categories in a column of texts, got 11 in "
    "column 'id': `--drop id` leaves it out, `--categorical` encodes it all the same",
    "train many.csv": "`DATA` must have at most 50 categories in a column of texts, got 60 in "
    "column 'id': `--drop id` leaves it out, `--categorical` encodes it all the same",
    "train days.csv": "`DATA` must hold numbers or categories, and no dates, got '2024-01-05' in "
    "column 'day', row 1 of 2: `--drop day` leaves it out",
    "train trailing.csv --header --target b": "`DATA` must hold values in each feature column, got "
    "none in column '': `--drop 2` leaves it out",
    "train gone.csv": "`DATA` must hold values in each feature column, got none in column 'a': "
    "`--drop a` leaves it out",
    "train gaps.csv --missing drop": "`--missing` must leave rows to train on, got a missing value "
    "in each of 2",
    "train late.csv --missing mean --holdout 0.5 --seed 1": "`DATA` must hold values in the rows "
    "trained on, got none in column 'a': `--drop a` leaves it out",
    "train targets.csv": "`DATA` must hold finite numbers only, got no value in column 'y', row 2 "
    "of 2: `--missing drop` leaves such rows out, `--missing mean` or `median` fills features in",
    "predict m.safetensors t.csv --keep z": f"`--keep` must name columns that are there {THERE}, "
    "got 'z'",
    "predict m.safetensors t.csv --keep a --out y.npy": "`--keep` must come with a .csv or "
    ".parquet file, got 'y.npy'",
    "predict m.safetensors twice.csv --keep y,predicted_y": "`--keep` must name no column that a "
    "prediction is called, got 'predicted_y'",
    "predict m.safetensors t.csv --unknown 0": "`--unknown` must be one of 'refuse', 'zeros', got "
    "'0'",
}

FILES = {
    "t": "a,b,kind,y\n1,2,p,3\n4,5,q,6\n7,8,p,9\n",
    "ragged": "# a comment, with commas, more than two\na,b\n1,2\n3,4,5\n",
    "commas": "a;y\n1,5;2\n2,5;3\n",
    "typo": "a,y\n1,1\n2,2\n3x,3\n",
    "ids": "id,a,y\n" + "".join(f"p{i},{i},{i}\n" for i in range(11)),
    "many": "id,a,y\n" + "".join(f"p{i % 60},{i},{i}\n" for i in range(240)),
    "days": "day,y\n2024-01-05,1\n2024-01-06,2\n",
    "gaps": "a,b,y\n,1,1\n2,,2\n",
    "late": "a,b,y\n,1,1\n1,2,2\n",
    "gone": "a,y\n,1\nNA,2\n",
    "trailing": "a,b,\n1,2,\n3,4,\n",
    "targets": "a,y\n1,1\n2,\n",
    "twice": "a,b,kind,y,predicted_y\n1,2,p,3,4\n",
}


@pytest.mark.parametrize("line", CASES)
def test_one_line(command, monkeypatch, tmp_path, line):
    for name, text in FILES.items():
        Path(f"{name}.csv").write_text(text)
    Path("latin.csv").write_bytes("a,y\n\xe4,1\n".encode("latin-1"))
    Path("t.npy").touch()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    if line.startswith("predict"):
        assert command("train t.csv --steps 1 --lr 1e-3 --out m.safetensors").status == 0
    before = sorted(path.name for path in tmp_path.iterdir())
    ran = command(line)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    want = f"fcbackends: {CASES[line]}"
    assert ran.err.startswith(want) if want.endswith(": ") else ran.err == want + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_helps_helps(command):
    """Each refusal of a table as it comes names what leads on."""
    Path("t.csv").write_bytes(
        f"# by hand\n{PENGUINS}".replace("bill", "L\xe4nge").encode("latin-1")
    )
    line = "train t.csv"
    for part, helps in (
        ("`--encoding`, such as latin-1", "--encoding latin-1 --comment #"),
        ("`--decimal ,`", "--decimal ,"),
        ("`--drop day`", "--drop day,id"),
    ):
        ran = command(line)
        assert ran.status == 2
        assert part in ran.err
        line += f" {helps}"
    assert command(f"{line} --standardize both").status == 0
