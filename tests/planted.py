"""Runs with one defect: an element of one operation of one step is computed in another way."""

import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

import fcbackends as fcb
from fcbackends.backends.loop import Plan
from fcbackends.conformance import reference
from fcbackends.maths.network import Method, State
from fcbackends.maths.sampling import draw_indices


class Plant(NamedTuple):
    """A defect, and where it is."""

    step: int
    operation: str
    element: tuple | None  # None: all elements
    cause: str
    way: Any  # (what goes into an element, what it is by the contract) -> what it becomes


# --- ways to compute one element, in plain Python ------------------------------------------------


def rounded(exact, kind):
    """An exact number, rounded once to a dtype."""
    if kind == np.float64:
        return np.float64(exact.numerator / exact.denominator) if exact else np.float64(0)
    near = np.float32(float(exact))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    return min(around, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view("u4")) & 1))


def joined(total, a, b):
    return rounded(Fraction(float(total)) + Fraction(float(a)) * Fraction(float(b)), type(total))


def products(terms):
    return [a if b is None else a * b for a, b in terms]


def chain(values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def fused(terms, bias):
    (a, b), *rest = terms
    total = a if b is None else a * b
    for a, b in rest:
        total = joined(total, a, b)
    return total if bias is None else total + bias


def backwards(terms, bias):
    total = chain(products(terms)[::-1])
    return total if bias is None else total + bias


def by_pairs(terms, bias):
    values = products(terms)
    while len(values) > 1:
        values = [chain(values[i : i + 2]) for i in range(0, len(values), 2)]
    return values[0] if bias is None else values[0] + bias


def in_lanes(count):
    def summed(terms, bias):
        values = products(terms)
        total = chain([chain(values[lane::count]) for lane in range(min(count, len(values)))])
        return total if bias is None else total + bias

    return summed


def shuffled(seed):
    def summed(terms, bias):
        order = np.random.default_rng(seed).permutation(len(terms))
        values = products(terms)
        total = chain([values[i] for i in order])
        return total if bias is None else total + bias

    return summed


def bias_first(terms, bias):
    return chain([bias, *products(terms)])


def in_float64(terms, bias):
    kind = type(terms[0][0])
    wide = [(np.float64(a), None if b is None else np.float64(b)) for a, b in terms]
    total = chain(products(wide))
    return kind(total if bias is None else total + np.float64(bias))


def flushed(value):
    return value * 0 if abs(value) < np.finfo(value.dtype).smallest_normal else value


def flushing(terms, bias):
    values = []
    for a, b in terms:
        a, b = flushed(a), None if b is None else flushed(b)
        values.append(a if b is None else flushed(a * b))
    total = values[0]
    for value in values[1:]:
        total = flushed(total + value)
    return total if bias is None else flushed(total + flushed(bias))


SUMS = {
    "products fused into sums": [fused],
    "sums in another order": [backwards, by_pairs, in_lanes(2), in_lanes(4), in_lanes(8)],
    "subnormals flushed": [flushing],
    "float64 in between": [in_float64],
}


def fused_update(p, g, lr, real_lr):
    return rounded(Fraction(float(p)) - Fraction(float(real_lr)) * Fraction(float(g)), type(p))


def unrounded_rate(p, g, lr, real_lr):
    return type(p)(np.float64(p) - lr * np.float64(g))


def unrounded_rate_in_product(p, g, lr, real_lr):
    return p - type(p)(lr * np.float64(g))


def flushing_update(p, g, lr, real_lr):
    return flushed(flushed(p) - flushed(real_lr * flushed(g)))


UPDATES = {
    "products fused into sums": [fused_update],
    "rate not rounded": [unrounded_rate, unrounded_rate_in_product],
    "subnormals flushed": [flushing_update],
}


def divided(y, t, samples):
    return (y - t) * type(y)(2) / type(y)(samples)


def unrounded_share(y, t, samples):
    return type(y)(np.float64(y - t) * (2 / samples))


LOSSES = {
    "division in place of a product": [divided],
    "rate not rounded": [unrounded_share],
}


def unfused(terms, bias):
    total = chain(products(terms))
    return total if bias is None else total + bias


# --- a step with a defect ------------------------------------------------------------------------


def planted_step(arithmetic, state, x, t, method, number, plant, slots=None):
    """The contract's step on a batch but for the defect; the new state, and the loss."""
    params, real = state.params, x.dtype.type
    layers = len(params)

    def spoil(operation, values, of_element):
        if operation != plant.operation:
            return values
        values = values.copy()
        for element in [plant.element] if plant.element is not None else np.ndindex(values.shape):
            values[element] = plant.way(*of_element(*element))
        return values

    with np.errstate(all="ignore"):
        h, inputs = x, []
        activations = reference._activations(params, method)
        for layer, (w, b) in enumerate(params):
            inputs.append(h)
            a = spoil(
                f"forward of layer {layer}",
                reference.fc_forward(arithmetic, h, w, b),
                lambda n, m, h=h, w=w, b=b: (list(zip(h[n], w[:, m], strict=True)), b[m]),
            )
            h = activations[layer][0](a) if layer < layers - 1 else a
        loss, dy = reference.loss_and_gradient(a, t, method.loss, weighted=method.weighted)
        dy = spoil("loss", dy, lambda n, m: (a[n, m], t[n, m], len(x)))
        gradients = []
        for layer in reversed(range(layers)):
            w, h = params[layer][0], inputs[layer]
            dw, db, dx = reference.fc_backward(arithmetic, dy, h, w)
            dw = spoil(
                f"dw of layer {layer}",
                dw,
                lambda k, m, h=h, dy=dy: (list(zip(h[:, k], dy[:, m], strict=True)), None),
            )
            db = spoil(
                f"db of layer {layer}", db, lambda m, dy=dy: ([(v, None) for v in dy[:, m]], None)
            )
            gradients.insert(0, (dw, db))
            if layer:
                dx = spoil(
                    f"dx of layer {layer}",
                    dx,
                    lambda n, k, dy=dy, w=w: (list(zip(dy[n], w[k], strict=True)), None),
                )
                dy = activations[layer - 1][1](dx, h)
        rate = reference.rate(method.lr, number)
        stepped, kept = [], []
        for layer in range(layers):
            news, olds = [], []
            for i, array in enumerate("wb"):
                p, g = params[layer][i], gradients[layer][i]
                own = tuple(slot[layer][i] for slot in state.slots)
                new, own = reference._moved(method, p, g, own, number, is_bias=array == "b")
                new = spoil(
                    f"update of {array} of layer {layer}",
                    new,
                    lambda *e, p=p, g=g: (p[e], g[e], rate, real(rate)),
                )
                news.append(new)
                olds.append(own)
            stepped.append(tuple(news))
            kept.append(olds)
        slots = tuple(
            tuple((kept[layer][0][i], kept[layer][1][i]) for layer in range(layers))
            for i in range(len(state.slots))
        )
    return State(tuple(stepped), slots), loss


class PlantedLoop:
    """A backend's loop, but for one step."""

    called_off = None

    def __init__(self, backend, params, method, plant):
        self._inner, self._backend = backend.training_loop(params, method), backend
        self._method, self._plant = method, plant

    def __getattr__(self, name):
        return getattr(self._inner, name)

    @property
    def state(self):
        return self._inner.state

    @state.setter
    def state(self, state):
        self._inner.state = state

    def run(self, x, t, plan, start, stop):
        at = self._plant.step
        if not start < at <= stop:
            return self._inner.run(x, t, plan, start, stop)
        before = self._inner.run(x, t, plan, start, at - 1)
        if before.steps < at - 1 or before.reached:
            return before
        loss = self._spoiled(x, t, plan, at)
        losses = [loss] if at % plan.record_every == 0 else []
        after = self._inner.run(x, t, plan, at, stop)
        return after._replace(
            loss=after.loss if after.steps > at else loss,
            losses=np.concatenate([before.losses, losses, after.losses]),
        )

    def _spoiled(self, x, t, plan, at):
        own = plan.batch_size, plan.sampling, plan.seed
        rows = draw_indices(len(x), at - 1, 1, *own)[0]
        if self._plant.operation == "draw":
            rows = self._plant.way(rows, len(x))
        state, loss = planted_step(
            self._backend.arithmetic, self._inner.state, x[rows], t[rows], self._method, at,
            self._plant,
        )  # fmt: skip
        self._inner.state = state
        return float(loss)


def planted_backend(plant, arithmetic="ordered", name="planted"):
    """`numba` with a defect in its training loop, known to the registry."""
    inner = fcb.get_backend("numba", arithmetic=arithmetic)
    backend = dataclasses.replace(
        inner,
        name=name,
        training_loop=lambda params, method: PlantedLoop(inner, params, method, plant),
    )
    fcb.register_backend(name, lambda: backend)
    return backend


# --- defects at random ---------------------------------------------------------------------------


class Case(NamedTuple):
    """A run and a defect in it."""

    x: Any
    t: Any
    how: dict
    arithmetic: str
    plant: Plant


NETWORKS = [(3, 2), (5, 4, 2), (2, 6, 1), (4, 8, 5, 3)]


def drawn(seed, most_steps=10**6):
    """A run and a defect, of which it is not yet known whether it shows."""
    rng = np.random.default_rng(seed)
    pick = rng.choice
    dtype = str(pick(["float64", "float32"]))
    arithmetic = str(pick(["ordered", "ordered", "ordered", "fused"]))
    inputs, *hidden, outputs = sizes = NETWORKS[rng.integers(len(NETWORKS))]
    samples = int(rng.integers(20, 60))
    x = rng.normal(size=(samples, inputs))
    t = np.tanh(x @ rng.normal(size=(inputs, outputs))) + rng.normal(size=(samples, outputs)) / 4
    layer = int(rng.integers(len(sizes) - 1))
    batch = int(rng.integers(1, 13))
    k, m = sizes[layer], sizes[layer + 1]
    shapes = {
        "draw": (batch,),
        f"forward of layer {layer}": (batch, m),
        "loss": (batch, outputs),
        f"dw of layer {layer}": (k, m),
        f"db of layer {layer}": (m,),
        f"update of w of layer {layer}": (k, m),
        f"update of b of layer {layer}": (m,),
        **({f"dx of layer {layer}": (batch, k)} if layer else {}),
    }
    operation = str(pick(sorted(shapes)))
    ways = dict(SUMS)
    if operation == "draw":
        ways = {"other draws": [lambda rows, n: (rows + 1) % n, lambda rows, n: rows[::-1]]}
    elif operation.startswith("update"):
        ways = dict(UPDATES)
    elif operation == "loss":
        ways = dict(LOSSES)
    elif operation.startswith("db"):
        del ways["products fused into sums"], ways["subnormals flushed"]
    elif arithmetic == "fused":
        del ways["products fused into sums"], ways["sums in another order"]
        ways["products not fused into sums"] = [unfused]
        ways.pop("subnormals flushed")  # of products that are rounded
    elif operation.startswith("forward"):
        ways["sums in another order"] = [*ways["sums in another order"], bias_first]
    if dtype == "float64":
        ways.pop("float64 in between", None)
        ways.pop("rate not rounded", None)
    cause = str(pick(sorted(ways)))
    if cause == "subnormals flushed":
        small = 2.0**-66 if dtype == "float32" else 2.0**-515
        x, t = x * small, t * small
    way = ways[cause][rng.integers(len(ways[cause]))]
    element = tuple(int(rng.integers(size)) for size in shapes[operation])
    if operation == "draw" or rng.random() < 0.25:
        element = None
    step = int(np.exp(rng.uniform(0, np.log(most_steps * 0.98)))) + 1
    optimizer = [fcb.SGD(), fcb.SGD(momentum=0.9), fcb.Adam()][rng.integers(3)]
    rates = [0.001, 0.002] if optimizer == fcb.SGD(momentum=0.9) else [0.01, 0.003, 0.02]
    how = dict(
        hidden=tuple(hidden),
        activation=str(pick(["relu", "tanh", "leaky_relu"])),
        optimizer=fcb.SGD() if operation.startswith("update") else optimizer,
        lr=float(pick(rates)),
        batch_size=batch,
        max_steps=most_steps,
        seed=int(rng.integers(1000)),
        dtype=dtype,
        sampling=str(pick(["replacement", "epoch"])),
    )
    return Case(x, t, how, arithmetic, Plant(step, operation, element, cause, way))


def showing(seed, most_steps=10**6):
    """A run and a defect that shows in the parameters after its step."""
    for attempt in range(300):
        case = drawn((seed, attempt), most_steps)
        plant, how = case.plant, case.how
        backend = fcb.get_backend("numba", arithmetic=case.arithmetic)
        x, t = case.x.astype(how["dtype"]), case.t.astype(how["dtype"])
        sizes = (x.shape[1], *how["hidden"], t.shape[1])
        method = Method(how["lr"], how["activation"], optimizer=how["optimizer"])
        params = fcb.init_params(sizes, seed=how["seed"], dtype=how["dtype"])
        plan = Plan(how["batch_size"], how["sampling"], how["seed"], None, "batch", 10**9)
        outcomes = []
        for defect in (plant, plant._replace(operation="", way=None)):
            loop = PlantedLoop(backend, params, method, defect)
            loop.run(x, t, plan, 0, plant.step)
            outcomes.append(loop.params)
        if not fcb.compare(*outcomes).equal:
            return case
    raise AssertionError("no defect shows")
