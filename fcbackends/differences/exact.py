"""The exact value of one element of an operation, of its inputs as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from fcbackends.differences.operations import Floats, Operation
from fcbackends.maths.activations import LEAKY_SLOPE
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method
from fcbackends.maths.optimizers import Constants, moved

_DIGITS = 120
"""Of what is no fraction."""


def exact_value(
    operation: Operation,
    output: str,
    element: tuple[int, ...],
    inputs: Sequence[Floats],
    method: Method,
    constants: Constants,
) -> Fraction | None:
    """The element of this output, exactly, or to so many digits; None where it is no number.

    Constants are as they were before they were rounded.
    """
    way = operation.name.partition(" ")[0]
    try:
        if way == "forward" and operation.part.startswith("product"):
            (n, m), (x, w, b) = element, inputs
            return _dot(x[n], w[:, m]) + _fraction(b[m])
        if way == "forward":
            return _activated(operation.part.partition(" ")[2], _fraction(inputs[0][element]))
        if way == "loss":
            return _loss(operation.part, element, inputs[0], inputs[1], method)
        if way == "dw":
            return _dot(inputs[1][:, element[0]], inputs[0][:, element[1]])
        if way == "db":
            return sum(map(_fraction, inputs[0][:, element[0]]), Fraction(0))
        if way == "dx" and operation.part == "product":
            return _dot(inputs[0][element[0]], inputs[1][element[1]])
        if way == "dx":
            dh, h = (_fraction(array[element]) for array in inputs)
            return dh * _slope(operation.part.rpartition(" ")[2], h)
        if way == "update":
            return _moved(operation, output, element, inputs, method, constants)
    except (OverflowError, ValueError, ZeroDivisionError):
        pass
    return None


def errors_in_ulps(exact: Fraction, values: Sequence[Any]) -> tuple[float, ...]:
    """How far each value is from the exact one, in units of the last place of what is nearest."""
    kind = np.asarray(values[0]).dtype.type
    unit = Fraction(float(_unit(exact, kind)))
    return tuple(
        float((_fraction(value) - exact) / unit) if np.isfinite(value) else math.nan
        for value in values
    )


def _unit(exact: Fraction, kind: Any) -> Any:
    limits = np.finfo(kind)
    size = abs(exact)
    if size < Fraction(float(limits.smallest_normal)):
        return limits.smallest_subnormal
    if size >= Fraction(float(limits.max)):
        return np.spacing(limits.max)
    return np.spacing(abs(kind(float(exact))))


def _fraction(value: Any) -> Fraction:
    return Fraction(float(value))


def _dot(a: Floats, b: Floats) -> Fraction:
    return sum((_fraction(p) * _fraction(q) for p, q in zip(a, b, strict=True)), Fraction(0))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _exp(value: Fraction) -> Fraction:
    with localcontext(prec=_DIGITS):
        return Fraction(_decimal(value).exp())


def _log(value: Fraction) -> Fraction:
    with localcontext(prec=_DIGITS):
        return Fraction(_decimal(value).ln())


def _root(value: Fraction) -> Fraction:
    with localcontext(prec=_DIGITS):
        return Fraction(_decimal(value).sqrt())


def _sigmoid(a: Fraction) -> Fraction:
    return 1 / (1 + _exp(-a))


def _activated(name: str, a: Fraction) -> Fraction:
    if name == "relu":
        return max(a, Fraction(0))
    if name == "leaky_relu":
        return a if a >= 0 else Fraction(LEAKY_SLOPE) * a
    if name == "tanh":
        return 2 * _sigmoid(2 * a) - 1
    return _sigmoid(a) if name == "sigmoid" else a


def _slope(name: str, h: Fraction) -> Fraction:
    return {
        "relu": Fraction(h > 0),
        "leaky_relu": Fraction(1) if h > 0 else Fraction(LEAKY_SLOPE),
        "tanh": 1 - h * h,
        "sigmoid": h * (1 - h),
        "identity": Fraction(1),
    }[name]


def _loss(part: str, element: tuple[int, ...], y: Floats, t: Floats, method: Method) -> Fraction:
    samples, outputs = y.shape
    if part == "gradient":
        n, m = element
        weight = _fraction(t[n, outputs]) if method.weighted else Fraction(1)
        factor = Fraction(LOSSES[method.loss].factor)
        return _of_sample(method.loss, y[n], t[n, :outputs])[1][m] * factor * weight / samples
    total = Fraction(0)
    for n in range(samples):
        weight = _fraction(t[n, outputs]) if method.weighted else Fraction(1)
        total += weight * _of_sample(method.loss, y[n], t[n, :outputs])[0]
    return total / samples


def _of_sample(loss: str, y: Floats, t: Floats) -> tuple[Fraction, list[Fraction]]:
    """The loss of one sample, and its gradient but for the factor."""
    own, targets = list(map(_fraction, y)), list(map(_fraction, t))
    pairs = list(zip(own, targets, strict=True))
    if loss == "cross_entropy":
        most = max(own)
        powers = [_exp(a - most) for a in own]
        total = sum(powers, Fraction(0))
        of_targets = sum((b * (a - most) for a, b in pairs), Fraction(0))
        gradient = [power / total - b for power, b in zip(powers, targets, strict=True)]
        return _log(total) - of_targets, gradient
    if loss == "binary_cross_entropy":
        terms = [max(a, Fraction(0)) - b * a + _log(1 + _exp(-abs(a))) for a, b in pairs]
        return sum(terms, Fraction(0)), [_sigmoid(a) - b for a, b in pairs]
    d = [a - b for a, b in pairs]
    if loss == "huber":
        one = Fraction(1)
        terms = [v * v / 2 if abs(v) <= 1 else abs(v) - one / 2 for v in d]
        return sum(terms, Fraction(0)), [min(max(v, -one), one) for v in d]
    return sum((v * v for v in d), Fraction(0)), d


def _moved(
    operation: Operation,
    output: str,
    element: tuple[int, ...],
    inputs: Sequence[Floats],
    method: Method,
    constants: Constants,
) -> Fraction:
    p, dp, *kept = (_fraction(array[element]) for array in inputs)
    own = tuple(Fraction(float(value)) for value in constants)
    if method.clip_norm is not None:
        own = own[:-1]
    exactly: Any = SimpleNamespace(
        xp=SimpleNamespace(reciprocal=lambda value: 1 / value), sqrt=_root
    )
    is_bias = operation.inputs[0].startswith("b")
    new, slots = moved(exactly, method.optimizer.rule, p, dp, kept, own, is_bias=is_bias)
    return [new, *slots][operation.outputs.index(output)]
