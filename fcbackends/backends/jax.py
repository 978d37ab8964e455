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
from fcbackends.maths.arithmetic import ARITHMETICS, Arithmetic, Array
from fcbackends.maths.fma import branchless
from fcbackends.maths.network import Form, Method

_X64_HINT = "; jax.config.update('jax_enable_x64', True) switches it on"

_ZERO = jnp.zeros(1, jnp.uint32)
"""No number, which would be a constant where it is traced."""

_UNSIGNED = {"float32": jnp.uint32, "float64": jnp.uint64}


def load() -> tuple[Backend, ...]:
    """JAX's backends: compiled, but for the native one."""
    made = namespace_backends(jnp, "jax", _ARITHMETICS, loop=_loop, hint=_X64_HINT)
    return tuple(b if b.arithmetic == "native" else _compiled_backend(b) for b in made)


def _in_turns(
    name: str, plus_product: Callable[[Array, Array, Array], Array], xp: Any
) -> Arithmetic:
    """Sums as compiled loops.

    Unrolled, those of a step of 784-256-10 took 14 s to compile and ran no faster.
    """

    def matmul(a: Array, b: Array) -> Array:
        if a.shape[1] == 0:
            return xp.matmul(a, b)  # +0.0

        def turn(total: Array, factors: tuple[Array, Array]) -> tuple[Array, None]:
            column, row = factors
            return plus_product(total, column[:, None], row[None, :]), None

        first = a[:, :1] * b[:1, :]
        return jax.lax.scan(turn, first, (a.T[1:, :], b[1:, :]))[0]

    def sum_first(a: Array) -> Array:
        if a.shape[0] == 0:
            return xp.sum(a, axis=0, dtype=a.dtype)  # +0.0
        return jax.lax.scan(lambda total, term: (total + term, None), a[0], a[1:])[0]

    return Arithmetic(name, xp, matmul, sum_first, over_blocks=_over_blocks)


def _over_blocks(arithmetic: Arithmetic, function: Callable[..., Array], *arrays: Array) -> Array:
    """A compiled loop over the blocks; one after another in the code, they took long to compile."""
    size, rows = arithmetic.rows_per_block or 1, arrays[0].shape[0]
    whole = rows // size

    def blocks_of(array: Array) -> Array:
        return array[: whole * size].reshape((whole, size, *array.shape[1:]))

    sums = jax.lax.map(lambda block: function(arithmetic, *block), tuple(map(blocks_of, arrays)))
    if whole * size < rows:
        last = function(arithmetic, *(array[whole * size :] for array in arrays))
        sums = jnp.concat([sums, last[None, ...]])
    while (count := sums.shape[0]) > 1:
        pairs = sums[: count - 1 : 2] + sums[1::2]
        sums = jnp.concat([pairs, sums[-1:]]) if count % 2 else pairs
    return sums[0, ...]


def _fused_plus_product(total: Array, a: Array, b: Array) -> Array:
    if not jax.config.jax_enable_x64:
        raise ArgumentTypeError(
            "arithmetic",
            "be 'ordered' or 'native' where float64 is switched off",
            f"'fused'{_X64_HINT}",
        )
    return branchless(jnp, a, b, total)


_ARITHMETICS: dict[str, Callable[[Any], Arithmetic]] = {
    "ordered": functools.partial(_in_turns, "ordered", lambda total, a, b: total + a * b),
    "fused": functools.partial(_in_turns, "fused", _fused_plus_product),
    "native": ARITHMETICS["native"],
}


def _compiled_backend(
    backend: Backend, with_rows_per_block: Callable[[int], Backend] | None = None
) -> Backend:
    stepped = _compiled(
        lambda params, x, t, lr, form: backend.sgd_step(
            params, x, t, Method(lr, form.activation, form.loss, weighted=form.weighted)
        )
    )
    in_blocks = backend.with_rows_per_block
    if with_rows_per_block is None and in_blocks is not None:

        @functools.cache
        def with_rows_per_block(count: int) -> Backend:
            return _compiled_backend(in_blocks(count), with_rows_per_block)

    return dataclasses.replace(
        backend,
        with_rows_per_block=with_rows_per_block,
        fc_forward=_compiled(backend.fc_forward),
        fc_backward=_compiled(backend.fc_backward),
        mean_squared_loss=_compiled(backend.mean_squared_loss),
        loss_and_gradient=_compiled(backend.loss_and_gradient),
        probabilities=_compiled(backend.probabilities),
        predict=_compiled(backend.predict),
        sgd_step=lambda params, x, t, method: stepped(params, x, t, method.lr, method.form),
    )


