"""`python -m tests.fuzz`: many cases, or one of them again."""

import argparse
import collections
import faulthandler
import sys
import time

from fcbackends.errors import shown
from tests.fuzz import calls, commands
from tests.fuzz.judgement import defects, generator, is_command

SECONDS = 600
"""A block of cases that takes longer hangs: the first compile kernels."""

BLOCK = 50


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the index of the first case")
    parser.add_argument("--case", type=int, help="only the case of this index, and its call")
    chosen = parser.parse_args()
    faulthandler.enable()
    cases = range(chosen.first, chosen.first + chosen.cases)
    if chosen.case is not None:
        cases = range(chosen.case, chosen.case + 1)
        _show(chosen.seed, chosen.case)
    wrong, begun = collections.Counter(), time.monotonic()
    for index in cases:
        if index % BLOCK == 0:
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            print(f"\rcase {index}", end="", file=sys.stderr, flush=True)
        for defect in defects(chosen.seed, index):
            wrong[defect.partition(":")[0]] += 1
            print(f"\rseed {chosen.seed}, case {index}: {defect}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    seconds = time.monotonic() - begun
    print(f"\r{len(cases)} cases in {seconds:.0f} s, {wrong.total()} defects {dict(wrong) or ''}")
    return 1 if wrong else 0


def _show(seed, index):
    if is_command(index):
        print(ascii(commands.drawn(generator(seed, index))))
        return
    call = calls.drawn(generator(seed, index))
    print(call.function, *(f"{n}={shown(v)}" for n, v in call.arguments.items()), sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
