"""RegionData: regions of a file, with classes and targets, scaled and flipped with the image; Fast R-CNN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.data.source import open_source
from dragon.errors import DataError, PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One, goes_on_as
from tests.layers.rcnn_images import LABELS, OBJECTS, SIZES, write_images

ALL = "batch_size: -1 bg_thresh_lo: 0"
RNG = np.random.default_rng(7)
CORNERS = [RNG.uniform(0, 12, (30, 2)) for _ in SIZES]
ROIS = [np.concatenate([corner, corner + RNG.uniform(1, 9, (30, 2))], axis=1) for corner in CORNERS]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path)
    with h5py.File("regions.h5", "w") as file:
        for i, rois in enumerate(ROIS):
            file[str(i)] = np.column_stack([rois, RNG.uniform(0, 1, 30)])  # scores behind do not count
    return tmp_path


def make(
    settings: str = "", sample: str = ALL, phase: int = TEST, source: str = "voc", n_top: int = 6, seed: int = 3
) -> One:
    return One(
        f'type: "RegionData" roi_data_param {{ source: "{source}" region_file: "regions.h5" scale: 40 {settings} }} '
        f"proposal_target_param {{ num_classes: 21 {sample} }}",
        n_top=n_top, phase=phase, dtype=np.float64, seed=seed,
    )  # fmt: skip


def images(phase: int, settings: str = "use_difficult: true") -> Iterator[tuple[One, One, int]]:
    """Passes of the layer, and of RoIData with the same settings and the same order; the number of passes."""
    one = make(settings, phase=phase)
    other = One(f'type: "RoIData" roi_data_param {{ source: "voc" scale: 40 {settings} }}', n_top=3, phase=phase,
                dtype=np.float64)  # fmt: skip
    other.layer.set_identity(one.layer.identity)
    for i in range(len(SIZES)):
        one.forward()
        other.forward()
        yield one, other, i


def test_values_against_proposal_target() -> None:
    """The regions, sampled before the scaling, are those that ProposalTarget gives for the image as it is."""
    for one, other, i in images(TEST):
        height, width = SIZES[i]
        np.testing.assert_array_equal(one.top[0].data, other.top[0].data)
        factor = other.top[1].data[0, 2]
        true = other.top[2].data.copy()
        true[:, :4] /= factor
        rois = np.clip(ROIS[i], 0, np.array([width, height, width, height]) - 1)
        target = One(
            f'type: "ProposalTarget" proposal_target_param {{ num_classes: 21 {ALL} }}',
            np.pad(rois, ((0, 0), (1, 0))), true, n_top=5, dtype=np.float64,
        )  # fmt: skip
        expected = [np.array(target.forward()), *(blob.data for blob in target.top[1:])]
        expected[0] *= [0, *[factor] * 4]
        for found, wanted in zip(one.top[1:], expected, strict=True):
            np.testing.assert_allclose(found.data, wanted, atol=1e-5)
        assert set(one.top[2].data.tolist()) - {0} == {LABELS[kind] for kind, _ in OBJECTS[i]}


def test_regions_are_flipped_with_the_image() -> None:
    """The file holds the true boxes, which are added once more: both lie where RoIData has them, without an offset."""
    with h5py.File("regions.h5", "w") as file:
        for i, objects in enumerate(OBJECTS):
            file[str(i)] = np.array([box for _, box in objects], float).reshape(-1, 4) - [0, 0, 1, 1]
    flipped = set()
    for one, other, _ in images(TRAIN, ""):
        boxes = other.top[2].data
        rois, labels, targets = (one.top[i].data for i in (1, 2, 3))
        for box in boxes:
            at = np.flatnonzero(np.abs(rois[:, 1:] - box[:4]).max(axis=1) < 1e-3)
            assert labels[at].tolist() == [box[4], box[4]]
            np.testing.assert_allclose(targets[at], 0, atol=1e-6)
        flipped.add(tuple(np.round(boxes[0, [0, 2]], 2)))
    assert len(flipped) == 4  # two images, each both ways


def test_sizes_of_samples() -> None:
    one = make("use_difficult: true", "batch_size: 8 fg_fraction: 0.25 bg_thresh_lo: 0 bg_thresh_hi: 0.5", n_top=3)
    for _ in SIZES:
        one.forward()
        assert one.top[1].shape == (8, 5)
        assert (one.top[2].data > 0).sum() <= 2


def test_sampling_is_seeded_and_resumes() -> None:
    one, other = (make(sample="batch_size: 6 bg_thresh_lo: 0", phase=TRAIN, seed=seed) for seed in (3, 99))
    for _ in range(5):
        one.forward()
    goes_on_as(one, other)


def test_records_of_a_database_go_by_their_keys() -> None:
    keys = [open_source("lmdb", pb.DataParameter.LMDB).key(i).decode() for i in range(4)]
    assert keys == ["0", "1", "2", "3"]
    one, other = make("use_difficult: true"), make("use_difficult: true", source="lmdb")
    for _ in keys:
        one.forward()
        other.forward()
        for a, b in zip(one.top, other.top, strict=True):
            np.testing.assert_allclose(a.data, b.data, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, r'"regions.h5" has no regions of image "2"'),
        (np.zeros((3, 3)), r'regions of image "2": expected rows x1, y1, x2, y2, got shape \(3, 3\)'),
        ([[5.0, 5, 2, 9]], r'regions of image "2": one ends before it begins'),
        ([[5.0, 5, np.nan, 9]], r"or is not finite"),
        (b"text", r'regions of image "2": .*text'),
    ],
)
def test_damaged_regions(rows: object, message: str) -> None:
    with h5py.File("regions.h5", "a") as file:
        del file["2"]
        if rows is not None:
            file["2"] = rows
    one = make()
    one.forward()
    one.forward()
    with pytest.raises(DataError, match=message) as raised:
        one.forward()
    assert 'layer "' in str(raised.value)


def test_errors(folder: Path) -> None:
    with pytest.raises(PrototxtError, match=r"needs a region_file; .*DATA: {region_file"):
        One('type: "RegionData" roi_data_param { source: "voc" }', n_top=6)
    with pytest.raises(PrototxtError, match="num_classes must be at least 2"):
        One('type: "RegionData" roi_data_param { source: "voc" region_file: "regions.h5" }', n_top=6)
    with pytest.raises(PrototxtError, match=r"gives 3 tops, or 6 .*; the prototxt names 4"):
        make(n_top=4)
    (folder / "regions.h5").write_text("no HDF5")
    with pytest.raises(DataError, match=r"regions\.h5: not an HDF5 file"):
        make()


def test_an_image_without_regions_in_test() -> None:
    with h5py.File("regions.h5", "a") as file:
        del file["2"]
        file["2"] = np.zeros((0, 4))
    one = make()
    for _ in range(3):
        one.forward()
    assert one.top[2].data.tolist() == [0]
    np.testing.assert_allclose(one.top[1].data, [[0, 0, 0, 38, 38]])  # image 2 has 20 x 20 pixels


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_fast_rcnn_learns(engine: str) -> None:
    """A small net of Fast R-CNN's structure gets better at telling objects from background."""

    def learned(kind: str, name: str, bottom: str, settings: str) -> str:
        field = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}[kind]
        return (f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {field} {{ {settings} '
                f'weight_filler {{ type: "xavier" }} }} }}')  # fmt: skip

    text = f"""
        layer {{ name: "d" type: "RegionData" top: "data" top: "rois" top: "labels" top: "t" top: "i" top: "o"
                 roi_data_param {{ source: "voc" region_file: "regions.h5" scale: 24 }}
                 proposal_target_param {{ num_classes: 21 batch_size: 16 bg_thresh_lo: 0 normalize_targets: true }} }}
        layer {{ name: "s" type: "Power" bottom: "data" top: "s" power_param {{ scale: 0.02 }} }}
        {learned("Convolution", "c", "s", "num_output: 8 kernel_size: 3 pad: 1 stride: 2")}
        layer {{ name: "r" type: "ReLU" bottom: "c" top: "c" }}
        layer {{ name: "p" type: "ROIPooling" bottom: "c" bottom: "rois" top: "p"
                 roi_pooling_param {{ pooled_w: 3 pooled_h: 3 spatial_scale: 0.5 }} }}
        {learned("InnerProduct", "cls", "p", "num_output: 21")}
        {learned("InnerProduct", "box", "p", "num_output: 84")}
        layer {{ name: "lc" type: "SoftmaxWithLoss" bottom: "cls" bottom: "labels" top: "lc" }}
        layer {{ name: "lb" type: "SmoothL1Loss" bottom: "box" bottom: "t" bottom: "i" bottom: "o" top: "lb" }}
    """
    param = pb.SolverParameter(base_lr=0.02, lr_policy="fixed", momentum=0.9, random_seed=3)
    param.net_param.CopyFrom(parse_text(text, pb.NetParameter()))
    solver = dragon.get_solver(param, engine=engine)
    losses = []
    for _ in range(30):
        solver.step(1)
        losses.append(sum(float(solver.net.blobs[name].data) for name in ("lc", "lb")))
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) / 2
