"""Commands that refuse as the library does, and call its arguments as the command line spells them.

Click's own refusals become ArgumentErrors here, and those of the library get the options' names.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import click

from fcbackends.cli.recorded import keep_words
from fcbackends.errors import ArgumentError, one_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_titles: WeakKeyDictionary[click.Parameter, str] = WeakKeyDictionary()


def together(*options: Decorator) -> Decorator:
    """These options of a command, in this order."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def group(title: str, *options: Decorator) -> Decorator:
    """These options of a command, which its help shows under a title."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        # Click gathers them here, the last first.
        before = len(getattr(command, "__click_params__", ()))
        command = together(*options)(command)
        for param in command.__click_params__[before:]:  # type: ignore[attr-defined]
            _titles[param] = title
        return command

    return decorated


def as_in(command: click.Command, title: str, *names: str) -> Decorator:
    """Options of another command by their names, which the help shows under a title."""
    known = {param.name: param for param in command.params}

    def option(name: str) -> Decorator:
        def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
            param = copy.copy(known[name])
            vars(function).setdefault("__click_params__", []).append(param)
            return function

        return decorated

    return group(title, *map(option, names))


class _Refusing(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise self._refusal(ctx, error) from None

    def _refusal(self, ctx: click.Context, error: click.UsageError) -> ArgumentError:
        options = {
            spelled: param
            for param in self.get_params(ctx)
            for spelled in (*param.opts, *param.secondary_opts)
            if isinstance(param, click.Option)
        }
        match error:
            case click.MissingParameter(param=click.Parameter() as missing):
                return ArgumentError(_spelled(missing), "be given", "nothing")
            case click.NoSuchOption():
                names = [spelled for spelled in options if spelled.startswith("--")]
                required = f"be one of {', '.join(names)}"
                return ArgumentError("OPTION", required, repr(error.option_name))
            case click.BadOptionUsage():
                flag = getattr(options.get(error.option_name), "is_flag", False)
                required = "come without a value" if flag else "come with a value"
                return ArgumentError(error.option_name, required, "one" if flag else "none")
        return ArgumentError(self.name or "", "be called as its --help says", error.message)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArgumentError as error:
            names = {param.name: _spelled(param) for param in self.params if param.name}
            raise error.renamed(names) from None


class _Command(_Refusing):
    allow_extra_args = True

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it does right below its usage: the options need the lines of a screen."""
        with formatter.indentation():
            formatter.write_text(inspect.cleandoc(self.help or ""))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each group under its title; --help is left out, as it is known."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.params:
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                groups.setdefault(_titles.get(param, "Options"), []).append(record)
        for title, records in groups.items():
            formatter.write_heading(title)
            with formatter.indentation():
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        keep_words(ctx, args)
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            used = " ".join(self.collect_usage_pieces(ctx))
            required = f"be followed by {used} and nothing else"
            raise ArgumentError(ctx.info_name or "", required, f"{' '.join(rest)!r} as well")
        return rest


class Commands(_Refusing, click.Group):
    """A group that names its commands where an unknown one is asked for."""

    command_class = _Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that these arguments begin with."""
        is_name = args[0] == "-" or not args[0].startswith("-")
        if args[0] not in self.commands and is_name and not ctx.resilient_parsing:
            raise ArgumentError("COMMAND", one_of(self.commands), repr(args[0]))
        return super().resolve_command(ctx, args)


def _spelled(param: click.Parameter) -> str:
    """What the command line calls it."""
    return param.opts[0] if isinstance(param, click.Option) else (param.name or "").upper()
