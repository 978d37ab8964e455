"""The HTML report in a real browser: readable on a desk and on a phone, by day and by night."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fcbackends.report.comparison import compare_runs
from fcbackends.report.documents import comparison_document, report_document
from fcbackends.report.html import to_html
from fcbackends.report.summary import summarize
from tests.report import samples
from tests.report.samples import as_run

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WRAPPER = Path(__file__).with_name("browser.html")
SCHEMES = {"dark": 0, "light": 1}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed"),
]


@pytest.fixture
def look(tmp_path):
    """Open a page at a width, and return what the measuring page around it finds."""

    def measured(text, width=1280, scheme="light"):
        (tmp_path / "report.html").write_text(text, encoding="utf-8")
        wrapper = WRAPPER.read_text().replace("WIDTH", str(width)).replace("SOURCE", "report.html")
        (tmp_path / "wrapper.html").write_text(wrapper, encoding="utf-8")
        done = subprocess.run(
            [
                BROWSER,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--allow-file-access-from-files",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--window-size={width + 40},1000",
                f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
                "--virtual-time-budget=10000",
                "--dump-dom",
                (tmp_path / "wrapper.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr
        return json.loads(html.unescape(found[1]))

    return measured


TYPICAL = (
    ("numpy", "native"),
    *((name, way) for name in ("numpy", "numba") for way in ("ordered", "fused")),
    *((name, way) for name in ("torch", "jax") for way in ("native", "ordered")),
    ("dask", "ordered"),
    ("array_api_strict", "ordered"),
)
"""The backends of a run where all libraries for CPUs are installed."""


@pytest.fixture(scope="module")
def report_page():
    saved = samples.full_run()
    # Numbers as wide as they come: compiled in minutes, repaid after millions of steps.
    compiled = dict(compile_cold_s=123.4, compile_cached_s=0.0123)
    wide = {"equal": False, "different": 1_234, "values": 98_765, "max_ulp": 123_456, "stated": "A"}
    for n, who in enumerate(TYPICAL):
        saved["benchmarks"] += [
            samples.benchmark(
                "train step 784-256-10 batch 128 float32", *who, seconds=1.234e-3 / (1 + n / 1e3),
                **compiled, **(dict(agreement=wide) if n == 8 else {}),
            )
        ]  # fmt: skip
    for kind, seconds in (("forward", 4e-2), ("train step", 3e-9)):
        # A long name beside a very short and a very long bar.
        saved["benchmarks"] += [
            samples.benchmark(
                f"{kind} 64-32-10 batch 32 float32", "array_api_strict", kind=kind, seconds=seconds
            )
        ]
    report = summarize(as_run(saved))
    return to_html(report_document(report, pictures=True))


@pytest.fixture(scope="module")
def comparison_page():
    base, new = (as_run(samples.noisy_run(seed, slowed={seed})) for seed in (1, 2))
    return to_html(comparison_document([compare_runs(base, new, ("0001", "0002"))]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_is_readable(look, report_page, width, scheme):
    found = look(report_page, width, scheme)
    assert found["viewport"] > width - 20
    # The page never scrolls sideways; wide tables do so by themselves.
    assert found["width"] <= found["viewport"]
    assert found["texts"] > 200
    assert found["smallest"] >= 12, found["smallestText"]
    # WCAG AA for text.
    assert found["contrast"] >= 4.5, found["contrastText"]
    assert found["outside"] == []
    assert found["requests"] == []
    assert len(found["pictures"]) == 6
    assert all(p["width"] >= 300 and p["height"] >= 80 for p in found["pictures"])
    assert all(0 <= p["left"] < p["right"] <= found["viewport"] for p in found["pictures"])
    assert found["columns"] == (1 if width == 390 else 3)
    assert found["cells"] > 200
    assert found["cut"] == []
    assert found["agreements"] == len(re.findall(r"<td[^>]*>[ABC]: ", report_page))
    light = sum(map(int, re.findall(r"\d+", found["background"]))) / 3 > 128
    assert light == (scheme == "light")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_is_readable(look, comparison_page, width, scheme):
    found = look(comparison_page, width, scheme)
    assert found["width"] <= found["viewport"]
    assert found["smallest"] >= 12, found["smallestText"]
    assert found["contrast"] >= 4.5, found["contrastText"]
    assert found["requests"] == []
    assert found["cells"] > 100
    assert found["cut"] == []


@pytest.mark.parametrize("width", [640, 1010, 1040])
def test_tables_are_whole_at_widths_between(look, report_page, comparison_page, width):
    for page in (report_page, comparison_page):
        found = look(page, width)
        assert found["width"] <= found["viewport"]
        assert found["cut"] == []


def test_those_checks_can_fail(look, report_page):
    broken = report_page.replace(
        "</main>",
        '<p style="width: 3000px">wide</p><p style="font-size: 7px">small</p>'
        '<p style="color: #777; background: #888">pale</p>'
        '<svg viewBox="0 0 100 100"><text x="90" y="50" font-size="20">outside</text></svg>'
        '<div class="table" style="width: 50px"><table><tr><td style="white-space: nowrap">'
        "A: all bits equal</td></tr></table></div>"
        '<img src="http://127.0.0.1:9/picture.png"></main>',
    )
    found = look(broken, 390)
    assert found["width"] > found["viewport"]
    assert (found["smallest"], found["smallestText"]) == (7, "small")
    assert (found["contrast"] < 1.5, found["contrastText"]) == (True, "pale")
    assert found["outside"] == ["outside"]
    assert found["cut"] == ["A: all bits equal"]
    assert found["requests"] == ["http://127.0.0.1:9/picture.png"]
