"""Results in a file that grows: a call that was killed goes on from it, and nothing else does."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fcbackends as fcb
from tests.sweeps.cases import HOW, T, X, table, told

TABLE = table(11)


def swept(path, executor=None, **how):
    return fcb.train_many(X, T, settings=TABLE, results=path, executor=executor, **(HOW | how))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "results"
    sweep = swept(path)
    return path.read_bytes(), [told(result) for result in sweep]


def trained(path, monkeypatch):
    """The networks that a call trains which goes on from a file, and its results."""
    from fcbackends.sweeps import many

    asked = []

    def train_here(networks, *rest):
        asked.extend(each.plan.seed for each in networks)
        return real(networks, *rest)

    real = many.train_here
    with monkeypatch.context() as patch:
        patch.setattr(many, "train_here", train_here)
        sweep = swept(path)
    return asked, [told(result) for result in sweep]


def test_what_is_there_is_not_trained_again(tmp_path, whole, monkeypatch):
    content, expected = whole
    path = tmp_path / "results"
    path.write_bytes(content)
    assert trained(path, monkeypatch) == ([], expected)
    assert path.read_bytes() == content


def test_workers_and_this_process_share_a_file(tmp_path, whole, workers):
    path = tmp_path / "results"
    executor = workers()
    assert [told(r) for r in swept(path, executor)] == whole[1]
    jobs = len(executor.jobs)
    assert [told(r) for r in swept(path, executor)] == whole[1]
    assert len(executor.jobs) == jobs
    assert [told(r) for r in swept(path)] == whole[1]


def test_a_file_cut_anywhere_goes_on_or_is_refused(tmp_path, whole, monkeypatch):
    content, expected = whole
    path = tmp_path / "results"
    header = 44 + int.from_bytes(content[:8], "little")
    counts = set()
    for length in [*range(header, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        seeds, results = trained(path, monkeypatch)
        assert results == expected
        counts.add(len(seeds))
        assert path.read_bytes()[:header] == content[:header]
        # What was cut off is gone, and the file is whole again.
        assert trained(path, monkeypatch) == ([], expected)
    assert counts == set(range(1, 12))
    for length in (1, 43, header - 1):
        path.write_bytes(content[:length])
        with pytest.raises(fcb.ArgumentError, match="`results` must be a file of results"):
            swept(path)
        assert path.read_bytes() == content[:length]


def test_a_flipped_bit_is_refused(tmp_path, whole):
    content, _ = whole
    path = tmp_path / "results"
    header = 44 + int.from_bytes(content[:8], "little")
    first = header + 44 + int.from_bytes(content[header : header + 8], "little")
    rng = np.random.default_rng(3)
    places = [0, 7, 9, 13, 44, header, header + 9, header + 44, *rng.integers(0, first, 40)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(fcb.ArgumentError, match="`results` must be a file of") as caught:
            swept(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == bytes(flipped)


def test_bits_of_another_machine_are_kept_as_they_are(tmp_path, whole, monkeypatch):
    """A negative control: results do come from the file."""
    path, expected = tmp_path / "results", whole[1]
    other = fcb.train_many(X, T, settings=[row | {"seed": 5} for row in TABLE], **HOW)
    from fcbackends.sweeps import many

    def gives_others(networks, threads, ending, taken, runs):
        for place, result in enumerate(other):
            taken(place, result)

    with monkeypatch.context() as patch:
        patch.setattr(many, "train_here", gives_others)
        swept(path)
    assert [told(r) for r in swept(path)] == [told(r) for r in other] != expected


def changed(number, **options):
    return [row | (options if n == number else {}) for n, row in enumerate(TABLE)]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"settings": changed(3, seed=4)}, "`seed[3]` must be as in the results {}, 3, got 4"),
        ({"settings": changed(3, lr=0.5)}, "`lr[3]` must be as in the results {}, 0.0025, got 0.5"),
        ({"settings": TABLE[:10]}, "`networks` must be as in the results {}, 11, got 10"),
        ({"max_steps": 41}, "`max_steps` must be as in the results {}, 40, got 41"),
        ({"dtype": "float32"}, "`dtype` must be as in the results {}, 'float64', got 'float32'"),
        ({"arithmetic": "fused"},
         "`arithmetic` must be as in the results {}, 'ordered', got 'fused'"),
    ],
)  # fmt: skip
def test_another_call_is_refused(tmp_path, whole, how, text):
    path = tmp_path / "results"
    path.write_bytes(whole[0])
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.train_many(X, T, results=path, **({"settings": TABLE} | HOW | how))
    assert str(caught.value) == text.format(repr(str(path)))
    assert path.read_bytes() == whole[0]


def test_other_data_are_refused(tmp_path, whole):
    path = tmp_path / "results"
    path.write_bytes(whole[0])
    for x, t, name in ((X + 1, T, "x"), (X, T + 1, "t")):
        with pytest.raises(fcb.ArgumentError, match=f"`{name}` must be as in the results"):
            fcb.train_many(x, t, settings=TABLE, results=path, **HOW)


def test_bad_input_leaves_no_file(tmp_path):
    path = tmp_path / "results"
    with pytest.raises(fcb.ArgumentError):
        fcb.train_many(X, T, seed=[0], lr=-1.0, results=path)
    with pytest.raises(fcb.ArgumentError, match="`results` must be in a folder that exists"):
        swept(tmp_path / "none" / "results")
    with pytest.raises(fcb.ArgumentError, match="`results` must be a file"):
        swept(tmp_path)
    assert not list(tmp_path.iterdir())


@settings(max_examples=10)
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_unfinished_networks_go_on(counts, tmp_path_factory):
    """However often a call ends early, in the end each network is trained once and whole."""
    path = tmp_path_factory.mktemp("parts") / "results"
    from fcbackends.sweeps import many

    real = many.train_here
    for count in counts:

        def some(networks, *rest, count=count):
            return real(networks[:count], *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(many, "train_here", some)
            swept(path)
    done = min(11, sum(counts))
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        patch.setattr(many, "train_here", lambda networks, *rest: asked.extend(networks))
        swept(path)
    assert len(asked) == 11 - done


SCRIPT = """
import fcbackends as fcb
from concurrent.futures import ThreadPoolExecutor
from tests.sweeps.cases import T, X, table
with ThreadPoolExecutor(2) as executor:
    fcb.train_many(X, T, settings=table(300), max_steps=20_000, executor=executor, results={path!r})
"""


@pytest.mark.slow
def test_a_killed_client_goes_on_and_counts_none_twice(tmp_path):
    path = tmp_path / "results"
    code = textwrap.dedent(SCRIPT).format(path=str(path))
    sizes = [0]
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=os.getcwd())
        # Killed once it has written something more.
        while process.poll() is None:
            if path.exists() and path.stat().st_size > sizes[-1] + (0 if sizes[-1] else 20_000):
                process.kill()
        process.wait()
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    sweep = fcb.train_many(X, T, settings=table(300), max_steps=20_000, results=path)
    assert sweep.digest == fcb.train_many(X, T, settings=table(300), max_steps=20_000).digest
