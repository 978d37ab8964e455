"""The forms of a report: the same figures in each, nothing that a name could break, no chance."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import fcbackends
from fcbackends.report.comparison import compare_runs
from fcbackends.report.documents import comparison_document, report_document
from fcbackends.report.html import to_html
from fcbackends.report.layout import Cell, Column, Document, Section, Table
from fcbackends.report.markdown import to_markdown
from fcbackends.report.summary import summarize
from fcbackends.report.terminal import to_text
from tests.report import samples
from tests.report.samples import as_run


def document(saved=None, *, pictures=False):
    return report_document(summarize(as_run(saved or samples.full_run())), pictures=pictures)


def comparison(base, new):
    return comparison_document([compare_runs(as_run(base), as_run(new), ("0001", "0002"))])


def test_the_terminal_has_one_table_a_workload():
    text = to_text(document())
    tables = text.split("\n\n")
    forward = next(table for table in tables if table.startswith("forward 64-32-10"))
    head, native, _, numba = (re.split(r"  +", line) for line in forward.splitlines()[1:])
    assert head == [
        "backend",
        "time per call",
        "x NumPy native",
        "agreement",
        "compile",
        "from cache",
        "calls to repay it",
        "samples/s",
        "middle half of the rounds",
    ]
    assert native == [
        "numpy native",
        "40.0 us",
        "1.00",
        "C: 7 of 40 differ",
        "800 k",
        "40.0 us - 40.0 us",
    ]
    assert numba == [
        "numba",
        "60.0 us",
        "0.67",
        "A: all bits equal",
        "6.00 s",
        "300 ms",
        "never",
        "533 k",
        "60.0 us - 60.0 us",
    ]
    assert "Made-up CPU, 2 cores" in text
    assert "commit     0123456789ab" in text
    assert "square layers: numba and NumPy native take the same time" in text


def test_no_line_ends_in_spaces():
    assert not [line for line in to_text(document()).splitlines() if line != line.rstrip()]


def test_markdown_tables_are_whole():
    lines = to_markdown(document()).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 20
    width = None
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line))
            width = width if before.startswith("|") else cells
            assert cells == width


HOSTILE = "<script>alert(1)</script> \"'&| `x` [a](b) $x$ *b* _c_"


def test_markdown_escapes_what_it_would_take_for_its_own():
    table = Table((Column(HOSTILE),), ((Cell(HOSTILE, "bad"),),))
    text = to_markdown(
        Document(HOSTILE, ((HOSTILE, HOSTILE),), (Section(HOSTILE, table, (HOSTILE,)),))
    )
    for character in "<>|`*_[]&":
        plain = text.replace("\\" + character, "")
        allowed = {"|": 2 * 3, "*": 4}.get(character, 0)
        assert plain.count(character) == allowed, character


class Page(HTMLParser):
    """The tags, their attributes, and the texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.texts.append(data)


def hostile_run():
    saved = samples.full_run()
    for benchmark in saved["benchmarks"]:
        work = benchmark["extra_info"]
        work["workload"] = HOSTILE + work["workload"]
        if work["axis"]:
            work["axis"]["series"] = HOSTILE
        if work["backend"] == "numba":
            work["backend"] = HOSTILE
    saved["commit_info"]["id"] = "<script>"
    saved["machine_info"]["fcbackends"]["cpu"] = HOSTILE
    return saved


def test_html_escapes_every_name():
    page = Page(to_html(document(hostile_run(), pictures=True)))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in "".join(page.texts)


def references(page):
    for _, name, value in page.attributes:
        if name in ("href", "src", "xlink:href", "srcset", "action", "poster"):
            yield value
        yield from re.findall(r"url\(([^)]*)\)", value)
    for text in page.texts:
        yield from re.findall(r"url\(([^)]*)\)", text)
        yield from re.findall(r"@import\s*([^;]*)", text)


@pytest.fixture(scope="module")
def page():
    return Page(to_html(document(pictures=True)))


def test_html_refers_to_nothing_but_itself(page):
    found = set(references(page))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert len(found) > 10
    assert {value for value in found if not value.startswith("#")} == {"data:,"}
    assert {value[1:] for value in found if value.startswith("#")} <= set(ids)


def test_that_check_can_fail(page):
    added = '<img src="https://example.org/x.png"><style>a{background:url(//example.org)}</style>'
    assert set(references(Page(added))) == {"https://example.org/x.png", "//example.org"}


def test_html_shows_plots_with_axes_and_units(page):
    texts = [text.strip() for text in page.texts]
    for wanted in (
        "times as fast as NumPy native",
        "width of the layers (units)",
        "time",
        "step",
        "mean squared loss",
        "numba: exponent 2.00",
        "100 ns",
        "10 ms",
    ):
        assert wanted.replace("µ", "u") in [text.replace("µ", "u") for text in texts], wanted
    captions = " ".join(texts)
    assert "numpy and numba give the same losses to the last bit." in captions
    # Inks come from the page.
    assert "#0a0b0c" not in "".join(value for _, _, value in page.attributes)


