"""Images that Pillow reads otherwise than OpenCV: expected values by formulas, and by OpenCV where it is there."""

from __future__ import annotations

import importlib
import io
import struct
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dragon.data.image_file import Color, decode_image
from dragon.data.image_quirks import gif_has_alpha, with_separate_alpha

FLAGS = {Color.COLOR: 1, Color.GRAY: 0, Color.AS_STORED: -1}  # of OpenCV's imread
RNG = np.random.default_rng(5)
HEIGHT, WIDTH = 5, 7
SAMPLES = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
INDICES = RNG.integers(0, 8, (HEIGHT, WIDTH), np.uint8)
TABLE = RNG.integers(0, 256, (8, 3), np.uint8)


def compare(content: bytes, color: Color, tolerance: int = 0) -> NDArray[np.uint8]:
    """What is decoded, which is compared with OpenCV's values."""
    got = decode_image(content, color)
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return got
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), FLAGS[color])
    if expected is not None:  # versions before 4.11 read no GIF
        channels = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
        np.testing.assert_allclose(got.astype(int), channels.astype(int), rtol=0, atol=tolerance)
    return got


def gif(frame: tuple[int, int, int, int], background: int, clear: int | None, table: bool = True) -> bytes:
    """A GIF of INDICES whose frame is a part of the screen. clear: the transparent index. table: of all frames."""
    left, top, right, bottom = frame
    image = PIL.Image.fromarray(INDICES[top:bottom, left:right].copy())
    image.putpalette(TABLE.tobytes())
    file = io.BytesIO()
    image.save(file, "GIF", interlace=0, optimize=False)
    plain = file.getvalue()
    start = plain.index(b",", 13 + 3 * 2 ** ((plain[10] & 7) + 1))
    own = plain[start + 9]
    code = plain[start + 10 + (3 * 2 ** ((own & 7) + 1) if own & 0x80 else 0) :]
    head = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0x82 if table else 2, background, 0)
    control = b"" if clear is None else b"!\xf9\x04" + bytes([1, 0, 0, clear, 0])
    place = b"," + struct.pack("<HHHHB", left, top, right - left, bottom - top, 0 if table else 0x82)
    return head + TABLE.tobytes() * table + control + place + TABLE.tobytes() * (not table) + code


@pytest.mark.parametrize("table", [True, False], ids=["one table", "a table of the frame"])
@pytest.mark.parametrize("clear", [None, 0, 3])
@pytest.mark.parametrize("background", [0, 5])
@pytest.mark.parametrize("frame", [(0, 0, WIDTH, HEIGHT), (2, 1, 6, 4)], ids=["whole", "part"])
def test_a_gif_on_its_background(
    frame: tuple[int, int, int, int], background: int, clear: int | None, table: bool
) -> None:
    content = gif(frame, background, clear, table)
    left, top, right, bottom = frame
    inside = np.zeros(INDICES.shape, bool)
    inside[top:bottom, left:right] = INDICES[top:bottom, left:right] != (-1 if clear is None else clear)
    expected = np.where(inside[..., None], TABLE[INDICES], TABLE[background] if table else 0)
    np.testing.assert_array_equal(compare(content, Color.COLOR), expected[..., ::-1].transpose(2, 0, 1))
    compare(content, Color.GRAY, tolerance=1)
    stored = compare(content, Color.AS_STORED)
    assert len(stored) == (3 if clear is None else 4)
    if clear is not None:
        np.testing.assert_array_equal(stored[3], 255 * inside)


@pytest.mark.parametrize("clear", [None, 3])
@pytest.mark.parametrize("table", [True, False], ids=["one table", "a table of each frame"])
def test_an_animated_gif_is_its_first_frame(clear: int | None, table: bool) -> None:
    """With an alpha of 255 where a later frame has a transparent colour."""
    frame = (0, 0, WIDTH, HEIGHT)
    first, second = gif(frame, 0, None, table), gif((2, 1, 6, 4), 0, clear, table)
    head = 13 + 3 * 2**3 * table
    loop = b"!\xff\x0bNETSCAPE2.0\x03\1\0\0\0"
    content = first[:head] + loop + first[head:-1] + second[head:]
    stored = compare(content, Color.AS_STORED)
    np.testing.assert_array_equal(stored[:3], TABLE[INDICES][..., ::-1].transpose(2, 0, 1))
    assert len(stored) == (3 if clear is None else 4)
    assert stored[3:].min(initial=255) == 255
    compare(content, Color.COLOR)


def test_a_gif_that_is_cut_off_has_no_later_frames() -> None:
    content = gif((0, 0, WIDTH, HEIGHT), 0, 3)
    assert gif_has_alpha(content)
    assert not any(gif_has_alpha(content[:end]) for end in range(40))


def test_an_animated_png_is_its_default_image() -> None:
    """OpenCV gives the first frame instead since 4.11, but Caffe was built with older ones."""
    frames = [PIL.Image.fromarray(np.full((4, 5, 3), value, np.uint8)) for value in (10, 20, 30)]
    for default in (True, False):
        file = io.BytesIO()
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=default)
        for color in Color:
            assert np.unique(decode_image(file.getvalue(), color)) == [10]


