"""RoIData: a VOC folder and a database, scaling, flipping, order and resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN, Context
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One, goes_on_as
from tests.layers.rcnn_images import LABELS, OBJECTS, SIZES, write_images
from tests.layers.rcnn_nets import python

MEAN = np.array([102.9801, 115.9465, 122.7717]).reshape(3, 1, 1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path)
    return tmp_path


def make(settings: str, phase: int = TRAIN, source: str = "voc", seed: int = 3) -> One:
    return One(f'type: "RoIData" roi_data_param {{ source: "{source}" {settings} }}', n_top=3, phase=phase,
               dtype=np.float64, seed=seed)  # fmt: skip


@pytest.mark.parametrize("source", ["voc", "lmdb"])
def test_values(source: str) -> None:
    one = make("scale: 20 use_difficult: true", TEST, source)
    for i, ((height, width), objects) in enumerate(zip(SIZES, OBJECTS, strict=True)):
        data = one.forward()
        factor = 20 / min(height, width)
        shape = (1, 3, round(height * factor), round(width * factor))
        assert data.shape == shape
        np.testing.assert_allclose(one.top[1].data, [[*shape[2:], factor]])
        expected = [[b[0], b[1], b[2] - 1, b[3] - 1] for _, b in objects]
        boxes = one.top[2].data
        assert boxes.shape == (len(objects), 5)
        np.testing.assert_allclose(boxes[:, :4], np.reshape(expected, (-1, 4)) * factor, atol=1e-4)
        assert boxes[:, 4].tolist() == [LABELS[kind] for kind, _ in objects]
        if factor == 1:
            pixels = np.asarray(PIL.Image.open(f"voc/JPEGImages/{i}.png"), float)[:, :, ::-1].transpose(2, 0, 1)
            np.testing.assert_allclose(data[0], pixels - MEAN, atol=1e-4)


def test_the_long_side_is_limited() -> None:
    one = make("scale: 40 max_size: 45", TEST)
    one.forward()
    assert one.top[0].shape == (1, 3, 30, 45)
    assert one.top[1].data[0, 2] == pytest.approx(1.5)


def test_training_takes_all_images_with_boxes_also_flipped() -> None:
    one = make("scale: 20")
    seen: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for _ in range(4):  # images 0 and 1: the others have no box, or a difficult one
        data = one.forward()
        seen.setdefault(data.shape, []).append((data.copy(), one.top[2].data.copy()))
    assert sorted(map(len, seen.values())) == [2, 2]
    for (a, boxes), (b, flipped) in seen.values():
        np.testing.assert_allclose(a[..., ::-1], b, atol=1e-3)
        assert not np.array_equal(boxes, flipped)
        np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], flipped[:, 2] - flipped[:, 0], atol=1e-4)


def test_orders_and_scales_are_seeded_and_resume() -> None:
    settings = "scale: 20 scale: 24 scale: 28"
    one, other = make(settings), make(settings, seed=99)
    lengths = [min(one.forward().shape[2:]) for _ in range(8)]
    assert len(set(lengths)) > 1
    goes_on_as(one, other)


def test_the_first_epoch_resumes() -> None:
    """Its order is known from the setup, which has another seed."""
    one, other = make("scale: 20"), make("scale: 20", seed=99)
    one.forward()
    assert int(one.layer.state()["position"]) < 3  # of four images, of which one has no box, and their mirror images
    goes_on_as(one, other)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_training_goes_on_bit_for_bit(steps: int) -> None:
    """In the first epoch and in a later one, by a solver that was made with another seed."""

    def solver(seed: int) -> dragon.Solver:
        net = """
        layer { name: "d" type: "RoIData" top: "data" top: "im_info" top: "gt"
          roi_data_param { source: "voc" scale: 20 scale: 28 } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
          convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
        layer { name: "gone" type: "Silence" bottom: "im_info" bottom: "gt" }
        layer { name: "loss" type: "Reduction" bottom: "c" top: "loss" loss_weight: 1e-3
          reduction_param { operation: SUMSQ } }"""
        param = pb.SolverParameter(base_lr=1e-9, lr_policy="fixed", momentum=0.9, max_iter=100, snapshot_prefix="snap")
        param.net_param.CopyFrom(parse_text(net, pb.NetParameter()))
        return dragon.Solver(param, engine="numpy", seed=seed)

    def images(made: dragon.Solver) -> list[tuple[float, list[float]]]:
        found = []
        for _ in range(6):
            loss = made.step(1)
            found.append((loss, made.net.blobs["data"].data.ravel().tolist()))
        return found

    first, second = solver(3), solver(99)
    first.step(steps)
    state = first.snapshot()
    second.restore(state)
    assert images(second) == images(first)


def test_as_py_faster_rcnn_names_it(folder: Path) -> None:
    (folder / "rcnn.yml").write_text("TRAIN: {SCALES: [10], USE_FLIPPED: False}\nDATA: {source: voc}\n")
    text = python("d", "roi_data_layer.layer", "RoIDataLayer", "", "data im_info gt_boxes", "'num_classes': 21")
    inner = text[text.index("{") + 1 : text.rindex("}")]
    one = One(inner, n_top=3, context=Context(folder=folder, allow_python=False))
    assert min(one.forward().shape[2:]) == 10
    assert one.layer.type == "RoIData"


def test_errors(folder: Path) -> None:
    with pytest.raises(PrototxtError, match="needs a source"):
        One('type: "RoIData"', n_top=3)
    with pytest.raises(PrototxtError, match="region_file is read by type RegionData"):
        make('region_file: "regions.h5"')
    with pytest.raises(DataError, match=r"has no ImageSets/Main/val\.txt; it has trainval"):
        make('image_set: "val"')
    with pytest.raises(DataError, match="is neither a folder of VOC"):
        make("", source=".")
    with pytest.raises(DataError, match="a box has class 12, expected 1 to 8"):
        make("num_classes: 9", TEST)
    (folder / "map.prototxt").write_text('item { name: "bird" label: 1 }')
    with pytest.raises(DataError, match='class "cat" is not in the label map'):
        make('label_map_file: "map.prototxt"', TEST)
    (folder / "voc/ImageSets/Main/empty.txt").write_text("2\n")
    with pytest.raises(DataError, match='no image of "voc" has a box'):
        make('image_set: "empty"')


def test_images_are_found_by_their_names_and_named(folder: Path) -> None:
    """Also where a name has characters of patterns."""
    voc = folder / "voc"
    (voc / "ImageSets/Main/odd.txt").write_text("a[1]\n")
    shutil.copy(next(voc.glob("JPEGImages/1.*")), voc / "JPEGImages" / "a[1].png")
    shutil.copy(voc / "Annotations/1.xml", voc / "Annotations/a[1].xml")
    make('image_set: "odd"', TEST).forward()
    (voc / "JPEGImages" / "a[1].png").write_text("damaged")
    with pytest.raises(DataError, match=r'image "voc/JPEGImages/a\[1\]\.png": the encoded image cannot be read'):
        make('image_set: "odd"', TEST).forward()


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_readers_get_the_boxes_of_each_image(engine: str) -> None:
    """The number of boxes changes from image to image, while the size does not, and two layers read them."""
    for i in range(4):
        PIL.Image.new("RGB", (30, 20)).save(f"voc/JPEGImages/{i}.png")
    text = """
        layer { name: "d" type: "RoIData" top: "data" top: "im_info" top: "gt_boxes"
                roi_data_param { source: "voc" scale: 20 use_difficult: true } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                convolution_param { num_output: 2 kernel_size: 3 stride: 4 weight_filler { type: "msra" } } }
        layer { name: "a" type: "AnchorTarget" bottom: "c" bottom: "gt_boxes" bottom: "im_info"
                top: "l" top: "t" top: "i" top: "o" anchor_target_param { feat_stride: 4 base_size: 4 scale: 1 } }
        layer { name: "r" type: "DummyData" top: "r"
                dummy_data_param { shape { dim: 1 dim: 5 } data_filler { value: 0 } } }
        layer { name: "p" type: "ProposalTarget" bottom: "r" bottom: "gt_boxes" top: "rois" top: "labels" top: "x"
                top: "y" top: "z" proposal_target_param { num_classes: 21 batch_size: -1 } }
    """
    net = dragon.Net(parse_text(text, pb.NetParameter()), phase=TEST, engine=engine)
    for objects in OBJECTS * 2:
        net.forward()
        assert net.blobs["gt_boxes"].shape == (len(objects), 5)
        shown = sorted(label for label in net.blobs["labels"].data.tolist() if label)
        assert shown == sorted(LABELS[kind] for kind, _ in objects)


@pytest.mark.parametrize("source", ["voc", "lmdb"])
def test_labels_for_the_evaluation(source: str) -> None:
    """The fourth top has the rows of AnnotatedData for all boxes, also those that are difficult."""
    text = f'type: "RoIData" roi_data_param {{ source: "{source}" scale: 30 max_size: 35 }}'
    one = One(text, n_top=4, phase=TEST, dtype=np.float64)
    for i, ((height, width), objects) in enumerate(zip(SIZES, OBJECTS, strict=True)):
        one.forward()
        size = np.tile([width, height], 2)
        rows = [[0, LABELS[kind], 0, *(np.array(box) / size), i == 3] for kind, box in objects]
        np.testing.assert_allclose(one.top[3].data[0, 0], rows or [[-1] * 8], atol=1e-6)
        assert len(one.top[2].data) == (0 if i == 3 else len(objects))


def test_labels_are_flipped_with_the_image() -> None:
    one = One('type: "RoIData" roi_data_param { source: "voc" scale: 20 }', n_top=4, phase=TRAIN, dtype=np.float64)
    for _ in range(4):
        one.forward()
        size = np.tile(one.top[1].data[0, 1::-1], 2)
        boxes = one.top[3].data[0, 0, :, 3:7] * size - np.array([0, 0, 1, 1]) * one.top[1].data[0, 2]
        np.testing.assert_allclose(boxes, one.top[2].data[:, :4], atol=0.6)  # the sides are rounded to pixels
        assert one.top[3].data[0, 0, :, 1].tolist() == one.top[2].data[:, 4].tolist()


def test_a_size_that_no_memory_holds() -> None:
    with pytest.raises(ShapeError, match=r'layer "one" \(RoIData\): resized image: shape .* takes .* this machine has'):
        make("scale: 2147483647 max_size: 2147483647").forward()
