"""Arrays whose elements are computed otherwise than the contract has it, for the same maths."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.maths.fma import fma

Floats = NDArray[Any]


class Namespace:
    """NumPy's functions; constants are rounded to so many bits, and arrays stay of their class."""

    def __init__(self, kind: type[np.ndarray[Any, Any]] = np.ndarray, bits: int | None = None):
        self._kind, self._bits = kind, bits

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def finfo(self, dtype: Any) -> Any:
        """As far as constants are rounded."""
        return SimpleNamespace(bits=self._bits or np.finfo(dtype).bits)

    def where(self, *given: Any) -> Any:
        """As NumPy's, which forgets the class."""
        return np.where(*given).view(self._kind)


def flushed(a: Any) -> Any:
    """The same, with zeros of their signs for subnormal numbers."""
    a = np.asarray(a)
    if a.dtype.kind != "f":
        return a
    return np.where(np.abs(a) < np.finfo(a.dtype).smallest_normal, np.copysign(a * 0, a), a)


class _Odd(np.ndarray[Any, Any]):
    """An array whose elementwise functions are `_compute`'s."""

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        """Compute otherwise."""
        found = self._compute(getattr(ufunc, method), ufunc, inputs, options)
        if not isinstance(found, _Odd):
            found = np.asarray(found).view(type(self))
        if out is not None:
            np.copyto(np.asarray(out[0]), np.asarray(found))
            return out[0]
        return found

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        raise NotImplementedError


def _plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.ndarray) else value


class FlushingInputs(_Odd):
    """Subnormal operands are zeros."""

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        return function(*_flushed_arrays(inputs), **options)


class FlushingResults(_Odd):
    """Subnormal results are zeros."""

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        return flushed(function(*map(_plain, inputs), **options))


class Flushing(_Odd):
    """Subnormal operands and results are zeros."""

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        return flushed(function(*_flushed_arrays(inputs), **options))


def _flushed_arrays(inputs: Any) -> list[Any]:
    return [flushed(value) if isinstance(value, np.ndarray) else value for value in inputs]


class Unrounded(_Odd):
    """Products with a constant are computed in float64, where the constant was not rounded."""

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        plain = [_plain(value) for value in inputs]
        if ufunc is np.multiply and any(isinstance(value, float) for value in plain):
            wide = [np.asarray(value, np.float64) for value in plain]
            return function(*wide, **options).astype(self.dtype)
        return function(*plain, **options)


class Fusing(_Odd):
    """A product joins the sum that takes it in one rounding; of two, the last one."""

    factors: Any = None
    takes_last = True

    def __array_finalize__(self, other: Any) -> None:
        """What is made of a product is none."""
        self.factors = None

    def _compute(self, function: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
        plain = [_plain(value) for value in inputs]
        found = None
        if ufunc in (np.add, np.subtract) and len(plain) == 2:
            found = self._joined(ufunc is np.subtract, inputs, plain)
        if found is None:
            found = np.asarray(function(*plain, **options))
        made: Fusing = found.view(type(self))
        if ufunc is np.multiply and found.dtype.kind == "f":
            made.factors = plain
        return made

    def _joined(self, negative: bool, inputs: Any, plain: Any) -> Any:
        places = (1, 0) if self.takes_last else (0, 1)
        for place in places:
            factors = getattr(inputs[place], "factors", None)
            if factors is None:
                continue
            kind = self.dtype
            other = np.asarray(plain[1 - place], kind)
            a, b = (np.asarray(factor, kind) for factor in factors)
            if negative and place == 1:
                a = -a
            elif negative:
                other = -other
            shape = np.broadcast_shapes(a.shape, b.shape, other.shape)
            arrays = [np.broadcast_to(array, shape).copy() for array in (a, b, other)]
            return fma(np, *arrays)
        return None


class FusingFirst(Fusing):
    """Of two products, the first one joins."""

    takes_last = False
