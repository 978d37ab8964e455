"""Options of more than one command, and those that come in bundles."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from fcbackends.cli import types
from fcbackends.cli.commands import Decorator, group, together
from fcbackends.cli.descent import SCHEDULES
from fcbackends.cli.form import WHITESPACE, Columns, Form
from fcbackends.maths.losses import LOSSES

ROWS = "Columns and rows (COLUMNS: names, indices, ranges a:b, with commas)"
"""The title of what is done to the columns and rows of DATA."""

_NAMED_SEPARATORS = {"tab": "\t", r"\t": "\t", "space": " ", WHITESPACE: WHITESPACE}


def _bundle(argument: str, bundle: type[Form] | type[Columns], *options: Decorator) -> Decorator:
    """These options of a command, which gets them as one argument."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        def with_bundle(*arguments: Any, **given: Any) -> Any:
            parts = {part.name: given.pop(part.name) for part in fields(bundle)}
            return command(*arguments, **{argument: bundle(**parts)}, **given)

        return together(*options)(functools.wraps(command)(with_bundle))

    return decorated


def _is_separator(text: str) -> bool:
    return text == WHITESPACE or (len(text) == 1 and text.isascii() and text not in '"\r\n')


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError from None


form = _bundle(
    "form",
    Form,
    group(
        "Data file",
        click.option(
            "--format",
            type=types.choice("csv", "parquet", "npy", "npz"),
            help="What DATA is, if its name does not say.",
        ),
        click.option(
            "--header/--no-header", default=None, help="CSV: whether line 1 holds names (it must)."
        ),
        click.option(
            "--separator",
            type=types.Parsed(
                "CHARACTER",
                f"be one character, such as ';', or one of {', '.join(_NAMED_SEPARATORS)}",
                lambda text: _NAMED_SEPARATORS.get(text, text),
                _is_separator,
            ),
            help="CSV: between values.  [default: as found]",
        ),
        click.option(
            "--decimal",
            type=types.choice(".", ","),
            default=".",
            show_default=True,
            help="CSV: the decimal sign.",
        ),
        click.option(
            "--encoding",
            type=types.Parsed("NAME", "be an encoding such as utf-8, latin-1 or utf-16", _encoding),
            default="utf-8",
            show_default=True,
            help="CSV: its encoding.",
        ),
        click.option("--comment", metavar="TEXT", help="CSV: how lines to pass over begin."),
        click.option(
            "--na",
            multiple=True,
            metavar="TEXT",
            help="A text for a missing value (repeatable).",
        ),
    ),
)
"""How DATA is written."""

columns = _bundle(
    "columns",
    Columns,
    group(
        ROWS,
        click.option(
            "--target",
            multiple=True,
            metavar="COLUMNS",
            help="What to learn.  [default: the last column]",
        ),
        click.option(
            "--features",
            multiple=True,
            metavar="COLUMNS",
            help="What to learn from.  [default: all others]",
        ),
        click.option(
            "--drop",
            multiple=True,
            metavar="COLUMNS",
            help="Instead of --features: what to leave out.",
        ),
        click.option(
            "--categorical",
            multiple=True,
            metavar="COLUMNS",
            help="Features to encode as categories.",
        ),
        click.option(
            "--text",
            type=types.choice("onehot", "drop"),
            default="onehot",
            show_default=True,
            help="Text features.",
        ),
        click.option(
            "--missing",
            type=types.choice("drop", "mean", "median"),
            help="Drop rows with gaps, or fill features in.",
        ),
    ),
)
"""What the columns of DATA are for."""

activation = click.option(
    "--activation",
    type=types.ACTIVATION,
    default="relu",
    show_default=True,
    help="Between layers.",
)

loss = click.option(
    "--loss",
    type=types.choice(*LOSSES),
    metavar="NAME",
    default="mean_squared",
    help="mean_squared, huber, [binary_]cross_entropy.",
)

rule = together(
    click.option(
        "--optimizer",
        type=types.choice("sgd", "adam", "adamw"),
        default="sgd",
        show_default=True,
        help="How parameters move.",
    ),
    click.option("--momentum", type=types.NUMBER, help="Momentum of sgd, below 1."),
    click.option("--nesterov", is_flag=True, help="Nesterov's momentum."),
    click.option("--weight-decay", type=types.NUMBER, default="0", help="Decay of parameters."),
)
"""How parameters move."""

schedule = click.option(
    "--schedule",
    type=types.choice(*SCHEDULES),
    metavar="NAME",
    default="constant",
    help="constant, step, exponential or cosine.",
)
