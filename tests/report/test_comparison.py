"""Two runs compared: noise is called noise, a slower kernel slower, a changed bit lost."""

import copy
import json

import jsonschema
import msgspec
import numpy as np
import pytest

from fcbackends.report.comparison import Comparison, compare_runs
from fcbackends.report.statistics import ratio_of_pairs, ratio_of_visits
from tests.report import samples
from tests.report.samples import as_run


def compare(base, new):
    return compare_runs(as_run(base), as_run(new), ("base", "new"))


def outcomes(base, new):
    return [change.outcome for change in compare(base, new).changes]


@pytest.mark.parametrize("seed", range(20))
def test_one_revision_twice_is_within_noise(seed):
    found = outcomes(samples.noisy_run(seed), samples.noisy_run(1000 + seed))
    assert found.count("within noise") >= 19


@pytest.mark.parametrize("seed", range(10))
def test_a_kernel_15_percent_slower_is_called_slower(seed):
    slowed = {3, 7, 11}
    changes = compare(
        samples.noisy_run(seed), samples.noisy_run(1000 + seed, slowed=slowed)
    ).changes
    called = {i for i, change in enumerate(changes) if change.outcome == "slower"}
    assert slowed <= called
    assert len(called) <= len(slowed) + 1


def test_and_one_that_is_faster_faster():
    base = samples.noisy_run(1, slowed={4}, by=1.3)
    assert outcomes(base, samples.noisy_run(2))[4] == "faster"


def test_a_busy_machine_is_seen_by_its_probes():
    generator = np.random.default_rng(0)
    quiet, busy = (
        samples.run(samples.benchmark(generator=generator, busy=visits))
        for visits in ((), range(samples.VISITS))
    )
    (change,) = compare(quiet, busy).changes
    # Medians and ratios, divided in another order: some roundings apart.
    assert change.new / change.base == pytest.approx(change.ratio)
    assert change.ratio > 1.5
    assert change.yardstick == pytest.approx(1.7)
    assert change.corrected == pytest.approx(change.ratio / change.yardstick)
    assert change.low < change.corrected < change.high
    assert change.outcome == "within noise"
    # Without the probes it would have been called slower.
    for saved in (quiet, busy):
        work = saved["benchmarks"][0]["extra_info"]
        work["probes"] = [1.0] * len(work["probes"])
    assert outcomes(quiet, busy) == ["slower"]


def test_one_changed_bit_is_lost_agreement():
    base = samples.full_run()
    place = next(
        i for i, b in enumerate(base["benchmarks"]) if b["extra_info"]["backend"] == "numba"
    )
    new = samples.changed(base, place, agreement=samples.agreement("ordered", different=1))
    lost, won = compare(base, new), compare(new, base)
    assert [i for i, c in enumerate(lost.changes) if c.bits == "lost"] == [place]
    assert lost.failures(None) == (lost.changes[place],)
    assert won.changes[place].bits == "won"
    assert won.failures(None) == ()
    assert compare(new, new).changes[place].bits == "differ"
    assert compare(base, base).failures(None) == ()


def test_native_arithmetic_has_no_agreement_to_lose():
    base = samples.run(samples.benchmark(backend="numpy", arithmetic="native"))
    lucky = copy.deepcopy(base)
    lucky["benchmarks"][0]["extra_info"]["agreement"]["equal"] = True
    assert compare(lucky, base).changes[0].bits is None


def test_a_backend_that_turns_native_has_lost_its_agreement():
    base = samples.run(samples.benchmark())
    new = samples.changed(base, 0, agreement=samples.agreement("native"))
    assert compare(base, new).changes[0].bits == "lost"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cpu": "Another"}, "another CPU: Made-up CPU and Another"),
        ({"cores": 4}, "another number of cores: 2 and 4"),
        ({"os": "Linux-7"}, "another system: Linux-6.1 and Linux-7"),
        ({"python": "CPython 3.12.1"}, "another Python: CPython 3.11.7 and CPython 3.12.1"),
        ({"threads": {"blas": 2, "numba": 1}}, "another number of BLAS threads: 1 and 2"),
        ({"threads": {"blas": 1, "numba": 2}}, "another number of Numba threads: 1 and 2"),
    ],
)
def test_what_makes_times_not_comparable_is_said(change, says):
    slow = samples.benchmark(seconds=1.0)
    found = compare(samples.run(samples.benchmark()), samples.run(slow, **change))
    (only,) = found.changes
    assert (only.outcome, only.reason, only.corrected) == ("not comparable", says, None)
    assert only.bits == "kept"
    assert found.failures(0.1) == ()


def test_agreement_is_compared_on_another_machine_too():
    broken = samples.benchmark(agreement=samples.agreement("ordered", different=1))
    found = compare(samples.run(samples.benchmark()), samples.run(broken, cpu="Another"))
    assert [change.bits for change in found.failures(None)] == ["lost"]


def test_other_versions_are_said_and_compared():
    versions = {"numpy": "2.5.0", "torch": "2.13.0"}
    found = compare(
        samples.run(samples.benchmark()),
        samples.run(samples.benchmark(), versions=versions, blas="mkl"),
    )
    assert found.changes[0].outcome == "within noise"
    assert found.remarks == (
        "Another version of numpy: 2.4.6 and 2.5.0.",
        "Another version of numba: 0.68.1 and none.",
        "Another version of torch: none and 2.13.0.",
        "Another BLAS: openblas 0.3.30 Zen and mkl.",
    )


def test_runs_of_two_contracts_are_compared_and_it_is_said():
    one = samples.run(samples.benchmark())
    found = compare(one, samples.run(samples.benchmark(), contract=2))
    assert found.changes[0].outcome == "within noise"
    assert found.remarks == ("Another version of the contract: 1 and 2.",)


def test_benchmarks_of_one_run_only():
    both = samples.benchmark("train step 1")
    found = compare(
        samples.run(both, samples.benchmark("train step 2")),
        samples.run(both, samples.benchmark("train step 3")),
    )
    assert [change.reason for change in found.changes] == [
        None,
        "only in the base",
        "only in the new run",
    ]


def test_without_rounds_there_is_no_ratio():
    base = samples.run(samples.benchmark())
    new = copy.deepcopy(base)
    new["benchmarks"][0]["stats"]["data"] = []
    (change,) = compare(base, new).changes
    assert (change.outcome, change.reason) == ("not comparable", "saved without its rounds")


def test_fail_slower_asks_for_more_than_a_verdict():
    base, new = samples.noisy_run(1), samples.noisy_run(2, slowed={5})
    found = compare(base, new)
    assert found.failures(None) == ()
    assert found.changes[5] in found.failures(0.05)
    assert found.failures(0.5) == ()


def test_the_visits_interval_covers_the_truth_in_95_of_100():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(1000):
        base, new = np.exp(generator.normal(0, 0.05, (2, 8)))
        found = ratio_of_visits(base.tolist(), (1.2 * new).tolist())
        covered += found.low <= 1.2 <= found.high
    assert 929 <= covered <= 971


def test_the_pairs_interval_covers_the_truth_in_95_of_100():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        found = ratio_of_pairs(generator.normal(np.log(1.1), 0.05, 9).tolist())
        covered += found.low <= 1.1 <= found.high
    assert 929 <= covered <= 971


def test_the_json_form_keeps_its_schema():
    found = [compare(samples.noisy_run(1, count=3), samples.noisy_run(2, count=3))]
    data, schema = json.loads(msgspec.json.encode(found)), msgspec.json.schema(list[Comparison])
    jsonschema.validate(data, schema)
    data[0]["changes"][0]["outcome"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)
