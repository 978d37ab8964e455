"""Mutants, by their names, that no test here can see, and why."""

_SLOWER = "arrays that are ready take the longer way, with the same result"
_FAR_BELOW = "what it changes is 28 bits or more below those that are taken: only a carry shows"

EQUIVALENT = {
    "checks.data.for_network: `_are_ready(backend, None, {'params': like, **named})` -> "
    "`_are_ready(None, backend, {'params': like, **named})`": _SLOWER,
    "checks.data.bring: `arrays.check_dense(name, value)` -> `arrays.check_dense(value, name)`": (
        "sparse arrays of other libraries are in tests/libraries"
    ),
    "maths.elementary._exponent: `2.0 ** 600 * one` -> `2.0 ** 600 + one`": "rounded to 2**600",
    "maths.sampling._walked: `a | 1` -> `a | 2`": _FAR_BELOW,
    "maths.sampling._walked: `b | 1` -> `b | 2`": _FAR_BELOW,
    "training.progress.progress_bar.advance: `refresh=False` -> `refresh=True`": (
        "the bar is drawn once more, with the same text"
    ),
}
