"""What the boundary refuses, and in which words: the argument, what is required, what came."""

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, problem

CASE = problem(0, (3, 4, 2), 5, "float64")
PARAMS, X, T = CASE.params, CASE.x, CASE.t
(W, B), Y = PARAMS[0], np.ones((5, 4))
SINGLE = tuple((w.astype("f4"), b.astype("f4")) for w, b in PARAMS)
STRICT = array_api_strict.asarray(X)

Plain, Type = fcb.ArgumentError, fcb.ArgumentTypeError


def forward(x=X, w=W, b=B):
    return fcb.fc_forward(x, w, b)


def backward(dy=Y, x=X, w=W):
    return fcb.fc_backward(dy, x, w)


def loss(y=T, t=T):
    return fcb.mean_squared_loss(y, t)


def predict(params=PARAMS, x=X):
    return fcb.predict(params, x)


def sgd_step(params=PARAMS, x=X, t=T, lr=0.1):
    return fcb.sgd_step(params, x, t, lr)


def train(x=X, t=T, **settings):
    return fcb.train(x, t, **{"lr": 0.1, "max_steps": 2, **settings})


def trainer(params=PARAMS, lr=0.1):
    return fcb.Trainer(params, lr=lr)


def step(x=X[0], t=T[0]):
    return trainer().step(x, t)


def run(x=X, t=T, **settings):
    return trainer().run(x, t, **settings)


def many(x=X, t=T, **settings):
    return fcb.train_many(x, t, **{"seed": (0, 1), "lr": 0.1, "max_steps": 2, **settings})


def indices(n_samples=10, steps=3, **settings):
    return fcb.sample_indices(n_samples, steps=steps, **settings)


def replaced(layer, w=None, b=None, params=PARAMS):
    pairs = [list(pair) for pair in params]
    pairs[layer] = [pairs[layer][0] if w is None else w, pairs[layer][1] if b is None else b]
    return pairs


HOLD = "must hold float64, float32 or integer values, got dtype"
STEPS = "must be an integer of at least 1, got"
RATE = "`lr` must be a finite number > 0 in float64, got"
TOL = "`tol` must be None or a finite number >= 0, got"
LIMIT = "`time_limit` must be None or a finite number of seconds > 0, got"
SEED = f"`seed` must be an integer from 0 to {2**64 - 1}, got"
SAMPLE = "for one sample or (N, 3), got"
PAIRS = "`params` must be a non-empty sequence of (w, b) pairs, got"

