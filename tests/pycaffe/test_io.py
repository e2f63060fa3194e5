"""Images and messages: what goes in comes out, in pycaffe's conventions."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dragon as caffe
from dragon.errors import DataError, UsageError
from dragon.proto import caffe_pb2


def picture(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, channels), np.float32)


def test_load_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 4), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    image = caffe.io.load_image(tmp_path / "a.png")
    np.testing.assert_allclose(image, pixels[..., :3] / 255.0, atol=1e-6)
    assert caffe.io.load_image(tmp_path / "a.png", color=False).shape == (5, 7, 1)
    with pytest.raises(DataError, match="No such file"):
        caffe.io.load_image(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="cannot be read"):
        caffe.io.load_image(tmp_path / "text.png")


def test_grey_of_colours_is_that_of_scikit_image(tmp_path: Path) -> None:
    """Values of skimage.color.rgb2gray; data layers, and the commands that classify, take OpenCV's grey."""
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = [0.2125, 0.7154, 0.0721, (0.2125 * 10 + 0.7154 * 20 + 0.0721 * 30) / 255]
    np.testing.assert_allclose(caffe.io.load_image(tmp_path / "a.png", color=False)[0, :, 0], expected, rtol=1e-6)
    PIL.Image.fromarray(pixels[..., 2]).save(tmp_path / "grey.png")
    np.testing.assert_allclose(caffe.io.load_image(tmp_path / "grey.png", False)[0, :, 0], pixels[0, :, 2] / 255)
    from dragon.pycaffe.images import read_image

    np.testing.assert_allclose(read_image(tmp_path / "a.png", False)[0, :3, 0], [76 / 255, 149 / 255, 29 / 255])


def test_images_of_open_files(tmp_path: Path) -> None:
    """Servers pass what was uploaded or fetched, as Caffe's web demo does."""
    pixels = (picture() * 255).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        np.testing.assert_allclose(caffe.io.load_image(file), pixels / 255.0, atol=1e-6)
    found = caffe.io.load_image(io.BytesIO((tmp_path / "a.png").read_bytes()))
    np.testing.assert_allclose(found, pixels / 255.0, atol=1e-6)
    with pytest.raises(DataError, match="image of a file object cannot be read: it is a text file"):
        caffe.io.load_image(io.BytesIO(b"text"))


def test_sixteen_bit_grey_reaches_from_zero_to_one(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_allclose(caffe.io.load_image(tmp_path / "deep.png")[0, :, 1], [0, 1])


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resize_keeps_constants_and_identity(order: int) -> None:
    np.testing.assert_allclose(caffe.io.resize_image(np.full((4, 5, 2), 7.0), (9, 3), order), 7, rtol=1e-6)
    image = picture()
    np.testing.assert_allclose(caffe.io.resize_image(image, (6, 8), order), image, atol=1e-6)


def test_linear_resize_follows_a_ramp_and_halves_by_averaging() -> None:
    ramp = np.arange(8.0)[None, :, None].repeat(2, 0)
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (2, 4))[0, :, 0], [0.5, 2.5, 4.5, 6.5])
    doubled = caffe.io.resize_image(ramp, (2, 16))[0, 1:-1, 0]
    np.testing.assert_allclose(doubled, np.arange(14) / 2 + 0.25)


def test_oversample_takes_corners_centre_and_mirrors() -> None:
    image = np.arange(36.0).reshape(6, 6, 1)
    crops = caffe.io.oversample([image, image + 100], (4, 4))
    assert crops.shape == (20, 4, 4, 1)
    firsts = crops[:5, 0, 0, 0]
    np.testing.assert_array_equal(firsts, [0, 2, 12, 14, 7])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:15], crops[:5] + 100)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "there are no images to take crops of"),
        ([(6, 6, 1), (8, 6, 1)], r"images of one size, got shapes \(6, 6, 1\) and \(8, 6, 1\)"),
    ],
)
def test_images_that_no_crops_can_be_taken_of(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        caffe.io.oversample([np.zeros(shape) for shape in shapes], (4, 4))


def full_transformer() -> caffe.io.Transformer:
    t = caffe.io.Transformer({"data": (1, 3, 6, 8)})
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 1, 0))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.array([104.0, 117.0, 123.0]))
    t.set_input_scale("data", 0.017)
    return t


