"""Checkpoints on other data or with other options, and arguments that are none."""

import os

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import problem

pytestmark = pytest.mark.jit_off

CASE = problem(1, (3, 5, 2), 30, "float64")
WEIGHTS = np.linspace(0.5, 2.0, 30)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.checkpoint"


BEGUN = dict(
    hidden=(4,), lr=0.01, max_steps=50, seed=1, validation=0.2, patience=9, dtype="float64",
    sample_weight=WEIGHTS, params=None, arithmetic="ordered", loss="mean_squared",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        (dict(lr=0.02), "lr"),
        (dict(lr=fcb.ConstantRate(0.01)), "lr"),
        (dict(seed=2), "seed"),
        (dict(hidden=(5,)), "hidden"),
        (dict(hidden=(4, 4)), "hidden"),
        (dict(max_steps=60), "max_steps"),
        (dict(batch_size=2), "batch_size"),
        (dict(sampling="epoch"), "sampling"),
        (dict(tol=0.0), "tol"),
        (dict(tol_on="data"), "tol_on"),
        (dict(record_every=3), "record_every"),
        (dict(optimizer=fcb.Adam()), "optimizer"),
        (dict(optimizer=fcb.SGD(momentum=0.1)), "optimizer"),
        (dict(activation="tanh"), "activation"),
        (dict(loss="huber"), "loss"),
        (dict(clip_norm=1.0), "clip_norm"),
        (dict(arithmetic="fused"), "arithmetic"),
        (dict(rows_per_block=64), "rows_per_block"),
        (dict(dtype="float32"), "dtype"),
        (dict(patience=8), "patience"),
        (dict(validation=0.3), "validation"),
        (dict(validation=(CASE.x, CASE.t)), "validation"),
        (dict(validation=None, patience=None), "patience"),
        (dict(validation=None, patience=None, callback=print), "patience"),
        (dict(callback=print), "callback"),
        (dict(sample_weight=2 * WEIGHTS), "sample_weight"),
        (dict(sample_weight=None), "sample_weight"),
        (dict(params=fcb.init_params((3, 4, 2))), "params"),
        (dict(x=CASE.x[::-1]), "x"),
        (dict(x=np.where(CASE.x == CASE.x[3, 1], -0.0, CASE.x)), "x"),
        (dict(t=CASE.t + 1), "t"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_run_on_other_data_or_options_is_refused(path, changed, argument):
    fcb.train(CASE.x, CASE.t, checkpoint=path, **BEGUN)
    before = path.read_bytes()
    how = {"x": CASE.x, "t": CASE.t, **BEGUN, **changed}
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train(resume=path, checkpoint=path, **how)
    assert raised.value.arguments == (argument,)
    assert str(raised.value).startswith(f"`{argument}` must be as in the checkpoint '{path}', ")
    assert path.read_bytes() == before


def test_the_text_of_a_refusal(path):
    fcb.train(CASE.x, CASE.t, checkpoint=path, **BEGUN)
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train(CASE.x, CASE.t, resume=path, **{**BEGUN, "lr": 0.5})
    assert str(raised.value) == f"`lr` must be as in the checkpoint '{path}', 0.01, got 0.5"
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train(-CASE.x, CASE.t, resume=path, **BEGUN)
    one, other = (fcb.digest(x)[:16] for x in (CASE.x, -CASE.x))
    assert str(raised.value) == (
        f"`x` must be as in the checkpoint '{path}', of digest {one}, got of digest {other}"
    )


def test_another_sweep_is_refused(path):
    how = dict(seed=[0, 1], lr=[0.1, 0.01], max_steps=9)
    fcb.train_many(CASE.x, CASE.t, checkpoint=path, **how)
    for changed, text in (
        (dict(lr=[0.1, 0.02]), "`lr[1]` must be as in the checkpoint '{}', 0.01, got 0.02"),
        (dict(seed=[0, 1, 2], lr=0.1), "`lr` must be as in the checkpoint '{}', [0.1, 0.01], got "),
        (dict(rows=[[1, 2], [2, 3]]), "`rows[0]` must be as in the checkpoint '{}', None, got "),
    ):
        with pytest.raises(fcb.ArgumentError) as raised:
            fcb.train_many(CASE.x, CASE.t, resume=path, **{**how, **changed})
        assert str(raised.value).startswith(text.format(path))
    with pytest.raises(fcb.ArgumentError):
        fcb.train(CASE.x, CASE.t, lr=0.1, max_steps=9, resume=path)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (dict(checkpoint_every=3), "`checkpoint_every` must come with `checkpoint`, got 3 without"),
        (dict(checkpoint="c", checkpoint_every=0), "`checkpoint_every` must be an integer of at "),
        (dict(checkpoint="c", checkpoint_every=1.5), "`checkpoint_every` must be an integer of at"),
        (dict(checkpoint=3), "`checkpoint` must be a path, got 3"),
        (dict(checkpoint=""), "`checkpoint` must be the name of a file, got ''"),
        (dict(checkpoint="."), "`checkpoint` must be a file, got '.': a folder"),
        (dict(checkpoint="no/c"), "`checkpoint` must be in a folder that exists, got 'no/c'"),
        (dict(resume="none"), "`resume` must be a readable file, got 'none': No such file"),
        (dict(resume=os.devnull), "`resume` must be a checkpoint that `checkpoint` wrote, got "),
        (dict(resume=b"a\0"), "`resume` must be the name of a file, got b'a\\x00'"),
    ],
)
def test_what_is_no_such_argument(how, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for train in (fcb.train, fcb.Trainer(CASE.params, lr=0.1).run):
        lr = {"lr": 0.1} if train is fcb.train else {}
        with pytest.raises(fcb.ArgumentError) as raised:
            train(CASE.x, CASE.t, max_steps=9, **lr, **how)
        assert str(raised.value).startswith(text)
    assert not list(tmp_path.iterdir())
