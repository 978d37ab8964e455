"""`fcbackends sweep DATA` against `train DATA`: the same bits for each network of a grid."""

import contextlib
import hashlib
import math
import os
import re
import shlex
import signal
import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fcbackends as fcb
from fcbackends.cli import grid as grids
from fcbackends.cli import sweep as sweeping
from fcbackends.cli import workers
from fcbackends.cli.app import _cli
from fcbackends.cli.scores import quartiles_of
from fcbackends.sweeps.audit import Finding
from tests.test_docs import SOURCE, command_lines

TRAIN = _cli.commands["train"]


@pytest.fixture
def data(tmp_path):
    """60 rows of two numbers, their sum of a kind and a class of three."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 2)).round(3)
    y = (x @ [2, -1] + rng.normal(size=60) / 4).round(3)
    names = np.array(["low", "middle", "top"])[np.digitize(y, [-1, 1])]
    rows = [f"{a},{b},{c},{name}" for (a, b), c, name in zip(x, y, names, strict=True)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y,kind", *rows, ""]))


NUMBERS = "--drop kind --target y --standardize both --epochs 3"
CLASSES = "--drop y --target kind --loss cross_entropy --epochs 3"


def by_train(command, row, names, options):
    """What `train` reports of the network in a row."""
    own = [word for name in names if row[name] != "" for word in (f"--{name}", str(row[name]))]
    ran = command(f"train d.csv {options} --seed {row['seed']}", *own)
    assert (ran.status, ran.err) == (0, "")
    return ran


@pytest.mark.parametrize(
    ("options", "grid", "part"),
    [
        (f"{NUMBERS} --holdout 0.2", {"lr": "0.001,0.1", "hidden": "|8|4,3"}, "held-out"),
        (f"{NUMBERS} --validation 0.25 --patience 2", {"hidden": "5", "optimizer": "sgd,adam"},
         "validation"),
        (f"{NUMBERS} --holdout 0.3 --validation 0.2 --momentum 0.9 --dtype float32 --schedule "
         "cosine --arithmetic fused", {"batch": "4,20", "activation": "tanh|relu,sigmoid",
                                       "hidden": "4,3"}, "validation"),
        (f"{CLASSES} --holdout 0.2", {"hidden": "6", "lr": "0.05|0.5"}, "held-out"),
    ],
)  # fmt: skip
def test_each_network_has_the_bits_that_train_gives_it(command, data, options, grid, part):
    words = [f"--grid={name}={values}" for name, values in grid.items()]
    ran = command(f"sweep d.csv {options} --seeds 3:6 --split-seed 7 --out r.parquet", *words)
    assert (ran.status, ran.err) == (0, "")
    rows = pl.read_parquet("r.parquet").to_dicts()
    names = {"batch": "batch_size"}
    count = len(rows) // 3
    assert count == len(
        grids.points(grids.grid_of([w.removeprefix("--grid=") for w in words], TRAIN, {}))
    )
    assert [row["number"] for row in rows] == list(range(3 * count))
    assert [row["seed"] for row in rows] == [3, 4, 5] * count
    for row in rows[1::2]:
        named = {name: row[names.get(name, name)] for name in grid}
        alone = by_train(command, {**row, **named}, grid, f"{options} --split-seed 7")
        assert row["digest"] == alone.value("digest")
        loss = row[f"{part.replace('-', '_')}_loss"]
        assert alone.value(f"{part} loss").split()[0] == f"{loss:.6g}"
        if "cross_entropy" in options:
            assert f"{row['held_out_accuracy']:.4f} held-out" in alone.value("accuracy")
    assert ("accuracy" in ran.out) == ("cross_entropy" in options)
    digests = "".join(row["digest"] for row in rows)
    assert ran.value("digest") == hashlib.sha256(digests.encode()).hexdigest()


def test_rows_held_out_are_those_of_the_split_seed(command, data):
    """Without it, another seed of `train` holds other rows out, and has other bits."""
    command(f"sweep d.csv {NUMBERS} --grid lr=0.01 --seeds 0,4 --out r.csv")
    first, other = pl.read_csv("r.csv").to_dicts()
    line = f"train d.csv {NUMBERS} --holdout 0.2 --lr 0.01 --seed"
    assert command(f"{line} 0").value("digest") == first["digest"]
    assert command(f"{line} 4").value("digest") != other["digest"]
    assert command(f"{line} 4 --split-seed 0").value("digest") == other["digest"]


def test_the_best_networks_command_gives_it_again(command, data):
    ran = command(f"sweep d.csv {NUMBERS} --grid lr=0.001,0.1 --grid hidden=|7,2 --out r.parquet")
    rows = pl.read_parquet("r.parquet").sort("held_out_loss").to_dicts()
    assert f"\nthe best network is number {rows[0]['number']}, of a held-out loss of" in ran.out
    program, *words = shlex.split(ran.out.splitlines()[-1])
    assert program == "fcbackends"
    again = command("", *words)
    assert again.value("digest") == rows[0]["digest"]
    assert again.value("held-out loss").split()[0] == f"{rows[0]['held_out_loss']:.6g}"


def test_a_record_has_the_split_seed(command, data):
    made = command(f"train d.csv {NUMBERS} --holdout 0.2 --seed 4 --split-seed 9 --record run.json")
    ran = command("reproduce run.json d.csv")
    assert (ran.status, ran.value("digest")) == (0, made.value("digest"))


def test_the_table_is_the_same_in_both_forms(command, data):
    line = f"sweep d.csv {NUMBERS} --grid hidden=|8 --grid lr=1e-3,1e-2 --seeds 0:2"
    assert command(f"{line} --out r.parquet").status == 0
    assert command(f"{line} --out r.csv").status == 0
    table = pl.read_parquet("r.parquet")
    assert table.columns == [
        *("number", "seed", "hidden", "lr", "held_out_loss", "last_loss", "steps"),
        *("stop_reason", "digest"),
    ]
    assert table["hidden"].to_list() == ["", "", "", "", "8", "8", "8", "8"]
    assert table["lr"].to_list() == [0.001, 0.001, 0.01, 0.01] * 2
    assert pl.read_csv("r.csv", schema=table.schema).equals(table)


def test_networks_that_diverge_have_no_score_and_are_the_worst(command, data):
    ran = command(
        f"sweep d.csv {NUMBERS} --grid lr=1e200,0.01 --seeds 0:4 --out r.parquet --plot p.svg"
    )
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("done") == "8, 4 of them diverged"
    table = pl.read_parquet("r.parquet")
    assert table["held_out_loss"].is_null().to_list() == [True] * 4 + [False] * 4
    assert table["last_loss"].is_null().to_list() == [True] * 4 + [False] * 4
    assert table["stop_reason"].to_list() == ["diverged"] * 4 + ["max_steps"] * 4
    header, best, worst = ran.out.partition("of their seeds\n")[2].splitlines()[:3]
    assert header.split() == ["lr", "networks", "median", "quartiles", "diverged"]
    middle = table["held_out_loss"].median()
    assert best.split()[:3] == ["0.01", "4", f"{middle:.6g}"]
    assert worst.split() == ["1e+200", "4", "none", "none", "to", "none", "4"]
    picture = Path("p.svg").read_text()
    for text in ("lr", "held-out loss", "a network", "median", "diverged", "1e+200", "  4"):
        assert f"<!-- {text} -->" in picture, text


def test_a_network_whose_held_out_loss_is_not_finite_has_diverged(command, data):
    """As in `train`, which writes none."""
    rows = Path("d.csv").read_text().splitlines()
    # The last row is held out by this seed, and its loss is beyond the largest number.
    seed = next(s for s in range(99) if 59 in np.sort(_held_out(60, s)))
    Path("far.csv").write_text("\n".join([*rows[:-1], "1e160,1e160,1,top", ""]))
    line = f"far.csv --drop kind --target y --epochs 3 --holdout 0.2 --split-seed {seed}"
    assert command(f"train {line} --lr 0.001").status == 1
    ran = command(f"sweep {line} --grid lr=0.001 --seeds 0:2 --out r.csv")
    assert (ran.status, ran.value("done")) == (0, "2, 2 of them diverged")
    assert pl.read_csv("r.csv")["stop_reason"].to_list() == ["diverged"] * 2


def _held_out(rows, seed):
    return fcb.sample_indices(rows, steps=1, batch_size=rows, sampling="epoch", seed=seed)[0][:12]


def test_losses_of_a_grid_are_scored_by_the_first(command, data):
    line = f"sweep d.csv {NUMBERS} --lr 0.05 --seeds 2"
    for losses in ("mean_squared,huber", "huber,mean_squared"):
        ran = command(f"{line} --grid loss={losses} --out r.csv")
        first, other = pl.read_csv("r.csv").to_dicts()
        assert ran.value("score").startswith(f"{first['loss']} loss of the held-out rows")
        model = f"train d.csv {NUMBERS} --lr 0.05 --holdout 0.2 --seed 2 --split-seed 0"
        alone = command(f"{model} --loss {other['loss']}")
        assert alone.value("digest") == other["digest"]
        assert alone.value("held-out loss").split()[0] != f"{other['held_out_loss']:.6g}"
        alone = command(f"{model} --loss {first['loss']}")
        assert alone.value("held-out loss").split()[0] == f"{first['held_out_loss']:.6g}"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_has_a_panel_for_each_option(command, data, suffix):
    four = "--grid lr=0.001,0.1 --grid hidden=4|3,3 --grid optimizer=sgd,adam --grid batch=4,8"
    ran = command(f"sweep d.csv {NUMBERS} {four} --seeds 0:3 --plot p.{suffix}")
    assert (ran.status, ran.err) == (0, "")
    begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    content = Path(f"p.{suffix}").read_bytes()
    assert content.startswith(begin)
    if suffix == "svg":
        texts = re.findall(r"<!-- (.*) -->", content.decode())
        assert {"lr", "hidden", "optimizer", "batch_size", "3,3", "adam", "8"} <= {*texts}


# --- interruptions, failures, workers ------------------------------------------------------------


class Executor:
    """Does each task at once, in this process; `before` may have something happen first."""

    def __init__(self, before):
        self.before = before

    def submit(self, function, *arguments):
        future = Future()
        try:
            self.before(*arguments)
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def by(monkeypatch):
    """Have networks trained by an executor."""

    def choose(before):
        @contextlib.contextmanager
        def executor_of(scheduler, workers):
            yield Executor(before)

        monkeypatch.setattr(sweeping, "executor_of", executor_of)

    return choose


LINE = f"sweep d.csv {NUMBERS} --grid lr=0.001,0.01 --grid hidden=|5 --seeds 0:6"


def test_what_failed_is_named_and_the_rest_is_written(command, data, by):
    whole = command(f"{LINE} --out whole.parquet")

    def before(job):
        if {4, 7} & {*job.numbers}:
            raise RuntimeError("no such luck")

    by(before)
    ran = command(f"{LINE} --out r.parquet --plot p.png")
    assert ran.status == 1
    assert ran.err.startswith("fcbackends: 2 of 24 networks failed: network 4 (seed=4")
    assert "; network 7 (seed=1" in ran.err
    assert ran.err.count("RuntimeError: no such luck") == 2
    assert ran.err.count("\n") == 1
    assert ran.value("done") == "22, 2 failed"
    assert ran.value("digest") == "none, as not all networks are done"
    table, wanted = pl.read_parquet("r.parquet"), pl.read_parquet("whole.parquet")
    failed = table.filter(pl.col("stop_reason") == "failed")
    assert failed["number"].to_list() == [4, 7]
    assert failed.select("held_out_loss", "steps", "digest").null_count().row(0) == (2, 2, 2)
    kept = ~pl.col("number").is_in([4, 7])
    assert table.filter(kept).equals(wanted.filter(kept))
    assert whole.status == 0


def test_a_worker_of_other_bits_is_named(command, data, monkeypatch):
    whole = command(f"{LINE} --out whole.parquet")
    train_many = fcb.train_many
    finding = Finding("network 3 (seed=3)", 3, "host", "cpu", 7, steps=(4, 5), networks=(3, 4))

    def other_bits(*args, **kwargs):
        raise fcb.SweepError(tuple(train_many(*args, **kwargs)), {}, (finding,))

    monkeypatch.setattr(fcb, "train_many", other_bits)
    ran = command(f"{LINE} --out r.parquet")
    assert (ran.status, ran.err) == (1, f"fcbackends: {finding}\n")
    # Its networks were trained elsewhere.
    assert ran.value("digest") == whole.value("digest")
    assert Path("r.parquet").read_bytes() == Path("whole.parquet").read_bytes()


def test_networks_that_the_time_does_not_reach_have_no_score(command, data):
    ran = command(f"{LINE} --time-limit 1e-9 --out r.parquet --plot p.png")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("done") == "0, 24 out of time"
    assert "best" not in ran.out
    table = pl.read_parquet("r.parquet")
    assert table["stop_reason"].to_list() == ["time_limit"] * 24
    assert table.select("held_out_loss", "last_loss", "digest").null_count().row(0) == (24,) * 3


def test_ten_settings_at_the_most_are_shown(command, data):
    rates = ",".join(f"0.0{number}" for number in range(1, 10)) + ",0.011,0.012,0.013"
    ran = command(f"sweep d.csv {NUMBERS} --grid lr={rates} --seeds 3,1 --out r.parquet")
    shown = ran.out.partition("of their seeds\n")[2].partition("\n\n")[0].splitlines()[1:]
    table = pl.read_parquet("r.parquet").group_by("lr").agg(pl.col("held_out_loss").median())
    best = table.sort("held_out_loss")["lr"].to_list()[:10]
    assert [float(row.split()[0]) for row in shown] == best


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_what_is_done(command, data, by):
    whole = command(f"{LINE} --out whole.parquet --plot whole.svg")
    tasks, interrupted = [], []

    def before(job):
        # The last network comes once the first of them is back.
        if 23 in job.numbers and not interrupted:
            interrupted.append(job)
            signal.raise_signal(signal.SIGINT)
        tasks.append(job)

    by(before)
    ran = command(f"{LINE} --out r.parquet --results r.results --plot p.svg")
    assert (ran.status, ran.err) == (130, "fcbackends: interrupted\n")
    table, wanted = pl.read_parquet("r.parquet"), pl.read_parquet("whole.parquet")
    left = table.filter(pl.col("stop_reason") == "interrupted")
    assert 0 < len(left) < len(table) == 24
    assert left.select("held_out_loss", "last_loss", "digest").null_count().row(0) == (
        *(len(left),) * 3,
    )
    done = pl.col("number").is_in(left["number"].to_list()).not_()
    assert table.filter(done).equals(wanted.filter(done))
    # The same command goes on from there.
    tasks.clear()
    again = command(f"{LINE} --out r.parquet --results r.results --plot p.svg")
    assert (again.status, again.err) == (0, "")
    assert Path("r.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert again.value("digest") == whole.value("digest")
    assert {number for job in tasks for number in job.numbers} == {*left["number"]}


def test_results_of_another_sweep_are_refused(command, data):
    assert command(f"{LINE} --results r.results").status == 0
    before = Path("r.results").read_bytes()
    ran = command(f"{LINE} --results r.results".replace("0.01", "0.02"))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        f"fcbackends: `--grid lr` must be as in the results {str(Path('r.results').resolve())!r}, "
        "0.01, got 0.02\n"
    )
    assert Path("r.results").read_bytes() == before


def test_threads_of_an_executor_give_the_same(command, data, monkeypatch):
    whole = command(f"{LINE} --out whole.parquet")
    monkeypatch.setattr(workers, "Processes", ThreadPoolExecutor)
    ran = command(f"{LINE} --out r.parquet --workers 2 --verify 0.3")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == whole.value("digest")
    assert Path("r.parquet").read_bytes() == Path("whole.parquet").read_bytes()


@pytest.mark.slow
def test_processes_give_the_same(command, data):
    whole = command(f"{LINE} --out whole.parquet")
    ran = command(f"{LINE} --out r.parquet --workers 2 --verify 0.3")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == whole.value("digest")
    assert Path("r.parquet").read_bytes() == Path("whole.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_ends_processes_and_leaves_what_is_done(start, data, tmp_path):
    line = LINE.replace("0:6", "0:2000").replace("--epochs 3", "--epochs 100")
    process = start(
        f"{line} --workers 2 --results r.results --out r.parquet", start_new_session=True
    )
    results = tmp_path / "r.results"
    while not results.exists() or results.stat().st_size < 200_000:
        assert process.poll() is None
        time.sleep(0.01)
    # As a terminal does: to all of them.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (130, "fcbackends: interrupted\n")
    assert "done" in out
    reasons = pl.read_parquet(tmp_path / "r.parquet")["stop_reason"].unique().to_list()
    assert sorted(reasons) == ["interrupted", "max_steps"]


@pytest.mark.slow
def test_a_cluster_of_dask_gives_the_same(command, data):
    distributed = pytest.importorskip("distributed")
    whole = command(f"{LINE} --out whole.parquet")
    quiet = dict(dashboard_address=None, silence_logs=50, protocol="tcp", processes=False)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster:
        address = cluster.scheduler_address
        ran = command(f"{LINE} --out r.parquet --verify 0.3 --scheduler {address}")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("digest") == whole.value("digest")
    assert Path("r.parquet").read_bytes() == Path("whole.parquet").read_bytes()


def test_the_pages_command_does_what_it_says(command, monkeypatch):
    monkeypatch.setattr(workers, "Processes", ThreadPoolExecutor)
    values = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt("measurements.csv", values, delimiter=",", header="a,b,c,yield", comments="")
    lines = command_lines(SOURCE / "docs/command-line.md")
    (words,) = (words for words in lines if words[1] == "sweep")
    ran = command("", *words[1:])
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("networks") == "120: 6 settings, 20 seeds"
    assert len(pl.read_parquet("scores.parquet")) == 120
    made = {path.name for path in Path().iterdir()}
    assert made == {"measurements.csv", "scores.parquet", "scores.png", "sweep.results"}


def test_without_distributed_it_is_asked_for(command, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = command(f"{LINE} --scheduler tcp://localhost:8786 --out r.parquet")
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        "fcbackends: this command needs distributed: install `fcbackends[distributed]`\n",
    )
    assert not Path("r.parquet").exists()


@pytest.mark.parametrize("what", ["nobody", "somebody silent", "no address"])
def test_a_scheduler_that_does_not_answer(command, data, monkeypatch, what):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if what == "nobody":
            server.close()
        if what == "no address":
            address = "nonsense"
        ran = command(f"{LINE} --scheduler {address} --out r.parquet --results r.results")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(
        "fcbackends: `--scheduler` must be the address of a scheduler of Dask's, such as "
        f"tcp://host:8786, that answers within 0.2 s, got '{address}': "
    )
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["d.csv"]


# --- what is refused -----------------------------------------------------------------------------

SEEDS = (
    "must be a range A:B, B left out, or whole numbers with commas between them, each once; all "
    "from 0 to 2**64 - 1, and at most 1000000"
)
ACTIVATIONS = "'relu', 'leaky_relu', 'tanh', 'sigmoid', 'identity'"

REFUSED = {
    "": "`--grid` must be given, got nothing",
    "--grid lr": "`--grid` must be NAME=VALUES, such as lr=0.001,0.01 or hidden=8|16,8, got 'lr'",
    "--grid seed=1": "`--grid` must name an option of networks: one of 'hidden', 'activation', "
    "'loss', 'optimizer', 'momentum', 'weight_decay', 'lr', 'schedule', 'decay_every', "
    "'decay_factor', 'warmup', 'clip_norm', 'batch_size', 'sampling', 'max_steps', 'epochs', "
    "'tol', 'tol_on', 'patience', got 'seed'",
    "--grid lr=0.1 --grid lr=0.2": "`--grid lr` must come once, got it twice",
    "--grid lr=0.1 --lr 0.2": "`--grid lr` and `--lr` must not come together, got both",
    "--grid batch=2 --batch 3": "`--grid batch_size` and `--batch` must not come together, got "
    "both",
    "--grid lr=0.1,x": "`--grid lr` must be a number, got 'x'",
    "--grid lr=": "`--grid lr` must be a number, got ''",
    "--grid lr=0.1,nan": "`--grid lr` must have numbers as values, got 'nan'",
    "--grid lr=0.1,0.10": "`--grid lr` must have each value once, got '0.10' twice",
    "--grid lr=0.1,-3": "`--grid lr` must be a finite number > 0 in float64, got -3.0",
    "--grid hidden=8|0": "`--grid hidden` must be layer sizes from 1 to 1000000 with commas "
    "between them, such as 64,32, got '0'",
    "--grid steps=5,0": "`--grid max_steps` must be a whole number of at least 1, got '0'",
    "--grid batch_size=8,1000": "`--grid batch_size` must be at most the 48 samples where each "
    "epoch takes each once, got 1000",
    "--grid epochs=1,2 --steps 5": "`--steps` and `--grid epochs` must not come together, got 5 "
    "and 1",
    "--grid activation=relu,frob": f"`--grid activation` must be one of {ACTIVATIONS}, or "
    "several with commas between them, one a hidden layer, got 'frob'",
    "--grid momentum=0.5,2": "`--grid momentum` must be a number >= 0 and < 1, got 2.0",
    "--grid optimizer=sgd,adam --momentum 0.5": "`--momentum` must come with --optimizer sgd, got "
    "--optimizer adam",
    "--grid patience=3": "`--grid patience` must come with `--validation`, got 3 without",
    "--grid loss=huber,cross_entropy": "`--grid loss` must be losses of the same targets: of "
    "numbers, of classes, or of pairs, got 'huber' and 'cross_entropy'",
    "--grid lr=0.1 --seeds 5:5": f"`--seeds` {SEEDS}, got '5:5'",
    "--grid lr=0.1 --seeds 1,1": f"`--seeds` {SEEDS}, got '1,1'",
    "--grid lr=0.1 --seeds -1:3": f"`--seeds` {SEEDS}, got '-1:3'",
    "--grid lr=0.1 --seeds 0:18446744073709551616": f"`--seeds` {SEEDS}, got "
    "'0:18446744073709551616'",
    "--grid lr=0.1,0.2 --seeds 0:1000000": "`--grid` and `--seeds` must come to 1000000 networks "
    "at the most, got 2 settings and 1000000 seeds",
    "--grid lr=0.1 --verify 0.1": "`--verify` must come with `--scheduler` or `--workers`, got "
    "0.1 without",
    "--grid lr=0.1 --verify 2 --workers 1": "`--verify` must be None or a share > 0, at most 1, "
    "of the networks, got 2.0",
    "--grid lr=0.1 --workers 1 --scheduler tcp://a:1": "`--scheduler` and `--workers` must not "
    "come together, got 'tcp://a:1' and 1",
    "--grid lr=0.1 --workers 0": "`--workers` must be a whole number of at least 1, got '0'",
    "--grid lr=0.1 --split-seed -1": "`--split-seed` must be an integer from 0 to "
    "18446744073709551615, got -1",
    "--grid lr=0.1 --holdout 1": "`--holdout` must be a share between 0 and 1 that leaves rows on "
    "both sides of the split, got 1.0 of 60 rows",
    "--grid lr=0.1 --out r.txt": "`--out` must end in .parquet or .csv, got 'r.txt'",
    "--grid lr=0.1 --plot p.gif": "`--plot` must end in .png or .svg or .pdf, got 'p.gif'",
    "--grid lr=0.1 --out d.csv": "`--out` and `DATA` must be different files, got 'd.csv' and "
    "'d.csv'",
    "--grid lr=0.1 --results d.csv": "`--results` and `DATA` must be different files, got 'd.csv' "
    "and 'd.csv'",
    "--grid lr=0.1 --seed 3": "`OPTION` must be one of --format,",
}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input_costs_a_line_and_nothing_else(command, data, options):
    outputs = {"--out": "out.csv", "--plot": "p.png", "--results": "r.results"}
    more = [f"{name}={file}" for name, file in outputs.items() if name not in options]
    before = Path("d.csv").read_bytes()
    ran = command(f"sweep d.csv --drop kind --target y {options}", *more)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {REFUSED[options]}")
    if not REFUSED[options].endswith(","):
        assert ran.err == f"fcbackends: {REFUSED[options]}\n"
    assert [path.name for path in Path().iterdir()] == ["d.csv"]
    assert Path("d.csv").read_bytes() == before


def test_a_grid_of_too_many_settings_is_not_even_made(command, data):
    values = ",".join(map(str, range(1, 101)))
    names = ("lr", "clip_norm", "tol", "warmup", "epochs", "batch_size")
    words = [f"--grid={name}={values}" for name in names]
    ran = command("sweep d.csv --drop kind", *words)
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        "fcbackends: `--grid` and `--seeds` must come to 1000000 networks at the most, got "
        "1000000000000 settings and 10 seeds\n",
    )


# --- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "grid"),
    [
        (["lr=0.1,1e-3"], {"lr": [0.1, 0.001]}),
        (["lr=0.1|1e-3"], {"lr": [0.1, 0.001]}),
        (["hidden=8|16,8"], {"hidden": [(8,), (16, 8)]}),
        (["hidden=16,8"], {"hidden": [(16, 8)]}),
        (["hidden=|8"], {"hidden": [(), (8,)]}),
        (["hidden="], {"hidden": [()]}),
        (["activation=relu,tanh"], {"activation": ["relu", "tanh"]}),
        (["activation=relu|relu,tanh"], {"activation": ["relu", ("relu", "tanh")]}),
        (["--clip-norm=1", "batch_size=2"], {"clip_norm": [1.0], "batch_size": [2]}),
        (["steps=2, 3"], {"max_steps": [2, 3]}),
    ],
)
def test_what_a_grid_means(texts, grid):
    read = grids.grid_of(texts, TRAIN, {})
    assert read == grid
    assert list(read) == list(grid)


def test_the_last_option_of_a_grid_changes_fastest():
    assert grids.points({"lr": [1.0, 2.0], "hidden": [(), (8,)]}) == [
        {"lr": 1.0, "hidden": ()},
        {"lr": 1.0, "hidden": (8,)},
        {"lr": 2.0, "hidden": ()},
        {"lr": 2.0, "hidden": (8,)},
    ]


@pytest.mark.parametrize(
    ("scores", "quartiles"),
    [
        ([3.0], [3, 3, 3]),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [2, 3, 4]),
        ([1.0, 2.0], [1.25, 1.5, 1.75]),
        ([1.0, None, 2.0], [1.5, 2, math.inf]),
        ([1.0, None], [math.inf] * 3),
        ([None, None], [math.inf] * 3),
    ],
)
def test_a_network_that_diverged_is_the_worst(scores, quartiles):
    assert quartiles_of(scores) == quartiles
