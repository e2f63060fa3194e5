"""Data and ImageData whose batches have different sizes, as fully convolutional nets take them, on every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.data import encode_datum, write_leveldb, write_lmdb
from dragon.errors import DataError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver
from tests.layers.helpers import One

SIZES = [(9, 7), (9, 7), (5, 12), (8, 8), (5, 12)]
RNG = np.random.default_rng(2)
IMAGES = [RNG.integers(0, 256, (3, *size), np.uint8) for size in SIZES]
REST = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
ENGINES = ["numpy", "onednn"]


def lmdb(folder: Path, images: list[np.ndarray], name: str = "lmdb") -> Path:
    write_lmdb(folder / name, ((f"k{i}".encode(), encode_datum(image, i)) for i, image in enumerate(images)))
    return folder / name


def listing(folder: Path, images: list[np.ndarray]) -> Path:
    for i, image in enumerate(images):
        PIL.Image.fromarray(image[::-1].transpose(1, 2, 0)).save(folder / f"{i}.png")
    (folder / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(len(images))))
    return folder / "list.txt"


def layer(kind: str, folder: Path, images: list[np.ndarray], batch: int = 1, more: str = "") -> str:
    if kind == "Data":
        source = f'data_param {{ source: "{lmdb(folder, images)}" backend: LMDB batch_size: {batch} }}'
    else:
        path = listing(folder, images)
        source = f'image_data_param {{ source: "{path}" root_folder: "{folder}/" batch_size: {batch} }}'
    return f'name: "data" type: "{kind}" {source} {more}'


def net_text(kind: str, folder: Path, more: str = "") -> str:
    return f'layer {{ top: "data" top: "label" {layer(kind, folder, IMAGES, more=more)} }}' + REST


def test_each_batch_has_the_size_of_its_first_image(tmp_path: Path, opened: list[Net | Solver | One]) -> None:
    for kind in ("Data", "ImageData"):
        (tmp_path / kind).mkdir()
        one = One(layer(kind, tmp_path / kind, IMAGES), n_top=2)
        opened.append(one)
        for i in [*range(5), 0]:
            np.testing.assert_array_equal(one.forward(), IMAGES[i][None])
            assert one.top[1].data.tolist() == [i]


@pytest.mark.parametrize("kind", ["Data", "ImageData"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_every_engine_gives_what_a_net_of_that_size_gives(
    kind: str, engine: str, phase: int, tmp_path: Path, opened: list[Net | Solver | One]
) -> None:
    net = Net(parse_text(net_text(kind, tmp_path), pb.NetParameter()), phase=phase, engine=engine, seed=1)
    opened.append(net)
    for i in [*range(5), *range(5)]:
        height, width = SIZES[i]
        fixed = f"""layer {{ name: "data" type: "Input" top: "data" top: "label" input_param {{
                    shape {{ dim: [1, 3, {height}, {width}] }} shape {{ dim: 1 }} }} }}"""
        other = Net(parse_text(fixed + REST, pb.NetParameter()), phase=phase, engine="numpy", seed=1)
        other.share_with(net)
        loss = net.forward_backward() if phase == TRAIN else net.run_forward()
        other.blobs["data"].data[...], other.blobs["label"].data[...] = IMAGES[i], i
        expected = other.forward_backward() if phase == TRAIN else other.run_forward()
        assert net.blobs["data"].shape == (1, 3, height, width)
        np.testing.assert_array_equal(net.blobs["data"].data, IMAGES[i][None])
        np.testing.assert_allclose(net.blobs["ip"].data, other.blobs["ip"].data, rtol=1e-4, atol=1e-4)
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mirror", ["", "transform_param { mirror: true }"])
def test_training_and_going_on_from_a_state(
    engine: str, mirror: str, tmp_path: Path, opened: list[Net | Solver | One], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    param = pb.SolverParameter(base_lr=0.0001, momentum=0.9, lr_policy="fixed", snapshot_prefix="s", max_iter=9)
    param.net_param.CopyFrom(parse_text(net_text("Data", tmp_path, mirror), pb.NetParameter()))
    solver = Solver(param, engine=engine, seed=4)
    opened.append(solver)
    solver.step(4)
    state = solver.snapshot()
    expected = [solver.step(1) for _ in range(5)]
    resumed = Solver(param, engine=engine, seed=8)
    opened.append(resumed)
    resumed.restore(state)
    assert [resumed.step(1) for _ in range(5)] == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_time_goes_through_all_sizes(engine: str, tmp_path: Path, opened: list[Net | Solver | One]) -> None:
    net = Net(parse_text(net_text("Data", tmp_path), pb.NetParameter()), phase=TRAIN, engine=engine, seed=1)
    opened.append(net)
    assert len(net.executor.profile(6)) == len(net.layers)


def test_the_image_of_another_size_is_named(tmp_path: Path, opened: list[Net | Solver | One]) -> None:
    needs = r"the first image of its batch \(3, 9, 7\); images of different sizes need a crop_size, or batch_size 1"
    one = One(layer("Data", tmp_path, IMAGES, 3), n_top=2)
    opened.append(one)
    with pytest.raises(DataError, match=rf'record 2 \(key "k2"\) has shape \(3, 5, 12\), {needs}'):
        one.forward()
    one = One(layer("ImageData", tmp_path, IMAGES, 3), n_top=2)
    opened.append(one)
    with pytest.raises(DataError, match=rf'image "{tmp_path}/2\.png" has shape \(3, 5, 12\), {needs}'):
        one.forward()
    pytest.importorskip("plyvel")
    write_leveldb(tmp_path / "level", ((f"k{i}".encode(), encode_datum(image, i)) for i, image in enumerate(IMAGES)))
    one = One(f'type: "Data" data_param {{ source: "{tmp_path}/level" batch_size: 3 }}', n_top=2)
    opened.append(one)
    with pytest.raises(DataError, match=rf'record 2 \(key "k2"\) has shape \(3, 5, 12\), {needs}'):
        one.forward()


def test_a_shuffled_record_is_named_by_its_key(tmp_path: Path, opened: list[Net | Solver | One]) -> None:
    folder = lmdb(tmp_path, IMAGES)
    one = One(f'type: "Data" data_param {{ source: "{folder}" backend: LMDB batch_size: 5 shuffle: true }}', n_top=2)
    opened.append(one)
    with pytest.raises(DataError, match=r'\(key "k\d"\) has shape') as caught:
        one.forward()
    key = str(caught.value).split('key "k')[1][0]
    assert f"has shape {IMAGES[int(key)].shape}, the first" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("transform_param { crop_size: 5 }", r"4.* has 1 channel, the first of the source 3"),
        ("", r"4.* has 1 channel, the first of the source 3"),
        ("transform_param { crop_size: 9 }", r"2.*crop_size 9 is larger than the image: it has shape \(3, 5, 12\)"),
    ],
)
def test_what_cannot_be_in_any_batch(more: str, message: str, tmp_path: Path, opened: list[Net | Solver | One]) -> None:
    images = [np.zeros((3, 9, 9), np.uint8)] * 2 + [IMAGES[2], IMAGES[3], IMAGES[4][:1]]
    one = One(layer("Data", tmp_path, images, more=more), n_top=2)
    opened.append(one)
    for _ in range(int(message[0])):
        one.forward()
    with pytest.raises(DataError, match=message):
        one.forward()


def test_images_handed_to_memory_data_are_counted(tmp_path: Path) -> None:
    one = One(
        'type: "MemoryData" memory_data_param { batch_size: 1 channels: 3 height: 9 width: 7 }', n_top=2, phase=TEST
    )
    with pytest.raises(DataError, match=r"image 2: images of shape \(3, 5, 12\) become \(3, 5, 12\), expected"):
        one.layer.add_images(IMAGES[:3], [0, 1, 2])  # type: ignore[attr-defined]
