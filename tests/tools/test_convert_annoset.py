"""convert-annoset: lists of XML, JSON and text, folders of VOC, files of COCO, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from dragon.data import Color, LmdbReader
from dragon.data.detection.record import decode_annotated
from dragon.data.detection.shapes import write_shapes
from dragon.data.detection.voc import read_voc
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message
from tests.tools.conftest import Dragon

XML = """<annotation><size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>20</xmax><ymax>10</ymax></bndbox>
  <part><name>tail</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object>
<object><name>cat</name><bndbox><ymax>20</ymax><ymin>15</ymin><xmax>30</xmax><xmin>10</xmin></bndbox></object></annotation>"""
MAP = 'item { name: "none_of_the_above" label: 0 } item { name: "dog" label: 7 } item { name: "cat" label: 3 }'
ROWS = [
    (3, 0, 4 / 40, 5 / 20, 20 / 40, 10 / 20, False),
    (3, 1, 10 / 40, 15 / 20, 30 / 40, 20 / 20, False),
    (7, 0, 0, 0, 1, 1, True),
]  # by group, in the order of the labels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One image of 40 x 20 pixels as PNG and JPEG, and a label map."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "im").mkdir()
    image = PIL.Image.fromarray(np.full((20, 40, 3), (200, 10, 30), np.uint8))
    image.save("im/a.png")
    image.save("im/b.jpg")
    (tmp_path / "im/a.xml").write_text(XML)
    (tmp_path / "map.prototxt").write_text(MAP)
    (tmp_path / "list.txt").write_text("a.png a.xml\n")
    return tmp_path


def stored(db: str = "db") -> list[pb.AnnotatedDatum]:
    with LmdbReader(db) as reader:
        return [pb.AnnotatedDatum.FromString(record) for record in reader.read(len(reader))]


def rows(record: pb.AnnotatedDatum) -> list[tuple[Any, ...]]:
    return [
        (g.group_label, a.instance_id, b.xmin, b.ymin, b.xmax, b.ymax, b.difficult)
        for g in record.annotation_group
        for a in g.annotation
        for b in [a.bbox]
    ]


def close(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    np.testing.assert_array_equal(np.array(found, np.float32), np.array(expected, np.float32))


def test_a_list_of_xml(folder: Path, dragon: Dragon) -> None:
    """As SSD's scripts call the program: flags with underscores, a root with a slash."""
    result = dragon(
        "convert_annoset", "--anno_type=detection", "--label_type=xml", "--label_map_file=map.prototxt",
        "--check_label=True", "--min_dim=0", "--max_dim=0", "--resize_height=0", "--resize_width=0", "--backend=lmdb",
        "--shuffle=False", "--check_size=False", "--encode_type=", "--encoded=False", "--gray=False", "im/", "list.txt",
        "db",
    )  # fmt: skip
    assert (result.code, result.out) == (0, "db: 1 image, 3 boxes\n"), result.err
    (record,) = stored()
    assert record.type == pb.AnnotatedDatum.BBOX
    assert record.HasField("type")
    assert [group.group_label for group in record.annotation_group] == [3, 7]
    close(rows(record), ROWS)
    datum = record.datum
    assert (datum.channels, datum.height, datum.width, datum.label, datum.encoded) == (3, 20, 40, -1, False)
    assert datum.HasField("encoded")
    assert np.frombuffer(datum.data, np.uint8).reshape(3, 20, 40)[:, 0, 0].tolist() == [30, 10, 200]
    with LmdbReader("db") as reader:
        assert reader.keys() == [b"00000000_a.png"]


def test_images_are_stored_as_they_are_or_resized(folder: Path, dragon: Dragon) -> None:
    """Boxes are fractions, so they stay."""
    (folder / "list.txt").write_text("a.png a.xml\nb.jpg a.xml\n")
    base = ("convert-annoset", "im", "list.txt")
    flags = ("--label-map-file", "map.prototxt")
    assert dragon(*base, "db", *flags, "--encoded").code == 0
    for name, record in zip(("a.png", "b.jpg"), stored(), strict=True):
        assert record.datum.data == Path("im", name).read_bytes()
        assert (record.datum.channels, record.datum.height, record.datum.width) == (3, 20, 40)
    sizes = {
        "--resize-height 10 --resize-width 15": (10, 15), "--min-dim 30": (30, 60), "--max-dim 20": (10, 20),
        "--min-dim 30 --max-dim 50": (25, 50), "--min-dim 5 --max-dim 90": (20, 40), "--resize-height 0": (20, 40),
    }  # fmt: skip
    for k, (options, size) in enumerate(sizes.items()):
        assert dragon(*base, f"db{k}", *flags, *options.split()).code == 0
        record = stored(f"db{k}")[0]
        assert (record.datum.height, record.datum.width) == size, options
        close(rows(record), ROWS)


