from __future__ import annotations

import gc
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import Batch, BatchReader, Color, LmdbReader, Prefetcher, Transformer, encode_datum, write_lmdb
from dragon.errors import DataError
from dragon.proto import dragon_pb2
from dragon.rng import Stream
from tests.data.conftest import small_images


def reader(folder: Path, batch_size: int = 3, color: Color | None = None) -> BatchReader:
    param = dragon_pb2.TransformationParameter(mirror=True, crop_size=4, scale=0.5)
    transformer = Transformer(param, dragon_pb2.TRAIN, Stream(1, "data"))
    return BatchReader(LmdbReader(folder), transformer, batch_size, color)


def copies(source: BatchReader | Prefetcher, count: int) -> list[tuple[bytes, bytes, tuple[int, int]]]:
    result = []
    for _ in range(count):
        batch = source.get() if isinstance(source, Prefetcher) else source.fill()
        result.append((batch.data.tobytes(), batch.label.tobytes(), (batch.position, batch.draws)))
    return result


def prefetch_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_reader_gives_records_in_order(lmdb_folder: Path) -> None:
    plain = Transformer(dragon_pb2.TransformationParameter(), dragon_pb2.TRAIN, Stream(1, "data"))
    source = BatchReader(LmdbReader(lmdb_folder), plain, 3)
    assert source.shape == (3, 6, 8)
    batches = [source.fill() for _ in range(3)]
    assert [batch.label.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    assert [batch.position for batch in batches] == [3, 6, 2]
    np.testing.assert_array_equal(np.concatenate([batch.data for batch in batches])[:7], small_images())
    source.close()


def test_reader_fills_the_arrays_it_is_given(lmdb_folder: Path) -> None:
    source = reader(lmdb_folder)
    first = source.fill()
    assert source.fill(first).data is first.data
    source.close()


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_prefetching_changes_nothing(lmdb_folder: Path, depth: int) -> None:
    expected = copies(reader(lmdb_folder), 9)
    prefetcher = Prefetcher(reader(lmdb_folder), depth)
    assert copies(prefetcher, 9) == expected
    prefetcher.close()


def test_resume_is_bit_exact(lmdb_folder: Path) -> None:
    whole = copies(reader(lmdb_folder), 9)
    prefetcher = Prefetcher(reader(lmdb_folder), 4)
    assert prefetcher.state == (0, 0)
    assert copies(prefetcher, 4) == whole[:4]
    saved = prefetcher.state
    assert saved == whole[3][2]
    prefetcher.close()
    resumed = Prefetcher(reader(lmdb_folder), 2)
    resumed.seek(*saved)
    assert resumed.state == saved
    assert copies(resumed, 5) == whole[4:]
    resumed.seek(*whole[1][2])  # back, in the middle of prefetching
    assert copies(resumed, 7) == whole[2:]
    resumed.close()


def test_a_batch_stays_until_the_next_get(lmdb_folder: Path) -> None:
    prefetcher = Prefetcher(reader(lmdb_folder), 2)
    for _ in range(20):
        batch = prefetcher.get()
        before = batch.data.copy()
        time.sleep(0.002)
        np.testing.assert_array_equal(batch.data, before)
    prefetcher.close()


class Counting:
    """A producer of numbered batches that fails at batch `fails`; it waits before each for `gate`."""

    def __init__(self, fails: int = 1 << 30) -> None:
        self.made = 0
        self.fails = fails
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def state(self) -> tuple[int, int]:
        return self.made, 0

    def seek(self, position: int, draws: int) -> None:
        self.made = position

    def fill(self, batch: Batch | None = None) -> Batch:
        self.gate.wait()
        if self.made == self.fails:
            raise DataError("record 3 is not a Datum")
        self.made += 1
        value: NDArray[np.float32] = np.full(1, self.made, np.float32)
        return Batch(value, value, self.made, 0)

    def close(self) -> None:
        self.closed += 1


def test_no_more_than_depth_batches_wait() -> None:
    producer = Counting()
    prefetcher = Prefetcher(producer, 3)
    assert producer.made == 0
    prefetcher.get()
    deadline = time.monotonic() + 5
    while producer.made < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert producer.made == 4
    assert prefetcher.state == (1, 0)
    prefetcher.close()


def test_an_error_arrives_in_its_place_and_stays() -> None:
    prefetcher = Prefetcher(Counting(fails=2), 4)
    assert [prefetcher.get().position for _ in range(2)] == [1, 2]
    for _ in range(2):
        with pytest.raises(DataError, match="record 3 is not a Datum"):
            prefetcher.get()
    assert prefetcher.state == (2, 0)
    prefetcher.close()


def test_close_is_prompt_and_final() -> None:
    producer = Counting()
    prefetcher = Prefetcher(producer, 2)
    prefetcher.get()
    started = time.monotonic()
    prefetcher.close()
    prefetcher.close()
    assert time.monotonic() - started < 1
    assert producer.closed == 1
    assert prefetch_threads() == 0
    with pytest.raises(DataError, match="is closed"):
        prefetcher.get()


def test_a_forgotten_prefetcher_ends_its_thread() -> None:
    prefetcher = Prefetcher(Counting(), 2)
    prefetcher.get()
    assert prefetch_threads() == 1
    del prefetcher
    gc.collect()
    assert prefetch_threads() == 0


def test_a_forked_child_is_told_and_can_end(lmdb_folder: Path) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system does not fork")
    code = f"""
import os, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from dragon.data import Prefetcher
from dragon.errors import DataError
from tests.data.test_prefetch import reader
prefetcher = Prefetcher(reader(Path({str(lmdb_folder)!r})), 2)
prefetcher.get()
pid = os.fork()
if pid == 0:
    try:
        prefetcher.get()
    except DataError as error:
        sys.exit(7 if "across a fork" in str(error) else 1)
    sys.exit(2)
status = os.waitpid(pid, 0)[1]
prefetcher.get()
print(os.waitstatus_to_exitcode(status))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_the_message_names_folder_and_record(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    broken = [encode_datum(image, 0) for image in images]
    broken[5] = b"\xff\xff\xff"
    write_lmdb(tmp_path / "a", [(b"%d" % i, record) for i, record in enumerate(broken)])
    prefetcher = Prefetcher(reader(tmp_path / "a"), 2)
    prefetcher.get()
    with pytest.raises(DataError, match=r'^".*/a": record 5 is not a Datum'):
        prefetcher.get()
    prefetcher.close()


def test_an_image_of_another_shape_is_named(tmp_path: Path) -> None:
    shapes = [(3, 6, 8), (3, 6, 8), (3, 6, 7), (3, 6, 8)]
    pairs = [(b"%d" % i, encode_datum(np.zeros(shape, np.uint8), 0)) for i, shape in enumerate(shapes)]
    write_lmdb(tmp_path / "a", pairs)
    plain = Transformer(dragon_pb2.TransformationParameter(), dragon_pb2.TRAIN, Stream(1, "data"))
    source = BatchReader(LmdbReader(tmp_path / "a"), plain, 2)
    source.fill()
    with pytest.raises(DataError, match=r"record 2 and following: .*\(3, 6, 7\).*need a crop_size"):
        source.fill()
    source.close()


def test_a_batch_needs_a_size(lmdb_folder: Path) -> None:
    with pytest.raises(DataError, match="batch_size must be at least 1, got 0"):
        reader(lmdb_folder, 0)
