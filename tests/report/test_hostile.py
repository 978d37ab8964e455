"""Run files made to do harm: refused in one line, or shown with nothing in them that acts."""

import copy
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fcbackends.cli import main
from fcbackends.errors import ArgumentError
from fcbackends.report import runs
from tests.report import samples

MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg></title><script>alert(1)</script>",
    "<a href='javascript:alert(1)'>x</a>",
    "<!-- --><![CDATA[<script>]]>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "$\\mathrm{x}$ & &lt;b&gt; %s {0}",
]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def places(value, of, path=()):
    """The places of all values of a type in a document."""
    if isinstance(value, of) and not isinstance(value, bool):
        yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, of, (*path, key))


def changed(saved, path, value):
    saved = copy.deepcopy(saved)
    at = saved
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return saved


def refusal(content):
    Path("run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArgumentError) as caught:
        runs.load("run.json")
    assert "\n" not in str(caught.value)
    return str(caught.value)


ONE = samples.run(samples.benchmark(axis={"series": "s", "name": "width", "value": 4}))
READ = [
    path
    for path in places(ONE, (int, float))
    if path[-1] not in {"min", "max", "mean", "stddev", "rounds", "iqr", "iterations"}
    and path[-2] not in {"data", "probes", "visits"}
]


@pytest.mark.parametrize("path", READ, ids=lambda path: ".".join(map(str, path)))
def test_numbers_that_no_run_has_are_refused(path):
    for value in ("-1", "1e40", "1e999", "NaN", "Infinity", "1" + "0" * 6000, '"1"', "[1]"):
        text = json.dumps(changed(ONE, path, "HERE")).replace('"HERE"', value)
        assert "must be a run saved by `pytest benchmarks/`, got 'run.json': " in refusal(text)


@pytest.mark.parametrize("field", ["median", "q1", "q3"])
def test_times_of_nothing_are_refused(field):
    for value in (0, 1e-40, -1):
        saved = changed(ONE, ("benchmarks", 0, "stats", field), value)
        assert "Expected `float` >" in refusal(json.dumps(saved))


@pytest.mark.parametrize("visits", [[1], [10**40], [0] * 8, [-4, *[4] * 9], [2**60, -(2**60)]])
def test_visits_of_other_rounds_are_refused(visits):
    refusal(json.dumps(changed(ONE, ("benchmarks", 0, "extra_info", "visits"), visits)))


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x07", "\u202egnp", "a\u200bb", "a\nb", "a" * 1001])
def test_texts_for_a_terminal_to_obey_are_refused(text):
    for path in (
        ("machine_info", "fcbackends", "cpu"),
        ("benchmarks", 0, "fullname"),
        ("benchmarks", 0, "extra_info", "workload"),
        ("datetime",),
    ):
        says = refusal(json.dumps(changed(ONE, path, text)))
        assert says.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 10**6,
        '{"a":' * 10**6,
        '{"machine_info": ' + "[" * 10**5 + "]" * 10**5 + "}",
        json.dumps(ONE).replace('"node": "here"', '"node": ' + "[" * 10**6 + "]" * 10**6),
        '{"datetime": "\\ud800"}',
        b"\xff\xfe{",
        b"\x00" * 1000,
        "null",
    ],
    ids=["lists", "objects", "closed", "unread", "surrogate", "bytes", "zeros", "null"],
)
def test_texts_that_are_no_run_are_refused(content):
    refusal(content)


def test_a_file_that_never_ends(monkeypatch):
    monkeypatch.setattr(runs, "_LARGEST_FILE", 2**20)
    assert "more than 1,048,576 bytes" in refusal(" " * 2**21)
    if Path("/dev/zero").exists():
        with pytest.raises(ArgumentError, match="more than 1,048,576 bytes"):
            runs.load("/dev/zero")


def test_two_points_in_one_place(capsys):
    """A line through them has no slope."""
    benchmarks = [
        samples.benchmark(f"w{i}", axis={"series": "s", "name": "width", "value": value})
        for i, value in enumerate((4, 4, 8, 8))
    ]
    for count in (2, 4):
        samples.write(Path("run.json"), samples.run(*benchmarks[:count]))
        assert main(["report", "run.json", "--out", "r.html", "--out", "r.md"]) == 0
    assert capsys.readouterr().err == ""


class Page(HTMLParser):
    """What a browser would make of a page: its elements and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text = set(), set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {(name, value) for name, value in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("markup", MARKUP)
def test_markup_in_names_is_text(markup, capsys):
    plain = samples.full_run()
    named = copy.deepcopy(plain)
    of_text = {"workload", "kind", "backend", "series", "fullname", "id", "datetime", "cpu", "os"}
    for path in places(named, str):
        if path[-1] in of_text and plain["benchmarks"]:
            at = named
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] += markup
    named["machine_info"]["fcbackends"]["versions"][markup] = markup
    for name, saved in (("plain", plain), ("named", named)):
        samples.write(Path(f"{name}.json"), saved)
        assert main(["report", f"{name}.json", "--out", f"{name}.html", "--out", f"{name}.md"]) == 0
    assert main(["compare", "plain.json", "named.json", "--out", "compared.html"]) == 0
    assert capsys.readouterr().err == ""
    want, found, compared = (
        Page(Path(f"{name}.html").read_text("utf-8")) for name in ("plain", "named", "compared")
    )
    for page in (found, compared):
        assert markup in page.text
        assert page.elements <= want.elements
        assert not page.elements & {"script", "img", "iframe", "object", "a", "image"}
        assert not [name for name, _ in page.attributes if name.startswith("on")]
    outward = {"href", "src", "xlink:href", "action", "data"}
    links = {value for name, value in found.attributes if name in outward}
    assert all(link in ("data:,",) or link.startswith("#") for link in links)
    text = Path("named.md").read_text("utf-8")
    assert "<script" not in text.replace("\\<script", "")


def test_names_that_are_no_text_are_shown_in_escapes(capsys):
    name = "run\udce9.json"  # a byte that is no UTF-8
    samples.write(Path("run.json"), samples.full_run())
    try:
        Path(name).write_bytes(Path("run.json").read_bytes())
    except OSError:
        pytest.skip("names are UTF-8 here")
    outs = [f"r.{kind}" for kind in ("md", "html", "json")]
    written = [word for out in outs for word in ("--out", out)]
    assert main(["compare", "run.json", name, *written]) == 0
    assert capsys.readouterr().err == ""
    assert r"run\udce9.json" in Path("r.html").read_text("utf-8")
    assert json.loads(Path("r.json").read_text("utf-8"))[0]["new"]["name"] == r"run\udce9.json"
