"""The fourth channel of TIFF files: alpha by which OpenCV multiplies the colours, or not."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dragon.data.image_file import Color, decode_image

WIDTH, HEIGHT = 5, 3
ALPHA = 2  # kind of extra sample


def tiff(samples: NDArray[Any], bits: int) -> bytes:
    """A TIFF of red, green, blue and alpha, one strip, little-endian."""
    content, begin = samples.tobytes(), 8 + 2 + 12 * 11 + 4
    fields = {256: WIDTH, 257: HEIGHT, 258: begin, 259: 1, 262: 2, 273: begin + 16, 277: 4, 278: HEIGHT}
    fields |= {279: len(content), 284: 1, 338: ALPHA}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 4 if tag == 258 else 1, value) for tag, value in sorted(fields.items())
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", 0)
    return head + struct.pack("<4I", *[bits] * 4) + content


def test_colours_times_alpha() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "TIFF")
    found = decode_image(file.getvalue(), Color.COLOR)
    expected = pixels[..., 2::-1].astype(float) * pixels[..., 3:] / 255
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=0.51)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("said", [False, True], ids=["of OpenCV", "that says that it has alpha"])
@pytest.mark.parametrize("color", list(Color))
def test_as_opencv_reads_it(color: Color, said: bool, bits: int) -> None:
    """OpenCV does not write what its fourth channel is, and does not multiply by it then."""
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(4).integers(0, 2**bits, (HEIGHT, WIDTH, 4)).astype(f"u{bits // 8}")
    content = tiff(pixels, bits) if said else cv2.imencode(".tiff", pixels)[1].tobytes()
    flag = {Color.GRAY: cv2.IMREAD_GRAYSCALE, Color.COLOR: cv2.IMREAD_COLOR, Color.AS_STORED: cv2.IMREAD_UNCHANGED}
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), flag[color])
    expected = expected >> (8 * expected.itemsize - 8)
    found = decode_image(content, color)
    assert found.shape[0] == (expected.shape[2] if expected.ndim > 2 else 1)
    np.testing.assert_allclose(found.transpose(1, 2, 0).squeeze(), expected, atol=1 if color is Color.GRAY else 0)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_colours_of_16_bits_are_rounded(compression: str | None) -> None:
    """As libtiff does it; Pillow gives the high bytes. Those that are wanted as stored keep them."""
    pixels = np.random.default_rng(6).integers(0, 1 << 16, (HEIGHT, WIDTH, 4)).astype("u2")
    pixels[..., 3] = 65535
    content = tiff(pixels, 16)
    if compression is not None:
        cv2 = pytest.importorskip("cv2")
        content = cv2.imencode(".tiff", pixels[..., [2, 1, 0, 3]], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    expected = np.rint(pixels[..., 2::-1] / 257).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(content, Color.COLOR), expected)
    np.testing.assert_array_equal(decode_image(content)[:3], pixels[..., 2::-1].transpose(2, 0, 1) >> 8)
