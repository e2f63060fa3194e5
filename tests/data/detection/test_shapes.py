"""The drawn set: boxes that fit what is seen, and three forms that say the same."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from dragon.data import Color, LmdbReader, dataset_label
from dragon.data.detection.geometry import BOX
from dragon.data.detection.record import Annotated, decode_annotated
from dragon.data.detection.shapes import CLASSES, _mask, draw_shapes, write_shapes
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message

TRAIN, TEST = 12, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("drawn") / "shapes", train=TRAIN, test=TEST).folder


def records(folder: Path, part: str) -> list[Annotated]:
    with LmdbReader(folder / f"shapes_{part}_lmdb") as reader:
        return [decode_annotated(record, Color.AS_STORED, "a record") for record in reader.read(len(reader))]


@pytest.mark.parametrize("name", CLASSES)
def test_a_mask_has_the_area_of_its_shape(name: str) -> None:
    """With a radius of 20: disc, ring of 12 to 22, square of half side 17.6, cross with arms 6 wide to each side."""
    mask = _mask(name, (100, 100), np.array([50.0, 48.0]), 20, 0)
    areas = {
        "disc": np.pi * 20**2, "ring": np.pi * (22**2 - 12**2), "square": (2 * 17.6) ** 2,
        "cross": 2 * 40 * 12 - 12**2, "triangle": None,
    }  # fmt: skip
    if areas[name] is not None:
        assert mask.sum() == pytest.approx(areas[name], rel=0.03)
    columns = np.flatnonzero((mask >= 0.5).any(axis=0))
    assert columns[0] + columns[-1] + 1 == pytest.approx(2 * 48, abs=1.01)


def test_pixels_change_at_the_box() -> None:
    """Inside the box of a single clear object its colour differs from what is around the box."""
    checked = 0
    for picture in draw_shapes(60, 3, 0):
        if len(picture.objects) != 1 or picture.objects[0].difficult or picture.objects[0].kind == "ring":
            continue
        x0, y0, x1, y1 = map(int, picture.objects[0].box)
        middle = picture.image[:, (y0 + y1) // 2, (x0 + x1) // 2].astype(int)
        ring = np.pad(np.ones((y1 - y0, x1 - x0), bool), 2)
        outside = np.ones(picture.image.shape[1:], bool)
        outside[y0:y1, x0:x1] = False
        rest = picture.image[:, outside].astype(int)
        distance = np.abs(rest - middle[:, None]).mean(axis=0)
        assert np.median(distance) > 25
        assert ring.any()
        checked += 1
    assert checked >= 8


def test_what_is_drawn() -> None:
    pictures = list(draw_shapes(150, 1, 0))
    objects = [one for picture in pictures for one in picture.objects]
    assert {one.kind for one in objects} == set(CLASSES)
    assert {picture.image.shape[1:] for picture in pictures} == {(h, w) for h in (96, 112, 128) for w in (96, 112, 128)}
    assert 0.04 < np.mean([one.difficult for one in objects]) < 0.25
    sizes = [max(one.box[2] - one.box[0], one.box[3] - one.box[1]) for one in objects]
    assert min(sizes) < 16
    assert max(sizes) > 60
    for picture in pictures:
        _, height, width = picture.image.shape
        for one in picture.objects:
            assert 0 <= one.box[0] < one.box[2] <= width
            assert 0 <= one.box[1] < one.box[3] <= height
            assert all(value == int(value) for value in one.box)


def test_a_seed_decides_all() -> None:
    def drawn(seed: int, part: int) -> list[bytes]:
        return [picture.image.tobytes() + repr(picture.objects).encode() for picture in draw_shapes(3, seed, part)]

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(2, 0)
    assert drawn(1, 0) != drawn(1, 1)


def test_three_forms_say_the_same(folder: Path) -> None:
    label_map = read_message(str(folder / "labelmap.prototxt"), pb.LabelMap())
    names = {item.label: item.name for item in label_map.item}
    assert names == {0: "none_of_the_above", **dict(enumerate(CLASSES, 1))}
    first = 1
    for part, count in (("train", TRAIN), ("test", TEST)):
        coco = json.loads((folder / "coco" / f"instances_{part}.json").read_text())
        listed = (folder / "voc/ImageSets/Main" / f"{part}.txt").read_text().split()
        sizes = (folder / f"{part}_name_size.txt").read_text().splitlines()
        found = records(folder, part)
        assert len(found) == count == len(listed) == len(sizes) == len(coco["images"])
        for record, name, size, image in zip(found, listed, sizes, coco["images"], strict=True):
            assert name == f"{first:06d}"
            first += 1
            _, height, width = record.image.shape
            assert size == f"{name} {height} {width}"
            assert (image["file_name"], image["height"], image["width"]) == (f"{name}.jpg", height, width)
            assert record.rows is not None
            scaled = np.rint(record.rows[:, BOX] * [width, height, width, height]).astype(int)
            mine = sorted(
                (names[int(row[0])], *box, bool(row[6])) for row, box in zip(record.rows, scaled.tolist(), strict=True)
            )
            voc = ET.parse(folder / "voc/Annotations" / f"{name}.xml").getroot()
            assert mine == sorted(
                (
                    str(one.findtext("name")),
                    *(
                        int(str(one.findtext(f"bndbox/{corner}"))) - (corner in ("xmin", "ymin"))
                        for corner in ("xmin", "ymin", "xmax", "ymax")
                    ),
                    one.findtext("difficult") == "1",
                )
                for one in voc.findall("object")
            )
            assert mine == sorted(
                (names[one["category_id"]], *(int(v) for v in (x, y, x + w, y + h)), bool(one["iscrowd"]))
                for one in coco["annotations"]
                if one["image_id"] == image["id"]
                for x, y, w, h in [one["bbox"]]
            )
            assert (folder / "voc/JPEGImages" / f"{name}.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_the_folder_is_described_and_kept(folder: Path) -> None:
    assert dataset_label(folder / "shapes_test_lmdb") == "shapes"
    assert not write_shapes(folder, train=TRAIN, test=TEST).written
    with pytest.raises(DataError, match="holds another dataset: train 12 there, 13 wanted"):
        write_shapes(folder, train=13, test=TEST)
    with pytest.raises(DataError, match="at least one image in each part"):
        write_shapes(folder, train=0)
