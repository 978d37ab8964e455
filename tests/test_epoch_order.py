"""Every order of an epoch is equally likely, as far as the tests here can tell.

Seeds are fixed, so that outcomes are too. A test that finds p-values for several statistics holds
the least of them, times their number, against ALPHA. The order of the contract's version 1, a
Feistel network for every N, is to fail the same tests.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

import fcbackends as fcb
from tests import oracle

ALPHA = 0.001
HOPELESS = 1e-9
SEEDS = (0, 2**63 - 1)


def orders(n, epochs, seed=0, first=0):
    """The orders of so many epochs, (epochs, n)."""
    drawn = fcb.sample_indices(n, steps=epochs * n, sampling="epoch", seed=seed, start=first * n)
    return drawn.reshape(epochs, n)


def orders_of_seeds(n, seeds, epoch=0):
    return np.concatenate([orders(n, 1, seed, epoch) for seed in range(seeds)])


def orders_of_version_1(n, epochs, seed=0):
    """Orders by the Feistel network alone, without the change of places after it."""
    rows = []
    for epoch in range(epochs):
        key = oracle.word(oracle.word(seed, 0) ^ oracle.MASK, epoch)
        computed = oracle.ComputedOrder(key, n)
        computed.words[16] = 0
        rows.append([computed[place] for place in range(n)])
    return np.array(rows)


def orders_of_numpy(n, epochs):
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.arange(n), (epochs, 1)), axis=1)


# --- statistics, as p-values of what is to be expected of orders that are equally likely ----------


def least(p_values):
    """The least of several p-values, as large as it is to count for all of them."""
    p_values = list(p_values)
    return min(1.0, min(p_values) * len(p_values))


def by_permutation(rows):
    """Each of the N! orders comes equally often."""
    n = rows.shape[1]
    numbers = rows @ n ** np.arange(n)
    all_orders = np.array(list(itertools.permutations(range(n)))) @ n ** np.arange(n)
    _, counts = np.unique(np.concatenate([all_orders, numbers]), return_counts=True)
    return stats.chisquare(counts - 1).pvalue


def by_place(rows):
    """Each sample comes equally often at each place."""
    epochs, n = rows.shape
    counts = np.stack([np.bincount(places, minlength=n) for places in rows.T])
    # Rows and columns of the table have fixed sums.
    statistic = ((counts - epochs / n) ** 2).sum() * n / epochs * (n - 1) / n
    return stats.chi2.sf(statistic, (n - 1) ** 2)


def by_pair(rows):
    """At any two places, each pair of samples comes equally often."""
    n = rows.shape[1]
    pairs = [a * n + b for a, b in itertools.permutations(range(n), 2)]
    return least(
        stats.chisquare(np.bincount(rows[:, i] * n + rows[:, j], minlength=n * n)[pairs]).pvalue
        for i, j in itertools.combinations(range(n), 2)
    )


def is_odd(rows):
    """Whether each row is an odd permutation: each cycle of even length is one."""
    n = rows.shape[1]
    edges = sparse.coo_array(
        (
            np.ones(rows.size, bool),
            (np.arange(rows.size), (rows + n * np.arange(len(rows))[:, None]).reshape(-1)),
        )
    )
    _, cycle_of = connected_components(edges)
    first_of_cycle = np.unique(cycle_of, return_index=True)[1]
    cycles = np.bincount(first_of_cycle // n, minlength=len(rows))
    return (n - cycles) % 2 == 1


def by_parity(rows):
    """Half of all orders are odd permutations."""
    return stats.binomtest(int(is_odd(rows).sum()), len(rows)).pvalue


def by_distance(rows, n, bins=8):
    """Samples that stand some places apart are independent: in all of their range, and modulo."""
    places = rows.shape[1]
    of_range = -(-np.arange(bins + 1) * n // bins)
    expected = []
    for bin_of, size in (
        (lambda s: s * bins // n, np.diff(of_range)),
        (lambda s: s % bins, (n - 1 - np.arange(bins)) // bins + 1),
    ):
        pairs = (np.outer(size, size) - np.diag(size)).reshape(-1)
        expected.append((bin_of, pairs / pairs.sum()))
    p_values = []
    for distance in (1, 2, 3, 2 ** (places.bit_length() // 2), places // 2):
        # No place is in two pairs.
        first = np.arange(places - distance)
        first = first[first // distance % 2 == 0]
        for bin_of, share in expected:
            pairs = bin_of(rows[:, first]) * bins + bin_of(rows[:, first + distance])
            counts = np.bincount(pairs.reshape(-1), minlength=bins * bins)
            p_values.append(stats.chisquare(counts, share * counts.sum()).pvalue)
    return least(p_values)


def by_ascents(rows):
    """A sample is followed by a greater one as often as in shuffles, and that varies as much."""
    epochs, n = rows.shape
    ascents = (np.diff(rows, axis=1) > 0).sum(axis=1)
    variance = (n + 1) / 12
    mean = 2 * stats.norm.sf(abs(ascents.mean() - (n - 1) / 2) / math.sqrt(variance / epochs))
    spread = ascents.var(ddof=1) / variance * (epochs - 1)
    spread_p = 2 * min(stats.chi2.sf(spread, epochs - 1), stats.chi2.cdf(spread, epochs - 1))
    return least([mean, spread_p])


def by_fixed_points(rows):
    """So many samples stand at their own place as in shuffles: Poisson's numbers, nearly."""
    fixed = (rows == np.arange(rows.shape[1])).sum(axis=1)
    shares = stats.poisson.pmf(np.arange(5), 1)
    shares = np.append(shares, 1 - shares.sum())
    return stats.chisquare(
        np.bincount(np.minimum(fixed, 5), minlength=6), shares * len(rows)
    ).pvalue


