"""The same work in PyTorch and JAX, as their documentation writes it; and who is there at all."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from contestants import Contestant, Forward, drawn
from scikit import ScikitEpochs, ScikitLinear, ScikitNetwork
from workloads import LR, Recipe, Workload, data, initial

PACKAGES = {"torch": "torch", "jax": "jax", "sklearn": "scikit-learn"}
"""What is imported, and under which name it is installed."""

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
"""Of Adam, as all have them by default."""


class PyTorch(Contestant):
    """Modules, autograd and torch.optim, one step after the other."""

    name = "PyTorch, eager"

    def __init__(self, workload: Workload) -> None:
        import torch

        self._workload = workload
        x, t = map(torch.from_numpy, data(workload))
        # Its fastest form of targets.
        self._data = x, t.argmax(1) if workload.recipe.loss == "cross_entropy" else t

    def start(self, units: int) -> None:
        import torch
        from torch import nn

        layers: list[Any] = []
        recipe = self._workload.recipe
        for w, b in initial(self._workload):
            layer = nn.Linear(*w.shape, dtype=getattr(torch, self._workload.dtype))
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(w.T))
                layer.bias.copy_(torch.from_numpy(b))
            layers += [layer, nn.Tanh() if recipe.activation == "tanh" else nn.ReLU()]
        self._model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
        self._optimizer = optimizer(self._model.parameters(), lr=LR)
        self._drawn = torch.from_numpy(drawn(self._workload, units))

    def go(self) -> None:
        from torch.nn import functional

        (x, t), batch = self._data, self._workload.batch
        model, optimizer = self._model, self._optimizer
        of_classes = self._workload.recipe.loss == "cross_entropy"
        for rows in self._drawn:
            y, target = model(x.index_select(0, rows)), t.index_select(0, rows)
            if of_classes:
                loss = functional.cross_entropy(y, target)
            else:
                loss = functional.mse_loss(y, target, reduction="sum") / batch
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def result(self) -> Any:
        return tuple(
            (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
            for layer in self._model[::2]
        )


class PyTorchForward(Forward):
    """The call that adds b for itself."""

    name = "PyTorch, addmm"
    promise = "work"

    def __init__(self, workload: Workload) -> None:
        import torch

        super().__init__(workload)
        self._arrays = tuple(map(torch.from_numpy, self._arrays))
        self._addmm = torch.addmm

    def _once(self, x: Any, w: Any, b: Any) -> Any:
        return self._addmm(b, x, w)


class JaxLoop(Contestant):
    """A compiled step with a donated state, called in a Python loop."""

    name = "JAX, jit of a step"

    def __init__(self, workload: Workload) -> None:
        import jax
        import jax.numpy as jnp

        self._workload = workload
        self._data = tuple(map(jnp.asarray, data(workload)))

        activate = jnp.tanh if workload.recipe.activation == "tanh" else jax.nn.relu
        of_classes = workload.recipe.loss == "cross_entropy"
        move = _adam if workload.recipe.optimizer == "adam" else _sgd

        def loss(params: Any, x: Any, t: Any) -> Any:
            for w, b in params[:-1]:
                x = activate(x @ w + b)
            w, b = params[-1]
            y = x @ w + b
            losses = -t * jax.nn.log_softmax(y) if of_classes else (y - t) ** 2
            return jnp.sum(losses) / workload.batch

        def step(state: Any, x: Any, t: Any, rows: Any) -> Any:
            value, gradient = jax.value_and_grad(loss)(state[0], x[rows], t[rows])
            return move(state, gradient), value

        self._go = self._compiled(step)

    def _compiled(self, step: Any) -> Any:
        import jax

        return jax.jit(step, donate_argnums=0)

    def start(self, units: int) -> None:
        import jax
        import jax.numpy as jnp

        fresh = jax.tree.map(lambda a: jnp.array(a, copy=True), initial(self._workload))
        state: tuple[Any, ...] = (fresh,)
        if self._workload.recipe.optimizer == "adam":
            moments = (jax.tree.map(jnp.zeros_like, fresh) for _ in range(2))
            state = fresh, *moments, jnp.zeros((), np.int32)
        self._state = jax.block_until_ready(state)
        self._get_rows(drawn(self._workload, units).astype(np.int32))

    def _get_rows(self, rows: Any) -> None:
        self._rows = list(rows)

    def go(self) -> None:
        import jax

        (x, t), state, step = self._data, self._state, self._go
        for rows in self._rows:
            state, _ = step(state, x, t, rows)
        self._state = jax.block_until_ready(state)

    def result(self) -> Any:
        return tuple((np.asarray(w), np.asarray(b)) for w, b in self._state[0])


def _sgd(state: Any, gradient: Any) -> Any:
    """The parameters one step on."""
    import jax

    (params,) = state
    return (jax.tree.map(lambda p, g: p - LR * g, params, gradient),)


def _adam(state: Any, gradient: Any) -> Any:
    """The parameters, both moments and the number of steps, one step on."""
    import jax
    import jax.numpy as jnp

    params, first, second, steps = state
    steps += 1
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * (g * g), second, gradient)
    power = steps.astype(gradient[0][0].dtype)
    rate, scale = LR / (1 - BETA1**power), 1 / jnp.sqrt(1 - BETA2**power)
    params = jax.tree.map(
        lambda p, m, v: p - rate * (m / (scale * jnp.sqrt(v) + EPS)), params, first, second
    )
    return params, first, second, steps


class JaxScan(JaxLoop):
    """All steps in one compiled loop, compiled anew for each number of steps."""

    name = "JAX, jit of a scan"

    def _compiled(self, step: Any) -> Any:
        import jax

        def steps(state: Any, x: Any, t: Any, drawn: Any) -> Any:
            return jax.lax.scan(lambda state, rows: step(state, x, t, rows), state, drawn)

        return jax.jit(steps, donate_argnums=0)

    def _get_rows(self, rows: Any) -> None:
        import jax.numpy as jnp

        self._rows = jnp.asarray(rows)

    def go(self) -> None:
        import jax

        self._state, _ = jax.block_until_ready(self._go(self._state, *self._data, self._rows))


class JaxForward(Forward):
    """One compiled expression, waited for in each call."""

    name = "JAX, jit"
    promise = "work"

    def __init__(self, workload: Workload) -> None:
        import jax

        super().__init__(workload)
        self._arrays = tuple(map(jax.numpy.asarray, self._arrays))
        self._compiled = jax.jit(lambda x, w, b: x @ w + b)

    def _once(self, x: Any, w: Any, b: Any) -> Any:
        return self._compiled(x, w, b).block_until_ready()


def load(threads: int) -> dict[str, str]:
    """Import what is installed and set its threads; names what is not, and why."""
    left_out = {}
    for package, name in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            left_out[name] = "not installed"
            continue
        try:
            module = importlib.import_module(package)
            if package == "torch":
                module.set_num_threads(threads)
            if package == "jax":
                module.config.update("jax_enable_x64", True)  # for float64
        except Exception as error:
            # A broken installation of one peer is no reason to lose the others.
            left_out[name] = f"{type(error).__name__}: {error}"
    return left_out


def contestants(workload: Workload, left_out: dict[str, str]) -> list[Contestant]:
    """Those that can do a workload, of the packages that are there."""
    layers, outputs = len(workload.sizes) - 1, workload.sizes[-1]
    found: dict[str, list[type[Contestant]]] = {"torch": [], "jax": [], "sklearn": []}
    if workload.kind == "forward":
        found |= {"torch": [PyTorchForward], "jax": [JaxForward]}
    else:
        found |= {"torch": [PyTorch], "jax": [JaxLoop, JaxScan]}
        if layers > 1:
            found["sklearn"] = [ScikitNetwork, ScikitEpochs]
        elif outputs == 1:
            found["sklearn"] = [ScikitLinear]
        if workload.recipe != Recipe():
            found["sklearn"] = []
    return [
        peer(workload)
        for package, peers in found.items()
        if PACKAGES[package] not in left_out
        for peer in peers
    ]
