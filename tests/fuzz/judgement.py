"""One case: a call, what is right about it, and what is found wrong."""

import functools
import pathlib
import random
import warnings

import numpy as np

import fcbackends as fcb
from fcbackends.backends import registry
from tests.fuzz import calls, commands
from tests.fuzz.hostile import Trouble, files

MOST_CHARACTERS = 1000

COMMANDS_APART = 50

REFUSALS = (fcb.ArgumentError, fcb.DivergenceError, MemoryError)
"""What is documented; Python's own error of memory for arrays that nobody has room for."""


def generator(seed, index):
    return random.Random(f"fuzz {seed} {index}")


def defects(seed, index, functions=None):
    """What is wrong with the case of this index: nothing, or sentences."""
    if is_command(index):
        words = commands.drawn(generator(seed, index))
        return [f"command: {what} of {words!a}" for what in commands.defects(words, folder())]
    return defects_of_call(seed, index, functions)


def is_command(index):
    """Whether the case of this index is a command line: they take long."""
    return index % COMMANDS_APART == 0


@functools.cache
def folder():
    return commands.Folder()


def defects_of_call(seed, index, functions=None):
    call = calls.drawn(generator(seed, index))
    held = list(_held(call.arguments))
    state = np.geterr()
    errors = generator(seed, -1 - index).choice(("warn", "warn", "raise", "ignore"))
    found = []
    with warnings.catch_warnings(), np.errstate(all=errors):
        warnings.simplefilter("error")
        inside = np.geterr()
        result, error = _outcome(call, functions)
        if np.geterr() != inside:
            found.append("NumPy's error state is another")
    if np.geterr() != state:
        found.append("NumPy's error state is another, and stays so")
    found += [f"{what} was changed" for what, before in held if _bits(what) != before]
    if error is not None:
        found += _wrong_refusal(error)
    elif any(np.may_share_memory(a, b) for a in _arrays(result) for b, _ in held):
        found.append("the result lies in an argument's memory")
    if not found and call.exact:
        found += _unlike_plain(seed, index, result, error)
    return [f"{call.function}: {what}" for what in found]


def _outcome(call, functions=None):
    function = (functions or FUNCTIONS)[call.function]
    try:
        return function(**call.arguments), None
    except Exception as error:
        return None, error


def _wrong_refusal(error):
    if isinstance(error, Trouble) or isinstance(error.__cause__, Trouble):
        return
    if not isinstance(error, REFUSALS):
        yield f"{type(error).__name__}, which is not documented: {str(error)[:300]!r}"
    elif not str(error).isprintable() or len(str(error)) > MOST_CHARACTERS:
        yield f"a text of {len(str(error))} characters: {str(error)[:300]!r}"


def _unlike_plain(seed, index, result, error):
    """What differs where the same numbers come as plain arrays of NumPy's, to backend "numpy"."""
    twin = calls.drawn(generator(seed, index))
    arguments = {name: plain(value) for name, value in twin.arguments.items()}
    chosen = arguments.get("backend", "numba")
    if isinstance(chosen, str) and chosen == "numba" and twin.function not in WITHOUT_BACKEND:
        arguments["backend"] = "numpy"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted, refusal = _outcome(twin._replace(arguments=arguments))
    if type(error) is not type(refusal):
        yield f"{_said(error)}, where plain arrays lead to {_said(refusal)}"
    elif error is not None and isinstance(error, fcb.ArgumentError):
        if error.arguments != refusal.arguments:
            yield f"{error}, where plain arrays lead to {refusal}"
    elif error is None:
        ours, theirs = (list(_leaves(value)) for value in (result, wanted))
        if ours != theirs:
            yield f"{ours}, where plain arrays lead to {theirs}"[:2000]


def _said(error):
    return "a result" if error is None else f"{type(error).__name__} ({str(error)[:200]})"


# --- values --------------------------------------------------------------------------------------


def plain(value, depth=4):
    """The same numbers as a contiguous array in the machine's byte order; else the value."""
    if isinstance(value, fcb.TrainerState):
        return fcb.TrainerState(plain(value.params), plain(value.slots), value.steps)
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        if value.dtype.kind in "fiu" and value.nbytes < 10**6:
            return np.array(value, value.dtype.newbyteorder("="), order="C", subok=False)
        return value
    if type(value) in (list, tuple) and depth:
        return type(value)(plain(part, depth - 1) for part in value)
    return value


