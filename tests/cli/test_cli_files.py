"""What the command line leaves of files where something goes wrong."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.cli import main
from tests.cli.troubles import CSV, contents


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize(
    ("line", "names", "arguments"),
    [
        ("predict m.safetensors ok.csv --out {}", "y.csv ok.csv", "`--out` and `DATA`"),
        ("predict m.safetensors ok.csv --out {}", "y.csv m.safetensors", "`--out` and `MODEL`"),
        ("train ok.csv --steps 1 --out {}", "n.safetensors ok.csv", "`--out` and `DATA`"),
        ("train ok.csv --steps 1 --plot {}", "p.png ok.csv", "`--plot` and `DATA`"),
        ("train ok.csv --plot l.png --out {}", "n.safetensors l.png", "`--out` and `--plot`"),
    ],
)
def test_one_file_is_not_overwritten_by_another(command, tmp_path, line, names, arguments, link):
    name, target = names.split()
    Path("ok.csv").write_text(CSV["ok"])
    Path("l.png").touch()
    assert command("train ok.csv --steps 3 --out m.safetensors").status == 0
    getattr(Path(name), link)(target)
    before = contents(tmp_path)
    ran = command(line.format(name))
    text = f"{arguments} must be different files, got {name!r} and {target!r}"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("way", ["", "./", "../{}/"])
def test_a_prediction_does_not_overwrite_its_data(command, tmp_path, way):
    Path("ok.csv").write_text(CSV["ok"])
    assert command("train ok.csv --steps 3 --out m.safetensors").status == 0
    name = way.format(tmp_path.name) + "ok.csv"
    ran = command("predict m.safetensors ok.csv --out", name)
    text = f"`--out` and `DATA` must be different files, got {name!r} and 'ok.csv'"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
    assert Path("ok.csv").read_text() == CSV["ok"]


def test_files_yet_to_be_written_are_not_one(command, tmp_path):
    Path("ok.csv").write_text(CSV["ok"])
    Path("n.safetensors").symlink_to("l.png")
    ran = command("train ok.csv --steps 1 --out n.safetensors --plot l.png")
    assert ran.status == 2
    assert "`--out` and `--plot` must be different files" in ran.err
    assert not Path("l.png").exists()


@pytest.mark.parametrize("rows", ["trained on", "held out"])
def test_a_last_step_that_diverges_writes_nothing(command, tmp_path, rows):
    """Each step's own loss is finite; that of all rows after the last is not."""
    table = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 4.0]])
    options = "--lr 1e3 --steps {} --batch 4"
    if rows == "held out":
        order = fcb.sample_indices(4, steps=1, batch_size=4, sampling="epoch", seed=0)[0]
        table[order[0]] = 1e200
        options = "--lr 0.1 --steps 1 --holdout 0.25"
        last = 1
    else:
        np.save("table.npy", table)
        first = command("train table.npy", *options.format(1000).split()).err
        last = int(first.partition("at step ")[2].partition(",")[0].partition(":")[0]) - 1
    np.save("table.npy", table)
    before = contents(tmp_path)
    line = f"train table.npy {options.format(last)} --out m.safetensors --plot l.png"
    ran = command(line)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        f"fcbackends: the loss is not finite at step {last}: inf, at a learning rate of "
        f"{'1000' if rows == 'trained on' else '0.1'}; lower `--lr`, or scale the data with "
        "`--standardize both`\n"
    )
    assert contents(tmp_path) == before


def test_divergence(command, tmp_path):
    (tmp_path / "ok.csv").write_text(CSV["ok"])
    ran = command("train ok.csv --lr 1e300 --out m.safetensors --plot m.png")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        "fcbackends: the loss is not finite at step 2: inf, at a learning rate of 1e+300; lower "
        "`--lr`, or scale the data with `--standardize both`\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["ok.csv"]


def test_a_network_that_no_memory_holds(command, tmp_path):
    (tmp_path / "ok.csv").write_text(CSV["ok"])
    ran = command("train ok.csv --hidden 1000000,1000000")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("fcbackends: not enough memory: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--out m.safetensors", "--plot m.png"])
@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(command, tmp_path, monkeypatch, option, trouble):
    def fail(*_):
        raise trouble

    (tmp_path / "ok.csv").write_text(CSV["ok"])
    name = option.split()[1]
    (tmp_path / name).write_text("the old file")
    monkeypatch.setattr(Path, "replace", fail)
    ran = command(f"train ok.csv --steps 1 {option}")
    assert ran.status == (1 if isinstance(trouble, OSError) else 130)
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["ok.csv", name])
    assert (tmp_path / name).read_text() == "the old file"


def test_a_failed_prediction_leaves_the_old_file(command, troubles, tmp_path):
    folder, _ = troubles
    (tmp_path / "y.csv").write_text("the old file")
    ran = command("predict --out y.csv", folder / "ok.safetensors", folder / "nan.npy")
    assert ran.status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["y.csv"]
    assert (tmp_path / "y.csv").read_text() == "the old file"


@pytest.mark.parametrize("name", ["ok.parquet", "ok.npy", "ok.npz", "ok.safetensors"])
def test_damaged_files(troubles, capfd, monkeypatch, tmp_path, name):
    """Cut, or with two bytes changed: one line, or other numbers where the damage is in those."""
    folder, _ = troubles
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in rng.integers(0, len(whole), 40)]
    for _ in range(80):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        changed[rng.integers(len(whole))] = rng.integers(256)
        damaged.append(bytes(changed))
    monkeypatch.chdir(tmp_path)
    file = Path(f"damaged{Path(name).suffix}")
    predict = ["predict", str(file), str(folder / "ok.csv")]
    for i, content in enumerate(damaged):
        file.write_bytes(content)
        status = main(predict if name == "ok.safetensors" else ["train", str(file)])
        out, err = capfd.readouterr()  # with what compiled code writes past Python
        if i < 40:
            assert status == 2
        if status:
            assert out == ""
            assert err.startswith("fcbackends: ")
        assert err.count("\n") == (1 if status else 0)


@pytest.mark.parametrize("package", ["click", "rich", "polars", "safetensors", "matplotlib"])
def test_without_the_extra(command, monkeypatch, package):
    Path("ok.csv").write_text(CSV["ok"])
    for module in [
        name
        for name in sys.modules
        if name.startswith(("fcbackends.cli.", "fcbackends.report."))
        # What the package itself has imported is there in any case.
        and name != "fcbackends.cli.interruption"
    ]:
        monkeypatch.delitem(sys.modules, module)
        parent, _, child = module.rpartition(".")
        monkeypatch.delattr(importlib.import_module(parent), child, raising=False)
    for module in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
        monkeypatch.setitem(sys.modules, module, None)
    ran = command("train ok.csv --steps 1 --out m.safetensors --plot m.png")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (f"fcbackends: this command needs {package}: install `fcbackends[cli]`\n")
    assert not Path("m.safetensors").exists()
