"""The site: it builds without a warning, its links lead somewhere, and browsers show it well."""

import functools
import html
import http.server
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.parse
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

import fcbackends as fcb

SOURCE = Path(__file__).parents[2]
MEASURE = Path(__file__).with_name("measure.html")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SCHEMES = {"dark": 0, "light": 1}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("myst_nb") is None, reason="the extra docs is not installed"),
]
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")


def site_command(output):
    """The second of the two commands that the docs give, into another folder."""
    text = (SOURCE / "docs/testing.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- site-commands -->\n```\n(.*?)```\n", text, re.DOTALL)[1]
    install, build = block.splitlines()
    assert install == 'python -m pip install ".[docs]"'
    python, *words, folder = shlex.split(build)
    assert (python, folder) == ("python", "docs/_build/html")
    return [sys.executable, *words, str(output)]


def built(source, output):
    command = site_command(output)
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "html"
    done = built(SOURCE, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_a_warning_ends_a_build(tmp_path):
    source = tmp_path / "checkout"
    left_out = shutil.ignore_patterns("_build", "api")
    shutil.copytree(SOURCE / "docs", source / "docs", ignore=left_out)
    for path in (source / "docs").glob("*.md"):
        # What runs or is checked elsewhere would only take time here.
        path.write_text("# A page\n", encoding="utf-8")
    (source / "docs/index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n", encoding="utf-8")
    done = built(source, tmp_path / "html")
    assert done.returncode == 1
    assert "cross-reference target not found: 'nowhere.md'" in done.stderr


# --- links ---------------------------------------------------------------------------------------


class Links(HTMLParser):
    """What a page has to link to, and what it links to and loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.places = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.add(values.get("id"))
        for name in ("href", "src"):
            if values.get(name):
                self.places.append(values[name])


def pages_of(folder):
    """The pages of a site; a file of the theme's, among its styles, ends in .html too."""
    return sorted(path for path in folder.rglob("*.html") if path.parent.name != "_static")


def broken_links(folder):
    """The links inside a site that lead nowhere, each with its page."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in pages_of(folder)}

    def leads_somewhere(path, place):
        parts = urllib.parse.urlsplit(place)
        if parts.scheme in ("https", "mailto") or place == "#":
            return True
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
        if parts.scheme or not target.is_file():
            return False
        anchor = urllib.parse.unquote(parts.fragment)
        return not anchor or anchor in pages[target].anchors

    return [
        (path.name, place)
        for path, page in pages.items()
        for place in page.places
        if not leads_somewhere(path, place)
    ]


def test_links_lead_somewhere(site):
    assert len(pages_of(site)) > 25
    assert broken_links(site) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="here"></h1><a href="#here"></a><a href="#gone"></a><a href="b.html"></a>'
        '<a href="a.html#here"></a><img src="c.png"><script src="http://127.0.0.1/a.js"></script>'
    )
    found = [place for _, place in broken_links(tmp_path)]
    assert found == ["#gone", "b.html", "c.png", "http://127.0.0.1/a.js"]


def test_all_that_is_public_is_on_one_page(site):
    pages = [
        Links(path.read_text(encoding="utf-8")).anchors for path in sorted(site.glob("api/*.html"))
    ]
    names = [f"fcbackends.{name}" for name in fcb.__all__]
    estimators = itertools.product(("sklearn", "river"), ("FCClassifier", "FCRegressor"))
    names += [f"fcbackends.{library}.{name}" for library, name in estimators]
    assert {name: sum(name in anchors for anchors in pages) for name in names} == dict.fromkeys(
        names, 1
    )


def test_pictures_say_what_they_show(site):
    for path in site.glob("*.html"):
        for image in re.findall(r"<img [^>]*>", path.read_text(encoding="utf-8")):
            assert re.search(r'alt="[^"]{20,}"', image), (path.name, image)


# --- in a browser --------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *args):
        pass


@pytest.fixture
def look(tmp_path):
    """Open pages of a folder at a width: what is found of each, and the errors of them all."""

    def opened(folder, pages, width=1280, scheme="light"):
        text = MEASURE.read_text(encoding="utf-8").replace("WIDTH", str(width))
        wrapper = folder / "measure.html"
        wrapper.write_text(text.replace("PAGES", json.dumps(pages)), encoding="utf-8")
        handler = functools.partial(Quiet, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
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
                    "--enable-logging=stderr",
                    f"--user-data-dir={tmp_path / 'profile'}",
                    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                    f"--window-size={width + 40},1000",
                    f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
                    "--virtual-time-budget=100000",
                    "--dump-dom",
                    f"http://127.0.0.1:{server.server_port}/measure.html",
                ],
                capture_output=True,
                text=True,
                timeout=200,
                check=True,
            )
            server.shutdown()
        wrapper.unlink()
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr
        # The theme notes what it does in lines of its own.
        errors = re.findall(r"CONSOLE(?!.*\[PST\]: ).*", done.stderr)
        return json.loads(html.unescape(found[1])), errors

    return opened


@in_a_browser
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_readable(look, site, width, scheme):
    pages = [path.relative_to(site).as_posix() for path in pages_of(site)]
    found, errors = look(site, pages, width, scheme)
    assert errors == []
    assert list(found) == pages
    for name, page in found.items():
        assert page["elsewhere"] == [], name
        assert page["viewport"] > width - 20, name
        # A page never scrolls sideways; tables and code do so by themselves.
        assert page["width"] <= page["viewport"], name
        for picture in page["pictures"]:
            assert picture["loaded"], (name, picture)
            assert picture["right"] <= page["viewport"], (name, picture)
        # WCAG AA for text.
        assert page["contrast"] >= 4.5, (name, page["contrastText"])
        light = sum(map(int, re.findall(r"\d+", page["background"])[:3])) / 3 > 128
        assert light == (scheme == "light"), name
    assert found["contract.html"]["texts"] > 200


@in_a_browser
def test_those_checks_can_fail(look, tmp_path):
    (tmp_path / "page.html").write_text(
        '<main><p style="width: 3000px">wide</p><p style="color: #777; background: #888">pale</p>'
        '<img alt="gone" src="gone.png"><img src="http://pictures.test/a.png"></main>'
        '<script>console.error("this went wrong")</script>'
    )
    found, errors = look(tmp_path, ["page.html"], 390)
    page = found["page.html"]
    assert page["width"] > page["viewport"]
    assert (page["contrast"] < 1.5, page["contrastText"]) == (True, "pale")
    assert [picture["loaded"] for picture in page["pictures"]] == [False, False]
    assert any("this went wrong" in error for error in errors)
    assert page["elsewhere"] == ["http://pictures.test/a.png"]
