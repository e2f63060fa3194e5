"""Blob: shapes, sharing, and reads that do not count as writes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.errors import ArgumentTypeError, ShapeError
from dragon.memory.blob import MAX_COUNT, Blob, BlobList


def test_shape_and_legacy_axes() -> None:
    blob = Blob((2, 3, 4))
    assert blob.count == 24
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 4, 1)
    with pytest.raises(ShapeError, match="at most 4 axes"):
        _ = Blob((1, 1, 1, 1, 1)).num


@pytest.mark.parametrize(
    "call",
    [
        lambda b: b.reshape(3, 2),
        lambda b: b.reshape((3, 2)),
        lambda b: b.reshape([3, 2]),
        lambda b: b.reshape(np.array([3, 2])),
        lambda b: b.reshape(6 / 2, np.float32(2)),
    ],
)
def test_reshape_takes_numbers_or_a_sequence(call) -> None:  # type: ignore[no-untyped-def]
    blob = Blob((6,))
    blob.data[...] = np.arange(6)
    call(blob)
    assert blob.shape == (3, 2)
    assert blob.data.ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("shape", [(3, 1.5), ("3", 2), (None,), (float("nan"),), (np.array([0.5, 2]),), ([[3, 2]],)])
def test_axes_that_are_no_whole_numbers(shape: Any) -> None:
    blob = Blob((6,))
    with pytest.raises(ArgumentTypeError, match="the axes of a blob are whole numbers, got"):
        blob.reshape(*shape)
    assert blob.shape == (6,)
    with pytest.raises(ArgumentTypeError, match="the axes of a blob are whole numbers, got"):
        BlobList().add_blob(*shape)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_has_the_newest_values_and_what_it_shares(copied: Callable[[Any], Any]) -> None:
    one, other, unused = Blob((2, 3)), Blob((6,)), Blob((1,))
    other.share_data(one)
    one.data[...] = 1

    class Engine:
        lock = threading.Lock()  # cannot be copied, as the memory of an engine

        def to_host(self, host: Any) -> None:
            host[...] = 5

    one.data_storage.attach("engine", Engine())  # type: ignore[arg-type]
    one.data_storage.wrote("engine")
    first, second, third = copied([one, other, unused])
    assert first.data.tolist() == [[5, 5, 5], [5, 5, 5]]
    second.data[...] = 7
    assert (first.data == 7).all()
    assert (one.data == 5).all()
    assert first.diff.shape == (2, 3)
    assert not third.data_storage.allocated


def test_shrinking_and_growing_again_keeps_the_values() -> None:
    blob = Blob((4,))
    blob.data[...] = [1, 2, 3, 4]
    blob.reshape(2)
    blob.reshape(4)
    assert blob.data.tolist() == [1, 2, 3, 4]


def test_data_is_a_live_view() -> None:
    blob = Blob((2,))
    view = blob.data
    view[...] = 7
    assert blob.peek().tolist() == [7, 7]


def test_peek_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Blob((2,)).peek()[0] = 1


def test_peek_of_a_blob_leaves_other_copies_fresh() -> None:
    blob = Blob((2,))

    class Nothing:
        def to_host(self, host: object) -> None: ...
        def from_host(self, host: object) -> None: ...

    blob.data_storage.attach("there", Nothing())
    blob.data_storage.sync("there")
    blob.peek()
    assert blob.data_storage.is_fresh("there")
    _ = blob.data
    assert not blob.data_storage.is_fresh("there")


def test_sharing_is_of_memory_and_needs_equal_counts() -> None:
    a, b = Blob((2, 3)), Blob((6,))
    b.share_data(a)
    b.data[...] = 5
    assert (a.data == 5).all()
    assert (a.diff == 0).all()
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(5,\)|\(5,\).*\(2, 3\)"):
        Blob((5,)).share_diff(a)


@pytest.mark.parametrize("shape", [(2**21, 2**21), (-1, 3)])
def test_impossible_shapes_are_refused_before_memory_is_asked_for(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        Blob(shape)
    blob = Blob((1,))
    with pytest.raises(ShapeError):
        blob.reshape(shape)
    assert blob.shape == (1,), "a refused shape must not stick"
    assert MAX_COUNT < 2**42


def test_add_blob() -> None:
    blobs = BlobList(np.float64)
    blobs.add_blob(2, 3)
    blobs.add_blob((4,))
    assert [b.shape for b in blobs] == [(2, 3), (4,)]
    assert blobs[0].data.dtype == np.float64


def test_blobs_of_other_types_do_not_share() -> None:
    one, other = Blob((2,)), Blob((2,), np.float64)
    for share in (one.share_data, one.share_diff):
        with pytest.raises(ShapeError, match="cannot share between blobs of float32 and float64"):
            share(other)
