"""A run that tells how it was made, and is made again from that: to the bit, or not at all.

python -m pip install fcbackends
python examples/reproduce.py
"""

import tempfile
from pathlib import Path

import numpy as np

import fcbackends as fcb

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (400, 3))
t = x[:, :1] * x[:, 1:2] + 0.1 * rng.normal(size=(400, 1))

with tempfile.TemporaryDirectory() as folder:
    record = Path(folder) / "run.json"

    # Months ago, on some machine.
    result = fcb.train(
        x,
        t,
        hidden=(16,),
        activation="tanh",
        optimizer=fcb.Adam(),
        lr=0.01,
        batch_size=16,
        sampling="epoch",
        max_steps=2000,
        seed=3,
        record=record,
    )
    print(f"trained: {result.steps} steps, digest {fcb.digest(result.params)}")

    # Today, on another one: the record and the data are all that is needed, on any backend.
    again = fcb.reproduce(record, x, t, backend="numpy")
    print(f"made again: {'the same bits' if again.equal else 'other bits'}")

    # Data that differ in one bit are not the data of that run.
    other = x.copy()
    other[0, 0] = np.nextafter(other[0, 0], 2)
    try:
        print(f"with one bit changed: {fcb.reproduce(record, other, t).equal}")
    except fcb.ArgumentError as error:
        print(f"with one bit changed, refused: {error}")
