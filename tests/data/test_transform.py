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


def test_another_size_without_crop_is_an_error(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"become \(3, 6, 8\), expected \(3, 6, 9\); .* need a crop_size"):
        transformer().apply(images, np.empty((7, 3, 6, 9), np.float32))
