"""What fcbackends raises: refused arguments and training runs that diverge."""

from __future__ import annotations

from typing import Any, NoReturn

_SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """The value as an error text shows it: in one line, and no more than a glance's worth."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


class ArgumentError(ValueError):
    """An argument was refused; the text names it, what is required and what came.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.get_backend("nunpy")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fcbackends.errors.ArgumentError: `backend` must be one of ..., got 'nunpy'
    """


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument was refused for its type or dtype."""


def refuse_mix(required: str, found: dict[str, Any], kind: type[ArgumentError]) -> NoReturn:
    """Refuse arguments that must agree and do not; `found` has what each of them is."""
    names = ", ".join(f"`{name}`" for name in found)
    got = ", ".join(f"`{name}` {what}" for name, what in found.items())
    raise kind(f"{names} must be {required}, got {got}")


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
