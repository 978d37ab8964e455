"""The class of a backend, found by a test of some milliseconds instead of by its name.

A: every bit is the contract's. B: so is every bit, except that subnormal numbers become zero. C:
anything else, and always a library's own matmul and sums. What must come out stands here as exact
numbers and digests: in a process whose CPU flushes subnormals to zero, results computed for
comparison would be flushed as well.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.agreement import compare, digest
from fcbackends.backends.backend import Backend, Conformance
from fcbackends.backends.loop import Plan
from fcbackends.environment import ROUNDS_OTHERWISE, disturbance
from fcbackends.errors import ArgumentTypeError
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method
from fcbackends.maths.optimizers import Adam
from fcbackends.maths.sampling import uniforms

_ALL_ROWS = 2**63 - 1
_DTYPES = ("float32", "float64")
_METHOD = Method(lr=0.3)
_STEPS = 3
_Products: TypeAlias = "Callable[[list[float], list[float]], Iterator[tuple[str, Any]]]"
"""The sum of the products of two lists as each of a layer's functions makes it; and whose it is."""

_PLAN = Plan(batch_size=4, sampling="epoch", seed=1, tol=None, tol_on="batch", record_every=1)

_DIGESTS = {
    "ordered": {
        "float32": {
            "fc_forward": "9b808adf924fb974c3d0c7bf006efe8b6e8d16e723f9bf69bfaa572e8049bdf8",
            "fc_backward": "0b645441215fc0ef798e69f15bf6328dd9c7727d551f8455636146b54b8bfc2f",
            "mean_squared_loss": "bcd23936f344847f6d324100cdce24454de67efcb3a0f7fb8cf912610fd061ff",
            "predict": "861dfb3eff179799247dade51d6306fd89465caf791f259cc590904fefdfc484",
            "sgd_step": "bd585e34c27e7a56f115cf8f213d2898cefd0b5f8b374b0725e8cb1980f2e412",
            "training_loop": "6f77315ab00a965c60d1f61abcf286cf07fbc29932f9638bce0b9bf09dfc702d",
            "activation": "940a2946520db73130180899d087ba1dc4af19f47229173fdfa5326ee3932fc4",
            "loss": "22a14459aa2188383a9eb85e7fb2b915d631dab5004719e979f811fcd0535f31",
            "optimizer": "7b5592ab9d745ee382fb9a61d77c8e26bfd718ec210638912dcad1f72087f5f8",
        },
        "float64": {
            "fc_forward": "2baaa65e245033217088072b88abe8d51e0c390ca78f81227862d58f6a0202d5",
            "fc_backward": "d4ef49269ebd38db8228b2f101e41394ec5f72b36221c1469c6608ab80e6613a",
            "mean_squared_loss": "a66c6c59644d6ca7446ee190bcdb09787d871a0df13163f3259e26c58606294c",
            "predict": "c1e9add266052f4558870e8233345c5b884a571fbe0d4e5b783e43c63856f424",
            "sgd_step": "dcba85fa9899be5c8d7030511c3bbd3f209a9c7642a411567b5a2e44e5e1c1de",
            "training_loop": "afc1cc39170af33db99e754a87f76124896440a246c6213f2f7982e1c761e7f9",
            "activation": "11c86d68a1e4fa2bdcca80cb92016aba5849a40410c2a54ccfd0d580365d2681",
            "loss": "132ecd6c4a912b28beb454199edfff964fa84986c5ad09155e53fe007f85c1af",
            "optimizer": "d3882518fc7163a1dfdf67f6f599c4eb5e8380edcc8783765c25797229093645",
        },
    },
    "fused": {
        "float32": {
            "fc_forward": "9113f1d593cbb7a30cd36102f4835a243c3d8c2a5256cc4b47f9f2afeb71fa2b",
            "fc_backward": "8b0368cec6b4c859328d875062a5625795811debf989d2b9189bdba3b1e6a872",
            "mean_squared_loss": "98b2b52f0772043e68617dff3da7cda113ed4c992f16ec512443b65b5174e1ae",
            "predict": "41d009a4bfceac98c5798da49b8f78bafa26be3c6148d48e85527e1b6c706434",
            "sgd_step": "5632354ec235cb7fc18d09b34c76467f8ba313ef733da497edd84ec9fb9bde24",
            "training_loop": "d662c3d82756ce1a189fa97cf73bdfa8c5babeae64568b5743afb1cf17c32c15",
            "activation": "a36e4fb693e7673a0876324c58c9a07bcc9f9a1db75140e481c22a783334e544",
            "loss": "3c7222e2cde8804c2ab2b8e49578ad2a55fe9bb60e0774b62f99ca3bf4959b37",
            "optimizer": "aaf90163f915dfc0e07549428fd58e547121d54f437dacfb1d101e8974c10eb9",
        },
        "float64": {
            "fc_forward": "6dfb77bdb1947019c87b50479358883b02b11c136d47081f8d5ee6f943918a2a",
            "fc_backward": "ce120b2db42b073195d986df26a70291c5d07f3e714f8439279e209ad98e266f",
            "mean_squared_loss": "032313a22e61e95369bb80e0325fd98d914608dc731c05c130acacb3471eefca",
            "predict": "3430802cf74db18179986f795795df917a1b30415ffbb1c012279e6ff421f75b",
            "sgd_step": "24f4246f7ef806060d16aedd3286bee5d666c19d224859bd0961d8867cdb5039",
            "training_loop": "55353d293aa63215414741c3ad6df207c030386d0511c90c40d9af707458d7d9",
            "activation": "6b8cdec550578d26f1448787763e3921903c5dab3fb5374e12421cf45860671d",
            "loss": "c66c28c0c3198f3ebd7c61dda23d38a431cf1e4f226cc2bf1ad0e94efea98072",
            "optimizer": "bbd2657e065aa383a7ac0b574c6ca60ccb43ac43955e3508ea40a0a98dc2f673",
        },
    },
}
"""Of what `_results` gives, by arithmetic, dtype and function; the tests' scalar loops end on them
as well."""


