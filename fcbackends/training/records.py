"""The record of a run, in JSON: all that it takes to repeat the run, and what came of it.

Its first entry, "sha256", is the SHA-256 of the whole file with this number's 64 digits replaced by
zeros. `digests` has pairs of a step and the digest of the parameters after it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from fcbackends import files
from fcbackends.arrays import DTYPES
from fcbackends.checks import options
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.maths.optimizers import SGD, Adam, Optimizer
from fcbackends.maths.schedules import (
    ConstantRate,
    CosineRate,
    ExponentialRate,
    Rate,
    StepRate,
)
from fcbackends.training.asked import OF_EACH, Asked

FORMAT = "fcbackends-record"
VERSION = 1

ARRAYS = ("x", "t", "sample_weight", "validation[0]", "validation[1]", "params")
TAKEN = (
    *("hidden", "activation", "loss", "clip_norm", "batch_size", "max_steps", "tol", "tol_on"),
    *("sampling", "seed", "dtype", "arithmetic", "rows_per_block", "record_every", "patience"),
)
"""Options that `train` takes as a record has them."""

ENDED = ("interrupted", "time_limit")
"""Stop reasons from outside of a run: elsewhere it would have gone on."""

_REASONS = ("tolerance", "max_steps", "patience", "callback", *ENDED)
_RECORDS: dict[str, Any] = {
    record.__name__: record
    for record in (SGD, Adam, ConstantRate, StepRate, ExponentialRate, CosineRate)
}
_ZEROS = "0" * 64
_MOST_BYTES = 2**26
_MOST_STEPS = 2**63 - 1


class Record(NamedTuple):
    """What a record says, each part of the form that it must have.

    Attributes
    ----------
    name : str
        The file.
    options : mapping
        Of the run, by the names of `train`'s arguments; and of the command line's own.
    lr : float or schedule
        Of the run.
    optimizer : SGD or Adam
        Of the run.
    data : mapping
        By name: shape, dtype and digest of an array, or None where there was none.
    command : sequence of str, or None
        The words of the command that made the run, if one did.
    backend : str
        The name of what computed.
    made_with : mapping
        Versions and machine.
    outcome : mapping
        What came of the run.
    digests : sequence of (step, digest)
        Of the parameters, in ascending order of the steps.
    """

    name: str
    options: Mapping[str, Any]
    lr: Rate
    optimizer: Optimizer
    data: Mapping[str, Any]
    command: Sequence[str] | None
    backend: str
    made_with: Mapping[str, Any]
    outcome: Mapping[str, Any]
    digests: Sequence[tuple[int, str]]

    @property
    def kept(self) -> dict[str, Any]:
        """The options as `asked_for` has them."""
        digests = {name: entry and entry["digest"] for name, entry in self.data.items()}
        lr = self.lr if isinstance(self.lr, float) else str(self.lr)
        own = {**self.options, "lr": lr, "optimizer": str(self.optimizer), "rows": None}
        return {**own, **{name: [own[name]] for name in OF_EACH}, **digests}


def document(
    asked: Asked,
    command: Mapping[str, Any] | None,
    backend: Mapping[str, Any],
    outcome: Mapping[str, Any],
    digests: Sequence[tuple[int, str]],
) -> dict[str, Any]:
    """All of a record but its checksum."""
    own = {
        name: value[0] if name in OF_EACH else value
        for name, value in asked.options.items()
        if name not in (*ARRAYS, "rows")
    }
    data = {
        name: shape
        and {
            "shape": shape,
            "dtype": asked.options["dtype"],
            "digest": asked.options[name],
        }
        for name, shape in asked.shapes.items()
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "contract": CONTRACT_VERSION,
        "command": command,
        "options": {
            **own,
            "optimizer": in_fields(asked.method.optimizer),
            "lr": in_fields(asked.method.lr),
        },
        "data": data,
        "backend": backend,
        "outcome": outcome,
        "digests": digests,
    }


def in_fields(value: Any) -> Any:
    """An optimizer or a schedule by the names of its fields; a number as it is."""
    if isinstance(value, float):
        return value
    return {"name": type(value).__name__, **dataclasses.asdict(value)}


def encoded(about: Mapping[str, Any]) -> bytes:
    """A record's bytes: strict JSON, a digest a line."""
    import hashlib

    head = {key: value for key, value in about.items() if key != "digests"}
    text = json.dumps({"sha256": _ZEROS, **head}, indent=2, allow_nan=False)
    digests = ",\n    ".join(map(json.dumps, about["digests"]))
    text = f'{text[:-2]},\n  "digests": [\n    {digests}\n  ]\n}}\n'
    sha = hashlib.sha256(text.encode()).hexdigest()
    return text.replace(_ZEROS, sha, 1).encode()


def read(name: str, argument: str) -> Record:
    """What a file says.

    Raises
    ------
    ArgumentError
        Where it is no record, damaged, or of another version of the contract.
    """
    with understood(name, argument) as path:
        return _read(path, name)