def test_the_crossover_that_is_marked_is_the_reports():
    report = summarize(as_run(samples.full_run()))
    size = report.series[0].crossovers[0].size
    text = to_html(report_document(report, pictures=True))
    assert f"numba = numpy native at {size:.1f}" in text


def test_losses_that_differ_in_one_bit_are_not_called_the_same():
    saved = samples.full_run()
    *_, last = saved["benchmarks"]
    last["extra_info"]["losses"] = {"steps": [16, 32, 48], "losses": [1.0, 0.010000000000000002, 0]}
    text = to_html(document(saved, pictures=True))
    assert "no two of these give the same losses to the last bit." in text


@pytest.mark.parametrize("count", [1, 2])
def test_small_runs_have_pages_too(count):
    saved = samples.full_run()
    saved["benchmarks"] = saved["benchmarks"][2 : 2 + count]
    assert "</html>" in to_html(document(saved, pictures=True))


PROGRAM = """
import json, sys
from fcbackends.report import runs
from fcbackends.report.documents import report_document
from fcbackends.report.html import to_html
from fcbackends.report.markdown import to_markdown
from fcbackends.report.summary import summarize
from fcbackends.report.terminal import to_text
document = report_document(summarize(runs.load(sys.argv[1])), pictures=True)
sys.stdout.buffer.write((to_html(document) + to_markdown(document) + to_text(document)).encode())
"""


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_in_every_process(tmp_path):
    path = samples.write(tmp_path / "run.json", samples.full_run())
    source = str(Path(fcbackends.__file__).parents[1])
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, path],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": source},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 50_000


def test_a_comparison_says_what_it_found():
    base, new = samples.noisy_run(1, count=4), samples.noisy_run(2, count=4, slowed={2}, by=1.3)
    new = samples.changed(new, 0, agreement=samples.agreement("ordered", different=1))
    shown = comparison(base, new)
    for text in (to_text(shown), to_markdown(shown)):
        assert "0002: 1 slower, 3 within noise, 1 lost agreement" in text
        assert "lost agreement" in text
    assert re.search(
        r"\| train step 2 \| numba \|.*\| \*\*slower\*\* \| all equal \|", to_markdown(shown)
    )
    assert re.search(r"\| train step 0 .*\*\*lost agreement\*\* \|", to_markdown(shown))
    page = to_html(shown)
    assert ' class="bad">slower</td>' in page
    assert ' class="bad">lost agreement</td>' in page


def test_a_comparison_gives_each_reason_once():
    base = samples.noisy_run(1, count=4)
    new = samples.noisy_run(2, count=4)
    new["machine_info"]["fcbackends"]["python"] = "CPython 3.12.1"
    text = to_text(comparison(base, new))
    assert "0002: 4 not comparable" in text
    assert text.count("another Python: CPython 3.11.7 and CPython 3.12.1") == 1
    assert "Not comparable, 4: " in text


def cells(text, start):
    """The header of a comparison's table and the row that starts so, as titles and texts."""
    lines = [re.split(r"  +", line) for line in text.splitlines()]
    (head,) = (line for line in lines if line[0] == "workload")
    (row,) = (line for line in lines if line[0] == start)
    return dict(zip(head, row, strict=True))


def factor(percent):
    return 1 + float(percent.removesuffix(" %")) / 100


def test_a_reader_can_reconcile_base_new_and_change():
    generator = np.random.default_rng(0)
    base = samples.run(samples.benchmark("forward", generator=generator, busy=(0, 3)))
    new = samples.run(samples.benchmark("forward", generator=generator, busy=(1, 2, 4, 5, 6)))
    shown = comparison(base, new)
    found = cells(to_text(shown), "forward")
    times = [float(found[side].removesuffix(" us")) for side in ("base", "new")]
    change, yardstick, corrected = (
        factor(found[column]) for column in ("change", "yardstick", "corrected")
    )
    # As far as three digits and tenths of a percent go.
    assert times[1] / times[0] == pytest.approx(change, rel=0.01)
    assert change / yardstick == pytest.approx(corrected, abs=0.002)
    assert yardstick == pytest.approx(1.7 ** (3 / samples.VISITS), abs=0.001)
    for text in (to_text(shown), to_markdown(shown), to_html(shown)):
        assert "corrected = change / yardstick" in text
        assert "The yardstick changed by +22.0 % (the median; " in text


def test_a_comparison_warns_where_everything_moved():
    generator_less = [samples.benchmark(f"train step {i}") for i in range(4)]
    slower = [samples.benchmark(f"train step {i}", seconds=1.2e-5) for i in range(4)]
    assert "Half of the benchmarks changed by +20.0 % or more even so" in to_text(
        comparison(samples.run(*generator_less), samples.run(*slower))
    )
    assert "Half of" not in to_text(
        comparison(samples.run(*generator_less), samples.run(*generator_less))
    )
