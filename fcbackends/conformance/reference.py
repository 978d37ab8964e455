"""The contract, written a second time: what every backend is held against.

All ordered sums are cumulative ones of NumPy, which add in ascending order by definition, and fused
ones the C library's: a backend of the array-API code, NumPy's among them, is not compared with
itself. The functions take the name of an arithmetic, and then take and give what a backend's do.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.loop import Plan
from fcbackends.conformance import elementary
from fcbackends.conformance.elementary import where
from fcbackends.conformance.losses import in_blocks, loss_and_gradient, total
from fcbackends.kernels.libm import c_fma
from fcbackends.maths.network import Method, Params
from fcbackends.maths.optimizers import SGD
from fcbackends.maths.sampling import draw_indices
from fcbackends.maths.schedules import ConstantRate, CosineRate, Rate

Floats = NDArray[Any]
Kept = tuple[Floats, ...]
"""What an optimizer keeps beside a parameter: nothing before its first step."""
Slots = tuple[tuple[Kept, Kept], ...]
"""The same of w and b, a layer each."""


def _ordered(a: Floats, b: Floats) -> Floats:
    return total(a.T[:, :, None] * b[:, None, :])


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


def fc_backward(
    arithmetic: str, dy: Floats, x: Floats, w: Floats, rows_per_block: int | None = None
) -> tuple[Floats, Floats, Floats]:
    """dw, db and dx."""
    product = _PRODUCTS[arithmetic]
    dw = in_blocks(lambda x, dy: product(x.T, dy), rows_per_block, x, dy)
    return dw, in_blocks(total, rows_per_block, dy), product(dy, w.T)


def _relu(a: Floats) -> Floats:
    return where(a < 0, a.dtype.type(0), a)


def _relu_backward(dh: Floats, h: Floats) -> Floats:
    return where(h > 0, dh, dh.dtype.type(0))


def _leaky_relu(a: Floats) -> Floats:
    return where(a >= 0, a, a.dtype.type(0.01) * a)


def _leaky_relu_backward(dh: Floats, h: Floats) -> Floats:
    return where(h > 0, dh, dh.dtype.type(0.01) * dh)


def _tanh(a: Floats) -> Floats:
    return elementary.tanh(a.astype(np.float64)).astype(a.dtype)


def _tanh_backward(dh: Floats, h: Floats) -> Floats:
    return dh * (h.dtype.type(1) - h * h)


def _sigmoid(a: Floats) -> Floats:
    return elementary.sigmoid(a.astype(np.float64)).astype(a.dtype)


def _sigmoid_backward(dh: Floats, h: Floats) -> Floats:
    return dh * (h * (h.dtype.type(1) - h))


_SINE = [
    float.fromhex(digits)
    for digits in (
        *("0x1.921fb54442d18p+0", "-0x1.4abbce625be52p-1", "0x1.466bc6775aa7dp-4"),
        *("-0x1.32d2cce627c86p-8", "0x1.5078348551854p-13", "-0x1.e3074dfaf87afp-19"),
        *("0x1.e8f3675ee37ddp-25", "-0x1.6f7acdb8f6580p-31", "0x1.9d462020fcc78p-38"),
    )
]


def rate(lr: Rate, number: int) -> float:
    """The learning rate of the step of this number."""
    if isinstance(lr, float | int):
        return float(lr)
    if number <= lr.warmup:
        return lr.lr * (number / lr.warmup)
    n = number - 1 - lr.warmup
    if isinstance(lr, ConstantRate):
        return lr.lr
    if isinstance(lr, CosineRate):
        length = lr.steps - lr.warmup
        y = max(length - n, 0) / length
        sine = y * functools.reduce(lambda total, c: total * (y * y) + c, reversed(_SINE))
        return lr.lr * (sine * sine) + lr.end * (1 - sine * sine)
    power, square = 1.0, lr.factor
    for digit in reversed(f"{n // getattr(lr, 'every', 1):b}"):
        power, square = power * square if digit == "1" else power, square * square
    return lr.lr * power


def _sgd(
    optimizer: Any, p: Floats, g: Floats, kept: Kept, lr: float, number: int
) -> tuple[Floats, Kept]:
    real = p.dtype.type
    momentum = real(optimizer.momentum)
    if optimizer.momentum:
        a = momentum * (kept[0] if kept else np.zeros_like(p)) + g
        g, kept = g + momentum * a if optimizer.nesterov else a, (a,)
    return p - real(lr) * g, kept


def _adam(
    optimizer: Any, p: Floats, g: Floats, kept: Kept, lr: float, number: int
) -> tuple[Floats, Kept]:
    real = p.dtype.type
    m, v = kept or (np.zeros_like(p), np.zeros_like(p))
    m = real(optimizer.beta1) * m + real(1 - optimizer.beta1) * g
    v = real(optimizer.beta2) * v + real(1 - optimizer.beta2) * (g * g)
    c1, c2 = (
        1 - math.prod(itertools.repeat(beta, number), start=1.0)
        for beta in (optimizer.beta1, optimizer.beta2)
    )
    d = real(1 / math.sqrt(c2)) * np.sqrt(v) + real(optimizer.eps)
    return p - real(lr * (1 / c1)) * (m * (real(1) / d)), (m, v)


def _moved(
    method: Method, p: Floats, dp: Floats, kept: Kept, number: int, *, is_bias: bool
) -> tuple[Floats, Kept]:
    optimizer, lr = method.optimizer, rate(method.lr, number)
    way = _sgd if isinstance(optimizer, SGD) else _adam
    decay = optimizer.weight_decay if optimizer.decay_bias or not is_bias else 0
    if decay and getattr(optimizer, "decoupled", False):
        p = p - p.dtype.type(lr * decay) * p
    elif decay:
        dp = dp + p.dtype.type(decay) * p
    return way(optimizer, p, dp, kept, lr, number)


_ACTIVATIONS = {
    "relu": (_relu, _relu_backward),
    "leaky_relu": (_leaky_relu, _leaky_relu_backward),
    "tanh": (_tanh, _tanh_backward),
    "sigmoid": (_sigmoid, _sigmoid_backward),
    "identity": (lambda a: a, lambda dh, h: dh),
}


def _inputs(arithmetic: str, params: Params, x: Floats, method: Method) -> list[Floats]:
    """What goes into each layer."""
    inputs = [x]
    for (activate, _), (w, b) in zip(_activations(params, method), params[:-1], strict=True):
        inputs.append(activate(fc_forward(arithmetic, inputs[-1], w, b)))
    return inputs


def _activations(params: Params, method: Method) -> list[tuple[Any, Any]]:
    """Each hidden layer's activation and its gradient."""
    name = method.activation
    names = [name] * (len(params) - 1) if isinstance(name, str) else name
    return [_ACTIVATIONS[name] for name in names]