SHAPES = [
    (lambda: forward(x=X[:, :2]), Plain, "`w` must be of shape (2, M), got (3, 4)"),
    (lambda: forward(x=np.ones((2, 2, 3))), Plain,
     "`x` must be of shape (K,) for one sample or (N, K), got (2, 2, 3)"),
    (lambda: forward(x=1.5), Plain, "`x` must be of shape (K,) for one sample or (N, K), got ()"),
    (lambda: forward(w=W[0]), Plain, "`w` must be of shape (3, M), got (4,)"),
    (lambda: forward(b=B[:3]), Plain, "`b` must be of shape (4,), got (3,)"),
    (lambda: forward(b=B[None]), Plain, "`b` must be of shape (4,), got (1, 4)"),
    (lambda: forward(b=1.0), Plain, "`b` must be of shape (4,), got ()"),
    (lambda: backward(dy=Y[:, :3]), Plain,
     "`dy` must be of shape (4,) for one sample or (N, 4), got (5, 3)"),
    (lambda: backward(dy=Y[:4]), Plain,
     "`dy` and `x` must hold the same samples, got shapes (4, 4) and (5, 3)"),
    (lambda: backward(dy=Y[0]), Plain,
     "`dy` and `x` must hold the same samples, got shapes (4,) and (5, 3)"),
    (lambda: loss(y=T[:4]), Plain, "`y` and `t` must be of the same shape, got (4, 2) and (5, 2)"),
    (lambda: loss(y=T[0]), Plain, "`y` and `t` must be of the same shape, got (2,) and (5, 2)"),
    (lambda: loss(t=T[:, :1]), Plain,
     "`y` and `t` must be of the same shape, got (5, 2) and (5, 1)"),
    (lambda: loss(T[:0], T[:0]), Plain, "`y` must be of at least one sample, got shape (0, 2)"),
    (lambda: fcb.relu_backward(T, T[:4]), Plain,
     "`dy` and `a` must be of the same shape, got (5, 2) and (4, 2)"),
    (lambda: predict(x=X[:, :2]), Plain, f"`x` must be of shape (3,) {SAMPLE} (5, 2)"),
    (lambda: predict(x=X[None]), Plain, f"`x` must be of shape (3,) {SAMPLE} (1, 5, 3)"),
    (lambda: sgd_step(x=X[:, :2]), Plain, f"`x` must be of shape (3,) {SAMPLE} (5, 2)"),
    (lambda: sgd_step(t=X), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: sgd_step(t=T[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: sgd_step(t=T[0]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (2,)"),
    (lambda: sgd_step(x=X[:0], t=T[:0]), Plain,
     "`x` must be of at least one sample, got shape (0, 3)"),
    (lambda: train(x=X[0], t=T[0]), Plain,
     "`x` must be of shape (N, K) and not empty, got shape (3,)"),
    (lambda: train(x=X[:0], t=T[:0]), Plain,
     "`x` must be of shape (N, K) and not empty, got shape (0, 3)"),
    (lambda: train(x=X[:, :0]), Plain,
     "`x` must be of shape (N, K) and not empty, got shape (5, 0)"),
    (lambda: train(t=T[:, None]), Plain,
     "`t` must be of shape (N,) or (N, M), got shape (5, 1, 2)"),
    (lambda: train(t=T[:, :0]), Plain,
     "`t` must be of shape (N, M) and not empty, got shape (5, 0)"),
    (lambda: train(x=[], t=[]), Plain,
     "`x` must be of shape (N, K) and not empty, got shape (0,)"),
    (lambda: train(t=T[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: train(x=X[:, :2], params=PARAMS), Plain,
     f"`x` must be of shape (3,) {SAMPLE} (5, 2)"),
    (lambda: train(t=X, params=PARAMS), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: run(x=X[:, :2]), Plain, f"`x` must be of shape (3,) {SAMPLE} (5, 2)"),
    (lambda: run(t=X), Plain, "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: step(x=X[0, :2]), Plain, f"`x` must be of shape (3,) {SAMPLE} (2,)"),
    (lambda: step(t=X[0]), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (3,)"),
    (lambda: step(x=X[:1]), Plain,
     "`x` and `t` must hold the same samples, got shapes (1, 3) and (2,)"),
    (lambda: step(x=X[:0], t=T[:0]), Plain,
     "`x` must be of at least one sample, got shape (0, 3)"),
]  # fmt: skip

DTYPES = [
    (lambda: forward(x=X + 1j), Type, f"`x` {HOLD} complex128"),
    (lambda: forward(w=W.astype("f2")), Type, f"`w` {HOLD} float16"),
    (lambda: forward(b=B.astype(bool)), Type, f"`b` {HOLD} bool"),
    (lambda: forward(x=X.astype(object)), Type, f"`x` {HOLD} object"),
    (lambda: forward(x=X.astype(str)), Type, f"`x` {HOLD} {X.astype(str).dtype}"),
    (lambda: forward(x=None), Type, f"`x` {HOLD} object"),
    (lambda: forward(x=np.ones((5, 3), "M8[s]")), Type, f"`x` {HOLD} datetime64[s]"),
    (lambda: forward(x=[[1, 2, 3], [4, 5]]), Plain,
     "`x` must be an array of numbers, got [[1, 2, 3], [4, 5]]"),
    (lambda: forward(x=X.astype("f4")), Type,
     "`x`, `w`, `b` must be of one floating dtype, got `x` float32, `w` float64, `b` float64"),
    (lambda: forward(x=np.ones((5, 3), int), b=B.astype("f4")), Type,
     "`w`, `b` must be of one floating dtype, got `w` float64, `b` float32"),
    (lambda: backward(dy=Y.astype("f4")), Type,
     "`dy`, `x`, `w` must be of one floating dtype, got `dy` float32, `x` float64, `w` float64"),
    (lambda: loss(t=T.astype("f4")), Type,
     "`y`, `t` must be of one floating dtype, got `y` float64, `t` float32"),
    (lambda: fcb.relu(X > 0), Type, f"`a` {HOLD} bool"),
    (lambda: fcb.relu_backward(T.astype("f4"), T), Type,
     "`dy`, `a` must be of one floating dtype, got `dy` float32, `a` float64"),
    (lambda: predict(x=X.astype("f4")), Type,
     "`params` and `x` must be of the same dtype, got float64 and float32"),
    (lambda: predict(params=SINGLE), Type,
     "`params` and `x` must be of the same dtype, got float32 and float64"),
    (lambda: sgd_step(params=SINGLE), Type,
     "`params` and `x` must be of the same dtype, got float32 and float64"),
    (lambda: sgd_step(t=T.astype("f4")), Type,
     "`x`, `t` must be of one floating dtype, got `x` float64, `t` float32"),
    (lambda: train(t=T.astype("f4")), Type,
     "`x`, `t` must be of one floating dtype, got `x` float64, `t` float32"),
    (lambda: train(x=X > 0), Type, f"`x` {HOLD} bool"),
    (lambda: train(params=SINGLE), Type, "`params` must be of `dtype` float64, got float32"),
    (lambda: train(params=PARAMS, dtype="float32"), Type,
     "`params` must be of `dtype` float32, got float64"),
    (lambda: step(x=X[0].astype("f4"), t=T[0].astype("f4")), Type,
     "`params` and `x` must be of the same dtype, got float64 and float32"),
    (lambda: step(x=X[0].astype("f2")), Type, f"`x` {HOLD} float16"),
    (lambda: fcb.fc_forward(STRICT, W, B, backend="numpy"), Type,
     "`x` must be an array of backend 'numpy' or of NumPy, got one of array_api_strict"),
    (lambda: fcb.fc_forward(STRICT, W, B, backend="numba"), Type,
     "`x` must be an array of backend 'numba' or of NumPy, got one of array_api_strict"),
    (lambda: trainer().step(STRICT[0, :], T[0]), Type,
     "`x` must be an array of backend 'numba' or of NumPy, got one of array_api_strict"),
    (lambda: fcb.compare(X, X.astype("f4")), Type,
     "`a` and `b` must be of the same dtype, got float64 and float32"),
    (lambda: fcb.compare([X], [X.astype("f4")]), Type,
     "`a` and `b` must be of the same dtype, got float64 and float32 at [0]"),
    (lambda: fcb.compare(np.arange(3), np.arange(3)), Type,
     "`a` must hold float32 or float64 arrays, got dtype int64"),
    (lambda: fcb.digest(np.arange(3)), Type,
     "`params` must hold float32 or float64 arrays, got dtype int64"),
    (lambda: fcb.compare(X, T), Plain,
     "`a` and `b` must be of the same shape, got (5, 3) and (5, 2)"),
    (lambda: fcb.compare((T, (X,)), (T, (T,))), Plain,
     "`a` and `b` must be of the same shape, got (5, 3) and (5, 2) at [1, 0]"),
]  # fmt: skip

NETWORKS = [
    *((lambda bad=bad: predict(params=bad), Plain, f"{PAIRS} {text}") for bad, text in [
        (None, "None"), ((), "()"), ("wb", "'wb'"), (3, "3"), ([3], "[3]"), ([(1,)], "[(1,)]"),
        ([(1, 2, 3)], "[(1, 2, 3)]"),
    ]),
    (lambda: predict(params=replaced(0, w=W[0])), Plain,
     "`params[0].w` must be of shape (K, M), got (4,)"),
    (lambda: sgd_step(params=((np.ones((3, 2, 1)), np.ones(2)),)), Plain,
     "`params[0].w` must be of shape (K, M), got (3, 2, 1)"),
    (lambda: sgd_step(params=((np.ones((3, 2)), np.ones(3)),)), Plain,
     "`params[0].b` must be of shape (2,), got (3,)"),
    (lambda: predict(params=replaced(0, b=B[:3])), Plain,
     "`params[0].b` must be of shape (4,), got (3,)"),
    (lambda: predict(params=replaced(1, w=np.ones((3, 2)))), Plain,
     "`params[1].w` must be of shape (4, M), got (3, 2)"),
    (lambda: trainer(params=replaced(1, b=np.ones((1, 2)))), Plain,
     "`params[1].b` must be of shape (2,), got (1, 2)"),
    (lambda: trainer(params=replaced(0, b=B > 0)), Type, f"`params[0].b` {HOLD} bool"),
    (lambda: trainer(params=replaced(0, b=B.astype("f4"))), Type,
     "`params[0].w`, `params[0].b`, `params[1].w`, `params[1].b` must be of one floating dtype, "
     "got `params[0].w` float64, `params[0].b` float32, `params[1].w` float64, "
     "`params[1].b` float64"),
    (lambda: trainer(params=replaced(0, b=B * np.nan)), Plain,
     "`params` must be finite, got NaN or infinity among them"),
    (lambda: trainer(params=replaced(1, w=PARAMS[1][0] * np.inf)), Plain,
     "`params` must be finite, got NaN or infinity among them"),
    (lambda: trainer(params=((np.ones((0, 2)), np.ones(2)),)), Plain,
     "`params[0].w` must be not empty, got shape (0, 2)"),
    (lambda: train(params=replaced(1, b=np.full(2, np.nan))), Plain,
     "`params` must be finite, got NaN or infinity among them"),
    (lambda: train(params=PARAMS, hidden=(5,)), Plain,
     "`hidden` must be left out, or the sizes (4,) of `params`, got (5,)"),
]  # fmt: skip


def number_cases(call, argument, words, bad, kind=Plain):
    return [
        (lambda value=value: call(**{argument: value}), kind, f"{words} {value!r}") for value in bad
    ]


SIZES = (
    "`sizes` must be a sequence of at least two positive integers, inputs first and outputs last"
)
NAMES = [
    ("sampling", "`sampling` must be one of 'replacement', 'epoch', got"),
    ("tol_on", "`tol_on` must be one of 'batch', 'data', got"),
    ("dtype", "`dtype` must be one of 'float64', 'float32', got"),
]

NUMBERS = [
    *(case for call in (train, trainer, sgd_step) for case in [
        *number_cases(call, "lr", RATE, [float("nan"), float("inf"), 0, -0.0, -1e-3, 1e-400]),
        *number_cases(call, "lr", RATE, [None, "0.1", 1j, [], [0.1, 0.2]], Type),
    ]),
    (lambda: train(lr=1e-46, dtype="float32"), Plain,
     "`lr` must be a finite number > 0 in float32, got 1e-46"),
    (lambda: train(lr=1e39, dtype="float32"), Plain,
     "`lr` must be a finite number > 0 in float32, got 1e+39"),
    *(case for call in (train, run) for case in [
        *number_cases(call, "max_steps", f"`max_steps` {STEPS}", [0, -1, True]),
        *number_cases(call, "max_steps", f"`max_steps` {STEPS}",
                      [None, 2.0, float("inf"), "9"], Type),
        *number_cases(call, "batch_size", f"`batch_size` {STEPS}", [0, -3, False]),
        *number_cases(call, "batch_size", f"`batch_size` {STEPS}", [None, 1.0, "auto"], Type),
        *number_cases(call, "record_every", f"`record_every` {STEPS}", [0, -1]),
        *number_cases(call, "record_every", f"`record_every` {STEPS}", [0.5, "all"], Type),
        *number_cases(call, "tol", TOL, [float("nan"), float("inf"), -1e-20]),
        *number_cases(call, "tol", TOL, ["1e-20", 1j], Type),
        *number_cases(call, "time_limit", LIMIT, [0, -1, float("nan"), float("inf")]),
        *number_cases(call, "time_limit", LIMIT, ["9", "9s", 1j], Type),
        *number_cases(call, "seed", SEED, [-1, 2**64]),
        *number_cases(call, "seed", SEED, [None, 0.5, "7"], Type),
    ]),
    *(case for argument, words in NAMES[:2] for case in
      number_cases(train, argument, words, ["none", None, 1, ["batch"]])),
    *number_cases(train, "dtype", NAMES[2][1], ["float16", "int64", "f", "complex128", None]),
    (lambda: train(batch_size=6, sampling="epoch"), Plain,
     "`batch_size` must be at most the 5 samples where each epoch takes each once, got 6"),
    (lambda: train(max_steps=2**63), Plain,
     "`max_steps` must be such that all draws (steps times batch size) number at most 2**63 - 1, "
     f"got {2**63} steps of 1"),
    *number_cases(train, "hidden",
                  "`hidden` must be a sequence of positive integers, one a hidden layer, got",
                  [3, "32", None], Type),
    (lambda: train(hidden=(3, 0)), Plain, "`hidden[1]` must be an integer of at least 1, got 0"),
    (lambda: train(hidden=(2.5,)), Type, "`hidden[0]` must be an integer of at least 1, got 2.5"),
    *((lambda bad=bad: fcb.init_params(bad), kind, f"{SIZES}, got {bad!r}") for bad, kind in [
        ((), Plain), ((3,), Plain), (3, Type), ("23", Type), (None, Type),
    ]),
    (lambda: fcb.init_params((2, -1)), Plain,
     "`sizes[1]` must be an integer of at least 1, got -1"),
    (lambda: fcb.init_params((2, 1), dtype="half"), Plain, f"{NAMES[2][1]} 'half'"),
    *number_cases(lambda seed: fcb.init_params((2, 1), seed=seed), "seed", SEED, [-1, 2**64]),
    *number_cases(indices, "n_samples",
                  f"`n_samples` must be an integer from 1 to {2**32 - 1}, got", [0, -1, 2**32]),
    *number_cases(indices, "steps", "`steps` must be an integer of at least 0, got", [-1]),
    *number_cases(indices, "start", "`start` must be an integer of at least 0, got", [-1]),
    *number_cases(indices, "start", "`start` must be an integer of at least 0, got", [1.5], Type),
    *number_cases(indices, "batch_size", f"`batch_size` {STEPS}", [0]),
    *number_cases(indices, "sampling", NAMES[0][1], ["shuffle"]),
    *number_cases(indices, "seed", SEED, [-1]),
    (lambda: indices(n_samples=3, batch_size=4, sampling="epoch"), Plain,
     "`batch_size` must be at most the 3 samples where each epoch takes each once, got 4"),
]  # fmt: skip


REFUSED = [*SHAPES, *DTYPES, *NETWORKS, *NUMBERS]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED, ids=[text[:70] for *_, text in REFUSED])
def test_what_is_refused_is_told_in_one_line(call, kind, text):
    with pytest.raises(fcb.ArgumentError) as caught:
        call()
    assert str(caught.value) == text
    assert type(caught.value) is kind
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) == (kind is Type)


@pytest.mark.parametrize("network", [((W, B, B), PARAMS[1]), ((W,), PARAMS[1])])
def test_layers_are_pairs_where_all_arrays_are_ready_too(network):
    with pytest.raises(fcb.ArgumentError, match=r"^`params` must be a non-empty sequence of \(w"):
        sgd_step(params=network)


def test_draws_beyond_the_generators_range_name_the_arguments_given():
    with pytest.raises(fcb.ArgumentError, match=r"^`(start|steps)` must be"):
        indices(start=2**63)


@pytest.mark.parametrize("argument", ["lr", "tol"])
def test_an_integer_too_large_for_a_float_is_refused(argument):
    with pytest.raises(fcb.ArgumentError, match=rf"^`{argument}` must be .*a finite number >"):
        train(**{argument: 10**400})


@pytest.mark.parametrize(
    "call",
    [
        lambda: predict(params=np.ones((3, 3))),
        lambda: predict(params=[np.ones((3, 3))]),
        lambda: forward(x=[np.ones((3, 3)), np.ones((2, 2))]),
        lambda: train(lr=np.ones((3, 3))),
        lambda: train(batch_size=np.ones((3, 3))),
        lambda: train(tol=np.ones((3, 3))),
        lambda: train(hidden=np.ones((2, 2), int)),
        lambda: train(sampling=np.ones((3, 3))),
        lambda: many(lr=np.ones((2, 3))),
        lambda: many(rows=np.ones((2, 50))),
        lambda: fcb.compare([X], [[X], [np.ones((40, 40))]]),
        lambda: fcb.fc_forward(X, W, B, backend=np.ones((3, 3))),
    ],
)
def test_an_error_about_an_array_is_one_line_too(call):
    with pytest.raises(fcb.ArgumentError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_structures_that_differ_are_refused():
    for a, b in [([X], X), ([X, X], [X]), ([[X], X], [X, [X]]), ((), [X])]:
        with pytest.raises(
            fcb.ArgumentError, match=r"^`a` and `b` must be of the same structure, "
        ):
            fcb.compare(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_call_changes_nothing(backend):
    given = [X.copy(), T.copy(), *(a.copy() for pair in PARAMS for a in pair)]
    machine = fcb.Trainer(PARAMS, lr=0.1, backend=backend)
    machine.step(X[0], T[0])
    before = fcb.digest(machine.params)
    for bad in (
        lambda: machine.step(X[0, :2], T[0]),
        lambda: machine.step(X[0], T[:2]),
        lambda: machine.step(X[0].astype("f4"), T[0]),
        lambda: machine.run(X, T[:4]),
        lambda: machine.run(X, T, max_steps=0),
        lambda: machine.run(X, T, batch_size=9, sampling="epoch"),
        lambda: machine.run(X, T, tol=float("nan")),
    ):
        with pytest.raises(fcb.ArgumentError):
            bad()
        assert machine.steps == 1
        assert fcb.digest(machine.params) == before
    now = [X, T, *(a for pair in PARAMS for a in pair)]
    for a, b in zip(given, now, strict=True):
        assert a.tobytes() == b.tobytes()


def test_more_samples_than_the_generator_can_tell_apart_are_refused():
    many = np.broadcast_to(np.zeros((1, 1)), (2**32, 1))
    text = r"^`x` must be of at most 4294967295 samples, got shape \(4294967296, 1\)$"
    with pytest.raises(fcb.ArgumentError, match=text):
        fcb.train(many, many, lr=0.1)


def test_masked_arrays_are_refused_and_keep_their_mask():
    x = np.ma.masked_array([[1.0], [2.0]], mask=[[True], [False]])
    with pytest.raises(fcb.ArgumentTypeError, match=r"^`x` must be an array without a mask, got a"):
        fcb.train(x, [[1.0], [2.0]], lr=0.1)


@pytest.mark.parametrize("progress", ["yes", 2, [1]])
def test_progress_is_a_yes_a_no_or_left_open(progress):
    text = r"^`progress` must be None, True or False, got "
    with pytest.raises(fcb.ArgumentError, match=text):
        fcb.train([[1.0]], [[1.0]], lr=0.1, max_steps=1, progress=progress)
