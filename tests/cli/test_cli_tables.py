"""Tables as people have them: separators, encodings, texts, booleans, gaps, standard input."""

import datetime
import io
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

import fcbackends as fcb
from fcbackends.cli.data import read_table
from fcbackends.cli.form import Form
from fcbackends.cli.model import load
from fcbackends.cli.values import numbers

PENGUINS = """\
id;species;island;bill;male;day;mass
p1;Adelie;Torgersen;39,1;true;2007-11-11;3750
p2;Adelie;Biscoe;37,8;false;2007-11-12;3400
p3;Gentoo;Biscoe;46,1;false;2007-11-27;4500
p4;Gentoo;Biscoe;50;true;2007-11-27;5700
p5;Chinstrap;Dream;46,5;false;2007-11-26;3500
p6;"Chinstrap";Dream;52;true;2007-11-26;4150
"""
SPECIES = ["Adelie", "Adelie", "Gentoo", "Gentoo", "Chinstrap", "Chinstrap"]
ISLANDS = ["Torgersen", "Biscoe", "Biscoe", "Biscoe", "Dream", "Dream"]
BILLS = [39.1, 37.8, 46.1, 50.0, 46.5, 52.0]
MALE = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
MASSES = [3750.0, 3400.0, 4500.0, 5700.0, 3500.0, 4150.0]
TRAIN = "--decimal , --drop id,day --steps 20 --lr 1e-4"


def digest(x, t, steps=20):
    result = fcb.train(x, t, lr=1e-4, batch_size=min(32, len(x)), max_steps=steps, sampling="epoch")
    return fcb.digest(result.params)


def one_hot(*columns):
    return OneHotEncoder(sparse_output=False).fit_transform(np.array(columns, dtype=object).T)


def read(text, **form):
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_table("t.csv", Form(**form))
    return table.names, table.frame.rows()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a,b\n1,2\n3,4\n", {}),
        ("a;b\n1;2\n3;4\n", {}),
        ("a\tb\n1\t2\n3\t4\n", {}),
        ("a|b\n1|2\n3|4\n", {}),
        ("a b\n1  2\n3\t4\n", {}),
        ("  a   b \r\n 1   2\r\n 3   4 \r\n", {}),
        ("\ufeffa;b\n1;2\n3;4\n", {}),
        ("a;b\n1;2\n3;4\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("# by hand, in 2024\na,b\n1,2\n# a pause\n3,4\n", {"comment": "#"}),
        ("a:b\n1:2\n3:4\n", {"separator": ":"}),
        ("a b\n1 2\n3 4\n", {"separator": " "}),
        ("a  b\n1 2\n3 4\n", {"separator": "whitespace"}),
        ('"a";"b"\n"1";"2"\n3;4\n', {}),
        ('"a" "b"\n1 2\n"3" 4\n', {}),
    ],
)
def test_a_csv_file_is_read_as_it_is_written(command, text, form):
    assert read(text, **form) == (("a", "b"), [("1", "2"), ("3", "4")])


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("a,b;c\n1,2;3\n", ("a,b", "c"), ("1,2", "3")),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ("a", "b"), ("1,5", "2,5")),
        ('a,b\n"x;y",2\n"z;w",3\n', ("a", "b"), ("x;y", "2")),
        ("a,b,c\n1,2\n3,4,5\n", ("a", "b", "c"), ("1", "2", None)),
        ("the name\n1\n2\n", ("the name",), ("1",)),
        ('a,b\n"two\nlines",2\n3,4\n', ("a", "b"), ("two\nlines", "2")),
    ],
)
def test_the_separator_is_the_one_that_fits_all_lines(command, text, names, first):
    found, rows = read(text)
    assert (found, rows[0]) == (names, first)


