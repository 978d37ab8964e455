"""The contract, written a second time: what every backend is held against.

All ordered sums are cumulative ones of NumPy, which add in ascending order by definition, and fused
ones the C library's: a backend of the array-API code, NumPy's among them, is not compared with
itself. The functions take the name of an arithmetic, and then take and give what a backend's do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.loop import Plan
from fcbackends.kernels.libm import c_fma
from fcbackends.maths.network import Method, Params
from fcbackends.maths.sampling import draw_indices

Floats = NDArray[Any]


def _sum(terms: Floats) -> Floats:
    """The sum over the first axis."""
    if len(terms) == 0:
        return np.zeros(terms.shape[1:], terms.dtype)
    return np.add.accumulate(terms)[-1, ...]


def _ordered(a: Floats, b: Floats) -> Floats:
    return _sum(a.T[:, :, None] * b[:, None, :])


def _fused(a: Floats, b: Floats) -> Floats:
    if len(b) == 0:
        return _ordered(a, b)
    fma, total = c_fma(a.dtype.name), a[:, :1] * b[:1]
    for k in range(1, len(b)):
        total = fma(a[:, k : k + 1], b[k], total)
    return total


_PRODUCTS = {"ordered": _ordered, "fused": _fused}


def fc_forward(arithmetic: str, x: Floats, w: Floats, b: Floats) -> Floats:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return _PRODUCTS[arithmetic](x, w) + b


def fc_backward(arithmetic: str, dy: Floats, x: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
    """dw, db and dx."""
    product = _PRODUCTS[arithmetic]
    return product(x.T, dy), _sum(dy), product(dy, w.T)


def mean_squared_loss(y: Floats, t: Floats) -> tuple[Floats, Floats]:
    """The loss and its gradient."""
    d = y - t
    mean, twice = d.dtype.type(1 / len(d)), d.dtype.type(2 / len(d))
    return _sum(_sum((d * d).T)) * mean, d * twice


def _where(condition: Floats, one: Any, other: Any) -> Floats:
    # NumPy's own makes plain arrays of those that flush.
    return np.where(condition, one, other).view(type(condition))


def _relu(a: Floats) -> Floats:
    return _where(a < 0, a.dtype.type(0), a)


def _relu_backward(dh: Floats, h: Floats) -> Floats:
    return _where(h > 0, dh, dh.dtype.type(0))


def _sgd(p: Floats, dp: Floats, method: Method) -> Floats:
    return p - p.dtype.type(method.lr) * dp


_ACTIVATIONS = {"relu": (_relu, _relu_backward)}
_LOSSES = {"mean_squared": mean_squared_loss}
_OPTIMIZERS = {"sgd": _sgd}


def _inputs(arithmetic: str, params: Params, x: Floats, method: Method) -> list[Floats]:
    """What goes into each layer."""
    activate, _ = _ACTIVATIONS[method.activation]
    inputs = [x]
    for w, b in params[:-1]:
        inputs.append(activate(fc_forward(arithmetic, inputs[-1], w, b)))
    return inputs


def predict(arithmetic: str, params: Params, x: Floats, method: Method) -> Floats:
    """The network's output."""
    return fc_forward(arithmetic, _inputs(arithmetic, params, x, method)[-1], *params[-1])


def loss_of(arithmetic: str, params: Params, x: Floats, t: Floats, method: Method) -> Floats:
    """The loss of the network's output."""
    return _LOSSES[method.loss](predict(arithmetic, params, x, method), t)[0]


def sgd_step(
    arithmetic: str, params: Params, x: Floats, t: Floats, method: Method
) -> tuple[Params, Floats]:
    """The parameters after one step, and the loss before it."""
    _, activation_backward = _ACTIVATIONS[method.activation]
    moved = _OPTIMIZERS[method.optimizer]
    inputs = _inputs(arithmetic, params, x, method)
    y = fc_forward(arithmetic, inputs[-1], *params[-1])
    loss, dy = _LOSSES[method.loss](y, t)
    stepped = []
    for h, (w, b) in zip(reversed(inputs), reversed(params), strict=True):
        dw, db, dx = fc_backward(arithmetic, dy, h, w)
        stepped.append((moved(w, dw, method), moved(b, db, method)))
        dy = activation_backward(dx, h)
    return tuple(reversed(stepped)), loss


class Trained(NamedTuple):
    """Where a training loop has come to; see `fcbackends.backends.loop.Segment`."""

    params: Params
    steps: int
    loss: float
    losses: Floats
    reached: bool
    diverged_at: int | None


def train(
    arithmetic: str,
    params: Params,
    x: Floats,
    t: Floats,
    method: Method,
    plan: Plan,
    steps: int,
) -> Trained:
    """The first `steps` steps of a plan, or fewer where it stops them."""
    indices = draw_indices(len(x), 0, steps, plan.batch_size, plan.sampling, plan.seed)
    losses: list[float] = []
    watched = math.nan

    def trained(taken: int, *, reached: bool = False, diverged_at: int | None = None) -> Trained:
        return Trained(params, taken, watched, np.array(losses), reached, diverged_at)

    for step, rows in enumerate(indices, start=1):
        stepped, loss = sgd_step(arithmetic, params, x[rows], t[rows], method)
        if not np.isfinite(loss):
            return trained(step - 1, diverged_at=step)
        params = stepped
        look = step % plan.record_every == 0
        if plan.tol_on == "batch":
            watched = float(loss)
        elif look:
            watched = float(loss_of(arithmetic, params, x, t, method))
            if not math.isfinite(watched):
                return trained(step, diverged_at=step)
        if look:
            losses.append(watched)
        known = look or plan.tol_on == "batch"
        if known and plan.tol is not None and watched <= plan.tol:
            return trained(step, reached=True)
    return trained(steps)


class Flushing(np.ndarray[Any, Any]):
    """An array whose subnormal numbers are zeros to whatever computes with it, and makes it.

    With it the functions above give what a CPU or library gives that flushes to zero.
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute, with subnormal operands and results replaced by zeros of their signs."""
        if method == "accumulate":
            # The first term is taken as it is: no operation, no flush.
            sums = [np.asarray(inputs[0])[0]]
            for term in np.asarray(inputs[0])[1:]:
                sums.append(_flushed(ufunc(_flushed(sums[-1]), _flushed(term))))
            return np.array(sums).view(Flushing)
        operands = [_flushed(np.asarray(a)) for a in inputs]
        result = getattr(ufunc, method)(*operands, **options)
        if result.dtype == object:  # of the C library's function
            result = result.astype(operands[0].dtype)
        return _flushed(result).view(Flushing)


def _flushed(a: Any) -> Any:
    a = np.asarray(a)
    if a.dtype.kind != "f":
        return a
    return np.where(abs(a) < np.finfo(a.dtype).smallest_normal, np.copysign(a.dtype.type(0), a), a)


def flushing(values: Any) -> Any:
    """The arrays of nested tuples, as ones that flush."""
    if isinstance(values, tuple | list):
        return tuple(map(flushing, values))
    return values.view(Flushing)
