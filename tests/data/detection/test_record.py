"""AnnotatedDatum records: the bytes of SSD's converter, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from dragon.data import Color, encode_datum
from dragon.data.detection.reader import label_rows
from dragon.data.detection.record import decode_annotated, encode_annotated, number_instances
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from tests.data.detection.helpers import painted, record_of, rows_of_boxes

IMAGE = painted(4, 5, [(1, 1, 3, 3)])


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def box(corners: tuple[float, ...], difficult: int) -> bytes:
    """A NormalizedBBox as the wire has it: four floats, and difficult as field 6."""
    floats = b"".join(bytes([number << 3 | 5]) + struct.pack("<f", v) for number, v in enumerate(corners, 1))
    return floats + bytes([6 << 3, difficult])


def test_the_bytes() -> None:
    """Written out by the numbers of SSD's caffe.proto: groups by label in the order of their first boxes."""
    rows = np.array(
        [[7, 0, 0.25, 0.5, 0.75, 1, 0], [2, 0, 0, 0, 0.5, 0.5, 1], [7, 1, 0.125, 0.25, 0.5, 0.5, 0]], np.float64
    )
    datum = pb.Datum(channels=1, height=1, width=2, data=b"ab", label=-1, encoded=False)
    minus_one = b"\xff" * 9 + b"\x01"
    stored = b"\x08\x01\x10\x01\x18\x02" + field(4, b"ab") + b"\x28" + minus_one + b"\x38\x00"

    def annotation(instance: int, content: bytes) -> bytes:
        return field(2, bytes([8, instance]) + field(2, content))

    first = b"\x08\x07" + annotation(0, box((0.25, 0.5, 0.75, 1), 0)) + annotation(1, box((0.125, 0.25, 0.5, 0.5), 0))
    second = b"\x08\x02" + annotation(0, box((0, 0, 0.5, 0.5), 1))
    assert encode_annotated(datum, rows) == field(1, stored) + b"\x10\x00" + field(3, first) + field(3, second)


def test_there_and_back() -> None:
    rows = number_instances(rows_of_boxes(4, 5, [(1, 1, 3, 3), (0, 0, 5, 2)]))
    found = decode_annotated(record_of(IMAGE, rows), Color.AS_STORED, "it")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert found.rows is not None
    np.testing.assert_allclose(found.rows, rows, atol=1e-7)


def test_a_record_without_a_type_has_a_label() -> None:
    record = pb.AnnotatedDatum(datum=pb.Datum.FromString(encode_datum(IMAGE, 4))).SerializeToString()
    found = decode_annotated(record, Color.AS_STORED, "it")
    assert (found.rows, found.label) == (None, 4)


def test_instances_count_within_a_label() -> None:
    rows = np.zeros((5, 7))
    rows[:, 0] = [3, 1, 3, 3, 1]
    assert number_instances(rows)[:, 1].tolist() == [0, 0, 1, 2, 1]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"\xff\xff", "it is not an AnnotatedDatum \\(2 bytes, which cannot be parsed"),
        (encode_datum(IMAGE, 3), "it has no image; the layer type Data reads plain Datums"),
        (record_of(IMAGE, np.array([[1, 0, 0, 0, np.nan, 1, 0]])), "it has a box that is not finite"),
        (pb.AnnotatedDatum(datum=pb.Datum(data=b"abc", encoded=True)).SerializeToString(), "it: the encoded image"),
        (
            pb.AnnotatedDatum(datum=pb.Datum(channels=1, height=1, width=1, float_data=[1])).SerializeToString(),
            "it has an image of floats",
        ),
    ],
)
def test_damaged_records(record: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        decode_annotated(record, Color.AS_STORED, "it")


def test_the_label_blob() -> None:
    empty = np.empty((0, 7))
    one, two = rows_of_boxes(10, 10, [(1, 2, 3, 4)]), rows_of_boxes(10, 10, [(0, 0, 5, 5), (5, 5, 10, 10)])
    made = label_rows([one, empty, two])
    np.testing.assert_allclose(
        made[0, 0],
        [[0, 1, 0, 0.1, 0.2, 0.3, 0.4, 0], [2, 1, 0, 0, 0, 0.5, 0.5, 0], [2, 2, 0, 0.5, 0.5, 1, 1, 1]],
    )
    assert label_rows([empty, empty]).tolist() == [[[[-1.0] * 8]]]