def understood(name: str, argument: str) -> AbstractContextManager[Path]:
    """A with-block that reads a record: whatever goes wrong there is an ArgumentError of it."""
    return files.understood(name, argument, "be a record that `train` wrote")


def _read(path: Path, name: str) -> Record:
    import hashlib

    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    about = json.loads(content, parse_constant=_no_number)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError("no record")
    if about["version"] != VERSION:
        raise ValueError(f"version {about['version']!r}, and this is for version {VERSION}")
    sha = str(about["sha256"])
    zeroed = content.replace(sha.encode(), _ZEROS.encode(), 1)
    if hashlib.sha256(zeroed).hexdigest() != sha:
        raise ValueError("damaged: its bytes are not those of its checksum")
    if about["contract"] != CONTRACT_VERSION:
        known = f"this fcbackends has {CONTRACT_VERSION}, whose bits may be others"
        raise ValueError(f"contract version {about['contract']!r}; {known}")
    return _understood(about, name)


def _understood(about: Mapping[str, Any], name: str) -> Record:
    # Older records do not name it.
    own = {"rows_per_block": None, **_mapping("options", about["options"])}
    for option in TAKEN:
        own[option]  # it is there; `train` checks the rest
    options.choice("arithmetic", own["arithmetic"], ARITHMETICS)
    _one_of("validation", own["validation"], None, "(x, t)", float)
    _one_of("callback", own["callback"], True, False)
    most = options.integer("max_steps", own["max_steps"], 1, _MOST_STEPS)
    lr = own["lr"] if isinstance(own["lr"], float) else _of_fields(own["lr"])
    optimizer = _of_fields(own["optimizer"])
    if isinstance(lr, SGD | Adam) or not isinstance(optimizer, SGD | Adam):
        raise ValueError(f"optimizer {optimizer} with lr {lr}")
    data = _mapping("data", about["data"])
    for array, entry in data.items():
        if array not in ARRAYS:
            raise ValueError(f"array {array!r}")
        if entry is not None:
            _digest(_mapping(array, entry)["digest"])
            # Of parameters there is a shape for each array of each layer.
            _shape(entry["shape"], 2 if array == "params" else 0)
            options.choice("dtype", entry["dtype"], DTYPES)
    if not (data["x"] and data["t"]):
        raise ValueError("no x or no t")
    digests = [(step, digest) for step, digest in _list("digests", about["digests"])]
    before = -1
    for step, digest in digests:
        before = options.integer("step", step, before + 1, most)
        _digest(digest)
    return Record(
        name,
        own,
        lr,
        optimizer,
        data,
        _words(about["command"]),
        _text("backend", _mapping("backend", about["backend"])["name"]),
        _made_with(about["backend"]),
        _outcome(_mapping("outcome", about["outcome"]), before),
        digests,
    )


def _outcome(outcome: Mapping[str, Any], last: int) -> Mapping[str, Any]:
    if options.integer("last_step", outcome["last_step"], 0) != last:
        raise ValueError(f"a last step of {outcome['last_step']}, and digests up to {last}")
    options.integer("steps", outcome["steps"], 0, last)
    for name in ("best_step", "last_look"):
        if outcome[name] is not None:
            options.integer(name, outcome[name], 1, last)
    options.choice("stop_reason", outcome["stop_reason"], _REASONS)
    _one_of("loss", outcome["loss"], None, float)
    _digest(outcome["digest"])
    return outcome


def _made_with(backend: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = {part: _mapping(part, backend[part]) for part in ("versions", "machine")}
    for part in parts.values():
        for name, value in part.items():
            _text(name, value)
    return parts


def _words(command: Any) -> Sequence[str] | None:
    if command is None:
        return None
    _mapping("file", _mapping("command", command)["file"])
    return [_text("argument", word) for word in _list("arguments", command["arguments"])]


def _of_fields(value: Any) -> Any:
    fields = dict(_mapping("record", value))
    return _RECORDS[_text("name", fields.pop("name"))](**fields)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} {value!r}")
    return value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} {value!r}")
    return value


def _shape(value: Any, nested: int) -> None:
    for part in _list("shape", value):
        if nested:
            _shape(part, nested - 1)
        else:
            options.integer("shape", part, 0)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} {value!r}")
    return value


def _digest(value: Any) -> None:
    if not re.fullmatch("[0-9a-f]{64}", _text("digest", value)):
        raise ValueError(f"digest {value!r}")


def _one_of(name: str, value: Any, *choices: Any) -> None:
    """Check that a value is one of these, or of the type among them."""
    if not any(
        isinstance(value, choice)
        if isinstance(choice, type)
        else value is choice or (isinstance(choice, str) and value == choice)
        for choice in choices
    ):
        raise ValueError(f"{name} {value!r}")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is no number of JSON")