def test_json_of_one_image(folder: Path, dragon: Dragon) -> None:
    annotation = [
        {"category_id": 9, "bbox": [4.5, 5, 15.5, 5], "iscrowd": 0},
        {"category_id": 2, "bbox": [0, 0, 40, 20], "iscrowd": 1},
    ]
    (folder / "im/a.json").write_text(json.dumps({"image": {"width": 40, "height": 20}, "annotation": annotation}))
    (folder / "list.txt").write_text("a.png a.json\n")
    (folder / "map").write_text('item { name: "9" label: 4 display_name: "kite" } item { name: "2" label: 1 }')
    result = dragon("convert-annoset", "im", "list.txt", "db", "--label-type", "json", "--label-map-file", "map")
    assert result.code == 0, result.err
    close(rows(stored()[0]), [(4, 0, 4.5 / 40, 5 / 20, 20 / 40, 10 / 20, 0), (1, 0, 0, 0, 1, 1, 1)])


def test_text(folder: Path, dragon: Dragon) -> None:
    """Labels are numbers, so no label map is needed; an empty file and a missing one are images without objects."""
    (folder / "im/a.txt").write_text("3 4 5 20 10\n\n12 0.5 0 40 20\n3 1 1 2 2\n")
    (folder / "im/empty.txt").write_text("")
    (folder / "list.txt").write_text("a.png a.txt\na.png empty.txt\nb.jpg none.txt\n")
    result = dragon("convert-annoset", "im", "list.txt", "db", "--label-type", "txt", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {"db": "db", "images": 3, "boxes": 3, "skipped": 0}
    found = [rows(record) for record in stored()]
    close(
        found[0],
        [(3, 0, 0.1, 0.25, 0.5, 0.5, 0), (3, 1, 1 / 40, 1 / 20, 2 / 40, 2 / 20, 0), (12, 0, 0.5 / 40, 0, 1, 1, 0)],
    )
    assert found[1:] == [[], []]


def test_labels_without_boxes(folder: Path, dragon: Dragon) -> None:
    (folder / "list.txt").write_text("a.png 5\n")
    result = dragon("convert-annoset", "im", "list.txt", "db", "--anno-type", "classification")
    assert (result.code, result.out) == (0, "db: 1 image\n")
    (record,) = stored()
    assert not record.HasField("type")
    assert record.datum.label == 5


def test_published_forms_give_the_records_that_were_drawn(folder: Path, dragon: Dragon) -> None:
    """COCO's boxes are edges, as in the drawn records; VOC counts pixels from 1, so that the first corner is off."""
    made = write_shapes(folder / "shapes", train=6, test=3)
    coco = ("convert-annoset", "--coco", "shapes/coco/instances_test.json", "shapes/voc/JPEGImages", "coco_db")
    result = dragon(*coco, "--encoded", "--name-size", "sizes.txt")
    assert result.code == 0, result.err
    with LmdbReader(made.folder / "shapes_test_lmdb") as drawn, LmdbReader("coco_db") as converted:
        assert drawn.read(3) == converted.read(3)
    assert Path("sizes.txt").read_text() == Path("shapes/test_name_size.txt").read_text()
    by_id = read_message("coco_db.labelmap.prototxt", pb.LabelMap())
    assert [(item.name, item.label, item.display_name) for item in by_id.item][2] == ("2", 2, "ring")
    named = dragon(*coco[:-1], "named_db", "--label-map-file", "shapes/labelmap.prototxt", "--encoded")
    assert named.code == 0, named.err
    assert not Path("named_db.labelmap.prototxt").exists()
    assert [r.SerializeToString() for r in stored("named_db")] == [r.SerializeToString() for r in stored("coco_db")]

    voc = ("convert-annoset", "--voc", "shapes/voc", "--split", "test", "voc_db", "--encoded")
    assert dragon(*voc, "--label-map-file", "shapes/labelmap.prototxt").code == 0
    for from_voc, from_coco in zip(stored("voc_db"), stored("coco_db"), strict=True):
        one = decode_annotated(from_voc.SerializeToString(), Color.AS_STORED, "it")
        other = decode_annotated(from_coco.SerializeToString(), Color.AS_STORED, "it")
        assert one.rows is not None
        assert other.rows is not None
        _, height, width = one.image.shape
        difference = (one.rows - other.rows)[:, 2:6] * [width, height, width, height]
        np.testing.assert_allclose(difference, np.tile([1, 1, 0, 0], (len(difference), 1)), atol=1e-4)


def test_a_voc_folder_without_a_label_map(folder: Path, dragon: Dragon) -> None:
    write_shapes(folder / "shapes", train=6, test=1)
    assert dragon("convert-annoset", "--voc", "shapes/voc", "--split", "train", "db").code == 0
    names = [item.name for item in read_message("db.labelmap.prototxt", pb.LabelMap()).item]
    assert names[0] == "none_of_the_above"
    assert names[1:] == sorted(names[1:])
    result = dragon("convert-annoset", "--voc", "shapes/voc", "--split", "val", "db2")
    assert result.code == 2
    assert "has no ImageSets/Main/val.txt; it has test, train" in result.error


def test_sizes_that_disagree_are_warned_of(folder: Path, dragon: Dragon) -> None:
    """As in the fork, boxes are divided by the size that the annotations say; without one, by that of the image."""
    flags = ("--label-map-file", "map.prototxt")
    (folder / "im/a.xml").write_text(XML.replace("<width>40<", "<width>80<"))
    result = dragon("convert-annoset", "im", "list.txt", "db", *flags)
    assert "says 80 x 20 pixels, a.png has 40 x 20" in result.err
    assert rows(stored()[0])[0][2] == np.float32(4 / 80)
    (folder / "im/a.xml").write_text(XML.replace("<width>40<", "<width>30<"))
    assert (
        "has a box that reaches beyond 30 x 20 pixels" in dragon("convert-annoset", "im", "list.txt", "db1", *flags).err
    )
    (folder / "im/a.xml").write_text(XML.replace("<size>", "<no>").replace("</size>", "</no>"))
    assert dragon("convert-annoset", "im", "list.txt", "db2", *flags).err == ""
    close(rows(stored("db2")[0]), ROWS)


def test_shuffle_skip_and_check_size(folder: Path, dragon: Dragon) -> None:
    flags = ("--label-map-file", "map.prototxt")
    (folder / "list.txt").write_text("".join(f"a.png {name}.xml\n" for name in "abcdef") + "broken.png a.xml\n")
    (folder / "im/broken.png").write_text("no image")
    result = dragon("convert-annoset", "im", "list.txt", "db", *flags, "--skip-unreadable", "--shuffle", "--seed", "2")
    assert result.out == "db: 6 images, 3 boxes, 1 skipped\n"
    with_boxes = [bool(record.annotation_group) for record in stored()]
    assert with_boxes.count(True) == 1
    assert not with_boxes[0]
    assert "list.txt:7: broken.png: " in dragon("convert-annoset", "im", "list.txt", "db2", *flags).error
    PIL.Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save("im/broken.png")
    assert (
        "has shape (3, 5, 5), the first image (3, 20, 40)"
        in dragon("convert-annoset", "im", "list.txt", "db2", *flags, "--check-size").error
    )
    assert not Path("db2").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("cat", "cta"), 'im/a.xml: class "cta" is not in the label map (did you mean "cat"?)'),
        (("<xmin>4<", "<xmin>four<"), 'im/a.xml: the object "cat" has no number as xmin of its bndbox'),
        (("<xmin>4<", "<xmin>1e999<"), 'im/a.xml: the object "cat" has no number as xmin'),
        (("<name>dog</name>", ""), "im/a.xml: has an <object> without a name"),
        (("</annotation>", ""), "im/a.xml: not an XML file"),
        (("annotation>", "note>"), "im/a.xml: expected an <annotation> of VOC, got <note>"),
        (("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>'), "has a document type of its own"),
    ],
)
def test_wrong_annotations(folder: Path, dragon: Dragon, change: tuple[str, str], words: str) -> None:
    (folder / "im/a.xml").write_text(XML.replace(*change))
    result = dragon("convert-annoset", "im", "list.txt", "db", "--label-map-file", "map.prototxt")
    assert result.code == 2
    assert words in result.error
    assert not Path("db").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2147483648 1 2 3 4", "im/a.txt:1: label 2147483648 is out of range, -2147483648 to 2147483647"),
        ("1 1e39 2 3 4", "im/a.txt: has a box that is not finite"),
    ],
)
def test_numbers_of_a_text_that_a_record_cannot_hold(folder: Path, dragon: Dragon, line: str, words: str) -> None:
    (folder / "im/a.txt").write_text(line)
    (folder / "list.txt").write_text("a.png a.txt\n")
    result = dragon("convert-annoset", "im", "list.txt", "db", "--label-type", "txt")
    assert (result.code, words in result.error) == (2, True), result.error


