"""The conformance kit: it passes what is right, names what is wrong, and is reproducible."""

import dataclasses
import functools

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.conformance import Tally, bounds, losses, stated_class, verify
from fcbackends.conformance.cases import CASES_A_FORM, make_case
from fcbackends.conformance.golden import differing_runs, golden_runs
from fcbackends.conformance.layouts import LAYOUTS, laid_out
from fcbackends.conformance.reference import flushing
from fcbackends.conformance.results import expectations, results
from fcbackends.conformance.running import run_cases
from fcbackends.conformance.tally import Level
from fcbackends.conformance.values import MAGNITUDES
from fcbackends.maths.activations import ACTIVATIONS, of_hidden_layers
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import Rule
from tests import broken
from tests.broken import backend_of
from tests.cases import quick_first
from tests.oracle import descended, fast, slow

BOTH = ("float32", "float64")
NATIVE = fcb.get_backend("numpy", arithmetic="native")


# --- what the cases are made of ------------------------------------------------------------------


def test_cases_are_the_same_on_every_machine():
    made = [make_case(3, index) for index in range(100)]
    arrays = [[case.params, case.x, case.t, case.dy] for case in made]
    assert fcb.digest(arrays) == CASES
    assert str(made[0]) == FIRST


CASES = "6b85c96bbfeeb4b43d83a1bed1ce5ced9b6052c5f85170c393a0999946465acd"
FIRST = "layer 5-9, 32 samples, float64, ordinary numbers"


def test_cases_have_all_that_they_are_to_have():
    made = [make_case(0, index) for index in range(0, 2000 * CASES_A_FORM, CASES_A_FORM)]
    assert {case.kind for case in made} == {"layer", "network", "training", "relation"}
    assert {case.dtype for case in made} == set(BOTH)
    assert {case.layout for case in made} == {"plain", *LAYOUTS}
    numbers = {case.numbers for case in made}
    assert set(MAGNITUDES) | {"ordinary and special", "ordinary and zero"} <= numbers
    sizes = {size for case in made for w, _ in case.params for size in w.shape}
    assert {0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129} <= sizes
    assert {len(case.params) for case in made} == {1, 2, 3, 4}
    assert {len(case.x) for case in made} >= {0, 1, 2, 17, 65}
    assert any(case.one_sample for case in made)
    activations = [case.method.activation for case in made if len(case.params) > 1]
    assert set(ACTIVATIONS) <= set(activations)
    assert {name for names in activations if isinstance(names, tuple) for name in names} == set(
        ACTIVATIONS
    )
    plans = [case.plan for case in made if case.kind == "training"]
    assert {plan.sampling for plan in plans} == {"replacement", "epoch"}
    assert {plan.tol_on for plan in plans} == {"batch", "data"}
    assert len({case.expected_steps for case in made if case.kind == "training"}) == 2
    values = np.concatenate([c.x.ravel() for c in made if c.dtype == "float32"])
    tiny = np.finfo(np.float32).smallest_normal
    assert np.isnan(values).any()
    assert np.isinf(values).any()
    assert ((values == 0) & np.signbit(values)).any()
    assert ((values != 0) & (abs(values) < tiny)).any()
    assert (abs(values) > 1e38).any()


