"""Fused arithmetic: its bits on every backend, and how it is chosen and named."""

import dataclasses

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.conformance import selftest, verify
from fcbackends.conformance.cases import make_case
from fcbackends.conformance.results import results
from fcbackends.conformance.running import run_cases
from tests import broken
from tests.broken import backend_of
from tests.cases import (
    BACKENDS,
    DTYPES,
    assert_layer_agrees,
    assert_network_agrees,
    problem,
    quick_first,
)
from tests.fused_oracle import fused, slow_fused
from tests.oracle import assert_same_bits, fast, sample_indices

BOTH = ("float32", "float64")
SHAPES = [((1, 1), 1), ((2, 3), 5), ((7, 4), 70), ((40, 40), 3), ((5, 6, 2), 9), ((3, 4, 5, 2), 4)]


def fused_backend(name):
    return fcb.get_backend(name, arithmetic="fused")


# --- the oracle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", [0.0, 0.1])
@pytest.mark.parametrize(("sizes", "batch"), quick_first(SHAPES[:3] + SHAPES[4:], 2))
def test_the_quick_oracle_equals_exact_fractions(sizes, batch, spice, dtype):
    case = problem(batch, sizes, batch, dtype, spice)
    assert_layer_agrees(fused, slow_fused, case)
    assert_network_agrees(fused, slow_fused, case)


# --- bits ----------------------------------------------------------------------------------------


