"""What is refused of losses, targets, classes and weights of samples, and in which words."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.test_errors import PARAMS, SINGLE, Plain, T, Type, X

Y, CLASSES = np.ones((5, 2)), [0, 1, 1, 0, 1]
SURE = np.eye(2)[CLASSES]


def entropy(t, y=Y, **settings):
    return fcb.cross_entropy_loss(y, t, **settings)


def binary(t, y=Y, **settings):
    return fcb.binary_cross_entropy_loss(y, t, **settings)


def weighted(sample_weight, y=Y, t=T):
    return fcb.mean_squared_loss(y, t, sample_weight=sample_weight)


def train(t=CLASSES, loss="cross_entropy", **settings):
    return fcb.train(X, t, **{"lr": 0.1, "max_steps": 2, "loss": loss, **settings})


def many(t=CLASSES, loss="cross_entropy", **settings):
    return fcb.train_many(X, t, **{"lr": [0.1], "max_steps": 2, "loss": loss, **settings})


def trainer(loss="cross_entropy"):
    return fcb.Trainer(PARAMS, loss=loss, lr=0.1)


def step(t=CLASSES, x=X, loss="cross_entropy", **settings):
    return trainer(loss).step(x, t, **settings)


def run(t=CLASSES, loss="cross_entropy", **settings):
    return trainer(loss).run(X, t, max_steps=2, **settings)


def sgd_step(t=CLASSES, x=X, loss="cross_entropy"):
    return fcb.sgd_step(PARAMS, x, t, 0.1, loss=loss)


NAMES = "be one of 'mean_squared', 'huber', 'cross_entropy', 'binary_cross_entropy', got"
INDICES = "`t` must be class indices, integers (N,), or probabilities"
ROWS = f"{INDICES} whose rows sum to 1, got"
BOTH = f"{INDICES}, with indices from 0 to 1, got"
WEIGHTS = "`sample_weight` must be of shape (5,), finite and >= 0, not all of it 0, got"
HOLD = "must hold float64, float32 or integer values, got dtype"
OF_NETWORK = [train, many, step, run, sgd_step]
"""By way of these the network's two outputs are known, or those of the data."""


def of_each(calls, t, kind, text):
    return [(lambda call=call: call(t), kind, text) for call in calls]


LOSSES = [
    *((lambda call=call: call(loss="hinge"), Plain, f"`loss` must {NAMES} 'hinge'")
      for call in OF_NETWORK),
    (lambda: trainer("mean squared"), Plain, f"`loss` must {NAMES} 'mean squared'"),
    (lambda: train(loss=None), Plain, f"`loss` must {NAMES} None"),
    *((lambda loss=loss: fcb.predict_proba(PARAMS, X, loss=loss), Plain,
       f"`loss` must be one of 'cross_entropy', 'binary_cross_entropy', got {loss!r}")
      for loss in ("mean_squared", "huber", "softmax", None, 3)),
    (lambda: fcb.predict_proba(PARAMS, X[:, :2]), Plain,
     "`x` must be of shape (3,) for one sample or (N, 3), got (5, 2)"),
]  # fmt: skip

KNOWN = [step, run, sgd_step, entropy, lambda t: train(t, params=PARAMS)]
"""What knows of two classes before it sees the targets."""

