"""Regression: how far diabetes has gone after a year, from ten measurements of 442 patients.

python -m pip install "fcbackends[sklearn]"
python examples/diabetes.py
"""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

import fcbackends as fcb

x, t = load_diabetes(return_X_y=True)
x, x_test, t, t_test = train_test_split(x, t[:, None], test_size=0.25, random_state=0)

# Networks learn best what has mean 0 and deviation 1; the scales have the same bits everywhere.
inputs, outputs = fcb.Scaling.fit(x), fcb.Scaling.fit(t)

result = fcb.train(
    inputs.apply(x),
    outputs.apply(t),
    hidden=(8,),
    activation="tanh",
    optimizer=fcb.Adam(weight_decay=1.0),
    lr=0.003,
    batch_size=16,
    sampling="epoch",
    validation=0.2,  # a fifth of the rows is held out,
    patience=20,  # and training stops after 20 epochs that were no better on it
    seed=0,
)

y = outputs.undo(fcb.predict(result.params, inputs.apply(x_test), activation="tanh"))
line = LinearRegression().fit(x, t).predict(x_test)
r2, r2_of_line = r2_score(t_test, y), r2_score(t_test, line)
print(f"best after {result.steps} steps; {result.stop_reason} ended the training")
print(f"R2 {r2:.3f} on patients it never saw, where a straight line has {r2_of_line:.3f}")
print(f"digest {fcb.digest(result.params)}")  # the same on every machine