def self_test(backend: Backend) -> Conformance:
    """Find the class of a backend, as it is in this process now.

    Nothing that the backend raises gets out: it is of class C then, for that reason.
    """
    if backend.arithmetic == "native":
        return Conformance("C", "the library's own matmul and sums")
    if backend.with_rows_per_block is not None and backend.rows_per_block is not None:
        # What must come out is of one block, however many rows there are.
        backend = backend.with_rows_per_block(_ALL_ROWS)
    # Infinities and underflows are meant.
    with np.errstate(all="ignore"):
        try:
            found = _find(backend)
        except Exception as error:
            found = Conformance("C", f"{type(error).__name__}: {error}")
    if found.letter == "C" and disturbance() == ROUNDS_OTHERWISE:
        return Conformance("C", f"{ROUNDS_OTHERWISE}: {found.reason}")
    return found


def _find(backend: Backend) -> Conformance:
    dtypes = taken_dtypes(backend)
    if not dtypes:
        return Conformance("C", "it takes neither float32 nor float64")
    for dtype in dtypes:
        for defect, got, want in _probes(backend, dtype):
            if not compare(got, want).equal:
                return Conformance("C", f"{defect}, in {dtype}")
        results = _results(backend, dtype)
        if "float64" in dtypes:  # which some activations and losses are computed in
            results["activation"] = _activated(backend, dtype)
            results["loss"] = _lost(backend, dtype)
        results["optimizer"] = _moved(backend, dtype)
        for function, result in results.items():
            if digest(result) != _DIGESTS[backend.arithmetic][dtype][function]:
                return Conformance(
                    "C", f"{function} has other bits than the contract's, in {dtype}"
                )
    missing = "".join(f"; {dtype} is switched off" for dtype in _DTYPES if dtype not in dtypes)
    flushed = [dtype for dtype in dtypes if _flushes(backend, dtype)]
    if flushed:
        return Conformance("B", f"subnormals become zero in {' and '.join(flushed)}{missing}")
    return Conformance("A", f"every bit is as it must be{missing}")


def taken_dtypes(backend: Backend) -> tuple[str, ...]:
    """Those of float32 and float64 that a backend does not refuse."""

    def takes(dtype: str) -> bool:
        try:
            backend.asarray(np.ones(1), dtype)
        except ArgumentTypeError:
            return False
        return True

    return tuple(filter(takes, _DTYPES))


