"""Damaged and made-up files for every reader: a right result, or one line that says what is wrong.

    python -m tests.fuzz.files                            # all kinds, some thousand files each
    python -m tests.fuzz.files --kind npz --cases 100000 --seed 7
    python -m tests.fuzz.files --kind npz --seed 7 --case 4711   # that file alone, kept and shown
    python -m tests.fuzz.files --kind npz --guided        # by the branches taken, with atheris

A file is made of a valid one: bytes are changed, cut out, doubled and put in from another, and
where a file has a structure (JSON, the header of an array, an archive), values in it are exchanged
for others and the whole is put together again. A case is a function of kind, seed and number. They
run in a process of limited memory, which is started anew where one ends it.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.troubles import CSV
from tests.fuzz.spoiled import KINDS, case, seeds, small_run

MEMORY = 3 * 2**30
"""Bytes of addresses that the commands may take beyond those of the libraries they load."""

_GUIDING = ["fcbackends.cli", "fcbackends.models", "fcbackends.report", "zipfile"]

HANG = 120
"""Seconds after which a file is held to hang its reader: ten thousand times what one takes."""


def prepare():
    """The files that the commands need beside the one in question, in the working folder."""
    from fcbackends.cli import main

    Path("ok.csv").write_text(CSV["ok"])
    words = "".join(f"{i},{'uv'[i % 2]},{'pqr'[i % 3]}\n" for i in range(12))
    Path("classes.csv").write_text("a,k,y\n" + words)
    options = "--steps 2 --standardize inputs --hidden 3 --out"
    assert main(f"train ok.csv {options} ok.safetensors".split()) == 0
    classes = "--target y --loss cross_entropy --missing mean"
    assert main(f"train classes.csv {classes} {options} classes.safetensors".split()) == 0
    Path("ok.json").write_text(json.dumps(small_run(True)))


def commands(kind, number):
    """The commands that read a file of this kind, of which one is run."""
    if kind == "model":
        return [["predict", "fuzzed", "classes.csv" if number % 2 else "ok.csv"]]
    if kind == "run":
        pictured = ["report", "fuzzed", "--out", "r.html", "--out", "r.md", "--out", "r.json"]
        more = [pictured] if number % 8 == 0 else []
        return [["report", "fuzzed"], ["compare", "ok.json", "fuzzed"], *more]
    form = ["--format", kind, *(["--no-header"] if kind == "csv" and number % 3 == 0 else [])]
    how = (
        [],
        ["--missing", "median", "--standardize", "inputs", "--dtype", "float32"],
        ["--loss", "cross_entropy", "--target", "0"],
        ["--loss", "binary_cross_entropy", "--missing", "drop"],
    )[number // 3 % 4]
    return [
        ["train", "fuzzed", "--steps", "1", *form, *how],
        ["predict", "ok.safetensors", "fuzzed", "--keep", "0", "--out", "p.parquet", *form],
    ]


def defect(kind, content, number=0, shown=False):
    """What is wrong with what the commands say of a file; None, if nothing is."""
    from fcbackends.cli import main

    Path("fuzzed").write_bytes(content)
    for command in commands(kind, number):
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            kept = [os.dup(1), os.dup(2)]
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    status = main(command)
            except BaseException as error:
                return f"{' '.join(command)}: {type(error).__name__}: {error}"
            finally:
                for handle, to in zip(kept, (1, 2), strict=True):
                    os.dup2(handle, to)
                    os.close(handle)
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read())
        if shown:
            print(status, *said)
        lines = said[1].splitlines()
        if status not in (0, 1, 2):
            return f"{' '.join(command)}: status {status}"
        if status and ((said[0] and command[0] != "compare") or not lines):
            return f"{' '.join(command)}: status {status} after {said}"
        # Warnings come before.
        odd = [line for line in lines if not line.startswith(("fcbackends: ", "failed: "))]
        if odd or not all(line.isprintable() for line in lines):
            return f"{' '.join(command)}: says {said[1]!r}"
        if status and command[0] != "compare" and len(lines) > 2:
            return f"{' '.join(command)}: says {said[1]!r}"
    return None


# --- in processes of limited memory --------------------------------------------------------------


def worker(kind, seed, first, last):
    """Go through cases; the last line of `progress` is the one at hand, with what is found."""
    prepare()
    for number in range(3):
        defect(kind, case(kind, 0, number), number)  # what is loaded at first use
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)
    with Path("progress").open("a") as progress:
        for number in range(first, last):
            progress.write(f"{number}\n")
            progress.flush()
            signal.alarm(HANG)
            found = defect(kind, case(kind, seed, number), number)
            signal.alarm(0)
            if found:
                progress.write(json.dumps(found) + "\n")


def findings(kind, seed, cases):
    """Pairs of a case and what is wrong with it."""
    first = 0
    while first < cases:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.fuzz.files", "--kind", kind, "--worker"]
            ran = subprocess.run(
                [*command, str(first), str(cases), "--seed", str(seed)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            progress = Path(folder, "progress")
            lines = progress.read_text().splitlines() if progress.exists() else []
        number = None
        for line in lines:
            if line.startswith('"'):
                yield number, json.loads(line)
            else:
                number = int(line)
        if ran.returncode == 0:
            return
        if number is None:
            raise RuntimeError(ran.stderr)
        why = "hangs" if ran.returncode == -signal.SIGALRM else f"ended with {ran.returncode}"
        yield number, f"{why}: {ran.stderr[-500:]}"
        first = number + 1


def guided(kind, seed, cases):
    """Cases chosen by the branches that they take, which needs the package atheris."""
    import atheris

    with atheris.instrument_imports(include=_GUIDING):
        import fcbackends.cli.fit
        import fcbackends.cli.predict
        import fcbackends.cli.report  # noqa: F401
    with contextlib.redirect_stdout(io.StringIO()):
        prepare()
    Path("corpus").mkdir(exist_ok=True)
    for number, content in enumerate(seeds(kind)):
        Path("corpus", str(number)).write_bytes(content)

    def judge(content):
        if found := defect(kind, content):
            raise RuntimeError(found)

    options = [f"-runs={cases}", f"-seed={seed + 1}", f"-timeout={HANG}", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, "corpus"], judge)
    atheris.Fuzz()


def _main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int)
    parser.add_argument("--guided", action="store_true", help="one kind, by atheris")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    kinds = chosen.kind or KINDS
    if chosen.worker:
        worker(kinds[0], chosen.seed, *chosen.worker)
        return 0
    if chosen.case is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            prepare()
        content = case(kinds[0], chosen.seed, chosen.case)
        print(defect(kinds[0], content, chosen.case, shown=True) or "all is well")
        return 0
    if chosen.guided:
        guided(kinds[0], chosen.seed, chosen.cases)
    total = 0
    for kind in kinds:
        count = 0
        for number, found in findings(kind, chosen.seed, chosen.cases):
            count += 1
            print(f"--kind {kind} --seed {chosen.seed} --case {number}: {found}", flush=True)
        print(f"{kind}: {chosen.cases} files, {count} with something wrong", flush=True)
        total += count
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(_main())
