"""The types of options: how a text becomes a value, and what is required where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from fcbackends.errors import ArgumentError, one_of, shown
from fcbackends.maths.activations import ACTIVATIONS

_LARGEST_LAYER = 1_000_000
_MOST_SEEDS = 1_000_000


class Parsed(click.ParamType[Any]):
    """A type whose refusal says what is required and what came."""

    def __init__(
        self,
        metavar: str,
        required: str,
        parse: Callable[[str], Any],
        allows: Callable[[Any], bool] = lambda value: True,
        choices: Sequence[str] = (),
    ) -> None:
        self.name, self._choices = metavar, choices
        self._required, self._parse, self._allows = required, parse, allows

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help calls a value."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that a text stands for; ArgumentError, where it is none of this type."""
        try:
            parsed = self._parse(value)
            if self._allows(parsed):
                return parsed
        except ValueError:
            pass
        raise ArgumentError(param.opts[0] if param else self.name, self._required, shown(value))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that a value may be, of those that begin so."""
        return [CompletionItem(word) for word in self._choices if word.startswith(incomplete)]


class _FileName(click.ParamType[Any]):
    """A file's name, which shells complete."""

    name = "FILE"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What says that the shell is to look for files."""
        return [CompletionItem(incomplete, type="file")]


class _BackendName(click.ParamType[Any]):
    """A backend's name; which there are is asked for where shells complete it."""

    name = "NAME"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The backends whose names begin so."""
        from fcbackends.backends.registry import list_backends

        return [CompletionItem(name) for name in list_backends() if name.startswith(incomplete)]


FILE = _FileName()
BACKEND = _BackendName()

_SECONDS_IN = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def _unit(time: str) -> str:
    return time[-1:] if time[-1:] in _SECONDS_IN else ""


def choice(*choices: str) -> click.ParamType[Any]:
    """One of these words."""
    return Parsed("|".join(choices), one_of(choices), str, choices.__contains__, choices)


def _count(least: int) -> click.ParamType[Any]:
    required = f"be a whole number of at least {least}"
    return Parsed("COUNT", required, int, lambda count: count >= least)


def _seeds(text: str) -> Sequence[int]:
    first, is_range, last = text.partition(":")
    if is_range:
        ends = int(first), int(last)
        # Not even counted, where they are too many.
        return range(*ends) if 0 < ends[1] - ends[0] <= _MOST_SEEDS else ()
    seeds = tuple(map(int, text.split(",")))
    return seeds if len({*seeds}) == len(seeds) else ()


WHOLE = _count(0)
COUNT = _count(1)
INTEGER = Parsed("INTEGER", "be a whole number", int)
NUMBER = Parsed("NUMBER", "be a number", float)
TOLERANCE = Parsed(
    "NUMBER", "be a finite number of at least 0", float, lambda value: 0 <= value < math.inf
)
PERCENT = Parsed(
    "PERCENT",
    "be a percentage such as 10%",
    lambda text: float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan,
    lambda share: 0 <= share < math.inf,
)
DURATION = Parsed(
    "DURATION",
    "be a finite time > 0 in seconds, or with its unit, such as 90, 90s, 10m or 2h",
    lambda text: float(text.removesuffix(_unit(text))) * _SECONDS_IN[_unit(text)],
    lambda seconds: 0 < seconds < math.inf,
)
SHAPE = Parsed(
    "SIZES",
    "be two or more whole numbers of at least 1, such as 2-3 or 8-16-1",
    lambda text: tuple(map(int, text.split("-"))),
    lambda shape: len(shape) >= 2 and min(shape) >= 1,
)
ACTIVATION = Parsed(
    "NAME[,NAME...]",
    f"{one_of(ACTIVATIONS)}, or several with commas between them, one a hidden layer",
    lambda text: tuple(text.split(",")) if "," in text else text,
    lambda names: {*([names] if isinstance(names, str) else names)} <= {*ACTIVATIONS},
    tuple(ACTIVATIONS),
)
SEEDS = Parsed(
    "A:B",
    "be a range A:B, B left out, or whole numbers with commas between them, each once; all from 0 "
    f"to 2**64 - 1, and at most {_MOST_SEEDS}",
    _seeds,
    lambda seeds: bool(seeds) and min(seeds) >= 0 and max(seeds) < 2**64,
)
SIZES = Parsed(
    "SIZES",
    f"be layer sizes from 1 to {_LARGEST_LAYER} with commas between them, such as 64,32",
    lambda text: tuple(map(int, text.split(","))),
    lambda sizes: 1 <= min(sizes) <= max(sizes) <= _LARGEST_LAYER,
)
