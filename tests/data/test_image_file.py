"""Pictures of every depth give the bytes that OpenCV 4.10's imread gave for the same files."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dragon.data.image_file import Color, decode_image, image_content
from dragon.errors import DataError
from dragon.pycaffe.io import load_image

VALUES = np.array([0, 1, 127, 128, 255, 256, 257, 383, 12800, 32767, 32768, 65407, 65408, 65535, 4660], np.uint16)
HIGH = [0, 0, 0, 0, 0, 1, 1, 1, 50, 127, 128, 255, 255, 255, 18]
FLOATS = np.array([-5, -0.5, 0, 0.5, 0.6, 1.5, 2.5, 3.5, 100.4, 100.5, 101.5, 254.5, 255.5, 300, 1e9], np.float32)
ROUNDED = [0, 0, 0, 0, 1, 2, 2, 4, 100, 100, 102, 254, 255, 255, 255]
WIDTH, HEIGHT = 5, 3


def png(samples: NDArray[Any], kind: int, more: bytes = b"") -> bytes:
    """A PNG of (pixels, channels) values; kind: PNG's colour type."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    bits = 8 * samples.dtype.itemsize
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(HEIGHT, -1)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    extra = chunk(more[:4], more[4:]) if more else b""
    return b"\x89PNG\r\n\x1a\n" + head + extra + pixels + chunk(b"IEND", b"")


