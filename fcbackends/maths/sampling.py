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
- "epoch": P(p mod N) for the permutation P of epoch e = p div N, so that every epoch visits each
  sample once. P is a Feistel network on the b = bit_length(N - 1) bits of the index, split into
  h = b div 2 high and l = b - h low bits, and walked again until the value is below N (Black and
  Rogaway, "Ciphers with arbitrary finite domains", 2002). With k = word(key ^ 0xFFFFFFFFFFFFFFFF,
  e) and, for the rounds r = 0 to 7, the multiplier a_r = word(k, 2 r) with its lowest bit set and
  the offset c_r = word(k, 2 r + 1), a walk runs

      r even: high ^= top_h(a_r * low  + c_r)
      r odd:  low  ^= top_l(a_r * high + c_r)

  where top_n(z) is the n highest of z's 64 bits (0 for n = 0).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sampling: TypeAlias = Literal["replacement", "epoch"]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = 8
MAX_SAMPLES = 2**32 - 1
"""The multiply-and-shift of a draw works on 32-bit halves."""

_WORDS = NDArray[np.uint64]
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def words(key: int, counters: _WORDS) -> _WORDS:
    """word(key, c) for an array of counters c."""
    z = np.uint64(key) + (counters + np.uint64(1)) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def word(key: int, counter: int) -> int:
    """word(key, c) of one counter."""
    return int(words(key, np.asarray([counter], dtype=np.uint64))[0])


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
    positions = np.arange(start * batch_size, (start + steps) * batch_size, dtype=np.uint64)
    if sampling == "replacement":
        drawn = _scaled(words(key, positions), n_samples)
    else:
        drawn = _permuted(key, positions, n_samples)
    return drawn.astype(np.int64).reshape(steps, batch_size)


def _scaled(u: _WORDS, n: int) -> _WORDS:
    """floor(u * n / 2**64), without 128-bit integers, for n < 2**32."""
    factor, half = np.uint64(n), np.uint64(32)
    return ((u >> half) * factor + (((u & _LOW_HALF) * factor) >> half)) >> half


def _permuted(key: int, positions: _WORDS, n: int) -> _WORDS:
    epochs = positions // np.uint64(n)
    drawn = positions % np.uint64(n)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        drawn[here] = _walk(epoch_key(key, int(epoch)), drawn[here], n)
    return drawn


def epoch_key(key: int, epoch: int) -> int:
    """The key of one epoch's permutation."""
    return word(key ^ int(_ALL_BITS), epoch)


def _walk(key: int, values: _WORDS, n: int) -> _WORDS:
    """Each value's place in the permutation of 0..n-1 that `key` names."""
    bits = (n - 1).bit_length()
    high_bits = bits // 2
    low_bits = bits - high_bits
    round_words = words(key, np.arange(2 * ROUNDS, dtype=np.uint64))
    multipliers, offsets = round_words[0::2] | np.uint64(1), round_words[1::2]
    values = values.copy()
    walking = np.ones(values.shape, dtype=bool)
    while walking.any():
        low = values[walking] & np.uint64((1 << low_bits) - 1)
        high = values[walking] >> np.uint64(low_bits)
        for r in range(ROUNDS):
            if r % 2 == 0:
                high = high ^ _top(multipliers[r] * low + offsets[r], high_bits)
            else:
                low = low ^ _top(multipliers[r] * high + offsets[r], low_bits)
        values[walking] = (high << np.uint64(low_bits)) | low
        walking = values >= n
    return values


def _top(z: _WORDS, bits: int) -> _WORDS:
    # A shift by all 64 bits is undefined in C and so in NumPy.
    return z >> np.uint64(64 - bits) if bits else np.zeros_like(z)
