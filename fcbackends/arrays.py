"""What is known of array libraries: whose an array is, its dtype, its device, and its way to NumPy.

Only here do libraries differ. `array_api_compat` is imported where an array is not NumPy's: it
would be a third of the time that importing fcbackends takes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError, ArgumentTypeError
from fcbackends.maths.arithmetic import Array

DTYPES = ("float64", "float32")

PLAIN = 0x0001 | 0x0100
"""NumPy's flags for contiguous and aligned; the flags object has no cheaper test for both."""


def is_plain(array: NDArray[Any]) -> bool:
    """Whether a NumPy array's rows stand one after another, each number aligned."""
    return array.flags.num & PLAIN == PLAIN


def is_foreign(value: Any) -> bool:
    """Whether the value is an array of a library other than NumPy."""
    if isinstance(value, np.ndarray):
        return False
    import array_api_compat

    return array_api_compat.is_array_api_obj(value) and not array_api_compat.is_numpy_array(value)


def check_dense(name: str, array: Array, *, with_values: bool = True) -> None:
    """Check that a foreign array has a number in memory for each of its elements.

    It may also be one without values, unless it has to be `with_values`.

    PyTorch's sparse and nested tensors, and those without values, are tensors by their type, and
    fail in most of what is done to them.
    """
    import array_api_compat

    if not array_api_compat.is_torch_array(array):
        return
    lacks_values = with_values and array.is_meta
    if array.is_nested or lacks_values or str(array.layout) != "torch.strided":
        kind = "nested" if array.is_nested else f"of {array.layout} on {array.device}"
        raise ArgumentTypeError(name, "be a dense array, with values", f"one {kind}")


def namespace_of(array: Array) -> Any:
    """The functions of the array's library, as the array API names them."""
    if isinstance(array, np.ndarray):
        # NumPy's own names serve; to wrap them, array_api_compat imports all of NumPy.
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def library_of(array: Array) -> str:
    """The name of an array's library."""
    module = namespace_of(array).__name__
    return str(module.removeprefix("array_api_compat.").partition(".")[0])


def common_library(named: Mapping[str, Any]) -> str:
    """The library of all arrays that are not NumPy's; "numpy" where there are none.

    Raises
    ------
    ArgumentTypeError
        Where they are of several libraries.
    """
    libraries = {name: library_of(array) for name, array in named.items() if is_foreign(array)}
    if len(set(libraries.values())) > 1:
        raise ArgumentTypeError(tuple(libraries), "be arrays of one library", libraries)
    return next(iter(libraries.values()), "numpy")


def dtype_of(array: Any) -> str:
    """The plain name of an array's dtype, such as "float32", in any library and byte order."""
    dtype = getattr(array, "dtype", array)
    # NumPy makes a dtype's name anew each time, in 3 us.
    return _name_of(dtype) if isinstance(dtype, np.dtype) else _name_of.__wrapped__(dtype)


@functools.lru_cache(maxsize=64)
def _name_of(dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def as_numpy(array: Any) -> NDArray[Any]:
    """The array as a NumPy array, brought from its library and device."""
    if isinstance(array, np.ndarray):
        return array
    import array_api_compat

    if array_api_compat.is_torch_array(array):
        return array.numpy(force=True)
    try:
        return np.asarray(array)
    except (TypeError, RuntimeError):
        # It stands on a device that NumPy cannot read. Only the array API's own test library has
        # no device of the name "cpu".
        host = "cpu"
        if not array_api_compat.is_cupy_array(array):
            info = array_api_compat.array_namespace(array).__array_namespace_info__()
            host = info.default_device()
        return np.asarray(array_api_compat.to_device(array, host))


def computed(values: list[Any]) -> list[Any]:
    """The values, with Dask's lazy arrays computed together, so that what they share is once."""
    # None are there before its module is; to load it takes a second.
    dask = sys.modules.get("dask")
    if dask is None or all(isinstance(value, np.ndarray) for value in values):
        return values
    return list(dask.compute(*values, traverse=False))


def from_numpy(xp: Any, values: NDArray[Any], dtype: str | None = None) -> Array:
    """NumPy's array as one of another library.

    In the form that every library takes: PyTorch warns of read-only arrays and refuses negative
    strides, and few know the other byte order.
    """
    wanted = values.dtype.newbyteorder("=") if dtype is None else dtype
    plain = np.require(values, wanted, ["C", "A", "W"])
    if any(stride < 0 for stride in plain.strides):
        # Rows are one after another whatever the stride of an axis of one element.
        plain = plain.copy()
    return xp.asarray(plain)


def with_dtype(xp: Any, array: Array, dtype: str) -> Array:
    """The array in the library's own float32 or float64, or in what it makes of it."""
    # JAX warns where it is asked for a dtype that is switched off, and makes another.
    return xp.asarray(array, dtype=xp.asarray(np.empty(0, dtype)).dtype)


def without_graph(array: Array) -> Array:
    """The array as no part of a graph of gradients that the caller keeps."""
    return array.detach() if hasattr(array, "detach") else array


def common_device(named: Mapping[str, Any], owns: Callable[[Any], bool]) -> Any:
    """The device of a library's arrays among these; None where there are none.

    Arrays that JAX has spread over several devices are on all of those; what it traces, on none.
    """
    others = {name: array for name, array in named.items() if is_foreign(array) and owns(array)}
    if not others:
        return None
    import array_api_compat

    devices = {name: array_api_compat.device(array) for name, array in others.items()}
    devices = {name: device for name, device in devices.items() if device is not None}
    places = [getattr(device, "device_set", device) for device in devices.values()]
    if any(place != places[0] for place in places):
        raise ArgumentError(tuple(devices), "be on one device", devices)
    return next(iter(devices.values()), None)


def on_device(array: Array, device: Any) -> Array:
    """The array on that device; where there is none to be on, as it is."""
    import array_api_compat

    # NumPy's go with arrays on several devices as they are.
    if device is None or hasattr(device, "device_set") or array_api_compat.device(array) == device:
        return array
    return array_api_compat.to_device(array, device)


def beside(array: Array, values: NDArray[Any]) -> Array:
    """NumPy's values as an array of another's library, on its device."""
    import array_api_compat

    return namespace_of(array).asarray(values, device=array_api_compat.device(array))
