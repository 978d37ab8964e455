"""Classification on the command line: names of classes, accuracy, probabilities."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import datasets, metrics

import fcbackends as fcb
from fcbackends.cli.model import load


def write(name, names=None, **columns):
    """A data set of scikit-learn's as CSV, with names of classes in the column `kind`."""
    data = getattr(datasets, f"load_{name}")()
    names = list(map(str, data.target_names)) if names is None else names
    frame = pl.DataFrame(data.data, schema=[str(feature) for feature in data.feature_names])
    kinds = pl.Series([names[code] for code in data.target])
    frame.with_columns(kind=kinds, **columns).write_csv(f"{name}.csv")
    return data.data, data.target, np.array(names)


def split(rows, share, seed=0):
    order = fcb.sample_indices(rows, steps=1, batch_size=rows, sampling="epoch", seed=seed)[0]
    return np.sort(order[round(share * rows) :]), np.sort(order[: round(share * rows)])


def trained(x, t, loss, **how):
    return fcb.train(x, t, loss=loss, batch_size=32, sampling="epoch", **how)


@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_classes_by_name(command, name):
    x, t, names = write(name)
    line = f"train {name}.csv --loss cross_entropy --hidden 16 --standardize inputs --lr 0.05"
    ran = command(f"{line} --epochs 20 --holdout 0.25 --out m.safetensors")
    assert (ran.status, ran.err) == (0, "")
    trained_on, held_out = split(len(x), 0.25)
    model = load("m.safetensors")
    assert model.classes == (tuple(sorted(names)),)
    scaled = model.prepare(x)
    result = trained(
        scaled[trained_on], t[trained_on], "cross_entropy", classes=len(names), hidden=(16,),
        lr=0.05, max_steps=-(-20 * len(trained_on) // 32),
    )  # fmt: skip
    assert ran.value("digest") == fcb.digest(result.params)
    said = fcb.predict(result.params, scaled).argmax(axis=1)
    right = [f"{metrics.accuracy_score(t[r], said[r]):.4f}" for r in (trained_on, held_out)]
    assert ran.value("accuracy") == f"{right[0]} training, {right[1]} held-out"
    frequent = np.bincount(t[trained_on]).argmax()
    shares = [f"{(t[r] == frequent).mean():.4f}" for r in (trained_on, held_out)]
    text = f"{shares[0]} training, {shares[1]} held-out ({names[frequent]})"
    assert ran.value("most frequent") == text
    assert ran.value("classes") == f"{', '.join(names)} of kind"
    counts = metrics.confusion_matrix(t[held_out], said[held_out])
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        t[held_out], said[held_out], zero_division=np.nan
    )
    lines = ran.out.splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("kind: held-out"))) :]
    assert table[1].split() == ["class", *names, "precision", "recall", "support"]
    for i, line in enumerate(table[2:]):
        assert line.split() == [
            names[i],
            *map(str, counts[i]),
            "none" if np.isnan(precision[i]) else f"{precision[i]:.4f}",
            f"{recall[i]:.4f}",
            str(support[i]),
        ]

    ran = command(f"predict m.safetensors {name}.csv --probabilities --keep kind --out y.parquet")
    assert (ran.status, ran.err) == (0, "")
    frame = pl.read_parquet("y.parquet")
    columns = ["kind", "predicted_kind", *(f"p_{n}" for n in names)]
    assert frame.columns == columns
    assert frame["predicted_kind"].cast(pl.String).to_list() == names[said].tolist()
    p = fcb.predict_proba(result.params, scaled)
    np.testing.assert_array_equal(frame.select(columns[2:]).to_numpy(), p)
    assert command(f"predict m.safetensors {name}.csv --probabilities --out p.npy").status == 0
    np.testing.assert_array_equal(np.load("p.npy"), p)


