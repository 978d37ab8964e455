"""Backends over the oracle's functions: right ones, and ones that break the contract in one way."""

import dataclasses
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

import fcbackends as fcb
from fcbackends.maths.arithmetic import ordered
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import Rule
from tests import loss_oracle
from tests.fused_oracle import fused
from tests.oracle import clipped, constant, descended, fast, network_of

LAYER_OPS = ("forward", "loss", "loss_and_gradient", "backward", "relu", "relu_backward", "descend")


def broken(**changes):
    ops = {name: getattr(fast, name) for name in LAYER_OPS}
    return network_of(SimpleNamespace(**{**ops, **changes}))


def joined_in_one(total, a, b):
    """total + a * b with one rounding."""
    plain = total + a * b
    if not np.isfinite([total, a, b]).all():
        return plain
    try:
        exact = Fraction(float(total)) + Fraction(float(a)) * Fraction(float(b))
        return total.dtype.type(float(exact)) if exact else plain
    except OverflowError:
        return plain


def contracted_forward(x, w, b):
    """Fused multiply-add: the product is not rounded on its own."""
    y = fast.forward(x[:, :1], w[:1], np.full_like(b, -0.0))
    for k in range(1, x.shape[1]):
        for n, m in np.ndindex(y.shape):
            y[n, m] = joined_in_one(y[n, m], x[n, k], w[k, m])
    return y + b


def _fused_by(join, x, w, b):
    y = fast.forward(x[:, :1], w[:1], np.full_like(b, -0.0))
    for k in range(1, x.shape[1]):
        y = join(x[:, k, None], w[k], y)
    return y + b


def twice_rounded_forward(x, w, b):
    """float32's fused multiply-add through float64, and no more care."""
    wide = np.float64

    def join(a, b, c):
        return (a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(c.dtype)

    return fused.forward(x, w, b) if x.dtype == wide else _fused_by(join, x, w, b)


def reversed_fused_forward(x, w, b):
    return fused.forward(x[:, ::-1], w[::-1], b)


def fused_from_zero_forward(x, w, b):
    """The first term, too, is added: to +0.0."""
    first = np.zeros((len(x), 1), x.dtype), np.zeros((1, w.shape[1]), w.dtype)
    return fused.forward(np.hstack([first[0], x]), np.vstack([first[1], w]), b)


def fused_bias_first_forward(x, w, b):
    one = np.ones((len(x), 1), x.dtype)
    return fused.forward(np.hstack([one, x]), np.vstack([b, w]), np.full_like(b, -0.0))


def reversed_forward(x, w, b):
    return fast.forward(x[:, ::-1], w[::-1], b)


def bias_first_forward(x, w, b):
    total = np.broadcast_to(b, (len(x), len(b)))
    for k in range(x.shape[1]):
        total = total + x[:, k, None] * w[k]
    return total


def widened_forward(x, w, b):
    """Extended precision inside the sum."""
    return fast.forward(*(a.astype(np.longdouble) for a in (x, w, b))).astype(x.dtype)


def pairwise_sums_backward(dy, x, w):
    dw, _, dx = fast.backward(dy, x, w)
    return dw, np.sum(dy.T.copy(), axis=1), dx  # pairwise along the contiguous axis


def reversed_backward(dy, x, w):
    dw, db, _ = fast.backward(dy[::-1], x[::-1], w)
    return dw, db, fast.backward(dy, x, w)[2]


def flat_loss(y, t):
    """One sum over all values, not a sum of each sample's sum."""
    d = y - t
    total = None
    for square in (d * d).reshape(-1):
        total = square if total is None else total + square
    return total * constant(1 / len(y), y.dtype), fast.loss(y, t)[1]


def dividing_loss(y, t):
    total = fast.loss(y, t)[0] / constant(1 / len(y), y.dtype)
    return total / y.dtype.type(len(y)), (y - t) * y.dtype.type(2) / y.dtype.type(len(y))


def matmul_forward(x, w, b):
    return x @ w + b


def sum_from_zero_forward(x, w, b):
    return fast.forward(x, w, b) + 0.0


def maximum(a):
    return np.maximum(a, 0.0) + 0.0


def masked_gradient(dy, a):
    return dy * (a > 0)


def unrounded_rate(p, g, lr):
    """The product with a float64 rate, rounded once."""
    return (p - (lr * g.astype(np.float64)).astype(p.dtype)).astype(p.dtype)


def wide_descent(p, g, lr):
    return (p.astype(np.float64) - lr * g.astype(np.float64)).astype(p.dtype)


def flushed(a):
    """Subnormal numbers as zeros of their signs."""
    return np.where(abs(a) < np.finfo(a.dtype).smallest_normal, a * a.dtype.type(0), a)


def backend_of(ops, name="of the oracle", arithmetic="ordered", **changes):
    """A backend that computes with these functions, some of them changed."""
    ops = {"clipped": clipped, "descended": descended, **{n: getattr(ops, n) for n in LAYER_OPS}}
    ops = network_of(SimpleNamespace(**{**ops, **changes}))

    def sgd_step(params, x, t, method):
        form = method.form
        of_loss = form.loss, form.weighted
        return fcb.StepResult(*ops.sgd_step(params, x, t, method.lr, form.activation, *of_loss))

    def step(state, x, t, form, constants):
        if form.rule == Rule():
            how = form.activation, form.loss, form.weighted
            params, loss = ops.sgd_step(state.params, x, t, constants[0], *how)
            return State(params), loss
        loss, gradients = ops.gradients(
            state.params, x, t, form.activation, form.loss, form.weighted
        )
        if form.rule.clipped:
            *constants, most = constants
            gradients = ops.clipped(gradients, most)
        return State(*ops.descended(form.rule, state, gradients, constants)), loss

    def loss_of(params, x, t, form):
        y = ops.predict(params, x, form.activation)
        if form.loss == "mean_squared" and not form.weighted:
            return ops.loss(y, t)[0]
        return ops.loss_and_gradient(y, t, form.loss, form.weighted)[0]

    def training_loop(params, method):
        return fcb.StepLoop(ordered(np), params, method, step=step, loss_of=loss_of)

    return dataclasses.replace(
        fcb.get_backend("numpy"),
        name=name,
        arithmetic=arithmetic,
        fc_forward=ops.forward,
        fc_backward=lambda dy, x, w: fcb.FCGradients(*ops.backward(dy, x, w)),
        mean_squared_loss=lambda y, t: fcb.LossAndGradient(*ops.loss(y, t)),
        loss_and_gradient=lambda *how: fcb.LossAndGradient(*ops.loss_and_gradient(*how)),
        probabilities=loss_oracle.probabilities,
        predict=ops.predict,
        sgd_step=sgd_step,
        training_loop=training_loop,
    )
