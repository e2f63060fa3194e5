from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import Color, Transformer, write_mean
from dragon.errors import DataError
from dragon.proto import dragon_pb2
from dragon.rng import Stream
from tests.data.conftest import small_images

TRAIN, TEST = dragon_pb2.TRAIN, dragon_pb2.TEST


def transformer(phase: int = TEST, seed: int = 1, **settings: Any) -> Transformer:
    return Transformer(dragon_pb2.TransformationParameter(**settings), phase, Stream(seed, "data"))


def run(t: Transformer, images: Any) -> NDArray[np.float32]:
    out = np.full((len(images), *t.output_shape(images[0].shape)), np.nan, np.float32)
    assert t.apply(images, out) is out
    return out


def test_nothing_asked_copies(images: NDArray[np.uint8]) -> None:
    t = transformer(TRAIN)
    np.testing.assert_array_equal(run(t, images), images)
    assert not t.random
    assert t.rng.draws == 0


def test_float_images_and_out_of_double_precision(images: NDArray[np.uint8]) -> None:
    values = images / 7.0
    out = np.empty(images.shape, np.float64)
    transformer(mean_value=[2.5], scale=0.5).apply(values, out)
    np.testing.assert_allclose(out, (values - 2.5) * 0.5, rtol=1e-12)


@pytest.mark.parametrize("values", [[7.5], [1.0, 20.0, 300.5]])
def test_mean_values_come_before_scale(images: NDArray[np.uint8], values: list[float]) -> None:
    mean = np.array(values, np.float32).reshape(-1, 1, 1)
    expected = (images - mean) * np.float32(0.25)
    np.testing.assert_array_equal(run(transformer(mean_value=values, scale=0.25), images), expected)


