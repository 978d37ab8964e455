"""Where two runs part: defects planted in one of two, and what is told of them."""

import dataclasses
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.maths.network import Method
from tests import planted
from tests.planted import Plant, planted_backend, showing

RNG = np.random.default_rng(5)
X, T = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2))
HOW = dict(lr=0.05, max_steps=300, batch_size=4, seed=2)


@pytest.fixture
def recorded(tmp_path):
    def record(name, backend, x=X, t=T, **how):
        path = tmp_path / name
        fcb.train(x, t, **{**HOW, **how}, backend=backend, record=path)
        return path

    return record


@pytest.fixture(autouse=True)
def _forget_planted():
    yield
    from fcbackends.backends import registry

    for known in (registry._loaders, registry._loaded):
        known.pop("planted", None)


def told(found):
    """What is compared with a defect."""
    return found.step, found.operation, found.element, found.cause


def right(found, case):
    """Whether step, operation, element and cause are those of the defect."""
    plant = case.plant
    operation = f"draw of step {plant.step}" if plant.operation == "draw" else plant.operation
    return {
        "step": found.step == plant.step == found.after + 1,
        "operation": found.operation == operation,
        "element": plant.element in (None, found.element),
        # Where no bits tell two apart, both are told.
        "cause": plant.cause in found.causes and len(found.causes) <= 2,
    }


def found_in(case, folder):
    """What is told of two records, of a run and of the same with the defect."""
    planted_backend(case.plant, case.arithmetic)
    paths = folder / "a.json", folder / "b.json"
    for path, backend in zip(paths, ("numba", "planted"), strict=True):
        fcb.train(
            case.x, case.t, **case.how, backend=backend, arithmetic=case.arithmetic, record=path
        )
    return fcb.first_difference(*paths, case.x, case.t)


def digests(path):
    return json.loads(path.read_text())["digests"]


@pytest.mark.parametrize("seed", range(12))
def test_planted_defects_are_found(tmp_path, seed):
    case = showing(seed, most_steps=400)
    found = found_in(case, tmp_path)
    assert all(right(found, case).values()), (case, found)
    assert found.looks <= 2 * math.log2(400) + 40


@pytest.mark.campaign
def test_of_200_planted_defects_all_are_found_and_nearly_all_explained(tmp_path):
    tally = dict.fromkeys(("step", "operation", "element", "cause"), 0)
    count = 0
    for seed in itertools.count(1000):
        case = showing(seed)
        try:
            found = found_in(case, tmp_path)
        except fcb.DivergenceError:
            continue
        if found is None:
            # It showed after its step, and was gone before the next digest and loss.
            assert digests(tmp_path / "a.json") == digests(tmp_path / "b.json")
            continue
        assert found.looks <= 2 * math.log2(10**6) + 40
        for name, value in right(found, case).items():
            tally[name] += value
        count += 1
        if count == 200:
            break
    assert tally["step"] == tally["operation"] == tally["element"] == 200
    assert tally["cause"] >= 190


# --- nothing to find -----------------------------------------------------------------------------


def test_equal_runs_have_no_difference(recorded):
    a, b = recorded("a.json", "numba"), recorded("b.json", "numpy")
    assert fcb.first_difference(a, b, X, T) is None
    assert fcb.first_difference(a, "numpy", X, T) is None
    assert fcb.first_difference("numpy", "numba", X, T, **HOW) is None


def test_a_step_of_one_s_own_that_keeps_the_contract_has_none():
    def step(params, x, t):
        return fcb.sgd_step(params, x, t, 0.05)

    assert fcb.first_difference("numba", step, X, T, **{**HOW, "max_steps": 40}) is None


# --- records -------------------------------------------------------------------------------------


def test_other_arithmetic(recorded):
    a = recorded("a.json", "numba", hidden=(4,))
    b = recorded("b.json", "numba", hidden=(4,), arithmetic="fused")
    found = fcb.first_difference(a, b, X, T)
    assert found.cause == "products fused into sums"
    assert found.operation == "forward of layer 0"
    again = fcb.first_difference(b, a, X, T)
    assert again.cause == "products not fused into sums"
    assert (again.step, again.values) == (found.step, found.values[::-1])


def test_other_rates_are_named(recorded):
    a, b = recorded("a.json", "numba"), recorded("b.json", "numba", lr=0.06)
    found = fcb.first_difference(a, b, X, T)
    assert told(found) == (1, "update of w of layer 0", (0, 0), "other options")
    assert "lr 0.05 / 0.06" in found.reason


