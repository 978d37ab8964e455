"""The arithmetic contract, written down a second time and as plainly as possible.

Nothing here imports the package under test. The functions without a suffix are Python loops over
NumPy scalars of the dtype, so that every product and every sum is rounded once, in the order in
which the line stands. The functions of `fast` do the same with elementwise NumPy operations over
the axes that are not summed; `test_oracle.py` shows that both agree to the bit.
"""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace

import numpy as np

from tests.activation_oracle import activations_of, of_each_layer
from tests.loss_oracle import loss_and_gradient

MASK = 2**64 - 1


# --- bits ----------------------------------------------------------------------------------------


def bits(a):
    """Shape, dtype and bit patterns of `a`, with one pattern for every NaN."""
    a = np.asarray(a)
    a = a.astype(a.dtype.newbyteorder("="))  # astype copies: C order, native, aligned
    if a.dtype.kind == "f":
        a = np.where(np.isnan(a), np.asarray(np.nan, a.dtype), a)
    return a.shape, a.dtype.str, np.ascontiguousarray(a).tobytes()


def assert_same_bits(got, want, what=""):
    """Nested tuples or lists of arrays agree in structure, shape, dtype and bits."""
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want), f"{what}: {len(got)} parts, wanted {len(want)}"
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            assert_same_bits(g, w, f"{what}[{i}]")
        return
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, wanted {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, wanted {want.dtype}"
    if bits(got) != bits(want):
        unsigned = np.dtype(f"u{want.dtype.itemsize}")
        g, w = (np.ascontiguousarray(a).reshape(-1).view(unsigned) for a in (got, want))
        nan = np.isnan(got).reshape(-1) & np.isnan(want).reshape(-1)
        at = np.flatnonzero((g != w) & ~nan)
        first = np.unravel_index(at[0], want.shape)
        raise AssertionError(
            f"{what}: {at.size} of {want.size} values differ in their bits, first at "
            f"{tuple(map(int, first))}: got {got[first]!r}, wanted {want[first]!r}"
        )


# --- scalar loops --------------------------------------------------------------------------------


def quiet(function):
    return np.errstate(all="ignore")(function)


def constant(value, dtype):
    """A host constant in float64, rounded once to the arrays' dtype."""
    return np.dtype(dtype).type(value)


def _sum(terms, dtype):
    total = None
    for term in terms:
        total = term if total is None else total + term
    return np.dtype(dtype).type(0) if total is None else total


def table(rows, shape, dtype):
    out = np.empty(shape, dtype)
    for n in range(shape[0]):
        for m in range(shape[1]):
            out[n, m] = rows(n, m)
    return out


def lists(a):
    return [list(row) for row in a]  # rows of NumPy scalars


@quiet
def forward(x, w, b):
    dtype, (n, k), m = x.dtype, x.shape, w.shape[1]
    xs, ws, bs = lists(x), lists(w), list(b)
    return table(
        lambda i, j: _sum((xs[i][q] * ws[q][j] for q in range(k)), dtype) + bs[j], (n, m), dtype
    )


@quiet
def loss(y, t):
    dtype, (n, m) = y.dtype, y.shape
    d = lists(y - t)
    rows = (_sum((d[i][j] * d[i][j] for j in range(m)), dtype) for i in range(n))
    value = _sum(rows, dtype) * constant(1 / n, dtype)
    factor = constant(2 / n, dtype)
    return value, table(lambda i, j: d[i][j] * factor, (n, m), dtype)


@quiet
def backward(dy, x, w):
    dtype, (n, k), m = x.dtype, x.shape, w.shape[1]
    xs, ws, ds = lists(x), lists(w), lists(dy)
    dw = table(lambda q, j: _sum((xs[i][q] * ds[i][j] for i in range(n)), dtype), (k, m), dtype)
    db = np.array([_sum((ds[i][j] for i in range(n)), dtype) for j in range(m)], dtype)
    dx = table(lambda i, q: _sum((ds[i][j] * ws[q][j] for j in range(m)), dtype), (n, k), dtype)
    return dw, db, dx


def relu(a):
    zero = a.dtype.type(0)
    flat = [zero if v < 0 else v for v in a.reshape(-1)]
    return np.array(flat, a.dtype).reshape(a.shape)


def relu_backward(dy, a):
    zero = a.dtype.type(0)
    flat = [g if v > 0 else zero for g, v in zip(dy.reshape(-1), a.reshape(-1), strict=True)]
    return np.array(flat, a.dtype).reshape(a.shape)


@quiet
def descend(p, g, lr):
    rate = constant(lr, p.dtype)
    flat = [v - rate * s for v, s in zip(p.reshape(-1), g.reshape(-1), strict=True)]
    return np.array(flat, p.dtype).reshape(p.shape)


@quiet
def clipped(gradients, most):
    """The gradients with a norm of at most `most`."""
    dtype = gradients[0][0].dtype

    def squares(dw, db):
        rows = [*lists(dw), list(db)]
        columns = (_sum((row[m] * row[m] for row in rows), dtype) for m in range(len(db)))
        return _sum(columns, dtype)

    norm = np.sqrt(_sum((squares(dw, db) for dw, db in gradients), dtype))
    one, most = constant(1, dtype), constant(most, dtype)
    scale = one if norm <= most else most * (one / norm)
    return tuple((dw * scale, db * scale) for dw, db in gradients)


@quiet
def descended(rule, state, gradients, constants):
    """The parameters, and then the slots, after a step of any optimizer."""

    def of(place, p, g):
        rate, decay, *rest = (constant(c, p.dtype) for c in constants)
        if rule.decays_bias or place[1] == 0:
            g = g + decay * p if rule.decay == "coupled" else g
            p = p - decay * p if rule.decay == "decoupled" else p
        kept = [slots[place[0]][place[1]] for slots in state.slots]
        if rule.update == "adam":
            scale, beta1, rest1, beta2, rest2, eps = rest
            m, v = beta1 * kept[0] + rest1 * g, beta2 * kept[1] + rest2 * (g * g)
            one = constant(1, p.dtype)
            return p - rate * (m * (one / (scale * np.sqrt(v) + eps))), m, v
        if rule.update == "sgd":
            return (p - rate * g,)
        a = rest[0] * kept[0] + g
        return p - rate * (g + rest[0] * a if rule.update == "nesterov" else a), a

    after = [
        [of((layer, i), p, g) for i, (p, g) in enumerate(zip(pair, grads, strict=True))]
        for layer, (pair, grads) in enumerate(zip(state.params, gradients, strict=True))
    ]
    params, *slots = (
        tuple((w[part], b[part]) for w, b in after) for part in range(1 + len(state.slots))
    )
    return params, tuple(slots)


# --- networks, over either set of layer functions ------------------------------------------------


def network_of(ops):
    table = activations_of(ops)

    @quiet
    def predict(params, x, activation="relu"):
        for (w, b), name in zip(params, of_each_layer(activation, len(params)), strict=True):
            x = table[name][0](ops.forward(x, w, b))
        return x

    @quiet
    def gradients(params, x, t, activation="relu", loss="mean_squared", weighted=False):
        """The loss and a (dw, db) for every layer; every gradient from the old weights."""
        names = of_each_layer(activation, len(params))
        inputs, h = [], x
        for (w, b), name in zip(params, names, strict=True):
            inputs.append(h)
            h = table[name][0](ops.forward(h, w, b))
        if loss == "mean_squared" and not weighted:
            value, dy = ops.loss(h, t)
        else:
            value, dy = ops.loss_and_gradient(h, t, loss, weighted)
        grads = []
        for layer in reversed(range(len(params))):
            dw, db, dx = ops.backward(dy, inputs[layer], params[layer][0])
            grads.append((dw, db))
            if layer:
                dy = table[names[layer - 1]][1](dx, inputs[layer])
        return value, tuple(reversed(grads))

    def sgd_step(params, x, t, lr, activation="relu", *loss):
        value, grads = gradients(params, x, t, activation, *loss)
        new = tuple(
            (ops.descend(w, dw, lr), ops.descend(b, db, lr))
            for (w, b), (dw, db) in zip(params, grads, strict=True)
        )
        return new, value

    def train(params, x, t, rows, lr, activation="relu", *loss):
        """One step per row of sample numbers; the parameters and every step's loss."""
        losses = []
        for row in rows:
            params, value = sgd_step(params, x[row], t[row], lr, activation, *loss)
            losses.append(value)
        return params, np.array(losses, x.dtype)

    return SimpleNamespace(
        **vars(ops), predict=predict, gradients=gradients, sgd_step=sgd_step, train=train
    )


slow = network_of(
    SimpleNamespace(
        forward=forward,
        loss=loss,
        loss_and_gradient=loss_and_gradient,
        backward=backward,
        relu=relu,
        relu_backward=relu_backward,
        descend=descend,
    )
)


# --- the same with elementwise operations over the axes that are not summed ----------------------


def _fold(terms, shape, dtype):
    total = None
    for term in terms:
        total = term if total is None else np.add(total, term)
    return np.zeros(shape, dtype) if total is None else total


@quiet
def _fast_forward(x, w, b):
    terms = (x[:, k, None] * w[k] for k in range(x.shape[1]))
    return _fold(terms, (x.shape[0], w.shape[1]), x.dtype) + b


@quiet
def _fast_loss(y, t):
    n, m = y.shape
    d = y - t
    squares = d * d
    rows = _fold((squares[:, j] for j in range(m)), (n,), y.dtype)
    value = _fold(iter(rows), (), y.dtype) * constant(1 / n, y.dtype)
    return value, d * constant(2 / n, y.dtype)


@quiet
def _fast_backward(dy, x, w):
    (n, k), m = x.shape, w.shape[1]
    dw = _fold((x[i, :, None] * dy[i] for i in range(n)), (k, m), x.dtype)
    db = _fold((dy[i].copy() for i in range(n)), (m,), x.dtype)
    dx = _fold((dy[:, j, None] * w[:, j] for j in range(m)), (n, k), x.dtype)
    return dw, db, dx


fast = network_of(
    SimpleNamespace(
        forward=_fast_forward,
        loss=_fast_loss,
        loss_and_gradient=loss_and_gradient,
        backward=_fast_backward,
        relu=lambda a: np.where(a < 0, a.dtype.type(0), a),
        relu_backward=lambda dy, a: np.where(a > 0, dy, a.dtype.type(0)),
        descend=quiet(lambda p, g, lr: p - constant(lr, p.dtype) * g),
    )
)


# --- which samples a step draws, in Python's integers --------------------------------------------


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def word(key, counter):
    return _mix((key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK)


def order_of_epoch(n_samples, seed, epoch):
    """A sequence of the samples in the order of an epoch."""
    key = word(word(seed, 0) ^ MASK, epoch)
    return (_shuffled if n_samples <= 65536 else ComputedOrder)(key, n_samples)


@functools.lru_cache(maxsize=64)
def _shuffled(key, n_samples):
    order = []
    for newcomer in range(n_samples):
        order.append(newcomer)
        place = word(key, newcomer) * (newcomer + 1) >> 64
        order[newcomer], order[place] = order[place], order[newcomer]
    return order


class ComputedOrder:
    """An order too long for a table: each place is encrypted, again and again until below N."""

    def __init__(self, key, n_samples):
        self.n_samples = n_samples
        width = len(f"{n_samples - 1:b}")
        self.widths = width // 2, width - width // 2
        self.words = [word(key, counter) for counter in range(17)]

    def __getitem__(self, place):
        value = self._encrypted(place)
        while value >= self.n_samples:
            value = self._encrypted(value)
        return 1 - value if value < 2 and self.words[16] >= 2**63 else value

    def _encrypted(self, value):
        halves = list(divmod(value, 2 ** self.widths[1]))
        for r in range(8):
            changed, other = r % 2, 1 - r % 2
            line = (self.words[2 * r] | 1) * halves[other] + self.words[2 * r + 1]
            halves[changed] ^= (line & MASK) >> (64 - self.widths[changed])
        return halves[0] * 2 ** self.widths[1] + halves[1]


def draw(position, n_samples, sampling, seed):
    if sampling == "replacement":
        return word(word(seed, 0), position) * n_samples // 2**64
    epoch, index = divmod(position, n_samples)
    return order_of_epoch(n_samples, seed, epoch)[index]


def sample_indices(n_samples, steps, batch_size, sampling, seed, start=0):
    first, last = start * batch_size, (start + steps) * batch_size
    flat = [draw(p, n_samples, sampling, seed) for p in range(first, last)]
    return np.array(flat, np.int64).reshape(steps, batch_size)


def init_params(sizes, seed, dtype):
    """Weights uniform in [-r, r), r = sqrt(6 / K), from 53 bits of each word; zero biases."""
    layers = []
    for layer, (k, m) in enumerate(itertools.pairwise(sizes)):
        key = word(seed, 1 + layer)
        r = np.sqrt(6 / k)
        units = (2 * ((word(key, i) >> 11) * 2.0**-53) - 1 for i in range(k * m))
        w = np.array([u * r for u in units], np.float64).reshape(k, m)
        layers.append((w.astype(dtype), np.zeros(m, dtype)))
    return tuple(layers)
