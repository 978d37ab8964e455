"""The settings of a sweep: options of `train` with several values each, and their product."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import click

from fcbackends.errors import ArgumentError, listed, shown

VARIED = (
    *("hidden", "activation", "loss", "optimizer", "momentum", "weight_decay", "lr", "schedule"),
    *("decay_every", "decay_factor", "warmup", "clip_norm", "batch_size", "sampling"),
    *("max_steps", "epochs", "tol", "tol_on", "patience"),
)
"""Options of `train` that a grid may have, by their names in Python."""

MOST_NETWORKS = 1_000_000

Grid: TypeAlias = Mapping[str, Sequence[Any]]
"""The values of each option, by its name in Python."""


def grid_of(texts: Sequence[str], train: click.Command, given: Mapping[str, str]) -> Grid:
    """The grid that texts NAME=VALUES tell, each value read as the option of `train` reads it.

    `given` are options beside the grid, and how they are spelled.

    Raises
    ------
    ArgumentError
        Where a name is no such option, comes twice or beside the grid, or a value is refused.
    """
    known = {param.name: param for param in train.params if param.name in VARIED}
    names = {_bare(word): name for name, param in known.items() for word in (name, *param.opts)}
    grid: dict[str, Sequence[Any]] = {}
    if not texts:
        raise ArgumentError("--grid", "be given", "nothing")
    for text in texts:
        word, equals, values = text.partition("=")
        if not equals:
            required = "be NAME=VALUES, such as lr=0.001,0.01 or hidden=8|16,8"
            raise ArgumentError("--grid", required, shown(text))
        name = names.get(_bare(word))
        if name is None:
            required = f"name an option of networks: one of {listed(VARIED)}"
            raise ArgumentError("--grid", required, shown(word))
        place = called(name)
        if name in grid:
            raise ArgumentError(place, "come once", "it twice")
        if name in given:
            raise ArgumentError((place, given[name]), "not come together", "both")
        grid[name] = _values(known[name], place, values)
    return grid


def called(name: str) -> str:
    """How errors name an option of the grid."""
    return f"--grid {name}"


def points(grid: Grid) -> list[dict[str, Any]]:
    """The options of each setting of a grid; those of the last change fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def spelled(value: Any) -> str:
    """A value as the command line has it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bare(word: str) -> str:
    return word.strip().removeprefix("--").replace("-", "_")


def _values(option: click.Parameter, place: str, text: str) -> list[Any]:
    is_sizes = option.name == "hidden"
    parts = text.split("|" if is_sizes or "|" in text else ",")
    values = []
    for part in map(str.strip, parts):
        try:
            value = () if is_sizes and not part else option.type.convert(part, option, None)
        except ArgumentError as error:
            raise error.renamed({option.opts[0]: place}) from None
        if value != value:
            raise ArgumentError(place, "have numbers as values", shown(part))
        if value in values:
            raise ArgumentError(place, "have each value once", f"{shown(part)} twice")
        values.append(value)
    return values
