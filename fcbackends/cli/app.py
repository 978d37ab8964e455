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
from fcbackends.cli.commands import Commands
from fcbackends.cli.descent import SCHEDULES
from fcbackends.cli.recorded import words_of_bits
from fcbackends.errors import ArgumentError, printable
from fcbackends.maths.arithmetic import ARITHMETICS

_arithmetic = click.option(
    "--arithmetic",
    type=types.choice(*ARITHMETICS),
    help="ordered: one rounding a product and one a sum; fused: one for both, as fast as the CPU "
    "can; native: the library's own, to no bit the same everywhere.  [default: that of "
    "FCBACKENDS_ARITHMETIC, or else ordered]",
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
@click.argument("data", required=False)
@options.form
@options.columns
@click.option("--hidden", type=types.SIZES, help="Sizes of the hidden layers: 64,32.")
@options.recipe
@click.option("--lr", type=types.NUMBER, default="0.01", show_default=True, help="Learning rate.")
@click.option(
    "--schedule",
    type=types.choice(*SCHEDULES),
    default="constant",
    show_default=True,
    help="How it falls: by --decay-factor after each --decay-every steps, or each step, or to 0 "
    "along a cosine.",
)
@click.option("--decay-every", type=types.COUNT, help="Steps between two falls of step.")
@click.option("--decay-factor", type=types.NUMBER, help="Of step and exponential, at most 1.")
@click.option(
    "--warmup",
    type=types.WHOLE,
    default="0",
    help="First steps, in which the rate rises to --lr.",
)
@click.option(
    "--clip-norm",
    type=types.NUMBER,
    help="The largest norm of the gradient: where it is larger, all of it is scaled down.",
)
@click.option(
    "--batch",
    "batch_size",
    type=types.COUNT,
    help="Samples a step.  [default: 32, or all if fewer]",
)
@click.option("--steps", "max_steps", type=types.COUNT, help="Steps at the most.")
@click.option(
    "--time-limit", type=types.DURATION, help="Time at the most, in seconds or as 90s, 10m or 2h."
)
@click.option(
    "--epochs", type=types.COUNT, help="Instead of --steps: passes over the data.  [default: 100]"
)
@click.option("--tol", type=types.TOLERANCE, help="Stop at a loss of this or less.")
@click.option(
    "--tol-on",
    type=types.choice("batch", "data"),
    default="batch",
    show_default=True,
    help="Which loss is recorded and stops: the step's batch's, or once an epoch the whole data's.",
)
@click.option(
    "--sampling",
    type=types.choice("epoch", "replacement"),
    default="epoch",
    show_default=True,
    help="Draw batches from shuffled epochs, or with replacement.",
)
@click.option(
    "--standardize",
    type=types.choice("inputs", "targets", "both"),
    help="Bring columns to mean 0 and standard deviation 1; kept with the model.",
)
@click.option(
    "--holdout", type=types.NUMBER, metavar="SHARE", help="Share of the rows not trained on."
)
@click.option(
    "--validation",
    type=types.NUMBER,
    metavar="SHARE",
    help="Share of the other rows not trained on, whose loss is looked at after each epoch.",
)
@click.option(
    "--patience",
    type=types.COUNT,
    metavar="LOOKS",
    help="Stop after so many epochs without a smaller validation loss, and keep the best network.",
)
@click.option(
    "--seed",
    type=types.INTEGER,
    default="0",
    show_default=True,
    help="Chooses the initial parameters, the held-out rows and the samples of each step.",
)
@click.option(
    "--dtype", type=types.choice("float64", "float32"), default="float64", show_default=True
)
@click.option("--backend", metavar="NAME", help="One that `fcbackends info` lists.")
@_arithmetic
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="Keep the run in this file as it goes, whatever ends the process.",
)
@click.option(
    "--checkpoint-every",
    type=types.COUNT,
    metavar="STEPS",
    help="Steps between two checkpoints.  [default: as many as take ten seconds]",
)
@click.option(
    "--resume",
    metavar="FILE",
    help="Go on from this checkpoint, with the other options as they were: to the same bits as a "
    "run that never stopped.",
)
@click.option(
    "--record", metavar="FILE", help="Write all that `fcbackends reproduce` needs: a .json file."
)
@click.option(
    "--digest-every",
    type=types.COUNT,
    metavar="STEPS",
    help="Steps between two digests in the record.  [default: some thousand in all at the most]",
)
@click.option("--out", metavar="MODEL", help="Write the model: a .safetensors file.")
@click.option(
    "--keep-diverged",
    is_flag=True,
    help="Where the loss stops being finite, write the last finite network to --out.",
)
@click.option("--plot", metavar="PICTURE", help="Draw the loss: a .png, .svg or .pdf file.")
@click.pass_context
def train(ctx: click.Context, /, data: str | None, **how: Any) -> int:
    """Train on DATA (.csv, .tsv, .parquet, .npy; .npz with arrays x and t, or one table).

    "-" reads standard input. Text columns are one-hot encoded.

    Without DATA: linear regression on made data, on the backends numpy and numba, with the bits
    and the speed of both compared; --seed and --dtype are its options.
    """
    if data is not None:
        if ctx.obj is not None:
            return ctx.obj(data, **how)
        from fcbackends.cli.fit import train_file

        train_file(data, words=words_of_bits(ctx), **how)
        return 0
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name not in ("seed", "dtype"):
            raise ArgumentError(
                param.opts[0],
                "come with a file to train on",
                "no `DATA` (without it there are only --seed and --dtype)",
            )
    from fcbackends.cli.notebook import train_notebook

    return train_notebook(how["seed"], how["dtype"])


