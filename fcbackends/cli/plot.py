"""The loss over the steps, as a picture."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

import fcbackends as fcb
from fcbackends.files import write

SUFFIXES = (".png", ".svg", ".pdf")


def plot_loss(history: fcb.History, label: str, path: Path) -> None:
    """Draw the losses of a run, and those of validation, into a .png, .svg or .pdf file."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot(history.steps, history.losses, linewidth=1, label=label)
    if len(history.validation_losses):
        axes.plot(history.steps, history.validation_losses, linewidth=1, label="of validation")
    axes.legend()
    if (history.losses > 0).any():
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    write(path, drawn.getbuffer())
