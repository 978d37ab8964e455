"""Mutants that no test can see, with the reason: a mutant's name, or a function for all of its."""

_SLOWER = "arrays that are ready take the longer way, with the same result"

EQUIVALENT = {
    "checks.data.for_network: `_are_ready(backend, None, {'params': like, **named})` -> "
    "`_are_ready(None, backend, {'params': like, **named})`": _SLOWER,
    "maths.elementary._exponent: `2.0 ** 600 * one` -> `2.0 ** 600 + one`": "rounded to 2**600",
    "maths.sampling._walked: `a | 1` -> `a | 2`": "no more than a carry over 46 bits shows it",
    "maths.sampling._walked: `b | 1` -> `b | 2`": "no more than a carry over 46 bits shows it",
}
