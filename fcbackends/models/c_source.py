"""A trained network as the text of one C99 file: its numbers, its sums in order, and a self-test.

In the texts here `NAME` stands for what the names of a file begin with, `UPPER` for the same in
capitals, `REAL` for the type of the network's numbers, `SUFFIX` for what follows one, and `INPUT`
and `OUTPUT` for the types of what it takes and gives.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fcbackends.agreement import digest
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.activations import LEAKY_SLOPE, of_hidden_layers
from fcbackends.models.c_functions import functions
from fcbackends.models.c_texts import (
    DIFFERENCE,
    GUARDS,
    MAIN,
    PROTOTYPES,
    SELF_TEST,
    SIGMOIDS,
    SOFTMAX,
    SUM,
)
from fcbackends.models.saved import SavedModel
from fcbackends.models.scaling import Floats

C_TYPES = {"float64": "double", "float32": "float"}


class Goldens(NamedTuple):
    """What the self-test holds a file against: inputs (N, K), outputs and probabilities (N, M)."""

    x: Floats
    y: Floats
    p: Floats | None


def source(network: SavedModel, name: str, goldens: Goldens) -> str:
    """The C file of a network whose parameters are NumPy's, finite, and of layers not empty."""
    real, taken, given = (
        C_TYPES[array.dtype.name] for array in (network.params[0][0], goldens.x, goldens.y)
    )
    inputs, *_, outputs = sizes_of(network)
    tables = dict(_tables(network))
    held = {"golden_x": goldens.x, "golden_y": goldens.y}
    compared, about, proba, declared, printed = {given}, "", "", "", ""
    if goldens.p is not None:
        held["golden_p"] = goldens.p
        compared.add(real)
        proba = "NAME_APART void NAME_predict_proba(const INPUT *x, REAL *p);\n"
        about, declared, printed = _ABOUT, _DECLARED, _PRINTED
    main = MAIN.replace("FORMAT", "%lf" if taken == "double" else "%f")
    text = "".join(
        [
            _about(network),
            GUARDS.replace("ABOUT_PROBA", about),
            PROTOTYPES,
            proba,
            f"\nenum {{ NAME_inputs = {inputs}, NAME_outputs = {outputs} }};\n",
            *(_table(name, array) for name, array in tables.items()),
            functions(_elementary(network)),
            _affine(network.arithmetic, real),
            _raw(network, real),
            _predict(network),
            _probabilities(network.loss, real),
            *(_of_type(SUM, t) for t in sorted({*map(_type, tables.values())})),
            *(_of_type(DIFFERENCE, t) for t in sorted(compared)),
            *(_table(name, array) for name, array in held.items()),
            _self_test(goldens, tables),
            main.replace("DECLARED", declared).replace("PRINTED", printed),
        ]
    )
    suffix = "f" if real == "float" else ""
    words = {"NAME": name, "UPPER": name.upper(), "REAL": real, "SUFFIX": suffix}
    words |= {"INPUT": taken, "OUTPUT": given}
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def sizes_of(network: SavedModel) -> list[int]:
    """Those of the layers, inputs first."""
    return [len(network.params[0][0]), *(len(b) for _, b in network.params)]


def _about(network: SavedModel) -> str:
    between = of_hidden_layers(network.activation, len(network.params) - 1)
    lines = {
        "layers": "-".join(map(str, sizes_of(network))),
        "activations": ", ".join(between) or "none",
        "numbers": network.params[0][0].dtype.name,
        "loss": network.loss,
        "arithmetic": network.arithmetic,
        "contract": f"version {CONTRACT_VERSION}",
        "digest": digest(network.params),
    }
    rows = "".join(f"   {what:<12} {value}\n" for what, value in lines.items())
    return f"/* A fully connected network, written by fcbackends.\n\n{rows}\n"


# --- numbers -------------------------------------------------------------------------------------


def _tables(network: SavedModel) -> Iterator[tuple[str, Floats]]:
    """The network's arrays by name."""
    for layer, (w, b) in enumerate(network.params):
        yield f"w{layer}", w
        yield f"b{layer}", b
    for side in ("inputs", "outputs"):
        scaling = getattr(network, side)
        if scaling:
            yield f"{side}_mean", scaling.mean
            yield f"{side}_scale", scaling.scale


def _table(name: str, array: Floats) -> str:
    is_float = array.dtype == np.float32
    written = [_number(value, "f" if is_float else "") for value in array.ravel().tolist()]
    width = 6 if is_float else 4
    rows = [", ".join(written[i : i + width]) for i in range(0, len(written), width)]
    values = ",\n    ".join(rows)
    return f"\nstatic const {_type(array)} NAME_{name}[{array.size}] = {{\n    {values}\n}};\n"


def _type(array: Floats) -> str:
    return C_TYPES[array.dtype.name]


def _number(value: float, suffix: str = "") -> str:
    """A number, exactly."""
    if value != value:
        return "NAN"
    if value in (np.inf, -np.inf):
        return "INFINITY" if value > 0 else "-INFINITY"
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}{suffix}"


def _checksum(arrays: Sequence[Floats]) -> int:
    """FNV-1a of words: one word that is another makes it another."""
    total = 0xCBF29CE484222325
    for array in arrays:
        words = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
        for word in words.ravel().tolist():
            total = ((total ^ word) * 0x100000001B3) % 2**64
    return total


# --- functions -----------------------------------------------------------------------------------


def _elementary(network: SavedModel) -> set[str]:
    """The elementary functions that the network needs."""
    names = {*of_hidden_layers(network.activation, len(network.params) - 1)}
    of_loss = {"cross_entropy": "exp", "binary_cross_entropy": "sigmoid"}.get(network.loss)
    return (names & {"tanh", "sigmoid"}) | ({of_loss} if of_loss else set())


