"""Offsets in an arena: nothing overlaps while in use, and few bytes are lost."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dragon.engines.lifetimes.placing import ALIGNMENT, Lifetime, Placement, peak_bytes, place


def check(lifetimes: list[Lifetime]) -> int:
    """The arena's size; what is in use together must lie apart, and all of it inside."""
    offsets, size = place(lifetimes)
    assert len(offsets) == len(lifetimes)
    for offset, one in zip(offsets, lifetimes, strict=True):
        assert offset % ALIGNMENT == 0
        assert 0 <= offset <= offset + one.size <= size
    for (a, one), (b, other) in combinations(zip(offsets, lifetimes, strict=True), 2):
        if one.start <= other.end and other.start <= one.end:
            assert a + one.size <= b or b + other.size <= a
    assert peak_bytes(lifetimes) <= size <= sum(one.padded for one in lifetimes)
    return size


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    sizes = [640, 128, 1280, 256, 64]
    chain = [Lifetime(i, i + 1, size) for i, size in enumerate(sizes)]
    assert check(chain) == peak_bytes(chain) == 1280 + 256


def test_what_is_never_used_together_has_the_same_bytes() -> None:
    assert place([Lifetime(0, 1, 100), Lifetime(2, 3, 128)]) == ([0, 0], 128)


def test_one_step_in_common_is_enough_to_lie_apart() -> None:
    assert check([Lifetime(0, 2, 64), Lifetime(2, 4, 64)]) == 128


def test_sizes_are_rounded_up() -> None:
    assert check([Lifetime(0, 0, 1), Lifetime(0, 0, ALIGNMENT + 1)]) == 3 * ALIGNMENT


def test_nothing_needs_nothing() -> None:
    assert place([]) == ([], 0)
    assert peak_bytes([]) == 0
    assert place([Lifetime(3, 5, 0)]) == ([0], 0)


def test_a_narrow_gap_is_taken_before_a_wide_one() -> None:
    held = [Lifetime(0, 9, 64 * 20), Lifetime(0, 2, 64 * 8), Lifetime(0, 9, 64 * 6), Lifetime(3, 9, 64 * 8)]
    assert check(held) == peak_bytes(held)


@pytest.mark.parametrize("seed", range(20))
def test_random_lifetimes(seed: int) -> None:
    random = np.random.default_rng(seed)
    starts = random.integers(0, 30, 40)
    found = [
        Lifetime(int(s), int(s + random.integers(0, 6)), int(random.integers(0, 5000)))
        for s in starts
    ]  # fmt: skip
    assert check(found) <= 1.35 * peak_bytes(found)


def test_a_placement_knows_what_is_left_at_the_end() -> None:
    placement = Placement({"a": Lifetime(0, 1, 64), "b": Lifetime(1, 2, 64), "c": Lifetime(2, 3, 64)})
    assert placement.offsets["a"] == placement.offsets["c"]
    assert placement.survivors == {"b", "c"}
    assert (placement.size, placement.unshared, placement.peak) == (128, 192, 128)


@pytest.mark.parametrize("seed", range(5))
def test_survivors_are_those_whose_bytes_nothing_later_takes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 30, 40)
    lifetimes = {
        i: Lifetime(int(start), int(start + rng.integers(0, 8)), int(rng.integers(1, 500)))
        for i, start in enumerate(starts)
    }
    placed = Placement(lifetimes)
    expected = set()
    for i, one in lifetimes.items():
        low, high = placed.offsets[i], placed.offsets[i] + one.padded
        later = [j for j, other in lifetimes.items() if other.start > one.end]
        if all(placed.offsets[j] >= high or placed.offsets[j] + lifetimes[j].padded <= low for j in later):
            expected.add(i)
    assert placed.survivors == expected
    assert 0 < len(expected) < len(lifetimes)
