"""A trained network as C: what may be exported, and what its self-test is held against."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np

from fcbackends import files
from fcbackends.backends.registry import library_backend
from fcbackends.checks import data, options
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.maths.losses import LOSSES
from fcbackends.models.c_source import Goldens, source
from fcbackends.models.saved import SavedModel
from fcbackends.models.saving import as_numpy, check_scalings, record
from fcbackends.models.scaling import Floats

_LONGEST_NAME = 40
_LARGE = {"float64": 2.0**900, "float32": 2.0**90}


def export_c(model: Any, path: str | os.PathLike[str], *, name: str = "network") -> None:
    """Write a trained network as one C99 file that computes the same bits, whole or not at all.

    The file needs nothing but the standard headers. It has `void NAME_predict(const T *x, T *y)`
    for one sample, with T double or float as the network's dtype; `NAME_predict_proba` where the
    loss makes outputs stand for probabilities; `int NAME_self_test(void)`, which is 0 where the
    bits are right as it was compiled; and with `-DNAME_MAIN`, NAME in capitals, a program.

    Parameters
    ----------
    model : TrainResult, Trainer, SavedModel or sequence of (w, b)
        What is exported. Parameters alone are of a network with "relu" between its layers; a
        SavedModel with scalings takes inputs, or gives outputs, in their own units, as double.
    path : str or path
        The file, which ends in .c; one that is there already is replaced.
    name : str
        What all names in the file begin with: a C identifier of at most 40 letters, digits and _,
        of which the first is a letter.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above, or the network's arithmetic is "native", whose
        bits no order of sums gives; nothing is then written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import fcbackends as fcb
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "line.c"
    >>> fcb.export_c((([[2.0]], [1.5]),), path, name="line")
    >>> "void line_predict(const double *x, double *y)" in path.read_text()
    True
    """
    target = files.writable(options.path("path", path), "path", (".c",))
    _check_name(name)
    network = _network(record(model, None, None))
    files.write(target, source(network, name, _goldens(network)).encode("ascii"))


def _check_name(name: object) -> None:
    if not (isinstance(name, str) and re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name, re.ASCII)):
        required = "be a C identifier: letters, digits and _, of which the first is a letter"
        raise ArgumentError("name", required, shown(name))
    if len(name) > _LONGEST_NAME:
        raise ArgumentError("name", f"have at most {_LONGEST_NAME} characters", str(len(name)))


def _network(saved: SavedModel) -> SavedModel:
    """The network of NumPy's arrays; a SavedModel may have been made of anything."""
    if saved.arithmetic == "native":
        required = "be of arithmetic 'ordered' or 'fused', whose bits are fixed"
        raise ArgumentError("model", required, "one of arithmetic 'native'")
    options.choice("arithmetic", saved.arithmetic, ARITHMETICS)
    params = data.params(library_backend(**data.leaves(saved.params)), saved.params)
    data.not_empty(params)
    data.finite(params)
    made = replace(
        saved,
        params=as_numpy(params),
        activation=options.activation(saved.activation, len(params) - 1),
        loss=options.choice("loss", saved.loss, LOSSES),
    )
    check_scalings(made)
    for side in ("inputs", "outputs"):
        scaling = getattr(made, side)
        if scaling and not (np.isfinite(scaling.mean).all() and np.isfinite(scaling.scale).all()):
            raise ArgumentError("model", "hold finite numbers", f"others in its scaling of {side}")
    return made


def _goldens(network: SavedModel) -> Goldens:
    """Some samples, hard ones among them, and what the network makes of them."""
    x = _samples(network)
    with np.errstate(all="ignore"):
        y = network.predict(x, backend="numpy")
        has_p = LOSSES[network.loss].probabilities is not None
        p = network.predict_proba(x, backend="numpy") if has_p else None
    return Goldens(x, y, p)


def _samples(network: SavedModel) -> Floats:
    """Zeros, large, tiny and other numbers, infinity and NaN, in the inputs' own units."""
    w = network.params[0][0]
    count = len(w)
    dtype = "float64" if network.inputs else w.dtype.name
    places, signs = np.arange(count), 1.0 - 2.0 * (np.arange(count) % 2)
    # Multiples of no power of two: their products and sums are rounded.
    plain = np.array([((7919 * places + 104729 * i) % 2003 - 1001) / 300.1 for i in range(4)])
    with np.errstate(all="ignore"):
        plain = network.inputs.undo(plain) if network.inputs else plain
    tiny = np.finfo(dtype).smallest_subnormal * (1 + places % 5)
    last = np.where(places == count - 1, [[np.inf], [np.nan]], 1.0)
    hard = [0.0 * signs, -0.0 * signs, _LARGE[dtype] * signs, tiny * signs]
    return np.concatenate([plain, hard, last]).astype(dtype)
