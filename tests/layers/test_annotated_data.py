"""AnnotatedData: tops, order, resuming, threads, settings that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.data import LmdbReader, encode_datum, write_lmdb, write_mean
from dragon.data.detection import reader
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.share import ALONE, Share
from tests.data.detection.helpers import write_scenes
from tests.data.detection.test_transform import check_boxes
from tests.layers.helpers import One, goes_on_as

SSD = """
    mirror: true mean_value: [104, 117, 123]
    resize_param { resize_mode: WARP height: 50 width: 50 interp_mode: [LINEAR, AREA, NEAREST, CUBIC, LANCZOS4] }
    emit_constraint { emit_type: CENTER }
    distort_param { brightness_prob: 0.5 brightness_delta: 32 contrast_prob: 0.5 contrast_lower: 0.5 contrast_upper: 1.5
                    hue_prob: 0.5 hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.5 saturation_upper: 1.5
                    random_order_prob: 0.2 }
    expand_param { prob: 0.5 max_expand_ratio: 4 }
    noise_param { prob: 0.3 saltpepper: true saltpepper_param { fraction: 0.05 value: 255 } }
"""
SAMPLERS = "batch_sampler { max_sample: 1 max_trials: 1 } " + " ".join(
    "batch_sampler { sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } "
    f"sample_constraint {{ min_jaccard_overlap: {overlap} }} max_sample: 1 max_trials: 50 }}"
    for overlap in (0.1, 0.5, 0.9)
)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "scenes_lmdb")


def data(
    opened: list[One],
    source: object,
    transform: str = "",
    annotated: str = "",
    batch: int = 3,
    more: str = "",
    **options: object,
) -> One:
    text = (
        f'name: "d" type: "AnnotatedData" transform_param {{ {transform} }} annotated_data_param {{ {annotated} }} '
        f'data_param {{ source: "{source}" backend: LMDB batch_size: {batch} {more} }}'
    )
    one = One(text, **{"n_top": 2, **options})  # type: ignore[arg-type]
    opened.append(one)
    return one


def test_tops(scenes: Path, opened: list[One]) -> None:
    """Records 0 to 2 have 1, 2 and no boxes, records 3 to 5 have 1, 2 and 3."""
    one = data(opened, scenes)
    assert [blob.shape for blob in one.top] == [(3, 3, 60, 80), (1, 1, 1, 8)]
    for counts in ([1, 2, 0], [1, 2, 3]):
        images = one.forward()
        rows = one.top[1].data[0, 0]
        assert rows.shape == (sum(counts), 8)
        assert rows[:, 0].tolist() == [float(i) for i, count in enumerate(counts) for _ in range(count)]
        for i, image in enumerate(images):
            mine = rows[rows[:, 0] == i][:, 1:].astype(float)
            if len(mine) == 1:  # others may hide each other
                check_boxes(image, mine, slack=1e-4)


def test_a_batch_without_boxes_has_one_row_of_minus_one(tmp_path: Path, opened: list[One]) -> None:
    source = write_scenes(tmp_path / "more", count=3)
    one = data(opened, source, batch=1)
    shapes = [(one.forward(), one.top[1].shape)[1] for _ in range(3)]
    assert shapes == [(1, 1, 1, 8), (1, 1, 2, 8), (1, 1, 1, 8)]
    assert (one.top[1].data == -1).all()


def test_labels_of_records_without_a_type(tmp_path: Path, opened: list[One]) -> None:
    image = np.zeros((3, 4, 4), np.uint8)
    records = [
        (f"{i}".encode(), pb.AnnotatedDatum(datum=pb.Datum.FromString(encode_datum(image, i))).SerializeToString())
        for i in range(4)
    ]
    write_lmdb(tmp_path / "plain", records)
    one = data(opened, tmp_path / "plain")
    one.forward()
    assert one.top[1].data.tolist() == [[[[0]]], [[[1]]], [[[2]]]]
    forced = data(opened, tmp_path / "plain", annotated="anno_type: BBOX")
    with pytest.raises(DataError, match="record 0 has no type"):
        forced.forward()


def test_one_top_is_enough(scenes: Path, opened: list[One]) -> None:
    assert data(opened, scenes, n_top=1).forward().shape == (3, 3, 60, 80)


def test_mean_and_scale(scenes: Path, opened: list[One]) -> None:
    plain = data(opened, scenes).forward()
    changed = data(opened, scenes, "mean_value: [10, 20, 30] scale: 0.5").forward()
    np.testing.assert_allclose(changed, (plain - np.reshape([10, 20, 30], (3, 1, 1))) * 0.5)


def test_a_mean_image_has_the_size_of_the_input(scenes: Path, tmp_path: Path, opened: list[One]) -> None:
    """It is taken off in the place where the pixel ends, mirrored or not."""
    mean = np.random.default_rng(1).uniform(0, 255, (3, 40, 30)).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    text = "mirror: true resize_param { height: 40 width: 30 }"
    plain = data(opened, scenes, text).forward()
    changed = data(opened, scenes, f'{text} mean_file: "{tmp_path}/mean.binaryproto"').forward()
    np.testing.assert_allclose(changed, plain - mean, rtol=1e-6)
    with pytest.raises(PrototxtError, match="fills the canvas of expand_param with mean_value"):
        data(opened, scenes, f'{text} expand_param {{ max_expand_ratio: 2 }} mean_file: "{tmp_path}/mean.binaryproto"')


def test_in_test_a_crop_is_central_and_images_keep_their_sizes(tmp_path: Path, opened: list[One]) -> None:
    source = write_scenes(tmp_path / "a")
    one = data(opened, source, "crop_h: 20 crop_w: 40", phase=TEST)
    images = one.forward()
    np.testing.assert_array_equal(images, data(opened, source, phase=TEST).forward()[:, :, 20:40, 20:60])
    fitted = data(
        opened, source, "resize_param { resize_mode: FIT_SMALL_SIZE height: 30 width: 30 }", batch=1, phase=TEST
    )
    assert fitted.forward().shape == (1, 3, 30, 40)


def test_the_same_after_a_resume(scenes: Path, opened: list[One]) -> None:
    one, other = (data(opened, scenes, SSD, SAMPLERS, more="shuffle: true", seed=seed) for seed in (3, 99))
    for _ in range(3):
        one.forward()
    goes_on_as(one, other)


def test_the_same_on_any_number_of_threads(scenes: Path, opened: list[One], monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    for cores in (1, 8):
        monkeypatch.setattr("dragon.data.detection.reader.os.cpu_count", lambda cores=cores: cores)
        one = data(opened, scenes, SSD, SAMPLERS, batch=5)
        batches.append([(one.forward().copy(), one.top[1].data.copy()) for _ in range(4)])
        used = one.layer.batches._producer._threads  # type: ignore[attr-defined]
        assert used == {1: 1, 8: reader._MOST_THREADS}[cores]
        one.layer.close()
    for first, second in zip(*batches, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def test_images_differ_from_epoch_to_epoch_and_from_seed_to_seed(scenes: Path, opened: list[One]) -> None:
    one, other = (data(opened, scenes, SSD, SAMPLERS, batch=7, seed=seed) for seed in (1, 2))
    first, second = one.forward().copy(), one.forward().copy()
    assert (first != second).any()
    assert (first != other.forward()).any()


def test_a_batch_of_several_sizes(scenes: Path, opened: list[One]) -> None:
    one = data(opened, scenes, annotated="batch_sampler { sampler { min_scale: 0.3 max_scale: 0.6 } max_sample: 1 }")
    with pytest.raises(DataError, match="images of different sizes need a crop_size, or batch_size 1"):
        one.forward()


def test_in_a_net_the_shapes_are_those_of_the_next_batch(scenes: Path) -> None:
    """The net is reshaped before each run, so that layers behind see as many rows as there are boxes."""
    text = f"""
        layer {{ name: "d" type: "AnnotatedData" top: "data" top: "label"
                 data_param {{ source: "{scenes}" backend: LMDB batch_size: 1 }} }}
        layer {{ name: "twice" type: "Power" bottom: "label" top: "twice" power_param {{ scale: 2 }} }}
    """
    for engine in ("numpy", "onednn"):
        with dragon.Net(parse_text(text, pb.NetParameter()), phase=TRAIN, engine=engine) as net:
            for boxes in (1, 2, 1, 1, 2, 3, 1, 1, 2):
                net.forward()
                assert net.blobs["twice"].shape == (1, 1, boxes, 8)
                np.testing.assert_allclose(net.blobs["twice"].data, 2 * net.blobs["label"].data)


def test_records_of_another_kind(tmp_path: Path, opened: list[One]) -> None:
    write_lmdb(tmp_path / "plain", [(b"0", encode_datum(np.zeros((3, 4, 4), np.uint8), 1))])
    with pytest.raises(DataError, match="the layer type Data reads plain Datums"):
        data(opened, tmp_path / "plain")


def test_the_label_map_has_to_be_there(scenes: Path, tmp_path: Path, opened: list[One]) -> None:
    with pytest.raises(DataError, match='label map "nowhere" does not exist'):
        data(opened, scenes, annotated='label_map_file: "nowhere"')
    (tmp_path / "map").write_text('item { nme: "a" }')
    with pytest.raises(PrototxtError, match='has no field "nme"'):
        data(opened, scenes, annotated=f'label_map_file: "{tmp_path}/map"')


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("cutout: 3", "cannot apply cutout of transform_param to images with boxes"),
        ("crop_size: 3 crop_h: 2 crop_w: 4", "give one of crop_size"),
        ("crop_h: 2", "a crop needs a height and a width, got 2 and 0"),
        ("crop_size: 100", "a crop of 100 x 100 is larger than the image, 60 x 80"),
        ("noise_param { convert_to_lab: true }", "noise_param has convert_to_lab, which is not offered"),
        ("mean_value: [1, 2]", "has 2 mean_value, expected 1 or 3"),
        ("scale_factors: 2", "which only ImageSegData and DenseImageData follow"),
    ],
)
def test_refused(scenes: Path, opened: list[One], transform: str, words: str) -> None:
    with pytest.raises((DataError, PrototxtError), match=words):
        data(opened, scenes, transform)
    with pytest.raises(PrototxtError, match="needs a source"):
        data(opened, "")
    with pytest.raises(PrototxtError, match="batch_size of at least 1"):
        data(opened, scenes, batch=0)


def test_rand_skip_begins_elsewhere(scenes: Path, opened: list[One]) -> None:
    with LmdbReader(scenes) as records:
        assert len(records) == 7
    first = data(opened, scenes, batch=1).forward().tobytes()
    begun = {
        data(opened, scenes, batch=1, more="rand_skip: 7", seed=seed).forward().tobytes() != first for seed in range(4)
    }
    assert True in begun


SIZES = "resize_param { height: 24 width: 32 prob: 0.5 } resize_param { height: 48 width: 32 prob: 0.5 }"


@pytest.mark.parametrize(("more", "difficult"), [("", True), ("train_diffcult: false", False)])
def test_labels_of_mobilenet_yolo(scenes: Path, opened: list[One], more: str, difficult: bool) -> None:
    """With yolo_data_type: 1 an image has 300 rows: class from 0, centre, size."""
    whole = f"yolo_data_type: 1 yolo_data_jitter: 0 {more}"
    one, plain = data(opened, scenes, annotated=whole), data(opened, scenes)
    assert one.top[1].shape == (3, 1, 300, 5)
    seen = hard = 0
    for _ in range(3):
        np.testing.assert_array_equal(one.forward(), plain.forward())
        rows = plain.top[1].data[0, 0]
        for item, found in enumerate(one.top[1].data[:, 0]):
            mine = rows[(rows[:, 0] == item) & ((rows[:, 7] == 0) | difficult)]
            hard += int(mine[:, 7].sum())
            seen += len(mine)
            low, high = mine[:, 3:5], mine[:, 5:7]
            expected = np.column_stack([mine[:, 1] - 1, (low + high) / 2, high - low])
            np.testing.assert_allclose(found[: len(mine)], expected, rtol=1e-6)
            assert not found[len(mine) :].any()
    assert seen
    assert bool(hard) == difficult
    with pytest.raises(PrototxtError, match="yolo_data_type must be 0 or 1, got 2"):
        data(opened, scenes, annotated="yolo_data_type: 2")


def test_samplers_come_before_windows_of_yolo(scenes: Path, opened: list[One]) -> None:
    """As in MobileNet-YOLO's newest form; the same windows as without yolo_data_type."""
    yolo, ssd = (data(opened, scenes, SSD, f"{more} {SAMPLERS}") for more in ("yolo_data_type: 1", ""))
    for _ in range(3):
        np.testing.assert_array_equal(yolo.forward(), ssd.forward())


