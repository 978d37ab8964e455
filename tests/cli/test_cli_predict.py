"""`fcbackends predict`: features by name or position, files of three kinds, CSV on stdout."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open

import fcbackends as fcb
from fcbackends import tensor_files
from fcbackends.cli.features import Features
from fcbackends.cli.model import Model, load
from fcbackends.models.scaling import Scaling


@pytest.fixture
def named(command):
    """A model of columns a, y, b, z with the targets z and y, and its data."""
    values = np.random.default_rng(1).normal(size=(12, 4)).round(4)
    frame = pl.DataFrame(values, schema=["a", "y", "b", "z"])
    frame.write_csv("table.csv")
    ran = command(
        "train table.csv --target z,y --hidden 3 --steps 9 --standardize both --out m.safetensors"
    )
    assert ran.status == 0
    return frame, load("m.safetensors").predict(values[:, [0, 2]])


def test_kinds_of_output(command, named, tmp_path):
    _, expected = named
    ran = command("predict m.safetensors table.csv")
    assert (ran.status, ran.err) == (0, "")
    on_stdout = pl.read_csv(io.StringIO(ran.out))
    assert on_stdout.columns == ["z", "y"]
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet)):
        ran = command(f"predict m.safetensors table.csv --out y{suffix}")
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert read(tmp_path / f"y{suffix}").equals(on_stdout)
    assert command("predict m.safetensors table.csv --out y.npy").status == 0
    assert fcb.compare(np.load("y.npy"), expected).equal
    assert fcb.compare(on_stdout.to_numpy(), expected).equal


def test_features_by_name(command, named):
    frame, expected = named
    frame.select(pl.lit("text").alias("note"), "b", pl.lit(None).alias("y"), "a").write_parquet(
        "other.parquet"
    )
    ran = command("predict m.safetensors other.parquet")
    assert ran.err == ""
    assert fcb.compare(pl.read_csv(io.StringIO(ran.out)).to_numpy(), expected).equal


def test_features_by_position(command, named):
    frame, expected = named
    frame.write_csv("bare.csv", include_header=False)
    np.save("features.npy", frame.select("a", "b").to_numpy())
    np.savez("features.npz", x=frame.select("a", "b").to_numpy())
    for data in ("bare.csv --no-header", "features.npy", "features.npz"):
        ran = command(f"predict m.safetensors {data}")
        assert ran.err == ""
        assert fcb.compare(pl.read_csv(io.StringIO(ran.out)).to_numpy(), expected).equal


def test_a_model_without_names(command):
    np.save("table.npy", np.arange(12.0).reshape(4, 3) / 10)
    ran = command("train table.npy --target 0,1 --dtype float32 --out m.safetensors")
    assert ran.status == 0
    ran = command("predict m.safetensors table.npy")
    lines = ran.out.splitlines()
    y = load("m.safetensors").predict(np.arange(12.0).reshape(4, 3)[:, [2]] / 10)
    assert y.dtype == np.float32
    assert lines[0] == "y0,y1"
    assert [[np.float32(v) for v in line.split(",")] for line in lines[1:]] == y.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_file_keeps_everything(tmp_path, dtype):
    params = fcb.init_params((2, 5, 3), seed=4, dtype=dtype)
    scaling = Scaling(np.array([0.5, -0.0]), np.array([1e-300, 3.0]))
    features = Features((1, 3), (None, None), (3,), (0.1, -0.0))
    model = Model(params, ("a", 'q"', "", "d\n", "e"), (4, 0, 2), features, 5, scaling, None)
    model.save(tmp_path / "m.safetensors")
    loaded = load(str(tmp_path / "m.safetensors"))
    assert fcb.compare(loaded.params, params).equal
    assert (loaded.names, loaded.targets) == (model.names, model.targets)
    assert (loaded.features, loaded.width) == (features, 5)
    assert loaded.outputs is None
    assert fcb.compare(
        [loaded.inputs.mean, loaded.inputs.scale], [scaling.mean, scaling.scale]
    ).equal


@pytest.mark.parametrize("contract", range(1, fcb.CONTRACT_VERSION + 1))
def test_files_of_every_contract_so_far_are_read(command, contract):
    """The file names its contract; one that names none is of the first."""
    params = fcb.init_params((2, 1))
    features = Features((0, 1), (None, None))
    Model(params, None, (2,), features, 3, None, None).save(Path("m.safetensors"))
    with safe_open("m.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["fcbackends"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert about["contract"] == fcb.CONTRACT_VERSION
    about["contract"] = contract
    del about["sha256"]
    if contract == 1:
        del about["contract"]
    tensor_files.write(Path("m.safetensors"), "fcbackends", about, tensors)
    assert fcb.compare(load("m.safetensors").params, params).equal


def test_a_network_that_python_saved(command):
    """It has no columns' names: features come by position."""
    table = np.arange(12.0).reshape(4, 3)
    np.save("x.npy", table[:, :2])
    result = fcb.train(table[:, :2], table[:, 2:], lr=1e-3, max_steps=9)
    fcb.save("m.safetensors", result)
    ran = command("predict m.safetensors x.npy --out y.npy")
    assert (ran.status, ran.err) == (0, "")
    assert fcb.compare(np.load("y.npy"), fcb.predict(result.params, table[:, :2])).equal


def test_python_reads_what_the_command_line_saved(named):
    frame, expected = named
    loaded = fcb.load("m.safetensors")
    assert fcb.compare(loaded.predict(frame.select("a", "b").to_numpy()), expected).equal
    assert (loaded.table["names"], loaded.table["targets"]) == (["a", "y", "b", "z"], [3, 1])
