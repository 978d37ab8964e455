"""Calls of everything public, drawn from a random generator: mostly sound, in hostile forms."""

import itertools
from typing import Any, NamedTuple

import numpy as np

import fcbackends as fcb
from fcbackends.maths.activations import ACTIVATIONS
from fcbackends.maths.losses import LOSSES
from tests.fuzz.hostile import INTEGERS, formed, junk, numbers

DTYPES = ("float64", "float64", "float32")
SIZES = (1, 1, 2, 3, 4, 5, 8, 9)

COUNTS = ("max_steps", "batch_size", "classes", "steps", "record_every")
"""Arguments that may be meant to take long, or much memory."""


KEPT = ("kind", "network", "use", "time_limit")
"""What is not spoiled: it says what is called, or would let time decide."""


class Call(NamedTuple):
    """A function by its name here, and its arguments.

    `exact` says whether the bits of the result are the contract's.
    """

    function: str
    arguments: dict[str, Any]
    exact: bool = True


class Draw:
    """What the arguments of one call have in common."""

    def __init__(self, rng):
        self.rng = rng
        self.dtype = rng.choice(DTYPES)
        self.samples = rng.choice(SIZES)
        self.inputs = rng.choice(SIZES)
        self.outputs = rng.choice(SIZES)
        self.hidden = tuple(rng.choice(SIZES) for _ in range(rng.choice((0, 0, 1, 1, 2))))
        self.single = rng.random() < 0.2
        self.loss = rng.choice(list(LOSSES))

    def array(self, *shape, dtype=None):
        """Numbers in any form."""
        if dtype is None:
            whole = self.rng.random() < 0.08
            dtype = self.rng.choice(INTEGERS) if whole else self.dtype
        return formed(self.rng, numbers(self.rng, shape, dtype))

    def rows(self, width):
        return (width,) if self.single else (self.samples, width)

    def x(self):
        return self.array(*self.rows(self.inputs))

    def t(self, loss):
        """Targets that mostly suit a loss."""
        rng = self.rng
        count = () if self.single else (self.samples,)
        if rng.random() < 0.05:
            return self.array(*self.rows(self.outputs))
        if loss == "cross_entropy":
            classes = np.array(
                [rng.randrange(self.outputs) for _ in range(self.samples)], rng.choice(INTEGERS)
            )
            classes = classes[0] if self.single else classes
            if rng.random() < 0.6:
                return formed(rng, np.asarray(classes))
            return formed(rng, np.eye(self.outputs, dtype=self.dtype)[classes.astype(int)])
        if loss == "binary_cross_entropy":
            size = (*count, self.outputs)
            values = np.array([rng.choice((0, 0.25, 1)) for _ in range(int(np.prod(size)))])
            return formed(rng, values.reshape(size).astype(rng.choice((self.dtype, "?", "f8"))))
        return self.array(*count, self.outputs)

    def params(self):
        rng = self.rng
        sizes = (self.inputs, *self.hidden, self.outputs)
        if rng.random() < 0.5:
            made = fcb.init_params(sizes, seed=rng.randrange(9), dtype=self.dtype)
            pairs = [(formed(rng, w), formed(rng, b)) for w, b in made]
        else:
            pairs = [
                (self.array(k, m, dtype=self.dtype), self.array(m, dtype=self.dtype))
                for k, m in itertools.pairwise(sizes)
            ]
        return rng.choice((tuple, list))(map(rng.choice((tuple, list)), pairs))

    def weights(self, samples=None):
        rng, count = self.rng, samples or self.samples
        if rng.random() < 0.7:
            return None
        values = [rng.choice((0.0, 0.5, 1.0, 1.0, 2.0)) for _ in range(count)]
        return formed(rng, np.array(values, self.dtype))

    def activation(self):
        if self.rng.random() < 0.6:
            return self.rng.choice(list(ACTIVATIONS))
        return self.rng.choice((tuple, list))(
            self.rng.choice(list(ACTIVATIONS)) for _ in self.hidden
        )

    def how(self, *, plain=True):
        """Backend and arithmetic; what is not plain SGD is compiled for few cases only."""
        rng, chosen = self.rng, {}
        if rng.random() < 0.8:
            of = ("numba", "numba", "numpy") if plain else ("numpy",)
            chosen["backend"] = rng.choice(of)
        elif not plain:
            chosen["backend"] = "numpy"
        if rng.random() < 0.15:
            chosen["arithmetic"] = rng.choice(("ordered", "fused", "fused", "native"))
        return chosen

    def blocks(self):
        """Now and then, sums over samples in blocks."""
        if self.rng.random() < 0.85:
            return {}
        return dict(rows_per_block=self.rng.choice((None, 1, 2, np.int16(3), 64, 2**63, 2**70, 0)))

    def optimizer(self):
        rng = self.rng
        return rng.choice(
            (
                fcb.SGD(),
                fcb.SGD(momentum=0.5),
                fcb.SGD(momentum=0.5, nesterov=True, weight_decay=0.1),
                fcb.Adam(),
                fcb.Adam(weight_decay=0.25, decoupled=rng.random() < 0.5, decay_bias=False),
            )
        )

    def rate(self):
        rng, lr = self.rng, self.rng.choice((0.1, 0.01, 1e-8, 1e6))
        return rng.choice(
            (
                *(lr, lr, lr, lr, np.float32(lr), fcb.ConstantRate(lr, warmup=rng.randrange(4))),
                fcb.StepRate(lr, every=3),
                fcb.ExponentialRate(lr, 0.9),
                fcb.CosineRate(lr, 7),
            )
        )