def test_too_many_boxes_for_yolo() -> None:
    """Where difficult boxes are left out they do not count."""
    rows = np.tile([1, 0, 0.1, 0.1, 0.5, 0.5, 0], (301, 1))
    with pytest.raises(DataError, match="an image has 301 boxes, yolo_data_type: 1 takes at most 300"):
        reader.yolo_rows([rows])
    rows[0, 6] = 1
    assert reader.yolo_rows([rows], difficult=False)[0, 0, 299].tolist() == pytest.approx([0, 0.3, 0.3, 0.4, 0.4])


def test_batches_of_several_sizes_and_windows_of_yolo_resume(scenes: Path, opened: list[One]) -> None:
    one, other = (data(opened, scenes, f"mirror: true {SIZES}", "yolo_data_type: 1", seed=seed) for seed in (3, 99))
    assert {one.forward().shape for _ in range(8)} == {(3, 3, 24, 32), (3, 3, 48, 32)}
    goes_on_as(one, other)


def test_a_net_takes_batches_of_several_sizes(scenes: Path) -> None:
    text = f"""
        layer {{ name: "d" type: "AnnotatedData" top: "data" top: "label" transform_param {{ {SIZES} }}
                 data_param {{ source: "{scenes}" backend: LMDB batch_size: 2 }}
                 annotated_data_param {{ yolo_data_type: 1 }} }}
        layer {{ name: "p" type: "Pooling" bottom: "data" top: "p"
                 pooling_param {{ pool: MAX kernel_size: 8 stride: 8 }} }}
    """
    for engine in ("numpy", "onednn"):
        with dragon.Net(parse_text(text, pb.NetParameter()), phase=TRAIN, engine=engine, seed=1) as net:
            shapes = {net.forward()["p"].shape for _ in range(8)}
            assert shapes == {(2, 3, 3, 4), (2, 3, 6, 4)}


