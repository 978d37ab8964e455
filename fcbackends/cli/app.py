"""The commands and their options."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from fcbackends import __version__
from fcbackends.backends.registry import check_numba_settings
from fcbackends.cli import options, types
from fcbackends.cli.commands import Commands, group
from fcbackends.cli.completion import completed
from fcbackends.cli.recorded import words_of_bits
from fcbackends.cli.sweep_options import sweep_options
from fcbackends.errors import ArgumentError, printable
from fcbackends.maths.arithmetic import ARITHMETICS

_arithmetic = click.option(
    "--arithmetic",
    type=types.choice(*ARITHMETICS),
    metavar="NAME",
    help="ordered, fused or native.  [default: ordered]",
)

_rows_per_block = click.option(
    "--rows-per-block",
    type=types.COUNT,
    metavar="ROWS",
    help="In a block of a sum over samples.  [default: all]",
)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
@click.pass_context
def _cli(ctx: click.Context) -> None:
    """Train fully connected networks with the same bits on every backend."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@_cli.command()
@click.argument("data", required=False, type=types.FILE)
@options.form
@options.columns
@group(
    options.ROWS,
    click.option(
        "--standardize",
        type=types.choice("inputs", "targets", "both"),
        metavar="WHICH",
        help="To mean 0, deviation 1: inputs, targets or both.",
    ),
    click.option("--holdout", type=types.NUMBER, metavar="SHARE", help="Rows not trained on."),
    click.option(
        "--validation",
        type=types.NUMBER,
        metavar="SHARE",
        help="Rows looked at after each epoch, likewise.",
    ),
    click.option(
        "--split-seed",
        type=types.INTEGER,
        metavar="SEED",
        help="What chooses both.  [default: that of --seed]",
    ),
)
@group(
    "Network",
    click.option("--hidden", type=types.SIZES, help="Sizes of the hidden layers: 64,32."),
    options.activation,
    options.loss,
)
@group(
    "Descent",
    options.rule,
    click.option(
        "--lr", type=types.NUMBER, default="0.01", show_default=True, help="Learning rate."
    ),
    options.schedule,
    click.option("--decay-every", type=types.COUNT, help="Steps between two falls of step."),
    click.option("--decay-factor", type=types.NUMBER, help="Of step and exponential, at most 1."),
    click.option("--warmup", type=types.WHOLE, default="0", help="Steps of a rising rate."),
    click.option("--clip-norm", type=types.NUMBER, help="The gradient's largest norm."),
    click.option(
        "--batch",
        "batch_size",
        type=types.COUNT,
        help="Samples a step.  [default: 32 or all]",
    ),
    click.option(
        "--sampling",
        type=types.choice("epoch", "replacement"),
        default="epoch",
        show_default=True,
        help="Of batches.",
    ),
)
@group(
    "When to stop",
    click.option("--steps", "max_steps", type=types.COUNT, help="Steps at the most."),
    click.option(
        "--epochs", type=types.COUNT, help="Or so many passes over the data.  [default: 100]"
    ),
    click.option("--time-limit", type=types.DURATION, help="Time at the most: 90s, 10m, 2h."),
    click.option("--tol", type=types.TOLERANCE, help="Stop at a loss of this or less,"),
    click.option(
        "--tol-on",
        type=types.choice("batch", "data"),
        default="batch",
        show_default=True,
        help="of a step's batch or the data.",
    ),
    click.option(
        "--patience",
        type=types.COUNT,
        metavar="LOOKS",
        help="Epochs without a better validation loss.",
    ),
)
@group(
    "Computing",
    click.option(
        "--seed",
        type=types.INTEGER,
        default="0",
        show_default=True,
        help="Of first weights, splits and draws.",
    ),
    click.option(
        "--dtype",
        type=types.choice("float64", "float32"),
        default="float64",
        show_default=True,
        help="Of all numbers.",
    ),
    click.option("--backend", type=types.BACKEND, help="One that `fcbackends info` lists."),
    _arithmetic,
    _rows_per_block,
)
@group(
    "Files to write",
    click.option("--out", type=types.FILE, metavar="MODEL", help="The model: .safetensors."),
    click.option(
        "--keep-diverged", is_flag=True, help="To --out, where the loss is no longer finite."
    ),
    click.option(
        "--plot", type=types.FILE, metavar="PICTURE", help="The loss: .png, .svg or .pdf."
    ),
    click.option("--record", type=types.FILE, help="For `fcbackends reproduce`: .json."),
    click.option(
        "--digest-every",
        type=types.COUNT,
        metavar="STEPS",
        help="Between two digests in --record.",
    ),
    click.option("--checkpoint", type=types.FILE, help="The run as it goes."),
    click.option(
        "--checkpoint-every",
        type=types.COUNT,
        metavar="STEPS",
        help="Between two of these.  [default: ten seconds]",
    ),
    click.option("--resume", type=types.FILE, help="Go on from this checkpoint, exactly."),
)
@click.pass_context
def train(ctx: click.Context, /, data: str | None, **how: Any) -> int:
    """Train on a table (DATA; "-": stdin), or on made data."""
    if data is not None:
        if ctx.obj is not None:
            return ctx.obj(data, **how)
        from fcbackends.cli.fit import train_file

        train_file(data, words=words_of_bits(ctx), **how)
        return 0
    for name, option in _given(ctx).items():
        if name not in ("seed", "dtype"):
            raise ArgumentError(
                option,
                "come with a file to train on",
                "no `DATA` (without it there are only --seed and --dtype)",
            )
    from fcbackends.cli.notebook import train_notebook

    return train_notebook(how["seed"], how["dtype"])


