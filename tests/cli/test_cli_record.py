"""`train --record` and `reproduce`: a run repeated by its file, and files that are no records."""

import hashlib
import random
import shlex
import signal
import sys
import time

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.cli.app import _cli
from fcbackends.cli.recorded import OF_BITS
from tests.cli.test_cli_hostile_models import VALUES, places, replaced, without
from tests.record_cases import opened, rewritten

LINE = (
    "train d.csv --hidden 6 --optimizer adam --epochs 40 --batch 8 --holdout 0.2 --validation 0.2 "
    "--patience 30 --standardize both --seed 3"
)


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).random((60, 2))
    table = np.column_stack([x, np.sin(3 * x[:, 0]) * x[:, 1]])
    np.savetxt(tmp_path / "d.csv", table, delimiter=",", header="a,b,y", comments="")
    return table


@pytest.fixture
def recorded(command, data, tmp_path):
    ran = command(f"{LINE} --record run.json")
    assert (ran.status, ran.err) == (0, "")
    return tmp_path / "run.json"


def report(ran):
    return [
        line for line in ran.out.splitlines() if not line.startswith(("time ", "written "))
    ]  # fmt: skip


def test_a_recorded_command_is_the_command(command, recorded):
    assert report(command(LINE)) == report(command(f"{LINE} --record r --digest-every 1"))
    assert command(f"{LINE} --record r").value("written") == "r"


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
@pytest.mark.parametrize("made_by", ["numpy", "numba"])
def test_a_command_is_reproduced(command, data, tmp_path, made_by, backend, arithmetic):
    line = f"{LINE} --backend {made_by} --arithmetic {arithmetic} --out m.safetensors"
    made = command(f"{line} --record run.json")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ran = command(f"reproduce run.json d.csv --backend {backend}")
    assert (ran.status, ran.err) == (0, "")
    assert ran.value("same bits") == "yes"
    assert ran.value("digest") == made.value("digest")
    assert ran.value("backend") == f"{backend}, {arithmetic}, float64"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # Without a choice it is the record's backend, whatever the environment says.
    assert command("reproduce run.json d.csv").value("backend").startswith(f"{made_by}, ")


