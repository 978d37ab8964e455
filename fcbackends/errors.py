"""What fcbackends raises: refusals as fields, of which their texts are made, and divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

_SHOWN_CHARACTERS = 80

Got: TypeAlias = "str | Mapping[str, Any]"
"""What came: in words, or for each argument what it is."""


def shown(value: object) -> str:
    """The value as an error text shows it: in one line, and no more than a glance's worth."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def printable(text: str) -> str:
    r"""The text in one line, with escapes for what a terminal would obey or not show.

    Those are control characters, line ends, marks that turn the direction of writing, characters
    of no width, and what is no character.

    Examples
    --------
    >>> print(printable("a\x1b[31mb\n\u202ec"))
    a\x1b[31mb\n\u202ec
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
            return f"{' and '.join(quoted)} must {self.required}, got {self.got}"
        came = ", ".join(f"`{argument}` {what}" for argument, what in self.got.items())
        return f"{', '.join(quoted)} must {self.required}, got {came}"

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
    """The loss or a parameter stopped being finite.

    Attributes
    ----------
    step : int
        The step, counted from 1, whose loss is not finite, or after which a parameter is not,
        whichever comes first. Single steps of a Trainer look at the loss alone.
    params : tuple of (w, b)
        The last parameters whose values are all finite.
    loss : float
        The loss at that step: infinite or NaN, or finite where only a parameter is not.
    lr : float
        The learning rate of that step.
    slots : tuple of tuple of (w, b)
        What the optimizer kept beside `params`.
    """

    def __init__(
        self,
        step: int,
        params: tuple[tuple[Any, Any], ...],
        loss: float,
        lr: float,
        slots: tuple[tuple[tuple[Any, Any], ...], ...] = (),
    ) -> None:
        super().__init__(step, params, loss, lr, slots)
        self.step = step
        self.params = params
        self.loss = loss
        self.lr = lr
        self.slots = slots

    @property
    def what(self) -> str:
        """What is not finite, at which step and rate, in words."""
        if math.isfinite(self.loss):
            what = f"a parameter is not finite after step {self.step}, whose loss is {self.loss:g}"
        else:
            what = f"the loss is not finite at step {self.step}: {self.loss:g}"
        return f"{what}, at a learning rate of {self.lr:g}"

    def __str__(self) -> str:
        """The text: what is not finite, what to try, and what is kept."""
        return (
            f"{self.what}; lower `lr`, or scale the data; the last finite parameters and what the "
            "optimizer kept beside them are in `.params` and `.slots` of this error"
        )
