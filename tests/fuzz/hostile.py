"""Arguments as nobody should give them, and as everybody may: arrays in any form, and no arrays."""

import array
import collections
import decimal
import fractions
import functools
import itertools
import pathlib
import tempfile

import numpy as np

INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
REFUSED = ("f2", "g", "c16", "?", "O", "U3", "S3", "M8[s]", "m8[s]", "V8")
SPECIAL = (
    *(0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e-310, 1e-45, 1.0, -1.0),
    *(1e300, -1e300, 3.4e38, 2.0**-149, 2.0**1023, 0.1),
)


class Own(np.ndarray):
    """A subclass that leaves all as it is."""


class Spoiled(np.ndarray):
    """A subclass whose operators are wrong: nothing but its numbers counts."""

    __array_priority__ = 1000

    def __add__(self, other):
        return self

    __mul__ = __sub__ = __radd__ = __rmul__ = __matmul__ = __add__


class Like:
    """Something that NumPy can make an array of."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class Trouble(Exception):
    """What `Raising` raises: it may come through."""


class Raising:
    """Raises whatever is done with it."""

    def _raise(self, *args, **kwargs):
        raise Trouble

    __array__ = __float__ = __index__ = __iter__ = __len__ = __bool__ = __eq__ = _raise
    __hash__ = None

    def __repr__(self):
        raise Trouble


class Loud:
    """Has much to say of itself."""

    def __repr__(self):
        return "\x1b[31m\n\x00" + "loud " * 10_000


def numbers(rng, shape, dtype):
    """An array of numbers, some of them special."""
    size = int(np.prod(shape))
    kind = np.dtype(dtype).kind
    if kind in "iu":
        low = 0 if kind == "u" else -3
        values = [rng.randint(low, 3) for _ in range(size)]
    else:
        special = rng.choice((0, 0, 0, 0, 0.1, 1))
        values = [
            rng.choice(SPECIAL) if rng.random() < special else rng.randint(-64, 64) / 32
            for _ in range(size)
        ]
    with np.errstate(all="ignore"):
        return np.array(values, "f8" if kind == "f" else dtype).astype(dtype).reshape(shape)


def _spread(rng, a):
    """Every other element of a larger array, along each axis, forwards or backwards."""
    large = np.empty(tuple(2 * n + 1 for n in a.shape), a.dtype)
    large[...] = 7
    steps = tuple(slice(1, 2 * n + 1, 2) for n in a.shape)
    view = large[(*steps, ...)]
    view[...] = a
    return view


def _backwards(rng, a):
    axes = tuple(axis for axis in range(a.ndim) if rng.random() < 0.6)
    return np.flip(np.array(np.flip(a, axes)), axes) if axes else a


def _windows(rng, a):
    """Rows that lie over each other."""
    a = np.ascontiguousarray(a)
    return np.lib.stride_tricks.as_strided(a, a.shape, (a.itemsize,) * a.ndim) if a.size else a


def _unaligned(rng, a):
    room = np.empty(a.nbytes + 1, np.uint8)[1:]
    made = np.ndarray(a.shape, a.dtype, room.data)
    made[...] = a
    return made


def _read_only(rng, a):
    a = a.copy()
    a.flags.writeable = False
    return a


@functools.cache
def files():
    """A folder for what is mapped or written."""
    return tempfile.TemporaryDirectory(prefix="fuzz")


def _mapped(rng, a):
    if a.size == 0:
        return a
    path = pathlib.Path(files().name, "mapped.npy")
    np.save(path, a)
    return np.load(path, mmap_mode="r")


LAYOUTS = {
    "plain": lambda rng, a: a,
    "fortran": lambda rng, a: np.asfortranarray(a),
    "transposed": lambda rng, a: np.ascontiguousarray(a.T).T,
    "spread": _spread,
    "backwards": _backwards,
    "swapped": lambda rng, a: a.astype(a.dtype.newbyteorder()),
    "unaligned": _unaligned,
    "read-only": _read_only,
    "broadcast": lambda rng, a: np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a,
    "windows": _windows,
    "own": lambda rng, a: a.view(Own),
    "spoiled": lambda rng, a: a.view(Spoiled),
    "matrix": lambda rng, a: a.view(np.matrix) if a.ndim == 2 else a,
    "mapped": lambda rng, a: _mapped(rng, a) if rng.random() < 0.05 else a,
}

FORMS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()) if a.ndim else a.item(),
    "rows": lambda a: list(a) if a.ndim else a,
    "like": Like,
    "scalars": lambda a: [list(row) for row in a] if a.ndim == 2 else a,
    "memory": lambda a: memoryview(np.array(a)) if a.dtype.kind in "fiu" else a,
    "array": lambda a: array.array("d", a.tolist()) if a.ndim == 1 and a.dtype == "f8" else a,
    "deque": lambda a: collections.deque(a.tolist()) if a.ndim else a,
}


def formed(rng, a):
    """The numbers of an array in some layouts, and now and then as no array at all."""
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        a = np.asanyarray(rng.choice(list(LAYOUTS.values()))(rng, a))
    if rng.random() < 0.1:
        plain = np.asarray(a)
        return rng.choice(list(FORMS.values()))(plain.astype(plain.dtype.newbyteorder("=")))
    return a


def _endless_list():
    made = []
    made.append(made)
    return made


JUNK = (
    lambda: None,
    lambda: True,
    lambda: np.True_,
    lambda: "relu",
    lambda: "",
    lambda: "\x1b[31mred\n\u202e\ud800" * 50,
    lambda: b"\x00\x01",
    lambda: 0,
    lambda: -1,
    lambda: 3,
    lambda: 2**31,
    lambda: 2**63,
    lambda: 2**64 - 1,
    lambda: 2**70,
    lambda: -(10**400),
    lambda: 10**5000,
    lambda: 0.5,
    lambda: -0.0,
    lambda: np.nan,
    lambda: np.inf,
    lambda: 5e-324,
    lambda: 1e308,
    lambda: 1j,
    lambda: decimal.Decimal("0.1"),
    lambda: decimal.Decimal("NaN"),
    lambda: decimal.Decimal("sNaN"),
    lambda: fractions.Fraction(1, 3),
    lambda: fractions.Fraction(10**400),
    lambda: np.float32(0.25),
    lambda: np.float64(-1),
    lambda: np.longdouble("1e4000"),
    lambda: np.int8(2),
    lambda: np.uint64(2**64 - 1),
    lambda: np.datetime64("2020"),
    lambda: np.str_("tanh"),
    lambda: np.array(3),
    lambda: np.array(0.5),
    lambda: np.array([0.5]),
    lambda: np.array([[2]]),
    lambda: np.array([]),
    lambda: np.zeros((2, 2, 2)),
    lambda: np.zeros((0, 3)),
    lambda: np.zeros((2, 0)),
    lambda: np.zeros((1,) * 64),
    lambda: np.array(["relu", "tanh"]),
    lambda: np.array([None, 1.0], object),
    lambda: np.array([2**70, 1]),
    lambda: np.zeros(2, [("a", "f8"), ("b", "i4")]),
    lambda: np.rec.array([(1.0, 2)], [("a", "f8"), ("b", "i4")]),
    lambda: np.ma.array([1.0, 2.0], mask=[0, 1]),
    lambda: np.ma.masked,
    lambda: np.broadcast_to(np.float64(1), (2**40, 3)),
    lambda: np.broadcast_to(np.float32(1), (2**40, 2)),
    lambda: np.broadcast_to(np.int8(1), (2**40,)),
    lambda: np.broadcast_to(np.float64(1), (3, 2**45)),
    lambda: np.zeros((2**40, 0)),
    lambda: [],
    lambda: (),
    lambda: [[]],
    lambda: [1, 2],
    lambda: [0.1, 0.2],
    lambda: (1, 2, 3),
    lambda: [[1.0, 2.0], [3.0]],
    lambda: [[1, [2]], 3],
    lambda: [None],
    lambda: ["a", 1],
    lambda: [2**70],
    lambda: [10**400, 1.0],
    lambda: [decimal.Decimal(1), fractions.Fraction(1, 2)],
    lambda: list(range(2000)),
    lambda: ["x" * 5000] * 3,
    _endless_list,
    lambda: functools.reduce(lambda made, _: [made], range(100), 1.0),
    dict,
    lambda: {"a": 1},
    lambda: {1, 2},
    lambda: range(3),
    lambda: (value for value in (1, 2)),
    lambda: iter([2, 3]),
    lambda: itertools.repeat(2, 2),
    lambda: bytearray(b"ab"),
    lambda: memoryview(b"abcdefgh"),
    object,
    lambda: int,
    lambda: callable,  # which takes all there is, as a callback as well
    lambda: Ellipsis,
    lambda: slice(2),
    lambda: NotImplemented,
    lambda: pathlib.Path("a"),
    Raising,
    Loud,
    lambda: Like([1.0, 2.0]),
    lambda: Like("a"),
)


def junk(rng):
    """Something, mostly of no use."""
    if rng.random() < 0.2:
        shape = rng.choice(((2,), (2, 3), (3, 2), (1, 1), ()))
        dtype = rng.choice(REFUSED)
        if dtype in ("U3", "S3"):
            return np.full(shape, "a", dtype)
        return np.zeros(shape, dtype)
    return rng.choice(JUNK)()
