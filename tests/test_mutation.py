"""The mutants that `python -m tests.mutation` tries: each one change, and made where it runs."""

import importlib.util

import pytest

from tests.mutation.mutants import mutants, mutated

SOURCE = '''"""A module."""
ROOM = 8

def decorated(function):
    return function

@decorated
def made(scale=2):
    def inner(x, *, low: int = 0):
        """Text."""
        if x < low or not x:
            return None
        return pow(x * scale, 1)
    return inner
'''
CHANGES = {
    "return function": ["`return function` -> `return None`"],
    "if x": [
        "`x < low or not x` -> `x < low and (not x)`",
        "`x < low` -> `x <= low`",
        "`x < low or not x` -> `x < low or x`",
    ],
    "return pow": [
        "`return pow(x * scale, 1)` -> `return None`",
        "`pow(x * scale, 1)` -> `pow(1, x * scale)`",
        "`x * scale` -> `x + scale`",
        "`pow(x * scale, 1)` -> `pow(x * scale, 2)`",
    ],
    "return inner": ["`return inner` -> `return None`"],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return str(path)


def test_the_mutants_are_those_of_what_runs(file):
    found = [mutant.change for mutant in mutants(file)]
    assert found == [change for changes in CHANGES.values() for change in changes]
    assert {mutant.function for mutant in mutants(file)} == {"decorated", "made", "made.inner"}


def test_a_closure_that_is_there_already_takes_the_change(file):
    spec = importlib.util.spec_from_file_location("module", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    there = module.made()
    results = {}
    for mutant in mutants(file):
        codes = mutated(mutant)
        before = there.__code__
        there.__code__ = codes.get(before, before)
        results[mutant.change] = there(3)
        there.__code__ = before
    assert results["`x * scale` -> `x + scale`"] == 5
    assert results["`return pow(x * scale, 1)` -> `return None`"] is None
    assert results["`x < low or not x` -> `x < low or x`"] is None
    assert results["`x < low` -> `x <= low`"] == there(3) == 6
