"""How far sums in any order may lie from the exact result.

n roundings of relative error u each give at most gamma_n = n * u / (1 - n * u) (Higham, "Accuracy
and Stability of Numerical Algorithms", 2002, section 3.1), so that with K terms and a bias

    |y - exact| <= gamma_{K+1} * (|x| |w| + |b|) + underflow.

Underflow loses less than the smallest normal number in each operation, also where subnormal numbers
become zero; that of an operand counts as often as it is multiplied. Exact results come from
Python's integers and fractions.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import as_numpy
from fcbackends.conformance.cases import Case
from fcbackends.conformance.results import Results


class Exact(NamedTuple):
    """An exact result, and how far from it rounded ones may lie, all arrays of fractions."""

    value: NDArray[Any]
    magnitude: NDArray[Any]
    """The sum of all terms' absolute values."""
    roundings: int


def error_shares(case: Case, found: Results) -> dict[str, float]:
    """Each result's largest error as a share of its bound: above 1, the bound does not hold.

    `case` is a layer of finite numbers, and `found` what a backend made of it.
    """
    ((w, b),) = case.params
    operands = (case.x, w, b, case.dy, case.t)
    largest = max([1.0, *(float(np.abs(a).max()) for a in operands if a.size)])
    x, _, _, dy, t = operands
    samples, outputs = dy.shape
    dw, db = _product(x.T, dy), _product(np.ones((1, samples)), dy)
    exact = {
        "fc_forward": [_product(x, w, b)],
        "fc_backward": [dw, db, _product(dy, w.T)],
    }
    if samples and case.method.loss == "mean_squared":
        d = _fractions(dy) - _fractions(t)
        loss = np.array(sum((d * d).ravel(), Fraction(0)) / samples, object)
        gradient = d * Fraction(2, samples)
        exact["mean_squared_loss"] = [
            Exact(loss, loss, samples * outputs + 4),
            Exact(gradient, abs(gradient), 3),
        ]
    shares = {}
    for name, wanted in exact.items():
        got = found[name] if isinstance(found[name], list) else [found[name]]
        pairs = zip(map(as_numpy, got), wanted, strict=True)
        shares[name] = max(_share(values, want, case.dtype, largest) for values, want in pairs)
    return shares


def _share(values: NDArray[Any], exact: Exact, dtype: str, largest: float) -> float:
    limits = np.finfo(dtype)
    rounding = Fraction(float(limits.eps)) / 2
    gamma = exact.roundings * rounding / (1 - exact.roundings * rounding)
    underflow = Fraction(float(limits.smallest_normal)) * Fraction(largest) * (exact.roundings + 1)
    if not np.isfinite(values).all():
        return float("inf")
    errors = abs(_fractions(values.reshape(exact.value.shape)) - exact.value)
    shares = errors / (gamma * exact.magnitude + underflow)
    return max(map(float, np.asarray(shares, object).ravel()), default=0.0)


def _product(a: NDArray[Any], b: NDArray[Any], bias: NDArray[Any] | float = 0.0) -> Exact:
    """The exact a @ b + bias. With integers a case takes a quarter of the time."""
    terms, zero = a.shape[1], np.full((a.shape[0], b.shape[1]), Fraction(0), object)
    bias = _fractions(np.asarray(bias))
    if terms == 0:
        return Exact(zero + bias, zero + abs(bias), 1)
    (a_integers, a_unit), (b_integers, b_unit) = _integers(a), _integers(b)
    unit = a_unit * b_unit
    return Exact(
        zero + a_integers @ b_integers * unit + bias,
        zero + abs(a_integers) @ abs(b_integers) * unit + abs(bias),
        terms + 1,
    )


def _integers(a: NDArray[Any]) -> tuple[NDArray[Any], Fraction]:
    """The values as multiples of one power of two."""
    mantissas, exponents = np.frexp(a.astype(np.float64))
    lowest = int(exponents.min(initial=0))
    digits = (mantissas * 2.0**53).astype(np.int64).astype(object)
    shifts = (exponents - lowest).astype(object)
    return digits << shifts, Fraction(2) ** (lowest - 53)


def _fractions(a: NDArray[Any]) -> NDArray[Any]:
    return np.array([Fraction(float(v)) for v in a.ravel()], object).reshape(a.shape)
