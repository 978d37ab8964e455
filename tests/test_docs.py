"""README and docs: their examples run, their commands, options, links and names are there."""

import doctest
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import datasets

import fcbackends as fcb
from fcbackends.cli import main
from tests.cli.test_cli_tables import PENGUINS

SOURCE = Path(__file__).parents[1]
PAGES = [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
PROJECT = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))
LIBRARIES = "torch", "jax", "dask", "cupy"

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page):
    """The fenced blocks of a page: line number, language, code."""
    text = text_of(page)
    for found in re.finditer(r"^```([^`\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(2)), found[1], found[2]


def library_of(code):
    """The array library that an example needs beside NumPy, if any."""
    imported = re.findall(r"^(?:>>> )?import (\w+)", code, re.MULTILINE)
    return next((name for name in imported if name in LIBRARIES), None)


def run_examples(page, library=None):
    """Run a page's Python blocks in turn, in one namespace; how many there were."""
    namespace = {"__name__": "example"}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    ran, failures = 0, []
    for line, language, code in blocks(page):
        if language != "python" or library_of(code) not in (None, library):
            continue
        ran += 1
        if ">>>" not in code:
            exec(compile(code, page.name, "exec"), namespace)
            continue
        test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), line)
        test.globs = namespace
        runner.run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    return ran


def command_lines(page):
    """The shell commands of a page, each as its words."""
    for _, language, code in blocks(page):
        if language:
            continue
        for line in code.replace("\\\n", " ").splitlines():
            for command in line.removeprefix("$ ").split("&&"):
                if command.lstrip().startswith(("fcbackends ", "python ")):
                    yield shlex.split(command, comments=True)


OWN_LINES = sorted({tuple(words) for page in PAGES for words in command_lines(page)})


@of_each_page
def test_examples_run(page):
    written = [code for _, language, code in blocks(page) if language == "python"]
    assert run_examples(page) == sum(library_of(code) is None for code in written)


def test_blocks_are_of_a_kind_that_is_run():
    # Those without a language are commands, what they print, and formulas.
    kinds = {language.split()[0] for page in PAGES for _, language, _ in blocks(page) if language}
    assert kinds == {"python", "toml", "{code-cell}", "{toctree}", "{include}", "{literalinclude}"}


@pytest.mark.parametrize(
    ("page", "library"),
    [
        pytest.param(page, library, id=f"{page.name}-{library}")
        for page in PAGES
        for library in sorted({library_of(code) for *_, code in blocks(page)} - {None})
    ],
)
def test_examples_with_other_libraries_run(page, library):
    pytest.importorskip(library)
    assert run_examples(page, library)


@pytest.mark.parametrize("marker", ["run-command", "test-command"])
def test_each_marker_holds_one_command(marker):
    found = re.findall(
        rf"^<!-- {marker} -->\n```\n(.*?)```\n<!-- /{marker} -->$",
        text_of(SOURCE / "README.md"),
        re.MULTILINE | re.DOTALL,
    )
    assert [block.count("\n") for block in found] == [1]
    assert found[0].startswith("python -m pip install ")


@pytest.mark.parametrize("words", OWN_LINES, ids=" ".join)
def test_commands_and_options_are_there(words, capsys):
    if words[0] == "python":
        extras = re.findall(r"^\.\[(\w+)\]$", "\n".join(words), re.MULTILINE)
        assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
        for word in words[1:]:
            assert not word.startswith("benchmarks/") or (SOURCE / word).exists()
        return
    assert main([words[1], "--help"]) == 0
    options = re.findall(r"--[\w-]+", capsys.readouterr().out)
    assert {word for word in words if word.startswith("--")} <= set(options)


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_commands_on_files_do_what_they_say(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(60, 4))
    for name, columns in (("measurements.csv", "a,b,c,yield"), ("new.csv", "a,b,c")):
        table = values[:, : columns.count(",") + 1]
        np.savetxt(name, table, delimiter=",", header=columns, comments="")
    for words in command_lines(SOURCE / page):
        if any(word.endswith((".csv", ".safetensors")) for word in words):
            assert main(words[1:]) == 0, capsys.readouterr().err
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        *("measurements.csv", "new.csv"),
        *("model.safetensors", "loss.png", "predictions.csv"),
    }


def test_commands_on_records_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt("measurements.csv", table, delimiter=",", header="a,b,c,yield", comments="")
    for words in command_lines(SOURCE / "docs/reproducing.md"):
        assert main(words[1:]) == 0, capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"measurements.csv", "run.json"}


def test_commands_on_tables_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_text(PENGUINS, encoding="utf-8")
    iris = datasets.load_iris()
    columns = {name: iris.data[:, i] for i, name in enumerate(iris.feature_names)}
    pl.DataFrame({**columns, "species": iris.target_names[iris.target]}).write_csv("iris.csv")
    for words in command_lines(SOURCE / "docs/tables.md"):
        assert main(words[1:]) == 0, capsys.readouterr().err
    assert pl.read_csv("mass.csv").columns == ["id", "mass", "predicted_mass"]
    assert pl.read_csv("classes.csv").columns == [
        *("species", "predicted_species"),
        *(f"p_{name}" for name in iris.target_names),
    ]


def anchors(page):
    """What links may name in a page: its headings, in small letters, with dashes."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_page
def test_links_resolve(page):
    for place, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text_of(page)):
        if not place.startswith("https://"):
            target = (page.parent / place).resolve() if place else page
            assert target.is_file(), place
            assert not anchor or anchor in anchors(target), anchor


@of_each_page
def test_names_are_there(page):
    text = text_of(page)
    for name in re.findall(r"\bfcb\.(\w+)", text):
        assert name in fcb.__all__, name
    for name in re.findall(r"`(fcbackends(?:\.\w+)+)`", text):
        pkgutil.resolve_name(name)
    for path in re.findall(r"`((?:fcbackends|benchmarks|tests)/[\w/.]+)`", text):
        assert (SOURCE / path).exists(), path


@of_each_page
def test_pages_are_plain_text(page):
    assert text_of(page).isascii() or page.name == "notebook.zh.md"


def test_the_chinese_page_has_the_code_of_the_english_one():
    english, chinese = (
        [code for *_, code in blocks(SOURCE / "docs" / name)]
        for name in ("notebook.md", "notebook.zh.md")
    )
    assert chinese == english


def test_the_package_refers_to_pages_that_are_there():
    for path in (SOURCE / "fcbackends").rglob("*.py"):
        text = text_of(path)
        assert "README" not in text, path
        for page in re.findall(r"docs/[\w/.]*\w", text):
            assert (SOURCE / page).is_file(), (path, page)


def test_the_source_distribution_takes_what_is_there():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert "/docs" in included
    # The package may be installed elsewhere.
    for path in set(included) - {"/fcbackends"}:
        assert (SOURCE / path.lstrip("/")).exists(), path
