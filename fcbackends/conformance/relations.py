"""Relations between results of one backend, which hold whatever the right bits are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.api import layers, losses, network
from fcbackends.arrays import as_numpy, computed
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop
from fcbackends.conformance.cases import Case
from fcbackends.conformance.layouts import LAYOUTS, laid_out
from fcbackends.conformance.selftest import taken_dtypes

Pairs: TypeAlias = "dict[str, tuple[Any, Any]]"
"""By the name of the relation: what was found, and what it must equal."""

_WORK_FOR_THREADS = (150, 170, 180)
"""Samples, inputs and outputs of a layer that is worth a second thread."""


def relation(backend: Backend, case: Case) -> Pairs:
    """Both sides of one of the relations, as the case draws it."""
    return case.draws.choice(_RELATIONS)(backend, case)


def _layer(backend: Backend, x: Any, w: Any, b: Any, dy: Any) -> list[NDArray[Any]]:
    """y, dw, db and dx of one layer."""
    y = layers.fc_forward(x, w, b, backend=backend)
    return list(map(as_numpy, computed([y, *layers.fc_backward(dy, x, w, backend=backend)])))


def _first_layer(case: Case) -> tuple[Any, Any, Any, Any]:
    """x, w, b, and a dy that fits."""
    w, b = case.params[0]
    return case.x, w, b, np.resize(case.dy, (len(case.x), b.size))


def _row_alone(backend: Backend, case: Case) -> Pairs:
    """A row's result does not depend on its batch."""
    x, w, b, dy = _first_layer(case)
    row = case.draws.integer(0, len(x) - 1)
    y, _, _, dx = _layer(backend, x, w, b, dy)
    alone_y, _, _, alone_dx = _layer(backend, x[row], w, b, dy[row])
    outputs = as_numpy(network.predict(case.params, x, backend=backend))
    return {
        "fc_forward of a row alone": (alone_y, y[row]),
        "fc_backward of a row alone": (alone_dx, dx[row]),
        "predict of a row alone": (
            network.predict(case.params, x[row : row + 1], backend=backend),
            outputs[row : row + 1],
        ),
    }


def _rows_permuted(backend: Backend, case: Case) -> Pairs:
    """Permuting rows permutes results."""
    x, w, b, dy = _first_layer(case)
    shift, turn = case.draws.integer(0, len(x) - 1), case.draws.choice((1, -1))
    order = np.roll(np.arange(len(x)), shift)[::turn]
    y, _, _, dx = _layer(backend, x, w, b, dy)
    moved_y, _, _, moved_dx = _layer(backend, x[order], w, b, dy[order])
    outputs = as_numpy(network.predict(case.params, x, backend=backend))
    return {
        "fc_forward of permuted rows": (moved_y, y[order]),
        "fc_backward of permuted rows": (moved_dx, dx[order]),
        "predict of permuted rows": (
            network.predict(case.params, x[order], backend=backend),
            outputs[order],
        ),
    }


def _other_layout(backend: Backend, case: Case) -> Pairs:
    """How arrays stand in memory changes nothing: NumPy's, and views of the library's own."""
    plain = case.params, case.x, case.t

    def view(values: Any) -> Any:
        if isinstance(values, tuple):
            return tuple(map(view, values))
        if values.ndim == 1:
            return backend.asarray(np.repeat(values, 2))[::2]
        return backend.asarray(values.T.copy()).T

    def stepped(params: Any, x: Any, t: Any) -> list[Any]:
        return list(network.sgd_step(params, x, t, case.lr, backend=backend))

    layout = case.draws.choice(tuple(LAYOUTS))
    want = stepped(*plain)
    return {
        f"sgd_step of {layout} arrays": (stepped(*laid_out(plain, layout)), want),
        "sgd_step of transposed views": (stepped(*view(plain)), want),
    }


def _other_threads(backend: Backend, case: Case) -> Pairs:
    """The number of threads changes nothing."""
    threads = backend.get_threads()
    if threads == 1:
        return {}
    samples, inputs, outputs = _WORK_FOR_THREADS
    x, w, b, dy = (
        np.resize(a, shape)
        for a, shape in zip(
            _first_layer(case),
            ((samples, inputs), (inputs, outputs), (outputs,), (samples, outputs)),
            strict=True,
        )
    )

    def everything() -> list[Any]:
        stepped = network.sgd_step(((w, b),), x, dy, case.lr, backend=backend)
        return [_layer(backend, x, w, b, dy), *stepped]

    found = everything()
    backend.set_threads(1)
    try:
        return {f"results of {threads} threads": (found, everything())}
    finally:
        backend.set_threads(threads)