def test_other_suffixes_and_standard_input(command, monkeypatch):
    want = np.array([[1.5, 2.0], [-3.0, 4.0]])
    Path("t.tsv").write_text("a\tb\n1.5\t2\n-3\t4\n")
    Path("t.data").write_text("1.5 2\n-3 4\n")
    np.save("t.npy", want)
    Path("t.npy").rename("array")
    for table in (
        read_table("t.tsv"),
        read_table("t.data", Form(format="csv", header=False)),
        read_table("array", Form(format="npy")),
    ):
        np.testing.assert_array_equal(numbers(table, [0, 1]), want)
    for content, kind in ((b"a,b\n1.5,2\n-3,4\n", "csv"), (Path("array").read_bytes(), "npy")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        np.testing.assert_array_equal(numbers(read_table("-", Form(format=kind)), [0, 1]), want)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
def test_a_pipe_is_read(start, tmp_path, name, kind):
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 1.0, 0.0], "y": [1.0, 2.0, 4.0]})
    file = tmp_path / f"t.{kind}"
    if kind == "npy":
        np.save(file, frame.to_numpy())
    else:
        getattr(frame, f"write_{kind}")(file)
    process = start(f"train {name} --format {kind} --steps 3", stdin=-1, text=False)
    out, err = process.communicate(file.read_bytes(), timeout=600)
    assert (process.returncode, err) == (0, b"")
    result = fcb.train(
        frame.to_numpy()[:, :2], frame.to_numpy()[:, 2:], lr=0.01, batch_size=3, max_steps=3,
        sampling="epoch",
    )  # fmt: skip
    assert fcb.digest(result.params) in out.decode()


def test_decimal_commas(command):
    Path("t.csv").write_text("a;b\n1,5;-2e-3\n+3;0,25\n")
    table = read_table("t.csv", Form(decimal=","))
    assert numbers(table, [0, 1]).tolist() == [[1.5, -2e-3], [3.0, 0.25]]
    Path("t.csv").write_text("a;b\n1,5;2\n3;1.234,5\n")
    ran = command("train t.csv --decimal ,")
    assert ran.err == (
        "fcbackends: `DATA` must hold finite numbers only, got '1.234,5' in column 'b', row 2 of "
        "2\n"
    )


def test_texts_are_encoded_as_scikit_learn_does(command):
    Path("penguins.csv").write_text(PENGUINS)
    ran = command(f"train penguins.csv {TRAIN} --out m.safetensors")
    assert (ran.status, ran.err) == (0, "")
    x = np.column_stack([one_hot(SPECIES, ISLANDS), BILLS, MALE])
    assert ran.value("digest") == digest(x, np.array(MASSES)[:, None])
    assert ran.value("inputs") == "8, of columns 4: species, island, bill, male"
    assert ran.value("species") == "3 inputs: Adelie, Chinstrap, Gentoo"
    assert ran.value("male") == "1 input: false 0, true 1"
    ran = command("predict m.safetensors penguins.csv --decimal , --out y.npy")
    assert (ran.status, ran.err) == (0, "")
    model = load("m.safetensors")
    want = fcb.predict(model.params, x)
    np.testing.assert_array_equal(np.load("y.npy"), want)


def test_a_parquet_file_has_types(command):
    frame = pl.DataFrame(
        {
            "species": pl.Series(SPECIES, dtype=pl.Categorical),
            "island": pl.Series(ISLANDS, dtype=pl.Enum(sorted(set(ISLANDS)))),
            "bill": BILLS,
            "male": [value == 1 for value in MALE],
            "day": [datetime.date(2007, 11, 11)] * 6,
            "mass": pl.Series(MASSES).cast(pl.Int32),
        }
    )
    frame.write_parquet("penguins.parquet")
    Path("penguins.csv").write_text(PENGUINS)
    of_text = command(f"train penguins.csv {TRAIN} --out m.safetensors")
    ran = command("train penguins.parquet --drop day --steps 20 --lr 1e-4")
    assert ran.value("digest") == of_text.value("digest")
    # A model of one kind of file is applied to the other.
    first = command("predict m.safetensors penguins.csv --decimal ,")
    assert command("predict m.safetensors penguins.parquet").out == first.out


