"""How much of a result is luck: the same training from many seeds, at once, and its spread.

python -m pip install "fcbackends[sklearn]"  # and matplotlib, for --plot
python examples/seeds.py [--plot seeds.png]
"""

import sys

import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import fcbackends as fcb

SEEDS = range(30)

x, t = load_wine(return_X_y=True)
x, x_test, t, t_test = train_test_split(x, t, test_size=0.5, stratify=t, random_state=0)
scaling = fcb.Scaling.fit(x)
x, x_test = scaling.apply(x), scaling.apply(x_test)

# On all cores, and each with the bits that it would have alone.
how = dict(hidden=(8,), loss="cross_entropy", lr=0.05, max_steps=400, sampling="epoch")
results = fcb.train_many(x, t, seed=SEEDS, batch_size=8, **how)

accuracies = np.array(
    [(fcb.predict(result.params, x_test).argmax(axis=1) == t_test).mean() for result in results]
)
print(f"accuracy of {len(SEEDS)} seeds: mean {accuracies.mean():.3f}, "
      f"deviation {accuracies.std(ddof=1):.3f}")  # fmt: skip
low, high = accuracies.min(), accuracies.max()
print(f"from {low:.3f} (seed {accuracies.argmin()}) to {high:.3f} (seed {accuracies.argmax()})")

worst = int(accuracies.argmin())
alone = fcb.train(x, t, seed=worst, batch_size=8, **how)
same = fcb.compare(alone.params, results[worst].params).equal
print(f"seed {worst} alone has the same bits: {'yes' if same else 'no'}")

if sys.argv[1:2] == ["--plot"]:
    from matplotlib import pyplot as plt

    for result in results:
        plt.plot(result.history.steps, result.history.losses, color="gray", alpha=0.3)
    plt.xlabel("step")
    plt.ylabel("loss of the step's batch")
    plt.savefig(sys.argv[2])
    print(f"curves in {sys.argv[2]}")
