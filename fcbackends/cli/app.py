"""The commands and their options."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from fcbackends import __version__
from fcbackends.errors import ArgumentError

# The library's names of what the command line calls otherwise.
_OPTIONS = {
    "batch_size": "--batch",
    "max_steps": "--steps",
    "tol_on": "--tol-on",
    **{name: f"--{name}" for name in ("arithmetic", "backend", "dtype", "lr", "sampling", "seed")},
}
_LARGEST_LAYER = 1_000_000


class _Parsed(click.ParamType[Any]):
    """A type whose refusal says what is required and what came."""

    def __init__(self, metavar: str, required: str, parse: Callable[[str], Any]) -> None:
        self.name = metavar
        self._required = required
        self._parse = parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value)
        except ValueError:
            option = param.opts[0] if param else self.name
            raise ArgumentError(f"`{option}` must be {self._required}, got {value!r}") from None


def _one_of(*choices: str) -> _Parsed:
    return _Parsed(
        "|".join(choices),
        f"one of {', '.join(map(repr, choices))}",
        lambda text: choices[choices.index(text)],
    )


def _parse_sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(map(int, text.split(",")))
    if not 1 <= min(sizes) <= max(sizes) <= _LARGEST_LAYER:
        raise ValueError
    return sizes


def _parse_tolerance(text: str) -> float:
    if not 0 <= float(text) < math.inf:
        raise ValueError
    return float(text)


def _parse_count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _parse_whole(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _parse_shape(text: str) -> tuple[int, int]:
    inputs, outputs = map(_parse_count, text.split("-"))
    return inputs, outputs


def _parse_percent(text: str) -> float:
    share = float(text.removesuffix("%")) / 100
    if not text.endswith("%") or not 0 <= share < math.inf:
        raise ValueError
    return share


_PERCENT = _Parsed("PERCENT", "a percentage such as 10%", _parse_percent)
_NUMBER = _Parsed("NUMBER", "a number", float)
_INTEGER = _Parsed("INTEGER", "a whole number", int)
_WHOLE = _Parsed("COUNT", "a whole number of at least 0", _parse_whole)
_COUNT = _Parsed("COUNT", "a whole number of at least 1", _parse_count)
_TOLERANCE = _Parsed("NUMBER", "a finite number of at least 0", _parse_tolerance)
_SHAPE = _Parsed("K-M", "two whole numbers of at least 1, such as 2-3", _parse_shape)
_SIZES = _Parsed(
    "SIZES",
    f"layer sizes from 1 to {_LARGEST_LAYER} with commas between them, such as 64,32",
    _parse_sizes,
)


class _Commands(click.Group):
    """A group that names its commands where an unknown one is asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            there = ", ".join(map(repr, self.commands))
            raise ArgumentError(f"`COMMAND` must be one of {there}, got {args[0]!r}")
        return super().resolve_command(ctx, args)