def test_a_parquet_file_has_nulls(command):
    frame = pl.DataFrame(
        {
            "a": [1.0, None, float("nan"), 3.0],
            "kind": ["p", None, "q", "p"],
            "flag": [True, True, None, False],
            "y": [1, 2, 3, 4],
        }
    )
    frame.write_parquet("t.parquet")
    ran = command("train t.parquet --missing mean")
    assert ran.value("a") == "2 missing, filled with 2"
    assert ran.value("kind") == "2 inputs: p, q; 1 missing, filled with p"
    assert ran.value("flag") == "1 input: false 0, true 1; 1 missing, filled with 1"
    frame.with_columns(a=pl.lit(None)).write_parquet("t.parquet")
    ran = command("train t.parquet --missing mean")
    assert ran.err.endswith("got none in column 'a': `--drop a` leaves it out\n")


def test_text_can_be_left_out(command):
    Path("penguins.csv").write_text(PENGUINS)
    ran = command("train penguins.csv --decimal , --text drop --steps 20 --lr 1e-4")
    assert ran.value("inputs") == "2: bill, male"
    assert ran.value("id") == "text, left out"
    assert ran.value("digest") == digest(np.column_stack([BILLS, MALE]), np.array(MASSES)[:, None])


def test_numbers_can_be_categories(command):
    Path("t.csv").write_text("month,grade,y\n10,2,1\n2,K,2\n10,1,3\n1,K,5\n")
    ran = command("train t.csv --categorical month,grade --steps 20 --lr 1e-4")
    assert ran.value("month") == "3 inputs: 1, 2, 10"
    assert ran.value("grade") == "3 inputs: 1, 2, K"
    x = np.array([[0, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1]])
    assert ran.value("digest") == digest(x, [[1.0], [2.0], [3.0], [5.0]])
    pl.DataFrame({"month": [10.0, 2.0], "grade": ["1", "K"], "y": [0.0, 1.0]}).write_parquet(
        "t.parquet"
    )
    assert command("train t.csv --categorical month,grade --out m.safetensors").status == 0
    assert command("predict m.safetensors t.parquet").status == 0


def test_as_many_categories_as_are_asked_for(command):
    rows = "".join(f"p{i:02},{i}\n" for i in range(70))
    Path("t.csv").write_text(f"id,y\n{rows}")
    ran = command("train t.csv --categorical id --steps 1")
    assert ran.value("inputs") == "70, of columns 1: id"


def test_unknown_categories(command):
    Path("t.csv").write_text("kind,a,y\np,1,2\nq,2,3\np,4,5\n")
    command("train t.csv --out m.safetensors")
    Path("new.csv").write_text("a,kind\n1,p\n1,r\n")
    ran = command("predict m.safetensors new.csv")
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        "fcbackends: `DATA` must hold the categories that the model knows ('p', 'q'), got 'r' in "
        "column 'kind', row 2 of 2: `--unknown zeros` takes it for none\n",
    )
    assert command("predict m.safetensors new.csv --unknown zeros --out y.npy").status == 0
    model = load("m.safetensors")
    want = fcb.predict(model.params, np.array([[1.0, 0, 1], [0, 0, 1]]))
    np.testing.assert_array_equal(np.load("y.npy"), want)


GAPS = "a,kind,flag,y\n1,p,true,1\n,q,true,2\n3,,,3\n5,q,false,\n9,q,true,4\nNA,p,false,6\n"


def test_rows_with_gaps_can_be_dropped(command):
    Path("t.csv").write_text(GAPS)
    Path("whole.csv").write_text("a,kind,flag,y\n1,p,true,1\n9,q,true,4\n")
    ran = command("train t.csv --missing drop --out m.safetensors")
    assert ran.value("samples") == "2, 4 left out for missing values"
    assert ran.value("digest") == command("train whole.csv").value("digest")
    ran = command("predict m.safetensors t.csv")
    assert ran.err == (
        "fcbackends: `DATA` must hold finite numbers only, got no value in column 'a', row 2 of 6: "
        "a model of `train --missing mean` or `median` fills such values in\n"
    )


