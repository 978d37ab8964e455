"""The options of `pytest --pyargs fcbackends.conformance`."""

from __future__ import annotations

import os
from typing import Any

_KIT = "fcbackends.conformance"


def pytest_load_initial_conftests(early_config: Any, parser: Any, args: list[str]) -> None:
    """Add the options where the kit is to run: anywhere else these are somebody else's names."""
    if not any(_KIT in arg.replace(os.sep, ".").replace("/", ".") for arg in args):
        return
    options = parser.getgroup("fcbackends", "conformance of a backend of fcbackends")
    options.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="the backend that is to conform; may be given more than once",
    )
    options.addoption(
        "--arithmetic", metavar="NAME", help="its arithmetic, where that is not the ordered one"
    )
    options.addoption(
        "--rows-per-block",
        type=int,
        metavar="COUNT",
        help="samples in a block of the random cases' sums, where they are not to be one",
    )
    options.addoption(
        "--cases", type=int, default=1000, metavar="COUNT", help="how many random cases (1000)"
    )
    options.addoption(
        "--seed", type=int, default=0, metavar="SEED", help="what the cases are made from (0)"
    )
