from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import DataError, DragonError
from tests.layers.helpers import One, goes_on_as

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (5, 6, 8, 3), np.uint8)  # five images, red first


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i} a.png")
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{i} a.png {10 + i}\n" for i in range(5)))
    return path


def make(listing: Path, setting: str = "", more: str = "", phase: int = TRAIN, n_top: int = 2, seed: int = 3) -> One:
    size = "" if "batch_size" in setting else "batch_size: 2"
    text = (
        f'type: "ImageData" image_data_param {{ source: "{listing}" root_folder: "{listing.parent}/" '
        f"{size} {setting} }} {more}"
    )
    return One(text, n_top=n_top, phase=phase, seed=seed)


def batch(one: One) -> tuple[Any, list[float]]:
    data = one.forward().copy()
    return data, one.top[1].data.tolist()


def blue_first(i: int) -> Any:
    return PIXELS[i].transpose(2, 0, 1)[::-1]


def test_order_and_channels(listing: Path) -> None:
    one = make(listing)
    for expected in ([0, 1], [2, 3], [4, 0]):
        data, labels = batch(one)
        assert labels == [10 + i for i in expected]
        np.testing.assert_array_equal(data, np.stack([blue_first(i) for i in expected]))
    one.layer.close()


def test_gray_and_transformed(listing: Path) -> None:
    one = make(listing, "is_color: false", "transform_param { scale: 0.5 crop_size: 4 mean_value: 10 }", phase=TEST)
    data, _ = batch(one)
    gray = np.floor(PIXELS[0] @ np.array([9797, 19234, 3737]) / 2**15)  # of a PNG, in OpenCV
    np.testing.assert_allclose(data[0, 0], (gray[1:5, 2:6] - 10) * 0.5)
    one.layer.close()


def test_resized(listing: Path) -> None:
    one = make(listing, "new_height: 3 new_width: 4")
    data, _ = batch(one)
    x = blue_first(0).astype(float)
    expected = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(data[0], expected, atol=0.51)
    one.layer.close()


def test_shuffled_epochs_are_whole_and_differ(listing: Path) -> None:
    one = make(listing, "shuffle: true")
    labels = [label for _ in range(10) for label in batch(one)[1]]
    epochs = [labels[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(epoch) == [10, 11, 12, 13, 14] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    other = make(listing, "shuffle: true")
    assert [label for _ in range(10) for label in batch(other)[1]] == labels
    one.layer.close()
    other.layer.close()


def test_resume_is_exact_under_another_seed(listing: Path) -> None:
    setting = ("shuffle: true", "transform_param { crop_size: 4 mirror: true }")
    one = make(listing, *setting)
    for _ in range(3):
        batch(one)
    other = make(listing, *setting, seed=99)
    other.forward()
    goes_on_as(one, other)


def test_rand_skip_starts_elsewhere(listing: Path) -> None:
    starts = set()
    for seed in range(8):
        one = make(listing, "rand_skip: 5", seed=seed)
        starts.add(batch(one)[1][0])
        one.layer.close()
    assert len(starts) > 1


def test_without_labels(listing: Path) -> None:
    one = make(listing, n_top=1)
    assert one.forward().shape == (2, 3, 6, 8)
    one.layer.close()


@pytest.mark.parametrize(
    ("content", "setting", "message"),
    [
        ("", "", r"image list .* is empty"),
        ("0 a.png ten\n", "", r"list\.txt:1: expected \"FILE LABEL\", got \"0 a.png ten\""),
        ("7\n", "", r"list\.txt:1: expected \"FILE LABEL\""),
        ("none.png 1\n", "", r"none\.png\" cannot be read: No such file"),
        ("list.txt 1\n", "", r"list\.txt\": the encoded image cannot be read"),
        ("0 a.png 1\n", "new_height: 3", "new_height and new_width must be set together"),
        (
            "0 a.png 1\n",
            "new_height: 2147483647 new_width: 2147483647",
            r"new_height and new_width: shape \(1, 2147483647, 2147483647\) takes .* GiB, this machine has",
        ),
        ("0 a.png 1\n", "batch_size: 0", "needs a batch_size of at least 1"),
    ],
)
def test_messages(listing: Path, content: str, setting: str, message: str) -> None:
    listing.write_text(content)
    with pytest.raises(DragonError, match=rf'layer "one" \(ImageData\): .*{message}'):
        make(listing, setting)


def test_images_of_different_sizes_need_a_crop(listing: Path) -> None:
    Image.fromarray(PIXELS[0][:5]).save(listing.parent / "1 a.png")
    one = make(listing)
    with pytest.raises(DataError, match="images of different sizes need a crop_size"):
        one.forward()
    one.layer.close()
    one = make(listing, more="transform_param { crop_size: 4 }")
    assert one.forward().shape == (2, 3, 4, 4)
    one.layer.close()
