"""Mutants that no test can see, with the reason: a mutant's name, or a function for all of its."""

EQUIVALENT: dict[str, str] = {}