def tiff(samples: NDArray[Any], extra: int, order: Literal["<", ">"], planar: bool) -> bytes:
    """A TIFF of 8 or 16 bits in colours or grey with one extra sample."""
    height, width, count = samples.shape
    parts = [samples[..., k] for k in range(count)] if planar else [samples]
    data = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in parts]
    tags: list[tuple[int, str, list[int]]] = [
        (256, "H", [width]), (257, "H", [height]), (258, "H", [8 * samples.itemsize] * count), (259, "H", [1]),
        (262, "H", [2 if count == 4 else 1]), (273, "I", [0] * len(data)), (277, "H", [count]), (278, "H", [height]),
        (279, "I", [len(part) for part in data]), (284, "H", [2 if planar else 1]), (338, "H", [extra]),
    ]  # fmt: skip
    longer = 8 + 2 + 12 * len(tags) + 4
    sizes = [struct.calcsize(f"{order}{len(values)}{kind}") for _, kind, values in tags]
    pixels = longer + sum(size for size in sizes if size > 4)
    entries, rest = b"", b""
    for (tag, kind, values), size in zip(tags, sizes, strict=True):
        if tag == 273:
            values = [pixels + sum(map(len, data[:k])) for k in range(len(data))]
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        entries += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(values))
        entries += packed.ljust(4, b"\0") if size <= 4 else struct.pack(f"{order}I", longer + len(rest))
        rest += packed if size > 4 else b""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + rest + b"".join(data)


@pytest.mark.parametrize("color", Color)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize(("count", "planar"), [(4, False), (4, True), (2, False)])
def test_a_tiff_with_an_extra_sample(
    count: int, extra: int, order: Literal["<", ">"], planar: bool, color: Color
) -> None:
    """0: nobody says what it is. 1: colours were multiplied by it, which is what OpenCV gives. 2: they were not."""
    samples = SAMPLES[..., :count].copy()
    samples[..., :-1] = np.minimum(samples[..., :-1], samples[..., -1:])
    got = compare(tiff(samples, extra, order, planar), color)
    if count == 4 and extra < 2 and color is not Color.GRAY:
        np.testing.assert_array_equal(got[:3], samples[..., 2::-1].transpose(2, 0, 1))
        if color is Color.AS_STORED:
            np.testing.assert_array_equal(got[3], samples[..., 3])
    if count == 2:
        np.testing.assert_array_equal(got[0], samples[..., 0])


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_16_bits_with_an_extra_sample(order: Literal["<", ">"], extra: int) -> None:
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
    samples[..., :3] = np.minimum(samples[..., :3], samples[..., 3:])
    got = decode_image(tiff(samples, extra, order, False), Color.AS_STORED)
    np.testing.assert_array_equal(got, (samples[..., [2, 1, 0, 3]] >> 8).transpose(2, 0, 1))


def test_what_is_no_tiff_and_damaged_ones_stay_as_they_are() -> None:
    whole = tiff(SAMPLES, 1, "<", False)
    for content in (
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        whole[:60],
        b"\xff\xd8\xff" + whole,
    ):
        assert with_separate_alpha(content) == (content, None)
    changed, said = with_separate_alpha(whole)
    assert said == 1
    assert len(changed) == len(whole)
    assert sum(a != b for a, b in zip(changed, whole, strict=True)) == 1


@pytest.mark.parametrize("green", [5, 6])
def test_a_bmp_of_16_bits_has_zeros_as_low_bits(green: int) -> None:
    values = RNG.integers(0, 65536, (HEIGHT, WIDTH + 1)).astype("<u2")  # an even width: no bytes between rows
    masks = (0xF800, 0x7E0, 0x1F) if green == 6 else (0x7C00, 0x3E0, 0x1F)
    start = 14 + 40 + 12
    rows = values[::-1].tobytes()
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH + 1, HEIGHT, 1, 16, 3, len(rows), 0, 0, 0, 0)
    content = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + struct.pack("<III", *masks) + rows
    expected = [(values & 0x1F) << 3, (values >> 5 & (1 << green) - 1) << 8 - green, (values >> 5 + green & 0x1F) << 3]
    np.testing.assert_array_equal(compare(content, Color.COLOR), expected)
    compare(content, Color.GRAY, tolerance=1)


@pytest.mark.parametrize("adobe", [True, False])
def test_a_jpeg_in_cmyk(adobe: bool) -> None:
    smooth = PIL.Image.fromarray(SAMPLES[:3, :3]).resize((24, 24), PIL.Image.Resampling.BICUBIC)
    file = io.BytesIO()
    PIL.Image.frombytes("CMYK", smooth.size, smooth.tobytes()).save(file, "JPEG", quality=90)
    content = file.getvalue()
    if not adobe:
        start = content.index(b"\xff\xee")
        (length,) = struct.unpack_from(">H", content, start + 2)
        content = content[:start] + content[start + 2 + length :]
    for color in Color:
        compare(content, color)


@pytest.mark.parametrize("color", Color)
def test_a_tiff_of_64_bits_with_alpha(color: Color) -> None:
    file, plain = io.BytesIO(), io.BytesIO()
    PIL.Image.fromarray(SAMPLES).save(file, "TIFF", big_tiff=True)
    PIL.Image.fromarray(SAMPLES).save(plain, "TIFF")
    np.testing.assert_array_equal(compare(file.getvalue(), color), decode_image(plain.getvalue(), color))


def test_a_damaged_tiff_of_64_bits_stays_as_it_is() -> None:
    for start in (8, 16, 1 << 40, (1 << 64) - 1):
        content = b"II+\0\x08\0\0\0" + start.to_bytes(8, "little") + b"\xff" * 8
        assert with_separate_alpha(content) == (content, None)