def _probes(backend: Backend, dtype: str) -> Iterator[tuple[str, Any, Any]]:
    """Defects, what comes out where one may show, and what must come out."""
    # A result that fills vector registers, the same sum in all its places.
    rows, columns = 9, 33

    def bring(values: Any) -> Any:
        return backend.asarray(np.array(values, dtype), dtype)

    def forward(x: list[float], w: list[float], b: float) -> Any:
        return backend.fc_forward(
            bring(np.tile(x, (rows, 1))), bring(np.tile(w, (columns, 1)).T), bring([b] * columns)
        )

    def products(a: list[float], b: list[float]) -> Iterator[tuple[str, Any]]:
        yield "", forward(a, b, 0)
        left, right = bring(np.tile(a, (rows, 1))), bring(np.tile(b, (columns, 1)))
        unused = bring(np.ones((rows, columns)))
        yield " of dw", backend.fc_backward(right.T, left.T, unused)[0]
        yield " of dx", backend.fc_backward(left, unused, right)[2]

    def everywhere(value: float) -> NDArray[Any]:
        return np.full((rows, columns), value, dtype)

    digits = np.finfo(dtype).nmant + 1
    whole = 2.0**digits
    kept = backend.asarray(np.ones(1), dtype)
    yield "values change their dtype", kept, np.ones(1, dtype)
    orders, joins = _orders(products, digits), _joins(products, digits, backend.arithmetic)
    # Named is what shows by itself: another order of fused sums looks like products rounded first.
    several = (*orders, *joins) if backend.arithmetic == "fused" else (*joins, *orders)
    for defect, found, value in several:
        yield defect, found, everywhere(value)
    if backend.arithmetic == "fused" and dtype == "float32":
        # The product lies between two numbers, and the other term is lost in float64.
        for whose, found in products([-(2.0**-30), 2049], [1, 8191]):
            yield f"sums{whose} are rounded to float64 first", found, everywhere(16783358)
    bias_first = forward([1, 1], [1, 1], whole)
    yield "the bias is not added last", bias_first, everywhere(whole + 2)
    for x, b, y in ((-0.0, -0.0, -0.0), (0.0, -0.0, 0.0), (-0.0, 0.0, 0.0)):
        yield "zeros change their signs", forward([x], [1], b), everywhere(y)
    unit = bring([[1]]), bring([-0.0])
    activated = backend.predict((unit, unit), bring([[-0.0]]))
    yield "ReLU changes the sign of a zero", activated, np.array([[-0.0]], dtype)
    # The first layer's output is -0, whose gradient is +0, so that its weight stays -0.
    layers = (bring([[-0.0]]), bring([-0.0])), (bring([[1]]), bring([1]))
    stepped = backend.sgd_step(layers, bring([[1]]), bring([[2]]), Method(1.0)).params[0][0]
    yield "ReLU's gradient is not +0", stepped, np.array([[-0.0]], dtype)


def _orders(products: _Products, digits: int) -> Iterator[tuple[str, Any, float]]:
    whole = 2.0**digits
    # whole + 1 lies between two numbers and rounds to the even one, whole.
    for whose, found in products([1, 1, 1], [whole, 1, 1]):
        yield f"sums{whose} run in another order", found, whole


