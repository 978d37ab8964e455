"""`fcbackends train DATA` against the library: the same digests, models that predict the same."""

import functools
import operator

import numpy as np
import polars as pl
import pytest
from sklearn import datasets

import fcbackends as fcb
from fcbackends.cli.data import read_table
from fcbackends.cli.form import Form
from fcbackends.cli.model import load
from fcbackends.cli.values import numbers


@pytest.fixture
def linnerud(tmp_path):
    """3 inputs, 3 targets, 20 samples, as CSV."""
    data = datasets.load_linnerud()
    frame = pl.DataFrame(np.hstack([data.data, data.target]))
    frame.columns = [*data.feature_names, *data.target_names]
    frame.write_csv(tmp_path / "linnerud.csv")
    return data.data, data.target


@pytest.fixture
def diabetes(tmp_path):
    """10 inputs, 1 target, 442 samples, as Parquet."""
    data = datasets.load_diabetes()
    frame = pl.DataFrame(data.data)
    frame.columns = data.feature_names
    frame.with_columns(progression=data.target).write_parquet(tmp_path / "diabetes.parquet")
    return data.data, data.target[:, None]


@pytest.fixture
def digits(tmp_path):
    """64 inputs, 10 targets of which one is 1, 1797 samples, as .npz."""
    data = datasets.load_digits()
    x, t = data.data / 16, np.eye(10)[data.target]
    np.savez(tmp_path / "digits.npz", x=x, t=t)
    return x, t


def standardised(values):
    """Mean and scale of each column, summed in the rows' order."""
    mean = functools.reduce(operator.add, values) / len(values)
    scale = np.sqrt(functools.reduce(operator.add, (values - mean) ** 2) / len(values))
    return mean, scale


def test_linnerud_standardised(command, linnerud):
    x, t = linnerud
    ran = command(
        "train linnerud.csv --target Weight,Waist,Pulse --standardize both --epochs 50 --batch 5 "
        "--out model.safetensors"
    )
    (x_mean, x_scale), (t_mean, t_scale) = standardised(x), standardised(t)
    expected = fcb.train(
        (x - x_mean) / x_scale,
        (t - t_mean) / t_scale,
        lr=0.01,
        batch_size=5,
        max_steps=200,
        sampling="epoch",
    )
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == fcb.digest(expected.params)
    assert ran.value("samples") == "20"
    assert ran.value("inputs") == "3: Chins, Situps, Jumps"
    assert ran.value("outputs") == "3: Weight, Waist, Pulse"
    assert ran.value("network") == "3 -> 3, 12 parameters"
    assert ran.value("steps") == "200 of batch 5, all steps taken"
    assert ran.value("written") == "model.safetensors"

    y = fcb.predict(expected.params, (x - x_mean) / x_scale)
    loss = fcb.mean_squared_loss(y, (t - t_mean) / t_scale).loss
    own = fcb.mean_squared_loss(y * t_scale + t_mean, t).loss
    losses = f"{loss:.6g} standardised, {own:.6g} in the targets' own units"
    assert ran.value("training loss") == losses
    first_y = fcb.predict(fcb.init_params((3, 3)), (x - x_mean) / x_scale)
    first = fcb.mean_squared_loss(first_y, (t - t_mean) / t_scale).loss
    assert ran.value("initial loss") == f"{first:.6g}"
    ran = command("predict model.safetensors linnerud.csv --out y.npy")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert fcb.compare(np.load("y.npy"), y * t_scale + t_mean).equal


def test_diabetes_held_out(command, diabetes):
    x, t = diabetes
    ran = command(
        "train diabetes.parquet --hidden 16,8 --holdout 0.25 --seed 3 --dtype float32 "
        "--lr 1e-4 --steps 30"
    )
    order = fcb.sample_indices(442, steps=1, batch_size=442, sampling="epoch", seed=3)[0]
    held_out, trained_on = np.sort(order[:110]), np.sort(order[110:])
    expected = fcb.train(
        x[trained_on],
        t[trained_on],
        hidden=(16, 8),
        lr=1e-4,
        batch_size=32,
        max_steps=30,
        sampling="epoch",
        seed=3,
        dtype="float32",
    )
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == fcb.digest(expected.params)
    assert ran.value("samples") == "332, 110 held out"
    assert ran.value("network") == "10 -> 16 -> 8 -> 1, 321 parameters, relu"
    for name, rows in (("training loss", trained_on), ("held-out loss", held_out)):
        y = fcb.predict(expected.params, x[rows].astype("float32"))
        loss = fcb.mean_squared_loss(y, t[rows].astype("float32")).loss
        assert ran.value(name) == f"{loss:.6g}"