def _scaled(backend: Backend, case: Case) -> Pairs:
    """Scaling by a power of two scales exactly, where nothing leaves the dtype's range."""
    x, w, b, dy = _first_layer(case)
    factor = np.dtype(case.dtype).type(2.0 ** case.draws.integer(-9, 9))
    y, dw, db, dx = _layer(backend, x, w, b, dy)
    scaled = _layer(backend, x * factor, w, b * factor, dy * factor)
    loss, gradient = map(as_numpy, losses.mean_squared_loss(dy, y, backend=backend))
    scaled_loss = losses.mean_squared_loss(dy * factor, y * factor, backend=backend)
    return {
        "a layer scaled by a power of two": (
            scaled,
            [y * factor, dw * factor * factor, db * factor, dx * factor],
        ),
        "a loss scaled by a power of two": (
            list(scaled_loss),
            [loss * factor * factor, gradient * factor],
        ),
    }


def _shifted_logits(backend: Backend, case: Case) -> Pairs:
    """A softmax does not see what is added to all logits, where the sums are exact."""
    if "float64" not in taken_dtypes(backend):
        return {}
    draws, samples, classes = case.draws, case.draws.integer(1, 9), case.draws.integer(1, 12)
    y = draws.integers((samples, classes), 40).astype(case.dtype)
    t = np.array([draws.integer(0, classes - 1) for _ in range(samples)])
    plain, moved = (
        list(losses.cross_entropy_loss(logits, t, backend=backend))
        for logits in (y, y + np.dtype(case.dtype).type(draws.integer(-1000, 1000)))
    )
    return {"a softmax of logits with a number added": (moved, plain)}


def _whole_numbers(backend: Backend, case: Case) -> Pairs:
    """One step on small integers is exact: it equals rational arithmetic."""
    draws = case.draws
    samples, inputs, outputs = 2 ** draws.integer(0, 3), draws.integer(1, 8), draws.integer(1, 8)
    rate = Fraction(1, 2 ** draws.integer(0, 4))
    shapes = (samples, inputs), (inputs, outputs), (outputs,), (samples, outputs)
    x, w, b, t = (draws.integers(shape, 4) for shape in shapes)

    exact_x, exact_w, exact_b, exact_t = (a.astype(object) for a in (x, w, b, t))
    d = exact_x @ exact_w + exact_b - exact_t
    dy = d * Fraction(2, samples)
    new_w, new_b = exact_w - rate * (exact_x.T @ dy), exact_b - rate * dy.sum(axis=0)
    loss = np.array((d * d).sum() * Fraction(1, samples), object)

    def floats(a: Any) -> Any:
        return a.astype(case.dtype)

    stepped = network.sgd_step(
        ((floats(w), floats(b)),), floats(x), floats(t), float(rate), backend=backend
    )
    return {
        "sgd_step of small integers": (
            list(stepped),
            [((floats(new_w), floats(new_b)),), floats(loss)],
        )
    }


def _run_in_parts(backend: Backend, case: Case) -> Pairs:
    """A run in two parts ends where the run in one does."""
    plan = case.plan._replace(tol=None)

    def loop() -> Loop:
        params = tuple(
            (backend.asarray(w, case.dtype), backend.asarray(b, case.dtype)) for w, b in case.params
        )
        return backend.training_loop(params, case.method._replace(lr=case.lr / 100))

    x, t = backend.asarray(case.x, case.dtype), backend.asarray(case.t, case.dtype)
    middle = case.draws.integer(0, case.steps)
    whole, parts = loop(), loop()
    if whole.run(x, t, plan, 0, case.steps).diverged_at:
        return {}
    parts.run(x, t, plan, 0, middle)
    parts.run(x, t, plan, middle, case.steps)
    return {"a run in two parts": (parts.params, whole.params)}


_RELATIONS = (
    _row_alone,
    _rows_permuted,
    _other_layout,
    _other_threads,
    _scaled,
    _shifted_logits,
    _whole_numbers,
    _run_in_parts,
)