def test_other_seeds_are_named(recorded):
    a, b = recorded("a.json", "numba"), recorded("b.json", "numba", seed=3)
    found = fcb.first_difference(a, b, X, T)
    assert told(found) == (0, "first parameters", (0, 0), "other draws")
    assert "seed 2 / 3" in found.reason
    params = fcb.init_params((3, 2))
    a, b = (recorded(f"{seed}.json", "numba", seed=seed, params=params) for seed in (2, 3))
    found = fcb.first_difference(a, b, X, T, params=params)
    assert (found.step, found.operation, found.cause) == (1, "draw of step 1", "other draws")
    drawn = [fcb.sample_indices(40, steps=1, batch_size=4, seed=seed)[0] for seed in (2, 3)]
    assert found.values == tuple(rows[found.element] for rows in drawn)


def test_other_data_are_named(recorded):
    other = X.copy()
    other[7, 1] += 1e-9
    a, b = recorded("a.json", "numba"), recorded("b.json", "numba", x=other)
    first = 1 + next(
        i for i, rows in enumerate(fcb.sample_indices(40, steps=300, batch_size=4, seed=2))
        if 7 in rows
    )  # fmt: skip
    found = fcb.first_difference(a, b, X, T, other_data=(other, T))
    assert (found.step, found.operation, found.cause) == (
        first, f"draw of step {first}", "other data",
    )  # fmt: skip
    assert found.values == (X[7, 1], other[7, 1])
    found = fcb.first_difference(a, b, X, T)
    assert found.cause == "other data"
    assert found.after < first <= found.step
    with pytest.raises(fcb.ArgumentError, match=r"`x` must be as in the record"):
        fcb.first_difference(a, a, other, T)


def test_a_record_that_nothing_here_repeats_has_an_interval(recorded):
    plant = Plant(150, "update of w of layer 0", (1, 1), "", lambda p, g, lr, real: p + 1)
    backend = dataclasses.replace(planted_backend(plant), name="elsewhere")
    a = recorded("a.json", "numba", digest_every=40)
    b = recorded("b.json", backend, digest_every=40)
    found = fcb.first_difference(a, b, X, T)
    assert (found.after, found.step, found.operation) == (120, 160, None)
    assert "elsewhere is not available" in found.reason
    found = fcb.first_difference(a, b, X, T, backends=(None, backend))
    assert (found.step, found.operation, found.element) == (150, plant.operation, (1, 1))


# --- functions -----------------------------------------------------------------------------------


def plain_step(way=None, lr=0.05):
    """Plain NumPy code of a network of one hidden layer, maybe with something else in it."""

    def step(params, x, t, number):
        (w, b), (v, c) = params
        real = w.dtype.type

        def product(a, b):
            total = a[:, :1] * b[:1]
            for k in range(1, a.shape[1]):
                total = total + a[:, k : k + 1] * b[k : k + 1]
            return total

        def summed(a):
            total = a[0]
            for row in a[1:]:
                total = total + row
            return total

        a = product(x, w) + b
        h = np.where(a < 0, real(0), a)
        y = product(h, v) + c
        dy = (y - t) * real(2 / len(x))
        dv, dc = product(h.T, dy), summed(dy)
        if way == "db from the last row" and number >= 30:
            dc = summed(dy[::-1])
        da = np.where(h > 0, product(dy, v.T), real(0))
        dw, db = product(x.T, da), summed(da)
        if way == "dw in float64" and number >= 30:
            dw = product(x.T.astype("float64"), da.astype("float64")).astype(real)
        rate = real(lr)
        if way == "rate":
            return (((w - np.float64(lr) * dw).astype(real), b - rate * db),
                    (v - rate * dv, c - rate * dc))  # fmt: skip
        if way == "another bit" and number == 77:
            v = v.copy()
            v[2, 1] = np.nextafter(v[2, 1], real(9))
        return (w - rate * dw, b - rate * db), (v - rate * dv, c - rate * dc)

    return step


@pytest.mark.parametrize(
    ("way", "step", "operation", "cause"),
    [
        (None, None, None, None),
        ("db from the last row", 30, "db of layer 1", "sums in another order"),
        ("dw in float64", 30, "dw of layer 0", "float64 in between"),
        ("rate", 1, "update of w of layer 0", "rate not rounded"),
    ],
)
def test_plain_code_is_held_against_the_contract(way, step, operation, cause):
    how = dict(hidden=(4,), lr=0.05, max_steps=100, batch_size=6, dtype="float32")
    found = fcb.first_difference("numpy", plain_step(way), X, T, **how)
    if way is None:
        assert found is None
        return
    assert (found.operation, found.cause) == (operation, cause)
    assert step <= found.step < step + 20