def test_odd_numbers_in_json(folder: Path, dragon: Dragon) -> None:
    """A size below 1 is none, and boxes are divided by the image's own; a crowd may be written as text."""
    (folder / "map").write_text('item { name: "9" label: 4 }')
    (folder / "list.txt").write_text("a.png a.json\n")
    flags = ("im", "list.txt", "db", "--label-type", "json", "--label-map-file", "map")
    for end, code in ((1e39, 2), (15.5, 0)):
        annotation = [{"category_id": 9, "bbox": [4.5, 5, end, 5], "iscrowd": "0"}]
        content = {"image": {"width": -3, "height": 0}, "annotation": annotation}
        (folder / "im/a.json").write_text(json.dumps(content))
        result = dragon("convert-annoset", *flags)
        assert result.code == code, result.error
        if code:
            assert "im/a.json: has a box that is not finite" in result.error
        else:
            close(rows(stored()[0]), [(4, 0, 4.5 / 40, 5 / 20, 20 / 40, 10 / 20, 0)])


def test_document_types_are_found_in_any_encoding(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]>' + XML.replace(">cat<", ">&b;<")
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.xml: has a document type of its own, which is not read"):
        read_voc(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("im list.txt db", "annotations of type xml name their classes: give --label-map-file"),
        ("im list.txt", "a list takes the arguments ROOT LISTFILE DB, got 2"),
        ("--voc shapes db", "--voc needs --split"),
        ("--voc shapes --split a im db", "--voc takes the arguments DB, got 2"),
        ("--coco a.json db", "--coco takes the arguments ROOT DB, got 1"),
        ("--coco a.json --voc b db", "give --voc or --coco"),
        ("--split test im list.txt db", "--split is for --voc"),
        ("--coco none.json im db", "none.json: cannot be read: No such file"),
        ("--coco map.prototxt im db", "map.prototxt: not a JSON file"),
        ("--coco wrong.json im db", "wrong.json: has no annotations, which COCO's files have"),
        ("--coco worse.json im db", "worse.json: not in the form of COCO"),
        ("im list.txt db --label-map-file twice --check-label", 'the name "cat" comes twice'),
        ("im list.txt db --label-map-file map.prototxt --min-dim 3 --resize-height 2 --resize-width 2", "--min-dim"),
        ("im none.txt db --label-type txt", 'image list "none.txt" cannot be read'),
        ("im bad.txt db --label-type txt", 'im/bad_boxes.txt:2: expected "LABEL XMIN YMIN XMAX YMAX", got "3 4 5"'),
    ],
)
def test_refused(folder: Path, dragon: Dragon, args: str, words: str) -> None:
    (folder / "twice").write_text('item { name: "cat" label: 3 } item { name: "cat" label: 4 }')
    (folder / "wrong.json").write_text('{"images": []}')
    (folder / "worse.json").write_text('{"images": [], "annotations": [{"image_id": 1, "bbox": 3}], "categories": [7]}')
    (folder / "bad.txt").write_text("a.png bad_boxes.txt\n")
    (folder / "im/bad_boxes.txt").write_text("1 2 3 4 5\n3 4 5\n")
    result = dragon("convert-annoset", *args.split())
    assert result.code == 2, result.out
    assert words in result.error
    assert not Path("db").exists()