def test_digits_on_two_backends(command, digits):
    x, t = digits
    expected = fcb.train(
        x,
        t,
        hidden=(12,),
        lr=0.05,
        batch_size=16,
        max_steps=40,
        sampling="replacement",
        backend="numpy",
    )
    line = "train digits.npz --hidden 12 --lr 0.05 --batch 16 --steps 40 --sampling replacement"
    for backend in ("numpy", "numba"):
        ran = command(line, "--backend", backend)
        assert (ran.status, ran.err) == (0, "")
        assert ran.value("backend") == f"{backend}, ordered, float64"
        assert ran.value("digest") == fcb.digest(expected.params)
        assert ran.value("network") == "64 -> 12 -> 10, 910 parameters, relu"


def test_the_kinds_of_file_and_ways_to_name_targets_agree(command):
    values = np.random.default_rng(5).normal(size=(30, 5)).round(3)
    names = ["a", "b", "c", "d", "e"]
    frame = pl.DataFrame(values, schema=names)
    frame.write_csv("table.csv")
    frame.write_csv("bare.csv", include_header=False)
    frame.write_parquet("table.parquet")
    np.save("table.npy", np.asfortranarray(values))
    np.savez("table.npz", values)
    np.savez("pair.npz", x=values[:, [0, 2, 3]], t=values[:, [1, 4]])
    ways = [
        "table.csv --target b,e",
        "table.csv --target b --target e",
        "table.csv --header --target -1,1",
        "bare.csv --no-header --target 1,4",
        "table.parquet --target e,1:2",
        "table.npy --target 1,-1:",
        "table.npz --target -4:2,4:",
        "pair.npz",
    ]
    digests = [command(f"train {way} --steps 20").value("digest") for way in ways]
    assert [d == digests[0] for d in digests] == [True, True, False, True, False, True, True, True]
    assert digests[2] == digests[4]  # the targets in the other order


def test_the_last_column_is_the_target_if_none_is_named(command):
    np.savetxt(
        "table.csv", np.arange(12.0).reshape(4, 3), delimiter=",", header="p,q,r", comments=""
    )
    ran = command("train table.csv --lr 1e-3 --epochs 1")
    assert (ran.value("inputs"), ran.value("outputs")) == ("2: p, q", "1: r")
    assert ran.value("steps") == "1 of batch 4, all steps taken"


def test_names_may_hold_commas_and_look_like_numbers(command):
    pl.DataFrame({"a,b": [1.0, 2.0], "7": [3.0, 4.0], "c": [5.0, 6.0]}).write_csv("table.csv")
    table = read_table("table.csv", Form(header=True))
    assert table.select("--target", ["a,b"]) == (0,)
    assert table.select("--target", ["7", "c"]) == (1, 2)
    assert table.select("--target", ["2,0"]) == (2, 0)


def test_csv_numbers_are_read_to_the_bit(command):
    bits = np.random.default_rng(0).integers(0, 2**64, 2000, dtype=np.uint64)
    values = bits.view(np.float64)
    values = values[np.isfinite(values)][:1900].reshape(-1, 2)
    lines = ["a, b ", *(f" {p!r},{q!r}" for p, q in values.tolist())]
    with open("table.csv", "w") as file:
        file.write("\ufeff" + "\r\n".join(lines) + "\r\n\r\n")
    table = read_table("table.csv")
    assert table.names == ("a", "b")
    assert fcb.compare(numbers(table, [0, 1]), values).equal


def test_integers_and_small_floats_are_taken(command):
    np.savez("table.npz", x=np.arange(6, dtype=">i2"), t=np.arange(6, dtype=np.float16))
    assert numbers(read_table("table.npz"), [1, 0]).tolist() == [[i, i] for i in range(6)]
    assert command("train table.npz --epochs 2").status == 0


def test_a_constant_column_keeps_the_scale_1(command):
    np.save("table.npy", [[0.1, i, 2.0 * i] for i in range(10)])
    ran = command("train table.npy --standardize inputs --out m.safetensors")
    model = load("m.safetensors")
    assert ran.status == 0
    assert model.outputs is None
    assert model.inputs.scale.tolist() == [1.0, np.sqrt(8.25)]


