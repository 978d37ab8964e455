"""What `train_many` refuses, and in which words."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.test_errors import (
    LIMIT,
    NAMES,
    PARAMS,
    RATE,
    SAMPLE,
    SEED,
    SINGLE,
    STEPS,
    TOL,
    B,
    Plain,
    T,
    Type,
    X,
    many,
    number_cases,
    replaced,
)

LENGTHS = "must be of one length of at least 1, got"
NO_SEQUENCE = (
    "`seed` and `lr` and `rows` and `hidden` and `optimizer` and `loss` must be sequences with one "
    "entry a network, at least one of them, or `settings` come, got each for all networks"
)
ROWS = "`rows` must be a non-empty sequence of integers from 0 to 4 for each network, got"

MANY = [
    *((lambda seed=seed, lr=lr: many(seed=seed, lr=lr), Plain,
       NO_SEQUENCE)
      for seed, lr in [(0, 0.1), (np.int64(0), np.float32(0.1)), (np.array(0), np.array(0.1))]),
    (lambda: many(seed=(0, 1, 2), lr=[0.1, 0.2]), Plain,
     f"`seed`, `lr` {LENGTHS} `seed` of 3, `lr` of 2"),
    (lambda: many(rows=[[0]]), Plain, f"`seed`, `rows` {LENGTHS} `seed` of 2, `rows` of 1"),
    (lambda: many(lr=np.ones(3), rows=np.ones((2, 1), int)), Plain,
     f"`seed`, `lr`, `rows` {LENGTHS} `seed` of 2, `lr` of 3, `rows` of 2"),
    (lambda: many(seed=()), Plain, f"`seed` {LENGTHS} `seed` of 0"),
    (lambda: many(seed=[], lr=[]), Plain, f"`seed`, `lr` {LENGTHS} `seed` of 0, `lr` of 0"),
    (lambda: many(seed=0, rows=[]), Plain, f"`rows` {LENGTHS} `rows` of 0"),
    *((lambda rows=rows: many(rows=[[0, 1], rows]), Plain, f"{ROWS} {got}") for rows, got in [
        ([], "[]"),
        (3, "3"),
        ([[0], [1]], "[[0], [1]]"),
        ([0.0, 1.0], "[0.0, 1.0]"),
        ([True, False], "[True, False]"),
        ("01", "'01'"),
        ([[0], [0, 1]], "[[0], [0, 1]]"),
        (np.empty(0, int), "array([], dtype=int64)"),
        ([0, 5], "5 among them"),
        ([-1, 0], "-1 among them"),
        (np.array([2**64 - 1, 0], np.uint64), f"{2**64 - 1} among them"),
        ([0, 2**70], f"[0, {2**70}]"),
    ]),
    (lambda: many(rows=[0, 1]), Plain, f"{ROWS} 0"),
    (lambda: many(seed=0, rows="ab"), Plain,
     NO_SEQUENCE),
    *number_cases(lambda seed: many(seed=[0, seed]), "seed", SEED, [-1, 2**64, True]),
    *number_cases(lambda seed: many(seed=[0, seed]), "seed", SEED, [None, 0.5, "7"], Type),
    *number_cases(lambda lr: many(lr=[0.1, lr]), "lr", RATE, [float("nan"), 0, -1e-3]),
    *number_cases(lambda lr: many(lr=[0.1, lr]), "lr", RATE, [None, "0.1"], Type),
    (lambda: many(seed="7", lr=[0.1, 0.2]), Type, f"{SEED} '7'"),
    (lambda: many(seed=b"77", lr=[0.1]), Type, f"{SEED} b'77'"),
    (lambda: many(rows=[[0, 1, 2], [0, 1]], batch_size=3, sampling="epoch"), Plain,
     "`batch_size` must be at most the 2 samples where each epoch takes each once, got 3"),
    *number_cases(many, "max_steps", f"`max_steps` {STEPS}", [0, -1, True]),
    *number_cases(many, "max_steps", f"`max_steps` {STEPS}", [None, 2.0, [1, 2]], Type),
    *number_cases(many, "batch_size", f"`batch_size` {STEPS}", [0]),
    *number_cases(many, "record_every", f"`record_every` {STEPS}", [0]),
    *number_cases(many, "tol", TOL, [-1.0]),
    *number_cases(many, "time_limit", LIMIT, [0]),
    *number_cases(many, "tol_on", NAMES[1][1], ["none"]),
    *number_cases(many, "dtype", NAMES[2][1], ["half"]),
    *((lambda loss=loss: many(loss=loss), Plain,
       "`loss` must be one of 'mean_squared', 'huber', 'cross_entropy', 'binary_cross_entropy', "
       f"got {loss!r}") for loss in [np.array("huber"), np.array(0, object), None]),
    (lambda: many(t=T[:4]), Plain,
     "`x` and `t` must hold the same samples, got shapes (5, 3) and (4, 2)"),
    (lambda: many(x=X[:, :2], params=PARAMS), Plain, f"`x` must be of shape (3,) {SAMPLE} (5, 2)"),
    (lambda: many(params=SINGLE), Type, "`params` must be of `dtype` float64, got float32"),
    (lambda: many(params=PARAMS, hidden=(5,)), Plain,
     "`hidden` must be left out, or the sizes (4,) of `params`, got (5,)"),
    (lambda: many(params=replaced(0, b=B * np.nan)), Plain,
     "`params` must be finite, got NaN or infinity among them"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), MANY, ids=[text[:70] for *_, text in MANY])
def test_what_is_refused_of_many_is_told_in_one_line(call, kind, text):
    with pytest.raises(fcb.ArgumentError) as caught:
        call()
    assert (str(caught.value), type(caught.value)) == (text, kind)