def test_centre_crop_in_test_takes_the_mean_at_the_same_place(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    mean = small_images(1, seed=9)[0].astype(np.float32)
    write_mean(tmp_path / "mean", mean)
    t = transformer(crop_size=3, mean_file=str(tmp_path / "mean"), scale=2)
    expected = (images - mean)[:, :, 1:4, 2:5] * 2  # (6 - 3) // 2 and (8 - 3) // 2
    np.testing.assert_array_equal(run(t, images), expected)
    assert not t.random


@pytest.mark.parametrize("scale", [0.5, -2.0])
@pytest.mark.parametrize("mean", ["none", "values", "file"])
def test_limits_are_what_black_and_white_images_become(
    tmp_path: Path, images: NDArray[np.uint8], mean: str, scale: float
) -> None:
    write_mean(tmp_path / "mean", small_images(1, seed=9)[0].astype(np.float32))
    settings: dict[str, dict[str, Any]] = {
        "none": {}, "values": {"mean_value": [1.0, 20.0, 300.5]}, "file": {"mean_file": str(tmp_path / "mean")}
    }  # fmt: skip
    by = settings[mean]
    t = transformer(crop_size=3, scale=scale, **by)
    ends = [run(t, np.full_like(images[:1], value))[0] for value in (0, 255)]
    limits = t.limits(images.shape[1:])
    assert limits is not None
    for limit, expected in zip(limits, (np.minimum(*ends), np.maximum(*ends)), strict=True):
        np.testing.assert_array_equal(np.broadcast_to(limit, expected.shape), expected)
    for random in (transformer(mirror=True, **by), transformer(TRAIN, crop_size=3, **by)):
        assert (random.limits(images.shape[1:]) is None) == (mean == "file"), "a mean image moves with the image"


def test_random_crops_are_windows_of_the_image_less_the_mean(tmp_path: Path) -> None:
    images = small_images(200, (2, 5, 6))
    mean = small_images(1, (2, 5, 6), seed=9)[0].astype(np.float32)
    write_mean(tmp_path / "mean", mean)
    t = transformer(TRAIN, crop_size=4, mean_file=str(tmp_path / "mean"))
    places = set()
    for image, top in zip(images - mean, run(t, images), strict=True):
        found = [
            (row, column)
            for row in range(2)
            for column in range(3)
            if (image[:, row : row + 4, column : column + 4] == top).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) == 6


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_mirror_flips_about_half_in_either_phase(phase: int) -> None:
    images = small_images(200, (1, 3, 4))
    tops = run(transformer(phase, mirror=True), images)
    flipped = (tops == images[..., ::-1]).all((1, 2, 3))
    kept = (tops == images).all((1, 2, 3))
    assert (flipped ^ kept).all()
    assert 70 < flipped.sum() < 130


def test_mirror_comes_after_mean_and_crop(tmp_path: Path) -> None:
    images = small_images(50, (1, 3, 6))
    mean = np.arange(18, dtype=np.float32).reshape(1, 3, 6)
    write_mean(tmp_path / "mean", mean)
    tops = run(transformer(TEST, mirror=True, crop_size=2, mean_file=str(tmp_path / "mean")), images)
    expected = (images - mean)[:, :, 0:2, 2:4]
    flipped = (tops == expected[..., ::-1]).all((1, 2, 3))
    assert (flipped | (tops == expected).all((1, 2, 3))).all()
    assert 0 < flipped.sum() < 50


def test_the_same_draws_give_the_same_batch() -> None:
    images = small_images(20)
    t = transformer(TRAIN, mirror=True, crop_size=4)
    first, second = run(t, images), run(t, images)
    assert t.rng.draws == 2
    assert (first != second).any()
    t.rng.draws = 1
    np.testing.assert_array_equal(run(t, images), second)
    np.testing.assert_array_equal(run(transformer(TRAIN, mirror=True, crop_size=4), images), first)


def test_images_of_different_sizes_are_cropped_to_one() -> None:
    images = [small_images(1, (3, 6, 8))[0], small_images(1, (3, 5, 9))[0]]
    tops = run(transformer(crop_size=4), images)
    np.testing.assert_array_equal(tops[0], images[0][:, 1:5, 2:6])
    np.testing.assert_array_equal(tops[1], images[1][:, 0:4, 2:6])


def test_a_read_only_batch_is_left_alone(images: NDArray[np.uint8]) -> None:
    images.flags.writeable = False
    before = images.copy()
    run(transformer(TRAIN, mirror=True, mean_value=[3]), images)
    np.testing.assert_array_equal(images, before)


def test_colour_wish() -> None:
    assert transformer().color is Color.AS_STORED
    assert transformer(force_color=True).color is Color.COLOR
    assert transformer(force_gray=True).color is Color.GRAY


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_size": 7}, r"crop_size 7 is larger than the image: it has shape \(3, 6, 8\)"),
        ({"zero_pad": 7}, r"zero_pad 7 is larger than the image: it has shape \(3, 6, 8\)"),
        ({"zero_pad": 2, "crop_size": 11}, r"crop_size 11 is larger than the image with zero_pad 2: it has shape"),
        ({"brightness": 1.5}, r"brightness must lie in \[0, 1\], got 1.5"),
        ({"contrast": -0.5}, r"contrast must lie in \[0, 1\], got -0.5"),
        ({"saturation": float("nan")}, r"saturation must lie in \[0, 1\], got nan"),
        ({"mean_value": [1, 2]}, r"2 mean_value, expected 1 or 3"),
        ({"mean_file": "MEAN"}, r"has shape \(3, 6, 7\), the images have \(3, 6, 8\)"),
        ({"mean_file": "MEAN", "mean_value": [1]}, "both mean_file and mean_value"),
        ({"force_color": True, "force_gray": True}, "both force_color and force_gray"),
        ({"mean_file": "nowhere"}, r"mean file nowhere does not exist .looked for from"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mean("MEAN", np.zeros((3, 6, 7), np.float32))
    with pytest.raises(DataError, match=message):
        transformer(**settings).output_shape((3, 6, 8))


def test_saturation_of_grey_images() -> None:
    with pytest.raises(DataError, match="saturation needs images of 3 channels, got 1"):
        transformer(TRAIN, saturation=0.5).output_shape((1, 4, 4))
    assert transformer(TEST, saturation=0.5).output_shape((1, 4, 4)) == (1, 4, 4)


def test_another_size_without_crop_is_an_error(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"become \(3, 6, 8\), expected \(3, 6, 9\); .* need a crop_size"):
        transformer().apply(images, np.empty((7, 3, 6, 9), np.float32))


@pytest.fixture
def numbered() -> NDArray[np.uint8]:
    """Images whose pixels all differ from each other and from zero: (200, 1, 5, 6)."""
    return np.arange(1, 31, dtype=np.uint8).reshape(1, 1, 5, 6) + np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("scale", [1.0, -0.5])
@pytest.mark.parametrize("mean", ["values", "file"])
def test_zero_pad_puts_zeros_around_what_is_less_the_mean(
    tmp_path: Path, numbered: NDArray[np.uint8], mean: str, scale: float
) -> None:
    image = np.linspace(3, 50, 30, dtype=np.float32).reshape(1, 5, 6)
    write_mean(tmp_path / "mean", image)
    by: dict[str, Any] = {"mean_value": [7.5]} if mean == "values" else {"mean_file": str(tmp_path / "mean")}
    less = (numbered - (np.float32(7.5) if mean == "values" else image)) * np.float32(scale)
    padded = np.pad(less, ((0, 0), (0, 0), (2, 2), (2, 2)))
    np.testing.assert_array_equal(run(transformer(TEST, zero_pad=2, scale=scale, **by), numbered), padded)
    seen = set()
    for whole, top in zip(
        padded, run(transformer(TRAIN, zero_pad=2, crop_size=5, scale=scale, **by), numbered), strict=True
    ):
        found = [(r, c) for r in range(5) for c in range(6) if (whole[:, r : r + 5, c : c + 5] == top).all()]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 30, "each of the 5 x 6 windows comes"


def test_zero_pad_leaves_the_window_of_a_test_where_it_was(numbered: NDArray[np.uint8]) -> None:
    for size in (3, 4, 5):
        expected = run(transformer(TEST, crop_size=size), numbered)
        np.testing.assert_array_equal(run(transformer(TEST, crop_size=size, zero_pad=3), numbered), expected)


def test_zero_pad_and_images_of_different_sizes() -> None:
    images = [small_images(1, (3, 6, 8))[0], small_images(1, (3, 5, 9))[0]]
    tops = run(transformer(crop_size=8, zero_pad=2), images)
    np.testing.assert_array_equal(tops[0], np.pad(images[0], ((0, 0), (1, 1), (0, 0))))
    np.testing.assert_array_equal(tops[1], np.pad(images[1], ((0, 0), (2, 1), (0, 0)))[:, :, 0:8])


@pytest.mark.parametrize("settings", [{}, {"crop_size": 6}, {"crop_size": 4, "mirror": True}])
@pytest.mark.parametrize("mean", [False, True])
def test_limits_with_zero_pad(tmp_path: Path, settings: dict[str, Any], mean: bool) -> None:
    values = small_images(1, (1, 5, 6), seed=9)[0].astype(np.float32)
    write_mean(tmp_path / "mean", values)
    of_mean: dict[str, Any] = {"mean_file": str(tmp_path / "mean")} if mean else {}
    t = transformer(TEST, zero_pad=1, scale=2, **settings, **of_mean)
    limits = t.limits((1, 5, 6))
    if t.random and mean:
        assert limits is None
        return
    assert limits is not None
    images = np.random.default_rng(2).integers(0, 256, (300, 1, 5, 6), dtype=np.uint8)
    images[:2] = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    tops = run(t, images)
    assert (tops >= limits[0]).all()
    assert (tops <= limits[1]).all()
    if not t.random:
        np.testing.assert_array_equal(np.broadcast_to(limits[1], tops.shape[1:]), tops.max(0))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_cutout_is_a_square_of_zeros(numbered: NDArray[np.uint8], size: int) -> None:
    tops = run(transformer(TRAIN, cutout=size, mean_value=[300]), numbered)
    middles = set()
    for image, top in zip(numbered - np.float32(300), tops, strict=True):
        squares = {}
        for row in range(5):
            for column in range(6):
                expected = image.copy()
                first, left = row - size // 2, column - size // 2
                expected[:, max(first, 0) : max(first + size, 0), max(left, 0) : max(left + size, 0)] = 0
                squares[row, column] = expected
        found = [place for place, expected in squares.items() if (expected == top).all()]
        assert found
        middles.add(found[0])
    assert len(middles) > 25 or size == 100


def grey(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(0.114 * image[0] + 0.587 * image[1] + 0.299 * image[2])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colours_change_by_one_factor_for_each_image(name: str) -> None:
    images = np.random.default_rng(3).integers(100, 140, (300, 3, 5, 4), dtype=np.uint8)
    out = np.empty(images.shape, np.float64)
    settings: dict[str, Any] = {name: 0.3}
    transformer(TRAIN, **settings).apply(images, out)
    factors = []
    for image, top in zip(images.astype(float), out, strict=True):
        centre: Any = {"brightness": 0.0, "contrast": grey(image).mean(), "saturation": grey(image)}[name]
        away = np.abs(image - centre) > 1
        ratio = (top - centre)[away] / (image - centre)[away]
        np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-6)
        factors.append(np.median(ratio))
    assert 0.7 <= min(factors) < 0.72
    assert 1.28 < max(factors) <= 1.3
    assert np.mean(factors) == pytest.approx(1, abs=0.03)


def test_colours_of_8_bit_images_stay_in_range_and_others_may_leave_it() -> None:
    images = np.full((50, 3, 4, 4), 250, np.uint8)
    settings: dict[str, Any] = {"brightness": 0.5, "contrast": 1, "saturation": 1}
    tops = run(transformer(TRAIN, **settings), images)
    assert tops.max() == 255
    assert run(transformer(TRAIN, **settings), images.astype(np.float32)).max() > 300


def test_order_of_the_changes() -> None:
    """Colours first, then the mean, then the crop, then the mirror, then the square."""
    images = np.random.default_rng(3).integers(100, 140, (20, 3, 6, 6), dtype=np.uint8)
    place: dict[str, Any] = {"crop_size": 4, "mirror": True, "zero_pad": 1}
    plain = run(transformer(TRAIN, **place), images.astype(np.float32))
    bright = run(transformer(TRAIN, brightness=0.2, mean_value=[50], scale=0.5, **place), images)
    inside = plain != 0
    factors = (2 * bright[inside] + 50) / plain[inside]
    assert len(np.unique(np.round(factors, 4))) == len(images), "the windows are the same, so each image has one factor"
    cut = run(transformer(TRAIN, cutout=2, mean_value=[50], **place), images)
    less = np.where(inside, plain - 50, 0)
    assert ((cut == less) | (cut == 0)).all()
    assert (cut != less).any((1, 2, 3)).sum() > 10


AUGMENTED: dict[str, Any] = {
    "mirror": True, "crop_size": 5, "zero_pad": 2, "cutout": 2, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
}  # fmt: skip


def test_augmentation_depends_on_the_seed_and_the_draw_alone() -> None:
    images = small_images(20)
    t = transformer(TRAIN, **AUGMENTED)
    first, second = run(t, images), run(t, images)
    assert t.rng.draws == 2
    assert (first != second).any()
    t.rng.draws = 1
    np.testing.assert_array_equal(run(t, images), second)
    np.testing.assert_array_equal(run(transformer(TRAIN, **AUGMENTED), images), first)
    assert (run(transformer(TRAIN, seed=2, **AUGMENTED), images) != first).any()


def test_only_the_padding_stays_in_a_test() -> None:
    images = small_images(5)
    expected = run(transformer(TEST, crop_size=5, zero_pad=2), images)
    t = transformer(TEST, **{**AUGMENTED, "mirror": False})
    np.testing.assert_array_equal(run(t, images), expected)
    assert not t.random
    assert t.windows_only
    assert not transformer(TRAIN, **AUGMENTED).windows_only


def test_a_batch_without_augmentation_has_the_bits_it_always_had() -> None:
    images = small_images(4, (1, 4, 4))
    t = transformer(TRAIN, mirror=True, crop_size=3, mean_value=[10], scale=0.25)
    words = Stream(1, "data").raw(12).reshape(4, 3)
    for image, top, (flip, row, column) in zip(images, run(t, images), words.tolist(), strict=True):
        window = (image[:, row % 2 : row % 2 + 3, column % 2 : column % 2 + 3] - np.float32(10)) * np.float32(0.25)
        np.testing.assert_array_equal(top, window[..., ::-1] if flip % 2 else window)