def test_a_tolerance_stops(command):
    np.save("line.npy", [[i / 10, i / 5 + 1] for i in range(10)])
    ran = command("train line.npy --lr 0.1 --tol 1e-6 --tol-on data --steps 100000")
    assert "tolerance reached" in ran.value("steps")
    assert float(ran.value("training loss")) <= 1e-6  # the run's own `--tol`


def test_the_environment_chooses_the_backend(command, monkeypatch):
    monkeypatch.setenv("FCBACKENDS_BACKEND", "array_api_strict")
    np.save("line.npy", [[i / 10, i / 5 + 1] for i in range(10)])
    line = "train line.npy --standardize both --hidden 3 --steps 5 --out m.safetensors"
    ran = command(line)
    assert ran.value("backend") == "array_api_strict, ordered, float64"
    strict = command("predict m.safetensors line.npy").out
    monkeypatch.delenv("FCBACKENDS_BACKEND")
    assert command(line).value("digest") == ran.value("digest")
    assert command("predict m.safetensors line.npy").out == strict


@pytest.mark.parametrize(
    ("name", "magic"), [("loss.png", b"\x89PNG"), ("loss.SVG", b"<?xml"), ("loss.pdf", b"%PDF")]
)
def test_plot(command, tmp_path, name, magic):
    np.save("line.npy", [[i / 10, i / 5 + 1] for i in range(10)])
    ran = command("train line.npy --epochs 3 --plot", name)
    assert (ran.status, ran.err, ran.value("written")) == (0, "", name)
    assert (tmp_path / name).read_bytes().startswith(magic)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line.npy", name]


def test_a_loss_of_zero_can_be_plotted(command):
    np.save("zero.npy", np.zeros((4, 2)))
    assert command("train zero.npy --epochs 3 --plot loss.png").status == 0


def test_the_same_run_writes_the_same_file(command, tmp_path, linnerud):
    for name in ("a.safetensors", "b.safetensors"):
        assert command("train linnerud.csv --standardize both --steps 5 --out", name).status == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ("--momentum 0.9", fcb.SGD(momentum=0.9)),
        ("--momentum 0.9 --nesterov --weight-decay 0.1", fcb.SGD(0.9, True, 0.1)),
        ("--optimizer adam --weight-decay 0.1", fcb.Adam(weight_decay=0.1, decoupled=False)),
        ("--optimizer adamw --weight-decay 0.1", fcb.Adam(weight_decay=0.1)),
    ],
)
def test_an_optimizer_is_the_librarys(command, linnerud, options, optimizer):
    x, t = linnerud
    ran = command(f"train linnerud.csv --target 3:6 --lr 1e-6 --steps 30 {options}")
    want = fcb.train(
        x, t, optimizer=optimizer, lr=1e-6, batch_size=20, max_steps=30, sampling="epoch"
    )
    assert ran.value("digest") == fcb.digest(want.params)
    assert ran.value("optimizer") == str(optimizer)


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ("--warmup 5", fcb.ConstantRate(1e-6, 5)),
        (
            "--schedule step --decay-every 7 --decay-factor 0.5 --warmup 2",
            fcb.StepRate(1e-6, 7, 0.5, 2),
        ),
        ("--schedule exponential --decay-factor 0.9", fcb.ExponentialRate(1e-6, 0.9)),
        ("--schedule cosine --warmup 3", fcb.CosineRate(1e-6, 30, 0.0, 3)),
    ],
)
def test_a_schedule_is_the_librarys(command, linnerud, options, rate):
    x, t = linnerud
    ran = command(f"train linnerud.csv --target Weight,Waist,Pulse --lr 1e-6 --steps 30 {options}")
    expected = fcb.train(x, t, lr=rate, batch_size=20, max_steps=30, sampling="epoch")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == fcb.digest(expected.params)
    assert ran.value("learning rate") == str(rate)


def test_a_gradient_is_clipped_as_the_library_does(command, linnerud):
    x, t = linnerud
    ran = command(
        "train linnerud.csv --target Weight,Waist,Pulse --lr 1e-4 --steps 30 --clip-norm 2.5"
    )
    expected = fcb.train(
        x, t, lr=1e-4, clip_norm=2.5, batch_size=20, max_steps=30, sampling="epoch"
    )
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == fcb.digest(expected.params)
    assert ran.value("gradient") == "of a norm of at most 2.5"