def by_next_epoch(rows):
    """Where a sample stands says nothing of where it stands in the next epoch."""
    n = rows.shape[1]
    places = np.argsort(rows, axis=1)
    pairs = places[:-1:2] * n + places[1::2]
    return least(
        stats.chisquare(np.bincount(of_sample, minlength=n * n)).pvalue for of_sample in pairs.T
    )


# --- small numbers of samples ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_each_permutation_comes_equally_often(n):
    epochs = 100 * math.factorial(n)
    assert least(by_permutation(orders(n, epochs, seed)) for seed in SEEDS) > ALPHA


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_each_permutation_comes_equally_often_over_seeds(n):
    assert by_permutation(orders_of_seeds(n, 30 * math.factorial(n), epoch=10**6)) > ALPHA


@pytest.mark.parametrize("n", [5, 7, 16, 37, 100])
def test_each_sample_comes_equally_often_at_each_place(n):
    assert least(by_place(orders(n, 30 * n, seed)) for seed in SEEDS) > ALPHA


@pytest.mark.parametrize("n", [3, *range(5, 13), 16])
def test_each_pair_comes_equally_often_at_any_two_places(n):
    epochs = 40 * n * (n - 1)
    assert least(by_pair(orders(n, epochs, seed)) for seed in SEEDS) > ALPHA


def test_half_of_the_orders_are_odd():
    numbers = range(2, 101)
    assert least(by_parity(orders(n, 500)) for n in numbers) > ALPHA


@pytest.mark.parametrize("n", [5, 8, 16])
def test_epochs_are_independent_of_each_other(n):
    assert least(by_next_epoch(orders(n, 80 * n * n, seed)) for seed in SEEDS) > ALPHA


# --- large numbers: a table up to 2**16, the Feistel network beyond -------------------------------


@pytest.mark.parametrize("n", [2**16, 2**16 + 1, 2**17 - 1, 2**17])
def test_half_of_the_orders_of_many_samples_are_odd(n):
    assert by_parity(orders(n, 24)) > ALPHA


@pytest.mark.parametrize("n", [1000, 2**16, 2**16 + 1, 2**17, 10**6, 2**32 - 1])
def test_samples_some_places_apart_are_independent(n):
    rows = [
        fcb.sample_indices(n, steps=500, sampling="epoch", start=epoch * n + n // 3)
        for epoch in range(40)
    ]
    assert by_distance(np.stack(rows)[:, :, 0], n) > ALPHA


# --- what the statistics find, and what they let pass ---------------------------------------------


def test_another_generators_shuffles_pass():
    assert by_permutation(orders_of_numpy(5, 12_000)) > ALPHA
    rows = orders_of_numpy(16, 9600)
    tests = by_place, by_pair, by_parity, by_ascents, by_fixed_points, by_next_epoch
    assert least(test(rows) for test in tests) > ALPHA
    assert by_distance(orders_of_numpy(1000, 40), 1000) > ALPHA


def test_the_orders_of_version_1_are_found_out():
    assert by_permutation(orders_of_version_1(5, 3000)) < HOPELESS
    assert by_pair(orders_of_version_1(5, 3000)) < HOPELESS
    assert by_parity(orders_of_version_1(16, 100)) < HOPELESS
    assert by_parity(orders_of_version_1(63, 100)) < HOPELESS


# --- a larger campaign ----------------------------------------------------------------------------


@pytest.mark.campaign
@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 8])
def test_campaign_of_permutations(n):
    epochs = 60 * math.factorial(n)
    assert least(by_permutation(orders(n, epochs, seed)) for seed in range(8)) > ALPHA


@pytest.mark.campaign
@pytest.mark.parametrize("n", [6, 7])
def test_campaign_of_permutations_over_seeds(n):
    assert by_permutation(orders_of_seeds(n, 10 * math.factorial(n))) > ALPHA


@pytest.mark.campaign
@pytest.mark.parametrize("n", [*range(2, 21), 31, 32, 33, 64])
def test_campaign_of_pairs_and_epochs(n):
    rows = orders(n, 100 * n * n, seed=9)
    tests = by_place, by_pair, by_parity, by_next_epoch
    assert least(test(rows) for test in tests) > ALPHA


@pytest.mark.campaign
@pytest.mark.parametrize("n", [100, 255, 256, 257, 1000, 4096, 10_000, 2**16, 2**16 + 1, 2**17])
def test_campaign_of_whole_epochs(n):
    rows = orders(n, 8_000_000 // n, seed=4)
    tests = by_parity, by_ascents, by_fixed_points, lambda rows: by_distance(rows, n)
    assert least(test(rows) for test in tests) > ALPHA


@pytest.mark.campaign
def test_campaign_of_parity():
    assert least(by_parity(orders(n, 1000, seed=1)) for n in range(2, 301)) > ALPHA
    for n in (2**16, 2**16 + 1, 2**17 - 1, 2**17, 2**18 - 1):
        assert by_parity(orders(n, 60, seed=1)) > ALPHA
