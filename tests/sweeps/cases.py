"""Networks of mixed shapes, rates, optimizers, losses and rows on small data."""

import numpy as np

import fcbackends as fcb

RNG = np.random.default_rng(0)
X = RNG.random((120, 3))
T = np.sin(X.sum(1, keepdims=True))
HIDDEN = [(), (4,), (5, 3)]
HOW = dict(max_steps=40, batch_size=3)


def table(count):
    """Rows of a table of settings, all different."""
    return [
        {
            "hidden": HIDDEN[i % 3],
            "lr": 0.01 / (1 + i % 4),
            "seed": i,
            "optimizer": fcb.Adam() if i % 2 else fcb.SGD(momentum=0.5),
            "loss": ["mean_squared", "huber"][i // 2 % 2],
            "rows": None if i % 3 else np.arange(i % 50, 100),
        }
        for i in range(count)
    ]


def told(result):
    """All that a result tells, its bits included."""
    history = [array.tobytes() for array in result.history[:4]]
    rest = result[5:9], result.best_step, result.best_validation_loss
    seen = fcb.digest(result.params), fcb.digest(result.slots), repr(result.loss), result.steps
    return seen, result.stop_reason, history, rest


def alone(row, **how):
    """What `train` makes of a row of settings."""
    row = dict(row)
    rows = row.pop("rows", None)
    x, t = (X, T) if rows is None else (X[rows], T[rows])
    return fcb.train(x, t, **row, **(HOW | how))
