"""What a backend makes of a case, and what the contract makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fcbackends.api import layers, losses, network
from fcbackends.arrays import as_numpy
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, Plan
from fcbackends.conformance import reference
from fcbackends.conformance.cases import Case
from fcbackends.conformance.layouts import laid_out
from fcbackends.conformance.losses import loss_and_gradient, probabilities
from fcbackends.maths.network import Method, Params
from fcbackends.training.runs import train

Results: TypeAlias = "dict[str, Any]"
"""By the name of what was called: arrays, or lists of them."""


def results(backend: Backend, case: Case) -> Results:
    """What the backend makes of a layer, a network or a training."""
    if case.kind == "training":
        return _trained(backend, case)
    params, x, t, dy = laid_out((case.params, case.x, case.t, case.dy), case.layout)
    if case.one_sample:
        x, t, dy = x[0], t[0], dy[0]
    if case.kind == "network":
        shape = _keywords(case, "activation")
        found = {"predict": network.predict(params, x, backend=backend, **shape)}
        if case.stands_for_probabilities:
            shape["loss"] = case.method.loss
            found["predict_proba"] = network.predict_proba(params, x, backend=backend, **shape)
        return found | {
            "sgd_step": list(
                network.sgd_step(
                    params,
                    x,
                    t,
                    case.lr,
                    backend=backend,
                    **_keywords(case, "activation", "loss"),
                )
            ),
        }
    ((w, b),) = params
    found = {
        "fc_forward": layers.fc_forward(x, w, b, backend=backend),
        "fc_backward": list(layers.fc_backward(dy, x, w, backend=backend)),
    }
    if len(case.x):
        name = f"{case.method.loss}_loss"
        found[name] = list(getattr(losses, name)(dy, t, backend=backend))
    return found


def expectations(
    arithmetic: str,
    case: Case,
    arrays: Callable[[Any], Any] = lambda values: values,
    *,
    rows_per_block: int | None = None,
) -> Results:
    """What the contract makes of it in an arithmetic, computed on `arrays` of the case's arrays."""
    params, x, t, dy = arrays((case.params, case.x, case.t, case.dy))
    if case.kind == "training":
        return _expected_of_training(arithmetic, case, params, x, t, rows_per_block)

    def rows(a: Any) -> Any:
        return a[0] if case.one_sample else a

    if case.kind == "network":
        y = reference.predict(arithmetic, params, x, case.method)
        found = {"predict": rows(y)}
        if case.stands_for_probabilities:
            found["predict_proba"] = rows(probabilities(y, case.method.loss))
        return found | {
            "sgd_step": list(
                reference.sgd_step(arithmetic, params, x, t, case.method, rows_per_block)
            ),
        }
    ((w, b),) = params
    dw, db, dx = reference.fc_backward(arithmetic, dy, x, w, rows_per_block)
    y = reference.fc_forward(arithmetic, x, w, b)
    found = {"fc_forward": rows(y), "fc_backward": [dw, db, rows(dx)]}
    if len(x):
        of_loss = dy, t, case.method.loss
        loss, gradient = loss_and_gradient(*of_loss, rows_per_block=rows_per_block)
        found[f"{case.method.loss}_loss"] = [loss, rows(gradient)]
    return found


def _trained(backend: Backend, case: Case) -> Results:
    def bring(values: Any) -> Any:
        if isinstance(values, tuple):
            return tuple(map(bring, values))
        return backend.asarray(values, case.dtype)

    params, x, t = bring((case.params, case.x, case.t))
    loop: Loop = backend.training_loop(params, case.method)
    loop.prepare(x, t, case.plan, case.expected_steps)
    segment = loop.run(x, t, case.plan, 0, case.steps)
    diverged_at = segment.diverged_at or 0
    found = {"steps": _numbers(segment.steps, segment.reached, diverged_at), "params": loop.params}
    if diverged_at:
        return found
    found["losses"] = np.asarray(segment.losses)
    if _has_looked(case, segment.steps):
        found["loss"] = _numbers(segment.loss)
    whole = loop.loss(x, t)
    if _is_finite(loop.params, whole):
        plain = laid_out((case.params, case.x, case.t), case.layout)
        found["train"] = _by_train(backend, case, *plain)
    found["loss of the data"] = _numbers(whole)
    found["step"] = [_numbers(loop.step(x, t, segment.steps + 1)), loop.params]
    return found


def _by_train(backend: Backend, case: Case, params: Params, x: Any, t: Any) -> list[Any]:
    """The same run through the public function."""
    plan: Plan = case.plan
    keywords = _keywords(case)
    if keywords.pop("weighted", False):
        t, keywords["sample_weight"] = t[:, :-1], t[:, -1]
    result = train(
        x,
        t,
        params=params,
        lr=case.method.lr,
        batch_size=plan.batch_size,
        max_steps=case.steps,
        tol=plan.tol,
        tol_on=plan.tol_on,
        sampling=plan.sampling,
        seed=plan.seed,
        dtype=case.dtype,
        record_every=plan.record_every,
        progress=False,
        backend=backend,
        **keywords,
    )
    return [result.params, _numbers(result.loss), _numbers(result.steps)]


def _expected_of_training(
    arithmetic: str, case: Case, params: Params, x: Any, t: Any, rows_per_block: int | None
) -> Results:
    of_run = case.method, case.plan, case.steps
    trained = reference.train(arithmetic, params, x, t, *of_run, rows_per_block)
    diverged_at = trained.diverged_at or 0
    found: Results = {
        "steps": _numbers(trained.steps, trained.reached, diverged_at),
        "params": trained.params,
    }
    if diverged_at:
        return found
    found["losses"] = trained.losses
    if _has_looked(case, trained.steps):
        found["loss"] = _numbers(trained.loss)
    of_data = trained.params, x, t, case.method
    whole = float(reference.loss_of(arithmetic, *of_data, rows_per_block))
    if _is_finite(trained.params, whole):
        loss = trained.loss if case.plan.tol_on == "batch" else whole
        found["train"] = [trained.params, _numbers(loss), _numbers(trained.steps)]
    found["loss of the data"] = _numbers(whole)
    state, number = (trained.params, trained.slots), trained.steps + 1
    stepped, _, before = reference.step(
        arithmetic, *state, x, t, case.method, number, rows_per_block
    )
    found["step"] = [_numbers(before), stepped if np.isfinite(before) else trained.params]
    return found


def _keywords(case: Case, *names: str) -> dict[str, Any]:
    """The names of a method, or those of these, that are not what they are by default."""
    chosen = case.method._asdict()
    return {
        name: chosen[name]
        for name, default in Method._field_defaults.items()
        if chosen[name] != default and name in (names or chosen)
    }


def _has_looked(case: Case, steps: int) -> bool:
    return case.plan.tol_on == "batch" or steps >= case.plan.record_every


def _numbers(*values: Any) -> Any:
    return np.array(values, np.float64)


def _is_finite(params: Params, loss: float) -> bool:
    arrays = (as_numpy(array) for pair in params for array in pair)
    return bool(np.isfinite(loss)) and all(np.isfinite(a).all() for a in arrays)