def _held(value):
    """Each array among the arguments, and its bytes."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, np.ndarray):
        yield value, _bits(value)
    elif type(value) in (list, tuple, fcb.TrainerState) and len(value) < 100:
        for part in value:
            if part is not value:
                yield from _held(part)


def _bits(a):
    """All that there is to change of an array."""
    root = a
    while isinstance(root.base, np.ndarray):
        root = root.base
    held = root if root.nbytes < 10**6 else root[:0]
    content = held.tolist() if held.dtype.hasobject else held.tobytes()
    return content, a.shape, a.strides, a.dtype, a.flags.writeable


def _arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)


def _leaves(value):
    """A result in what can be compared: bits, with any NaN like any other."""
    if isinstance(value, np.ndarray | np.generic):
        bits = np.array(value)
        if bits.dtype.kind == "f":
            bits[np.isnan(bits)] = np.nan
        yield bits.dtype.str, bits.shape, bits.tobytes()
    elif isinstance(value, float):
        yield "nan" if value != value else value.hex()
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _leaves(part)
    elif isinstance(value, tuple | list):
        yield len(value)
        for part in value:
            yield from _leaves(part)
    else:
        yield value


# --- what is called ------------------------------------------------------------------------------


def _trainer(params, run=None, state=None, one=None, two=None, **how):
    trainer = fcb.Trainer(params, **how)
    seen = []
    if state is not None:
        trainer.state = state
    for step in (one, two):
        if step is not None:
            seen.append(
                trainer.step(**step) if isinstance(step, dict) else trainer.step(step, step)
            )
    if run is not None:
        seen.append(trainer.run(**run) if isinstance(run, dict) else trainer.run(run, run))
    return seen, trainer.state


def _scaled(made, apply, undo):
    return made.apply(apply), made.undo(undo)


def _rate(kind, **fields):
    return repr(kind(**fields))


def _named(name=None, backend=None, arithmetic=None):
    made = fcb.get_backend(backend if name is None else name, arithmetic=arithmetic)
    return made.name, made.arithmetic


def _used(backend=None, arithmetic=None):
    with fcb.use_backend(backend, arithmetic=arithmetic) as made:
        return made.name, fcb.get_backend().name


def _written(**model):
    path = pathlib.Path(files().name, "out.safetensors")
    fcb.save(path, **model)
    found = fcb.load(path)
    return found.params, found.activation, found.loss


def _exported(**model):
    path = pathlib.Path(files().name, "out.c")
    fcb.export_c(path=path, **model)
    return path.read_text(encoding="ascii")


def _reproduced(change, **call):
    """A run from its record, on data that may be other than its own."""
    path = pathlib.Path(files().name, "run.json")
    result = fcb.train(**call, record=path)
    own = ("x", "t", "sample_weight", "validation", "params", "callback", "backend")
    given = {name: call[name] for name in own if call.get(name) is not None} | change
    if not isinstance(given.get("validation"), tuple | list):
        given.pop("validation", None)
    again = fcb.reproduce(path, **given)
    return again.equal, again.steps, result.params, again.result and again.result.params


def _registered(name, loader):
    before = list(registry._loaders)
    try:
        fcb.register_backend(name, loader)
    finally:
        for added in registry._loaders.keys() - before:
            del registry._loaders[added]


FUNCTIONS = {
    **{name: getattr(fcb, name) for name in calls.__dict__ if callable(getattr(fcb, name, None))},
    "trainer_steps": _trainer,
    "trainer_run": _trainer,
    "trainer_state": _trainer,
    "scaling_fit": lambda x, apply, undo: _scaled(fcb.Scaling.fit(x), apply, undo),
    "scaling": lambda mean, scale, apply, undo: _scaled(fcb.Scaling(mean, scale), apply, undo),
    "sgd": lambda **fields: repr(fcb.SGD(**fields)),
    "adam": lambda **fields: repr(fcb.Adam(**fields)),
    "rate": _rate,
    "get_backend": _named,
    "use_backend": _used,
    "register_backend": _registered,
    "saved": lambda network, use, **how: getattr(network, use)(**how),
    "save": _written,
    "export_c": _exported,
    "reproduce": _reproduced,
}

WITHOUT_BACKEND = {
    *("relu", "relu_backward", "init_params", "sample_indices", "compare", "digest"),
    *("scaling_fit", "scaling", "sgd", "adam", "rate", "get_backend", "use_backend"),
    *("register_backend", "save", "export_c", "first_difference"),
}
