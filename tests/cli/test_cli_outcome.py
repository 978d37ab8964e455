"""What `train` says of its network: R2, and whether it beats the targets' mean."""

import numpy as np
import polars as pl
import pytest
from sklearn import datasets
from sklearn.metrics import r2_score

import fcbackends as fcb
from fcbackends.cli.model import load


@pytest.fixture
def diabetes(tmp_path):
    data = datasets.load_diabetes()
    np.savez(tmp_path / "d.npz", x=data.data, t=np.column_stack([data.target, data.data[:, 0]]))
    return data.data, np.column_stack([data.target, data.data[:, 0]])


def test_r2_is_scikit_learns(command, diabetes):
    x, t = diabetes
    line = "train d.npz --standardize both --hidden 8 --lr 0.05 --epochs 30 --holdout 0.25"
    ran = command(f"{line} --out m.safetensors")
    assert (ran.status, ran.err) == (0, "")
    order = fcb.sample_indices(442, steps=1, batch_size=442, sampling="epoch")[0]
    y = load("m.safetensors").predict(x)
    trained_on, held_out = np.sort(order[110:]), np.sort(order[:110])
    r2 = [r2_score(t[rows], y[rows]) for rows in (trained_on, held_out)]
    assert ran.value("R2") == f"{r2[0]:.4f} training, {r2[1]:.4f} held-out"
    assert 0.5 < r2[0] < 1
    assert "warning" not in ran.out


def test_the_loss_of_the_mean(command):
    t = np.array([1.0, 2.0, 6.0, 3.0])
    np.savez("d.npz", x=np.eye(4), t=t)
    ran = command("train d.npz --lr 0.1 --holdout 0.25")
    held = fcb.sample_indices(4, steps=1, batch_size=4, sampling="epoch")[0][0]
    trained_on = np.delete(t, held)
    mean = trained_on.mean()
    losses = ((trained_on - mean) ** 2).mean(), (t[held] - mean) ** 2
    assert ran.value("loss of mean") == f"{losses[0]:.6g} training, {losses[1]:.6g} held-out"
    assert ran.value("R2").endswith(", none (constant targets) held-out")


def test_dead_relus_are_named(command):
    """Inputs far from 0 push every unit below 0 in the first steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(loc=1000, scale=300, size=(200, 3))
    t = x @ [1.0, -2.0, 0.5] / 100 + rng.normal(size=200)
    pl.DataFrame(np.column_stack([x, t]), schema=[*"abcy"]).write_csv("t.csv")
    line = "train t.csv --hidden 8 --lr 1e-4 --epochs 50"
    ran = command(line)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == (
        "warning: the network says the same for every row: try `--standardize inputs`, a smaller "
        "`--lr` or more `--epochs`"
    )
    ran = command(f"{line} --standardize inputs --lr 1e-2")
    assert "warning" not in ran.out
    assert float(ran.value("R2").split()[0]) > 0.9


def test_a_network_no_better_than_the_mean_is_named(command):
    rng = np.random.default_rng(0)
    np.savez("d.npz", x=rng.normal(size=(50, 2)), t=rng.normal(loc=5, size=50))
    ran = command("train d.npz --standardize inputs --steps 1")
    assert ran.out.splitlines()[-1] == (
        "warning: the network is no better than the mean of its targets: try a smaller `--lr` or "
        "more `--epochs`"
    )


def test_constant_targets_warn_of_nothing(command):
    np.savez("d.npz", x=np.eye(3), t=np.ones(3))
    ran = command("train d.npz --steps 3")
    assert ran.value("R2") == "none (constant targets) training"
    assert "warning" not in ran.out