@pytest.mark.parametrize("names", [None, ["0", "1"], ["true", "false"]])
def test_two_classes(command, names):
    x, t, names = write("breast_cancer", names)
    if names[0] == "true" or names[0] == "malignant":
        t = 1 - t  # the names in order
        names = names[::-1]
    line = "train breast_cancer.csv --loss binary_cross_entropy --standardize inputs --lr 0.05"
    ran = command(f"{line} --steps 100 --out m.safetensors")
    assert (ran.status, ran.err) == (0, "")
    model = load("m.safetensors")
    scaled = model.prepare(x)
    result = trained(scaled, t[:, None], "binary_cross_entropy", lr=0.05, max_steps=100)
    assert ran.value("digest") == fcb.digest(result.params)
    y = fcb.predict(result.params, scaled)
    assert ran.value("accuracy") == f"{((y > 0)[:, 0] == t).mean():.4f} training"
    assert ran.value("training loss") == (
        f"{fcb.binary_cross_entropy_loss(y, t[:, None].astype(float)).loss:.6g}"
    )
    ran = command("predict m.safetensors breast_cancer.csv --probabilities")
    frame = pl.read_csv(io.StringIO(ran.out), infer_schema=False)
    assert frame.columns == ["kind", f"p_{names[1]}"]
    assert frame["kind"].to_list() == names[(y > 0).astype(int)[:, 0]].tolist()
    p = fcb.predict_proba(result.params, scaled, loss="binary_cross_entropy")
    assert frame[f"p_{names[1]}"].cast(pl.Float64).to_list() == p[:, 0].tolist()


def test_several_targets_of_two_values(command):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    frame = pl.DataFrame(x, schema=["a", "b"]).with_columns(
        big=pl.Series(x[:, 0] > 0), side=pl.Series(np.where(x[:, 1] > 0, "right", "left"))
    )
    frame.write_parquet("t.parquet")
    line = "train t.parquet --target big,side --loss binary_cross_entropy --lr 0.5 --steps 200"
    ran = command(f"{line} --out m.safetensors")
    t = np.column_stack([x[:, 0] > 0, x[:, 1] > 0]).astype(float)
    result = trained(x, t, "binary_cross_entropy", lr=0.5, max_steps=200)
    assert ran.value("digest") == fcb.digest(result.params)
    assert "big: training rows by their class" in ran.out
    assert "side: training rows by their class" in ran.out
    frame = pl.read_csv(io.StringIO(command("predict m.safetensors t.parquet --probabilities").out))
    assert frame.columns == ["big", "side", "p_big", "p_side"]
    assert set(frame["side"]) == {"left", "right"}


@pytest.mark.parametrize(
    ("kinds", "classes", "dtype"),
    [
        (["10", "9", "10", "9"], ("9", "10"), pl.Int64),
        (["1.5", "0.5", "1.5", "0.5"], ("0.5", "1.5"), pl.Float64),
        (["b", "10", "b", "10"], ("10", "b"), pl.String),
        (["10", "007", "10", "007"], ("007", "10"), pl.String),
    ],
)
def test_classes_that_are_numbers_are_sorted_and_written_as_numbers(command, kinds, classes, dtype):
    pl.DataFrame({"x": [1.0, 2.0, 1.0, 2.0], "kind": kinds}).write_csv("t.csv")
    line = "train t.csv --loss cross_entropy --lr 0.5 --epochs 400 --out m.safetensors"
    assert command(line).status == 0
    assert load("m.safetensors").classes == (classes,)
    assert command("predict m.safetensors t.csv --out y.parquet").status == 0
    frame = pl.read_parquet("y.parquet")
    assert frame["kind"].dtype == dtype
    assert [str(value) for value in frame["kind"]] == kinds


def test_a_network_no_better_than_the_most_frequent_class(command):
    write("wine")
    ran = command("train wine.csv --loss cross_entropy --hidden 16 --lr 0.05")
    assert ran.out.splitlines()[-1] == (
        "warning: the network says the same for every row: try `--standardize inputs`, a smaller "
        "`--lr` or more `--epochs`"
    )
    ran = command("train wine.csv --loss cross_entropy --standardize inputs --lr 1e-9 --steps 1")
    assert ("is no better than the most frequent class" in ran.out) == (
        float(ran.value("accuracy").split()[0]) <= float(ran.value("most frequent").split()[0])
    )


def test_many_classes_have_no_confusion(command):
    codes = np.arange(60) % 20
    pl.DataFrame({"x": codes / 20, "kind": codes}).write_csv("t.csv")
    ran = command("train t.csv --loss cross_entropy --steps 3")
    header = next(line for line in ran.out.splitlines() if line.startswith("class "))
    assert header.split() == ["class", "precision", "recall", "support"]


def test_rows_without_a_class_are_left_out(command):
    Path("t.csv").write_text("x,kind\n1,p\n2,\n3,q\n4,p\n,q\n5,q\n")
    ran = command("train t.csv --loss cross_entropy --missing mean")
    assert ran.value("samples") == "5, 1 left out for missing values"
    assert ran.value("classes") == "p, q of kind"


