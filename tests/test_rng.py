"""Random streams: reproducible, independent, with a state of one integer."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.rng import Stream, fresh_seed, set_default_seed
from dragon.share import Share


def test_the_same_seed_name_and_draw_give_the_same_words() -> None:
    a, b = Stream(7, "drop1"), Stream(7, "drop1")
    first = a.raw(10)
    assert (first == b.raw(10)).all()
    again = Stream(7, "drop1")
    again.draws = 1
    assert (a.raw(10) == again.raw(10)).all()
    assert (a.raw(10) != first).all()


def test_names_seeds_and_draws_are_independent() -> None:
    words = [Stream(7, "a").raw(1000), Stream(7, "b").raw(1000), Stream(8, "a").raw(1000)]
    stream = Stream(7, "a")
    stream.draws = 1
    words.append(stream.raw(1000))
    assert np.unique(np.concatenate(words)).size == 4000


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    a, b = Stream(1, "x"), Stream(1, "x")
    assert (a.raw(5) == b.raw(100)[:5]).all()
    assert a.raw32(7).size == 7


def test_words_are_philox_blocks_of_draw_and_index() -> None:
    stream = Stream(3, "x")
    stream.draws = 5
    direct = np.random.Philox(key=stream.key, counter=np.array([2, 5, 0, 0], np.uint64)).random_raw(4)
    assert (stream.raw(12)[8:] == direct).all()


def test_uniformity() -> None:
    bits = Stream(0, "u").raw32(100_000)
    counts = np.bincount(bits >> 28, minlength=16)
    assert abs(counts - 6250).max() < 5 * np.sqrt(6250)


def test_default_seed() -> None:
    set_default_seed(11)
    try:
        assert fresh_seed() == fresh_seed() == 11
    finally:
        set_default_seed(None)
    assert fresh_seed() != fresh_seed()


@pytest.mark.parametrize("n", [1, 3, 4, 7, 10])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_have_their_parts_of_a_draw(n: int, ranks: int) -> None:
    alone = Stream(5, "mask")
    alone.draws = 7
    parts = [Stream(5, "mask", Share(rank, ranks)) for rank in range(ranks)]
    for part in parts:
        part.draws = 7
    for what in ("raw", "raw32"):
        expected = getattr(alone, what)(ranks * n)
        np.testing.assert_array_equal(np.concatenate([getattr(part, what)(n) for part in parts]), expected)
    words, more = alone.rows(ranks * n, 3, 2)
    found = [part.rows(n, 3, 2) for part in parts]
    np.testing.assert_array_equal(np.concatenate([one for one, _ in found]), words)
    np.testing.assert_array_equal(np.concatenate([other for _, other in found]), more)
    assert {part.draws for part in parts} == {alone.draws} == {10}
    assert parts[-1].child("x").share == Share(ranks - 1, ranks)


def test_rows_are_the_words_of_one_draw() -> None:
    one, other = Stream(5, "x"), Stream(5, "x")
    tables = one.rows(4, 3, 2)
    np.testing.assert_array_equal(np.concatenate([table.ravel() for table in tables]), other.raw(20))
