"""What hostile arguments are refused with: short texts in one line, and never another's error."""

import itertools
import sys

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.errors import ArgumentError, shown

Plain, Type = fcb.ArgumentError, fcb.ArgumentTypeError

X, T = [[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]]
PARAMS = fcb.init_params((2, 1))
NAN_X, INF_T = [[1.0, 2.0], [np.nan, 4.0]], [[1.0], [np.inf]]
SIZES = (
    "`sizes` must be a sequence of at least two positive integers, inputs first and outputs last"
)
WEIGHTS = "must be such that no layer has more than 2**59 weights, got one of"


def train(x=X, t=T, **how):
    return fcb.train(x, t, **{"lr": 0.1, "max_steps": 2, "batch_size": 2, **how})


def many(x=X, t=T, **how):
    return fcb.train_many(x, t, **{"lr": [0.1], "max_steps": 2, "batch_size": 2, **how})


def _nested(value):
    for _ in range(200):
        value = [value]
    return value


def _endless():
    value = []
    value.append(value)
    return value


CASES = [
    (lambda: fcb.init_params(np.array(3)), Type, f"{SIZES}, got array(3)"),
    (lambda: fcb.init_params(b"23"), Type, f"{SIZES}, got b'23'"),
    (lambda: fcb.init_params([3, 1, 2**63]), Plain, f"`sizes` {WEIGHTS} 1 x {2**63}"),
    (lambda: train(hidden=(2**60,)), Plain, f"`hidden` {WEIGHTS} 2 x {2**60}"),
    (lambda: train(hidden=np.array(3)), Type,
     "`hidden` must be a sequence of positive integers, one a hidden layer, got array(3)"),
    (lambda: train(activation=np.array("relu")), Type,
     "`activation` must be one of 'relu', 'leaky_relu', 'tanh', 'sigmoid', 'identity', or a "
     "sequence of them, one a hidden layer, got array('relu', dtype='<U4')"),
    (lambda: train(t=np.broadcast_to(np.int8(0), 2**40), loss="cross_entropy"), Plain,
     f"`t` must be of at most {2**32 - 1} samples, got shape ({2**40},)"),
    (lambda: many(rows=[np.broadcast_to(np.int8(0), 2**40)]), Plain,
     "`rows` must be a non-empty sequence of integers from 0 to 1 for each network, got "
     "array([0, 0, 0, ..., 0, 0, 0], shape=(1099511627776,), dtype=int8)"),
    (lambda: train(dtype=10**5000), Plain,
     "`dtype` must be one of 'float64', 'float32', got one of type int"),
    (lambda: train(checkpoint="\ud800"), Plain,
     "`checkpoint` must be the name of a file, got '\\ud800'"),
    (lambda: fcb.digest(np.ma.array([1.0])), Type,
     "`params` must hold arrays without a mask, got a masked array"),
    (lambda: fcb.Trainer(PARAMS, lr=0.1).step(X[0], T[0], sample_weight=_nested(1.0)), Plain,
     "`sample_weight` must be an array of numbers, got [[[[...]]]]"),
    (lambda: fcb.Trainer(PARAMS, lr=np.array([0.1])), Type,
     "`lr` must be a finite number > 0 in float64, got array([0.1])"),
    (lambda: train(lr=np.complex64(1)), Type,
     "`lr` must be a finite number > 0 in float64, got np.complex64(1+0j)"),
    (lambda: fcb.SGD(momentum=np.array(0.5 + 0j)), Type,
     "`momentum` must be a number >= 0 and < 1, got array(0.5+0.j)"),
    (lambda: fcb.SGD(momentum=np.array([0.1])), Type,
     "`momentum` must be a number >= 0 and < 1, got array([0.1])"),
    (lambda: fcb.SGD(momentum=np.ma.masked), Plain,
     "`momentum` must be a number >= 0 and < 1, got masked"),
    (lambda: fcb.Scaling([1.0, 2.0], [1.0]), Plain,
     "`mean` and `scale` must be of one shape (K,), got (2,) and (1,)"),
    (lambda: fcb.Scaling([1.0, 2.0], [1.0, 0.0]), Plain, "`scale` must hold no 0, got 0 at 1"),
    (lambda: fcb.Scaling([1.0, 2.0], [1.0, 3.0]).apply([1.0]), Plain,
     "`values` must be of shape (2,) for one sample or (N, 2), got (1,)"),
    (lambda: fcb.digest(_endless()), Plain,
     "`params` must be nested at most 64 deep, got [[[[...]]]]"),
    (lambda: setattr(fcb.Trainer(PARAMS, lr=0.1), "state", fcb.TrainerState(PARAMS, 3, 0)), Type,
     "`state.slots` must be a sequence of what stands beside the parameters, got 3"),
    (lambda: train(t=[0, 1], loss="cross_entropy", classes=2**63), Plain,
     f"`classes` must be at most {2**31 - 1}, got {2**63}"),
    (lambda: train(sample_weight=[1.0, 1e300], dtype="float32"), Plain,
     "`sample_weight` must be of shape (2,), finite and >= 0, not all of it 0, got inf"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), CASES)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_refusals(call, kind, text, backend):
    with fcb.use_backend(backend), pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == text


