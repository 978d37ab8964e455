"""What fcbackends raises: refusals as fields, of which their texts are made, and divergence."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

_SHOWN_CHARACTERS = 80
_SHOWN_ARGUMENTS = 8
_MOST_CHARACTERS = 400
"""Of what is required, and of what came."""

Got: TypeAlias = "str | Mapping[str, Any]"
"""What came: in words, or for each argument what it is."""


def _glance() -> reprlib.Repr:
    """`repr`, but of a large value not all, and of one whose own `repr` raises its type."""
    made = reprlib.Repr()
    made.maxlevel = 3
    made.maxtuple = made.maxlist = made.maxdict = made.maxset = made.maxfrozenset = 27
    made.maxstring = made.maxlong = made.maxother = 4 * _SHOWN_CHARACTERS
    return made


_repr = _glance().repr


def shown(value: object) -> str:
    """The value as an error text shows it: in one line, and no more than a glance's worth."""
    try:
        text = one_line(_repr(value))
    except Exception:  # Python refuses to write integers of some thousand digits
        text = f"one of type {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def listed(names: Sequence[object]) -> str:
    """Names as an error text lists them: the first of many."""
    return ", ".join(_few([shown(name) for name in names]))


def one_line(text: str) -> str:
    """The text in one line, with what no terminal should get to see escaped."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return "".join(escaped)


def _few(texts: list[str]) -> list[str]:
    """Texts, the first of many."""
    more = len(texts) - _SHOWN_ARGUMENTS
    return texts if more <= 0 else [*texts[:_SHOWN_ARGUMENTS], f"... {more} more"]


def _part(text: str) -> str:
    """A part of an error text; of a long one both ends."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= 2 * half else f"{text[: half - 5]} ... {text[-half:]}"


def one_of(choices: Any) -> str:
    """What is required where there are choices."""
    return f"be one of {', '.join(map(repr, choices))}"


class ArgumentError(ValueError):
    """An argument was refused; the text names it, what is required and what came.

    Attributes
    ----------
    arguments : tuple of str
        The argument, or those that do not go together.
    required : str
        What it must do or be: the words after "must".
    got : str or mapping
        What came; or, by argument, what each of them is.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.get_backend("nunpy")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fcbackends.errors.ArgumentError: `backend` must be one of ..., got 'nunpy'
    >>> try:
    ...     fcb.init_params((2, 3), seed=-1)
    ... except fcb.ArgumentError as error:
    ...     print(error.arguments, error.got)
    ('seed',) -1
    """

    def __init__(self, arguments: str | tuple[str, ...], required: str, got: Got) -> None:
        self.arguments = (arguments,) if isinstance(arguments, str) else tuple(arguments)
        self.required = required
        self.got = got
        super().__init__(self.arguments, required, got)

    def __str__(self) -> str:
        """The text: "`argument` must ..., got ..."."""
        quoted = [f"`{argument}`" for argument in self.arguments]
        if isinstance(self.got, str):
            between, came = " and ", self.got
        else:
            between = ", "
            came = ", ".join(_few([f"`{name}` {what}" for name, what in self.got.items()]))
        names = between.join(_few(quoted))
        return one_line(f"{names} must {_part(self.required)}, got {_part(came)}")

    def renamed(self, names: Mapping[str, str]) -> ArgumentError:
        """The same refusal, for those who know the arguments by other names."""
        got = self.got
        if not isinstance(got, str):
            got = {names.get(argument, argument): what for argument, what in got.items()}
        arguments = tuple(names.get(argument, argument) for argument in self.arguments)
        return type(self)(arguments, self.required, got)


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument was refused for its type or dtype."""


class DivergenceError(ArithmeticError):
    """The loss, or at the end of a run a parameter, stopped being finite.

    Attributes
    ----------
    step : int
        The step, counted from 1, whose loss is not finite; where only parameters are not, the
        first step after which.
    params : tuple of (w, b)
        The last parameters whose values are all finite.
    """

    def __init__(self, step: int, params: tuple[tuple[Any, Any], ...]) -> None:
        super().__init__(
            f"the loss is not finite at step {step}: lower `lr`, or scale the data; "
            "the last finite parameters are kept in `.params` of this error"
        )
        self.step = step
        self.params = params

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.params)
