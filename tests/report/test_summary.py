"""What a report says of a run: against arithmetic done by hand."""

import json
import math

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcbackends.report.statistics import fit_exponent
from fcbackends.report.summary import Report, summarize
from tests.report import samples
from tests.report.samples import as_run


@pytest.fixture
def report():
    return summarize(as_run(samples.full_run()))


def test_speeds_are_against_numpy_native(report):
    native, ordered, numba = report.workloads[1].rows
    assert [row.label for row in report.workloads[1].rows] == ["numpy native", "numpy", "numba"]
    assert native.speedup == 1
    # Quotients worked out by hand: some roundings apart, here and below.
    assert ordered.speedup == pytest.approx(5 / 4)
    assert numba.speedup == pytest.approx(5e-5 / 2.1e-8)
    assert numba.samples_per_second == pytest.approx(32 / 2.1e-8)


def test_compiling_is_repaid_by_the_time_saved(report):
    forward, train, _, *_ = report.workloads
    # 6 s to compile, 50 us - 21 ns saved a step.
    assert train.rows[2].repaid_after == math.ceil(6 / (5e-5 - 2.1e-8))
    assert forward.rows[2].speedup < 1
    assert forward.rows[2].repaid_after is None
    assert train.rows[1].repaid_after is None


def test_without_the_baseline_there_is_no_speedup():
    report = summarize(as_run(samples.run(samples.benchmark())))
    (row,) = report.workloads[0].rows
    assert (row.speedup, row.repaid_after) == (None, None)


def test_the_series_and_its_crossover(report):
    (series,) = report.series
    assert (series.name, series.axis) == ("square layers", "width")
    assert [growth.label for growth in series.growths] == ["numpy native", "numpy", "numba"]
    numba = series.growths[2]
    assert numba.sizes == (2, 8, 32, 128, 512)
    # Exactly 1e-8 * width ** 2.
    assert numba.exponent == pytest.approx(2)
    assert numba.last_exponent == pytest.approx(2)
    assert numba.high - numba.low < 1e-6
    (crossing,) = series.crossovers
    assert crossing.backend == "numba"
    # Between the points 32 and 128 the lines are straight in log-log.
    left, right = (math.log((4e-5 + 2e-9 * n**2) / (1e-8 * n**2)) for n in (32, 128))
    share = left / (left - right)
    assert crossing.size == pytest.approx(32 * 4**share)
    assert 32 < crossing.size < 128


def test_the_ordered_one_never_crosses(report):
    assert "numpy" not in [crossing.backend for crossing in report.series[0].crossovers]


@given(
    st.floats(-3, 3),
    st.floats(1e-9, 1e3),
    st.lists(st.integers(1, 10**8), min_size=2, max_size=9, unique=True),
)
def test_an_exact_power_law_is_found(exponent, constant, sizes):
    found = fit_exponent(sizes, [constant * size**exponent for size in sizes])
    assert found.value == pytest.approx(exponent, abs=1e-6)
    assert found.low <= found.value <= found.high


def test_the_exponents_interval_covers_the_truth_in_95_of_100():
    generator = np.random.default_rng(1)
    sizes = np.array([2, 8, 32, 128, 512])
    covered = 0
    for _ in range(1000):
        noise = np.exp(generator.normal(0, 0.2, 5))
        found = fit_exponent(sizes, 1e-6 * sizes**1.5 * noise)
        covered += found.low <= 1.5 <= found.high
    # Three standard errors of 1000 draws at 0.95.
    assert 929 <= covered <= 971


def test_the_json_form_keeps_its_schema(report):
    data = json.loads(msgspec.json.encode(report))
    schema = msgspec.json.schema(Report)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema)
    del data["workloads"][0]["rows"][0]["agreement"]["equal"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_the_json_form_reads_back(report):
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
