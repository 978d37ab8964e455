"""The same work in FANN, the Fast Artificial Neural Network library, where it is installed."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import weakref
from typing import Any

import numpy as np
from contestants import Contestant, drawn
from workloads import LR, Workload, data, initial

LIBRARIES = {"float32": "floatfann", "float64": "doublefann"}
REAL = {"float32": ctypes.c_float, "float64": ctypes.c_double}

INCREMENTAL, LINEAR, LINEAR_PIECE, LINEAR_ERROR = 0, 0, 12, 0
"""Members of FANN's enumerations: how it learns, two activation functions, and an error function
that changes no difference."""


class Samples(ctypes.Structure):
    """FANN's `fann_train_data`: a pointer for each row of inputs, and for each of targets."""

    _fields_ = (
        ("errno_f", ctypes.c_int),
        ("error_log", ctypes.c_void_p),
        ("errstr", ctypes.c_void_p),
        ("num_data", ctypes.c_uint),
        ("num_input", ctypes.c_uint),
        ("num_output", ctypes.c_uint),
        ("input", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
    )


class Fann(Contestant):
    """Incremental training on the drawn samples, in one call.

    Its error is half of the squared error, hence twice the lr. Its last release, 2.2, has no ReLU:
    hidden neurons have the nearest, which is linear from 0 to 1 and level elsewhere, and whose
    slope FANN takes for 1 everywhere (that of the ReLU in its later sources, too). So a network
    learns otherwise, in as many products and sums.
    """

    name = "FANN, incremental"

    def __init__(self, workload: Workload) -> None:
        self.promise = "work" if len(workload.sizes) == 2 else "own rule"
        self._workload = workload
        self._library = library = load(workload.dtype)
        real = REAL[workload.dtype]
        library.fann_create_standard_array.restype = ctypes.c_void_p
        self._network = network = ctypes.c_void_p(
            library.fann_create_standard_array(
                len(workload.sizes), (ctypes.c_uint * len(workload.sizes))(*workload.sizes)
            )
        )
        library.fann_set_training_algorithm(network, INCREMENTAL)
        library.fann_set_train_error_function(network, LINEAR_ERROR)
        library.fann_set_learning_rate(network, ctypes.c_float(2 * LR))
        library.fann_set_activation_function_hidden(network, LINEAR_PIECE)
        library.fann_set_activation_function_output(network, LINEAR)
        library.fann_set_activation_steepness_hidden(network, real(1))
        library.fann_set_activation_steepness_output(network, real(1))
        connection = [("source", "u4"), ("target", "u4"), ("weight", workload.dtype)]
        count = library.fann_get_total_connections(network)
        self._connections = np.empty(count, np.dtype(connection, align=True))
        library.fann_get_connection_array(network, self._at_connections())

        weakref.finalize(self, library.fann_destroy, network)

    def _at_connections(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._connections.ctypes.data)

    def start(self, units: int) -> None:
        # Each neuron's weights stand together, and its bias behind them.
        layers = [np.vstack(pair).T.ravel() for pair in initial(self._workload)]
        self._connections["weight"] = np.concatenate(layers)
        self._library.fann_set_weight_array(
            self._network, self._at_connections(), len(self._connections)
        )
        rows = drawn(self._workload, units)[:, 0]
        self._pointers = [
            array.ctypes.data + array.strides[0] * rows for array in data(self._workload)
        ]
        sizes = self._workload.sizes
        at = [pointers.ctypes.data for pointers in self._pointers]
        self._samples = Samples(0, None, None, units, sizes[0], sizes[-1], *at)

    def go(self) -> None:
        self._library.fann_train_epoch(self._network, ctypes.byref(self._samples))

    def result(self) -> Any:
        self._library.fann_get_connection_array(self._network, self._at_connections())
        rest, pairs = self._connections["weight"].copy(), []
        for k, m in itertools.pairwise(self._workload.sizes):
            own, rest = np.split(rest, [(k + 1) * m])
            rows = own.reshape(m, k + 1).T
            pairs.append((rows[:-1], rows[-1]))
        return tuple(pairs)


def load(dtype: str) -> ctypes.CDLL:
    """FANN's library for a dtype; OSError where there is none that can be loaded."""
    found = ctypes.util.find_library(LIBRARIES[dtype])
    if found is None:
        raise OSError("not installed")
    return ctypes.CDLL(found)
