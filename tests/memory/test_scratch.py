from __future__ import annotations

import numpy as np
import pytest

from dragon.memory.scratch import Scratch, parts


def test_arrays_are_reused_while_they_fit() -> None:
    scratch, like = Scratch(), np.zeros(1, np.float32)
    first = scratch.get("a", (4, 5), like)
    assert first.shape == (4, 5)
    assert first.dtype == np.float32
    assert np.shares_memory(scratch.get("a", (2, 3), like), first)
    assert not np.shares_memory(scratch.get("b", (2, 3), like), first)
    assert not np.shares_memory(scratch.get("a", (21,), like), first)
    assert scratch.get("a", (2,), np.zeros(1)).dtype == np.float64


@pytest.mark.parametrize("n", [0, 1, 7, 100])
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_parts_cover_everything_once(n: int, size: int) -> None:
    array = np.arange(n * 16).reshape(n, 16)
    pieces = [array[part] for part in parts(array, size)]
    np.testing.assert_array_equal(np.concatenate(pieces), array)
    if n == 100 and size == 100:
        assert len(pieces) == 100