def _loop(arithmetic: Arithmetic) -> Callable[..., StepLoop]:
    if arithmetic.name == "native":
        return functools.partial(StepLoop, arithmetic)
    stepped = _compiled(
        lambda state, x, t, constants, form: network.step(arithmetic, state, x, t, form, constants)
    )
    return functools.partial(
        StepLoop,
        arithmetic,
        step=lambda state, x, t, form, constants: stepped(state, x, t, constants, form),
        loss_of=_compiled(functools.partial(network.loss_of, arithmetic)),
        batches=_batches,
    )


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays and, after them, names or forms, compiled as a whole for those."""

    def rounded(names: tuple[Any, ...], zero: Array, *args: Any) -> Any:
        named = functools.partial(_called_with, function, names)
        closed, results = jax.make_jaxpr(named, return_shape=True)(*args)
        flat = _evaluate(closed, jax.tree.leaves(args), zero)
        return jax.tree.unflatten(jax.tree.structure(results), flat)

    compiled = jax.jit(rounded, static_argnums=0)

    def either(*args: Any) -> Any:
        names = tuple(arg for arg in args if _is_name(arg))
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
        return (rounded if 0 in lengths else compiled)(names, _ZERO, *args)

    return either


def _is_name(value: Any) -> bool:
    """Whether it is a name, a tuple of names, a form, or whether something is so."""
    return isinstance(value, str | Form | bool) or (
        isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    )


def _called_with(function: Callable[..., Any], names: tuple[Any, ...], *args: Any) -> Any:
    return function(*args, *names)


def _evaluate(closed: Any, args: Sequence[Array], zero: Array) -> list[Array]:
    """The results of traced code, every product rounded before anything is done with it."""
    values = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(closed.jaxpr.invars, args, strict=True))

    def value(variable: Any) -> Array:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in closed.jaxpr.eqns:
        inputs = [value(variable) for variable in equation.invars]
        if equation.primitive.name == "scan":
            results = _evaluate_turns(equation, inputs, zero)
        elif "jaxpr" in equation.params:
            results = _evaluate(equation.params["jaxpr"], inputs, zero)
        else:
            result = equation.primitive.bind(*inputs, **equation.params)
            results = result if equation.primitive.multiple_results else [result]
        if equation.primitive.name == "mul":
            results = [_rounded(result, zero) for result in results]
        values.update(zip(equation.outvars, results, strict=True))
    return [value(variable) for variable in closed.jaxpr.outvars]


def _evaluate_turns(equation: Any, inputs: Sequence[Array], zero: Array) -> list[Array]:
    """The results of a traced loop."""
    body = equation.params["jaxpr"]
    # What is the same in each turn, or carried from one to the next, is of the same shape inside;
    # JAX has told in several ways how many there are of each.
    carried = _as_inside(equation.outvars, body.out_avals)
    constants = _as_inside(equation.invars, body.in_avals) - carried
    shared = inputs[:constants]

    def turn(carry: Any, terms: Any) -> tuple[Any, Any]:
        results = _evaluate(body, [*shared, *carry, *terms], zero)
        return results[:carried], results[carried:]

    last, rest = jax.lax.scan(
        turn,
        list(inputs[constants : constants + carried]),
        list(inputs[constants + carried :]),
        length=equation.params["length"],
    )
    return [*last, *rest]


def _as_inside(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    """How many variables of a loop have the shape that they have inside, and not a row for each."""
    pairs = zip(outside, inside, strict=True)
    return sum(variable.aval.ndim == aval.ndim for variable, aval in pairs)


def _rounded(product: Array, zero: Array) -> Array:
    bits = _UNSIGNED.get(product.dtype.name)
    if bits is None:  # indices are multiplied as well
        return product
    whole = jax.lax.bitcast_convert_type(product, bits) ^ zero[0].astype(bits)
    return jax.lax.bitcast_convert_type(whole, product.dtype)


def _batches(x: Array, t: Array, indices: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """As `array_api.batches_of`, with one call a step instead of five."""
    for rows in indices:
        yield _take(x, t, rows)


_take = jax.jit(lambda x, t, rows: (jnp.take(x, rows, axis=0), jnp.take(t, rows, axis=0)))
