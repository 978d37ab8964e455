"""The contract's elementary functions in C: for one float64, with its products in its order.

`NAME` stands for what the names in a file begin with. Powers of two are written to the bits of a
number, and the nearest integer is what adding 1.5 * 2**52 leaves, as in the compiled kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class _Function(NamedTuple):
    text: str
    needs: Sequence[str] = ()


def functions(wanted: Iterable[str]) -> str:
    """The functions of these names and all that they need, each after what it needs."""
    needed = {*wanted}
    for name in reversed(_FUNCTIONS):
        if name in needed:
            needed.update(_FUNCTIONS[name].needs)
    return "".join(f.text for name, f in _FUNCTIONS.items() if name in needed)


_FUNCTIONS = {
    "pair": _Function("""
typedef struct { double high, low; } NAME_pair;
"""),
    "add": _Function(
        """
static NAME_pair NAME_add(double a, double b)
{
    NAME_pair s;
    s.high = a + b;
    s.low = (a - s.high) + b;
    return s;
}
""",
        ["pair"],
    ),
    "head": _Function("""
static double NAME_head(double a)
{
    const double c = 0x1.0000002p+27 * a;
    return c - (c - a);
}
"""),
    "power": _Function("""
/* 2^k, for integers k from -1022 to 1023. */
static double NAME_power(double k)
{
    const double shifted = k + 0x1.8p+52;
    uint64_t bits;
    double p;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023u) << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}
"""),
    "parts": _Function("""
typedef struct { double k, h, t; } NAME_triple;

/* e^x = 2^k * (1 + h + t) */
static NAME_triple NAME_parts(double x)
{
    const double k = (x * 0x1.71547652b82fep+0 + 0x1.8p+52) - 0x1.8p+52;
    const double h = x - k * 0x1.62e42fefa3800p-1;
    const double l = k * 0x1.ef35793c76730p-45;
    const double r = h - l;
    const double r2 = r * r;
    const double r4 = r2 * r2;
    const double a = (0x1.5555555555556p-3 + 0x1.5555555555555p-5 * r)
        + (0x1.11111111109b5p-7 + 0x1.6c16c16c167e2p-10 * r) * r2;
    const double b = (0x1.a01a01a7c2efep-13 + 0x1.a01a01a47a591p-16 * r)
        + (0x1.71de0db2f6b19p-19 + 0x1.27e4e1f7222cbp-22 * r) * r2;
    const double c = (r2 * r)
        * (a + (b + (0x1.af389ecfc4b9cp-26 + 0x1.1f66d948a47d2p-29 * r) * r4) * r4);
    NAME_triple made;
    made.k = k;
    made.h = h;
    made.t = 0.5 * r2 + (c - l);
    return made;
}
"""),
    "near_one": _Function(
        """
static NAME_pair NAME_near_one(double h, double t)
{
    const NAME_pair s = NAME_add(1.0, h);
    return NAME_add(s.high, s.low + t);
}
""",
        ["add"],
    ),
    "scaled": _Function(
        """
/* y * 2^k, rounded once, for a y near 1 or far smaller. */
static double NAME_scaled(double y, double k)
{
    const double half = (0.5 * k + 0x1.8p+52) - 0x1.8p+52;
    return (y * NAME_power(half)) * NAME_power(k - half);
}
""",
        ["power"],
    ),
    "quotient": _Function(
        """
static double NAME_quotient(NAME_pair a, NAME_pair b)
{
    const double r = 1.0 / b.high;
    const double q = NAME_head(a.high * r);
    const double g = NAME_head(b.high);
    return q + (((a.high - q * g) - q * ((b.high - g) + b.low)) + a.low) * r;
}
""",
        ["pair", "head"],
    ),
    "exp": _Function(
        """
static double NAME_exp(double x)
{
    const double near = x > 710.0 ? 710.0 : (x < -746.0 ? -746.0 : x);
    const NAME_triple p = NAME_parts(near);
    return NAME_scaled(NAME_near_one(p.h, p.t).high, p.k);
}
""",
        ["parts", "near_one", "scaled"],
    ),
    "sigmoid": _Function(
        """
static double NAME_sigmoid(double x)
{
    const double a = -fabs(x);
    const NAME_triple p = NAME_parts(a < -746.0 ? -746.0 : a);
    const NAME_pair y = NAME_near_one(p.h, p.t);
    const NAME_pair one = {1.0, 0.0};
    NAME_pair d = NAME_add(1.0, NAME_scaled(y.high, p.k));
    d.low = d.low + NAME_scaled(y.low, p.k);
    return x < 0.0 ? NAME_scaled(NAME_quotient(y, d), p.k) : NAME_quotient(one, d);
}
""",
        ["parts", "near_one", "scaled", "quotient"],
    ),
    "tanh": _Function(
        """
/* 1 + s * (1 + h + t), for s a power of two or its negative. */
static NAME_pair NAME_one_plus(double s, double h, double t)
{
    const NAME_pair m = NAME_add(1.0, s);
    const NAME_pair n = NAME_add(m.high, s * h);
    return NAME_add(n.high, (m.low + n.low) + s * t);
}

static double NAME_tanh(double x)
{
    const double a = fabs(x);
    const NAME_triple p = NAME_parts(-2.0 * (a > 22.0 ? 22.0 : a));
    const double s = NAME_power(p.k);
    const double y = NAME_quotient(
        NAME_one_plus(-s, p.h, p.t), NAME_one_plus(s, p.h, p.t));
    return a < 0x1p-28 ? x : (x < 0.0 ? -y : y);
}
""",
        ["parts", "add", "power", "quotient"],
    ),
}
"""By name, each after what it needs."""
