"""Random cases: what is computed, on which numbers, in which memory layout."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.loop import Plan
from fcbackends.conformance.layouts import LAYOUTS
from fcbackends.conformance.values import MAGNITUDES, Draws
from fcbackends.maths.activations import ACTIVATIONS, Activations
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method, Params
from fcbackends.maths.optimizers import SGD, Adam, Optimizer
from fcbackends.maths.schedules import (
    ConstantRate,
    CosineRate,
    ExponentialRate,
    Rate,
    Schedule,
    StepRate,
)

Kind: TypeAlias = Literal["layer", "network", "training", "relation"]

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16, 17, 23, 31, 32, 33)
"""Primes, and the numbers around which vector registers and tiles end."""

_SIZES_OF_ZEROS = (1, 2, 3, 4)
"""Among zeros, a sum of so few terms is one of zeros alone."""

LARGE_SIZES = (47, 63, 64, 65, 97, 127, 128, 129, 257)

_FORMS = 2**63
"""Forms are drawn beside the cases."""

CASES_A_FORM = 8
"""So many cases in a row differ in all but their forms: some libraries compile for each shape."""

_MOST_PRODUCTS = 100_000
_MOST_PRODUCTS_OF_BLOCKS = 200_000
_MOST_STEPS = 12

# A backend may have faster ways for some shapes that pay off in long runs alone: "numba" has for
# the first five, for (33, 1) and (20, 22, 3) on batches of one alone.
_SHAPES_OF_LONG_RUNS = (
    (2, 3),
    (13, 1),
    (3, 5, 2),
    (4, 17, 18, 2),
    (8, 16, 1),
    (33, 1),
    (20, 22, 3),
)
_LONG_RUN = 10_000_000

_BOUNDED = ("ordinary", "wide", "subnormal", "underflowing")
"""Magnitudes whose sums overflow in no order."""


_OPTIMIZERS: tuple[Callable[[float], Optimizer], ...] = (
    lambda share: SGD(),
    lambda share: SGD(momentum=0.95 * share + 0.01),
    lambda share: SGD(momentum=0.95 * share + 0.01, nesterov=True, weight_decay=share / 8 + 0.01),
    lambda share: SGD(weight_decay=share / 8 + 0.01, decay_bias=False),
    lambda share: Adam(beta1=0.95 * share, beta2=1 - 0.1 * share**2 - 0.001),
    lambda share: Adam(weight_decay=share / 8 + 0.01, decoupled=False),
    lambda share: Adam(eps=1e-6, weight_decay=share + 0.01, decay_bias=False),
)
"""Of each rule that is compiled apart, with numbers that a share between 0 and 1 makes."""

_RATES: tuple[Callable[[float, float], Rate], ...] = (
    lambda lr, share: lr,
    lambda lr, share: ConstantRate(lr, warmup=round(9 * share)),
    lambda lr, share: StepRate(lr, round(1 + 4 * share), 1 - share / 2, warmup=2),
    lambda lr, share: ExponentialRate(lr, 1 - share / 2),
    lambda lr, share: CosineRate(lr, round(5 + 9 * share), lr * share, warmup=3),
)
"""Of a first rate, and of such a share."""


class Case(NamedTuple):
    """One case. Its arrays are NumPy's, of `dtype`, and stand in memory as `layout` says.

    A layer has x (N, K), and dy and t (N, M), of which the loss is taken, too; a network has one
    layer or more; a training takes `steps` steps of its plan, and is prepared for `expected_steps`,
    and where its samples have weights, t has them last; a relation holds between results of the
    backend alone, and draws what more it needs. With `one_sample`, N is 1, and arrays are to be
    given without that axis.
    """

    kind: Kind
    dtype: str
    numbers: str
    layout: str
    one_sample: bool
    params: Params
    x: NDArray[Any]
    t: NDArray[Any]
    dy: NDArray[Any]
    method: Method
    plan: Plan
    steps: int
    expected_steps: int
    draws: Draws

    @property
    def lr(self) -> float:
        """Its learning rate: of a schedule, the first."""
        lr = self.method.lr
        return lr.lr if isinstance(lr, Schedule) else lr

    @property
    def is_bounded(self) -> bool:
        """Whether it is a layer, and no order of its sums overflows."""
        return self.kind == "layer" and self.numbers in _BOUNDED

    @property
    def stands_for_probabilities(self) -> bool:
        """Whether the network's output does, where there is one."""
        return bool(LOSSES[self.method.loss].probabilities) and self.params[-1][1].size > 0

    def __str__(self) -> str:
        """The case in a few words."""
        sizes = "-".join(str(n) for n in (self.x.shape[1], *(b.size for _, b in self.params)))
        text = f"{self.kind} {sizes}, {len(self.x)} samples, {self.dtype}, {self.numbers} numbers"
        if self.method.activation != "relu":
            names = self.method.activation
            text += f", {names if isinstance(names, str) else ' and '.join(names)}"
        if self.method.loss != "mean_squared":
            text += f", {self.method.loss}"
        if self.method.weighted:
            text += ", weighted"
        if self.layout != "plain":
            text += f", {self.layout} arrays"
        if self.kind == "training":
            text += f", {self.steps} steps of {self.plan.batch_size}, {self.plan.sampling}"
            if self.method.optimizer != SGD():
                text += f", {self.method.optimizer}"
            if isinstance(self.method.lr, Schedule):
                text += f", {self.method.lr}"
            if self.method.clip_norm is not None:
                text += f", a norm of at most {self.method.clip_norm:.3g}"
        return text