def test_what_nothing_explains_is_unknown_and_placed():
    how = dict(hidden=(4,), lr=0.05, max_steps=100, batch_size=6)
    found = fcb.first_difference(plain_step(), plain_step("another bit"), X, T, **how)
    assert (found.step, found.cause) == (77, "unknown")
    assert found.operation == "update of w of layer 1"
    assert found.element == (2, 1)


def test_a_step_that_does_not_repeat_itself_is_told():
    calls = []

    def step(params, x, t):
        calls.append(1)
        ((w, b),) = fcb.sgd_step(params, x, t, 0.05).params
        return ((w + (len(calls) == 3), b),)

    found = fcb.first_difference("numpy", step, X, T, **HOW)
    assert found.cause == "not repeatable"


def test_a_step_of_pytorch():
    torch = pytest.importorskip("torch")

    def step(params, x, t, number):
        ((w, b),) = ([torch.tensor(array, requires_grad=True) for array in p] for p in params)
        loss = ((torch.tensor(x) @ w + b - torch.tensor(t)) ** 2).sum(1).mean()
        loss.backward()
        return [(w.detach() - 0.05 * w.grad, b.detach() - 0.05 * b.grad)], loss

    def late(params, x, t, number):
        ((w, b),), loss = step(params, x, t, number)
        return [(w, b if number < 60 else torch.nextafter(b, b + 1))], loss

    assert fcb.first_difference(step, step, X, T, **HOW) is None
    assert fcb.first_difference(step, late, X, T, **HOW).step == 60


# --- what is told --------------------------------------------------------------------------------


def test_the_exact_value_and_the_bits():
    found = fcb.first_difference("numpy", "numpy:fused", X, T, **{**HOW, "batch_size": 1})
    row = fcb.sample_indices(40, steps=found.step, seed=2)[-1, 0]
    params = fcb.init_params((3, 2), seed=2)
    for number in range(1, found.step):
        rows = fcb.sample_indices(40, steps=1, seed=2, start=number - 1)[0]
        params = fcb.sgd_step(params, X[rows], T[rows], 0.05).params
    ((w, b),) = params
    assert found.operation == "forward of layer 0"
    m = found.element[1]
    exact = sum(
        Fraction(float(p)) * Fraction(float(q)) for p, q in zip(X[row], w[:, m], strict=True)
    )
    assert found.exact == exact + Fraction(float(b[m]))
    for value, bits, error in zip(found.values, found.bits, found.errors, strict=True):
        assert np.float64(value).view("u8") == int(bits, 16)
        unit = Fraction(float(np.spacing(abs(np.float64(float(found.exact))))))
        assert error == float((Fraction(value) - found.exact) / unit)


@pytest.mark.parametrize("lying", [np.asfortranarray, lambda a: a[::-1].copy()[::-1]])
def test_what_is_found_does_not_hang_on_how_arrays_lie_in_memory(lying):
    params = fcb.init_params((3, 9, 5), seed=1, dtype="float64")
    x, t = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 5))
    found, wanted = (
        fcb.first_difference("numpy:native", "numpy", *data, params=own, lr=0.1, max_steps=9)
        for own, *data in (
            ([(lying(w), b) for w, b in params], lying(x), lying(t)),
            (params, x, t),
        )
    )
    assert found == wanted


def test_the_report():
    text = str(fcb.first_difference("numpy", "numpy:fused", X, T, **HOW))
    for name in ("step", "operation", "element", "a", "b", "exact", "cause", "looks"):
        assert any(line.split()[0] == name for line in text.splitlines()), name


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            dict(a=3),
            "`a` must be the file of a record, a backend or its name, or a function, got 3",
        ),
        (dict(a="none.json"), "`a` must be a readable file"),
        (dict(b="numba:exact"), "`b` must be one of 'ordered', 'fused', 'native', got 'exact'"),
        (dict(lr=None), "`lr` must be given where neither side is a record, got nothing"),
        (dict(rate=1), "`option` must be one of 'hidden', "),
        (dict(backends=3), "`backends` must be a pair, got 3"),
        (dict(other_data=3), "`other_data` must be a pair, got 3"),
        (dict(b=lambda params, x, t: 3), "`b` must return parameters ((w, b), ...) like those"),
        (dict(b=lambda params, x, t: params[:0]), "`b` must return parameters ((w, b), ...) like"),
        (dict(b=len, optimizer=fcb.Adam()), "`optimizer` must be plain `SGD()` where a side is"),
        (dict(b=len, sample_weight=np.ones(40)), "`sample_weight` must be left out where a side"),
    ],
)
def test_refusals(call, text):
    given = {**dict(a="numpy", b="numba", x=X, t=T, lr=0.1), **call}
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.first_difference(**given)
    assert str(caught.value).startswith(text)


