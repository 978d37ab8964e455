"""Which samples step s takes: a pure function of (seed, s), on 64-bit integers.

All arithmetic is modulo 2**64 and `>>` shifts zeros in. The generator is SplitMix64 (Steele, Lea
and Flood, "Fast splittable pseudorandom number generators", 2014), read by position instead of
from a state:

    mix(z):      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
                 z = (z ^ (z >> 27)) * 0x94D049BB133111EB
                 z ^ (z >> 31)
    word(key, c) = mix(key + (c + 1) * 0x9E3779B97F4A7C15)
    key          = word(seed, 0)

The batch of step s (from 0) holds the draws at the positions p = s * batch_size + j,
0 <= j < batch_size. Of N samples, the draw at position p is

- "replacement": floor(word(key, p) * N / 2**64);
- "epoch": P[p mod N] for the order P of epoch e = p div N, which holds each of 0 to N - 1 once.
  With k = word(key ^ 0xFFFFFFFFFFFFFFFF, e),

  - for N <= 2**16, P is shuffled (Durstenfeld, "Algorithm 235: random permutation", 1964, in the
    form that fills a table from its start):

        for i = 0 to N - 1:  j = floor(word(k, i) * (i + 1) / 2**64);  P[i] = P[j];  P[j] = i

  - for greater N, P[i] is computed from i alone, by a Feistel network on the b = bit_length(N - 1)
    bits of the index, split into h = b div 2 high and l = b - h low bits. With the multiplier
    a_r = word(k, 2 r), its lowest bit set, and the offset c_r = word(k, 2 r + 1), the rounds r = 0
    to 7 run

        r even: high ^= top_h(a_r * low  + c_r)
        r odd:  low  ^= top_l(a_r * high + c_r)

    where top_n(z) is the n highest of z's 64 bits. They are repeated until the value is below N
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). Last, 0 and 1 change places
    where the highest bit of word(k, 16) is set: without that, all orders of N = 2**b are even
    permutations, and nearly all of N = 2**b - 1 are odd.

All this is done on the host by NumPy: the array API promises neither that 64-bit integers wrap
around nor that elements can be written by index.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sampling: TypeAlias = Literal["replacement", "epoch"]

MAX_SAMPLES = 2**32 - 1
"""The multiply-and-shift of a draw works on 32-bit halves."""

MAX_SHUFFLED = 2**16
"""Samples up to which an epoch's order is a table."""

_TABLES_KEPT = 16
"""Tables, of 128 KiB at most, that wait for the next call: short runs need no new shuffle."""

_ROUNDS = 8
_ALL_BITS = 0xFFFFFFFFFFFFFFFF
# Of uint64: the types of some versions of NumPy make int64 of them beside a Python integer.
_WORDS = NDArray[Any]


def words(key: int | _WORDS, counters: _WORDS) -> _WORDS:
    """word(key, c) for an array of counters c, and of keys."""
    z: _WORDS = (counters + 1) * 0x9E3779B97F4A7C15 + key
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


def word(key: int, counter: int) -> int:
    """word(key, c) of one counter, in Python's integers: in 0.5 us, and not the 17 of an array."""
    z = ((counter + 1) * 0x9E3779B97F4A7C15 + key) & _ALL_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL_BITS
    return z ^ (z >> 31)


def stream_key(seed: int) -> int:
    """The key of the draws under `seed`."""
    return word(seed, 0)


def uniforms(key: int, count: int) -> NDArray[np.float64]:
    """`count` float64 numbers in [0, 1): the 53 highest bits of each word times 2**-53."""
    high_bits = words(key, np.arange(count, dtype=np.uint64)) >> np.uint64(11)
    return high_bits.astype(np.float64) * 2.0**-53


