"""The work that is measured: what it is, on which data, and how a backend does it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

import fcbackends as fcb
from fcbackends.arrays import as_numpy

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

SETTLED_SAMPLES = {1: 65_536, 2: 1_000_000}
"""By the number of layers, a run of so many samples has a small network's steps done by a kernel
for its very shape, if there is one; it stays for the shorter runs that follow in the process."""

STEPS_COMPARED = 20
PRODUCTS_COMPARED = 100_000_000
"""Chained steps whose result is compared with the reference's: so many, or of large networks as
many as hold about so many multiply-adds, which take some libraries seconds."""


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
    """

    kind: Kind
    sizes: tuple[int, ...]
    batch: int
    dtype: str
    samples: int = SAMPLES
    axis: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The work in words."""
        many = "" if self.samples == SAMPLES else f" of {self.samples}"
        sizes = "-".join(map(str, self.sizes))
        return f"{self.kind} {sizes} batch {self.batch}{many} {self.dtype}"

    @property
    def steps(self) -> int:
        """SGD steps, or calls, in one unit of what is timed."""
        return self.samples // self.batch if self.kind == "epoch" else 1

    @property
    def steps_compared(self) -> int:
        """Chained steps whose result is compared with the reference's."""
        return max(2, min(STEPS_COMPARED, PRODUCTS_COMPARED * self.steps // self.multiply_adds))

    @property
    def settling(self) -> int:
        """Units to do in one run before shorter ones are timed."""
        if self.kind not in ("train step", "epoch"):
            return 1
        samples = SETTLED_SAMPLES[min(2, len(self.sizes) - 1) if self.batch == 1 else 1]
        return math.ceil(samples / (self.batch * self.steps))

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


class Prepared(NamedTuple):
    """A workload on one backend's arrays.

    Attributes
    ----------
    run : callable
        (units) -> None: does the work so many times, each time going on from the last.
    result : callable
        () -> the arrays that it leads to from the start, in few steps; a history where there is
        one is its last entry.
    begin : callable
        () -> None: does as little as compiles or reads all that the work needs.
    """

    run: Callable[[int], None]
    result: Callable[[], Any]
    begin: Callable[[], object]


def backends() -> list[tuple[str, str]]:
    """The (name, arithmetic) of all that is measured; fused, only what has the instruction."""
    there = [name for name, state in fcb.list_backends().items() if state == "available"]
    return [("numpy", "native"), *((name, "ordered") for name in there), ("numba", "fused")]


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
    return x, t


def initial(workload: Workload, seed: int = 0) -> Any:
    """The first parameters."""
    return fcb.init_params(workload.sizes, seed=seed, dtype=workload.dtype)


def prepare(workload: Workload, backend: fcb.Backend) -> Prepared:
    """Bring the data to the backend, outside what is timed."""
    plain = backend.owns(np.empty(0))

    def arrays(*values: Any) -> list[Any]:
        return [backend.asarray(value, workload.dtype) for value in values]

    def settled(result: Any) -> Any:
        # Libraries that compute later, or beside the caller, are made to finish.
        if not plain:
            for array in result if isinstance(result, tuple) else (result,):
                settled(array) if isinstance(array, tuple) else as_numpy(array)
        return result

    def calls(function: Callable[..., Any], *values: Any) -> Prepared:
        there = arrays(*values)

        def run(units: int) -> None:
            for _ in range(units):
                settled(function(*there, backend=backend))

        return Prepared(run, lambda: function(*there, backend=backend), lambda: run(1))

    n, sizes, dtype = workload.batch, workload.sizes, workload.dtype
    if workload.kind == "loss":
        return calls(
            fcb.mean_squared_loss,
            numbers((n, sizes[0]), 1, dtype),
            numbers((n, sizes[0]), 2, dtype),
        )
    w, b = initial(workload)[0]
    if workload.kind == "forward":
        return calls(fcb.fc_forward, numbers((n, sizes[0]), 1, dtype), w, b)
    if workload.kind == "backward":
        return calls(
            fcb.fc_backward, numbers((n, sizes[1]), 2, dtype), numbers((n, sizes[0]), 1, dtype), w
        )
    if workload.kind == "sgd step":
        return _sgd_steps(workload, backend, arrays, settled)
    if workload.kind == "trainer step":
        return _trainer_steps(workload, backend, arrays)
    if workload.kind == "training":
        return _training(workload, backend, arrays)
    return _training_steps(workload, backend, arrays)


def _sgd_steps(workload: Workload, backend: Any, arrays: Any, settled: Any) -> Prepared:
    n, sizes, dtype = workload.batch, workload.sizes, workload.dtype
    x, t = arrays(numbers((n, sizes[0]), 1, dtype), numbers((n, sizes[-1]), 2, dtype))
    first = tuple(tuple(arrays(w, b)) for w, b in initial(workload))
    params = first

    def run(units: int) -> None:
        nonlocal params
        for _ in range(units):
            params = settled(fcb.sgd_step(params, x, t, LR, backend=backend)).params

    def result() -> Any:
        result = fcb.StepResult(first, None)
        for _ in range(workload.steps_compared):
            result = fcb.sgd_step(result.params, x, t, LR, backend=backend)
        return tuple(result)

    return Prepared(run, result, lambda: run(1))


def _trainer_steps(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    n = workload.batch
    batches = [
        (x[i, :], t[i, :]) if n == 1 else (x[i : i + n, :], t[i : i + n, :])
        for i in range(0, STEPS_COMPARED * n, n)
    ]
    trainer = fcb.Trainer(initial(workload), lr=LR, backend=backend)
    forever = itertools.cycle(batches)

    def run(units: int) -> None:
        for batch in itertools.islice(forever, units):
            trainer.step(*batch)

    def result() -> Any:
        fresh = fcb.Trainer(initial(workload), lr=LR, backend=backend)
        losses = [fresh.step(*batch) for batch in batches[: workload.steps_compared]]
        return fresh.params, np.array(losses)

    return Prepared(run, result, lambda: run(1))


def _training_steps(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    trainer = fcb.Trainer(initial(workload), lr=LR, backend=backend)
    how: dict[str, Any] = {
        "batch_size": workload.batch,
        "sampling": "epoch" if workload.kind == "epoch" else "replacement",
        "progress": False,
    }

    def run(units: int) -> None:
        trainer.run(x, t, max_steps=units * workload.steps, **how)

    def result() -> Any:
        fresh = fcb.Trainer(initial(workload), lr=LR, backend=backend)
        trained = fresh.run(x, t, max_steps=workload.steps_compared, record_every=1, **how)
        return trained.params, trained.history.losses

    return Prepared(run, result, lambda: run(1))


def _training(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    zero = sum(float(value) ** 2 for value in data(workload)[1].ravel()) / workload.samples
    share = TOLERANCE[len(workload.sizes) - 1]

    def train(share: float = share) -> fcb.TrainResult:
        return fcb.train(
            x,
            t,
            params=initial(workload),
            hidden=workload.sizes[1:-1],
            lr=0.05,
            batch_size=workload.batch,
            tol=share * zero,
            tol_on="data",
            record_every=256 // workload.batch,
            dtype=workload.dtype,
            backend=backend,
            progress=False,
        )

    trained = None

    def run(units: int) -> None:
        nonlocal trained
        for _ in range(units):
            trained = train()

    def result() -> Any:
        # Each starts anew, and some libraries take seconds.
        nonlocal trained
        trained = trained or train()
        return trained.params, trained.history.steps.astype(float), trained.history.losses

    # It ends where the loss is looked at first.
    return Prepared(run, result, lambda: train(1e30))


def _grids() -> dict[str, list[Workload]]:
    """The workloads of each grid, by its pytest marker."""
    f32, f64 = "float32", "float64"
    widths = "train step, one square layer, batch 32, float32", "width"
    light = [
        Workload("forward", (2, 3), 1, f64),
        Workload("forward", (64, 128), 32, f64),
        Workload("forward", (64, 128), 32, f32),
        Workload("backward", (64, 128), 32, f32),
        Workload("loss", (10,), 1024, f32),
        Workload("sgd step", (64, 32, 10), 32, f32),
        Workload("trainer step", (2, 3), 1, f64),
        Workload("train step", (2, 3), 1, f64),
        Workload("train step", (2, 3), 32, f32),
        Workload("train step", (8, 16, 1), 1, f32),
        Workload("train step", (64, 32, 10), 32, f32),
        Workload("train step", (64, 32, 10), 32, f64),
        Workload("train step", (64, 64, 64, 1), 64, f32),
        Workload("train step", (784, 256, 10), 128, f32),
        *(Workload("train step", (n, n), 32, f32, axis=widths) for n in (2, 8, 32, 128, 512)),
        Workload("training", (2, 3), 16, f64),
        Workload("training", (8, 16, 1), 16, f32),
    ]
    sizes = ((2, 3), (13, 1), (64, 10), (256, 256), (64, 32, 10), (784, 256, 10), (64, 64, 64, 1))
    batches = 1, 32, 1024
    full = [
        *light,
        *(
            Workload(kind, size, batch, dtype)
            for kind in ("forward", "backward", "sgd step", "trainer step", "train step")
            for size in sizes
            if kind not in ("forward", "backward") or len(size) == 2
            for batch in batches
            for dtype in (f32, f64)
        ),
        *(Workload("loss", (m,), n, d) for m in (1, 64) for n in batches for d in (f32, f64)),
        *(
            Workload("training", size, batch, dtype)
            for size in ((2, 3), (8, 16, 1), (4, 8, 8, 2))
            for batch in (1, 16)
            for dtype in (f32, f64)
        ),
    ]
    study = []
    for dtype in (f32, f64):
        samples = f"an epoch of 64-32-10, batch 32, {dtype}", "samples"
        width = f"train step, two square layers, batch 32, {dtype}", "width"
        depth = f"train step, layers of 48, batch 32, {dtype}", "depth"
        batch = f"train step of 64-32-10, {dtype}", "batch"
        study += [
            *(
                Workload("epoch", (64, 32, 10), 32, dtype, samples=n, axis=samples)
                for n in (1024, 4096, 16384, 65536)
            ),
            *(
                Workload("train step", (n, n, n), 32, dtype, axis=width)
                for n in (4, 16, 64, 256, 1024)
            ),
            *(
                Workload("train step", (48,) * (n + 1), 32, dtype, axis=depth)
                for n in (1, 2, 4, 8, 16)
            ),
            *(
                Workload("train step", (64, 32, 10), n, dtype, axis=batch)
                for n in (1, 4, 16, 64, 256, 1024)
            ),
        ]
    return {"light": light, "full": full, "study": study}


def _by_name(grids: dict[str, list[Workload]]) -> dict[str, Workload]:
    """Each piece of work once, with its axis where it has one in any grid."""
    found: dict[str, Workload] = {}
    for workload in itertools.chain(*grids.values()):
        if workload.name not in found or found[workload.name].axis is None:
            found[workload.name] = workload
    return found


_GRIDS = _grids()

BY_NAME = _by_name(_GRIDS)
"""All workloads."""

GRIDS = {
    name: [grid for grid, members in _GRIDS.items() if name in {w.name for w in members}]
    for name in BY_NAME
}
"""The grids, by their pytest markers, that each workload belongs to."""
