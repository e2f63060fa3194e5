"""Data, DummyData, Input and Parameter: the layers that nothing goes into."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, Context
from dragon.data import encode_datum, write_lmdb, write_mean
from dragon.errors import DataError, PrototxtError
from tests.layers.helpers import One

IMAGES = np.random.default_rng(1).integers(0, 256, (7, 3, 6, 8), dtype=np.uint8)


@pytest.fixture
def lmdb(tmp_path: Path) -> Path:
    folder = tmp_path / "train_lmdb"
    write_lmdb(folder, ((f"{i:03d}".encode(), encode_datum(image, i)) for i, image in enumerate(IMAGES)))
    return folder


def data(opened: list[One], source: object, batch: int = 3, extra: str = "", more: str = "", **options: object) -> One:
    text = (
        f'name: "d" type: "Data" data_param {{ source: "{source}" backend: LMDB batch_size: {batch} {more} }} '
        f"transform_param {{ {extra} }}"
    )
    one = One(text, n_top=2, **options)  # type: ignore[arg-type]
    opened.append(one)
    return one


def test_reads_round_and_round(lmdb: Path, opened: list[One]) -> None:
    one = data(opened, lmdb)
    assert [blob.shape for blob in one.top] == [(3, 3, 6, 8), (3,)]
    for start in (0, 3, 6):
        expected = [(start + i) % 7 for i in range(3)]
        np.testing.assert_array_equal(one.forward(), IMAGES[expected])
        np.testing.assert_array_equal(one.top[1].data, expected)


def test_label_is_optional(lmdb: Path, opened: list[One]) -> None:
    one = One(f'type: "Data" data_param {{ source: "{lmdb}" backend: LMDB batch_size: 2 }}')
    opened.append(one)
    np.testing.assert_array_equal(one.forward(), IMAGES[:2])


def test_transform_and_files_beside_the_prototxt(lmdb: Path, opened: list[One]) -> None:
    write_mean(lmdb.parent / "mean.binaryproto", IMAGES.mean(0).astype(np.float32))
    context = Context(folder=lmdb.parent)
    extra = 'mean_file: "mean.binaryproto" scale: 0.5'
    one = data(opened, "train_lmdb", extra=extra, context=context)
    np.testing.assert_allclose(one.forward(), (IMAGES[:3] - IMAGES.mean(0)) * 0.5, rtol=1e-4, atol=1e-4)


def test_crop_is_central_in_test(lmdb: Path, opened: list[One]) -> None:
    one = data(opened, lmdb, extra="crop_size: 4", phase=TEST)
    np.testing.assert_array_equal(one.forward(), IMAGES[:3, :, 1:5, 2:6])


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("more", ["", " zero_pad: 2 cutout: 2 brightness: 0.5 contrast: 0.5 saturation: 0.5"])
def test_state_resumes_exactly(lmdb: Path, opened: list[One], seed: int, more: str) -> None:
    extra = "crop_size: 4 mirror: true" + more
    one = data(opened, lmdb, extra=extra)
    one.forward()
    state = one.layer.state()
    expected = [one.forward().copy() for _ in range(3)]
    other = data(opened, lmdb, extra=extra, seed=seed)  # a run that did not ask for the same seed
    other.forward()
    other.layer.load_state(state)
    for batch in expected:
        np.testing.assert_array_equal(other.forward(), batch)


@pytest.mark.parametrize("name", ["shuffle", "random_order"])
def test_shuffled_records_come_once_an_epoch_and_resume(lmdb: Path, opened: list[One], name: str) -> None:
    one = data(opened, lmdb, batch=7, more=f"{name}: true")
    epochs = []
    for _ in range(2):
        one.forward()
        epochs.append(one.top[1].data.tolist())
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(7))
    assert epochs[0] != epochs[1]
    state = one.layer.state()
    one.forward()
    other = data(opened, lmdb, batch=7, more="shuffle: true")
    other.layer.load_state(state)
    other.forward()
    assert other.top[1].data.tolist() == one.top[1].data.tolist()


def test_state_of_something_else(lmdb: Path, opened: list[One]) -> None:
    one = data(opened, lmdb)
    with pytest.raises(DataError, match=r'layer "d" \(Data\): the snapshot holds no position'):
        one.layer.load_state({})
    with pytest.raises(DataError, match="transform_key is damaged"):
        one.layer.load_state({"position": 0, "transform_draws": 0, "transform_key": b"x"})


def test_random_skip(lmdb: Path, opened: list[One]) -> None:
    firsts = set()
    for seed in range(12):
        one = data(opened, lmdb, more="rand_skip: 5", seed=seed)
        one.forward()
        firsts.add(int(one.top[1].data[0]))
    assert firsts <= set(range(5))
    assert len(firsts) > 2


def test_fills_the_host_array_of_any_dtype(lmdb: Path, opened: list[One]) -> None:
    one = data(opened, lmdb, dtype=np.float64)
    assert one.forward().dtype == np.float64
    np.testing.assert_array_equal(one.forward(), IMAGES[3:6])


def test_bad_sources(lmdb: Path, tmp_path: Path, opened: list[One]) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(DataError, match=re.escape(f'layer "d" (Data): LMDB "{missing}"')):
        data(opened, missing)
    mixed = tmp_path / "mixed_lmdb"
    records = [encode_datum(IMAGES[0], 0), encode_datum(IMAGES[0, :, :4], 1)]
    write_lmdb(mixed, ((f"{i}".encode(), record) for i, record in enumerate(records)))
    with pytest.raises(DataError, match=r'layer "d" \(Data\): .*mixed_lmdb'):
        data(opened, mixed).forward()
    with pytest.raises(DataError, match="crop_size 40 is larger than the image"):
        data(opened, lmdb, extra="crop_size: 40")
    with pytest.raises(PrototxtError, match="needs a source"):
        data(opened, "")
    with pytest.raises(PrototxtError, match="batch_size of at least 1"):
        data(opened, lmdb, batch=0)


def test_closed_is_closed(lmdb: Path, opened: list[One]) -> None:
    one = data(opened, lmdb)
    one.forward()
    one.layer.close()
    one.layer.close()
    with pytest.raises(DataError, match=r'layer "d" \(Data\): the data source is closed'):
        one.forward()


def test_input() -> None:
    one = One('type: "Input" input_param { shape { dim: [2, 3] } shape { dim: 4 } }', n_top=2)
    assert [blob.shape for blob in one.top] == [(2, 3), (4,)]
    one.top[0].reshape(5, 3)
    one.forward()
    assert one.top[0].shape == (5, 3)
    one = One('type: "Input" input_param { shape { dim: 7 } }', n_top=3)
    assert [blob.shape for blob in one.top] == [(7,)] * 3
    with pytest.raises(PrototxtError, match="has 2 shapes, expected 1 or one for each of 3 tops"):
        One('type: "Input" input_param { shape { dim: 7 } shape { dim: 7 } }', n_top=3)


def test_dummy_data() -> None:
    fillers = 'data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 }'
    one = One(f'type: "DummyData" dummy_data_param {{ {fillers} shape {{ dim: [4, 5] }} shape {{ dim: 4 }} }}', n_top=2)
    first = one.forward().copy()
    np.testing.assert_array_equal(one.top[1].data, [2, 2, 2, 2])
    assert (one.forward() != first).any()
    one.layer.rng.draws = 0
    np.testing.assert_array_equal(one.forward(), first)


def test_dummy_data_with_four_sizes() -> None:
    text = "num: 2 num: 5 channels: 3 height: 1 width: 4"
    one = One(f'type: "DummyData" dummy_data_param {{ {text} }}', n_top=2, phase=TRAIN)
    assert [blob.shape for blob in one.top] == [(2, 3, 1, 4), (5, 3, 1, 4)]
    np.testing.assert_array_equal(one.forward(), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs shape, or all of"),
        ("num: 1", "needs shape, or all of"),
        ("num: 1 shape { dim: 2 }", "not both"),
        ("shape { dim: 2 } shape { dim: 2 }", "has 2 of shape, expected 1 or one for each of 3 tops"),
        ('shape { dim: 2 } data_filler { type: "gausian" }', r'unknown filler type "gausian" \(did you mean'),
    ],
)
def test_bad_dummy_data(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(f'type: "DummyData" dummy_data_param {{ {text} }}', n_top=3)


def test_parameter_shares_its_arrays() -> None:
    one = One('type: "Parameter" parameter_param { shape { dim: [2, 3] } }')
    one.blobs[0][:] = 5
    np.testing.assert_array_equal(one.forward(), np.full((2, 3), 5))
    one.top[0].diff[...] = 7
    np.testing.assert_array_equal(one.layer.blobs[0].diff, 7)
    with pytest.raises(PrototxtError, match="needs a shape"):
        One('type: "Parameter"')


def test_shuffled_order_depends_on_seed_and_name_alone(lmdb: Path, opened: list[One]) -> None:
    def labels(batch: int, seed: int = 3, name: str = "d", extra: str = "") -> list[float]:
        source = f'data_param {{ source: "{lmdb}" backend: LMDB shuffle: true batch_size: {batch} }}'
        one = One(f'name: "{name}" type: "Data" {source} {extra}', n_top=2, seed=seed)
        opened.append(one)
        read: list[float] = []
        while len(read) < 14:
            one.forward()
            read += one.top[1].data.tolist()
        return read[:14]

    first = labels(2)
    assert sorted(first[:7]) == sorted(first[7:]) == list(range(7))
    for batch in (1, 3, 7, 9):
        assert labels(batch, extra="transform_param { crop_size: 4 mirror: true }") == first
    assert labels(2, seed=4) != first
    assert labels(2, name="other") != first