@_cli.command()
@click.argument("record")
@click.argument("data")
@click.option("--backend", metavar="NAME", help="What computes.  [default: that of the record]")
def reproduce(record: str, data: str, backend: str | None) -> int:
    """Repeat the run of a RECORD that `train --record` wrote on its DATA, and compare the bits.

    Status 1 where they are not the same: the first steps that differ are told.
    """
    from fcbackends.cli.reproduce import reproduce_file

    return reproduce_file(record, data, backend, train)


@_cli.command()
@click.argument("model")
@click.argument("data")
@options.form
@click.option(
    "--unknown",
    type=types.choice("refuse", "zeros"),
    default="refuse",
    show_default=True,
    help="What becomes of a category that the model does not know: an error, or zeros.",
)
@click.option(
    "--probabilities", is_flag=True, help="Write those of the classes beside the likeliest one."
)
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMNS",
    help="Columns of DATA to write before the predictions, as --target of train takes them.",
)
@click.option(
    "--out", metavar="FILE", help="A .csv, .parquet or .npy file; CSV on stdout if left out."
)
def predict(model: str, data: str, **how: Any) -> None:
    """Apply a MODEL that `train --out` wrote to the features in DATA; "-" is standard input."""
    from fcbackends.cli.predict import predict_file

    predict_file(model, data, **how)


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
def report(run: str | None, outs: tuple[str, ...], schema: bool) -> None:
    """Show speed and agreement of a RUN of `pytest benchmarks/`; the newest, if left out.

    RUN is a file, or the beginning of a saved run's name in .benchmarks, such as 0003.
    """
    from fcbackends.cli import report as reports

    if schema:
        reports.show_schema(of_comparisons=False)
    else:
        reports.report_run(run, outs)


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
    type=types.PERCENT,
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
def info() -> None:
    """List backends, versions, CPU, BLAS and the kernel cache."""
    check_numba_settings()
    from fcbackends.cli.info import show_info

    show_info()


@_cli.command()
@click.argument("backend", nargs=-1)
@_arithmetic
@click.option(
    "--cases", type=types.WHOLE, default="1000", show_default=True, help="How many cases."
)
@click.option(
    "--seed", type=types.INTEGER, default="0", show_default=True, help="What they are made from."
)
@click.option("--case", type=types.WHOLE, help="Only the case of this index.")
@click.option(
    "--processes",
    type=types.COUNT,
    help="How many share the cases.  [default: one a core, if worth it]",
)
@click.option("--json", "out", metavar="FILE", help="Also write what is found as a .json file.")
def verify(backend: tuple[str, ...], **options: Any) -> int:
    """Hold each BACKEND, or every one that is installed, against the contract.

    Its self-test, golden runs, and random cases to the bit; native arithmetic is held against its
    error bounds. Status 1 where it misses its class.
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
    help="Kernels of this dtype only; may be given more than once.",
)
@click.option(
    "--sizes",
    "shapes",
    type=types.SHAPE,
    multiple=True,
    help="Also those of a small network with layers of these sizes, inputs first: 8-16-1; may be "
    "given more than once.",
)
@click.option(
    "--arithmetic",
    "arithmetics",
    multiple=True,
    type=types.choice(*(name for name in ARITHMETICS if name != "native")),
    help="Kernels of this arithmetic, and not the ordered ones; may be given more than once.",
)
@options.recipe
@click.option(
    "--schedule",
    type=types.choice(*SCHEDULES),
    default="constant",
    show_default=True,
    help="How the learning rate falls.",
)
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


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors in the arguments are raised as ArgumentError."""
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