def predict(arithmetic: str, params: Params, x: Floats, method: Method) -> Floats:
    """The network's output."""
    return fc_forward(arithmetic, _inputs(arithmetic, params, x, method)[-1], *params[-1])


def loss_of(
    arithmetic: str,
    params: Params,
    x: Floats,
    t: Floats,
    method: Method,
    rows_per_block: int | None = None,
) -> Floats:
    """The loss of the network's output."""
    y = predict(arithmetic, params, x, method)
    return _lost(y, t, method, rows_per_block)[0]


def _lost(
    y: Floats, t: Floats, method: Method, rows_per_block: int | None
) -> tuple[Floats, Floats]:
    """The loss of an output, and its gradient."""
    return loss_and_gradient(
        y, t, method.loss, weighted=method.weighted, rows_per_block=rows_per_block
    )


def sgd_step(
    arithmetic: str,
    params: Params,
    x: Floats,
    t: Floats,
    method: Method,
    rows_per_block: int | None = None,
) -> tuple[Params, Floats]:
    """The parameters after one step of plain SGD, and the loss before it."""
    plain = method._replace(optimizer=SGD())
    start = params, _no_slots(params)
    params, _, loss = step(arithmetic, *start, x, t, plain, 1, rows_per_block)
    return params, loss


def _no_slots(params: Params) -> Slots:
    return tuple(((), ()) for _ in params)


