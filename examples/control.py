"""Control: a heater that learns, minute by minute, what its settings do.

python -m pip install fcbackends
python examples/control.py

The controller does not know the plant: a room that loses heat to the outside, and a heater whose
power grows with the square of its setting. A network learns from each minute how the temperature
changed; the setting is the one of which it expects what is wanted. It has never seen this room when
the program starts, and somebody opens a window on the way.
"""

import time

import numpy as np

import fcbackends as fcb

rng = np.random.default_rng(0)
MINUTES, WINDOW_OPENS = 6000, 3000
SETTINGS = np.linspace(0, 1, 101)


def plant(room, outside, setting, minute):
    """The room's temperature a minute later."""
    loss = 0.05 if minute < WINDOW_OPENS else 0.08
    return room - loss * (room - outside) + 2.0 * setting**2


trainer = fcb.Trainer(
    fcb.init_params((3, 16, 1), seed=0), activation="tanh", optimizer=fcb.Adam(), lr=0.005
)
room, errors, seconds = 12.0, [], []
for minute in range(MINUTES):
    outside = 5 + 5 * np.sin(minute / 300)
    wanted = 20.0 if (minute // 100) % 2 else 21.0

    # What the network expects of each setting, from numbers of the size of 1.
    choices = np.column_stack(
        [np.full(101, (room - 20) / 5), np.full(101, (outside - 5) / 5), 2 * SETTINGS - 1]
    )
    change = fcb.predict(trainer.params, choices, activation="tanh")[:, 0]
    best = np.abs(room + change - wanted).argmin()
    # A little chance: who always does the same does not learn what else there is.
    chosen = np.clip(best + rng.integers(-3, 4), 0, 100)

    after = plant(room, outside, SETTINGS[chosen], minute)
    begin = time.perf_counter()
    trainer.step(choices[chosen], np.array([after - room]))
    seconds.append(time.perf_counter() - begin)
    room = after
    errors.append(abs(room - wanted))

for first, last in ((0, 100), (100, 1000), (2000, 3000), (3000, 3100), (3100, 4000), (5000, 6000)):
    print(f"minutes {first:4} to {last:4}: off by {np.mean(errors[first:last]):.3f} degrees")
print(f"a step of learning took {1e6 * np.median(seconds):.1f} us")
