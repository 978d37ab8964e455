"""What each network of many is to be: sequences with an entry for each, or a table of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fcbackends.checks import options
from fcbackends.errors import ArgumentError, ArgumentTypeError, listed, shown
from fcbackends.maths.optimizers import SGD, Adam

SEQUENCES = ("seed", "lr", "rows", "hidden", "optimizer", "loss")
"""Arguments that may have an entry for each network."""

OF_NETWORKS = (
    *SEQUENCES,
    "activation",
    "clip_norm",
    "batch_size",
    "max_steps",
    "tol",
    "tol_on",
    "sampling",
    "record_every",
    "patience",
)
"""Options that a table of settings may have a column for."""

_OPTIMIZERS = {"sgd": SGD(), "adam": Adam()}


class Settings(NamedTuple):
    """The networks of a call.

    Attributes
    ----------
    shared : mapping
        Options of OF_NETWORKS by name, for all networks that have no own.
    own : sequence of mapping
        For each network: the options in which it has its own.
    in_table : bool
        Whether they come from a table.
    """

    shared: Mapping[str, Any]
    own: Sequence[Mapping[str, Any]]
    in_table: bool

    def of(self, number: int) -> dict[str, Any]:
        """All options of a network."""
        return {**self.shared, **self.own[number]}

    def place(self, number: int) -> Callable[[str], str]:
        """How errors name an option of a network."""
        own = self.own[number] if self.in_table else ()
        return lambda option: f"settings[{number}].{option}" if option in own else option

    def told(self, number: int) -> str:
        """A network by its number and its own options, as a report names it."""
        own = ", ".join(f"{k}={shown(v)}" for k, v in self.own[number].items() if k != "rows")
        return f"network {number} ({own})" if own else f"network {number}"


def settings_of(table: Any, given: Mapping[str, Any]) -> Settings:
    """The settings that the arguments of `train_many` tell, none of them checked by itself.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where neither a table nor a sequence tells how many networks there are, where both do, or
        where sequences or columns are not of the form that `train_many` states.
    """
    if table is not None:
        return _of_table(table, given)
    columns = dict(zip(SEQUENCES, (given[name] for name in SEQUENCES), strict=True))
    if not _is_of_many(columns["hidden"]):
        # The sizes of one network's layers are a sequence, too.
        del columns["hidden"]
    if not any(map(options.is_sequence, columns.values())):
        required = "be sequences with one entry a network, at least one of them, or `settings` come"
        raise ArgumentError(SEQUENCES, required, "each for all networks")
    rows = options.entries(**columns)
    if given["lr"] is None:
        raise ArgumentTypeError("lr", "be a learning rate or a schedule", "None")
    own = {name for name, value in columns.items() if options.is_sequence(value)}
    kept = [name for name in columns if name in own]
    places = [place for place, name in enumerate(columns) if name in own]
    shared = {name: value for name, value in given.items() if name not in own}
    entries = [{k: row[p] for k, p in zip(kept, places, strict=True)} for row in rows]
    return Settings(shared, entries, False)


def _is_of_many(hidden: Any) -> bool:
    """Whether these are the sizes of the hidden layers of several networks."""
    return options.is_sequence(hidden) and len(hidden) > 0 and all(map(options.is_sequence, hidden))


def _of_table(table: Any, given: Mapping[str, Any]) -> Settings:
    for name in SEQUENCES:
        several = _is_of_many if name == "hidden" else options.is_sequence
        if several(given[name]):
            required = "be one for all networks where `settings` has a row for each"
            raise ArgumentError(name, required, f"{len(given[name])} of them")
    rows = _rows(table)
    if not rows:
        raise ArgumentError("settings", "have a row for each network, at least one", "none")
    own = [_own(number, row) for number, row in enumerate(rows)]
    if given["lr"] is None:
        for number, row in enumerate(own):
            if "lr" not in row:
                required = "be given, or stand in each row of `settings`"
                raise ArgumentError("lr", required, f"none in row {number}")
    return Settings(given, own, True)


def _rows(table: Any) -> Sequence[Any]:
    """A row for each network: of a list of mappings, or of a frame of pandas or polars."""
    if hasattr(table, "to_dicts"):
        return table.to_dicts()
    if hasattr(table, "to_dict"):
        return table.to_dict("records")
    if not isinstance(table, Sequence) or isinstance(table, str | bytes):
        required = "be a list of mappings, or a frame of pandas or polars"
        raise ArgumentTypeError("settings", required, shown(table))
    return table


def _own(number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise ArgumentTypeError(f"settings[{number}]", "be a mapping of options", shown(row))
    own = {}
    for name, value in row.items():
        if name not in OF_NETWORKS:
            required = f"have options among {listed(OF_NETWORKS)}"
            raise ArgumentError(f"settings[{number}]", required, shown(name))
        if not _is_missing(value):
            text = name == "optimizer" and isinstance(value, str)
            own[name] = _optimizer(number, value) if text else value
    return own


def _optimizer(number: int, name: str) -> Any:
    return _OPTIMIZERS[options.choice(f"settings[{number}].optimizer", name, _OPTIMIZERS)]


def _is_missing(value: Any) -> bool:
    """Whether this is how tables show that there is no value: None, NaN, or what pandas has."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA is neither; of an array each number would be
        return type(value).__name__ == "NAType"