def draw_indices(
    n_samples: int, start: int, steps: int, batch_size: int, sampling: Sampling, seed: int
) -> NDArray[np.int64]:
    """The indices of the steps `start` to `start` + `steps` - 1 (from 0), (steps, batch_size)."""
    key = stream_key(seed)
    first, last = start * batch_size, (start + steps) * batch_size
    if sampling == "replacement":
        drawn = _scaled(words(key, _range(first, last)), n_samples).astype(np.int64)
        return drawn.reshape(steps, batch_size)
    drawn = np.empty(last - first, np.int64)
    after, at_once = -(-last // n_samples), max(1, MAX_SHUFFLED // n_samples)
    for epoch in range(first // n_samples, after, at_once):
        epochs = min(at_once, after - epoch)
        before = epoch * n_samples
        begin, end = max(first, before), min(last, before + epochs * n_samples)
        places = slice(begin - before, end - before)
        if n_samples <= MAX_SHUFFLED:
            order = _shuffled(key, epoch, epochs, n_samples)[places]
        else:
            order = _walked(key, epoch, n_samples, places)
        drawn[begin - first : end - first] = order
    return drawn.reshape(steps, batch_size)


def _range(start: int, stop: int) -> _WORDS:
    return np.arange(start, stop, dtype=np.uint64)


def _scaled(u: _WORDS, n: int | _WORDS) -> _WORDS:
    """floor(u * n / 2**64), without 128-bit integers, for n < 2**32."""
    return ((u >> 32) * n + (((u & 0xFFFFFFFF) * n) >> 32)) >> 32


@functools.lru_cache(_TABLES_KEPT)
def _shuffled(key: int, epoch: int, epochs: int, n: int) -> NDArray[np.uint16]:
    """The orders of so many epochs, one after another, in all at most MAX_SHUFFLED numbers.

    A loop in Python over the steps of a shuffle takes three times as long for n = 2**16. Here all
    steps i are taken at once. What one reads, P[j], was last written by the latest step before it
    with the same j, which wrote its own number; or, without such a step, by step j, and is what
    that one had read itself.
    """
    counters = _range(0, n)
    before = _range(0, epochs)[:, None] * n
    keys = words(key ^ _ALL_BITS, _range(epoch, epoch + epochs))
    u = words(keys[:, None], counters)
    # Integers of 16 bits are sorted by counting, four times as fast as longer ones.
    written = (_scaled(u, counters + 1) + before).astype(np.uint16).reshape(-1)
    by_place = np.argsort(written, kind="stable")
    again = np.flatnonzero(written[by_place[1:]] == written[by_place[:-1]])
    earlier, later = by_place[again], by_place[again + 1]
    steps = np.arange(written.size)
    read, reads_as = steps.copy(), written.astype(np.intp)
    read[later], reads_as[later] = earlier, later
    while not np.array_equal(further := reads_as[reads_as], reads_as):
        reads_as = further
    order = read[reads_as]
    # Of several steps that write to a place, the last one stays.
    order[written] = steps
    orders = (order.reshape(epochs, n) - before.astype(np.intp)).astype(np.uint16).reshape(-1)
    orders.setflags(write=False)
    return orders


def _walked(key: int, epoch: int, n: int, places: slice) -> _WORDS:
    """The samples at these places of an epoch's order."""
    bits = (n - 1).bit_length()
    high_bits = bits // 2
    low_bits = bits - high_bits
    epoch_key = word(key ^ _ALL_BITS, epoch)
    *round_words, swap = words(epoch_key, _range(0, 2 * _ROUNDS + 1)).tolist()
    values = _range(places.start, places.stop)
    walking = np.arange(len(values))
    while len(walking):
        high, low = values[walking] >> low_bits, values[walking] & ((1 << low_bits) - 1)
        for r in range(0, 2 * _ROUNDS, 4):
            a, c, b, d = round_words[r : r + 4]
            high ^= (low * (a | 1) + c) >> (64 - high_bits)
            low ^= (high * (b | 1) + d) >> (64 - low_bits)
        values[walking] = (high << low_bits) | low
        walking = walking[values[walking] >= n]
    values[values < 2] ^= swap >> 63
    return values
