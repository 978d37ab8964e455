"""The draws of `fcbackends.maths.sampling`, for use inside a kernel."""

from __future__ import annotations

import numpy as np

from fcbackends.kernels.jit import called, inlined

ROUNDS = 8
ROUND_WORDS = 2 * ROUNDS
EPOCH_WORDS = ROUND_WORDS + 1
"""The words of an epoch's permutation, and after them that epoch's number + 1."""

# Numba widens int64 with uint64 to float64: every constant beside a word is a word.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_0, _1, _27, _30, _31, _32, _64 = (np.uint64(n) for n in (0, 1, 27, 30, 31, 32, 64))


@inlined
def word(key, counter):
    """SplitMix64's output at a position."""
    z = key + (np.uint64(counter) + _1) * _GAMMA
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@called
def draw_samples(order, first, last, position, samples, key, by_epoch, epoch_words):
    """order[i] becomes the sample of the draw `position` + i, for i from `first` to `last` - 1.

    `epoch_words`, zeros at first, keeps what was last worked out for an epoch.
    """
    if not by_epoch:
        for i in range(first, last):
            order[i] = draw_with_replacement(key, position + i, samples)
        return
    if first == last:
        return
    bits = 0
    while (samples - 1) >> bits > 0:
        bits += 1
    epoch = (position + first) // samples
    place = position + first - epoch * samples
    for i in range(first, last):
        if place == samples:
            place = 0
            epoch += 1
        if epoch_words[ROUND_WORDS] != np.uint64(epoch + 1):
            set_epoch(key, epoch, epoch_words)
            epoch_words[ROUND_WORDS] = np.uint64(epoch + 1)
        order[i] = draw_from_epoch(place, samples, bits, epoch_words)
        place += 1


@inlined
def draw_with_replacement(key, position, n_samples):
    """floor(word * n_samples / 2**64)."""
    u = word(key, position)
    factor = np.uint64(n_samples)
    return np.int64(((u >> _32) * factor + (((u & _LOW_HALF) * factor) >> _32)) >> _32)


@inlined
def set_epoch(key, epoch, round_words):
    """Fill the multipliers and offsets of one epoch's permutation."""
    epoch_key = word(key ^ _ALL_BITS, epoch)
    for r in range(ROUND_WORDS):
        round_words[r] = word(epoch_key, r)
        if r % 2 == 0:
            round_words[r] |= _1


@inlined
def draw_from_epoch(index, n_samples, bits, round_words):
    """The sample at place `index` of the epoch whose words stand in `round_words`.

    `bits` is the bit length of n_samples - 1.
    """
    high_bits = np.uint64(bits // 2)
    low_bits = np.uint64(bits - bits // 2)
    low_mask = (_1 << low_bits) - _1
    size = np.uint64(n_samples)
    value = np.uint64(index)
    while True:
        low = value & low_mask
        high = value >> low_bits
        for r in range(0, ROUND_WORDS, 4):
            high ^= _top(round_words[r] * low + round_words[r + 1], high_bits)
            low ^= _top(round_words[r + 2] * high + round_words[r + 3], low_bits)
        value = (high << low_bits) | low
        if value < size:
            return np.int64(value)


@inlined
def _top(z, bits):
    # A shift by all 64 bits is undefined.
    return z >> (_64 - bits) if bits > _0 else _0