@_cli.command()
@click.argument("data", type=types.FILE)
@sweep_options(train)
@click.pass_context
def sweep(ctx: click.Context, /, data: str, **how: Any) -> None:
    """Train a grid of networks on DATA ("-": stdin)."""
    from fcbackends.cli.sweep import sweep_file

    sweep_file(data, train=train, given=_given(ctx), words=words_of_bits(ctx), **how)


@_cli.command()
@click.argument("model", type=types.FILE)
@click.argument("data", type=types.FILE)
@options.form
@click.option(
    "--unknown",
    type=types.choice("refuse", "zeros"),
    default="refuse",
    show_default=True,
    help="Categories of no name in the model.",
)
@click.option("--probabilities", is_flag=True, help="Write those of the classes, too.")
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMNS",
    help="Columns of DATA to write before the predictions.",
)
@click.option("--out", type=types.FILE, help="A .csv, .parquet or .npy file.  [default: stdout]")
def predict(model: str, data: str, **how: Any) -> None:
    """Apply a MODEL of `train --out` to DATA ("-": stdin)."""
    from fcbackends.cli.predict import predict_file

    predict_file(model, data, **how)


@_cli.command()
@click.argument("model", type=types.FILE)
@click.option("--out", type=types.FILE, required=True, help="The file to write: .c.")
@click.option(
    "--name",
    default="network",
    show_default=True,
    metavar="NAME",
    help="What its names begin with.",
)
def export(model: str, out: str, name: str) -> None:
    """Write the network of a MODEL as C, with the same bits."""
    from fcbackends.cli.export import export_file

    export_file(model, out, name)


@_cli.command()
@click.argument("record", type=types.FILE)
@click.argument("data", type=types.FILE)
@click.option("--backend", type=types.BACKEND, help="What computes.  [default: that of the record]")
def reproduce(record: str, data: str, backend: str | None) -> int:
    """Repeat the run of a RECORD of `train --record` on its DATA.

    Status 1 where the bits are not the record's: the first steps that differ are told.
    """
    from fcbackends.cli.reproduce import reproduce_file

    return reproduce_file(record, data, backend, train)


@_cli.command()
@click.argument("a", type=types.FILE)
@click.argument("b", type=types.FILE)
@click.argument("data", type=types.FILE)
def bisect(a: str, b: str, data: str) -> int:
    """Find the first step at which two runs part, and why.

    A and B are RECORDs of `train --record`, one of them maybe a backend instead, as numba or
    numba:fused, and DATA is what they were trained on. Told are the step, the operation, the
    element, both bit patterns, the exact value, and what explains them. Status 1 where they part.
    """
    from fcbackends.cli.bisect import bisect_files

    return bisect_files(a, b, data, train)


_outs = click.option(
    "--out",
    "outs",
    multiple=True,
    type=types.FILE,
    help="Write a .md, .html or .json file instead (repeatable).",
)
_schema = click.option("--schema", is_flag=True, help="Print the JSON Schema of .json files.")


