"""show-data: a picture of records, with boxes where they are and the colour of their class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.data import encode_datum, write_lmdb
from dragon.tools.common.box_pictures import class_colour
from tests.data.detection.helpers import GROUND, painted, record_of, rows_of_boxes
from tests.tools.conftest import Dragon

BOXES = [(8, 16, 40, 48), (32, 4, 60, 14)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An LMDB of two images of 64 x 64 pixels with boxes, and one of five plain Datums."""
    monkeypatch.chdir(tmp_path)
    record = record_of(painted(64, 64, BOXES), rows_of_boxes(64, 64, BOXES))
    empty = record_of(painted(64, 64, []), rows_of_boxes(64, 64, []))
    write_lmdb("boxes", [(b"0", record), (b"1", empty)])
    images = np.random.default_rng(1).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)
    write_lmdb("plain", [(b"%d" % i, encode_datum(image, i % 2)) for i, image in enumerate(images)])
    (tmp_path / "map").write_text('item { name: "a" label: 1 display_name: "apple" } item { name: "b" label: 2 }')
    return tmp_path


def test_boxes_are_drawn(dragon: Dragon) -> None:
    """An image is drawn 128 pixels wide, from (4, 4) on, so twice its size here."""
    result = dragon("show-data", "boxes", "out.png", "--label-map-file", "map")
    assert result.code == 0, result.err
    assert result.out == "out.png: 2 of 2 records, 2 boxes\n  apple 1, b 1\n"
    with PIL.Image.open("out.png") as picture:
        pixels = np.asarray(picture)
    for label, (x0, y0, x1, y1) in enumerate(BOXES, 1):
        left, top, right, bottom = 4 + 2 * x0, 4 + 2 * y0, 3 + 2 * x1, 3 + 2 * y1
        colour = class_colour(label)
        for line in (pixels[top, left : right + 1], pixels[bottom, left : right + 1], pixels[top : bottom + 1, left]):
            assert (line == colour).all()
        assert (pixels[top + 1, left + 10] == colour).all() == (label == 1)  # the difficult one is thin
    assert tuple(pixels[6, 6]) == GROUND[::-1]


def test_labels_of_one_name_are_kept_apart_by_number(dragon: Dragon, folder: Path) -> None:
    """Also a name that is the number of another label."""
    for one, two, texts in (
        ("crane", "crane", {"crane (1)": 1, "crane (2)": 1}),
        ("2", "", {"2 (1)": 1, "2 (2)": 1}),
        ("crane", "bird", {"crane": 1, "bird": 1}),
    ):
        (folder / "map").write_text(f'item {{ name: "{one}" label: 1 }} item {{ name: "{two}" label: 2 }}')
        result = dragon("show-data", "boxes", "out.png", "--label-map-file", "map", "--json")
        assert json.loads(result.out)["labels"] == texts


def test_a_name_that_another_label_has_with_its_number(dragon: Dragon, folder: Path) -> None:
    names = "crane", "crane (1)", "crane"
    (folder / "map").write_text(
        " ".join(f'item {{ name: "{name}" label: {number} }}' for number, name in enumerate(names, 1))
    )
    result = dragon("show-data", "boxes", "out.png", "--label-map-file", "map", "--json")
    assert json.loads(result.out)["labels"] == {"crane (1) (1)": 1, "crane (1) (2)": 1}


def test_plain_records_and_a_part_of_them(dragon: Dragon) -> None:
    result = dragon("show-data", "plain", "out.png", "--start", "1", "--count", "3", "--json")
    document = json.loads(result.out)
    assert document == {"picture": "out.png", "records": 3, "total": 5, "boxes": 0, "labels": {"0": 1, "1": 2}}
    with PIL.Image.open("out.png") as picture:
        assert picture.size == (2 * 132 + 4, 2 * 144 + 4)


def test_labels_that_floats_do_not_hold(dragon: Dragon) -> None:
    labels = [16777217, 2**31 - 1, -(2**31) + 1]
    image = np.zeros((1, 4, 4), np.uint8)
    write_lmdb("large", ((str(i).encode(), encode_datum(image, label)) for i, label in enumerate(labels)))
    result = dragon("show-data", "large", "large.png", "--json")
    assert json.loads(result.out)["labels"] == {str(label): 1 for label in labels}


def test_images_of_any_kind(dragon: Dragon) -> None:
    rng = np.random.default_rng(2)
    kinds = [
        rng.standard_normal((3, 9, 300)), np.full((2, 5, 5), np.nan), rng.integers(0, 256, (7, 4, 4), dtype=np.uint8),
        rng.integers(0, 256, (4, 1, 1), dtype=np.uint8), np.full((3, 3, 3), 2.5),
    ]  # fmt: skip
    write_lmdb("kinds", [(b"%d" % i, encode_datum(image, i)) for i, image in enumerate(kinds)])
    result = dragon("show-data", "kinds", "out.png")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("none out.png", '"none"'), ("boxes out.png --start 2", '"boxes" has 2 records, --start is 2'),
        ("boxes out.png --count 500", "--count is at most 400"), ("boxes no/where.png", "no/where.png"),
        ("boxes out.png --label-map-file nothing", "nothing"),
        ("boxes map.png --label-map-file map.png", "would be overwritten"),
        ("boxes out.jpg", "out.jpg: the name must end in .png, not .jpg"),
        ("boxes out", "out: the name must end in .png"),
        ("broken out.png", '"broken": record 0 is not a Datum'),
    ],
)  # fmt: skip
def test_refused(dragon: Dragon, args: str, words: str) -> None:
    write_lmdb("broken", [(b"0", b"\xff\xff\xff")])
    shutil.copy("map", "map.png")
    result = dragon("show-data", *args.split())
    assert result.code == 2
    assert words in result.error
    assert not any(Path(name).exists() for name in ("out.png", "out.jpg", "out"))