def test_preprocess_does_every_step_in_order_and_deprocess_undoes_them() -> None:
    image, t = picture(), full_transformer()
    kept = image.copy()
    out = t.preprocess("data", image)
    expected = (image[..., ::-1].transpose(2, 0, 1) * 255 - np.array([104, 117, 123])[:, None, None]) * 0.017
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_allclose(t.deprocess("data", out[None]), image, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (lambda t: t.set_transpose("data", (0, 0, 1)), r"each axis from 0 to 2, got \(0, 0, 1\)"),
        (lambda t: t.set_transpose("data", (5, 0, 1)), r"each axis from 0 to 2, got \(5, 0, 1\)"),
        (lambda t: t.set_channel_swap("data", (0, 1, 3)), r"channels from 0 to 2, got \(0, 1, 3\)"),
        (lambda t: t.set_channel_swap("data", (-1, 1, 2)), r"channels from 0 to 2, got \(-1, 1, 2\)"),
        (lambda t: t.preprocess("data", np.zeros((6, 8))), r"has 3 axes, got shape \(6, 8\)"),
        (lambda t: t.preprocess("data", np.zeros((6, 8, 1))), "which needs 3, got 1"),
    ],
)
def test_what_a_transformer_cannot_do(setting: Callable[[caffe.io.Transformer], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        setting(full_transformer())


def test_a_mean_that_does_not_fit_the_image_makes_no_channels() -> None:
    t = caffe.io.Transformer({"data": (1, 3, 6, 8)})
    t.set_transpose("data", (2, 0, 1))
    t.set_mean("data", np.array([1.0, 2.0, 3.0]))
    with pytest.raises(UsageError, match=r"a mean of shape \(3, 1, 1\) for an image of shape \(1, 6, 8\)"):
        t.preprocess("data", picture(channels=1))


def test_the_mean_of_an_input_without_images() -> None:
    t = caffe.io.Transformer({"data": (4, 3)})
    t.set_mean("data", np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(t.preprocess("data", np.array([5, 5, 5])), [4, 3, 2])


def test_preprocess_resizes_and_mean_images_are_resized() -> None:
    t = full_transformer()
    assert t.preprocess("data", picture(12, 9)).shape == (3, 6, 8)
    t.set_mean("data", np.full((3, 2, 2), 5.0))
    assert t.mean["data"].shape == (3, 6, 8)


def test_transformer_refuses_what_does_not_fit() -> None:
    t = full_transformer()
    with pytest.raises(ValueError, match="dat is not one of the net inputs"):
        t.set_raw_scale("dat", 1)
    with pytest.raises(ValueError, match="Transpose order"):
        t.set_transpose("data", (0, 1))
    with pytest.raises(ValueError, match="Channel swap"):
        t.set_channel_swap("data", (0, 1))
    with pytest.raises(ValueError, match="Mean channels"):
        t.set_mean("data", np.zeros(2))


def test_blobs_and_datums_round_trip() -> None:
    values = picture().astype(np.float32)
    blob = caffe.io.array_to_blobproto(values, values * 2)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), values * 2)
    arrays = [values, values[0]]
    back = caffe.io.blobprotovector_str_to_arraylist(caffe.io.arraylist_to_blobprotovector_str(arrays))
    for mine, theirs in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    datum = caffe.io.array_to_datum(pixels, 7)
    assert (datum.label, datum.data) == (7, pixels.tobytes())
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), pixels)
    caffe.io.datum_to_array(datum)[...] += 1  # a copy, as pycaffe's
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), pixels)
    floats = caffe.io.array_to_datum(pixels / 2)
    np.testing.assert_array_equal(caffe.io.datum_to_array(floats), pixels / 2)
    with pytest.raises(ValueError, match="Incorrect array shape"):
        caffe.io.array_to_datum(pixels[0])


def test_an_encoded_datum_is_no_array() -> None:
    with pytest.raises(ValueError, match="the Datum holds an image file: decode"):
        caffe.io.datum_to_array(caffe_pb2.Datum(data=b"x", encoded=True))


def test_load_image_of_16_bits_keeps_them(tmp_path: Path) -> None:
    """scikit-image divides by 65535; the high bytes alone would be off by up to 1/256."""
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(3).integers(0, 1 << 16, (4, 6, 4)).astype(np.uint16)
    for name in ("a.png", "a.tiff"):
        cv2.imwrite(str(tmp_path / name), pixels)
        found = caffe.io.load_image(tmp_path / name)
        np.testing.assert_allclose(found, pixels[..., 2::-1] / 65535, rtol=1e-6)
        grey = caffe.io.load_image(tmp_path / name, color=False)
        np.testing.assert_allclose(grey[..., 0], found @ [0.2125, 0.7154, 0.0721], rtol=1e-6)