def fc_forward(d):
    return dict(x=d.x(), w=d.array(d.inputs, d.outputs), b=d.array(d.outputs), **d.how())


def fc_backward(d):
    dy = d.array(*d.rows(d.outputs))
    return dict(dy=dy, x=d.x(), w=d.array(d.inputs, d.outputs), **d.how(), **d.blocks())


def relu(d):
    return dict(a=d.array(*d.rng.choice(((), (3,), (2, 3), (2, 1, 3), (0, 2)))))


def relu_backward(d):
    shape = d.rng.choice(((), (3,), (2, 3), (2, 1, 3), (0, 2)))
    return dict(dy=d.array(*shape), a=d.array(*shape))


def _loss(d, loss):
    how = dict(y=d.array(*d.rows(d.outputs)), t=d.t(loss), **d.how(), **d.blocks())
    weights = d.weights(1 if d.single else None)
    return how if weights is None else {**how, "sample_weight": weights}


def mean_squared_loss(d):
    return _loss(d, "mean_squared")


def huber_loss(d):
    return _loss(d, "huber")


def cross_entropy_loss(d):
    return _loss(d, "cross_entropy")


def binary_cross_entropy_loss(d):
    return _loss(d, "binary_cross_entropy")


def predict(d):
    return dict(params=d.params(), x=d.x(), activation=d.activation(), **d.how())


def predict_proba(d):
    loss = d.rng.choice(("cross_entropy", "binary_cross_entropy"))
    return dict(**predict(d), loss=loss)


def sgd_step(d):
    return dict(
        params=d.params(), x=d.x(), t=d.t(d.loss), lr=d.rng.choice((0.1, 1e-3, np.float32(0.5))),
        activation=d.activation(), loss=d.loss, **d.how(), **d.blocks(),
    )  # fmt: skip


