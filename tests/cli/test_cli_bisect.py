"""`bisect`: where the runs of two records part, or a record's and a backend's."""

import numpy as np
import pytest

import fcbackends as fcb

ROWS = np.random.default_rng(4).random((40, 4))


@pytest.fixture
def data(tmp_path):
    lines = [",".join(map(repr, row)) for row in ROWS.tolist()]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    return ROWS


@pytest.fixture
def trained(command, data):
    def train(name, options=""):
        ran = command(
            f"train d.csv --target y --hidden 4 --steps 60 --standardize both --validation 0.2 "
            f"--record {name} {options}"
        )
        assert ran.status == 0, ran.err

    return train


def test_equal_runs(command, trained):
    trained("run.json")
    trained("other.json", "--backend numpy")
    for other in ("other.json", "run.json", "numpy", "numba:ordered"):
        ran = command(f"bisect run.json {other} d.csv")
        assert (ran.status, ran.err) == (0, "")
        assert ran.value("same bits") == "yes"


@pytest.mark.parametrize("other", ["other.json", "numpy:fused"])
def test_another_arithmetic(command, trained, other):
    trained("run.json")
    trained("other.json", "--arithmetic fused")
    ran = command(f"bisect run.json {other} d.csv")
    assert (ran.status, ran.err) == (1, "")
    assert ran.value("same bits") == "no"
    assert ran.value("operation") == "forward of layer 0 (product and bias)"
    assert ran.value("cause") == "products fused into sums"


def test_other_options(command, trained):
    trained("run.json")
    trained("other.json", "--lr 0.02")
    ran = command("bisect run.json other.json d.csv")
    assert (ran.status, ran.value("step")) == (1, "1")
    assert ran.value("cause") == "other options"
    trained("other.json", "--seed 1")
    ran = command("bisect run.json other.json d.csv")
    assert (ran.status, ran.value("step")) == (1, "0")
    assert ran.value("cause") == "other draws"


def test_records_of_programs(command, data, tmp_path):
    x, t = data[:, :3], data[:, 3:]
    fcb.train(x, t, lr=0.1, max_steps=20, record=tmp_path / "run.json")
    assert command("bisect run.json numpy d.csv").status == 0
    weights = np.ones(40)
    fcb.train(x, t, lr=0.1, max_steps=20, sample_weight=weights, record=tmp_path / "w.json")
    ran = command("bisect w.json numpy d.csv")
    assert (ran.status, ran.err) == (
        2,
        "fcbackends: `A` must be of a command, or of data x and t alone (from Python, "
        "`fcbackends.first_difference` takes the rest), got one with sample_weight\n",
    )


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("bisect numba numpy d.csv", "`A`, `B` must be a record, of which the other side is to "
         "repeat the run, got `A` 'numba', `B` 'numpy'"),
        ("bisect run.json none.json d.csv", "`B` must be a readable file, got 'none.json': "
         "No such file or directory"),
        ("bisect run.json numba:exact d.csv", "`B` must be one of 'ordered', 'fused', 'native', "
         "got 'exact'"),
        ("bisect run.json numba", "`DATA` must be given, got nothing"),
        ("bisect d.csv numba d.csv", "`A` must be a record that `train` wrote"),
        ("bisect run.json numba e.csv", "`DATA` must be as in the record 'run.json', of digest"),
    ],
)  # fmt: skip
def test_bad_input(command, trained, tmp_path, line, text):
    trained("run.json")
    (tmp_path / "e.csv").write_text((tmp_path / "d.csv").read_text().replace("0.5", "0.6"))
    ran = command(line)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")
    assert ran.err.count("\n") == 1