def make_case(
    seed: int,
    index: int,
    *,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    bounded: bool = False,
    rows_per_block: int | None = None,
) -> Case:
    """The case of that index; a pure function of its arguments.

    `dtypes` are those that the backend takes: a case of another one becomes one of the first. With
    `bounded` all cases are layers of finite numbers whose sums stay finite. With `rows_per_block`
    half of them have so many samples that these are several blocks.
    """
    form_draws = Draws(seed, _FORMS + index // CASES_A_FORM)
    form = _form(form_draws, dtypes, bounded)
    if rows_per_block is not None and form_draws.one_in(2):
        form = _in_blocks(form, form_draws, rows_per_block)
    kind, dtype, sizes, samples = form.kind, form.dtype, form.sizes, form.samples
    draws = Draws(seed, index)
    numbers = draws.choice(_BOUNDED if bounded else tuple(MAGNITUDES))
    often = 0.8 if kind == "training" else 0.5
    if kind == "relation" or draws.share() < often:
        numbers = "ordinary"
    specials = zeros = 0.0
    if not bounded and kind in ("layer", "network"):
        if draws.one_in(4):
            specials = draws.choice((0.02, 0.1, 0.5))
        elif max(sizes) <= _SIZES_OF_ZEROS[-1] and draws.one_in(2):
            zeros, numbers = 0.9, "ordinary"

    def array(*shape: int) -> NDArray[Any]:
        return draws.numbers(shape, dtype, numbers, specials, zeros)

    def bias(outputs: int) -> NDArray[Any]:
        # Beside it, sums of products that underflow would not show.
        magnitude = "subnormal" if numbers == "underflowing" else numbers
        return draws.numbers((outputs,), dtype, magnitude, specials, zeros)

    one_sample = samples == 1 and draws.one_in(2)
    params = tuple((array(k, m), bias(m)) for k, m in itertools.pairwise(sizes))
    x, t, dy = (array(samples, width) for width in (sizes[0], sizes[-1], sizes[-1]))
    if form.loss.endswith("entropy"):
        t = _probabilities(draws, samples, sizes[-1], form.loss, dtype)
    if form.weighted:
        weights = [draws.choice((0.0, 1.0, 0.3, 2.5)) for _ in range(samples - 1)]
        t = np.column_stack([t, np.array([*weights, 0.7], dtype)])
    plan = Plan(
        batch_size=form.batch_size,
        sampling=draws.choice(("replacement", "epoch")),
        seed=draws.integer(0, 2**53 - 1),
        tol=None if draws.one_in(2) else 10.0 ** draws.integer(-2, 5),
        tol_on=draws.choice(("batch", "data")),
        record_every=draws.choice((1, 2, 3, 7, 100)),
    )
    rates = (0.001, 0.01, 0.05, 0.3, 0.7) if kind == "training" else (0.1, 0.3, 0.7, 1.1, 2.0**-4)
    rate, share = draws.choice(rates) * (1 + draws.share() / 8), draws.share()
    return Case(
        kind=kind,
        dtype=dtype,
        numbers=numbers + (" and special" if specials else " and zero" if zeros else ""),
        one_sample=one_sample,
        layout=draws.choice(tuple(LAYOUTS)) if draws.one_in(3) else "plain",
        params=params,
        x=x,
        t=t,
        dy=dy,
        method=Method(
            lr=_RATES[form.rate](rate, share),
            activation=form.activation,
            loss=form.loss,
            optimizer=_OPTIMIZERS[form.optimizer](share),
            weighted=form.weighted,
            clip_norm=10 ** (3 * share - 1.5) if form.clipped else None,
        ),
        plan=plan,
        steps=draws.integer(1, _MOST_STEPS),
        expected_steps=_LONG_RUN if form.long else _MOST_STEPS,
        draws=draws,
    )


class _Form(NamedTuple):
    """What a library compiles for."""

    kind: Kind
    dtype: str
    sizes: tuple[int, ...]
    samples: int
    batch_size: int
    long: bool
    activation: Activations
    optimizer: int
    loss: str
    weighted: bool
    rate: int
    clipped: bool


def _probabilities(draws: Draws, samples: int, outputs: int, loss: str, dtype: str) -> NDArray[Any]:
    """What targets of an entropy may be: certain in half of the cases, and otherwise any."""
    shares = draws.numbers((samples, outputs), dtype, "ordinary")
    if loss == "cross_entropy":
        if draws.one_in(2):
            return np.asarray(shares == np.max(shares, axis=1, keepdims=True), dtype)
        wide = np.abs(shares).astype(np.float64)
        return (wide / np.sum(wide, axis=1, keepdims=True)).astype(dtype)
    yes = np.asarray(shares > 0, dtype)
    return yes if draws.one_in(2) else np.minimum(np.abs(shares), 1)


def _form(draws: Draws, dtypes: tuple[str, ...], bounded: bool) -> _Form:
    share = draws.share()
    kind: Kind = (
        "layer" if bounded or share < 0.5
        else "network" if share < 0.8
        else "training" if share < 0.9
        else "relation"
    )  # fmt: skip
    dtype = draws.choice(("float32", "float64"))
    layers = 1 if kind == "layer" else draws.choice((1, 1, 2, 2, 3, 4))
    choices = _SIZES_OF_ZEROS if draws.one_in(8) else SIZES
    sizes = [draws.choice(choices) for _ in range(layers + 1)]
    samples = draws.choice(SIZES)
    long = kind == "training" and draws.one_in(4)
    if long:
        sizes = list(draws.choice(_SHAPES_OF_LONG_RUNS))
    elif draws.one_in(12):
        sizes[draws.integer(0, layers)] = draws.choice(LARGE_SIZES)
    elif draws.one_in(12):
        samples = draws.choice(LARGE_SIZES)
    elif kind in ("layer", "network") and draws.one_in(16):
        # A step needs a sample.
        place = draws.integer(0, layers if kind == "network" else 2)
        if place > layers:
            samples = 0
        else:
            sizes[place] = 0
    while samples * sum(map(operator.mul, sizes, sizes[1:])) > _MOST_PRODUCTS:
        samples //= 8
    return _Form(
        kind=kind,
        dtype=dtype if dtype in dtypes else dtypes[0],
        sizes=tuple(sizes),
        samples=samples,
        batch_size=max(1, min(samples, draws.choice((1, 1, 2, 3, 5, 8)))),
        long=long,
        activation=_activation(draws, len(sizes) - 2, dtypes),
        optimizer=0 if draws.one_in(2) else draws.integer(1, len(_OPTIMIZERS) - 1),
        loss=_loss(draws, dtypes, bounded=bounded or 0 in (samples, sizes[-1])),
        weighted=kind == "training" and draws.one_in(4),
        rate=draws.integer(1, len(_RATES) - 1) if kind == "training" and draws.one_in(3) else 0,
        clipped=kind == "training" and draws.one_in(3),
    )


def _in_blocks(form: _Form, draws: Draws, rows_per_block: int) -> _Form:
    """The same with several blocks of samples, in a batch as well, where they are not too many."""
    weights = sum(map(operator.mul, form.sizes, form.sizes[1:]))
    blocks, beyond = draws.choice((1, 2, 3, 4, 5, 7)), draws.integer(1, 3)
    samples = blocks * rows_per_block + beyond
    batch_size = draws.choice((form.batch_size, rows_per_block + 1, samples))
    if form.samples == 0 or samples * weights > _MOST_PRODUCTS_OF_BLOCKS:
        return form
    return form._replace(samples=samples, batch_size=batch_size)


def _loss(draws: Draws, dtypes: tuple[str, ...], *, bounded: bool) -> str:
    """Squares half of the time, and otherwise any other."""
    names = [name for name, loss in LOSSES.items() if "float64" in dtypes or not loss.probabilities]
    return "mean_squared" if draws.one_in(2) or bounded else draws.choice(names[1:])


def _activation(draws: Draws, hidden: int, dtypes: tuple[str, ...]) -> Activations:
    """ReLU half of the time, and otherwise any other, or any for each hidden layer."""
    names = [
        name
        for name, activation in ACTIVATIONS.items()
        if "float64" in dtypes or not activation.needs_float64
    ]
    if hidden < 1 or draws.one_in(2):
        return "relu"
    if draws.one_in(2):
        return draws.choice(names[1:])
    return tuple(draws.choice(names) for _ in range(hidden))
