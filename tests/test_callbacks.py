"""Callbacks of a run: what they are told, what they tell, how they end it; and what is refused."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS
from tests.oracle import assert_same_bits
from tests.test_validation import case_and_held, turning


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_is_told_each_look(backend):
    case, held, how = case_and_held(9, (3, 5, 2), "float64")
    how |= dict(lr=0.05, max_steps=20, record_every=6, backend=backend)
    looks, digests = [], []

    def callback(look):
        looks.append(look)
        digests.append(fcb.digest(look.params))
        return {"norm": np.float32(0.5), "late": 1} if look.step > 6 else None

    result = fcb.train(case.x, case.t, validation=held, callback=callback, **how)
    history = result.history
    assert [look.step for look in looks] == history.steps.tolist() == [6, 12, 18, 20]
    assert [look.loss for look in looks] == history.losses.tolist()
    assert [look.validation_loss for look in looks] == history.validation_losses.tolist()
    assert [look.rate for look in looks] == [0.05] * 4
    for step, digest in zip((6, 12, 18, 20), digests, strict=True):
        params = fcb.train(case.x, case.t, **(how | dict(max_steps=step))).params
        assert digest == fcb.digest(params)
    assert list(history.metrics) == ["norm", "late"]
    assert_same_bits(history.metrics["norm"], np.array([np.nan, 0.5, 0.5, 0.5]))
    assert_same_bits(history.metrics["late"], np.array([np.nan, 1, 1, 1]))
    with pytest.raises(AttributeError):
        looks[0].step = 3


def test_a_callback_needs_no_validation():
    case, _, how = case_and_held(10, (3, 2), "float64")
    seen = []
    result = fcb.train(case.x, case.t, lr=0.05, max_steps=20, callback=seen.append, **how)
    assert [look.step for look in seen] == list(range(1, 21))
    assert all(look.validation_loss is None for look in seen)
    assert result.history.validation_losses.shape == (0,)
    assert result.history.metrics == {}


@pytest.mark.parametrize("patience", [None, 50])
def test_stop_iteration_ends_a_run(patience):
    x, t, held, how = turning(11)

    def callback(look):
        if look.step == 12:
            raise StopIteration
        return {"step": look.step}

    result = fcb.train(x, t, validation=held, patience=patience, callback=callback, **how)
    assert result.stop_reason == "callback"
    assert result.history.steps.tolist() == [4, 8, 12]
    assert_same_bits(result.history.metrics["step"], np.array([4, 8, np.nan]))
    assert result.steps == (12 if patience is None else result.best_step)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callbacks_exception_goes_through_and_the_trainer_is_as_it_was(backend):
    case, _, _ = case_and_held(12, (3, 5, 2), "float64")
    trainer = fcb.Trainer(case.params, optimizer=fcb.Adam(), lr=0.01, backend=backend)
    trainer.run(case.x, case.t, max_steps=10)
    before = trainer.state

    def callback(look):
        # It may look at the Trainer, too.
        assert fcb.compare(trainer.params, look.params).equal
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer.run(case.x, case.t, max_steps=100, record_every=50, callback=callback)
    assert_same_bits(trainer.state, before)


# --- what is refused -----------------------------------------------------------------------------

X, T = np.ones((5, 3)), np.ones((5, 2))
WAYS = {
    "train": lambda **how: fcb.train(X, T, lr=0.1, max_steps=3, **how),
    "run": lambda **how: fcb.Trainer(fcb.init_params((3, 2)), lr=0.1).run(X, T, max_steps=3, **how),
    "many": lambda **how: fcb.train_many(X, T, lr=[0.1], max_steps=3, **how),
}
SHARE = "`validation` must be a share between 0 and 1 that leaves rows on both sides of the split"
EITHER = "`validation` must be a pair (x, t), or a share between 0 and 1 of the rows, got"
CASES = [
    (dict(validation=(X[:, :2], T)), fcb.ArgumentError,
     "`validation[0]` must be of shape (3,) for one sample or (N, 3), got (5, 2)"),
    (dict(validation=(X, X)), fcb.ArgumentError,
     "`validation[1]` must be of shape (2,) for one sample or (N, 2), got (5, 3)"),
    (dict(validation=(X[0], T[0])), fcb.ArgumentError,
     "`validation[0]` must be of shape (N, K) and not empty, got shape (3,)"),
    (dict(validation=[X, T[:4]]), fcb.ArgumentError,
     "`validation[0]` and `validation[1]` must hold the same samples, got shapes (5, 3) and "
     "(4, 2)"),
    (dict(validation=(X > 0, T)), fcb.ArgumentTypeError,
     "`validation[0]` must hold float64, float32 or integer values, got dtype bool"),
    (dict(validation=(X, T), patience=0), fcb.ArgumentError,
     "`patience` must be an integer of at least 1, got 0"),
    (dict(validation=(X, T), patience=1.5), fcb.ArgumentTypeError,
     "`patience` must be an integer of at least 1, got 1.5"),
    (dict(patience=3), fcb.ArgumentError,
     "`patience` must come with `validation`, got 3 without"),
]  # fmt: skip
SHARES = [
    (dict(validation=0.05), fcb.ArgumentError, f"{SHARE}, got 0.05 of 5 rows"),
    (dict(validation=1), fcb.ArgumentError, f"{SHARE}, got 1.0 of 5 rows"),
    (dict(validation="0.2"), fcb.ArgumentTypeError, f"{EITHER} '0.2'"),
    (dict(validation=True), fcb.ArgumentTypeError, f"{EITHER} True"),
    (dict(validation=(X,)), fcb.ArgumentTypeError, f"{EITHER} (array("),
    (dict(callback=3), fcb.ArgumentTypeError, "`callback` must be None or callable, got 3"),
    (dict(callback=lambda look: 3), fcb.ArgumentTypeError,
     "`callback` must return None or a mapping of names to numbers, got 3"),
    (dict(callback=lambda look: {"a": "b"}), fcb.ArgumentTypeError,
     "`callback` must return None or a mapping of names to numbers, got {'a': 'b'}"),
]  # fmt: skip
PAIR = [
    (dict(validation=0.2), fcb.ArgumentTypeError, "`validation` must be a pair (x, t), got 0.2"),
]


@pytest.mark.parametrize(
    ("way", "how", "kind", "text"),
    [
        *[(way, *case) for case in CASES for way in WAYS],
        *[(way, *case) for case in SHARES for way in ("train", "run")],
        *[("many", *case) for case in PAIR],
    ],
)
def test_it_is_refused(way, how, kind, text):
    with pytest.raises(fcb.ArgumentError) as raised:
        WAYS[way](**how)
    assert str(raised.value).startswith(text)
    assert type(raised.value) is kind