@pytest.mark.parametrize(("transform", "annotated"), [(SSD, SAMPLERS), (SIZES, "")])
def test_each_rank_has_its_rows_with_the_draws_of_one_process(scenes: Path, transform: str, annotated: str) -> None:
    def net(batch: int, share: Share = ALONE) -> Net:
        text = f"""layer {{ name: "d" type: "AnnotatedData" top: "x" top: "l" transform_param {{ {transform} }}
          annotated_data_param {{ {annotated} }}
          data_param {{ source: "{scenes}" backend: LMDB batch_size: {batch} }} }}"""
        return Net(parse_text(text, pb.NetParameter()), TRAIN, engine="numpy", seed=1, share=share)

    with net(6) as alone, net(6, Share(0, 3, True)) as first, net(2, Share(1, 3)) as second:
        for _ in range(4):
            whole, one, two = (each.forward() for each in (alone, first, second))
            np.testing.assert_array_equal(whole["x"][:4], np.concatenate([one["x"], two["x"]]))
            boxes, ones, twos = (each["l"][0, 0] for each in (whole, one, two))
            np.testing.assert_array_equal(boxes[boxes[:, 0] < 2], ones[ones[:, 0] >= 0])
            np.testing.assert_array_equal(boxes[(boxes[:, 0] >= 2) & (boxes[:, 0] < 4), 1:], twos[twos[:, 0] >= 0, 1:])


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        ("resize_param { height: 2147483647 width: 2147483647 }", "resized image: shape"),
        ("resize_param { resize_mode: FIT_SMALL_SIZE height: 2147483647 width: 2147483647 }", "resized image: shape"),
        ("expand_param { max_expand_ratio: 1e12 }", r"canvas of max_expand_ratio 1e\+12: shape"),
    ],
)
def test_a_size_that_no_memory_holds(scenes: Path, opened: list[One], transform: str, what: str) -> None:
    with pytest.raises(ShapeError, match=rf'layer "d" \(AnnotatedData\): .*{what} .* takes .* this machine has'):
        data(opened, scenes, transform, batch=1).forward()
