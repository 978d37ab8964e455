"""Mutants, by their names, that no test here can see, and why."""

# ruff: noqa: E501 - names as they are printed

_SLOWER = "arrays that are ready take the longer way, with the same result"
_FAR_BELOW = "what it changes is 28 bits or more below those that are taken: only a carry shows"
_CLOCK = "only how soon a run ends that is called off hangs on it: no test waits for the clock"
_PROCESSES = "signals and forks are tested in processes of their own, which take too long here"

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
    "training.pacing.run_segments: `loop.called_off = too_late` -> `pass`": _CLOCK,
    "training.pacing._after.too_late: `time.perf_counter() - since` -> `time.perf_counter() + since`": _CLOCK,
    "training.interruption.interruptible: `threading.current_thread() is not threading.main_thread()` -> `threading.current_thread() is threading.main_thread()`": _PROCESSES,
    "training.trainer.Trainer.__init__: `refuse_in_children(self)` -> `pass`": _PROCESSES,
    "training.pacing.run_segments: `steps > finite.step` -> `steps >= finite.step`": (
        "a state that is kept already is kept once more"
    ),
    "training.pacing._first_length: `20000000 // products` -> `20000001 // products`": (
        "no bit hangs on how long the first segment is"
    ),
    "training.pacing.run_segments.is_look_due: `first < steps < stop` -> `first < steps <= stop`": (
        "the look at the last step is taken once, here or at the end"
    ),
    "training.pacing.run_segments: `break` -> `continue`": (
        "the loop ends for the reason that was found"
    ),
    "sweeps.networks.networks_of: `start=0` -> `start=1`": (
        "it counts where steps end at 2**63 alone"
    ),
    "training.trainer.Trainer.step: `type(x) is not np.ndarray` -> `type(x) is np.ndarray`": _SLOWER,
    "training.validation.split: `draw_indices(samples, 0, 1, samples, 'epoch', seed)` -> `draw_indices(samples, 0, 2, samples, 'epoch', seed)`": (
        "the first of two batches is the same"
    ),
    "training.problem.checked: `network[0][0]` -> `network[0][1]`": (
        "a bias has the dtype of its weights"
    ),
    "checks.options.rate: `getattr(lr, 'end', 0.0)` -> `getattr(lr, 'end', 1.0)`": (
        "of a schedule without an end: both numbers pass"
    ),
    "checks.targets.suit: `off[:, None] <= _MOST_OFF` -> `off[:, None] < _MOST_OFF`": (
        "no sum near 1 is so far from it"
    ),
    "checks.data.fit_as_they_are: `w.dtype is not kind` -> `w.dtype is kind`": _SLOWER,
    "checks.data.fit_as_they_are: `b.dtype is not kind` -> `b.dtype is kind`": _SLOWER,
    "checks.data.fit_as_they_are: `kind not in _READY` -> `kind in _READY`": _SLOWER,
    "checks.data.leaves: `strict=True` -> `strict=False`": ("there are as many of both"),
    "checks.data.params: `strict=True` -> `strict=False`": ("there are as many of both"),
    "maths.network._layer_inputs: `strict=True` -> `strict=False`": ("there are as many of both"),
    "maths.schedules.CosineRate.after_warmup: `np.minimum(n, length)` -> `np.minimum(length, n)`": (
        "the smaller of two is the same in any order"
    ),
}