def _overlapping(d):
    """Data whose x and t lie over each other in one buffer."""
    room = numbers(d.rng, (d.samples, d.inputs + d.outputs), d.dtype)
    return room[:, : d.inputs], room[::-1, d.inputs // 2 :][:, : d.outputs]


def _data(d):
    d.single = False
    if d.rng.random() < 0.1:
        d.loss = "mean_squared"
        return dict(zip("xt", _overlapping(d), strict=True), loss="mean_squared")
    if d.rng.random() < 0.1:
        d.outputs = 1
        return dict(x=d.x(), t=d.array(d.samples, dtype=d.dtype), loss="mean_squared")
    made = dict(x=d.x(), t=d.t(d.loss), loss=d.loss)
    if d.loss == "cross_entropy" and d.rng.random() < 0.5:
        made["classes"] = d.outputs
    weights = d.weights()
    return made if weights is None else {**made, "sample_weight": weights}


def _pace(d):
    rng = d.rng
    made = dict(
        batch_size=rng.choice((1, 1, 2, 3, 5)),
        max_steps=rng.choice((1, 2, 5, 12)),
        seed=rng.choice((0, 1, 2**64 - 1)),
        sampling=rng.choice(("replacement", "replacement", "epoch")),
        tol=rng.choice((None, None, 0.0, 0.5, np.float32(1))),
        tol_on=rng.choice(("batch", "batch", "data")),
        record_every=rng.choice((None, 1, 3, 2**63, 2**70)),
        progress=rng.choice((None, False)),
        time_limit=rng.choice((None, 1000, 1e300)),
        on_interrupt=rng.choice(("raise", "return")),
    )
    return {
        name: value for name, value in made.items() if rng.random() < 0.7 or name == "max_steps"
    }


def _method(d):
    """How a network learns, on which backend; of what is compiled there are few kinds."""
    rng = d.rng
    made = dict(lr=d.rate(), activation=d.activation())
    plain = rng.random() < 0.6
    if plain:
        made["lr"] = rng.choice((0.1, 0.01, 1e-8, 1e6))
    else:
        made["optimizer"] = d.optimizer()
        if rng.random() < 0.3:
            made["clip_norm"] = rng.choice((1.0, 0.5, np.float64(1e-3)))
    return {**made, **d.how(plain=plain), **d.blocks()}


def _validation(d):
    rng = d.rng
    if rng.random() < 0.75:
        return {}
    given = 0.4
    if rng.random() < 0.7:
        given = rng.choice((tuple, list))((d.array(3, d.inputs), d.array(3, d.outputs)))
    return dict(validation=given, patience=rng.choice((1, 2, None)))


def train(d):
    made = {**_data(d), **_method(d), **_pace(d), **_validation(d)}
    if d.rng.random() < 0.1:
        made["callback"] = d.rng.choice((lambda look: {"twice": 2 * look.loss}, lambda look: None))
    made["dtype"] = d.rng.choice((d.dtype, d.dtype, np.dtype(d.dtype), "float64"))
    if d.rng.random() < 0.15:
        made |= dict(shards=d.rng.choice((1, 2, 3)), local_steps=d.rng.choice((1, 2, 5)))
        made["validation"] = made["patience"] = None
    if d.rng.random() < 0.4:
        made["params"] = d.params()
    else:
        made["hidden"] = d.rng.choice((tuple, list, np.array))(d.hidden or (3,))
        if len(made["hidden"]) != len(d.hidden):
            made["activation"] = "tanh"
    return made


def reproduce(d):
    """What `train` takes, and what is given otherwise to repeat it."""
    made = _without_shards(train(d))
    made.pop("time_limit", None)
    change = {}
    if d.rng.random() < 0.4:
        change = {d.rng.choice(("x", "t", "params", "sample_weight", "validation")): d.x()}
    return dict(**made, change=change)


def _without_shards(made):
    return {name: value for name, value in made.items() if name not in ("shards", "local_steps")}


def first_difference(d):
    """What `train` takes, for a few steps, and two sides."""
    made = _without_shards(train(d))
    for name in ("time_limit", "backend", "arithmetic", "callback", "patience", "tol", "tol_on",
                 "record_every", "progress", "on_interrupt"):  # fmt: skip
        made.pop(name, None)
    made["max_steps"] = d.rng.choice((1, 3))
    sides = ("numpy", "numba", "numba:fused", "numpy:native", "none.json")
    return dict(a=d.rng.choice(sides), b=d.rng.choice(sides), **made)


def train_many(d):
    rng, made = d.rng, _without_shards(train(d))
    made.pop("callback", None)
    count = rng.choice((1, 2, 3))
    made["seed"] = rng.choice((list, np.array))(range(count))
    if isinstance(made.get("validation"), float):
        del made["validation"], made["patience"]
    if rng.random() < 0.4:
        made["rows"] = [
            formed(rng, numbers(rng, (rng.choice((1, 2, 5)),), "u1") % d.samples)
            for _ in range(count)
        ]
    if rng.random() < 0.3:
        made["lr"] = [made["lr"]] * count
    if rng.random() < 0.2:
        made["hidden"] = [rng.choice(((), (2,), (3, 2))) for _ in range(count)]
        made["activation"] = "relu"
    if rng.random() < 0.2:
        names = rng.sample(("seed", "lr", "rows", "batch_size", "max_steps", "loss"), 2)
        made["settings"] = [
            {name: made[name] for name in names if name in made and name not in ("seed", "rows")}
            for _ in range(count)
        ]
        made["seed"] = 1
        made.pop("rows", None)
    return made


def trainer_steps(d):
    steps = [
        dict(x=d.x(), t=d.t(d.loss), sample_weight=d.weights(1 if d.single else None))
        for _ in range(d.rng.choice((1, 2)))
    ]
    return dict(
        params=d.params(),
        loss=d.loss,
        **_method(d),
        **dict(zip(("one", "two"), steps, strict=False)),
    )


def trainer_run(d):
    data = _data(d)
    loss = data.pop("loss", "mean_squared")
    data.pop("classes", None)
    run = {**data, **_pace(d), **_validation(d)}
    return dict(params=d.params(), loss=loss, **_method(d), run=run)


def trainer_state(d):
    params = d.params()
    alike = d.rng.random() < 0.5
    parts = [params if alike else d.params(), d.rng.choice(((), (d.params(),))), 5]
    if d.rng.random() < 0.3:
        parts[d.rng.randrange(3)] = junk(d.rng)
    return dict(params=params, **_method(d), state=fcb.TrainerState(*parts))


def init_params(d):
    sizes = (d.inputs, *d.hidden, d.outputs)
    made = d.rng.choice((tuple, list, np.array, iter))(sizes)
    return dict(sizes=made, seed=d.rng.randrange(9), dtype=d.rng.choice((d.dtype, np.float32)))


def sample_indices(d):
    made = _pace(d)
    return dict(
        n_samples=d.rng.choice((1, 2, 7, 2**32 - 1)), steps=made["max_steps"],
        start=d.rng.choice((0, 3, 2**40)),
        **{k: v for k, v in made.items() if k in ("batch_size", "seed", "sampling")},
    )  # fmt: skip


def compare(d):
    a = d.params()
    return dict(a=a, b=d.rng.choice((a, d.params())))


def digest(d):
    return dict(params=d.rng.choice((d.params(), d.x())))


def scaling_fit(d):
    return dict(x=d.x(), apply=d.x(), undo=d.x())


def scaling(d):
    mean, scale = d.array(d.inputs, dtype="f8"), d.array(d.inputs, dtype="f8")
    return dict(mean=mean, scale=scale, apply=d.x(), undo=d.x())


def saved(d):
    """A saved network, put to use: what it holds is taken as it is."""
    scaled = {}
    if d.rng.random() < 0.5:
        scaled["inputs"] = fcb.Scaling(np.ones(d.inputs), np.full(d.inputs, 0.5))
        scaled["outputs"] = fcb.Scaling(np.ones(d.outputs), np.full(d.outputs, 1e300))
    params = fcb.init_params((d.inputs, *d.hidden, d.outputs), dtype=d.dtype)
    network = fcb.SavedModel(params, loss=d.loss, **scaled)
    return dict(network=network, use=d.rng.choice(("predict", "predict_proba")), x=d.x(), **d.how())


def save(d):
    made = dict(model=d.params(), activation=d.activation(), loss=d.loss)
    if d.rng.random() < 0.3:
        made["inputs"] = fcb.Scaling(np.ones(d.inputs), np.ones(d.inputs))
    return made


def export_c(d):
    made = dict(model=d.params())
    if d.rng.random() < 0.5:
        made["name"] = d.rng.choice(("network", "n", "a_1", "real", "REAL"))
    return made


def sgd(d):
    rng = d.rng
    return dict(
        momentum=rng.choice((0, 0.5, 1, -1, 0.999)), nesterov=rng.random() < 0.5,
        weight_decay=rng.choice((0, 0.1, 1e40)), decay_bias=rng.random() < 0.5,
    )  # fmt: skip


def adam(d):
    rng = d.rng
    return dict(
        beta1=rng.choice((0, 0.9, 1)), beta2=rng.choice((0, 0.999, 1.5)),
        eps=rng.choice((1e-8, 0, 1)), weight_decay=rng.choice((0, 0.1)),
        decoupled=rng.random() < 0.5, decay_bias=rng.random() < 0.5,
    )  # fmt: skip


def rate(d):
    rng = d.rng
    kind = rng.choice((fcb.ConstantRate, fcb.StepRate, fcb.ExponentialRate, fcb.CosineRate))
    numbers = {"lr": 0.1, "warmup": 3, "every": 4, "factor": 0.5, "steps": 9, "end": 0.01}
    names = list(kind.__dataclass_fields__)
    made = {name: rng.choice((numbers[name], numbers[name], 0, 1)) for name in names}
    return dict(kind=kind, **made)


def get_backend(d):
    return d.how()


def use_backend(d):
    return d.how()


def register_backend(d):
    return dict(name=d.rng.choice(("", "fuzzed")), loader=len)


FUNCTIONS = (
    *(fc_forward, fc_backward, relu, relu_backward, mean_squared_loss, huber_loss),
    *(cross_entropy_loss, binary_cross_entropy_loss, predict, predict_proba, sgd_step, train),
    *(train, train, train_many, trainer_steps, trainer_steps, trainer_run, trainer_run),
    *(trainer_state, init_params, sample_indices),
    *(compare, digest, scaling_fit, scaling, sgd, adam, rate, get_backend, use_backend),
    *(register_backend, saved, save, export_c, reproduce),
    first_difference,
)


def drawn(rng):
    """A call, of which now and then an argument or two are something else."""
    make = rng.choice(FUNCTIONS)
    arguments = make(Draw(rng))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        _spoil(rng, arguments)
    arithmetic = arguments.get("arithmetic")
    exact = not (isinstance(arithmetic, str) and arithmetic == "native")
    return Call(make.__name__, arguments, exact)


def _spoil(rng, arguments):
    """Put something else in the place of an argument, or of a part of one."""
    name = rng.choice([*arguments]) if arguments else "backend"
    value = arguments.get(name)
    if name in KEPT:
        return
    if isinstance(value, dict):
        _spoil(rng, value)
    elif (
        name in ("params", "validation", "rows")
        and isinstance(value, list)
        and value
        and rng.random() < 0.6
    ):
        place = rng.randrange(len(value))
        is_pair = isinstance(value[place], tuple | list) and rng.random() < 0.5
        value[place] = [junk(rng), *value[place][1:]] if is_pair else junk(rng)
    else:
        other = junk(rng)
        while name in COUNTS and isinstance(other, int) and 2**20 < other < 2**62:
            other = junk(rng)
        arguments[name] = other