def _joins(products: _Products, digits: int, arithmetic: str) -> Iterator[tuple[str, Any, float]]:
    part = 2.0 ** -(digits // 2 + 1)
    # (1 + part) * (1 - part) is 1 - part**2, and rounds to 1.
    for whose, found in products([-1, 1 + part], [1, 1 - part]):
        if arithmetic == "fused":
            yield f"products{whose} are rounded before they are added", found, -(part**2)
        else:
            yield f"sums{whose} are fused", found, 0


def _numbers(backend: Backend, dtype: str, *shape: int) -> Any:
    """Numbers in which every rounding shows."""
    count = int(np.prod(shape))
    values = (2 * uniforms(count, count) - 1).reshape(shape)
    return backend.asarray(values.astype(dtype), dtype)


def _activated(backend: Backend, dtype: str) -> list[Any]:
    """What comes of a network with all activations but ReLU."""
    numbers = functools.partial(_numbers, backend, dtype)
    names = "tanh", "sigmoid", "leaky_relu", "identity"
    sizes = (19, *(7 for _ in names), 5)
    params = tuple((numbers(k, m), numbers(m)) for k, m in itertools.pairwise(sizes))
    x, t = numbers(17, 19), numbers(17, 5)
    method = _METHOD._replace(activation=names)
    return [backend.predict(params, x, names), *backend.sgd_step(params, x, t, method)]


def _lost(backend: Backend, dtype: str) -> list[Any]:
    """What comes of all losses, of samples with weights and without, and of steps on one."""
    numbers = functools.partial(_numbers, backend, dtype)
    y, x = numbers(17, 5), numbers(17, 19)
    t = np.eye(5, dtype=dtype)[np.arange(17) % 5]
    weights = 2 * uniforms(17, 17).astype(dtype)
    t, weighted = (backend.asarray(a, dtype) for a in (t, np.column_stack([t, weights])))
    found: list[Any] = []
    for name, loss in LOSSES.items():
        found += backend.loss_and_gradient(y, t, name, False)
        found += backend.loss_and_gradient(y, weighted, name, True)
        found += [backend.probabilities(y, name)] if loss.probabilities else []
    params = ((numbers(19, 5), numbers(5)),)
    loop = backend.training_loop(params, _METHOD._replace(loss="cross_entropy", weighted=True))
    losses = [loop.step(x, weighted, 1), loop.step(x[3, ...], weighted[3, ...], 2)]
    return [*found, loop.params, np.array([*losses, loop.loss(x, weighted)])]


def _moved(backend: Backend, dtype: str) -> list[Any]:
    """What comes of steps of an optimizer with all operations that any has."""
    numbers = functools.partial(_numbers, backend, dtype)
    x, t, params = numbers(17, 19), numbers(17, 5), ((numbers(19, 5), numbers(5)),)
    loop = backend.training_loop(params, _METHOD._replace(optimizer=Adam(weight_decay=0.1)))
    losses = [loop.step(x, t, number) for number in (1, 2, 3)]
    return [loop.params, np.array(losses)]


def _results(backend: Backend, dtype: str) -> dict[str, Any]:
    """What each function makes of such numbers."""
    numbers = functools.partial(_numbers, backend, dtype)
    x, t, w, b = numbers(17, 19), numbers(17, 5), numbers(19, 5), numbers(5)
    params = ((numbers(19, 7), numbers(7)), (numbers(7, 5), b))
    y = backend.fc_forward(x, w, b)
    loop = backend.training_loop(params, _METHOD)
    losses = [loop.step(x, t, 1), loop.step(x[0, ...], t[0, ...], 2), loop.loss(x, t)]
    segment = loop.run(x, t, _PLAN, 0, _STEPS)
    return {
        "fc_forward": y,
        "fc_backward": list(backend.fc_backward(t, x, w)),
        "mean_squared_loss": list(backend.mean_squared_loss(y, t)),
        "predict": backend.predict(params, x),
        "sgd_step": list(backend.sgd_step(params, x, t, _METHOD)),
        "training_loop": [loop.params, np.array(losses), segment.losses],
    }


def _flushes(backend: Backend, dtype: str) -> bool:
    """Whether subnormal numbers become zero; ArgumentError where they become something else."""
    mantissa = np.finfo(dtype).nmant
    sign = 1 << (31 if dtype == "float32" else 63)

    def of_bits(*patterns: int) -> NDArray[Any]:
        # Arithmetic on subnormal numbers may itself be flushed here.
        unsigned = np.uint32 if dtype == "float32" else np.uint64
        return np.array(patterns, unsigned).view(dtype)[:, None]

    def bring(values: Any) -> Any:
        return backend.asarray(np.array(values, dtype), dtype)

    subnormals = of_bits(3, sign | 3, (1 << mantissa) - 1)
    unit, zero = bring([[1]]), bring([[0]])
    least_normal = 1 << mantissa
    half = least_normal >> 1
    y, t = bring(of_bits(*[least_normal | half] * 2)), bring(of_bits(*[least_normal] * 2))
    layer = bring(of_bits(5)), bring([1])
    kept = [
        (backend.fc_forward(bring(subnormals), unit, bring([-0.0])), subnormals),
        (backend.mean_squared_loss(y, t).dy, of_bits(half, half)),
        (backend.sgd_step((layer,), zero, unit, Method(1.0)).params[0][0], of_bits(5)),
    ]
    flushed = False
    for got, want in kept:
        if compare(got, want).equal:
            continue
        if not compare(got, np.copysign(np.zeros_like(want), want)).equal:
            raise ArithmeticError(f"subnormal numbers go wrong in {dtype}")
        flushed = True
    return flushed
