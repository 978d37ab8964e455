"""A Trainer copied, deep-copied, pickled: each copy goes on by itself, to the bit."""

import copy
import dataclasses
import multiprocessing
import pickle

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, assert_same_bits, problem

CASE = problem(0, (3, 4, 2), 9, "float64")
COPIES = [copy.copy, copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))]
METHODS = [
    dict(lr=0.01),
    dict(lr=fcb.StepRate(0.01, every=2), optimizer=fcb.SGD(momentum=0.5), clip_norm=1.0),
    dict(lr=0.01, optimizer=fcb.Adam(), activation=["tanh"], loss="huber", arithmetic="fused"),
]


def bits(trainer):
    return fcb.digest(trainer.state[:2]), trainer.steps


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", METHODS, ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("weighted", [False, True])
def test_copies_go_on_by_themselves(copied, backend, method, weighted):
    one = fcb.Trainer(CASE.params, backend=backend, **method)
    one.step(CASE.x, CASE.t, sample_weight=np.ones(9) if weighted else None)
    one.run(CASE.x, CASE.t, max_steps=3)
    other, before = copied(one), bits(one)
    assert bits(other) == before
    assert other.step(CASE.x[0], CASE.t[0]) == one.step(CASE.x[0], CASE.t[0])
    other.run(CASE.x, CASE.t, max_steps=3)
    assert bits(one)[1] == before[1] + 1
    one.run(CASE.x, CASE.t, max_steps=3)
    assert bits(one) == bits(other)
    for name in ("backend", "optimizer", "lr", "clip_norm", "activation", "loss"):
        assert getattr(one, name) == getattr(other, name)


def test_a_copy_keeps_parameters_that_are_no_longer_finite():
    trainer = fcb.Trainer(((np.ones((1, 1)), np.zeros(1)),), lr=1e300)
    trainer.step(np.array([1.0]), np.array([1e10]))
    for copied in COPIES:
        other = copied(trainer)
        assert_same_bits(other.params, trainer.params)
        for one in (trainer, other):
            with pytest.raises(fcb.DivergenceError) as caught:
                one.step(np.array([1.0]), np.array([1.0]))
            assert_same_bits(caught.value.params, ((np.ones((1, 1)), np.zeros(1)),))


def _stepped(trainer):
    trainer.step(CASE.x[0], CASE.t[0])
    return trainer


@pytest.mark.slow
def test_a_trainer_goes_to_another_process_and_back():
    trainer = fcb.Trainer(CASE.params, lr=0.01, backend="numpy")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back = pool.apply(_stepped, (trainer,))
    assert bits(back) == bits(_stepped(trainer))


def test_a_backend_that_has_no_name_is_refused():
    own = dataclasses.replace(fcb.get_backend("numpy"), name="mine")
    text = "^`backend` must be known by its name where a Trainer is copied or pickled, got another "
    for backend in (own, dataclasses.replace(own, name="numpy")):
        trainer = fcb.Trainer(CASE.params, lr=0.01, backend=backend)
        for copied in COPIES:
            with pytest.raises(fcb.ArgumentTypeError, match=text + f"one than '{backend.name}' is"):
                copied(trainer)
