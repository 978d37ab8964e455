"""JAX: the one array-API code, compiled to the same bits.

XLA contracts a product and the sum that takes it into one fused multiply-add, with one rounding
instead of two, on CPUs even across `jax.lax.optimization_barrier` and `reduce_precision`. So each
product's bits go through an exclusive or with a zero that comes at run time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from numpy.typing import NDArray

from fcbackends.backends.array_api import StepLoop, namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.errors import ArgumentTypeError
from fcbackends.maths import network
from fcbackends.maths.arithmetic import Arithmetic, Array
from fcbackends.maths.network import Method, State

_X64_HINT = "; jax.config.update('jax_enable_x64', True) switches it on"

_MOST_LENGTHS = 1000
"""Sums are unrolled, so compiling takes longer the longer the arguments' axes are: 1.2 s for a step
of 64-32-10 on 32 samples (318 in all), which then takes 0.35 ms. Operation by operation the first
step takes 1.1 s and the next ones 33 ms. For 784-256-10 on 128 (2622) it took 14 s for nothing."""

_UNSIGNED = {"float32": jnp.uint32, "float64": jnp.uint64}


def load() -> tuple[Backend, ...]:
    """JAX's backends: compiled where that pays, but for the native one."""
    made = namespace_backends(jnp, "jax", loop=_loop, hint=_X64_HINT)
    return tuple(b if b.arithmetic == "native" else _compiled_backend(b) for b in made)


def _compiled_backend(backend: Backend) -> Backend:
    predict, sgd_step = _compiled(backend.predict), _compiled(_taking_names(backend.sgd_step))
    return dataclasses.replace(
        backend,
        fc_forward=_compiled(backend.fc_forward),
        fc_backward=_compiled(backend.fc_backward),
        mean_squared_loss=_compiled(backend.mean_squared_loss),
        predict=predict,
        sgd_step=lambda params, x, t, method: sgd_step(params, x, t, *method),
    )


def _loop(arithmetic: Arithmetic) -> Callable[..., StepLoop]:
    if arithmetic.name == "native":
        return functools.partial(StepLoop, arithmetic)
    compiled = _compiled(_taking_names(functools.partial(network.step, arithmetic)))

    def step(state: State, x: Array, t: Array, method: Method) -> tuple[State, Array]:
        return compiled(state, x, t, *method)

    return functools.partial(StepLoop, arithmetic, step=step, batches=_batches)


def _taking_names(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step whose method comes in its parts: the names are no values that JAX could trace."""
    return lambda start, x, t, *method: step(start, x, t, Method(*method))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays and, after them, names, compiled as a whole where they are small."""

    @functools.cache
    def whole(names: tuple[str, ...]) -> Callable[..., Any]:
        def traced(zero: Array, *args: Any) -> Any:
            named = functools.partial(_called_with, function, names)
            closed, results = jax.make_jaxpr(named, return_shape=True)(*args)
            flat = _evaluate(closed, jax.tree.leaves(args), zero)
            return jax.tree.unflatten(jax.tree.structure(results), flat)

        return jax.jit(traced)

    def either(*args: Any) -> Any:
        names = tuple(arg for arg in args if isinstance(arg, str))
        args = args[: len(args) - len(names)]
        arrays = jax.tree.leaves(args)
        if any(isinstance(array, jax.core.Tracer) for array in arrays):
            # The zero would be a constant there, and products contracted again.
            raise ArgumentTypeError(
                "backend",
                "be given arrays with values where it is 'jax' (within jax.jit and jax.grad, only "
                "arithmetic 'native' can be used)",
                "some that JAX is tracing",
            )
        lengths = [length for array in arrays for length in np.shape(array)]
        # Compiled, the +0.0 that is a sum of no terms is left out where it is added: -0.0 stays.
        if sum(lengths) <= _MOST_LENGTHS and 0 not in lengths:
            return whole(names)(np.uint32(0), *args)
        return function(*args, *names)

    return either


def _called_with(function: Callable[..., Any], names: tuple[str, ...], *args: Any) -> Any:
    return function(*args, *names)


def _evaluate(closed: Any, args: Sequence[Array], zero: Array) -> list[Array]:
    """The results of traced code, every product rounded before anything is done with it."""
    values = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(closed.jaxpr.invars, args, strict=True))

    def value(variable: Any) -> Array:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in closed.jaxpr.eqns:
        inputs = [value(variable) for variable in equation.invars]
        if "jaxpr" in equation.params:
            results = _evaluate(equation.params["jaxpr"], inputs, zero)
        else:
            result = equation.primitive.bind(*inputs, **equation.params)
            results = result if equation.primitive.multiple_results else [result]
        if equation.primitive.name == "mul":
            results = [_rounded(result, zero) for result in results]
        values.update(zip(equation.outvars, results, strict=True))
    return [value(variable) for variable in closed.jaxpr.outvars]


def _rounded(product: Array, zero: Array) -> Array:
    bits = _UNSIGNED.get(product.dtype.name)
    if bits is None:  # indices are multiplied as well
        return product
    whole = jax.lax.bitcast_convert_type(product, bits) ^ zero.astype(bits)
    return jax.lax.bitcast_convert_type(whole, product.dtype)


def _batches(x: Array, t: Array, indices: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """As `array_api.batches_of`, with one call a step instead of five."""
    for rows in indices:
        yield _take(x, t, rows)


_take = jax.jit(lambda x, t, rows: (jnp.take(x, rows, axis=0), jnp.take(t, rows, axis=0)))
