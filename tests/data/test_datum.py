from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dragon.data import Color, decode_batch, decode_image, encode_datum
from dragon.errors import DataError
from dragon.proto import dragon_pb2
from tests.data.conftest import small_images


def png(pixels: NDArray[np.uint8], mode: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).convert(mode).save(file, "png")
    return file.getvalue()


def encoded(content: bytes, label: int = 0) -> bytes:
    datum = dragon_pb2.Datum(data=content, label=label, encoded=True)
    return bytes(datum.SerializeToString())


def test_bytes_come_back(images: NDArray[np.uint8]) -> None:
    decoded, labels = decode_batch([encode_datum(image, 10 * i) for i, image in enumerate(images)])
    assert isinstance(decoded, np.ndarray)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, images)
    np.testing.assert_array_equal(labels, 10 * np.arange(7))
    assert labels.dtype == np.float32


def test_the_record_is_caffes(images: NDArray[np.uint8]) -> None:
    datum = dragon_pb2.Datum.FromString(encode_datum(images[2], 4))
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 6, 8, 4)
    assert datum.data == images[2].tobytes()
    assert not datum.encoded


def test_floats_come_back() -> None:
    values = np.random.default_rng(1).standard_normal((4, 2, 3, 5))
    decoded, _ = decode_batch([encode_datum(value, 0) for value in values])
    assert isinstance(decoded, np.ndarray)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values.astype(np.float32))


def test_different_shapes_come_as_a_list() -> None:
    first, second = small_images(1, (3, 4, 5))[0], small_images(1, (3, 6, 2))[0]
    decoded, _ = decode_batch([encode_datum(first, 0), encode_datum(second, 0)])
    assert isinstance(decoded, list)
    np.testing.assert_array_equal(decoded[0], first)
    np.testing.assert_array_equal(decoded[1], second)


def test_a_shape_of_the_same_size_is_not_mistaken() -> None:
    first, second = small_images(1, (3, 4, 5))[0], small_images(1, (3, 5, 4))[0]
    decoded, _ = decode_batch([encode_datum(first, 0), encode_datum(second, 0)])
    assert [image.shape for image in decoded] == [(3, 4, 5), (3, 5, 4)]


@pytest.mark.parametrize(
    ("mode", "color", "channels"),
    [
        ("RGB", Color.AS_STORED, 3),
        ("RGB", Color.GRAY, 1),
        ("L", Color.AS_STORED, 1),
        ("L", Color.COLOR, 3),
        ("P", Color.AS_STORED, 3),
        ("RGBA", Color.AS_STORED, 4),
        ("RGBA", Color.COLOR, 3),
    ],
)
def test_encoded_images_have_the_channels_asked_for(mode: str, color: Color, channels: int) -> None:
    pixels = small_images(1, (6, 8, 3))[0]
    decoded, labels = decode_batch([encoded(png(pixels, mode), 5)], color)
    assert decoded[0].shape == (channels, 6, 8)
    assert labels[0] == 5


def test_encoded_images_are_blue_first() -> None:
    pixels = small_images(1, (6, 8, 3))[0]
    decoded = decode_image(png(pixels, "RGB"))
    np.testing.assert_array_equal(decoded, pixels.transpose(2, 0, 1)[::-1])
    alpha = decode_image(png(pixels, "RGBA"))
    np.testing.assert_array_equal(alpha[:3], decoded)
    assert (alpha[3] == 255).all()


