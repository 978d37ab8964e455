"""How a parameter moves, given its gradient: the optimizers, as records of their numbers.

An optimizer falls into its rule, which a library or a kernel may compile, and its constants, which
may be others at each step: (rate, decay, ...), each to be rounded once to the parameters' dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.arithmetic import Arithmetic, Array
from fcbackends.maths.fields import check, choice, number
from fcbackends.maths.schedules import Rate, rates_after

Slots: TypeAlias = "Sequence[Array]"
"""What an optimizer keeps beside a parameter from step to step, arrays of its shape."""

Constants: TypeAlias = "tuple[float | Array, ...]"

_SETTLED = 2.0**-54
"""1 - p is 1 for this p, and for any smaller one."""

_MOST_DECAY = 2.0**128 - 2.0**103
"""From here on float32 has infinity alone."""

_below_one = number("be a number >= 0 and < 1", lambda value: 0 <= value < 1)
_positive = number("be a finite number > 0", lambda value: 0 < value < math.inf)
_decay = number("be a finite number >= 0 in float32", lambda value: 0 <= value < _MOST_DECAY)


class Rule(NamedTuple):
    """A descent but for its numbers: what there is to compile of it.

    A name in `UPDATES`, how parameters decay, whether each step has a rate of its own, and whether
    the gradient's norm is bounded.
    """

    update: str = "sgd"
    decay: Literal["none", "coupled", "decoupled"] = "none"
    decays_bias: bool = True
    scheduled: bool = False
    clipped: bool = False


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: plain, with momentum, or with Nesterov's.

    With g = dp, or g = dp + weight_decay * p:

        plain     p - lr * g
        momentum  a = momentum * a + g;  p - lr * a
        Nesterov  a = momentum * a + g;  p - lr * (g + momentum * a)

    where a begins as zeros (Sutskever et al., "On the importance of initialization and momentum in
    deep learning", 2013, as PyTorch has it).

    Parameters
    ----------
    momentum : float
        From 0, and below 1.
    nesterov : bool
        Look ahead; momentum is then > 0.
    weight_decay : float
        Finite and >= 0; where it is 0, its product and sum are left out.
    decay_bias : bool
        Whether biases decay, too.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> result = fcb.train(x, t, optimizer=fcb.SGD(momentum=0.9), lr=0.02, tol=1e-20, tol_on="data")
    >>> result.params[0][0].round(6), result.params[0][1].round(6)
    (array([[2.]]), array([1.]))
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_bias: bool = True

    def __post_init__(self) -> None:
        check(self, _below_one, "momentum")
        check(self, _decay, "weight_decay")
        check(self, choice, "nesterov", "decay_bias")
        if self.nesterov and not self.momentum:
            raise ArgumentError("momentum", "be > 0 where `nesterov` is True", shown(self.momentum))

    @property
    def rule(self) -> Rule:
        """What there is to compile."""
        update = "nesterov" if self.nesterov else "momentum" if self.momentum else "sgd"
        return Rule(update, "coupled" if self.weight_decay else "none", self.decay_bias)

    @property
    def betas(self) -> tuple[float, float]:
        """Of what powers the constants depend on: none."""
        return 0.0, 0.0

    def constants(self, lr: Rate, after: int = 0) -> Iterator[Constants]:
        """Those of each step after so many."""
        return ((rate, self.weight_decay, self.momentum) for rate in rates_after(lr, after))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), or AdamW (Loshchilov and Hutter, 2019), as PyTorch has them.

    At step t, with c1 = 1 - beta1**t and c2 = 1 - beta2**t:

        g = dp + weight_decay * p             where it is coupled
        p = p - (lr * weight_decay) * p       where it is decoupled
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (g * g)
        p - (lr / c1) * (m * (1 / ((1 / sqrt(c2)) * sqrt(v) + eps)))

    where m and v begin as zeros.

    Parameters
    ----------
    beta1, beta2 : float
        From 0, and below 1.
    eps : float
        Finite and > 0.
    weight_decay : float
        Finite and >= 0; where it is 0, its product and sum are left out.
    decoupled : bool
        Whether parameters decay by themselves (AdamW), and not through their gradient (Adam).
    decay_bias : bool
        Whether biases decay, too.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> result = fcb.train(x, t, optimizer=fcb.Adam(), lr=0.05, max_steps=4000)
    >>> result.params[0][0].round(3), result.params[0][1].round(3)
    (array([[2.]]), array([1.]))
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True
    decay_bias: bool = True

    def __post_init__(self) -> None:
        check(self, _below_one, "beta1", "beta2")
        check(self, _positive, "eps")
        check(self, _decay, "weight_decay")
        check(self, choice, "decoupled", "decay_bias")

    @property
    def rule(self) -> Rule:
        """What there is to compile."""
        way: Literal["coupled", "decoupled"] = "decoupled" if self.decoupled else "coupled"
        return Rule("adam", way if self.weight_decay else "none", self.decay_bias)

    @property
    def betas(self) -> tuple[float, float]:
        """What powers the constants depend on."""
        return self.beta1, self.beta2

    def constants(self, lr: Rate, after: int = 0) -> Iterator[Constants]:
        """Those of each step after so many."""
        power1 = power2 = 1.0
        for _ in range(after):
            if power1 <= _SETTLED and power2 <= _SETTLED:
                break
            power1, power2 = _next_power(power1, self.beta1), _next_power(power2, self.beta2)
        for rate in rates_after(lr, after):
            power1, power2 = _next_power(power1, self.beta1), _next_power(power2, self.beta2)
            decay = rate * self.weight_decay if self.decoupled else self.weight_decay
            yield (
                *(rate * (1 / (1 - power1)), decay, 1 / math.sqrt(1 - power2)),
                *(self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, self.eps),
            )


Optimizer: TypeAlias = "SGD | Adam"


def constants_by_step(
    optimizer: Optimizer, lr: Rate, clip_norm: float | None = None
) -> Callable[[int], Constants]:
    """(step, counted from 1) -> its constants, at once where that is the step after the last.

    After the optimizer's comes `clip_norm`, if it is a number.
    """
    last = () if clip_norm is None else (clip_norm,)
    coming, following = optimizer.constants(lr), 1

    def constants_of(step: int) -> Constants:
        nonlocal coming, following
        if step != following:
            coming = optimizer.constants(lr, step - 1)
        following = step + 1
        return *next(coming), *last

    return constants_of


def _next_power(power: float, beta: float) -> float:
    return power * beta if power > _SETTLED else power


# --- updates -------------------------------------------------------------------------------------


class Update(NamedTuple):
    """A rule of descent, element by element.

    Attributes
    ----------
    move : callable
        (arithmetic, p, its gradient, slots, constants) -> the new p and slots.
    slots : int
        How many arrays it keeps beside each parameter; they begin as zeros.
    """

    move: Callable[[Arithmetic, Array, Array, Slots, Constants], tuple[Array, Slots]]
    slots: int


def _sgd(
    arithmetic: Arithmetic, p: Array, g: Array, slots: Slots, constants: Constants
) -> tuple[Array, Slots]:
    return p - constants[0] * g, slots


def _momentum(
    arithmetic: Arithmetic, p: Array, g: Array, slots: Slots, constants: Constants
) -> tuple[Array, Slots]:
    rate, _, momentum = constants
    a = momentum * slots[0] + g
    return p - rate * a, (a,)


def _nesterov(
    arithmetic: Arithmetic, p: Array, g: Array, slots: Slots, constants: Constants
) -> tuple[Array, Slots]:
    rate, _, momentum = constants
    a = momentum * slots[0] + g
    return p - rate * (g + momentum * a), (a,)


def _adam(
    arithmetic: Arithmetic, p: Array, g: Array, slots: Slots, constants: Constants
) -> tuple[Array, Slots]:
    rate, _, scale, beta1, rest1, beta2, rest2, eps = constants
    m, v = slots
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * (g * g)
    root = (arithmetic.sqrt or arithmetic.xp.sqrt)(v)
    return p - rate * (m * arithmetic.xp.reciprocal(scale * root + eps)), (m, v)


UPDATES = {
    "sgd": Update(_sgd, slots=0),
    "momentum": Update(_momentum, slots=1),
    "nesterov": Update(_nesterov, slots=1),
    "adam": Update(_adam, slots=2),
}
"""By name."""


def moved(
    arithmetic: Arithmetic,
    rule: Rule,
    p: Array,
    dp: Array,
    slots: Slots,
    constants: Constants,
    *,
    is_bias: bool = False,
) -> tuple[Array, Slots]:
    """A parameter one step further down its gradient, and what is kept beside it."""
    if rule.decays_bias or not is_bias:
        if rule.decay == "coupled":
            dp = dp + constants[1] * p
        elif rule.decay == "decoupled":
            p = p - constants[1] * p
    return UPDATES[rule.update].move(arithmetic, p, dp, slots, constants)
