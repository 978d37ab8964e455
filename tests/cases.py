"""Networks, data and memory layouts that the tests share."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings

import fcbackends as fcb
from fcbackends.backends import small_kernels
from fcbackends.conformance import layouts
from tests.oracle import assert_same_bits

DTYPES = ("float32", "float64")
ARITHMETICS = ("ordered", "fused")
BACKENDS = ("numpy", "numba")

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
LONG_RUN = 100 if JIT_OFF else 300
"""Steps of a long run: kernels without their compilation are Python loops."""

QUICK_EXAMPLES = 40
CAMPAIGN_EXAMPLES = 400

needs_jit = pytest.mark.skipif(JIT_OFF, reason="too many steps for interpreted kernels")


def examples(count):
    """So many of Hypothesis's examples, and in a campaign ten times as many."""
    return settings(max_examples=count * settings.default.max_examples // QUICK_EXAMPLES)


def environment(**variables):
    """This process's environment for another one, which is no worker of a run of tests."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return own | {name: str(value) for name, value in variables.items()}


def quick_first(cases, quick, rest=pytest.mark.slow):
    """Parameters of a test: so many of the cases always, the others with `-m slow` alone, or so."""
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    others = [pytest.param(*case, marks=rest) for case in cases[quick:]]
    return [pytest.param(*case) for case in cases[:quick]] + others


def covering(cases, quick):
    """Parameters of a test: cases, each with both arithmetics and with both dtypes, in two ways.

    So it is for the `quick` first; the others are slow, in one way each. The rest is for campaigns:
    a kernel's source knows a dtype by the length of its vectors, and an arithmetic by what it does
    to three numbers, neither by the other, and each is compiled for some seconds. Which ways,
    alternates: of any two quick cases there are all four, and of any four slow ones.
    """
    parameters = []
    for i, case in enumerate(cases):
        for (a, arithmetic), (d, dtype) in itertools.product(
            enumerate(ARITHMETICS), enumerate(DTYPES)
        ):
            is_quick, is_first = i < quick, a == i // 2 % 2
            marks = [] if is_quick else [pytest.mark.slow]
            if (i + a + d) % 2 or not (is_quick or is_first):
                marks = [pytest.mark.campaign]
            given = case if isinstance(case, tuple) else (case,)
            parameters.append(pytest.param(*given, arithmetic, dtype, marks=marks))
    return parameters


def special_values(dtype):
    info = np.finfo(dtype)
    tiny, least = info.smallest_normal, info.smallest_subnormal
    values = [0.0, 1.0, info.eps, tiny, least, tiny - least, 3 * least, info.max, np.inf]
    values += [float(np.sqrt(info.max)), float(np.sqrt(tiny)), 1 / 3]
    both = [sign * float(v) for v in values for sign in (1, -1)]
    return np.array([*both, np.nan], dtype)


def numbers(rng, shape, dtype, spice=0.0, scale=1.0):
    """Normal numbers, of which a share `spice` is replaced by special values."""
    a = (scale * rng.standard_normal(shape)).astype(dtype)
    where = rng.random(shape) < spice
    return np.where(where, rng.choice(special_values(dtype), shape), a)


def network(rng, sizes, dtype, spice=0.0):
    """Weights of the size that keeps a signal's size from layer to layer."""
    return tuple(
        (
            numbers(rng, (k, m), dtype, spice, scale=k**-0.5),
            numbers(rng, (m,), dtype, spice, scale=0.1),
        )
        for k, m in itertools.pairwise(sizes)
    )


def problem(seed, sizes, batch, dtype, spice=0.0):
    """Parameters, inputs and targets of a network."""
    rng = np.random.default_rng(seed)
    params = network(rng, sizes, dtype, spice)
    x = numbers(rng, (batch, sizes[0]), dtype, spice)
    t = numbers(rng, (batch, sizes[-1]), dtype, spice)
    return SimpleNamespace(params=params, x=x, t=t, sizes=sizes, dtype=np.dtype(dtype))


def linear_data(samples=500, seed=0):
    """The notebook's regression: integers 0 to 9, W = [[3, 7, 4], [5, 2, 6]], b = [2, 9, 3]."""
    x = np.random.default_rng(seed).integers(0, 10, (samples, 2))
    return x, x @ np.array([[3, 7, 4], [5, 2, 6]]) + np.array([2, 9, 3])


# --- memory layouts ------------------------------------------------------------------------------


LAYOUTS = {"C": np.ascontiguousarray, **layouts.LAYOUTS}


def laid_out(params, layout):
    return tuple((layout(w), layout(b)) for w, b in params)


# --- Ctrl-C --------------------------------------------------------------------------------------


TELLS_WHEN_CTRL_C_IS_HELD_BACK = """
import signal, threading, time

def tell_when_held_back(text):
    def tell():
        while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            time.sleep(0.01)
        time.sleep(0.2)  # so that some segments have gone by, or none: the outcome is the same
        print(text, flush=True)
    threading.Thread(target=tell, daemon=True).start()
"""
"""A child's own line, once a run of training takes Ctrl-C as a question."""


# --- what is compared ----------------------------------------------------------------------------


def product(backend):
    """The package's layer functions under the oracle's names."""
    return SimpleNamespace(
        forward=lambda x, w, b: fcb.fc_forward(x, w, b, backend=backend),
        backward=lambda dy, x, w: fcb.fc_backward(dy, x, w, backend=backend),
        loss=lambda y, t: fcb.mean_squared_loss(y, t, backend=backend),
        relu=fcb.relu,
        relu_backward=fcb.relu_backward,
        predict=lambda params, x: fcb.predict(params, x, backend=backend),
        sgd_step=lambda params, x, t, lr: fcb.sgd_step(params, x, t, lr, backend=backend),
    )


def assert_layer_agrees(got, want, case, layout=np.ascontiguousarray):
    """All functions of one layer, on the case's first layer as if it were the only one.

    `got` sees its arguments in the given layout; `want` sees them plain.
    """
    w, b = case.params[0]
    x = case.x
    y = want.forward(x, w, b)
    assert_same_bits(got.forward(layout(x), layout(w), layout(b)), y, "y")
    t = np.resize(case.t, y.shape)
    loss, dy = want.loss(y, t)
    assert_same_bits(got.loss(layout(y), layout(t)), (loss, dy), "loss, dy")
    dy_any = np.resize(case.t[::-1], y.shape)
    for given in (dy, dy_any):
        grads = want.backward(given, x, w)
        assert_same_bits(got.backward(layout(given), layout(x), layout(w)), grads, "dw, db, dx")
    assert_same_bits(got.relu(layout(y)), want.relu(y), "relu")
    assert_same_bits(
        got.relu_backward(layout(dy_any), layout(y)), want.relu_backward(dy_any, y), "relu_backward"
    )


def assert_network_agrees(got, want, case, lr=0.7, layout=np.ascontiguousarray):
    """The output, and the loss and the parameters of one step.

    A small lr would round a difference in a gradient's last bits away.
    """
    params, x, t = laid_out(case.params, layout), layout(case.x), layout(case.t)
    assert_same_bits(got.predict(params, x), want.predict(case.params, case.x), "y")
    new, loss = want.sgd_step(case.params, case.x, case.t, lr)
    stepped, stepped_loss = got.sgd_step(params, x, t, lr)
    assert_same_bits(stepped_loss, loss, "loss")
    assert_same_bits(stepped, new, "params")


def allow_small_kernels(monkeypatch, most=99):
    """From here on so many shapes of small networks get kernels; they are those in the result."""
    kernels = {}
    monkeypatch.setattr(small_kernels, "_MOST_KERNELS", most)
    monkeypatch.setattr(small_kernels, "WORTH_COMPILING", 0.0)
    monkeypatch.setattr(small_kernels, "_kernels", kernels)
    monkeypatch.setattr(small_kernels, "_steps", Counter())
    return kernels