def test_gray_weighs_the_colours() -> None:
    pixels = np.zeros((1, 3, 3), np.uint8)
    pixels[0, [0, 1, 2], [0, 1, 2]] = 255
    red, green, blue = decode_image(png(pixels, "RGB"), Color.GRAY)[0, 0].tolist()
    assert (red, green, blue) == pytest.approx((0.299 * 255, 0.587 * 255, 0.114 * 255), abs=1)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\xff\xff\xff", "record 1 is not a Datum"),
        (encoded(b"no image"), "record 1: the encoded image cannot be read"),
        (dragon_pb2.Datum(channels=3, height=2, width=2, data=b"12345").SerializeToString(), "needs 12 values, got 5"),
        (dragon_pb2.Datum(channels=3, height=2, width=2).SerializeToString(), "needs 12 values, got 0"),
        (dragon_pb2.Datum(channels=3, height=-2, width=2, data=b"1").SerializeToString(), r"shape is \(3, -2, 2\)"),
        (b"", r"its shape is \(0, 0, 0\)"),
    ],
    ids=["garbage", "no image", "too few", "nothing", "negative", "empty"],
)
def test_damaged_records_are_named(images: NDArray[np.uint8], record: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_batch([encode_datum(images[0], 0), record])
    assert "record 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_negative_sizes_whose_product_fits_are_an_error() -> None:
    record = dragon_pb2.Datum(channels=-1, height=-1, width=3, data=b"abc", float_data=[1]).SerializeToString()
    for other in (record, dragon_pb2.Datum(channels=-1, height=-1, width=3, data=b"abc").SerializeToString()):
        with pytest.raises(DataError, match=r"record 0 is a damaged Datum: its shape is \(-1, -1, 3\)"):
            decode_batch([record, other])


def test_cut_image_file_is_an_error() -> None:
    content = png(small_images(1, (64, 64, 3))[0], "RGB")
    with pytest.raises(DataError, match="cannot be read"):
        decode_image(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"got \(4, 4\)"),
        (np.zeros((1, 4, 4), np.int32), "got int32"),
    ],
)
def test_encode_refuses(image: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_datum(image, 0)


def test_a_header_that_claims_a_huge_picture_is_refused_before_memory_is_asked_for() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 5)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    at = content.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    content[at + 5 : at + 9] = (9000).to_bytes(2, "big") * 2
    with pytest.raises(DataError, match=r"cannot be read: 9000 x 9000 pixels from \d+ bytes"):
        decode_image(bytes(content))
    PIL.Image.new("L", (3000, 1300)).save(file := io.BytesIO(), "PNG")
    assert decode_image(file.getvalue()).shape == (1, 1300, 3000), "one colour, yet a picture"


@pytest.mark.parametrize("label", [2**31, -(2**31) - 1, 10**20])
def test_a_label_that_a_record_cannot_hold(label: int) -> None:
    with pytest.raises(DataError, match="label lies between -2147483648 and 2147483647"):
        encode_datum(np.zeros((1, 2, 2), np.uint8), label)


def serialised(**fields: Any) -> bytes:
    return bytes(dragon_pb2.Datum(**fields).SerializeToString())


# What may lie behind the pixels of a record, whose first image has the label 3.
TAILS = {
    "label": serialised(label=7),
    "large label": serialised(label=2**31 - 1),
    "negative label": serialised(label=-5),
    "no label": b"",
    "not encoded": serialised(label=9, encoded=False),
    "two labels": serialised(label=9) + serialised(label=8),
    "floats as well": serialised(label=2, float_data=[1.0]),
    "unknown field": serialised(label=6) + b"\x78\x01",
    "other pixels": serialised(data=bytes(range(144))),
    "another shape": serialised(channels=8, height=3, width=6),
    "another size": serialised(channels=1, height=3, width=6),
    "encoded": serialised(encoded=True),
    "cut": serialised(label=300)[:-1],
    "garbage": b"\x07\xff",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_records_that_begin_alike_are_decoded_as_protobuf_does(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, tail: bytes
) -> None:
    """Most records are not parsed one by one; the result and the message must be those of parsing each."""
    head = serialised(channels=3, height=6, width=8, data=images[1].tobytes())
    records = [encode_datum(images[0], 3), head + tail]

    def decoded() -> tuple[list[Any], list[float]] | str:
        try:
            found, labels = decode_batch(records)
        except DataError as error:
            return str(error)
        return [image.tolist() for image in found], labels.tolist()

    quick = decoded()
    monkeypatch.setattr("dragon.data.datum._join_alike", lambda records: None)
    assert quick == decoded()


def test_usual_records_are_not_parsed_one_by_one(images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    records = [encode_datum(image, 300 * i) for i, image in enumerate(images)]
    expected, labels = decode_batch(records)
    monkeypatch.setattr("dragon.data.datum._parse", lambda *_: pytest.fail("parsed"))
    found, same = decode_batch(records)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(same, labels)


def test_a_record_that_ends_within_its_pixels(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match="record 1 is not a Datum"):
        decode_batch([encode_datum(images[0], 0), encode_datum(images[1], 0)[:100]])
