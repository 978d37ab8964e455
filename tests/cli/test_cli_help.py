"""Each command's help: one screen, in groups, all options of it."""

import pytest

from fcbackends.cli.app import _cli


@pytest.fixture
def help_of(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(name):
        ran = command(f"{name} --help")
        assert (ran.status, ran.err) == (0, "")
        return ran.out.splitlines()

    return run


@pytest.mark.parametrize("name", _cli.commands)
def test_it_is_one_screen_with_every_option(help_of, name):
    lines = help_of(name)
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    for param in _cli.commands[name].params:
        spelled = [option for option in param.opts if option.startswith("--")]
        for option in spelled:
            assert sum(line.split()[:1] == [option] for line in lines) == 1, option


def test_options_of_train_are_in_groups_and_one_line_each(help_of):
    lines = help_of("train")
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert [title.partition(" (")[0].rstrip(":") for title in titles] == [
        *("Data file", "Columns and rows", "Network", "Descent", "When to stop", "Computing"),
        "Files to write",
    ]
    rows = [line for line in lines if line.startswith("  --")]
    at = lines.index(titles[0])
    assert len(lines) - at == len(rows) + len(titles)


def test_the_commands_are_told_in_a_line_each(command):
    ran = command("--help")
    rows = ran.out.partition("Commands:\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == sorted(_cli.commands)
    assert not any(row.endswith("...") for row in rows)