@_cli.command()
@click.argument("run", required=False, type=types.FILE)
@click.option(
    "--format",
    "kind",
    type=types.choice("text", "md", "json", "html"),
    help="Print it so.  [default: text]",
)
@_outs
@_schema
def report(run: str | None, kind: str | None, outs: tuple[str, ...], schema: bool) -> None:
    """Show a RUN of `pytest benchmarks/`, by default the newest.

    RUN is a file, or the beginning of a saved run's name in .benchmarks, such as 0003.
    """
    from fcbackends.cli import report as reports

    if schema:
        reports.show_schema(of_comparisons=False)
    else:
        reports.report_run(run, kind, outs)


@_cli.command()
@click.argument("names", nargs=-1, metavar="BASE NEW...", type=types.FILE)
@click.option(
    "--interleave",
    is_flag=True,
    help="Measure git revisions or folders, in turn, now.",
)
@click.option(
    "--only", metavar="TEXT", help="With --interleave: benchmarks with it in their names."
)
@click.option(
    "--fail-slower",
    type=types.PERCENT,
    help="Status 1 where one is slower by more: 10%.",
)
@_outs
@_schema
def compare(names: tuple[str, ...], outs: tuple[str, ...], schema: bool, **options: Any) -> int:
    """Compare runs of `pytest benchmarks/` with a BASE.

    Status 1 where agreement is lost, or a benchmark is slower than --fail-slower allows.
    """
    from fcbackends.cli import report as reports

    if schema:
        reports.show_schema(of_comparisons=True)
        return 0
    return reports.compare_runs(names, outs=outs, **options)


@_cli.command()
def info() -> None:
    """List backends, versions, CPU, BLAS and the kernel cache."""
    check_numba_settings()
    from fcbackends.cli.info import show_info

    show_info()


@_cli.command()
@click.argument("backend", nargs=-1, type=types.BACKEND)
@_arithmetic
@_rows_per_block
@click.option(
    "--cases", type=types.WHOLE, default="1000", show_default=True, help="How many cases."
)
@click.option("--seed", type=types.INTEGER, default="0", show_default=True, help="Of the cases.")
@click.option("--case", type=types.WHOLE, help="Only the case of this index.")
@click.option(
    "--processes",
    type=types.COUNT,
    help="That share the cases.  [default: one a core]",
)
@click.option("--json", "out", type=types.FILE, help="Also write a .json file.")
def verify(backend: tuple[str, ...], **options: Any) -> int:
    """Hold backends, by default all, against the contract.

    Self-test, golden runs, and random cases to the bit; native arithmetic is held against its error
    bounds. Status 1 where one misses its class.
    """
    check_numba_settings()
    from fcbackends.cli.verify import verify_backends

    return verify_backends(backend, **options)


@_cli.command()
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=types.choice("float64", "float32"),
    help="This one only (repeatable).",
)
@click.option(
    "--sizes",
    "shapes",
    type=types.SHAPE,
    multiple=True,
    help="Also of a small network: 8-16-1 (repeatable).",
)
@click.option(
    "--arithmetic",
    "arithmetics",
    multiple=True,
    type=types.choice(*(name for name in ARITHMETICS if name != "native")),
    help="This and not ordered (repeatable).",
)
@options.activation
@options.loss
@options.rule
@options.schedule
def warmup(
    dtypes: tuple[str, ...],
    shapes: tuple[tuple[int, ...], ...],
    arithmetics: tuple[str, ...],
    **recipe: Any,
) -> None:
    """Compile the kernels now, and keep them for later processes.

    Those of a training with these options are among them; activation and loss are asked for with
    --sizes alone. Kernels that are kept already are read.
    """
    check_numba_settings()
    from fcbackends.cli.warmup import warm_up

    warm_up(
        dict.fromkeys(dtypes or ("float64", "float32")),
        dict.fromkeys(shapes),
        dict.fromkeys(arithmetics or ("ordered",)),
        **recipe,
    )


def _given(ctx: click.Context) -> dict[str, str]:
    """The options that a command line has, by their names in Python, and how they are spelled."""
    return {
        param.name: param.opts[0]
        for param in ctx.command.params
        if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors in the arguments are raised as ArgumentError.

    Where a shell asks for completions, by the environment as Click has it, it gets these.
    """
    if completed(_cli):
        return 0
    try:
        # What overflows is looked for, and named, where it matters.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            with _cli.make_context("fcbackends", list(arguments)) as ctx:
                return _cli.invoke(ctx) or 0
    except click.exceptions.Exit as end:
        return end.exit_code


def _show_warning(message: Warning | str, *_: object) -> None:
    print("fcbackends:", printable(" ".join(str(message).split())), file=sys.stderr)
