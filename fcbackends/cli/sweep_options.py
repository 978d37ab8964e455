"""The options of `fcbackends sweep`: those of `train`, with a grid, seeds and workers."""

from __future__ import annotations

import click

from fcbackends.cli import options, types
from fcbackends.cli.commands import Decorator, as_in, group, together


def sweep_options(train: click.Command) -> Decorator:
    """All options of the command, those that it shares with `train` as they are there."""
    return together(
        options.form,
        options.columns,
        as_in(train, options.ROWS, "standardize"),
        group(
            options.ROWS,
            click.option(
                "--holdout",
                type=types.NUMBER,
                metavar="SHARE",
                help="Rows to score on.  [default: 0.2]",
            ),
            click.option(
                "--validation",
                type=types.NUMBER,
                metavar="SHARE",
                help="Or those, looked at after each epoch.",
            ),
            click.option(
                "--split-seed",
                type=types.INTEGER,
                metavar="SEED",
                default="0",
                show_default=True,
                help="What chooses them, for all alike.",
            ),
        ),
        group(
            "Networks (NAME: one of the options from --hidden to --patience)",
            click.option(
                "--grid",
                "grids",
                multiple=True,
                metavar="NAME=VALUES",
                help="lr=0.001,0.01 or hidden=8|16,8 (repeatable).",
            ),
            click.option(
                "--seeds",
                type=types.SEEDS,
                default="0:10",
                show_default=True,
                help="A range, or 1,5,7.",
            ),
            as_in(train, "Network", "hidden", "activation", "loss"),
        ),
        as_in(
            train,
            "Descent",
            *("optimizer", "momentum", "nesterov", "weight_decay", "lr", "schedule"),
            *("decay_every", "decay_factor", "warmup", "clip_norm", "batch_size", "sampling"),
        ),
        as_in(
            train,
            "When to stop",
            *("max_steps", "epochs", "time_limit", "tol", "tol_on", "patience"),
        ),
        as_in(train, "Computing", "dtype", "backend", "arithmetic", "rows_per_block"),
        group(
            "Computing",
            click.option("--workers", type=types.COUNT, help="Processes of this machine."),
            click.option("--scheduler", metavar="ADDRESS", help="Dask's, such as tcp://host:8786."),
            click.option(
                "--verify",
                type=types.NUMBER,
                metavar="SHARE",
                help="Networks to train on a second worker, too.",
            ),
        ),
        group(
            "Files to write (after Ctrl-C with the networks that are done)",
            click.option(
                "--out", type=types.FILE, help="A row for each network: .parquet or .csv."
            ),
            click.option(
                "--plot",
                type=types.FILE,
                metavar="PICTURE",
                help="Scores by option: .png, .svg or .pdf.",
            ),
            click.option(
                "--results", type=types.FILE, help="What is done, to go on from after a stop."
            ),
        ),
    )
