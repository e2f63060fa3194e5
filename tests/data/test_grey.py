"""Grey that files in colours are read as: the values of OpenCV in every format."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from dragon.data.image_file import Color, decode_image
from dragon.pycaffe.images import read_image

GAMMAS = [None, 0.001, 0.45455, 0.94, 0.95, 0.9523, 0.9525, 1.0, 1.05, 1.0501, 1.06, 2.2]


def saved(image: PIL.Image.Image, kind: str, gamma: float | None = None, srgb: int | None = None) -> bytes:
    file = io.BytesIO()
    chunks = PngInfo()
    if gamma is not None:
        chunks.add(b"gAMA", struct.pack(">I", round(gamma * 100000)))
    if srgb is not None:
        chunks.add(b"sRGB", bytes([srgb]))
    if kind == "PNG":
        image.save(file, kind, pnginfo=chunks)
    else:
        image.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def colours(seed: int, channels: int = 3) -> NDArray[np.uint8]:
    """Random ones, of which the first rows are greys."""
    found = np.random.default_rng(seed).integers(0, 256, (48, 64, channels), np.uint8)
    found[:4] = found[:4, :, :1]
    return found


@pytest.mark.parametrize(("kind", "expected"), [("PNG", 1), ("BMP", 2), ("PPM", 2), ("TIFF", 2), ("WEBP", 2)])
def test_a_png_is_rounded_down(kind: str, expected: int) -> None:
    """0.299 * 1 + 0.587 * 2 + 0.114 * 4 is 1.929."""
    content = saved(PIL.Image.new("RGB", (4, 4), (1, 2, 4)), kind)
    assert decode_image(content, Color.GRAY).tolist() == [[[expected] * 4] * 4]


@pytest.mark.parametrize(("gamma", "srgb"), [(0.45455, None), (None, 0), (0.9, 1)])
def test_a_png_with_a_gamma_is_made_linear(gamma: float | None, srgb: int | None) -> None:
    content = saved(PIL.Image.new("RGB", (1, 1), (255, 0, 0)), "PNG", gamma, srgb)
    assert decode_image(content, Color.GRAY).item() == round(255 * 0.299**0.45455)
    assert decode_image(content, Color.COLOR).ravel().tolist() == [0, 0, 255]


def test_classify_reads_the_same_grey() -> None:
    for kind in ("PNG", "BMP", "JPEG"):
        content = saved(PIL.Image.fromarray(colours(0)), kind)
        np.testing.assert_array_equal(
            np.rint(255 * read_image(io.BytesIO(content), False)[..., 0]), decode_image(content, Color.GRAY)[0]
        )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_formats_as_opencv_reads_them(kind: str, mode: str) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = colours(1, len(mode))
    image = PIL.Image.fromarray(pixels[..., 0] if mode == "P" else pixels)
    if mode == "P":
        image.putpalette(colours(2).tobytes()[:768])
    content = saved(image.convert("RGB") if mode == "P" and kind in ("JPEG2000", "PPM") else image, kind)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(decode_image(content, Color.GRAY)[0], expected)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("srgb", [None, 2, 4])
def test_a_gamma_as_opencv_takes_it(gamma: float | None, srgb: int | None) -> None:
    cv2 = pytest.importorskip("cv2")
    content = saved(PIL.Image.fromarray(colours(3)), "PNG", gamma, srgb)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(decode_image(content, Color.GRAY)[0], expected)


@pytest.mark.parametrize("gamma", [None, 0.45455, 2.2])
def test_16_bits_as_opencv_reads_them(gamma: float | None) -> None:
    """Tables of powers may differ by one in their last bit, and so grey by one in few pixels."""
    cv2 = pytest.importorskip("cv2")
    samples = np.random.default_rng(4).integers(0, 65536, (48, 64, 3), np.uint16)
    samples[:4] = samples[:4, :, :1]
    content = cv2.imencode(".png", samples)[1].tobytes()
    if gamma is not None:
        content = content[:33] + saved(PIL.Image.new("RGB", (1, 1)), "PNG", gamma)[33:49] + content[33:]
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    apart = np.abs(decode_image(content, Color.GRAY)[0].astype(int) - expected)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 0.003 * apart.size


def test_cmyk_in_a_tiff_as_opencv_reads_it() -> None:
    cv2 = pytest.importorskip("cv2")
    content = saved(PIL.Image.frombytes("CMYK", (64, 48), colours(5, 4).tobytes()), "TIFF")
    for color, flag in {Color.COLOR: cv2.IMREAD_COLOR, Color.GRAY: cv2.IMREAD_GRAYSCALE}.items():
        expected = cv2.imdecode(np.frombuffer(content, np.uint8), flag).reshape(48, 64, -1).transpose(2, 0, 1)
        np.testing.assert_array_equal(decode_image(content, color), expected)