def test_a_case_of_a_dtype_that_is_not_taken_is_one_of_another():
    for index in range(20):
        case = make_case(0, index, dtypes=("float32",))
        assert case.dtype == "float32"
        assert not {"tanh", "sigmoid"} & set(
            of_hidden_layers(case.method.activation, len(case.params) - 1)
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_keeps_the_values(layout):
    case = make_case(0, 5)
    for array, other in zip(case.params[0], laid_out(case.params[0], layout), strict=True):
        assert np.array_equal(array, other)


# --- the contract, written a second time ---------------------------------------------------------


def test_the_reference_has_the_bits_of_the_scalar_loops():
    small = [i for i in range(300) if make_case(0, i).x.size < 100 and make_case(0, i).t.size < 100]
    tally = run_cases(backend_of(slow), 0, small[:80], BOTH)
    assert (tally.different, tally.findings) == (0, {})


def test_the_reference_has_the_bits_of_the_elementwise_oracle():
    tally = run_cases(backend_of(fast), 1, range(400), BOTH)
    assert (tally.different, tally.findings) == (0, {})
    assert tally.cases == 400
    assert tally.values > 100_000


def test_flushing_arrays_flush_operands_and_results():
    least, tiny = (np.array([v], np.float32) for v in (1e-45, np.finfo(np.float32).smallest_normal))
    assert flushing(least) * np.float32(2**30) == 0
    assert np.signbit(flushing(-tiny) * np.float32(0.5))[0]
    assert flushing(tiny) * np.float32(0.5) == 0
    assert np.add.accumulate(flushing(np.concatenate([tiny, -tiny * 1.5, least])))[-1] == 0
    assert flushing(tiny) * np.float32(2) == 2 * tiny


# --- negative controls ---------------------------------------------------------------------------

# Each with the number of cases that are worth the time: a few, where it shows in many, and many,
# which are for campaigns where a few are.
DEFECTS = {
    "contracted": (dict(forward=broken.contracted_forward), 0, 60),
    "reversed sums": (dict(forward=broken.reversed_forward), 40, 400),
    "reversed gradients": (dict(backward=broken.reversed_backward), 40, 400),
    "bias first": (dict(forward=broken.bias_first_forward), 40, 400),
    "matmul": (dict(forward=broken.matmul_forward), 40, 400),
    "pairwise sums": (dict(backward=broken.pairwise_sums_backward), 40, 400),
    "division": (dict(loss=broken.dividing_loss), 40, 400),
    "unrounded lr": (dict(descend=broken.unrounded_rate), 80, 400),
    "wide descent": (dict(descend=broken.wide_descent), 80, 400),
    "zeros of the other sign": (dict(forward=broken.sum_from_zero_forward), 0, 400),
    "zeros by maximum": (dict(relu=broken.maximum), 0, 3000),
    "zeros by a mask": (dict(relu_backward=broken.masked_gradient), 200, 400),
}


@pytest.mark.parametrize(
    ("defect", "count"),
    [(defect, few) for defect, (_, few, _) in DEFECTS.items() if few]
    + [
        pytest.param(d, many, marks=pytest.mark.campaign if few else pytest.mark.slow)
        for d, (_, few, many) in DEFECTS.items()
    ],
)
def test_a_defect_is_caught_wherever_it_shows(defect, count):
    """Shown by the oracle's comparison, which does not use the kit's."""
    changes, *_ = DEFECTS[defect]
    backend, right = backend_of(fast, **changes), backend_of(fast)
    shown = caught = 0
    for index in range(0, count * CASES_A_FORM, CASES_A_FORM):
        case = make_case(0, index)
        if case.kind == "relation":
            continue
        with np.errstate(all="ignore"):
            bits = [_all_bits(results(b, case)) for b in (backend, right)]
        found = run_cases(backend, 0, [index], BOTH).findings
        shows = bits[0] != bits[1]
        shown += shows
        caught += bool(found)
        assert bool(found) == shows, str(case)
    assert caught == shown >= 3


@pytest.mark.parametrize(
    "forward",
    quick_first(
        [
            broken.reversed_forward,
            broken.bias_first_forward,
            broken.matmul_forward,
            broken.contracted_forward,
        ],
        1,
    ),
)
def test_nine_of_ten_ordinary_layers_tell_a_wrong_sum(forward):
    backend = backend_of(fast, forward=forward)
    caught = []
    for index in range(0, 300 * CASES_A_FORM, CASES_A_FORM):
        case = make_case(0, index)
        (samples, inputs), outputs = case.x.shape, case.t.shape[1]
        if (
            case.kind == "layer"
            and case.numbers == "ordinary"
            and inputs > 2
            and samples * outputs > 9
        ):
            caught.append(bool(run_cases(backend, 0, [index], BOTH).findings))
        if len(caught) == 40:
            break
    assert len(caught) == 40
    assert sum(caught) >= 36


@pytest.mark.slow
def test_nine_of_ten_trainings_in_float32_tell_an_unrounded_rate():
    backend = backend_of(fast, descend=broken.wide_descent)
    caught = []
    for index in range(0, 7000 * CASES_A_FORM, CASES_A_FORM):
        case = make_case(0, index)
        is_plain = case.kind == "training" and case.method.form.rule == Rule()
        if is_plain and case.dtype == "float32" and case.numbers == "ordinary":
            caught.append(bool(run_cases(backend, 0, [index], BOTH).findings))
    assert len(caught) > 50
    assert sum(caught) >= 0.9 * len(caught)


# --- verdicts ------------------------------------------------------------------------------------


def test_a_right_backend_passes():
    verdict = verify("numba", cases=100)
    assert (verdict.backend, verdict.arithmetic, verdict.seed) == ("numba", "ordered", 0)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("A", "A", True)
    assert (verdict.golden_runs, verdict.golden) == (112, ())
    assert (verdict.tally.cases, verdict.tally.different, verdict.tally.max_ulp) == (100, 0, 0)
    assert (verdict.first, verdict.command) == (None, "")


def test_arrays_on_another_device_conform_there():
    strict = fcb.get_backend("array_api_strict")
    device = array_api_strict.Device("device1")

    def asarray(values, dtype=None):
        return array_api_strict.asarray(strict.asarray(values, dtype), device=device)

    there = dataclasses.replace(strict, asarray=asarray)
    tally = run_cases(there, 0, range(40), BOTH)
    assert (tally.cases, tally.findings) == (40, {})
    assert differing_runs(golden_runs("ordered")[:16:5], there) == ()


def test_a_broken_backend_is_found_with_its_first_case():
    verdict = verify(backend_of(fast, "acme", forward=broken.reversed_forward), cases=60, seed=4)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("A", "C", False)
    assert verdict.self_test.reason == "sums run in another order, in float32"
    assert len(verdict.golden) > 50  # the order of two terms does not matter
    assert verdict.tally.different > 100
    first = verdict.first
    assert verdict.command == f"fcbackends verify acme --seed 4 --case {first.case}"
    assert first.description == str(make_case(4, first.case))
    again = verify(
        backend_of(fast, forward=broken.reversed_forward), cases=1, seed=4, first=first.case
    )
    assert again.first == first
    before = verify(backend_of(fast, forward=broken.reversed_forward), cases=first.case, seed=4)
    assert before.first is None


def test_a_finding_tells_the_first_value_in_full():
    backend = backend_of(fast, forward=lambda x, w, b: np.nextafter(fast.forward(x, w, b), 9e9))
    case = next(
        i for i in range(99) if make_case(0, i).kind == "layer" and make_case(0, i).x.size > 9
        and make_case(0, i).numbers == "ordinary"
    )  # fmt: skip
    (finding,) = run_cases(backend, 0, [case], BOTH).findings.values()
    y = expectations("ordered", make_case(0, case))["fc_forward"]
    want, got = (float(v).hex() for v in (y[0, 0], np.nextafter(y[0, 0], y.dtype.type(9e9))))
    text = f"fc_forward at [0, 0]: got {got}, wanted {want} ({y.size} differ, by up to 1 ULP)"
    assert finding == (case, str(make_case(0, case)), text)


@pytest.mark.slow
def test_a_backend_that_flushes_is_of_class_b_and_keeps_it():
    def plain(values):
        return tuple(map(plain, values)) if isinstance(values, tuple) else np.asarray(values)

    def flush(function):
        return lambda *arguments: plain(function(*flushing(arguments)))

    # The oracle adds the last sum of a loss as numbers, which do not flush.
    changes = {n: flush(getattr(fast, n)) for n in ("forward", "backward")}
    changes["loss"] = flush(losses.loss_and_gradient)
    changes["loss_and_gradient"] = lambda y, t, loss, weighted: flush(
        functools.partial(losses.loss_and_gradient, loss=loss, weighted=weighted)
    )(y, t)
    changes["descend"] = lambda p, g, lr: np.asarray(
        flushing(p) - flushing(np.full(1, lr, p.dtype)) * flushing(g)
    )
    changes["descended"] = lambda rule, state, gradients, constants: plain(
        descended(rule, State(*flushing(state)), flushing(gradients), constants)
    )
    verdict = verify(backend_of(fast, **changes), cases=300)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("B", "B", True)
    assert verdict.tally.different > 0
    assert verdict.golden == ()
    assert verdict.first is not None
    # What flushes and errs as well is none of class B.
    changes["backward"] = flush(broken.reversed_backward)
    verdict = verify(backend_of(fast, **changes), cases=100)
    assert (verdict.observed, verdict.passed) == ("C", False)


def test_native_arithmetic_is_of_class_c_and_within_its_bound():
    verdict = verify("numpy", arithmetic="native", cases=50)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("C", "C", True)
    assert 0 < verdict.tally.error_share <= 1
    assert (verdict.golden_runs, verdict.golden) == (0, ())
    assert "--arithmetic native --seed 0 --case " in verdict.command


def test_errors_beyond_the_bound_are_found():
    def half(x, w, b):
        """In half precision inside."""
        return (x.astype(np.float16) @ w.astype(np.float16) + b).astype(x.dtype)

    verdict = verify(dataclasses.replace(NATIVE, fc_forward=half), cases=60)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("C", "none", False)
    assert verdict.tally.error_share > 1000


def test_an_error_as_large_as_its_bound_is_within_it_and_a_larger_one_is_not():
    case = next(c for c in (make_case(0, i, bounded=True) for i in range(50)) if c.x.size > 20
                and c.numbers == "ordinary" and c.dtype == "float32")  # fmt: skip
    ((w, b),) = case.params
    found = expectations("ordered", case)
    exact = case.x.astype(np.float64) @ w + b
    n = case.x.shape[1] + 1
    u = 2.0**-24
    gamma = n * u / (1 - n * u)
    bound = gamma * (abs(case.x).astype(np.float64) @ abs(w) + abs(b))
    for share, low, high in ((0.98, 0.9, 1.0), (1.1, 1.0, 1.2)):
        found["fc_forward"] = exact + share * bound
        assert low < bounds.error_shares(case, found)["fc_forward"] < high


def test_what_a_backend_raises_is_a_finding():
    def raising(x, w, b):
        raise RuntimeError("out of paper")

    verdict = verify(backend_of(fast, forward=raising), cases=20)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("A", "none", False)
    assert verdict.self_test.reason == "RuntimeError: out of paper"
    assert verdict.first.defect == "RuntimeError: out of paper"
    assert verdict.golden[0].endswith("RuntimeError: out of paper")


@pytest.mark.parametrize(
    "wrong", [lambda y: y[:, :-1], lambda y: y.astype(np.float32), lambda y: [y, y]]
)
def test_another_shape_dtype_or_structure_is_a_finding_of_no_class(wrong):
    backend = backend_of(fast)
    backend = dataclasses.replace(backend, predict=lambda *args: wrong(fast.predict(*args)))
    tally = run_cases(backend, 0, range(60), BOTH)
    assert tally.level is Level.none
    assert tally.findings[Level.none].description.startswith(("network", "relation"))


def test_another_shape_of_no_values_is_a_finding():
    backend = backend_of(fast)
    backend = dataclasses.replace(
        backend, fc_forward=lambda x, w, b: fast.forward(x, w, b)[:, : -1 if len(x) == 0 else None]
    )
    empty = next(i for i in range(0, 9999, CASES_A_FORM) if len(make_case(0, i).x) == 0)
    assert run_cases(backend, 0, [empty], BOTH).level is Level.none


def test_findings_of_parts_add_up_whatever_their_order():
    backend = backend_of(fast, forward=broken.reversed_forward)
    parts = [run_cases(backend, 0, range(s, s + 10), BOTH) for s in (0, 10, 20, 30)]
    whole = run_cases(backend, 0, range(40), BOTH)
    assert sum(parts, Tally()) == sum(reversed(parts), Tally()) == whole


def test_several_processes_find_what_one_finds():
    one, two = (verify("numpy", cases=120, processes=n) for n in (1, 2))
    assert one == two
    assert one.tally.cases == 120


def test_a_verdict_needs_counts_and_names():
    for arguments, text in (
        (dict(cases=-1), "`cases` must be an integer of at least 0, got -1"),
        (dict(first=-1), "`first` must be an integer of at least 0, got -1"),
        (dict(processes=0), "`processes` must be an integer of at least 1, got 0"),
        (dict(seed=-1), f"`seed` must be an integer from 0 to {2**64 - 1}, got -1"),
    ):
        with pytest.raises(fcb.ArgumentError, match="^" + text.replace("`", "[`]")):
            verify("numpy", **arguments)
    with pytest.raises(fcb.ArgumentError, match=r"^`backend` must be one of .*, got 'nunpy'$"):
        verify("nunpy")
    text = (
        "^`processes` must be 1 for a Backend, which other processes do not know by a name, got 2"
    )
    with pytest.raises(fcb.ArgumentError, match=text):
        verify(fcb.get_backend("numpy"), processes=2)


@pytest.mark.parametrize(
    ("name", "arithmetic", "stated"),
    [("numpy", "ordered", "A"), ("numba", "ordered", "A"), ("numpy", "native", "C")],
)
def test_the_stated_class(name, arithmetic, stated):
    assert stated_class(fcb.get_backend(name, arithmetic=arithmetic)) == stated


def _all_bits(found):
    return {name: fcb.digest(value) for name, value in found.items()}
