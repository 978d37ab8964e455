"""The work that is measured: what it is, and on which data."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Literal, NamedTuple

import numpy as np

import fcbackends as fcb

Kind = Literal[
    "forward", "backward", "loss", "sgd step", "trainer step", "train step", "epoch", "training"
]

LR = 2.0**-10
"""Small enough for every network here to stay finite for as long as it is timed."""

SAMPLES = 1024
"""Rows that training draws from, where a workload does not say otherwise."""

TOLERANCE = {1: 1e-4, 2: 0.2, 3: 0.2}
"""Per number of layers, the share of the zero outputs' loss at which a training stops: some
hundred steps, of which the slowest library takes seconds."""

SAMPLES_A_RUN = 65_536
"""A training of so many samples is long beside the call itself, however small the network."""

LONGEST_RUN = 10**9
"""Steps that are worth any kernel that a backend may have for them."""

ANY_LOSS = 1e30
"""A tolerance that ends a run where it looks at its loss first."""

STEPS_COMPARED = 20
PRODUCTS_COMPARED = 100_000_000
"""Chained steps whose result is compared with the reference's: so many, or of large networks as
many as hold about so many multiply-adds, which take some libraries seconds."""


class Recipe(NamedTuple):
    """How a network computes and learns, in the words of `fcbackends.Trainer`.

    The optimizer is "sgd" or "adam", with all else as it is by default.
    """

    activation: str = "relu"
    loss: str = "mean_squared"
    optimizer: str = "sgd"

    @property
    def name(self) -> str:
        """What there is in it that is not so by default, in words."""
        pairs = zip(self, Recipe(), strict=True)
        return " ".join(chosen for chosen, usual in pairs if chosen != usual)

    @property
    def method(self) -> dict[str, Any]:
        """What a Trainer is given for it: nothing, where an older one can do it as well."""
        if self == Recipe():
            return {}
        optimizer = fcb.Adam() if self.optimizer == "adam" else fcb.SGD()
        return {"activation": self.activation, "loss": self.loss, "optimizer": optimizer}


CLASSES, POLICY = Recipe(loss="cross_entropy", optimizer="adam"), Recipe("tanh", optimizer="adam")
"""A classifier, and what control policies are mostly like."""


class Workload(NamedTuple):
    """One piece of work, the same for all backends.

    Attributes
    ----------
    kind : str
        "forward", "backward", "loss": these functions. "sgd step": `sgd_step`, each on the result
        of the one before. "trainer step": `Trainer.step`. "train step": a step of `Trainer.run`,
        drawing included. "epoch": a pass over all samples with it. "training": `train` until the
        whole data's loss is a share (`TOLERANCE`) of the loss of outputs that are all zero.
    sizes : tuple of int
        The layers' sizes, inputs first.
    batch : int
        Samples a step.
    dtype : str
        "float32" or "float64".
    samples : int
        Rows that training draws from.
    axis : tuple of (str, str), or None
        The series that this is a point of: its name, and what grows along it.
    recipe : Recipe
        How a network computes and learns; of the steps of a Trainer alone.
    """

    kind: Kind
    sizes: tuple[int, ...]
    batch: int
    dtype: str
    samples: int = SAMPLES
    axis: tuple[str, str] | None = None
    recipe: Recipe = Recipe()

    @property
    def name(self) -> str:
        """The work in words."""
        many = "" if self.samples == SAMPLES else f" of {self.samples}"
        sizes = "-".join(map(str, self.sizes))
        name = f"{self.kind} {sizes} batch {self.batch}{many} {self.dtype}"
        return f"{name} {self.recipe.name}".rstrip()

    @property
    def steps(self) -> int:
        """SGD steps, or calls, in one unit of what is timed."""
        return self.samples // self.batch if self.kind == "epoch" else 1

    @property
    def steps_compared(self) -> int:
        """Chained steps whose result is compared with the reference's."""
        return max(2, min(STEPS_COMPARED, PRODUCTS_COMPARED * self.steps // self.multiply_adds))

    @property
    def units_a_run(self) -> int:
        """Units that are long beside the call they are done in, if only a call does many."""
        if self.kind not in ("train step", "epoch"):
            return 1
        return math.ceil(SAMPLES_A_RUN / (self.batch * self.steps))

    @property
    def multiply_adds(self) -> int:
        """Products in one unit of what is timed; for a whole training, in one of its steps."""
        layers = [self.batch * k * m for k, m in itertools.pairwise(self.sizes)]
        if self.kind == "forward":
            return sum(layers)
        if self.kind == "backward":
            return 2 * sum(layers)
        if self.kind == "loss":
            return self.batch * self.sizes[-1]
        # A step: forward, dw, and dx of all layers but the first.
        return self.steps * (3 * sum(layers) - layers[0])

    @property
    def place(self) -> int:
        """How far along its axis this is."""
        name = self.axis[1] if self.axis else ""
        return {
            "samples": self.samples,
            "width": max(self.sizes),
            "depth": len(self.sizes) - 1,
            "batch": self.batch,
        }[name]


def numbers(shape: tuple[int, ...], seed: int, dtype: str) -> Any:
    """Made-up numbers from -1 to 1 in steps of 1/1000, the same on every machine."""
    drawn = fcb.sample_indices(2001, steps=int(np.prod(shape)), seed=seed)
    return ((drawn.reshape(shape) - 1000) / 1000).astype(dtype)


@functools.lru_cache(maxsize=4)
def data(workload: Workload) -> tuple[Any, Any]:
    """The inputs and the targets that training draws from."""
    x = numbers((workload.samples, workload.sizes[0]), 1, workload.dtype)
    t = numbers((workload.samples, workload.sizes[-1]), 2, workload.dtype)
    if workload.kind == "training":
        # Targets that a network of these sizes can reach: the loss goes to zero.
        t = fcb.predict(initial(workload, 3), x, backend="numpy")
    if workload.recipe.loss == "cross_entropy":
        # One class a sample, all of them some time.
        classes = np.argmax(t, axis=1)
        t = np.eye(t.shape[1], dtype=t.dtype)[classes]
    return x, t


def initial(workload: Workload, seed: int = 0) -> Any:
    """The first parameters."""
    return fcb.init_params(workload.sizes, seed=seed, dtype=workload.dtype)


def trainer(workload: Workload, backend: Any) -> fcb.Trainer:
    """A Trainer at the start."""
    method = workload.recipe.method
    return fcb.Trainer(initial(workload), lr=LR, backend=backend, **method)