def test_the_environment_does_not_choose(command, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("FCBACKENDS_ARITHMETIC", "fused")
        made = command(f"{LINE} --record run.json")
    ran = command("reproduce run.json d.csv")
    assert (ran.value("same bits"), ran.value("digest")) == ("yes", made.value("digest"))


def test_what_is_in_a_record(command, data, tmp_path):
    ran = command(
        f"{LINE} --target -1 --features=a --features b --nesterov --optimizer sgd --momentum 0.5 "
        f"--header --decimal . --time-limit 1h --tol-on data --out m.safetensors --plot p.png "
        f"--checkpoint c --checkpoint-every 100 --keep-diverged --record run.json --digest-every 50"
    )
    assert (ran.status, ran.err) == (0, "")
    about = opened(tmp_path / "run.json")
    words = about["command"]["arguments"]
    content = (tmp_path / "d.csv").read_bytes()
    assert about["command"]["file"] == dict(
        name="d.csv", bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    assert (words[0], words[-1]) == ("train", "d.csv")
    given = {word for word in words if word.startswith("--")}
    assert given == {
        *("--hidden", "--optimizer", "--epochs", "--batch", "--holdout", "--validation"),
        *("--patience", "--standardize", "--seed", "--target", "--features", "--nesterov"),
        *("--momentum", "--header", "--decimal", "--tol-on", "--backend", "--arithmetic"),
    }
    assert about["options"]["features"] == ["a", "b"]
    assert about["options"]["holdout"] == 0.2
    assert about["data"]["x"]["shape"] == [38, 2]
    assert about["data"]["validation[0]"]["shape"] == [10, 2]
    # Its words can be pasted.
    pasted = command(shlex.join(words))
    assert pasted.value("digest") == ran.value("digest") == about["outcome"]["digest"]
    assert command("reproduce run.json d.csv").status == 0


def test_each_option_is_one_of_bits_or_is_not(command):
    names = {param.name for param in _cli.commands["train"].params}
    outside = {
        *("data", "out", "plot", "checkpoint", "checkpoint_every", "resume", "keep_diverged"),
        *("record", "digest_every", "time_limit"),
    }
    assert names == OF_BITS | outside


@pytest.mark.parametrize("name", ["-x.csv", "--out", "a b.csv", "caf\xe9.csv"])
def test_files_of_any_name(command, data, tmp_path, name):
    (tmp_path / name).write_bytes((tmp_path / "d.csv").read_bytes())
    ran = command("train --format csv --epochs 2 --record run.json --", tmp_path / name)
    assert (ran.status, ran.err) == (0, "")
    words = opened(tmp_path / "run.json")["command"]["arguments"]
    assert words[-1] == name
    assert str(tmp_path) not in (tmp_path / "run.json").read_text()
    assert command("", *words).value("digest") == ran.value("digest")
    assert command("reproduce run.json --", name).status == 0


def test_standard_input_is_reproduced(start, data, tmp_path):
    text = (tmp_path / "d.csv").read_text()
    process = start("train - --format csv --epochs 2 --record run.json", stdin=-1)
    process.communicate(text)
    about = opened(tmp_path / "run.json")
    assert about["command"]["file"] == dict(name="-", bytes=None, sha256=None)
    process = start("reproduce run.json -", stdin=-1)
    out, err = process.communicate(text)
    assert (process.returncode, err) == (0, "")
    assert "same bits  yes" in out


def test_other_data_is_refused_before_training(command, recorded, tmp_path, monkeypatch):
    lines = (tmp_path / "d.csv").read_text().splitlines()
    monkeypatch.setattr("fcbackends.training.runs.run_loop", lambda *a, **k: pytest.fail("a step"))
    for name, place in (("x", 0), ("t", 2)):
        cells = [line.split(",") for line in lines]
        for row in cells[1:]:
            row[place] = repr(float(row[place]) * 2 + (float(row[place]) > 0.5))
        (tmp_path / "e.csv").write_text("\n".join(map(",".join, cells)))
        ran = command("reproduce run.json e.csv")
        assert (ran.status, ran.out) == (2, "")
        text = f"fcbackends: `DATA` must be as in the record 'run.json': {name} of [38, "
        assert ran.err.startswith(text)
    ran = command("reproduce run.json none.csv")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "fcbackends: `DATA` must be a readable file, got 'none.csv': No such file or directory\n"
    )


def test_other_bits_give_status_1_and_their_place(command, recorded):
    command(f"{LINE} --record run.json --digest-every 10")
    about = opened(recorded)
    about["digests"][5:] = [[step, "0" * 64] for step, _ in about["digests"][5:]]
    about["backend"]["versions"]["numpy"] = "1.0"
    rewritten(recorded, about)
    ran = command("reproduce run.json d.csv")
    assert (ran.status, ran.err) == (1, "")
    assert ran.value("same bits") == "no"
    assert ran.value("parted") == "after step 40, at or before step 50"
    assert ran.value("reason") == "the parameters differ after step 50, and not after step 40"
    assert ran.value("numpy") == f"1.0 in the record, {np.__version__} here"


def test_records_of_programs_are_reproduced_where_their_data_is_a_table(command, data, tmp_path):
    x, t = data[:, :2].copy(), data[:, 2:].copy()
    np.savez(tmp_path / "d.npz", x=x, t=t)
    fcb.train(x, t, lr=0.1, max_steps=50, record=tmp_path / "r.json")
    assert command("reproduce r.json d.csv").status == 0
    assert command("reproduce r.json d.npz --backend numpy").status == 0
    classes = (t[:, 0] > 0.2).astype(int)
    np.savez(tmp_path / "c.npz", x=x, t=classes[:, None].astype(float))
    fcb.train(x, classes, loss="cross_entropy", lr=0.1, max_steps=50, record=tmp_path / "c.json")
    assert command("reproduce c.json c.npz").status == 0
    ran = command("reproduce r.json c.npz")
    assert ran.err.startswith("fcbackends: `DATA` must be as in the record 'r.json': t of [60, 1]")
    np.save(tmp_path / "one.npy", t)
    ran = command("reproduce r.json one.npy")
    assert ran.err == "fcbackends: `DATA` must have columns of x, and 1 of t, got 1 columns\n"
    fcb.train(x, t, lr=0.1, max_steps=50, sample_weight=np.ones(60), record=tmp_path / "w.json")
    ran = command("reproduce w.json d.csv")
    assert (ran.status, ran.err) == (
        2,
        "fcbackends: `RECORD` must be of a command, or of data x and t alone (from Python, "
        "`fcbackends.reproduce` takes the rest), got one with sample_weight\n",
    )


def test_records_of_commands_are_refused_in_python(recorded, data):
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.reproduce(recorded, data[:, :2], data[:, 2:])
    assert str(raised.value) == (
        "`record` must be of a call of `train`: `fcbackends reproduce` repeats a command, got "
        f"{str(recorded)!r}, of a command"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--record d.csv", "`--record` and `DATA` must be different files, got 'd.csv' and"),
        ("--record r --checkpoint r", "`--record` and `--checkpoint` must be different files"),
        ("--record r --resume r", "`--record` and `--resume` must be different files"),
        ("--record m.safetensors --out m.safetensors", "`--out` and `--record` must be different"),
        ("--record no/r", "`--record` must be in a folder that exists, got 'no/r'"),
        ("--record .", "`--record` must be a file, got '.': a folder"),
        ("--digest-every 5", "`--digest-every` must come with `--record`, got 5 without"),
        ("--record r --digest-every 0", "`--digest-every` must be a whole number of at least 1"),
    ],
)
def test_what_is_no_such_option(command, data, tmp_path, options, text):
    ran = command(f"{LINE} {options}")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def test_a_run_that_fails_leaves_no_record(command, data, tmp_path):
    ran = command("train d.csv --lr 1e3 --steps 1000 --record run.json")
    assert (ran.status, ran.out) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


