"""The draws of `fcbackends.maths.sampling`, for use inside a kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.views import row

MAX_SHUFFLED = 2**16

_ROUND_WORDS = 16
_NEXT_EPOCH, _BITS, _SWAP = range(_ROUND_WORDS, _ROUND_WORDS + 3)

# Numba widens int64 with uint64 to float64: every constant beside a word is a word.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_1, _2, _27, _30, _31, _32, _63, _64 = (np.uint64(n) for n in (1, 2, 27, 30, 31, 32, 63, 64))


def new_epochs(threads: int, table: int) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Memory of an epoch's words and of its order, in a table of so many samples, by thread."""
    words = np.zeros((threads, _ROUND_WORDS + 3), np.uint64)
    return words, np.empty((threads, table), np.uint16)


@inlined
def word(key, counter):
    """SplitMix64's output at a position."""
    z = key + (np.uint64(counter) + _1) * _GAMMA
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@inlined
def draw_samples(order, first, last, position, samples, key, by_epoch, epoch_words, epoch_order):
    """order[i] becomes the sample of the draw `position` + i, for i from `first` to `last` - 1.

    `epoch_words` and `epoch_order`, a thread's rows of `new_epochs`, keep what was last worked out
    for an epoch; they are for one `key` and one number of `samples`.
    """
    if by_epoch:
        _draw_by_epoch(order, first, last, position, samples, key, epoch_words, epoch_order)
        return
    drawn, position = row(order, first, last - first), position + first
    for i in range(last - first):
        drawn[i] = draw_with_replacement(key, position + i, samples)


@called
def _draw_by_epoch(order, first, last, position, samples, key, epoch_words, epoch_order):
    """A call of its own: a part of `draw_samples`, it made draws with replacement 4 ns slower."""
    epoch = (position + first) // samples
    place = position + first - epoch * samples
    while first < last:
        if epoch_words[_NEXT_EPOCH] != np.uint64(epoch + 1):
            set_epoch(key, epoch, samples, epoch_words, epoch_order)
        count = smaller(last - first, samples - place)
        drawn = row(order, first, count)
        if samples <= MAX_SHUFFLED:
            shuffled = row(epoch_order, place, count)
            for i in range(count):
                drawn[i] = shuffled[i]
        else:
            for i in range(count):
                drawn[i] = draw_from_epoch(place + i, samples, epoch_words)
        first += count
        place = 0
        epoch += 1


@inlined
def draw_with_replacement(key, position, n_samples):
    """floor(word * n_samples / 2**64)."""
    u = word(key, position)
    factor = np.uint64(n_samples)
    return np.int64(((u >> _32) * factor + (((u & _LOW_HALF) * factor) >> _32)) >> _32)


@inlined
def set_epoch(key, epoch, samples, epoch_words, epoch_order):
    """Work out one epoch's words, or its order."""
    epoch_words[_NEXT_EPOCH] = np.uint64(epoch + 1)
    epoch_key = word(key ^ _ALL_BITS, epoch)
    if samples <= MAX_SHUFFLED:
        for i in range(samples):
            j = draw_with_replacement(epoch_key, i, i + 1)
            epoch_order[i] = epoch_order[j]
            epoch_order[j] = i
        return
    for r in range(_ROUND_WORDS):
        epoch_words[r] = word(epoch_key, r)
        if r % 2 == 0:
            epoch_words[r] |= _1
    epoch_words[_SWAP] = word(epoch_key, _ROUND_WORDS) >> _63
    bits = 0
    while (samples - 1) >> bits > 0:
        bits += 1
    epoch_words[_BITS] = np.uint64(bits)


@inlined
def draw_from_epoch(place, samples, epoch_words):
    """The sample at a place of the epoch whose words stand in `epoch_words`."""
    high_bits = epoch_words[_BITS] >> _1
    low_bits = epoch_words[_BITS] - high_bits
    low_mask = (_1 << low_bits) - _1
    value = np.uint64(place)
    while True:
        low = value & low_mask
        high = value >> low_bits
        for r in range(0, _ROUND_WORDS, 4):
            high ^= (epoch_words[r] * low + epoch_words[r + 1]) >> (_64 - high_bits)
            low ^= (epoch_words[r + 2] * high + epoch_words[r + 3]) >> (_64 - low_bits)
        value = (high << low_bits) | low
        if value < np.uint64(samples):
            break
    if value < _2:
        value ^= epoch_words[_SWAP]
    return np.int64(value)
