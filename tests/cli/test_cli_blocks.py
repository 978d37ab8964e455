"""`--rows-per-block` of `train` and `verify`, and in the records of a command."""

import json
import shlex

import numpy as np
import polars as pl
import pytest

import fcbackends as fcb
from tests.record_cases import opened

LINE = "train d.csv --hidden 6 --epochs 3 --batch 50 --seed 3"
SWEEP = "sweep d.csv --grid hidden=4|6 --out r.csv"


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).random((120, 2))
    table = np.column_stack([x, np.sin(3 * x[:, 0]) * x[:, 1]])
    np.savetxt(tmp_path / "d.csv", table, delimiter=",", header="a,b,y", comments="")
    return table


def test_a_training_has_the_bits_of_its_blocks(command, data, tmp_path):
    digests = {}
    for more in ("", "--rows-per-block 64", "--rows-per-block 8", "--rows-per-block=8"):
        ran = command(f"{LINE} {more}")
        assert (ran.status, ran.err) == (0, "")
        digests[more] = ran.value("digest")
    assert digests[""] == digests["--rows-per-block 64"]
    assert digests["--rows-per-block 8"] == digests["--rows-per-block=8"] != digests[""]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_recorded_command_is_reproduced_in_its_blocks(command, data, tmp_path, backend):
    made = command(f"{LINE} --rows-per-block 8 --record run.json")
    assert opened(tmp_path / "run.json")["options"]["rows_per_block"] == 8
    ran = command(f"reproduce run.json d.csv --backend {backend}")
    assert (ran.status, ran.err) == (0, "")
    assert (ran.value("same bits"), ran.value("digest")) == ("yes", made.value("digest"))


def test_networks_of_a_sweep_have_the_bits_of_their_blocks(command, data):
    how = "--rows-per-block 8 --batch 50 --epochs 5"
    ran = command(f"sweep d.csv {how} --grid hidden=4|6 --seeds 0:2 --split-seed 5 --out r.csv")
    assert (ran.status, ran.err) == (0, "")
    rows = pl.read_csv("r.csv").to_dicts()
    by_digest = {row["digest"]: row for row in rows}
    assert len(by_digest) == 4
    again = command("", *shlex.split(ran.out.splitlines()[-1])[1:])
    best = min(rows, key=lambda row: row["held_out_loss"])
    assert by_digest[again.value("digest")] is best
    other = command(f"sweep d.csv {how.replace('8', '64')} --grid hidden=6 --seeds 0 --out o.csv")
    assert (other.status, other.err) == (0, "")
    assert pl.read_csv("o.csv")["digest"][0] not in by_digest


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", ""])
@pytest.mark.parametrize("line", [LINE, SWEEP, "verify numpy --cases 0"])
def test_no_number_of_rows_is_refused(command, data, line, wrong):
    ran = command(line, f"--rows-per-block={wrong}")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("fcbackends: `--rows-per-block` must be ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "line", [f"{LINE} --backend numpy", f"{SWEEP} --backend numpy", "verify numpy --cases 0"]
)
def test_native_arithmetic_has_no_blocks(command, data, line):
    ran = command(f"{line} --arithmetic native --rows-per-block 8")
    text = "`--rows-per-block` must be None with backend 'numpy' in arithmetic 'native', got 8"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")


def test_backends_are_verified_in_blocks(command, tmp_path):
    ran = command("verify numpy --rows-per-block 7 --cases 24 --seed 5 --json v.json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[1].startswith("numpy in blocks of 7  A      A  ")
    (about,) = json.loads((tmp_path / "v.json").read_text())["backends"]
    assert (about["rows_per_block"], about["different"]) == (7, 0)


def test_what_differs_in_blocks_is_shown_again(command, monkeypatch):
    import dataclasses

    wrong = dataclasses.replace(fcb.get_backend("numpy"), rows_per_block=None)
    wrong = dataclasses.replace(
        wrong,
        with_rows_per_block=lambda count: dataclasses.replace(wrong, rows_per_block=count),
    )
    fcb.register_backend("no blocks", lambda: wrong)
    ran = command("verify", "no blocks", "--rows-per-block", 7, "--cases", 24, "--seed", 5)
    assert ran.status == 1
    assert "fcbackends verify no blocks --rows-per-block 7 --seed 5 --case " in ran.out