# --- hostile records -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "--out", "m.safetensors", "d.csv"], "'--out', which no record has"),
        (["train", "--plot", "p.png", "d.csv"], "'--plot', which no record has"),
        (["train", "--checkpoint=c", "d.csv"], "'--checkpoint', which no record has"),
        (["train", "--resume", "c", "d.csv"], "'--resume', which no record has"),
        (["train", "--record", "r", "d.csv"], "'--record', which no record has"),
        (["train", "--keep-diverged", "d.csv"], "'--keep-diverged', which no record has"),
        (["train", "--help"], "'--help', which no record has"),
        (["train", "d.csv", "--help"], "'--help', which no record has"),
        (["train", "-h"], "'--help', which no record has"),
        (["train", "--version"], "No such option"),
        (["train", "a.csv", "b.csv"], "'b.csv', which no record has"),
        (["train", "--hidden"], "requires an argument"),
        (["verify", "numpy"], "the command 'verify'"),
        (["info"], "the command 'info'"),
        ([], "the command ''"),
    ],
)
def test_words_of_a_record_write_and_run_nothing_else(command, recorded, tmp_path, words, text):
    about = opened(recorded)
    about["command"]["arguments"] = words
    rewritten(recorded, about)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ran = command("reproduce run.json d.csv")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("fcbackends: `RECORD` must be a record that `train` wrote, got 'run")
    assert text in ran.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "--lr", "x", "d.csv"], "`--lr` must be a number, got 'x'"),
        (["train", "--lr", "0.5", "d.csv"], "`DATA` must be as in the record"),
        (["train", "--target", "nobody", "d.csv"], "`--target` must name columns that are there"),
    ],
)
def test_words_that_lead_elsewhere_are_refused(command, recorded, words, text):
    about = opened(recorded)
    about["command"]["arguments"] = words
    rewritten(recorded, about)
    ran = command("reproduce run.json d.csv")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")


def test_options_that_are_not_those_of_the_words_are_refused(command, recorded):
    about = opened(recorded)
    about["options"]["lr"] = 0.5
    rewritten(recorded, about)
    ran = command("reproduce run.json d.csv")
    assert ran.err == "fcbackends: `--lr` must be as in the record 'run.json', 0.5, got 0.01\n"


def test_records_with_anything_in_them(command, recorded, tmp_path):
    about, rng = opened(recorded), random.Random(1)
    about["digests"] = about["digests"][:3] + about["digests"][-1:]
    rewritten(recorded, dict(about))
    assert command("reproduce run.json d.csv").status == 0
    before = sorted(path.name for path in tmp_path.iterdir())
    statuses = []
    for place in places(about):
        if not place or place[0] == "sha256":
            continue
        for new in (None, *rng.sample(VALUES, 2)):
            other = without(about, place) if new is None else replaced(about, place, new)
            rewritten(recorded, dict(other))
            ran = command("reproduce run.json d.csv --backend numpy")
            assert ran.status in (0, 1, 2), ran
            assert ran.err == "" if ran.status < 2 else ran.out == ""
            if ran.status == 2:
                assert ran.err.startswith("fcbackends: ")
                assert ran.err.count("\n") == 1
            assert (ran.out + ran.err).replace("\n", "").isprintable()
            statuses.append(ran.status)
    assert len(statuses) > 300
    assert statuses.count(2) > len(statuses) / 2
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_process_leaves_a_record_to_repeat(start, data, tmp_path):
    line = "train d.csv --hidden 6 --steps 2000000000 --record run.json --digest-every 100000"
    process = start(f"{line} --checkpoint c --checkpoint-every 1000")
    while not (tmp_path / "c").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (130, "fcbackends: interrupted\n"), out
    about = opened(tmp_path / "run.json")
    assert about["outcome"]["stop_reason"] == "interrupted"
    process = start("reproduce run.json d.csv")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert f"{about['outcome']['last_step']}, interrupted in the record" in out
    assert about["outcome"]["digest"] in out


def test_the_statuses_of_processes(start, data, tmp_path):
    def status(line):
        process = start(line)
        said = process.communicate()
        return process.returncode, *said

    assert status(f"{LINE} --record run.json")[0] == 0
    assert status("reproduce run.json d.csv --backend numpy")[0] == 0
    about = opened(tmp_path / "run.json")
    about["digests"][-1][1] = "0" * 64
    rewritten(tmp_path / "run.json", about)
    code, out, err = status("reproduce run.json d.csv")
    assert (code, err) == (1, "")
    assert "same bits  no" in out
    assert status("reproduce d.csv d.csv")[:2] == (2, "")
