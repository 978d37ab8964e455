"""`train --checkpoint` and `--resume`: processes that are killed, and commands that go on."""

import signal
import time

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import tensor_files

LINE = (
    "train d.csv --hidden 6 --optimizer adam --epochs 400 --batch 8 --holdout 0.2 --validation 0.2 "
    "--patience 300 --standardize both --seed 3"
)


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).random((60, 2))
    table = np.column_stack([x, np.sin(3 * x[:, 0]) * x[:, 1]])
    np.savetxt(tmp_path / "d.csv", table, delimiter=",", header="a,b,y", comments="")
    return table


def report(ran):
    """All lines but those that differ from run to run."""
    assert (ran.status, ran.err) == (0, ""), ran.err
    return [line for line in ran.out.splitlines() if not line.startswith(("time ", "written "))]


def test_a_command_goes_on_to_the_same_report_and_file(command, data, tmp_path, monkeypatch):
    whole = command(f"{LINE} --out whole.safetensors")
    write, steps = tensor_files.write, []

    def killed(path, entry, about, tensors):
        write(path, entry, about, tensors)
        steps.append(about["runs"][0]["step"])
        if len(steps) == 3:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "write", killed)
        with pytest.raises(SystemExit):
            command(f"{LINE} --checkpoint run --checkpoint-every 250")
    assert steps == [250, 500, 750]
    ran = command(f"{LINE} --checkpoint run --resume run --backend numpy --out resumed.safetensors")
    wanted = [line for line in report(whole) if not line.startswith("backend ")]
    assert [line for line in report(ran) if not line.startswith("backend ")] == wanted
    assert "written" in ran.out
    one, other = (fcb.load(tmp_path / f"{name}.safetensors") for name in ("whole", "resumed"))
    assert fcb.digest(one.params) == fcb.digest(other.params)
    # What has ended is reported again.
    assert report(command(f"{LINE} --resume run")) == report(whole)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ("--lr 0.5", "`--lr` must be as in the checkpoint 'run', 0.01, got 0.5"),
        ("--seed 4", "`--seed` must be as in the checkpoint 'run', 3, got 4"),
        ("--epochs 401", "`--steps` must be as in the checkpoint 'run', "),
        ("--batch 7", "`--batch` must be as in the checkpoint 'run', 8, got 7"),
        ("--hidden 7", "`--hidden` must be as in the checkpoint 'run', [6], got [7]"),
        ("--optimizer sgd", "`--optimizer` must be as in the checkpoint 'run', Adam(beta1=0.9, "),
        ("--holdout 0.3", "`--holdout` must be as in the checkpoint 'run', 0.2, got 0.3"),
        ("--validation 0.3", "`--validation` must be as in the checkpoint 'run', 0.2, got 0.3"),
        ("--patience 9", "`--patience` must be as in the checkpoint 'run', 300, got 9"),
        ("--standardize inputs", "`--standardize` must be as in the checkpoint 'run', 'both',"),
        ("--drop a", "`--drop` must be as in the checkpoint 'run', [], got ['a']"),
        ("--target a", "`--target` must be as in the checkpoint 'run', [], got ['a']"),
        ("--dtype float32", "`--dtype` must be as in the checkpoint 'run', 'float64', got "),
        ("--arithmetic fused", "`--arithmetic` must be as in the checkpoint 'run', 'ordered'"),
        ("--resume d.csv", "`--resume` must be a checkpoint that `checkpoint` wrote, got 'd.csv'"),
        ("--resume none", "`--resume` must be a readable file, got 'none': No such file or "),
    ],
)  # fmt: skip
def test_other_options_are_refused_by_their_names(command, data, changed, text):
    command(f"{LINE} --checkpoint run")
    ran = command(f"{LINE} --resume run --out m.safetensors {changed}")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")


def test_other_data_is_refused(command, data, tmp_path):
    command(f"{LINE} --checkpoint run")
    text = (tmp_path / "d.csv").read_text()
    (tmp_path / "d.csv").write_text(text.replace(text.split()[7], "0.5,0.5,0.5"))
    ran = command(f"{LINE} --resume run")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("fcbackends: `DATA` must be as in the checkpoint 'run', of digest ")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--checkpoint d.csv", "`--checkpoint` and `DATA` must be different files"),
        ("--checkpoint m.safetensors --out m.safetensors", "`--out` and `--checkpoint` must be "),
        ("--resume m.safetensors --out m.safetensors", "`--out` and `--resume` must be different"),
        (
            "--checkpoint-every 5",
            "`--checkpoint-every` must come with `--checkpoint`, got 5 without",
        ),
        ("--checkpoint no/run", "`--checkpoint` must be in a folder that exists, got 'no/run'"),
        ("--checkpoint a\0b", "`--checkpoint` must be the name of a file, got 'a\\x00b'"),
        ("--keep-diverged", "`--keep-diverged` must come with `--out`, got it without"),
    ],
)
def test_what_is_no_such_option(command, data, options, text):
    ran = command(f"{LINE} {options}")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"fcbackends: {text}")


def test_the_last_finite_network_is_written_where_it_is_asked_for(command, data, tmp_path):
    line = "train d.csv --lr 1e3 --steps 1000"
    ran = command(f"{line} --out m.safetensors")
    assert (ran.status, list(tmp_path.glob("*.safetensors"))) == (1, [])
    kept = command(f"{line} --out m.safetensors --keep-diverged")
    assert (kept.status, kept.out) == (1, "")
    assert kept.err == f"{ran.err[:-1]}; the last finite network is in m.safetensors\n"
    with pytest.raises(fcb.DivergenceError) as raised:
        fcb.train(
            data[:, :2].copy(), data[:, 2:].copy(), lr=1e3, max_steps=1000, batch_size=32,
            sampling="epoch",
        )  # fmt: skip
    assert f"step {raised.value.step}" in kept.err
    loaded = fcb.load("m.safetensors")
    assert fcb.compare(loaded.params, raised.value.params).equal
    assert command("predict m.safetensors d.csv").status == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="has no SIGKILL")
@pytest.mark.slow
def test_a_killed_process_goes_on(start, command, data, tmp_path):
    line = "train d.csv --hidden 6 --optimizer adam --steps 200000000"
    process = start(f"{line} --checkpoint run --checkpoint-every 1000")
    while not (tmp_path / "run").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.wait()
    about, _ = tensor_files.read(tmp_path / "run", "fcbackends-checkpoint")
    step = about["runs"][0]["step"]
    assert step > 0
    assert step % 1000 == 0
    # It goes on, and an interrupt keeps what there is.
    process = start(f"{line} --checkpoint run --resume run")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (130, "fcbackends: interrupted\n"), out
    about, _ = tensor_files.read(tmp_path / "run", "fcbackends-checkpoint")
    assert about["runs"][0]["step"] >= step
    assert about["runs"][0]["stop_reason"] == ""
