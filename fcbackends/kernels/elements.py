"""How weights move down their gradient, row by row."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

from fcbackends.kernels.jit import inlined
from fcbackends.kernels.vectors import alike, constant, sqrt

SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}
"""How many numbers each update keeps beside a parameter."""

DECAYS = {"none": 0, "coupled": 1, "decoupled": 2}

Rule: TypeAlias = "tuple[str, str, bool, bool, bool]"
"""The names of an update and of a decay, and whether biases decay, each step has a rate of its own
and the gradient's norm is bounded."""

PLAIN: Rule = "sgd", "none", True, False, False
"""The rule of plain SGD."""

MOST_CONSTANTS = 8
"""So many numbers an update may need. After them stands the largest norm, where there is one."""

_, _COUPLED, _DECOUPLED = DECAYS.values()

_SETTLED = 2.0**-54
"""1 - p is 1 for this p, and for any smaller one."""


@inlined
def is_finite(value):
    """Whether a number is neither infinite nor NaN."""
    return value - value == 0


# --- updates -------------------------------------------------------------------------------------


@inlined
def scale_to(most, squares):
    """What a gradient is multiplied by, whose norm is to be `most`, by the sum of its squares."""
    norm = sqrt(squares)
    return constant(1.0, most) if norm <= most else most * (constant(1.0, most) / norm)


@inlined
def decay(way, memory, at, gradient, constants):
    """Let the parameters from `at` on decay, by themselves or through their gradient."""
    weights, share = alike(memory, at, gradient), constants[1]
    if way == _COUPLED:
        for i in range(weights.shape[0]):
            gradient[i] += share * weights[i]
    elif way == _DECOUPLED:
        for i in range(weights.shape[0]):
            weights[i] -= share * weights[i]


@inlined
def _sgd(weights, gradient, constants):
    lr = constants[0]
    for i in range(weights.shape[0]):
        weights[i] -= lr * gradient[i]


@inlined
def _momentum(weights, kept, gradient, constants):
    lr, momentum = constants[0], constants[2]
    for i in range(weights.shape[0]):
        moved = momentum * kept[i] + gradient[i]
        kept[i] = moved
        weights[i] -= lr * moved


@inlined
def _nesterov(weights, kept, gradient, constants):
    lr, momentum = constants[0], constants[2]
    for i in range(weights.shape[0]):
        moved = momentum * kept[i] + gradient[i]
        kept[i] = moved
        weights[i] -= lr * (gradient[i] + momentum * moved)


@inlined
def _adam(weights, first, second, gradient, constants):
    rate, scale, eps = constants[0], constants[2], constants[7]
    beta1, rest1, beta2, rest2 = constants[3], constants[4], constants[5], constants[6]
    one = constants.dtype.type(1)
    for i in range(weights.shape[0]):
        g = gradient[i]
        m = beta1 * first[i] + rest1 * g
        v = beta2 * second[i] + rest2 * (g * g)
        first[i] = m
        second[i] = v
        weights[i] -= rate * (m * (one / (scale * sqrt(v) + eps)))


_UPDATES = {"sgd": _sgd, "momentum": _momentum, "nesterov": _nesterov, "adam": _adam}


def moving(rule: Rule, *, is_bias: bool = False) -> Any:
    """The way to move the parameters from `at` on down their gradient, by a rule.

    What the optimizer keeps beside each parameter stands at `distance` from it, and at twice that,
    and so on.
    """
    update, way, decays_bias, *_ = rule
    return _moving(update, DECAYS[way] if decays_bias or not is_bias else 0)


def suffix(rule: Rule) -> str:
    """What a kernel's name says of its rule."""
    update, way, decays_bias, scheduled, clipped = rule
    descent = () if rule[:3] == PLAIN[:3] else (update, way, "all" if decays_bias else "weights")
    more = *["scheduled"] * scheduled, *["clipped"] * clipped
    return "_".join(("", *descent, *more))


@functools.cache
def _moving(name: str, way: int) -> Any:
    decays, slots, update = way != 0, SLOTS[name], _UPDATES[name]

    @inlined
    def move(memory, at, gradient, constants, distance):
        weights = alike(memory, at, gradient)
        if decays:
            decay(way, memory, at, gradient, constants)
        if slots == 0:
            update(weights, gradient, constants)
        elif slots == 1:
            update(weights, alike(memory, at + distance, gradient), gradient, constants)
        else:
            second = alike(memory, at + 2 * distance, gradient)
            update(weights, alike(memory, at + distance, gradient), second, gradient, constants)

    return move


# --- constants of a step -------------------------------------------------------------------------

# They depend on the learning rate, two betas and the weight decay, which come as a row of float64,
# the pace. Where a rule is scheduled, the rate of each step of a run follows there.
RATES = 4
"""Where they begin."""


@inlined
def next_power(power, beta):
    """The next power of beta, where 1 less it is not 1 for good."""
    return power * beta if power > _SETTLED else power


@inlined
def powers_after(pace, steps):
    """Both betas' powers after so many steps."""
    first = second = 1.0
    step = 0
    while step < steps and (first > _SETTLED or second > _SETTLED):
        first, second = next_power(first, pace[1]), next_power(second, pace[2])
        step += 1
    return first, second


def is_paced(rule: Rule) -> bool:
    """Whether there are such constants."""
    return rule[0] == "adam" or rule[3]


@functools.cache
def setting_pace(rule: Rule) -> Any:
    """The way to write the constants that a step after so many of a run has for itself."""
    update, way, _, scheduled, _ = rule
    has_powers, has_decay = update == "adam", scheduled and way == "decoupled"

    @inlined
    def set_pace(constants, pace, taken, first, second):
        real = constants.dtype.type
        rate = pace[RATES + taken] if scheduled else pace[0]
        if has_powers:
            constants[0] = real(rate * (1.0 / (1.0 - first)))
            constants[2] = real(1.0 / sqrt(1.0 - second))
        else:
            constants[0] = real(rate)
        if has_decay:
            constants[1] = real(rate * pace[3])

    return set_pace
