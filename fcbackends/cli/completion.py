"""What shells ask of the program to complete its words, by the environment as Click has it."""

from __future__ import annotations

import os

import click
from click.shell_completion import shell_complete

from fcbackends.errors import ArgumentError, shown

VARIABLE = "_FCBACKENDS_COMPLETE"


def completed(program: click.Command) -> bool:
    """Whether a shell asks: it then has its script, or the words that may come next.

    Raises
    ------
    ArgumentError
        Where what is asked for is nothing that a shell asks.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return False
    try:
        known = shell_complete(program, {}, "fcbackends", VARIABLE, asked) == 0
    except (KeyError, ValueError):  # of COMP_WORDS and COMP_CWORD
        known = False
    if not known:
        required = "be bash_source, zsh_source or fish_source, for a shell's script"
        raise ArgumentError(VARIABLE, required, shown(asked))
    return True
