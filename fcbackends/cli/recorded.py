"""The command line in a record: its words, and those that may come out of one again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

import fcbackends as fcb
from fcbackends.cli.form import STDIN, Columns, Form

OF_BITS = frozenset(
    (
        *(field.name for bundle in (Form, Columns) for field in fields(bundle)),
        *("hidden", "activation", "loss", "optimizer", "momentum", "nesterov", "weight_decay"),
        *("lr", "schedule", "decay_every", "decay_factor", "warmup", "clip_norm", "batch_size"),
        *("max_steps", "epochs", "tol", "tol_on", "sampling", "standardize", "holdout"),
        *("validation", "patience", "seed", "split_seed", "dtype", "backend", "arithmetic"),
        "rows_per_block",
    )
)
"""Options of `train` that bits depend on. No other is written to a record, or taken from one."""

_WHAT_COMPUTES = {"backend", "arithmetic"}

_WORDS = "fcbackends.words"


def keep_words(ctx: click.Context, words: Sequence[str]) -> None:
    """Keep the words that a command is given."""
    ctx.meta[_WORDS] = list(words)


def words_of_bits(ctx: click.Context) -> list[str]:
    """The options among a command's words that bits depend on, as they were given."""
    given, _, order = _parsed(ctx, ctx.meta[_WORDS])
    return _spelled(given, order)


def command_of(words: Sequence[str], data: str, backend: fcb.Backend) -> dict[str, Any]:
    """What a record says of a command: its words, to be pasted, and the file that it reads."""
    import hashlib

    name = os.path.basename(data)
    chosen = ["--backend", backend.name, "--arithmetic", backend.arithmetic]
    at_last = ["--", name] if name.startswith("-") and name != "-" else [name]
    path = Path(data)
    about: dict[str, Any] = {"name": name, "bytes": None, "sha256": None}
    if data not in STDIN and path.is_file():
        with path.open("rb") as file:
            about["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            about["bytes"] = file.tell()
    return {"arguments": ["train", *words, *chosen, *at_last], "file": about}


def options_in(arguments: Sequence[str], command: click.Command) -> list[str]:
    """The options in a record's words, but for what computes, spelled anew.

    Raises
    ------
    ValueError
        Where they are those of another command than `train`, or have an option that writes, or
        does anything else but choose bits.
    """
    if list(arguments[:1]) != ["train"]:
        raise ValueError(f"the command {' '.join(arguments[:1])!r}")
    try:
        given, files, order = _parsed(click.Context(command), arguments[1:])
    except click.UsageError as error:
        raise ValueError(error.format_message()) from None
    others = [param.opts[-1] for param in order if param.name not in {*OF_BITS, "data"}]
    if others or files:
        raise ValueError(f"{' '.join((*others, *files))!r}, which no record has")
    return _spelled(given, order)


def _parsed(ctx: click.Context, words: Sequence[str]) -> Any:
    """What each option is given, what is left over, and the options in their order."""
    return ctx.command.make_parser(ctx).parse_args(list(words))


def _spelled(given: Mapping[str, Any], order: Sequence[click.Parameter]) -> list[str]:
    words: list[str] = []
    # Of an option that is given twice, and may not be, the last counts.
    single = dict.fromkeys(param for param in order if not param.multiple)
    several = [param for param in order if param.multiple]
    values = {param: iter(given[param.name or ""]) for param in several}
    for param in (*single, *several):
        if param.name not in OF_BITS - _WHAT_COMPUTES:
            continue
        value = next(values[param]) if param.multiple else given[param.name]
        if isinstance(param, click.Option) and param.is_flag:
            words.append((param.opts if value else param.secondary_opts)[0])
        else:
            words += [param.opts[0], value]
    return words