class Rows(np.ndarray):
    """An array whose rows nobody may go through: as a view of one number it may have 2**55."""

    def __iter__(self):
        raise AssertionError


def test_an_array_in_the_place_of_a_states_parameters_is_refused_whole():
    trainer = fcb.Trainer(PARAMS, lr=0.1)
    text = r"^`params` must be a non-empty sequence of \(w, b\) pairs, got "
    for place in ("params", "slots"):
        rows = np.broadcast_to(1.0, (2**55, 2)).view(Rows)
        given = {"params": PARAMS, "slots": (), place: rows if place == "params" else (rows,)}
        with pytest.raises(ArgumentError, match=text):
            trainer.state = fcb.TrainerState(steps=0, **given)


def test_data_that_are_never_drawn_may_be_anything():
    drawn = fcb.sample_indices(2, steps=1, seed=3)[0, 0]
    x = np.full((2, 2), np.nan)
    x[drawn] = 1.0
    assert train(x, batch_size=1, max_steps=1, seed=3).steps == 1


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (
            lambda: train([[1e300], [0.0]], dtype="float32"),
            "`x` holds inf in row 0, in float32",
        ),
        (lambda: train(NAN_X), "`x` holds nan in row 1, in float64"),
        (lambda: train(t=INF_T), "`t` holds inf in row 1, in float64"),
        (
            lambda: fcb.Trainer(PARAMS, lr=0.1).run(X, INF_T, batch_size=2),
            "`t` holds inf in row 1, in float64",
        ),
        (
            lambda: fcb.Trainer(PARAMS, lr=0.1).step(np.array(NAN_X[1]), np.ones(1)),
            "`x` holds nan in row 0, in float64",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_data_that_are_not_finite_are_named_where_the_loss_is_not(call, found, backend):
    with fcb.use_backend(backend), pytest.raises(fcb.DivergenceError) as caught:
        call()
    assert caught.value.data == found
    assert f"; {found}; the last finite parameters " in str(caught.value)
    assert "lower `lr`" not in str(caught.value)


def test_of_many_networks_the_others_are_kept_where_one_meets_such_data():
    one, other = many(NAN_X, lr=0.1, rows=[[0], [1]])
    assert (one.stop_reason, other.stop_reason) == ("max_steps", "diverged")


def test_a_trainer_goes_back_to_where_its_data_were_finite():
    trainer = fcb.Trainer(PARAMS, lr=0.1)
    for call in (lambda: trainer.run(NAN_X, T), lambda: trainer.step(NAN_X[1], T[1])):
        with pytest.raises(fcb.DivergenceError):
            call()
    assert np.isfinite(trainer.params[0][0]).all()


def test_nothing_warns_of_what_is_cast():
    x, t = np.array([[5e-324, 1e300]]), np.array([[1e-300]])
    model = fcb.SavedModel(
        fcb.init_params((2, 1), dtype="float32"), inputs=fcb.Scaling([0.0, 0.0], [1.0, 1.0])
    )
    with np.errstate(all="raise"):
        assert not np.isfinite(model.predict(x)).any()
        fcb.huber_loss(np.ones((1, 1), "f4"), np.ones((1, 1), "f4"), sample_weight=[1])
        with pytest.raises(fcb.DivergenceError, match=r"; `x` holds inf in row 0, in float32; "):
            train(x, t, dtype="float32", batch_size=1)
        with pytest.raises(fcb.ArgumentError, match=r"^`t` must be class indices"):
            fcb.cross_entropy_loss(x, [[np.inf, -np.inf]])


def test_numbas_threads(monkeypatch):
    for setting in ("0", "-3", "junk", "", "1.5"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", setting)
        monkeypatch.delitem(fcb.backends.registry._loaded, "numba", raising=False)
        with pytest.raises(fcb.ArgumentError) as caught:
            fcb.get_backend("numba")
        text = f"`NUMBA_NUM_THREADS` must be a whole number of at least 1, got {setting!r}"
        assert str(caught.value) == text


# --- how values are shown ------------------------------------------------------------------------


class Loud:
    def __repr__(self):
        return "\x1b[31mred\n\u202e" + "x" * 1_000_000


class Mute:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        Loud(), Mute(), [Loud()] * 3, list(range(10**6)), tuple(range(10**6)), "x" * 10**6,
        dict.fromkeys(range(10**6)), {*range(10**6)}, [[[["a" * 999] * 99] * 99] * 99] * 99,
        10**10_000, -(10**10_000), b"\x00" * 10**6, "\x1b[31m\r\n\x00\u2028\ud800",
        np.zeros(10**6), _nested(1), _endless(), "\ta  b ",
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_glance_is_short_and_printable(value):
    text = shown(value)
    assert 1 <= len(text) <= 80
    assert text.isprintable()
    error = ArgumentError(
        ("a", text), f"be {value!s:.5000}" if isinstance(value, str) else "b", text
    )
    assert len(str(error)) <= 1000
    assert str(error).isprintable()


def test_a_network_of_many_layers_is_refused_in_short():
    layers = [(np.ones((1, 1), kind), np.ones(1)) for kind in ("f4", "f8") * 2000]
    with pytest.raises(fcb.ArgumentTypeError) as caught:
        fcb.predict(layers, [1.0])
    assert str(caught.value) == (
        "`params[0].w`, `params[0].b`, `params[1].w`, `params[1].b`, `params[2].w`, `params[2].b`, "
        "`params[3].w`, `params[3].b`, ... 7992 more must be of one floating dtype, got "
        "`params[0].w` float32, `params[0].b` float64, `params[1].w` float64, `params[1].b` "
        "float64, `params[2].w` float32, `params[2].b` float64, `params[3].w` float64, "
        "`params[3].b` float64, ... 7992 more"
    )
    assert len(caught.value.arguments) == 8000


def test_structures_that_differ_are_refused_in_short():
    one = [[np.ones(1)] * 100] * 100
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.compare(one, one[:-1])
    assert str(caught.value).startswith("`a` and `b` must be of the same structure, got 10000 ")
    assert len(str(caught.value)) <= 500


def test_both_ends_of_a_long_requirement_are_shown():
    text = str(ArgumentError("a", "be one of " + "x" * 10_000 + " or the end", "none"))
    assert text.startswith("`a` must be one of xxx")
    assert text.endswith("xxx or the end, got none")
    assert len(text) < 750


def test_every_limit_on_a_size_is_one_of_memory():
    sizes = 2**30, 2**29
    with pytest.raises(MemoryError):
        fcb.init_params(sizes)
    for larger in itertools.permutations((sizes[0], sizes[1] + 1)):
        with pytest.raises(fcb.ArgumentError):
            fcb.init_params(larger)
    assert sys.maxsize > 8 * 2**59
