"""`--activation`: trained with it, kept in the model file, used by `predict`."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import fcbackends as fcb
from fcbackends import tensor_files
from fcbackends.cli.model import load


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).random((40, 2))
    table = np.column_stack([x, np.sin(3 * x[:, 0]) * x[:, 1]])
    np.save(tmp_path / "d.npy", table)
    return table


def test_it_is_trained_with_kept_and_predicted_with(command, data):
    line = "train d.npy --hidden 6,4 --steps 50 --lr 0.05 --out m.safetensors"
    ran = command(f"{line} --activation tanh,sigmoid")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("network") == "2 -> 6 -> 4 -> 1, 51 parameters, tanh and sigmoid"
    names = ("tanh", "sigmoid")
    result = fcb.train(
        data[:, :2], data[:, 2:], hidden=(6, 4), activation=names, lr=0.05, batch_size=32,
        max_steps=50, sampling="epoch",
    )  # fmt: skip
    assert ran.value("digest") == fcb.digest(result.params)
    model = load("m.safetensors")
    assert model.activation == names
    assert command("predict m.safetensors d.npy --out y.npy").status == 0
    want = fcb.predict(result.params, data[:, :2], activation=names)
    np.testing.assert_array_equal(np.load("y.npy"), want)
    loss = float(fcb.mean_squared_loss(want, data[:, 2:]).loss)
    assert ran.value("training loss") == f"{loss:.6g}"


def test_one_name_serves_all_layers_and_relu_is_the_default(command, data):
    line = "train d.npy --hidden 6,4 --steps 20 --out m.safetensors"
    assert command(f"{line} --activation leaky_relu").value("network").endswith(", leaky_relu")
    assert load("m.safetensors").activation == "leaky_relu"
    assert command(line).value("network").endswith(", relu")
    assert load("m.safetensors").activation == "relu"


def test_a_file_that_names_none_has_relu_and_one_that_names_another_is_refused(command, data):
    command("train d.npy --hidden 6 --steps 20 --activation tanh --out m.safetensors")
    with safe_open("m.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["fcbackends"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    assert about.pop("activation") == "tanh"
    del about["sha256"]
    tensor_files.write(Path("old.safetensors"), "fcbackends", about, tensors)
    assert load("old.safetensors").activation == "relu"
    about["activation"] = "swish"
    tensor_files.write(Path("new.safetensors"), "fcbackends", about, tensors)
    ran = command("predict new.safetensors d.npy")
    assert ran.status == 2
    assert "`activation` must be one of 'relu', 'leaky_relu', 'tanh'" in ran.err


@pytest.mark.parametrize("names", ["swish", "tanh,swish", "tanh,,relu"])
def test_another_name_is_refused_with_the_choices(names, command, data):
    ran = command(f"train d.npy --hidden 6,4 --activation {names}")
    assert (ran.status, ran.err) == (
        2,
        "fcbackends: `--activation` must be one of 'relu', 'leaky_relu', 'tanh', 'sigmoid', "
        f"'identity', or several with commas between them, one a hidden layer, got '{names}'\n",
    )


def test_another_number_of_names_is_refused(command, data):
    ran = command("train d.npy --hidden 6 --activation tanh,relu")
    assert (ran.status, ran.err) == (
        2,
        "fcbackends: `--activation` must be one name, or a sequence of 1, one a hidden layer, "
        "got ('tanh', 'relu')\n",
    )
