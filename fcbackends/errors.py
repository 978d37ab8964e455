"""What fcbackends raises: refusals as fields, of which their texts are made, and divergence."""

from __future__ import annotations

import itertools
import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

_SHOWN_CHARACTERS = 80
_SHOWN_ARGUMENTS = 8
_LISTED = 50
_REQUIRED_CHARACTERS = 700
_GOT_CHARACTERS = 300
"""Of what came; all options of a command fit into what is required."""

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
        text = _one_line(_repr(value))
    except Exception:  # Python refuses to write integers of some thousand digits
        text = f"one of type {type(value).__name__}"
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


def listed(names: Iterable[str]) -> str:
    """The names as an error text lists them: each as `shown`, and no more than some."""
    first = [shown(name) for name in itertools.islice(names, _LISTED + 1)]
    return ", ".join(first if len(first) <= _LISTED else [*first[:_LISTED], "..."])


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _few(texts: list[str]) -> list[str]:
    """Texts, the first of many."""
    more = len(texts) - _SHOWN_ARGUMENTS
    return texts if more <= 0 else [*texts[:_SHOWN_ARGUMENTS], f"... {more} more"]


def both_ends(text: str, most: int) -> str:
    """A part of an error text; of a long one its two ends."""
    half = most // 2
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
        required = both_ends(self.required, _REQUIRED_CHARACTERS)
        return _one_line(f"{names} must {required}, got {both_ends(came, _GOT_CHARACTERS)}")

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
    data : str
        Where the data hold what is not finite; empty where they do not.
    """

    def __init__(
        self,
        step: int,
        params: tuple[tuple[Any, Any], ...],
        loss: float,
        lr: float,
        slots: tuple[tuple[tuple[Any, Any], ...], ...] = (),
        data: str = "",
    ) -> None:
        super().__init__(step, params, loss, lr, slots, data)
        self.step = step
        self.params = params
        self.loss = loss
        self.lr = lr
        self.slots = slots
        self.data = data

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
        remedy = self.data or "lower `lr`, or scale the data"
        return (
            f"{self.what}; {remedy}; the last finite parameters and what the optimizer kept beside "
            "them are in `.params` and `.slots` of this error"
        )


class SweepError(RuntimeError):
    """Some of many networks could not be trained, or an audit found other bits.

    Attributes
    ----------
    results : tuple of TrainResult or None
        What was trained, in the order of the networks; None for those that failed.
    failures : dict
        By the number of the network: why it failed, after several attempts.
    findings : tuple of Finding
        What the audit found.
    """

    def __init__(
        self,
        results: tuple[Any, ...],
        failures: Mapping[int, str],
        findings: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(results, failures, findings)
        self.results = results
        self.failures = dict(failures)
        self.findings = findings

    @property
    def what(self) -> str:
        """What failed, and what the audit found, each by name."""
        texts = [*map(str, self.findings)]
        if self.failures:
            texts.append(
                f"{len(self.failures)} of {len(self.results)} networks failed: "
                + "; ".join(_few(list(self.failures.values())))
            )
        return ". ".join(texts)

    def __str__(self) -> str:
        """The text: what failed, what the audit found, and where the rest is."""
        return f"{self.what}. The rest is in `.results` of this error"
