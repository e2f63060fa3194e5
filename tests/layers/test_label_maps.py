"""DenseImageData and ImageSegData: images and label maps stay together, whatever is done to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import DataError, DragonError, ShapeError
from tests.layers.helpers import One, goes_on_as

RNG = np.random.default_rng(1)
# the red of each pixel is its label, so that image and map can be compared after everything
LABELS = RNG.integers(0, 200, (5, 6, 8), np.uint8)
IMAGES = np.stack([LABELS, *RNG.integers(0, 256, (2, 5, 6, 8), np.uint8)], axis=-1)
KINDS = ["DenseImageData", "ImageSegData"]


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    for i in range(5):
        Image.fromarray(IMAGES[i]).save(tmp_path / f"{i}.png")
        Image.fromarray(LABELS[i]).save(tmp_path / f"{i}_map.png")
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{i}.png {i}_map.png\n" for i in range(5)))
    return path


def make(
    listing: Path, kind: str, setting: str = "", transform: str = "", phase: int = TRAIN, n_top: int = 2, seed: int = 3
) -> One:
    message = {"DenseImageData": "dense_image_data_param", "ImageSegData": "image_data_param"}[kind]
    if kind == "ImageSegData" and "label_type" not in setting:
        setting += " label_type: PIXEL"
    size = "" if "batch_size" in setting else "batch_size: 2"
    text = (
        f'type: "{kind}" {message} {{ source: "{listing}" root_folder: "{listing.parent}/" {size} {setting} }} '
        f"transform_param {{ {transform} }}"
    )
    return One(text, n_top=n_top, phase=phase, seed=seed)


def batch(one: One) -> tuple[Any, Any]:
    data = one.forward().copy()
    return data, one.top[1].data.copy()


@pytest.mark.parametrize("kind", KINDS)
def test_order_channels_and_labels(listing: Path, kind: str) -> None:
    one = make(listing, kind)
    for expected in ([0, 1], [2, 3], [4, 0]):
        data, labels = batch(one)
        np.testing.assert_array_equal(data, IMAGES[expected].transpose(0, 3, 1, 2)[:, ::-1])
        np.testing.assert_array_equal(labels, LABELS[expected][:, None])
    one.layer.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "transform",
    [
        "crop_size: 4 mirror: true",
        "crop_height: 3 crop_width: 5 mirror: true",
        "crop_h: 3 crop_w: 5",
        "mirror: true",
    ],
)
def test_image_and_map_stay_together(listing: Path, kind: str, transform: str) -> None:
    one = make(listing, kind, "shuffle: true", transform)
    seen = set()
    for _ in range(8):
        data, labels = batch(one)
        np.testing.assert_array_equal(data[:, 2], labels[:, 0])
        assert labels.shape == (2, 1, *{"crop_size": (4, 4)}.get(transform.split(":")[0], data.shape[2:]))
        seen |= {labels[i].tobytes() for i in range(2)}
    assert len(seen) > 5
    one.layer.close()


def test_what_the_window_and_the_mirror_are(listing: Path) -> None:
    one = make(listing, "DenseImageData", "batch_size: 5", "crop_size: 4", phase=TEST)
    np.testing.assert_array_equal(batch(one)[1][:, 0], LABELS[:, 1:5, 2:6])
    one.layer.close()
    one = make(listing, "DenseImageData", "batch_size: 5", "mirror: true scale: 0.5 mean_value: 10")
    flipped = 0
    for _ in range(4):
        data, labels = batch(one)
        for i in range(5):
            mirrored = bool((labels[i, 0] == LABELS[i][:, ::-1]).all())
            flipped += mirrored
            assert mirrored or (labels[i, 0] == LABELS[i]).all()
            image = IMAGES[i].transpose(2, 0, 1)[::-1]
            np.testing.assert_allclose(data[i], (image[..., ::-1] if mirrored else image) * 0.5 - 5)
    assert 2 < flipped < 18
    one.layer.close()


def test_scale_factors(listing: Path) -> None:
    """Twice the size repeats each label; the image is resized too, then both are cropped at one place."""
    one = make(listing, "ImageSegData", "batch_size: 1", "scale_factors: 2")
    data, labels = batch(one)
    assert data.shape == (1, 3, 12, 16)
    np.testing.assert_array_equal(labels[0, 0], LABELS[0].repeat(2, 0).repeat(2, 1))
    one.layer.close()
    one = make(listing, "ImageSegData", "batch_size: 1", "scale_factors: 1 scale_factors: 0.5 scale_factors: 2")
    shapes = [batch(one)[0].shape[2:] for _ in range(20)]
    assert set(shapes) == {(6, 8), (3, 4), (12, 16)}
    one.layer.close()


def test_the_size_that_a_factor_gives(listing: Path) -> None:
    """data_dim says which part of the padded crop is the image."""
    one = make(listing, "ImageSegData", "is_color: false", "scale_factors: 0.5 crop_height: 4 crop_width: 12", n_top=3)
    data, labels = batch(one)
    assert one.top[2].data.tolist() == [[[[3, 4]]]] * 2
    assert (labels[:, 0, 3:] == 255).all()
    assert (labels[:, 0, :3, 4:] == 255).all()
    assert data[:, 0, :3, :4].all()
    one.layer.close()


def test_padding_up_to_the_crop(listing: Path) -> None:
    means = "mean_value: 10.4 mean_value: 20.6 mean_value: 30"
    one = make(listing, "ImageSegData", "batch_size: 1 ignore_label: 7", f"crop_size: 9 {means}", n_top=3, phase=TEST)
    data, labels = batch(one)
    assert data.shape == (1, 3, 9, 9)
    np.testing.assert_array_equal(labels[0, 0, :6, :8], LABELS[0])
    assert (labels[0, 0, 6:] == 7).all()
    assert (labels[0, 0, :, 8:] == 7).all()
    np.testing.assert_allclose(data[0, :, 8, 8], [10 - 10.4, 21 - 20.6, 0], atol=1e-5)  # of 8 bits, as in OpenCV
    assert one.top[2].data.tolist() == [[[[6, 8]]]]
    one.layer.close()
    one = make(listing, "ImageSegData", "batch_size: 1", "crop_size: 4", n_top=3)
    one.forward()
    assert one.top[2].data.tolist() == [[[[4, 4]]]]
    one.layer.close()


def test_label_types(listing: Path) -> None:
    listing.write_text("0.png 3\n1.png 250\n")
    one = make(listing, "ImageSegData", "label_type: IMAGE")
    labels = batch(one)[1]
    assert labels.shape == (2, 1, 6, 8)
    assert [np.unique(m).tolist() for m in labels] == [[3], [250]]
    one.layer.close()
    listing.write_text("0.png\n1.png\n")
    one = make(listing, "ImageSegData", "label_type: NONE ignore_label: 9")
    assert (batch(one)[1] == 9).all()
    one.layer.close()


def test_a_palette_gives_its_indices(listing: Path) -> None:
    image = Image.fromarray(LABELS[0] % 3).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(listing.parent / "0_map.png")
    one = make(listing, "ImageSegData", "batch_size: 1")
    np.testing.assert_array_equal(batch(one)[1][0, 0], LABELS[0] % 3)
    one.layer.close()


def test_resized_maps_have_labels_of_the_map(listing: Path) -> None:
    one = make(listing, "DenseImageData", "new_height: 3 new_width: 4 batch_size: 5")
    data, labels = batch(one)
    assert data.shape == (5, 3, 3, 4)
    np.testing.assert_array_equal(labels[:, 0], LABELS[:, ::2, ::2])
    one.layer.close()


def test_batches_of_another_size(listing: Path) -> None:
    for name, pixels in (("1", IMAGES[1][:5]), ("1_map", LABELS[1][:5])):
        Image.fromarray(pixels).save(listing.parent / f"{name}.png")
    one = make(listing, "DenseImageData", "batch_size: 1")
    assert [batch(one)[1].shape[2:] for _ in range(3)] == [(6, 8), (5, 8), (6, 8)]
    one.layer.close()
    one = make(listing, "DenseImageData")
    with pytest.raises(DataError, match=r"list\.txt:2: .*1\.png\" has shape .*need a crop_size, or batch_size 1"):
        one.forward()
    one.layer.close()


@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact_under_another_seed(listing: Path, kind: str) -> None:
    setting = ("shuffle: true", "crop_size: 4 mirror: true scale_factors: 1 scale_factors: 1.5")
    one = make(listing, kind, *setting)
    for _ in range(3):
        batch(one)
    other = make(listing, kind, *setting, seed=99)
    other.forward()
    goes_on_as(one, other)


@pytest.mark.parametrize(
    ("content", "setting", "transform", "message"),
    [
        ("0.png\n", "", "", r'list\.txt:1: expected "IMAGE MAP", got "0\.png"'),
        ("0.png 0_map.png x\n", "", "", r'list\.txt:1: expected "IMAGE MAP"'),
        ("0.png 0_map.png\n1.png no.png\n", "batch_size: 2", "",
         r'list\.txt:2: label map ".*no\.png" cannot be read: No such file'),
        ("no.png 0_map.png\n", "", "", r'list\.txt:1: image ".*no\.png" cannot be read: No such file'),
        ("0.png list.txt\n", "", "", r'list\.txt:1: label map ".*list\.txt": the encoded image cannot be read'),
        ("0.png small.png\n", "", "", r'image ".*0\.png" has 6 x 8 pixels, its label map ".*small\.png" 5 x 8'),
        ("0.png a\n", "label_type: IMAGE", "", r'the label of an image must be a number from 0 to 255, got "a"'),
        ("0.png 0_map.png\n", "new_height: 3", "", "must be set together"),
        ("0.png 0_map.png\n", "", "crop_size: 3 crop_height: 4", "give one of crop_size"),
        ("0.png 0_map.png\n", "", "crop_height: 4", "a crop needs a height and a width, got 4 and 0"),
        ("0.png 0_map.png\n", "", "scale_factors: 0", r"scale_factors must be above 0, got \[0\.0\]"),
        ("0.png 0_map.png\n", "", "zero_pad: 1", "which would move the image against its label map"),
        ("0.png 0_map.png\n", "ignore_label: 256", "", r"ignore_label must lie in \[0, 255\], got 256"),
    ],
)  # fmt: skip
def test_messages(listing: Path, content: str, setting: str, transform: str, message: str) -> None:
    Image.fromarray(LABELS[1][:5]).save(listing.parent / "small.png")
    listing.write_text(content)
    with pytest.raises(DragonError, match=rf'layer "one" \(ImageSegData\): .*{message}'):
        make(listing, "ImageSegData", setting, transform).forward()


def test_other_sources_refuse_the_settings(listing: Path) -> None:
    listing.write_text("0.png 1\n")
    with pytest.raises(DragonError, match="scale_factors, which only ImageSegData and DenseImageData follow"):
        One(f'type: "ImageData" image_data_param {{ source: "{listing}" root_folder: "{listing.parent}/" }} '
            "transform_param { scale_factors: 2 }", n_top=2)  # fmt: skip
    with pytest.raises(DragonError, match="image_data_param has label_type, of ImageSegData"):
        One(f'type: "ImageData" image_data_param {{ source: "{listing}" label_type: PIXEL }}', n_top=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_no_memory_holds(listing: Path, kind: str) -> None:
    size = "new_height: 2147483647 new_width: 2147483647"
    with pytest.raises(ShapeError, match=rf'layer "one" \({kind}\): new_height and new_width: shape .* takes'):
        make(listing, kind, size)