@pytest.mark.jit_off
@pytest.mark.parametrize("name", [*BACKENDS, "array_api_strict"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", [0.0, 0.1])
@pytest.mark.parametrize(("sizes", "batch"), SHAPES)
def test_layers_and_steps_have_the_oracles_bits(sizes, batch, spice, dtype, name):
    backend, case = fused_backend(name), problem(batch, sizes, batch, dtype, spice)
    ops = backend_of(fused)
    params, x, t = case.params, case.x, case.t
    w, b = params[0]
    dy = np.resize(t, (batch, w.shape[1]))
    with np.errstate(all="ignore"):
        for function, arguments in (
            ("fc_forward", (x, w, b)),
            ("fc_backward", (dy, x, w)),
            ("predict", (params, x)),
            ("sgd_step", (params, x, t, 0.1)),
        ):
            found = getattr(fcb, function)(*arguments, backend=backend)
            wanted = getattr(fcb, function)(*arguments, backend=ops)
            assert_same_bits(_plain(found), _plain(wanted), function)


def _plain(values):
    return [_plain(v) for v in values] if isinstance(values, tuple) else np.asarray(values)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize(("sizes", "batch"), [((2, 3), 1), ((13, 1), 32), ((5, 6, 2), 4)])
def test_trainings_have_the_oracles_bits(sizes, batch, sampling, dtype, name):
    case, steps = problem(7, sizes, 50, dtype), 60
    rows = sample_indices(50, steps, batch, sampling, 3)
    params, losses = fused.train(case.params, case.x, case.t, rows, 0.01)
    result = fcb.train(
        case.x, case.t, params=case.params, lr=0.01, batch_size=batch, max_steps=steps, dtype=dtype,
        sampling=sampling, seed=3, record_every=1, backend=name, arithmetic="fused",
    )  # fmt: skip
    assert_same_bits(result.params, params)
    assert_same_bits(result.history.losses, losses.astype(np.float64))
    assert result.arithmetic == "fused"


def test_a_fused_result_is_another_one():
    case = problem(1, (40, 20), 30, "float64")
    w, b = case.params[0]
    one, other = (fcb.fc_forward(case.x, w, b, arithmetic=a) for a in ("ordered", "fused"))
    assert not fcb.compare(one, other).equal
    assert_same_bits(other, fused.forward(case.x, w, b))
    assert_same_bits(one, fast.forward(case.x, w, b))


# --- choosing it ---------------------------------------------------------------------------------

X, W, B = np.array([[-1.0, 1 + 2.0**-27]]), np.array([[1.0], [1 - 2.0**-27]]), np.zeros(1)


def is_fused(**keywords):
    """Whether a call sums with one rounding."""
    return float(fcb.fc_forward(X, W, B, **keywords)[0, 0]) != 0.0


def test_keyword_then_block_then_environment_then_ordered(monkeypatch):
    assert not is_fused()
    assert is_fused(arithmetic="fused")
    monkeypatch.setenv("FCBACKENDS_ARITHMETIC", "fused")
    assert is_fused()
    assert is_fused(backend="numpy")
    with fcb.use_backend(arithmetic="ordered") as chosen:
        assert (chosen.name, chosen.arithmetic) == ("numba", "ordered")
        assert not is_fused()
        assert is_fused(arithmetic="fused")
        with fcb.use_backend("numpy"):
            assert not is_fused()
            assert (fcb.get_backend().name, fcb.get_backend().arithmetic) == ("numpy", "ordered")
    assert is_fused()
    monkeypatch.setenv("FCBACKENDS_ARITHMETIC", "")
    assert not is_fused()


def test_blocks_choose_backend_and_arithmetic_beside_each_other():
    with fcb.use_backend("numpy"), fcb.use_backend(arithmetic="fused"):
        assert fcb.get_backend() is fused_backend("numpy")
        with fcb.use_backend("array_api_strict"):
            assert fcb.get_backend() is fused_backend("array_api_strict")
        with fcb.use_backend(fcb.get_backend("numba", arithmetic="ordered")):
            assert not is_fused()
        assert is_fused()
    assert not is_fused()


def test_a_backend_in_hand_keeps_its_arithmetic(monkeypatch):
    ordered, one = fcb.get_backend("numba"), fused_backend("numba")
    assert is_fused(backend=one)
    monkeypatch.setenv("FCBACKENDS_ARITHMETIC", "fused")
    assert not is_fused(backend=ordered)
    with fcb.use_backend(arithmetic="fused"):
        assert not is_fused(backend=ordered)
    text = "^`arithmetic` must be one that backend 'numba' offers .'ordered'., got 'fused'$"
    with pytest.raises(fcb.ArgumentError, match=text):
        is_fused(backend=ordered, arithmetic="fused")
    with fcb.use_backend(ordered), pytest.raises(fcb.ArgumentError, match=text):
        fcb.use_backend(arithmetic="fused").__enter__()


@pytest.mark.parametrize(
    "call",
    [
        lambda **k: fcb.fc_forward(X, W, B, **k),
        lambda **k: fcb.fc_backward(np.ones((1, 1)), X, W, **k),
        lambda **k: fcb.mean_squared_loss(X, X, **k),
        lambda **k: fcb.predict(((W, B),), X, **k),
        lambda **k: fcb.sgd_step(((W, B),), X, np.ones((1, 1)), 0.1, **k),
        lambda **k: fcb.train(X, np.ones((1, 1)), lr=0.1, max_steps=2, **k),
        lambda **k: fcb.train_many(X, np.ones((1, 1)), seed=[0, 1], lr=0.1, max_steps=2, **k),
        lambda **k: fcb.Trainer(((W, B),), lr=0.1, **k),
        lambda **k: fcb.get_backend(**k),
        lambda **k: verify("numpy", cases=1, **k),
        lambda **k: fcb.use_backend(**k).__enter__(),
    ],
    ids=lambda call: call.__code__.co_names[1] if len(call.__code__.co_names) > 1 else "verify",
)
def test_every_function_takes_it_and_refuses_others(call):
    call(arithmetic="ordered")
    text = "^`arithmetic` must be one of 'ordered', 'fused', 'native', got "
    for wrong in ("exact", 3, ["fused"]):
        with pytest.raises(fcb.ArgumentError, match=text):
            call(arithmetic=wrong)


def test_what_the_environment_chooses_wrongly_is_refused_by_its_name(monkeypatch):
    monkeypatch.setenv("FCBACKENDS_ARITHMETIC", "exact")
    text = "^`FCBACKENDS_ARITHMETIC` must be one of 'ordered', 'fused', 'native', got 'exact'$"
    with pytest.raises(fcb.ArgumentError, match=text):
        is_fused()
    monkeypatch.setenv("FCBACKENDS_ARITHMETIC", "native")
    text = "^`FCBACKENDS_ARITHMETIC` must be one that backend 'numba' offers .*, got 'native'$"
    with pytest.raises(fcb.ArgumentError, match=text):
        is_fused()
    # What is done to elements asks for no arithmetic.
    assert fcb.relu(X).shape == X.shape


def test_results_name_it():
    trainer = fcb.Trainer(((W, B),), lr=0.1, arithmetic="fused")
    assert trainer.backend.arithmetic == "fused"
    t = np.ones((1, 1))
    assert trainer.run(X, t, max_steps=2).arithmetic == "fused"
    assert fcb.train(X, t, lr=0.1, max_steps=2).arithmetic == "ordered"
    many = fcb.train_many(X, t, seed=[0, 1], lr=0.1, max_steps=2, arithmetic="fused")
    assert [result.arithmetic for result in many] == ["fused"] * 2


# --- held to its word ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BACKENDS, "array_api_strict"])
def test_it_is_of_class_a(name):
    assert fused_backend(name).conformance == ("A", "every bit is as it must be")


@pytest.mark.parametrize("ops", [fused, slow_fused], ids=["C library", "fractions"])
def test_the_oracle_is_of_class_a_so_that_the_digests_are_right(ops):
    found = selftest.self_test(backend_of(ops, arithmetic="fused"))
    assert found == ("A", "every bit is as it must be")


DEFECTS = {
    "a product rounded first": (
        dict(forward=fast.forward),
        "products are rounded before they are added, in float32",
    ),
    "rounded first in gradients": (
        dict(backward=fast.backward),
        "products of dw are rounded before they are added, in float32",
    ),
    "another order": (
        dict(forward=broken.reversed_fused_forward),
        "sums run in another order, in float32",
    ),
    "a first term added to +0.0": (
        dict(forward=broken.fused_from_zero_forward),
        "zeros change their signs, in float32",
    ),
    "float32 rounded twice": (
        dict(forward=broken.twice_rounded_forward),
        "sums are rounded to float64 first, in float32",
    ),
    "the bias first": (
        dict(forward=broken.fused_bias_first_forward),
        "the bias is not added last, in float32",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_gives_class_c_and_its_reason(defect):
    changes, reason = DEFECTS[defect]
    found = backend_of(fused, arithmetic="fused", **changes).conformance
    assert found == ("C", reason)


def test_ordered_arithmetic_that_fuses_is_named():
    found = backend_of(fast, backward=fused.backward).conformance
    assert found == ("C", "sums of dw are fused, in float32")


@pytest.mark.parametrize("defect", quick_first(list(DEFECTS), 1, pytest.mark.campaign))
def test_a_defect_is_caught_wherever_it_shows(defect):
    """Shown by the oracle's comparison, which does not use the kit's."""
    changes, _ = DEFECTS[defect]
    right = backend_of(fused, arithmetic="fused")
    wrong = backend_of(fused, arithmetic="fused", **changes)
    shown = caught = 0
    for index in range(0, 600 * 8, 8):
        case = make_case(0, index)
        if case.kind == "relation":
            continue
        with np.errstate(all="ignore"):
            bits = [{n: fcb.digest(v) for n, v in results(b, case).items()} for b in (wrong, right)]
        found = run_cases(wrong, 0, [index], BOTH).findings
        shows = bits[0] != bits[1]
        shown += shows
        caught += bool(found)
        assert bool(found) == shows, str(case)
        if shown == 4:
            break
    assert caught == shown >= 3


def test_short_numbers_show_a_sum_that_is_rounded_twice():
    wrong = backend_of(fused, arithmetic="fused", forward=broken.twice_rounded_forward)
    found = {}
    for index in range(3000):
        case = make_case(0, index)
        if case.kind == "layer" and case.dtype == "float32" and case.numbers == "short":
            found[index] = bool(run_cases(wrong, 0, [index], BOTH).findings)
    assert sum(found.values()) >= 0.1 * len(found) > 2


def test_random_cases_have_the_contracts_bits():
    verdict = verify("numba", arithmetic="fused", cases=60, seed=1)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("A", "A", True)
    assert (verdict.arithmetic, verdict.golden_runs, verdict.golden) == ("fused", 112, ())
    assert (verdict.tally.cases, verdict.tally.different) == (60, 0)


def test_the_command_of_a_finding_names_the_arithmetic():
    ordered = fcb.get_backend("numpy").fc_forward
    wrong = dataclasses.replace(fused_backend("numpy"), name="acme", fc_forward=ordered)
    verdict = verify(wrong, cases=20)
    assert verdict.self_test.reason == "products are rounded before they are added, in float32"
    assert verdict.command.startswith("fcbackends verify acme --arithmetic fused --seed 0 --case ")


def test_a_backend_that_offers_no_fused_arithmetic_says_so():
    numpy = fcb.get_backend("numpy")
    fcb.register_backend("plain", lambda: dataclasses.replace(numpy, name="plain"))
    text = "^`arithmetic` must be one that backend 'plain' offers .'ordered'., got 'fused'$"
    with pytest.raises(fcb.ArgumentError, match=text):
        fcb.train(X, X, lr=0.1, backend="plain", arithmetic="fused")
