"""`fcbackends export`: a C file with the bits of the model."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from tests.cli.troubles import CSV
from tests.oracle import assert_same_bits


def test_a_trained_model_is_exported(command):
    Path("ok.csv").write_text(CSV["ok"])
    train = "train ok.csv --hidden 3 --activation tanh --standardize both --dtype float32"
    assert command(f"{train} --steps 20 --out m.safetensors").status == 0
    ran = command("export m.safetensors --out line.c --name line")
    assert (ran.status, ran.err) == (0, "")
    saved = fcb.load("m.safetensors")
    assert ran.value("layers") == "2-3-1"
    assert ran.value("activation") == "tanh"
    assert ran.value("numbers") == "float32, ordered"
    assert ran.value("digest") == fcb.digest(saved.params)
    assert ran.value("functions") == "line_predict, line_self_test"
    assert ran.value("file") == "line.c"
    fcb.export_c(saved, "again.c", name="line")
    assert Path("line.c").read_bytes() == Path("again.c").read_bytes()
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    subprocess.run(["gcc", "-O2", "-DLINE_MAIN", "line.c", "-o", "line", "-lm"], check=True)
    x = np.random.default_rng(0).normal(size=(9, 2))
    text = "\n".join(" ".join(map(float.hex, row)) for row in x.tolist())
    done = subprocess.run(["./line"], input=text, capture_output=True, text=True, check=True)
    got = [[float.fromhex(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert_same_bits(np.array(got), saved.predict(x))


def test_a_model_of_classes_has_probabilities(command):
    fcb.save("m.safetensors", fcb.init_params((2, 3)), loss="cross_entropy")
    ran = command("export m.safetensors --out n.c")
    assert ran.value("functions") == "network_predict, network_predict_proba, network_self_test"


def test_a_native_model_is_refused(command, tmp_path):
    fcb.save("m.safetensors", fcb.SavedModel(fcb.init_params((2, 3)), arithmetic="native"))
    ran = command("export m.safetensors --out n.c")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "fcbackends: `MODEL` must be of arithmetic 'ordered' or 'fused', whose bits are fixed, "
        "got one of arithmetic 'native'\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