@pytest.mark.parametrize("how", ["mean", "median"])
def test_gaps_are_filled_as_scikit_learn_does(command, how):
    Path("t.csv").write_text(GAPS)
    ran = command(f"train t.csv --missing {how} --steps 20 --lr 1e-4 --out m.safetensors")
    nan = np.nan
    a = SimpleImputer(strategy=how).fit_transform(np.array([[1, nan, 3, 9, nan]]).T)
    kinds = SimpleImputer(strategy="most_frequent", missing_values="").fit_transform(
        np.array([["p", "q", "", "q", "p"]], dtype=object).T
    )
    flags = [1.0, 1.0, 1.0, 1.0, 0.0]
    x = np.column_stack([a, one_hot(kinds[:, 0]), flags])
    assert ran.value("digest") == digest(x, [[1.0], [2.0], [3.0], [4.0], [6.0]])
    assert ran.value("samples") == "5, 1 left out for missing values"
    assert ran.value("a") == f"2 missing, filled with {a[1, 0]:.6g}"
    assert ran.value("kind") == "2 inputs: p, q; 1 missing, filled with p"
    assert ran.value("flag") == "1 input: false 0, true 1; 1 missing, filled with 1"
    # The model fills gaps in as its training did.
    Path("new.csv").write_text("a,kind,flag\n,,\n")
    assert command("predict m.safetensors new.csv --out y.npy").status == 0
    filled = np.array([[a[1, 0], 1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(
        np.load("y.npy"), fcb.predict(load("m.safetensors").params, filled)
    )


def test_a_model_fills_gaps_in_where_its_training_had_none(command):
    Path("t.csv").write_text("a,kind,y\n1,p,1\n4,q,2\n4,q,3\n")
    ran = command("train t.csv --missing median --out m.safetensors")
    assert "missing" not in ran.out
    Path("new.csv").write_text("a,kind\n,\n")
    Path("same.csv").write_text("a,kind\n4,q\n")
    want = command("predict m.safetensors same.csv").out
    assert command("predict m.safetensors new.csv").out == want


def test_fills_and_scales_are_those_of_the_rows_trained_on(command):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(40, 3))
    table[rng.random(40) < 0.3, 0] = np.nan
    np.save("t.npy", table)
    ran = command(
        "train t.npy --missing mean --holdout 0.25 --standardize inputs --out m.safetensors"
    )
    order = fcb.sample_indices(40, steps=1, batch_size=40, sampling="epoch")[0]
    trained_on = np.sort(order[10:])
    model = load("m.safetensors")
    assert model.features.fill == pytest.approx(np.nanmean(table[trained_on, :2], axis=0))
    filled = np.where(np.isnan(table[:, :2]), model.features.fill, table[:, :2])
    assert model.inputs.mean == pytest.approx(filled[trained_on].mean(axis=0))
    assert ran.value("0") == f"{np.isnan(table[:, 0]).sum()} missing, filled with " + (
        f"{model.features.fill[0]:.6g}"
    )


def test_categories_are_not_standardised(command):
    Path("t.csv").write_text("kind,a,y\np,1,2\nq,2,3\np,4,5\n")
    command("train t.csv --standardize both --out m.safetensors")
    model = load("m.safetensors")
    assert model.inputs.mean.tolist() == [0.0, 0.0, 7 / 3]
    assert model.inputs.scale[:2].tolist() == [1.0, 1.0]


def test_texts_that_stand_for_no_value(command):
    Path("t.csv").write_text("a,kind,y\n?,p,1\n2,-,2\n3,q,?\n4,p,5\n")
    ran = command("train t.csv --na ? --na=- --missing mean")
    assert ran.value("samples") == "3, 1 left out for missing values"
    assert ran.value("a") == "1 missing, filled with 3"
    assert ran.value("kind") == "2 inputs: p, q; 1 missing, filled with p"


@pytest.mark.parametrize(
    ("way", "same"),
    [
        ("--features a,c", "a,c,y"),
        ("--features 2 --features 0", "a,c,y"),
        ("--drop b", "a,c,y"),
        ("--drop 1:3", "a,y"),
        ("--target a --features y", "y,a"),
    ],
)
def test_columns_are_chosen(command, way, same):
    frame = pl.DataFrame(np.random.default_rng(0).normal(size=(9, 4)), schema=[*"abcy"])
    frame.write_csv("t.csv")
    frame.select(same.split(",")).write_csv("chosen.csv")
    ran = command(f"train t.csv {way} --out m.safetensors")
    assert ran.value("digest") == command("train chosen.csv --out chosen.safetensors").value(
        "digest"
    )
    want = command("predict chosen.safetensors chosen.csv").out
    assert command("predict m.safetensors t.csv").out == want
    assert command("predict m.safetensors chosen.csv").out == want


def test_columns_are_chosen_by_position(command):
    table = np.random.default_rng(0).normal(size=(9, 4))
    np.save("t.npy", table)
    np.save("features.npy", table[:, [0, 2]])
    command("train t.npy --drop 1 --out m.safetensors")
    whole = command("predict m.safetensors t.npy").out
    assert command("predict m.safetensors features.npy").out == whole


def test_columns_are_carried_along(command):
    Path("t.csv").write_text("id,a,y\np 1,1,2\n,2,3\n007,4,5\n")
    command("train t.csv --drop id --out m.safetensors")
    y = [float(line) for line in command("predict m.safetensors t.csv").out.splitlines()[1:]]
    ran = command("predict m.safetensors t.csv --keep id,y")
    assert pl.read_csv(io.StringIO(ran.out), infer_schema=False).rows() == [
        ("p 1", "2", str(y[0])),
        (None, "3", str(y[1])),
        ("007", "5", str(y[2])),
    ]
    assert ran.out.splitlines()[0] == "id,y,predicted_y"
    command("predict m.safetensors t.csv --keep id --out y.parquet")
    assert pl.read_parquet("y.parquet").columns == ["id", "y"]
    Path("bare.csv").write_text("p,1,2\nq,2,3\n")
    ran = command("predict m.safetensors bare.csv --no-header --keep 0")
    assert ran.out.splitlines()[0] == "x0,y"


def test_older_model_files_predict_the_same(command, troubles):
    """Without a word of features: all columns but the targets, and all of them numbers."""
    folder, _ = troubles
    Path("t.csv").write_text("y,b,a\n0,1,2\n0,-1,0.5\n")
    ran = command("predict", folder / "ok.safetensors", "t.csv")
    assert ran.out == "y\n4.0\n0.5\n"


UCI = {
    "housing": (" 0.00632  18.00   2.31  0  0.5380\n 0.02731   0.00   7.07  0  0.4690\n", 5),
    "cleveland": ("63.0,1.0,145.0,?,0\n67.0,1.0,160.0,2.0,1\n37.0,?,130.0,0.0,0\n", 5),
}


def test_files_of_the_machine_learning_repository(command):
    Path("housing.data").write_text(UCI["housing"][0])
    assert command("train housing.data --format csv --no-header").value("inputs") == "4"
    Path("cleveland.data").write_text(UCI["cleveland"][0])
    line = "train cleveland.data --format csv --no-header --lr 1e-6"
    assert "got '?' in column 1" in command(line).err
    ran = command(f"{line} --na ? --missing median")
    assert ran.value("1") == "1 missing, filled with 1"
    assert ran.value("3") == "1 missing, filled with 1"
