"""`--validation` and `--patience`: what is held apart, when it ends, and which network is kept."""

import numpy as np
import pytest
from sklearn import datasets

import fcbackends as fcb
from fcbackends.cli.model import load


@pytest.fixture
def cancer(tmp_path):
    data = datasets.load_breast_cancer()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    np.savez(tmp_path / "d.npz", x=x, t=data.target)
    return x, data.target


LINE = "train d.npz --loss binary_cross_entropy --hidden 16 --lr 0.1 --validation 0.25"


def test_it_is_the_librarys(command, cancer):
    x, t = cancer
    ran = command(f"{LINE} --patience 3 --epochs 200 --out m.safetensors --plot l.png")
    assert (ran.status, ran.err) == (0, "")
    result = fcb.train(
        x, t, loss="binary_cross_entropy", hidden=(16,), lr=0.1, validation=0.25, patience=3,
        batch_size=32, sampling="epoch", max_steps=-(-200 * 427 // 32),
    )  # fmt: skip
    assert result.stop_reason == "patience"
    assert ran.value("digest") == fcb.digest(result.params)
    assert ran.value("samples") == "427, 142 to validate"
    assert ran.value("steps") == (
        f"{result.history.steps[-1]} of batch 32, out of patience; the network is that of step "
        f"{result.best_step}"
    )
    assert ran.value("validation loss") == f"{result.best_validation_loss:.6g}"
    assert "y0: validation rows by their class" in ran.out
    assert fcb.compare(load("m.safetensors").params, result.params).equal


def test_rows_held_out_are_neither_trained_on_nor_validated_with(command, cancer):
    x, t = cancer
    ran = command(f"{LINE} --holdout 0.2 --steps 20 --seed 3")
    order = fcb.sample_indices(569, steps=1, batch_size=569, sampling="epoch", seed=3)[0]
    left, held_out = np.sort(order[114:]), np.sort(order[:114])
    result = fcb.train(
        x[left], t[left], loss="binary_cross_entropy", hidden=(16,), lr=0.1, validation=0.25,
        batch_size=32, sampling="epoch", max_steps=20, seed=3,
    )  # fmt: skip
    assert ran.value("digest") == fcb.digest(result.params)
    assert ran.value("samples") == "341, 114 to validate, 114 held out"
    assert ran.value("validation loss") == f"{result.history.validation_losses[-1]:.6g}"
    y = fcb.predict(result.params, x[held_out])
    loss = fcb.binary_cross_entropy_loss(y, t[held_out, None].astype(float)).loss
    assert ran.value("held-out loss") == f"{loss:.6g}"


def test_scales_are_those_of_the_rows_trained_on(command, cancer):
    x, _ = cancer
    command(f"{LINE} --standardize inputs --steps 1 --out m.safetensors")
    order = fcb.sample_indices(569, steps=1, batch_size=569, sampling="epoch")[0]
    mean = x[np.sort(order[142:])].mean(axis=0)
    np.testing.assert_allclose(load("m.safetensors").inputs.mean, mean)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train d.npz --patience 3", "`--patience` must come with `--validation`, got 3 without"),
        (
            "train d.npz --validation 0.25 --patience 0",
            "`--patience` must be a whole number of at least 1, got '0'",
        ),
        (
            "train d.npz --validation 1",
            "`--validation` must be a share between 0 and 1 that leaves rows on both sides of the "
            "split, got 1.0 of 569 rows",
        ),
        (
            "train d.npz --holdout 0.5 --validation 0.001",
            "`--validation` must be a share between 0 and 1 that leaves rows on both sides of the "
            "split, got 0.001 of 285 rows",
        ),
    ],
)
def test_refusals(command, cancer, line, text):
    ran = command(line)
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
