"""`fcbackends report` and `compare` on saved runs: files, status, one line for what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from fcbackends.report.runs import STORAGE
from tests.cases import quick_first
from tests.report import samples


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(number, saved):
    return samples.write(STORAGE / "Linux-CPython-3.11-64bit" / f"{number:04}_a.json", saved)


@pytest.fixture
def two_runs():
    save(1, samples.noisy_run(1))
    save(2, samples.noisy_run(2, slowed={5}, by=1.3))


def test_no_run_means_the_newest(command):
    save(1, samples.noisy_run(1, count=1))
    save(2, samples.full_run())
    ran = command("report")
    assert (ran.status, ran.err) == (0, "")
    assert "train step 512-512" in ran.out
    assert command("report 0001").out.count("train step") == 1


def test_every_form_at_once(command):
    save(1, samples.full_run())
    ran = command("report --out r.md --out r.html --out r.json")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert Path("r.md").read_text().startswith("# fcbackends: speed and agreement\n")
    assert Path("r.html").read_text().startswith("<!doctype html>")
    schema = json.loads(command("report --schema").out)
    jsonschema.validate(json.loads(Path("r.json").read_text()), schema)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("report --out {path}", "RUN"),
        ("report 0002 --out {path}", "RUN"),
        ("report {path} --out r.md --out {path}", "RUN"),
        ("compare 0001 0002 --out {path}", "NEW"),
        ("compare 0002 0001 --out {path}", "BASE"),
    ],
)
def test_a_report_does_not_overwrite_its_run(command, two_runs, line, read):
    path = STORAGE / "Linux-CPython-3.11-64bit" / "0002_a.json"
    before = path.read_bytes()
    ran = command(line.format(path=path))
    text = f"`--out` and `{read}` must be different files, got {str(path)!r} and {str(path)!r}"
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")
    assert path.read_bytes() == before
    assert not Path("r.md").exists()


def test_twice_the_same_bytes(command):
    save(1, samples.full_run())
    for name in ("a", "b"):
        command(f"report --out {name}.md --out {name}.html --out {name}.json")
    for suffix in (".md", ".html", ".json"):
        assert Path("a" + suffix).read_bytes() == Path("b" + suffix).read_bytes()


def test_a_comparison_without_failures(command, two_runs):
    ran = command("compare 0001 0002")
    assert (ran.status, ran.err) == (0, "")
    assert "0002: 1 slower, 19 within noise" in ran.out


def test_slower_than_allowed(command, two_runs):
    assert command("compare 0001 0002 --fail-slower 50%").status == 0
    ran = command("compare 0001 0002 --fail-slower 10%")
    assert ran.status == 1
    assert ran.err.startswith("failed: train step 5, numba: slower: 1.")
    assert ran.err.count("\n") == 1


def test_lost_agreement_always_fails(command):
    base = samples.full_run()
    save(1, base)
    save(2, samples.changed(base, 2, agreement=samples.agreement("ordered", different=1)))
    ran = command("compare 0001 0002 --out c.md --out c.html --out c.json")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "failed: forward 64-32-10 batch 32 float32, numba: lost agreement\n"
    assert "lost agreement" in Path("c.md").read_text()
    assert "lost agreement" in Path("c.html").read_text()
    schema = json.loads(command("compare --schema").out)
    jsonschema.validate(json.loads(Path("c.json").read_text()), schema)
    assert command("compare 0002 0001").status == 0


def test_several_runs_against_one_base(command, two_runs):
    save(3, samples.noisy_run(3))
    out = command("compare 0001 0002 0003").out
    assert "fcbackends: 0002, 0003 against 0001" in out
    assert "\n0002: " in out
    assert "\n0003: " in out


BAD = {
    "report nothing.json": "`RUN` must be a file, or a saved run of '.benchmarks' (the newest: "
    "none), got 'nothing.json'",
    "report": "`RUN` must be given, or found among what `pytest benchmarks/` saves, got no run in "
    "'.benchmarks'",
    "report empty.json": "`RUN` must be a run saved by `pytest benchmarks/`, got 'empty.json': "
    "Input data was truncated",
    "report cut.json": "`RUN` must be a run saved by `pytest benchmarks/`, got 'cut.json': "
    "Input data was truncated",
    "report foreign.json": "`RUN` must be a run saved by `pytest benchmarks/`, got "
    "'foreign.json': Object missing required field `machine_info`",
    "report ok.json --out r.txt": "`--out` must end in .md or .html or .json, got 'r.txt'",
    "report ok.json --out no/r.md": "`--out` must be in a folder that exists, got 'no/r.md'",
    "compare ok.json cut.json": "`NEW` must be a run saved by `pytest benchmarks/`, got "
    "'cut.json': Input data was truncated",
    "compare cut.json ok.json": "`BASE` must be a run saved by `pytest benchmarks/`, got "
    "'cut.json': Input data was truncated",
    "compare": "`BASE NEW...` must be at least two runs, got 0",
    "compare ok.json": "`BASE NEW...` must be at least two runs, got 1",
    "compare ok.json ok.json --fail-slower 10": "`--fail-slower` must be a percentage such as "
    "10%, got '10'",
    "compare ok.json ok.json --fail-slower -5%": "`--fail-slower` must be a percentage such as "
    "10%, got '-5%'",
    "compare ok.json ok.json --fail-slower x%": "`--fail-slower` must be a percentage such as "
    "10%, got 'x%'",
    "compare ok.json ok.json --only x": "`--only` must come with `--interleave`, got saved runs",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input(command, line):
    whole = json.dumps(samples.full_run())
    Path("ok.json").write_text(whole)
    Path("cut.json").write_text(whole[: len(whole) // 3])
    Path("empty.json").write_text("")
    Path("foreign.json").write_text('{"name": "package", "version": "1.0"}')
    there = sorted(Path().iterdir())
    ran = command(line)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"fcbackends: {BAD[line]}\n"
    assert sorted(Path().iterdir()) == there


def test_interleaving_needs_a_checkout(command, tmp_path):
    ran = command("compare a b --interleave")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "fcbackends: `--interleave` must be used in a checkout of fcbackends with its "
        f"benchmarks, got {tmp_path}\n"
    )


@pytest.mark.parametrize(
    "package", quick_first(["msgspec", "scipy", "jinja2", "threadpoolctl", "cpuinfo"], 1)
)
def test_without_the_extra(package):
    # A process of its own: what is imported already cannot be missing.
    save(1, samples.full_run())
    program = (
        f"import sys; sys.modules[{package!r}] = None; from fcbackends.cli import main; "
        "sys.exit(main(['report', '--out', 'r.html']))"
    )
    if package in ("threadpoolctl", "cpuinfo"):
        program = program.replace("'report', '--out', 'r.html'", "'compare', 'a', 'b'")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"fcbackends: this command needs {package}: install `fcbackends[bench]`\n"
    )
    assert not Path("r.html").exists()