_header = click.option(
    "--header/--no-header",
    default=None,
    help="Whether a .csv file's first line holds names; it must, if this is left out.",
)


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(__version__)
@click.pass_context
def _cli(ctx: click.Context) -> int:
    """Train fully connected networks with the same bits on every backend."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


@_cli.command()
@click.argument("data", required=False)
@_header
@click.option(
    "--target",
    multiple=True,
    metavar="COLUMNS",
    help="Target columns: names, indices (from 0, or from the end if negative) and ranges a:b, "
    "with commas between them. The last column, if left out.",
)
@click.option("--hidden", type=_SIZES, help="Sizes of the hidden layers: 64,32.")
@click.option("--lr", type=_NUMBER, default="0.01", show_default=True, help="Learning rate.")
@click.option("--batch", type=_COUNT, help="Samples a step.  [default: 32, or all if fewer]")
@click.option("--steps", type=_COUNT, help="Steps at the most.")
@click.option(
    "--epochs", type=_COUNT, help="Instead of --steps: passes over the data.  [default: 100]"
)
@click.option("--tol", type=_TOLERANCE, help="Stop at a loss of this or less.")
@click.option(
    "--tol-on",
    type=_one_of("batch", "data"),
    default="batch",
    show_default=True,
    help="Which loss is recorded and stops: the step's batch's, or once an epoch the whole data's.",
)
@click.option(
    "--sampling",
    type=_one_of("epoch", "replacement"),
    default="epoch",
    show_default=True,
    help="Draw batches from shuffled epochs, or with replacement.",
)
@click.option(
    "--standardize",
    type=_one_of("inputs", "targets", "both"),
    help="Bring columns to mean 0 and standard deviation 1; kept with the model.",
)
@click.option("--holdout", type=_NUMBER, metavar="SHARE", help="Share of the rows not trained on.")
@click.option(
    "--seed",
    type=_INTEGER,
    default="0",
    show_default=True,
    help="Chooses the initial parameters, the held-out rows and the samples of each step.",
)
@click.option("--dtype", type=_one_of("float64", "float32"), default="float64", show_default=True)
@click.option("--backend", metavar="NAME", help="One that `fcbackends info` lists.")
@click.option("--out", metavar="MODEL", help="Write the model: a .safetensors file.")
@click.option("--plot", metavar="PICTURE", help="Draw the loss: a .png, .svg or .pdf file.")
@click.pass_context
def train(ctx: click.Context, /, data: str | None, **options: Any) -> int:
    """Train on DATA (.csv, .parquet, .npy; .npz with arrays x and t, or one table).

    Without DATA: linear regression on made data, on the backends numpy and numba, with the bits
    and the speed of both compared; --seed and --dtype are its options.
    """
    if data is not None:
        from fcbackends.cli.fit import Options, train_file

        train_file(data, Options(**options))
        return 0
    for name in options:
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("seed", "dtype"):
            option = name.replace("_", "-")
            raise ArgumentError(
                f"`--{option}` must come with a file to train on, got no `DATA` (without it there "
                "are only --seed and --dtype)"
            )
    from fcbackends.cli.notebook import train_notebook

    return train_notebook(options["seed"], options["dtype"])


@_cli.command()
@click.argument("model")
@click.argument("data")
@_header
@click.option(
    "--out", metavar="FILE", help="A .csv, .parquet or .npy file; CSV on stdout if left out."
)
def predict(model: str, data: str, header: bool | None, out: str | None) -> int:
    """Apply a MODEL that `train --out` wrote to the features in DATA."""
    from fcbackends.cli.predict import predict_file

    predict_file(model, data, header, out)
    return 0


_outs = click.option(
    "--out",
    "outs",
    multiple=True,
    metavar="FILE",
    help="Write a .md, .html or .json file instead; may be given more than once.",
)
_schema = click.option("--schema", is_flag=True, help="Print the JSON Schema of .json files.")


@_cli.command()
@click.argument("run", required=False)
@_outs
@_schema
def report(run: str | None, outs: tuple[str, ...], schema: bool) -> int:
    """Show speed and agreement of a RUN of `pytest benchmarks/`; the newest, if left out.

    RUN is a file, or the beginning of a saved run's name in .benchmarks, such as 0003.
    """
    from fcbackends.cli import report as reports

    if schema:
        reports.show_schema(of_comparisons=False)
    else:
        reports.report_run(run, outs)
    return 0


@_cli.command()
@click.argument("names", nargs=-1, metavar="BASE NEW...")
@click.option(
    "--interleave",
    is_flag=True,
    help="BASE and NEW are git revisions, or folders with the package: measure both in turn, now.",
)
@click.option("--only", metavar="TEXT", help="With --interleave: benchmarks with it in their name.")
@click.option(
    "--fail-slower",
    type=_PERCENT,
    help="Exit with status 1 where a benchmark is slower by more than this, such as 10%.",
)
@_outs
@_schema
def compare(names: tuple[str, ...], outs: tuple[str, ...], schema: bool, **options: Any) -> int:
    """Hold runs of `pytest benchmarks/` against a BASE: speed, and agreement lost or won.

    Lost agreement always gives status 1.
    """
    from fcbackends.cli import report as reports

    if schema:
        reports.show_schema(of_comparisons=True)
        return 0
    return reports.compare_runs(names, outs=outs, **options)


@_cli.command()
def info() -> int:
    """List backends, versions, CPU, BLAS and the kernel cache."""
    from fcbackends.cli.info import show_info

    show_info()
    return 0


@_cli.command()
@click.argument("names", nargs=-1, metavar="[BACKEND]...")
@click.option(
    "--arithmetic",
    type=_one_of("ordered", "native"),
    default="ordered",
    show_default=True,
    help="native: the library's own matmul and sums, held against their error bounds.",
)
@click.option("--cases", type=_WHOLE, default="1000", show_default=True, help="How many cases.")
@click.option(
    "--seed", type=_INTEGER, default="0", show_default=True, help="What they are made from."
)
@click.option("--case", type=_WHOLE, help="Only the case of this index.")
@click.option(
    "--processes", type=_COUNT, help="How many share the cases.  [default: one a core, if worth it]"
)
@click.option("--json", "out", metavar="FILE", help="Also write what is found as a .json file.")
def verify(names: tuple[str, ...], **options: Any) -> int:
    """Hold each BACKEND, or every one that is installed, against the contract.

    Its self-test, golden runs, and random cases to the bit; status 1 where it misses its class.
    """
    from fcbackends.cli.verify import verify_backends

    return verify_backends(names, **options)


@_cli.command()
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=_one_of("float64", "float32"),
    help="Kernels of this dtype only; may be given more than once.",
)
@click.option(
    "--sizes",
    "shapes",
    type=_SHAPE,
    multiple=True,
    help="Also those of a small layer with K inputs and M outputs; may be given more than once.",
)
def warmup(dtypes: tuple[str, ...], shapes: tuple[tuple[int, int], ...]) -> int:
    """Compile the kernels now, and keep them for later processes.

    Kernels that are kept already are read.
    """
    from fcbackends.cli.warmup import warm_up

    warm_up(list(dict.fromkeys(dtypes or ("float64", "float32"))), dict.fromkeys(shapes))
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors in the arguments are raised as ArgumentError."""
    try:
        # What overflows is looked for, and named, where it matters.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            with _cli.make_context("fcbackends", list(arguments)) as ctx:
                return int(_cli.invoke(ctx))
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.NoSuchOption as error:
        raise ArgumentError(_no_such_option(error)) from None
    except click.UsageError as error:
        raise ArgumentError(error.format_message().replace("'", "`")) from None
    except ArgumentError as error:
        text = str(error)
        for name, option in _OPTIONS.items():
            text = text.replace(f"`{name}`", f"`{option}`")
        raise ArgumentError(text) from None


def _no_such_option(error: click.NoSuchOption) -> str:
    there: list[str] = []
    if error.ctx:
        for param in error.ctx.command.get_params(error.ctx):
            there += [name for name in (*param.opts, *param.secondary_opts) if name[0] == "-"]
    return f"`OPTION` must be one of {', '.join(there)}, got {error.option_name!r}"


def _show_warning(message: Warning | str, *_: object) -> None:
    print("fcbackends:", " ".join(str(message).split()), file=sys.stderr)
