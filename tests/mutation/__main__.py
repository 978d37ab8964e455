"""Mutation testing of the maths, the training, the checks and the kernels, without the JIT.

    python -m tests.mutation --sample 300 --seed 1 [maths] [training] [checks] [kernels]

Each mutant is one small change inside a function; it is killed if a test that runs the changed
statement fails, or runs on until its time is over. Tests meet it that take less than a second
without the JIT, five seconds of them in all. The first run notes which test runs what, which takes
some minutes. What only compiled kernels run is "not run" here, and counts no more than the mutants
that `tests/mutation/equivalent.py` explains. Ctrl-C gives the shares so far. The exit status is 1
if a room kills less than 90 %.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter


def main() -> int:
    """Print each mutant that survives, and the shares by room."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # before Numba is imported
    from tests.mutation.equivalent import EQUIVALENT
    from tests.mutation.mutants import ROOMS, ROOT, files, mutants
    from tests.mutation.running import judge, runs_of_tests

    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("rooms", nargs="*", default=ROOMS, help=", ".join(ROOMS))
    parser.add_argument("--sample", type=int, help="so many mutants of each room (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--match", default="", help="only those whose names hold this text")
    chosen = parser.parse_args()

    tests = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/test_*.py"))]
    runs = runs_of_tests(tests)
    lines = {(file, line) for _, statements in runs.values() for file, line in statements}
    counts = {room: Counter() for room in chosen.rooms}
    sample = []
    for room in chosen.rooms:
        found = [m for file in files(room) for m in mutants(file) if chosen.match in m.name]
        run = [mutant for mutant in found if (mutant.file, mutant.statement) in lines]
        counts[room]["not run"] = len(found) - len(run)
        counts[room]["all"] = len(found)
        random.Random(chosen.seed).shuffle(run)
        sample += run[: chosen.sample]

    def told(mutant, outcome):
        if outcome == "survived" and mutant.name in EQUIVALENT:
            outcome = "equivalent"
        counts[mutant.room][outcome] += 1
        if outcome in ("survived", "timeout", "not made"):
            print(f"{outcome} {mutant.file}:{mutant.line} {mutant.name}", flush=True)

    judge(sample, runs, tests, told)

    enough = True
    for room, count in counts.items():
        killed = count["killed"] + count["timeout"]
        share = killed / max(1, killed + count["survived"])
        enough = enough and share >= 0.9
        print(f"{room}: {share:.1%} killed, {dict(count)}")
    return not enough


if __name__ == "__main__":
    sys.exit(main())