def test_refusals_beside_a_record(recorded):
    a = recorded("a.json", "numba")
    with pytest.raises(fcb.ArgumentError, match=r"`option` must be one of 'sample_weight', "):
        fcb.first_difference(a, "numpy", X, T, lr=0.1)
    with pytest.raises(fcb.ArgumentError, match=r"`params` must be left out, as in the record"):
        fcb.first_difference(a, "numpy", X, T, params=fcb.init_params((3, 2)))
    with pytest.raises(fcb.ArgumentError, match=r"`backends` must be one of"):
        fcb.first_difference(a, a, X, T, backends=(None, "nunpy"))


# --- that the check can fail ---------------------------------------------------------------------


def test_the_planted_step_is_the_contract_s_without_a_defect():
    plant = Plant(1, "", None, "", None)
    backend = fcb.get_backend("numba")
    for optimizer in (fcb.SGD(), fcb.SGD(momentum=0.9), fcb.Adam()):
        method = Method(0.05, "tanh", optimizer=optimizer)
        loops = [backend.training_loop(fcb.init_params((3, 4, 2)), method) for _ in range(2)]
        loops[0].step(X[:4], T[:4], 1)
        state, _ = planted.planted_step("ordered", loops[1].state, X[:4], T[:4], method, 1, plant)
        assert fcb.compare(loops[0].state, state).equal


def test_blocks_of_rows_are_an_option_of_both_sides(tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((400, 6)), rng.standard_normal((400, 2))
    how = dict(hidden=(8,), lr=0.05, batch_size=200, max_steps=20)
    for name, rows in (("none", None), ("blocks", 64)):
        fcb.train(x, t, record=tmp_path / name, digest_every=1, rows_per_block=rows, **how)
    in_blocks = fcb.get_backend("numba").with_rows_per_block(64)
    for a, b, own in (
        (tmp_path / "none", tmp_path / "blocks", {}),
        ("numba", in_blocks, how),
    ):
        found = fcb.first_difference(a, b, x, t, **own)
        assert (found.step, found.operation) == (1, "dw of layer 1")
        assert (found.cause, found.reason) == ("sums in another order", "rows_per_block None / 64")
    same = tmp_path / "blocks", tmp_path / "blocks"
    assert fcb.first_difference(*same, x, t) is None
    found = fcb.first_difference("numba", "numba:fused", x, t, rows_per_block=64, **how)
    assert (found.operation, found.cause) == ("forward of layer 0", "products fused into sums")


def test_a_step_in_which_little_shows_is_not_taken_for_another_arithmetic():
    """Of a sum in another order one bit shows after 40 steps, and fused comes to the same there."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((200, 6)), rng.standard_normal((200, 2))

    def product(a, b, order=1):
        total = None
        for k in range(a.shape[1])[::order]:
            term = a[:, k : k + 1] * b[k : k + 1]
            total = term if total is None else total + term
        return total

    def step(params, x, t):
        inputs, found = [x], []
        for layer, (w, b) in enumerate(params):
            y = product(inputs[-1], w) + b
            inputs.append(np.where(y < 0, 0.0, y) if layer < 2 else y)
        dy = (inputs.pop() - t) * (2 / len(x))
        for layer in (2, 1, 0):
            w, b = params[layer]
            dw = product(inputs[layer].T, dy, -1 if layer == 2 else 1)
            found.insert(0, (w - 0.003 * dw, b - 0.003 * product(np.ones((1, len(dy))), dy)[0]))
            dy = np.where(inputs[layer] > 0, product(dy, w.T), 0.0)
        return tuple(found)

    how = dict(hidden=(8, 5), lr=0.003, batch_size=7, max_steps=300)
    found = fcb.first_difference("numba", step, x, t, **how)
    assert found.step > 10
    assert (found.operation, found.cause) == ("dw of layer 2", "sums in another order")


def test_an_update_in_float64_is_told():
    def step(params, x, t):
        ((w, b),) = params
        found = fcb.fc_backward((fcb.fc_forward(x, w, b) - t) * np.float32(2 / 7), x, w)
        return (
            tuple(
                (p.astype("f8") - 0.003 * dp.astype("f8")).astype("f4")
                for p, dp in ((w, found.dw), (b, found.db))
            ),
        )

    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((200, 6)), rng.standard_normal((200, 2))
    how = dict(lr=0.003, batch_size=7, max_steps=100, dtype="float32")
    found = fcb.first_difference("numba", step, x, t, **how)
    assert found.operation.startswith("update of ")
    assert found.cause == "rate not rounded"
