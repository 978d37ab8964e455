"""A progress bar, where somebody looks on."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Protocol

_DELAY_SECONDS = 2.0


class Advance(Protocol):
    """Moves a progress bar on, and shows the loss, if one is given."""

    def __call__(self, count: int, loss: float = math.nan) -> object:
        """Go on by `count` units."""


@contextlib.contextmanager
def progress_bar(total: int, unit: str, progress: bool | None) -> Iterator[Advance]:
    """A with-block with a progress bar, if it is to be shown; the function given moves it on.

    Parameters
    ----------
    total : int
        How many units there are.
    unit : str
        What they are.
    progress : bool or None
        Always, never, or (None) after two seconds on a terminal.
    """
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if not (on_terminal if progress is None else progress):
        yield lambda count, loss=math.nan: None
        return
    from tqdm.auto import tqdm

    delay = 0.0 if progress else _DELAY_SECONDS
    with tqdm(total=total, unit=unit, unit_scale=True, delay=delay) as bar:

        def advance(count: int, loss: float = math.nan) -> None:
            if math.isfinite(loss):
                bar.set_postfix_str(f"loss {loss:.3g}", refresh=False)
            bar.update(count)

        yield advance
