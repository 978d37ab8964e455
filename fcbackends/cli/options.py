"""Options of more than one command, and those that come in bundles."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from fcbackends.cli import types
from fcbackends.cli.form import WHITESPACE, Columns, Form
from fcbackends.maths.activations import ACTIVATIONS
from fcbackends.maths.losses import LOSSES

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_NAMED_SEPARATORS = {"tab": "\t", r"\t": "\t", "space": " ", WHITESPACE: WHITESPACE}


def _bundle(argument: str, bundle: type[Form] | type[Columns], *options: _Decorator) -> _Decorator:
    """These options of a command, which gets them as one argument."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        def with_bundle(*arguments: Any, **given: Any) -> Any:
            parts = {part.name: given.pop(part.name) for part in fields(bundle)}
            return command(*arguments, **{argument: bundle(**parts)}, **given)

        return _together(*options)(functools.wraps(command)(with_bundle))

    return decorated


def _together(*options: _Decorator) -> _Decorator:
    """These options of a command, in this order."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

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
    click.option(
        "--header/--no-header",
        default=None,
        help="Whether a .csv file's first line holds names; it must, if this is left out.",
    ),
    click.option(
        "--separator",
        type=types.Parsed(
            "CHARACTER",
            f"be one character, such as ';', or one of {', '.join(_NAMED_SEPARATORS)}",
            lambda text: _NAMED_SEPARATORS.get(text, text),
            _is_separator,
        ),
        help="What a .csv file has between two values: a character, tab or whitespace.  "
        "[default: , ; | tab or whitespace, as is recognised]",
    ),
    click.option(
        "--decimal",
        type=types.choice(".", ","),
        default=".",
        show_default=True,
        help="The decimal sign of a .csv file.",
    ),
    click.option(
        "--encoding",
        type=types.Parsed("NAME", "be an encoding such as utf-8, latin-1 or utf-16", _encoding),
        default="utf-8",
        show_default=True,
        help="The encoding of a .csv file.",
    ),
    click.option(
        "--comment", metavar="TEXT", help="What lines of a .csv file begin with to be passed over."
    ),
    click.option(
        "--na",
        multiple=True,
        metavar="TEXT",
        help="A text that stands for a missing value, beside an empty cell, NA, N/A, NaN and null; "
        "may be given more than once.",
    ),
    click.option(
        "--format",
        type=types.choice("csv", "parquet", "npy", "npz"),
        help="What DATA is, if its name does not say so, as that of standard input (-).",
    ),
)
"""How DATA is written."""

columns = _bundle(
    "columns",
    Columns,
    click.option(
        "--target",
        multiple=True,
        metavar="COLUMNS",
        help="Target columns: names, indices (from 0, or from the end if negative) and ranges a:b, "
        "with commas between them. The last column, if left out.",
    ),
    click.option(
        "--features",
        multiple=True,
        metavar="COLUMNS",
        help="Feature columns. All others, if left out.",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="COLUMNS",
        help="Instead of --features: columns to leave out.",
    ),
    click.option(
        "--categorical",
        multiple=True,
        metavar="COLUMNS",
        help="Feature columns to encode as categories, whatever their values.",
    ),
    click.option(
        "--text",
        type=types.choice("onehot", "drop"),
        default="onehot",
        show_default=True,
        help="Encode text columns, one input for each category, or leave them out.",
    ),
    click.option(
        "--missing",
        type=types.choice("drop", "mean", "median"),
        help="Leave rows with missing values out, or fill in the mean or the median of the rows "
        "trained on, and the most frequent category.  [default: they are refused]",
    ),
)
"""What the columns of DATA are for."""

recipe = _together(
    click.option(
        "--activation",
        type=types.ACTIVATION,
        default="relu",
        show_default=True,
        help="What goes between the layers, or one for each hidden layer with commas between them: "
        f"{', '.join(ACTIVATIONS)}.",
    ),
    click.option(
        "--loss",
        type=types.choice(*LOSSES),
        default="mean_squared",
        show_default=True,
        help="What is made small. With cross_entropy the target is one column of classes, names or "
        "numbers; with binary_cross_entropy each target has two values.",
    ),
    click.option(
        "--optimizer",
        type=types.choice("sgd", "adam", "adamw"),
        default="sgd",
        show_default=True,
        help="How parameters move; adamw decays them by themselves, the others through the "
        "gradient.",
    ),
    click.option("--momentum", type=types.NUMBER, help="Momentum of sgd, below 1."),
    click.option("--nesterov", is_flag=True, help="Nesterov's momentum."),
    click.option("--weight-decay", type=types.NUMBER, default="0", help="Decay of all parameters."),
)
"""What is trained, and how parameters move."""