def _affine(arithmetic: str, real: str) -> str:
    joined = "y[m] + x[k] * w[k * outputs + m]"
    if arithmetic == "fused":
        joined = f"{'fma' if real == 'double' else 'fmaf'}(x[k], w[k * outputs + m], y[m])"
    return f"""
/* The sums over k ascend, and begin with their first term. */
static void NAME_affine(
    const REAL *x, size_t inputs, const REAL *w, const REAL *b, size_t outputs, REAL *y)
{{
    size_t k, m;
    for (m = 0; m < outputs; m++)
        y[m] = x[0] * w[m];
    for (k = 1; k < inputs; k++)
        for (m = 0; m < outputs; m++)
            y[m] = {joined};
    for (m = 0; m < outputs; m++)
        y[m] = y[m] + b[m];
}}
"""


def _rounded(function: str, real: str, argument: str) -> str:
    """The call of an elementary function, which is computed in float64 in either type."""
    if real == "double":
        return f"NAME_{function}({argument})"
    return f"(float)NAME_{function}((double)({argument}))"


def _activated(activation: str, real: str, a: str) -> str:
    if activation == "relu":
        return f"{a} < 0.0SUFFIX ? 0.0SUFFIX : {a}"
    if activation == "leaky_relu":
        slope = np.float32(LEAKY_SLOPE) if real == "float" else LEAKY_SLOPE
        return f"{a} >= 0.0SUFFIX ? {a} : {_number(float(slope))}SUFFIX * {a}"
    return _rounded(activation, real, a)


def _raw(network: SavedModel, real: str) -> str:
    """The network's own outputs, before any scaling back."""
    sizes = sizes_of(network)
    between = of_hidden_layers(network.activation, len(network.params) - 1)
    places, lines = ["x"], []
    declared = [f"    REAL h{i}[{size}];\n" for i, size in enumerate(sizes[1:-1])]
    if network.inputs:
        declared.append(f"    REAL s[{sizes[0]}];\n")
        scaled = "(x[m] - NAME_inputs_mean[m]) / NAME_inputs_scale[m]"
        cast = scaled if real == "double" else f"(float)({scaled})"
        lines.append(_loop(sizes[0], f"s[m] = {cast};"))
        places = ["s"]
    places += [*(f"h{i}" for i in range(len(between))), "y"]
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        source, target = places[layer], places[layer + 1]
        arrays = f"NAME_w{layer}, NAME_b{layer}"
        lines.append(f"    NAME_affine({source}, {inputs}, {arrays}, {outputs}, {target});\n")
        if layer < len(between) and between[layer] != "identity":
            value = _activated(between[layer], real, f"{target}[m]")
            lines.append(_loop(outputs, f"{target}[m] = {value};"))
    if any("[m]" in line for line in lines):
        declared.append("    size_t m;\n")
    body = "".join([*declared, *lines])
    return f"\nstatic void NAME_raw(const INPUT *x, REAL *y)\n{{\n{body}}}\n"


def _loop(count: int, line: str) -> str:
    return f"    for (m = 0; m < {count}; m++)\n        {line}\n"


def _predict(network: SavedModel) -> str:
    body = "    NAME_raw(x, y);\n"
    if network.outputs:
        count = len(network.outputs.mean)
        line = "y[m] = (double)raw[m] * NAME_outputs_scale[m] + NAME_outputs_mean[m];"
        body = f"    REAL raw[{count}];\n    size_t m;\n    NAME_raw(x, raw);\n{_loop(count, line)}"
    return f"\nvoid NAME_predict(const INPUT *x, OUTPUT *y)\n{{\n{body}}}\n"


def _probabilities(loss: str, real: str) -> str:
    if loss == "cross_entropy":
        return SOFTMAX.replace("EXP", _rounded("exp", real, "p[m] - most"))
    if loss == "binary_cross_entropy":
        return SIGMOIDS.replace("SIGMOID", _rounded("sigmoid", real, "p[m]"))
    return ""


# --- the self-test -------------------------------------------------------------------------------

_ABOUT = """\
   void NAME_predict_proba(const INPUT *x, REAL *p)
       The probabilities that its outputs stand for, likewise.
"""
_DECLARED = """
    static REAL p[NAME_outputs];"""
_PRINTED = """
        NAME_predict_proba(x, p);
        for (i = 0; i < NAME_outputs; i++)
            printf(" %a", (double)p[i]);"""
_TRIED = """
        NAME_predict_proba(NAME_golden_x + i * NAME_inputs, p);
        failed += NAME_differs_in_REAL(
            p, NAME_golden_p + i * NAME_outputs, NAME_outputs);"""


def _of_type(text: str, kind: str) -> str:
    bits = "uint64_t" if kind == "double" else "uint32_t"
    return text.replace("TYPE", kind).replace("BITS", bits)


def _self_test(goldens: Goldens, tables: dict[str, Floats]) -> str:
    sums = "".join(
        f"    sum = NAME_sum_of_{_type(array)}(NAME_{name}, {array.size}, sum);\n"
        for name, array in tables.items()
    )
    has_p = goldens.p is not None
    return (
        SELF_TEST.replace("DECLARED", "\n    REAL p[NAME_outputs];" if has_p else "")
        .replace("CHECKSUM", f"0x{_checksum([*tables.values()]):016x}")
        .replace("SUMS", sums.rstrip())
        .replace("TRIED", _TRIED if has_p else "")
        .replace("COUNT", str(len(goldens.x)))
    )
