"""What the command line says of a table: how it is written, and what its columns are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STDIN = ("-", "/dev/stdin")
"""Names of standard input."""

WHITESPACE = "whitespace"
"""A separator: any number of blanks and tabs."""


@dataclass(frozen=True)
class Form:
    """How a table is written.

    Attributes
    ----------
    header : bool, or None
        Whether the first line holds names; None: it must, with a text in each column that is no
        number.
    separator : str, or None
        What stands between two values: a character, or `WHITESPACE`; None: it is recognised.
    decimal : str
        The decimal sign, "." or ",".
    encoding : str
        A codec that Python knows.
    comment : str, or None
        What lines begin with that are passed over.
    na : sequence of str
        Texts that stand for a missing value, beside those that always do.
    format : str, or None
        csv, parquet, npy or npz; None: the file's name says it.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    comment: str | None = None
    na: Sequence[str] = ()
    format: str | None = None


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are for; columns are as `Table.select` takes them.

    Attributes
    ----------
    target : sequence of str
        The targets; the last column, or those that the file says, if there are none.
    features : sequence of str
        The features; all other columns, if there are none.
    drop : sequence of str
        Instead of `features`: those that are not features.
    categorical : sequence of str
        Features to be one-hot encoded, though they may be numbers.
    text : {"onehot", "drop"}
        What becomes of features that are texts.
    missing : {"drop", "mean", "median"}, or None
        What becomes of missing values; None: they are refused.
    """

    target: Sequence[str] = ()
    features: Sequence[str] = ()
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    text: str = "onehot"
    missing: str | None = None