def test_huber(command):
    data = datasets.load_diabetes()
    np.savez("d.npz", x=data.data, t=data.target / 100)
    ran = command("train d.npz --loss huber --lr 0.1 --steps 50")
    result = trained(data.data, data.target / 100, "huber", lr=0.1, max_steps=50)
    assert ran.value("digest") == fcb.digest(result.params)
    t = (data.target / 100)[:, None]
    y = fcb.predict(result.params, data.data)
    assert ran.value("training loss") == f"{fcb.huber_loss(y, t).loss:.6g}"
    assert ran.value("R2") == f"{metrics.r2_score(t, y):.4f} training"


@pytest.mark.parametrize(
    ("loss", "t"),
    [("cross_entropy", [0, 1, 2, 0, 1, 2]), ("binary_cross_entropy", [0, 1, 1, 0, 1, 1])],
)
def test_a_network_of_classes_that_python_saved(command, loss, t):
    x = np.array([[0.0], [1.0], [2.0], [0.1], [1.1], [2.1]])
    result = fcb.train(x, np.array(t), loss=loss, lr=1.0, max_steps=3000)
    fcb.save("m.safetensors", result)
    np.save("x.npy", x)
    assert command("predict m.safetensors x.npy --out y.npy").status == 0
    assert np.load("y.npy")[:, 0].tolist() == t
    assert command("predict m.safetensors x.npy --probabilities --out p.npy").status == 0
    p = fcb.predict_proba(result.params, x, loss=loss)
    np.testing.assert_array_equal(np.load("p.npy"), p)


def test_a_divergence_advises_what_classes_allow(command):
    np.savez("d.npz", x=[[1e155], [-1e155]] * 2, t=[0, 1, 1, 0])
    ran = command("train d.npz --loss cross_entropy --lr 1e200 --steps 9")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.endswith("or scale the data with `--standardize inputs`\n")


TWO = "`DATA` must hold two values in each target where `--loss` is binary_cross_entropy"
CASES = {
    "train t.csv --target kind": "`DATA` must hold finite numbers only, got 'p' in column 'kind', "
    "row 1 of 6: `--loss cross_entropy` takes texts for classes",
    "train t.csv --loss mse": "`--loss` must be one of 'mean_squared', 'huber', 'cross_entropy', "
    "'binary_cross_entropy', got 'mse'",
    "train t.csv --loss cross_entropy --target kind,a": "`--target` must be one column of classes "
    "where `--loss` is cross_entropy, got 2",
    "train t.csv --loss cross_entropy --target a": "`DATA` must hold from 2 to 3 classes in its "
    "target, got 6 in column 'a', which has 6 rows",
    "train t.csv --loss cross_entropy --target one": "`DATA` must hold from 2 to 3 classes in its "
    "target, got 1 in column 'one', which has 6 rows",
    "train t.csv --loss binary_cross_entropy --target kind": f"{TWO}, got 'p', 'q', 'r' in column "
    "'kind'",
    "train t.csv --loss binary_cross_entropy --target a": f"{TWO}, got '1', '2', '3', '4', '5', "
    "... in column 'a'",
    "train t.csv --loss binary_cross_entropy --target one": f"{TWO}, got 'x' in column 'one'",
    "train t.csv --loss cross_entropy --target kind --standardize both": "`--standardize` must be "
    "inputs where `--loss` is cross_entropy, got both",
    "train t.csv --loss cross_entropy --target kind --standardize targets": "`--standardize` must "
    "be inputs where `--loss` is cross_entropy, got targets",
    "train gap.csv --loss cross_entropy": "`DATA` must hold a value in each row, got none in "
    "column 'kind', row 2 of 4: `--missing drop` leaves such rows out, `--missing mean` or "
    "`median` fills features in",
    "predict m.safetensors t.csv --probabilities": "`--probabilities` must come with a model of "
    "classes, got one of numbers, trained on mean_squared",
}


@pytest.mark.parametrize("line", CASES)
def test_refusals(command, line):
    Path("t.csv").write_text(
        "a,one,kind\n1,x,p\n2,x,q\n3,x,r\n4,x,p\n5,x,q\n6,x,r\n",
    )
    Path("gap.csv").write_text("a,kind\n1,p\n2,\n3,q\n4,p\n")
    if line.startswith("predict"):
        assert command("train t.csv --target a --steps 1 --out m.safetensors").status == 0
    ran = command(line)
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {CASES[line]}\n")
