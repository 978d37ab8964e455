"""`fcbackends export MODEL`: a trained network as C."""

from __future__ import annotations

from fcbackends import files, tensor_files
from fcbackends.agreement import digest
from fcbackends.maths.losses import LOSSES
from fcbackends.models import saving
from fcbackends.models.c_source import sizes_of
from fcbackends.models.export import export_c
from fcbackends.report.terminal import print_table


def export_file(model: str, out: str, name: str) -> None:
    """Write the network of a model file as a C file.

    Raises
    ------
    ArgumentError
        Where the model is none or native, or the file or the name is refused.
    """
    files.writable(out, "--out", (".c",))
    files.apart([("--out", out)], [("MODEL", model)])
    tensor_files.require_safetensors()
    required = "be a file written by `fcbackends train --out`"
    with files.understood(model, "MODEL", required) as path:
        saved = saving.read(path)
    export_c(saved, out, name=name)
    offered = ["predict", "self_test"]
    if LOSSES[saved.loss].probabilities:
        offered.insert(1, "predict_proba")
    between = [saved.activation] if isinstance(saved.activation, str) else saved.activation
    print_table(
        [
            ("layers", "-".join(map(str, sizes_of(saved)))),
            *([("activation", ", ".join(between))] if len(saved.params) > 1 else []),
            ("numbers", f"{saved.params[0][0].dtype.name}, {saved.arithmetic}"),
            ("digest", digest(saved.params)),
            ("functions", ", ".join(f"{name}_{function}" for function in offered)),
            ("file", out),
        ]
    )