def step(
    arithmetic: str,
    params: Params,
    slots: Slots,
    x: Floats,
    t: Floats,
    method: Method,
    number: int,
    rows_per_block: int | None = None,
) -> tuple[Params, Slots, Floats]:
    """Parameters and slots after the step of this number, and the loss before it."""
    inputs = _inputs(arithmetic, params, x, method)
    y = fc_forward(arithmetic, inputs[-1], *params[-1])
    loss, dy = _lost(y, t, method, rows_per_block)
    gradients: list[tuple[Floats, Floats]] = []
    activations = [_ACTIVATIONS["identity"], *_activations(params, method)]
    for (_, before), h, (w, _) in reversed(list(zip(activations, inputs, params, strict=True))):
        dw, db, dx = fc_backward(arithmetic, dy, h, w, rows_per_block)
        gradients.insert(0, (dw, db))
        dy = before(dx, h)
    scale = _scale(gradients, method.clip_norm)
    stepped, kept = [], []
    for (w, b), (dw, db), (of_w, of_b) in zip(params, gradients, slots, strict=True):
        new_w, of_w = _moved(method, w, dw * scale, of_w, number, is_bias=False)
        new_b, of_b = _moved(method, b, db * scale, of_b, number, is_bias=True)
        stepped.append((new_w, new_b))
        kept.append((of_w, of_b))
    return tuple(stepped), tuple(kept), loss


def _scale(gradients: list[tuple[Floats, Floats]], clip_norm: float | None) -> Floats:
    """What the gradient is multiplied by."""
    kind, real = type(gradients[0][0]), gradients[0][0].dtype.type
    one = np.ones((), real).view(kind)
    if clip_norm is None:
        return one
    layers = [np.concatenate([dw, db[None]]).view(kind) for dw, db in gradients]
    squares = np.array([total(total(rows * rows)) for rows in layers]).view(kind)
    norm = np.sqrt(total(squares))
    return one if norm <= real(clip_norm) else real(clip_norm) * (real(1) / norm)


class Trained(NamedTuple):
    """Where a training loop has come to; see `fcbackends.backends.loop.Segment`."""

    params: Params
    slots: Slots
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
    rows_per_block: int | None = None,
) -> Trained:
    """The first `steps` steps of a plan, or fewer where it stops them."""
    indices = draw_indices(len(x), 0, steps, plan.batch_size, plan.sampling, plan.seed)
    losses: list[float] = []
    watched = math.nan
    slots = _no_slots(params)

    def trained(taken: int, *, reached: bool = False, diverged_at: int | None = None) -> Trained:
        return Trained(params, slots, taken, watched, np.array(losses), reached, diverged_at)

    for number, rows in enumerate(indices, start=1):
        batch = x[rows], t[rows]
        stepped, kept, loss = step(
            arithmetic, params, slots, *batch, method, number, rows_per_block
        )
        if not np.isfinite(loss):
            return trained(number - 1, diverged_at=number)
        params, slots = stepped, kept
        look = number % plan.record_every == 0
        if plan.tol_on == "batch":
            watched = float(loss)
        elif look:
            watched = float(loss_of(arithmetic, params, x, t, method, rows_per_block))
            if not math.isfinite(watched):
                return trained(number, diverged_at=number)
        if look:
            losses.append(watched)
        known = look or plan.tol_on == "batch"
        if known and plan.tol is not None and watched <= plan.tol:
            return trained(number, reached=True)
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