def tiff(samples: NDArray[Any], bits: int, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A TIFF of one channel, one strip, little-endian."""
    content = samples.tobytes()
    fields = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: HEIGHT, 339: 0}
    fields |= {273: 8 + 2 + 12 * (len(fields) + 1) + 4, 279: len(content), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(fields.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", 0) + content


def saved(image: PIL.Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def pgm(highest: int) -> bytes:
    kind = ">u2" if highest > 255 else "u1"
    return f"P5\n{WIDTH} {HEIGHT}\n{highest}\n".encode() + (VALUES.astype(int) % (highest + 1)).astype(kind).tobytes()


GREY = {
    "png": (png(VALUES, 0), HIGH),
    "png, a transparent value": (png(VALUES, 0, b"tRNS" + struct.pack(">H", 12800)), HIGH),
    "tiff": (tiff(VALUES, 16), HIGH),
    "tiff, signed": (tiff(VALUES, 16, sample_format=2), HIGH),
    "tiff, white is zero": (tiff(VALUES, 16, photometric=0), [255 - v for v in HIGH]),
    "pgm": (pgm(65535), HIGH),
    "pgm up to 1000": (pgm(1000), [int(v % 1001) >> 8 for v in VALUES]),
    "pgm up to 100": (pgm(100), [int(v % 101) for v in VALUES]),
    "pfm": (f"Pf\n{WIDTH} {HEIGHT}\n-1\n".encode() + FLOATS.reshape(HEIGHT, WIDTH)[::-1].tobytes(), ROUNDED),
}


@pytest.mark.parametrize("case", GREY)
def test_grey_of_other_depths(case: str) -> None:
    content, expected = GREY[case]
    assert decode_image(content, Color.GRAY).ravel().tolist() == expected
    assert decode_image(content).ravel().tolist() == expected
    assert decode_image(content, Color.COLOR).tolist() == [np.reshape(expected, (HEIGHT, WIDTH)).tolist()] * 3


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_and_alpha_of_16_bits(kind: int, channels: int) -> None:
    samples = np.stack([np.roll(VALUES, i) for i in range(channels)], 1)
    high = (samples >> 8).astype(np.uint8).T.reshape(channels, HEIGHT, WIDTH)
    colours = high[:3][::-1] if channels > 2 else high[[0, 0, 0]]
    content = png(samples, kind)
    np.testing.assert_array_equal(decode_image(content, Color.COLOR), colours)
    stored = decode_image(content)
    np.testing.assert_array_equal(stored[:3], colours)
    if channels != 3:
        np.testing.assert_array_equal(stored[3], high[-1])


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4)])
def test_grey_of_16_bits_is_rounded_once(kind: int, channels: int) -> None:
    """That of the high bytes is one less in places."""
    samples = np.stack([np.roll(VALUES, i) for i in range(channels)], 1)
    expected = np.floor(samples[:, :3] @ [0.299, 0.587, 0.114] / 256).reshape(1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode_image(png(samples, kind), Color.GRAY), expected)


@pytest.mark.parametrize("highest", [65535, 1000])
def test_colours_of_16_bits_in_a_ppm(highest: int) -> None:
    samples = np.stack([np.roll(VALUES, i) for i in range(3)], 1).astype(int) % (highest + 1)
    content = f"P6\n{WIDTH} {HEIGHT}\n{highest}\n".encode() + samples.astype(">u2").tobytes()
    blue_first = (samples >> 8).T[::-1].reshape(3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode_image(content), blue_first)
    with pytest.raises(DataError, match="cannot be read"):
        decode_image(content[:-1])


def test_a_palette_with_alpha() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (16, 3), np.uint8)
    image = PIL.Image.fromarray((VALUES % 16).astype(np.uint8).reshape(HEIGHT, WIDTH))
    image.putpalette(palette.tobytes())
    image.info["transparency"] = bytes(range(0, 160, 10))
    content = saved(image, "PNG")
    blue_first = palette[VALUES % 16][:, ::-1].T.reshape(3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode_image(content, Color.COLOR), blue_first)
    stored = decode_image(content)
    assert stored.shape == (4, HEIGHT, WIDTH)
    assert stored[3].ravel().tolist() == [min(10 * (int(v) % 16), 255) for v in VALUES]
    assert decode_image(content, Color.GRAY).shape == (1, HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_blue_first(kind: str) -> None:
    flat = PIL.Image.new("CMYK", (8, 8), (0, 255, 128, 0))
    blue, green, red = decode_image(saved(flat, kind), Color.COLOR)[:, 4, 4].tolist()
    assert (red, green, blue) == pytest.approx((255, 0, 127), abs=3)


LAB = [
    [0, 0, 0], [255, 0, 0], [20, 5, 250], [136, 81, 70], [224, 182, 186], [82, 79, 148], [128, 0, 0], [200, 236, 40],
    [110, 30, 129], [255, 127, 128], [60, 200, 90], [150, 128, 127], [23, 7, 0], [22, 0, 10], [180, 250, 5],
]  # fmt: skip
# what OpenCV 4.14 makes of them, and where the file names the white of D65
OF_D50 = [
    [0, 0, 0], [255, 252, 222], [19, 0, 0], [255, 0, 0], [0, 255, 255], [102, 0, 226], [133, 123, 107],
    [194, 204, 101], [0, 105, 255], [255, 124, 255], [0, 74, 0], [0, 181, 0], [34, 0, 0], [24, 0, 0], [181, 177, 145],
]  # fmt: skip
OF_D65 = [
    [0, 0, 0], [255, 255, 255], [0, 0, 24], [255, 0, 0], [0, 255, 255], [0, 0, 255], [124, 124, 124], [186, 205, 123],
    [0, 112, 255], [255, 143, 255], [0, 74, 0], [0, 182, 0], [30, 0, 0], [22, 0, 0], [169, 179, 167],
]  # fmt: skip


def lab(pixels: NDArray[np.uint8], **settings: Any) -> bytes:
    """A TIFF of (H, W, 3) bytes L*, a* and b*."""
    file = io.BytesIO()
    size = (pixels.shape[1], pixels.shape[0])
    PIL.Image.frombytes("LAB", size, pixels.tobytes()).save(file, "TIFF", **settings)
    return file.getvalue()


@pytest.mark.parametrize(("settings", "expected"), [({}, OF_D50), ({"tiffinfo": {318: (0.3127, 0.3290)}}, OF_D65)])
def test_lab(settings: dict[str, Any], expected: list[list[int]]) -> None:
    content = lab(np.array(LAB, np.uint8).reshape(HEIGHT, WIDTH, 3), **settings)
    blue_first = np.array(expected)[:, ::-1].T.reshape(3, HEIGHT, WIDTH)
    for color in (Color.COLOR, Color.AS_STORED):
        np.testing.assert_array_equal(decode_image(content, color), blue_first)
    grey = decode_image(content, Color.GRAY)[0].ravel()
    np.testing.assert_allclose(grey, np.array(expected) @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("point", [(0.0, 0.3), (0.3, 0.0), (2.0, 0.3)])
def test_a_white_that_is_no_colour(point: tuple[float, float]) -> None:
    content = lab(np.zeros((4, 4, 3), np.uint8), tiffinfo={318: point})
    with pytest.raises(DataError, match=r"its white point is .*, expected numbers between 0 and 1"):
        decode_image(content)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_every_mode_of_tiff_as_opencv_reads_it(compression: str | None) -> None:
    cv2 = pytest.importorskip("cv2")
    flags = {Color.COLOR: cv2.IMREAD_COLOR, Color.GRAY: cv2.IMREAD_GRAYSCALE, Color.AS_STORED: cv2.IMREAD_UNCHANGED}
    rows, columns = np.mgrid[:16, :24]
    smooth = np.stack([rows * 17, columns * 11, (rows + columns) * 6, 255 - rows * 8], -1).astype(np.uint8)
    for mode, channels in {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3}.items():
        pixels = np.ascontiguousarray(smooth[..., :channels])
        file = io.BytesIO()
        PIL.Image.frombytes(mode, (24, 16), pixels.tobytes()).save(file, "TIFF", compression=compression)
        for color, flag in flags.items():
            expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), flag).reshape(16, 24, -1)
            found = decode_image(file.getvalue(), color).transpose(1, 2, 0)
            np.testing.assert_allclose(found.astype(int), expected, atol=1, err_msg=f"{mode} {color}")


@pytest.mark.parametrize("quality", [30, 75])
@pytest.mark.parametrize("settings", [{"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}], ids=str)
def test_a_jpeg_as_opencv_reads_it(quality: int, settings: dict[str, Any]) -> None:
    """Noise becomes colours outside of RGB, which are limited; its grey is the luma all the same."""
    cv2 = pytest.importorskip("cv2")
    noise = PIL.Image.fromarray(np.random.default_rng(2).integers(0, 256, (32, 40, 3), np.uint8))
    file = io.BytesIO()
    noise.save(file, "JPEG", quality=quality, **settings)
    for color, flag in {Color.COLOR: cv2.IMREAD_COLOR, Color.GRAY: cv2.IMREAD_GRAYSCALE}.items():
        expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), flag).reshape(32, 40, -1)
        found = decode_image(file.getvalue(), color).transpose(1, 2, 0)
        np.testing.assert_allclose(found.astype(int), expected, atol=1, err_msg=str(color))


def test_a_palette_with_alpha_in_a_tiff_is_stored_without() -> None:
    image = PIL.Image.fromarray((VALUES % 16).astype(np.uint8).reshape(HEIGHT, WIDTH))
    image.putpalette(bytes(range(48)))
    assert decode_image(saved(image.convert("PA"), "TIFF")).shape == (3, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(VALUES.astype(np.uint32), 32), "it has 32-bit values; expected 8 or 16 bits"),
        (tiff(VALUES.astype(np.int32), 32, sample_format=2), "it has 32-bit values"),
        (tiff(FLOATS, 32, sample_format=3), "it has float values"),
        (tiff(FLOATS.astype(np.float64), 64, sample_format=3), "a TIFF image, in a form that is not known"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "it is an HDF5 file, expected one of JPEG, PNG"),
        (b"path/a.png 3\n", "it is a text file, expected one of JPEG, PNG"),
        (bytes(100), "it is no known image, expected one of JPEG"),
    ],
    ids=["32 bits", "32 bits signed", "float", "double", "HDF5", "text", "zeros"],
)
@pytest.mark.parametrize("color", Color)
def test_what_is_refused(content: bytes, message: str, color: Color) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_image(content, color)
    assert "\n" not in str(caught.value)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_are_turned_as_the_camera_noted(kind: str, mode: str) -> None:
    """Each orientation puts the picture of orientation 1 upright again; stored bytes are not turned, as by imread."""
    seen = PIL.Image.new(mode, (16, 24))  # a bright corner at the top left, the widest side vertical
    seen.paste(255 if mode == "L" else (255, 0, 0), (0, 0, 8, 8))
    T = PIL.Image.Transpose
    back = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90,
            7: T.TRANSVERSE, 8: T.ROTATE_270}  # fmt: skip
    for orientation, how in back.items():
        stored = seen if how is None else seen.transpose(how)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        stored.save(file, kind, exif=exif)
        for color in (Color.COLOR, Color.GRAY):
            pixels = decode_image(file.getvalue(), color)
            assert pixels.shape == (3 if color is Color.COLOR else 1, 24, 16)
            corner = pixels[-1, :8, :8].mean()
            assert corner > 50
            assert pixels[-1].mean() < corner / 4  # the corner is a sixth of the picture
        if kind != "TIFF":
            assert decode_image(file.getvalue()).shape[1:] == stored.size[::-1]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, as it opens the file
def test_damaged_exif_is_skipped() -> None:
    file = io.BytesIO()
    PIL.Image.new("L", (4, 2)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode_image(file.getvalue(), Color.GRAY).shape == (1, 2, 4)


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(EPS)

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a program was started")

    for name in ("Popen", "check_call", "call", "run"):
        monkeypatch.setattr(subprocess, name, refuse)
    with pytest.raises(DataError, match="it is a PostScript program, expected one of JPEG"):
        decode_image(EPS)
    with pytest.raises(DataError, match=r"a\.jpg cannot be read: it is a PostScript program"):
        load_image(path)


def test_every_image_is_opened_in_one_place() -> None:
    root = Path(__file__).parents[2]
    opened = [
        str(path.relative_to(root))
        for folder in ("dragon", "layers", "tools")
        for path in (root / folder).rglob("*.py")
        if "Image.open(" in path.read_text("utf-8")
    ]
    assert opened == ["dragon/data/image_file.py"]


def test_a_small_file_with_many_pixels_is_refused(tmp_path: Path) -> None:
    side = 9_000
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    parts = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    assert len(content) < 22_000
    with pytest.raises(DataError, match=r"9000 x 9000 pixels from [\d,]+ bytes"):
        decode_image(content)
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(DataError, match="9000 x 9000 pixels"):
        load_image(tmp_path / "bomb.png")


def test_special_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            image_content(path)
        with pytest.raises(DataError, match="not a regular file"):
            load_image(path)