CLASS_INDICES = [
    *of_each(KNOWN, [0, 1, 2, 0, 1], Plain, f"{BOTH} 2 among them"),
    *of_each(KNOWN, [0, 1, -1, 7, 1], Plain, f"{BOTH} -1 among them"),
    *of_each([train, many], [0, 1, -3, 0, 1], Plain,
             f"{INDICES}, with indices from 0 on, got -3 among them"),
    *of_each([train, many], [0, 1, 2**16, 0, 1], Plain,
             "`classes` must be given where `t` names so many, got class 65536"),
    (lambda: train(classes=1), Plain,
     f"{INDICES}, with indices from 0 to 0, got 1 among them"),
    *of_each(KNOWN, np.array(CLASSES, "f4"), Type, f"{INDICES} (N, 2), got dtype float32"),
    *of_each([train, many], [0.0, 1.0, 1.0, 0.0, 1.0], Type,
             f"{INDICES} (N, M), got dtype float64"),
    (lambda: train(np.array(CLASSES, "f8"), classes=3), Type,
     f"{INDICES} (N, 3), got dtype float64"),
    (lambda: step(2, X[0]), Plain, f"{BOTH} 2 among them"),
    (lambda: step(1.0, X[0]), Type, f"{INDICES} (N, 2), got dtype float64"),
    (lambda: sgd_step(-1, X[0]), Plain, f"{BOTH} -1 among them"),
    (lambda: entropy(2, Y[0]), Plain, f"{BOTH} 2 among them"),
    (lambda: step(CLASSES[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: run(CLASSES[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: train(CLASSES[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: entropy(CLASSES[:4]), Plain,
     "`y` and `t` must be of the same shape, got (5, 2) and (4, 2)"),
    (lambda: step(1), Plain, "`t` must be of shape (2,) for one sample or (N, 2), got ()"),
    *of_each([train, many, run], 1, Plain,
             "`t` must be of shape (N,) or (N, M), got shape ()"),
    *of_each([train, many, run, step, entropy], ["a", "b", "a", "a", "b"], Type,
             f"`t` {HOLD} <U1"),
    *of_each([train, many, run, step, entropy], None, Type, f"`t` {HOLD} object"),
    *of_each([train, many, run, step, entropy], [[0, 1], [1]], Plain,
             "`t` must be an array of numbers, got [[0, 1], [1]]"),
    *of_each([train, run, step, entropy], np.ma.masked_array(CLASSES), Type,
             "`t` must be an array without a mask, got a masked array"),
]  # fmt: skip

PROBABILITIES = [
    *of_each([train, many, run, step, sgd_step, entropy], SURE * 2, Plain,
             f"{ROWS} [2.0, 0.0] in row 0"),
    *of_each([train, many, run, step, sgd_step, entropy], np.where(SURE > 0, SURE, np.nan), Plain,
             f"{ROWS} [1.0, nan] in row 0"),
    *of_each([train, run, step, entropy], SURE + np.array([1, -1]), Plain,
             f"{ROWS} [2.0, -1.0] in row 0"),
    (lambda: entropy([0.5, 0.4], Y[0]), Plain, f"{ROWS} [0.5, 0.4] in row 0"),
    (lambda: step(np.array([0.5, 0.4]), X[0]), Plain, f"{ROWS} [0.5, 0.4] in row 0"),
    (lambda: train(validation=(X, SURE * 2)), Plain,
     f"{ROWS} [2.0, 0.0] in row 0".replace("`t`", "`validation[1]`")),
    (lambda: step([[1, 0]] * 4 + [[1, 1]]), Plain, f"{ROWS} [1.0, 1.0] in row 4"),
    (lambda: entropy([[0.5, 0.5002]] * 5), Plain, f"{ROWS} [0.5, 0.5002] in row 0"),
    (lambda: run(np.eye(3)[CLASSES]), Plain,
     f"{INDICES} (N, 2), got shape (5, 3)"),
    (lambda: train(SURE, classes=3), Plain, f"{INDICES} (N, 3), got shape (5, 2)"),
    (lambda: train(np.eye(3)[CLASSES], params=PARAMS), Plain,
     f"{INDICES} (N, 2), got shape (5, 3)"),
    (lambda: step(np.eye(3)[CLASSES]), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: entropy(np.eye(3)[CLASSES]), Plain,
     "`y` and `t` must be of the same shape, got (5, 2) and (5, 3)"),
    (lambda: train(SURE[None]), Plain, "`t` must be of shape (N,) or (N, M), got shape (1, 5, 2)"),
    (lambda: entropy(SURE.astype("f4")), Type,
     "`y`, `t` must be of one floating dtype, got `y` float64, `t` float32"),
    (lambda: step(SURE.astype("f4")), Type,
     "`x`, `t` must be of one floating dtype, got `x` float64, `t` float32"),
    (lambda: train(SURE, params=SINGLE), Type,
     "`params` must be of `dtype` float64, got float32"),
]  # fmt: skip

YES_OR_NO = [
    *((lambda call=call: call(SURE * 2, loss="binary_cross_entropy"), Plain,
       "`t` must be from 0 to 1, got [2.0, 0.0] in row 0") for call in OF_NETWORK),
    (lambda: binary(SURE - 1), Plain, "`t` must be from 0 to 1, got [0.0, -1.0] in row 0"),
    (lambda: binary([1.5, 0], Y[0]), Plain, "`t` must be from 0 to 1, got [1.5, 0.0] in row 0"),
    (lambda: binary(SURE * np.nan), Plain, "`t` must be from 0 to 1, got [nan, nan] in row 0"),
    (lambda: train([0, 1, 2, 0, 1], "binary_cross_entropy"), Plain,
     "`t` must be from 0 to 1, got [2.0] in row 2"),
    (lambda: binary(CLASSES), Plain, "`y` and `t` must be of the same shape, got (5, 2) and (5,)"),
    (lambda: binary(SURE[:, :1]), Plain,
     "`y` and `t` must be of the same shape, got (5, 2) and (5, 1)"),
    (lambda: train(SURE > 0, "mean_squared"), Type, f"`t` {HOLD} bool"),
    (lambda: train(SURE > 0, "huber"), Type, f"`t` {HOLD} bool"),
    (lambda: fcb.huber_loss(Y, SURE > 0), Type, f"`t` {HOLD} bool"),
]  # fmt: skip

COUNTS = [
    *((lambda loss=loss, call=call: call(T, loss, classes=2), Plain,
       f"`classes` must come with the loss 'cross_entropy', got {loss!r}")
      for loss in ("mean_squared", "huber") for call in (train, many)),
    (lambda: train(SURE, "binary_cross_entropy", classes=2), Plain,
     "`classes` must come with the loss 'cross_entropy', got 'binary_cross_entropy'"),
    (lambda: train(classes=3, params=PARAMS), Plain,
     "`classes` must be left out, or the 2 outputs of `params`, got 3"),
    *((lambda count=count: train(classes=count), kind,
       f"`classes` must be an integer of at least 1, got {count!r}")
      for count, kind in ((0, Plain), (-2, Plain), (True, Plain), (2.0, Type), ("2", Type))),
]  # fmt: skip

BAD_WEIGHTS = {
    "shape (4,)": [1.0] * 4,
    "shape (5, 1)": np.ones((5, 1)),
    "shape ()": 1.0,
    "shape (0,)": [],
    "-1.0": [1, 0, -1, 2, -3],
    "nan": [1, np.nan, 1, 1, 1],
    "inf": [1, 1, 1, 1, np.inf],
    "zeros": [0, 0, -0.0, 0, 0],
}


def takes_weights(loss):
    """All that takes weights, of a loss whose targets are probabilities."""
    t = SURE if loss != "cross_entropy" else CLASSES
    return [
        lambda s: train(t, loss, sample_weight=s),
        lambda s: train(t, loss, sample_weight=s, params=PARAMS),
        lambda s: many(t, loss, sample_weight=s),
        lambda s: run(t, loss, sample_weight=s),
        lambda s: step(t, loss=loss, sample_weight=s),
        lambda s: fcb.huber_loss(Y, T, sample_weight=s),
        weighted,
    ]


SAMPLE_WEIGHTS = [
    *((lambda s=s, call=call: call(s), Plain, f"{WEIGHTS} {got}")
      for got, s in BAD_WEIGHTS.items()
      for call in [*takes_weights("mean_squared"), *takes_weights("cross_entropy")[:5]]),
    (lambda: weighted(["1"] * 5), Type, f"`sample_weight` {HOLD} <U1"),
    (lambda: weighted([True] * 5), Type, f"`sample_weight` {HOLD} bool"),
    (lambda: weighted(np.ones(5) * 1j), Type, f"`sample_weight` {HOLD} complex128"),
    (lambda: fcb.train(X, T, lr=0.1, dtype="float32", sample_weight=[1e-50] * 5), Plain,
     f"{WEIGHTS} zeros"),
    (lambda: step(0, X[0], sample_weight=-2), Plain,
     "`sample_weight` must be of shape (1,), finite and >= 0, not all of it 0, got -2.0"),
    (lambda: step(0, X[0], sample_weight=[1, 2]), Plain,
     "`sample_weight` must be of shape (1,), finite and >= 0, not all of it 0, got shape (2,)"),
    # What the network takes is said without the weights' column.
    (lambda: train(X, "mean_squared", params=PARAMS, sample_weight=np.ones(5)), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: step(X, loss="huber", sample_weight=np.ones(5)), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (lambda: run(X, "huber", sample_weight=np.ones(5)), Plain,
     "`t` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
]  # fmt: skip

ALL = [*LOSSES, *CLASS_INDICES, *PROBABILITIES, *YES_OR_NO, *COUNTS, *SAMPLE_WEIGHTS]


@pytest.mark.parametrize(("call", "kind", "text"), ALL, ids=[text[:70] for *_, text in ALL])
def test_what_is_refused_is_told_in_one_line(call, kind, text):
    with pytest.raises(fcb.ArgumentError) as caught:
        call()
    assert (str(caught.value), type(caught.value)) == (text, kind)


@pytest.mark.parametrize("backend", ["numpy", "numba", "array_api_strict"])
def test_every_backend_refuses_in_the_same_words(backend):
    for t, text in [
        ([0, 1, 2, 0, 1], f"{BOTH} 2 among them"),
        (SURE * 2, f"{ROWS} [2.0, 0.0] in row 0"),
        (np.array([1.0] * 5), f"{INDICES} (N, 2), got dtype float64"),
    ]:
        with pytest.raises(fcb.ArgumentError) as caught:
            fcb.train(X, t, params=PARAMS, loss="cross_entropy", lr=0.1, backend=backend)
        assert str(caught.value) == text
    for got, s in BAD_WEIGHTS.items():
        with pytest.raises(fcb.ArgumentError) as caught:
            fcb.train(X, T, lr=0.1, sample_weight=s, backend=backend)
        assert str(caught.value) == f"{WEIGHTS} {got}"


@np.errstate(over="ignore")
def test_weights_too_large_for_the_dtype_are_refused():
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.train(X, T, lr=0.1, dtype="float32", sample_weight=[1e39] * 5)
    assert str(caught.value) == f"{WEIGHTS} inf"


def test_what_nearly_sums_to_one_is_taken():
    third = np.full((5, 3), 1 / 3)
    for t in (third, third.astype("f4"), third * (1 + 9e-5)):
        assert np.isfinite(fcb.cross_entropy_loss(np.zeros(t.shape, t.dtype), t).loss)
    many_classes = np.random.default_rng(0).dirichlet(np.ones(4000), 2).astype("f4")
    assert np.isfinite(fcb.cross_entropy_loss(np.zeros((2, 4000), "f4"), many_classes).loss)
