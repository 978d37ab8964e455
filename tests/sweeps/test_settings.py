"""What each network is to be: sequences with an entry for each, tables, and what is refused."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.sweeps.cases import HOW, T, X, alone, table, told

TABLE = table(8)
NAMES = ["seed", "lr", "rows", "hidden", "optimizer", "loss"]


def test_sequences_say_what_a_table_says():
    columns = {name: [row[name] for row in TABLE] for name in NAMES}
    sweep = fcb.train_many(X, T, **columns, **HOW)
    assert [told(result) for result in sweep] == [told(alone(row)) for row in TABLE]
    assert sweep.digest == fcb.train_many(X, T, settings=TABLE, **HOW).digest


@pytest.mark.parametrize("name", NAMES)
def test_each_may_be_a_sequence_by_itself(name):
    values = {
        "seed": [3, 4],
        "lr": [0.1, fcb.StepRate(0.1, factor=0.5, every=10)],
        "rows": [range(9), None],
        "hidden": [(), (3,)],
        "optimizer": [fcb.Adam(), fcb.SGD()],
        "loss": ["huber", "mean_squared"],
    }[name]
    how = {"lr": 0.05, name: values}
    sweep = fcb.train_many(X, T, **how, **HOW)
    rows = [{"lr": 0.05, name: value} for value in values]
    assert [told(result) for result in sweep] == [told(alone(row)) for row in rows]


def test_any_option_of_a_network_may_stand_in_a_table():
    rows = [
        {"activation": "tanh", "hidden": (4,)},
        {"activation": ("tanh", "relu"), "hidden": [4, 3]},
        {"clip_norm": 0.1},
        {"batch_size": 7, "sampling": "epoch"},
        {"max_steps": 11},
        {"tol": 0.2, "tol_on": "data"},
        {"record_every": 5},
        {},
    ]
    sweep = fcb.train_many(X, T, settings=rows, lr=0.02, max_steps=30, batch_size=2)
    for result, row in zip(sweep, rows, strict=True):
        how = {"lr": 0.02, "max_steps": 30, "batch_size": 2} | row
        assert told(result) == told(fcb.train(X, T, **how))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_a_table(library):
    frames = pytest.importorskip(library)
    columns = {
        "seed": [0, 1, 2],
        "lr": [0.1, 0.2, None],
        "hidden": [[4], [], [3, 3]],
        "optimizer": ["sgd", "adam", None],
    }
    sweep = fcb.train_many(X, T, settings=frames.DataFrame(columns), lr=0.05, **HOW)
    rows = [
        {"seed": 0, "lr": 0.1, "hidden": (4,)},
        {"seed": 1, "lr": 0.2, "optimizer": fcb.Adam()},
        {"seed": 2, "lr": 0.05, "hidden": (3, 3)},
    ]
    assert [told(result) for result in sweep] == [told(alone(row)) for row in rows]


TABLE_OF = "must be a list of mappings, or a frame of pandas or polars, got"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"settings": "ab"}, f"`settings` {TABLE_OF} 'ab'"),
        ({"settings": 3}, f"`settings` {TABLE_OF} 3"),
        ({"settings": []}, "`settings` must have a row for each network, at least one, got none"),
        ({"settings": [3]}, "`settings[0]` must be a mapping of options, got 3"),
        ({"settings": [{}, {"lr": 1, "rate": 2}]},
         "`settings[1]` must have options among 'seed', 'lr', 'rows', 'hidden', 'optimizer', "
         "'loss', 'activation', 'clip_norm', 'batch_size', 'max_steps', 'tol', 'tol_on', "
         "'sampling', 'record_every', 'patience', got 'rate'"),
        ({"settings": [{"seed": 1}, {"seed": -1}]},
         "`settings[1].seed` must be an integer from 0 to 18446744073709551615, got -1"),
        ({"settings": [{"hidden": 3}]},
         "`settings[0].hidden` must be a sequence of positive integers, one a hidden layer, got 3"),
        ({"settings": [{"optimizer": "adagrad"}]},
         "`settings[0].optimizer` must be one of 'sgd', 'adam', got 'adagrad'"),
        ({"settings": [{}], "lr": None},
         "`lr` must be given, or stand in each row of `settings`, got none in row 0"),
        ({"settings": [{}], "seed": [1, 2]},
         "`seed` must be one for all networks where `settings` has a row for each, got 2 of them"),
        ({"settings": [{}], "hidden": [(), (3,)]},
         "`hidden` must be one for all networks where `settings` has a row for each, "
         "got 2 of them"),
        ({"hidden": [(), (3,)], "seed": [1, 2, 3]},
         "`seed`, `hidden` must be of one length of at least 1, got `seed` of 3, `hidden` of 2"),
        ({"seed": [1], "lr": None}, "`lr` must be a learning rate or a schedule, got None"),
    ],
)  # fmt: skip
def test_what_is_refused(how, text):
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.train_many(X, T, **({"lr": 0.1} | how), **HOW)
    assert str(caught.value) == text


def test_nothing_of_the_callers_changes():
    rows = [dict(row) for row in TABLE]
    before = [{k: np.array(v).tobytes() if k == "rows" else v for k, v in r.items()} for r in rows]
    fcb.train_many(X, T, settings=rows, **HOW)
    after = [{k: np.array(v).tobytes() if k == "rows" else v for k, v in r.items()} for r in rows]
    assert before == after
