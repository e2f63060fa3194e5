from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dragon.bases.layer import Context
from dragon.data.resize import resize_bilinear
from dragon.errors import DragonError, PrototxtError
from tests.layers.helpers import One

PIXELS = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
BLUE_FIRST = PIXELS.transpose(2, 0, 1)[::-1].astype(float)
WINDOWS = """# 0
image.png
3
20
30
3
7 0.9 2 3 5 6
4 0.6 10 10 13 13
4 0.1 20 12 23 15
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    path = tmp_path / "windows.txt"
    path.write_text(WINDOWS)
    return path


def make(source: Path, setting: str = "", transform: str = "crop_size: 4") -> One:
    fraction = "" if "fg_fraction" in setting else "fg_fraction: 0.5"
    text = (
        f'type: "WindowData" window_data_param {{ source: "{source}" root_folder: "{source.parent}/" '
        f"batch_size: 4 {fraction} {setting} }} transform_param {{ {transform} }}"
    )
    return One(text, n_top=2)


@pytest.mark.parametrize("setting", ["zero_pad: 1", "cutout: 2", "brightness: 0.1", "contrast: 1", "saturation: 0.5"])
def test_augmentation_of_whole_images_is_refused(source: Path, setting: str) -> None:
    with pytest.raises(PrototxtError, match=f"cannot apply {setting.split(':')[0]} of transform_param to windows"):
        make(source, transform=f"crop_size: 4 {setting}")


def box(x1: int, y1: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return BLUE_FIRST[:, y1 : y1 + 4, x1 : x1 + 4]


def test_foreground_and_background(source: Path) -> None:
    one = make(source)
    seen = set()
    for _ in range(12):
        data = one.forward()
        labels = one.top[1].data.astype(int).tolist()
        assert labels[:2] == [0, 0]
        seen |= set(labels[2:])
        for image, label in zip(data, labels, strict=True):
            np.testing.assert_array_equal(image, {0: box(20, 12), 7: box(2, 3), 4: box(10, 10)}[label])
    assert seen == {7, 4}


def test_thresholds(source: Path) -> None:
    one = make(source, "fg_threshold: 0.8 bg_threshold: 0.05 fg_fraction: 1")
    one.forward()
    assert one.top[1].data.tolist() == [7] * 4


def test_mean_scale_and_mirror(source: Path) -> None:
    one = make(source, "fg_fraction: 0", "crop_size: 4 mirror: true scale: 0.5 mean_value: 8")
    plain = (box(20, 12) - 8) * 0.5
    flips = [np.array_equal(image, plain[:, :, ::-1]) for _ in range(5) for image in one.forward()]
    kept = [np.array_equal(image, plain) for image in one.forward()]
    assert 0 < sum(flips) < 20
    assert any(kept)


def test_context_beyond_the_border_is_left_black(source: Path) -> None:
    """One pixel around a window of 2 x 2 in the corner: the first row and column lie outside."""
    source.write_text(WINDOWS.replace("2 3 5 6", "0 0 1 1"))
    one = make(source, "fg_threshold: 0.8 fg_fraction: 1 context_pad: 1 cache_images: true")
    image = one.forward()[0]
    # the box with its context reaches from -1 to 3: five pixels become four, the four on the image become three
    expected = np.zeros((3, 4, 4))
    expected[:, 1:, 1:] = resize_bilinear(BLUE_FIRST[:, :4, :4].astype(np.uint8), 3, 3)
    np.testing.assert_array_equal(image, expected)


def test_square_takes_the_longer_side(source: Path) -> None:
    source.write_text(WINDOWS.replace("2 3 5 6", "4 4 11 5"))
    warped = make(source, "fg_threshold: 0.8 fg_fraction: 1").forward()[0].copy()
    square = make(source, 'fg_threshold: 0.8 fg_fraction: 1 crop_mode: "square"').forward()[0]
    assert not np.array_equal(warped, square)
    rows = BLUE_FIRST[:, 4:6, 4:12].mean()
    assert abs(warped.mean() - rows) < 25


@pytest.mark.parametrize(
    ("content", "setting", "transform", "message"),
    [
        ("", "", "crop_size: 4", "holds no windows"),
        ("image.png\n", "", "crop_size: 4", r"windows\.txt:1: not a window file: \"image.png\""),
        (WINDOWS.replace("4 0.6 10 10", "4 0.6 10"), "", "crop_size: 4", r"windows\.txt:8: not a window file"),
        (WINDOWS.replace("4 0.6 10", f"4 0.6 {2**31}"), "", "crop_size: 4", r"windows\.txt:8: not a window file"),
        (WINDOWS.replace("4 0.6 10", f"{10**400} 0.6 10"), "", "crop_size: 4", r"windows\.txt:8: not a window file"),
        (WINDOWS.rsplit("\n", 2)[0], "", "crop_size: 4", r"windows\.txt:9: .* the end of the file"),
        (None, "fg_threshold: 0.95", "crop_size: 4", "has 0 foreground and 1 background window"),
        (None, "", "crop_size: 2147483647", r"crop_size: shape \(3, 2147483647, 2147483647\) takes"),
        (None, "", "", "needs a batch_size and a crop_size, got 4 and 0"),
        (None, 'crop_mode: "round"', "crop_size: 4", 'crop_mode must be "warp" or "square"'),
        (None, "context_pad: 2", "crop_size: 4", "context_pad 2 leaves nothing of crop_size 4"),
        (None, "", "crop_size: 4 mean_value: 1 mean_value: 2", "the mean has 2 channels, the windows have 3"),
        (None, "fg_fraction: 2", "crop_size: 4", r"fg_fraction must lie in \[0, 1\], got 2"),
    ],
)
def test_messages(source: Path, content: str | None, setting: str, transform: str, message: str) -> None:
    if content is not None:
        source.write_text(content)
    with pytest.raises(DragonError, match=rf'layer "one" \(WindowData\): .*{message}'):
        make(source, setting, transform)


@pytest.mark.parametrize("setting", ["", "context_pad: 1", 'crop_mode: "square"'])
def test_a_window_without_pixels(source: Path, setting: str) -> None:
    source.write_text(WINDOWS.replace("2 3 5 6", "5 6 3 3"))
    with pytest.raises(DragonError, match=r"window \(5, 6, 3, 3\) has no pixels"):
        make(source, f"fg_threshold: 0.8 fg_fraction: 1 {setting}").forward()


def test_images_are_found_beside_the_prototxt(source: Path) -> None:
    (source.parent / "images").mkdir()
    (source.parent / "image.png").rename(source.parent / "images" / "image.png")
    text = """type: "WindowData" window_data_param { source: "windows.txt" root_folder: "images/" batch_size: 4
                                                   fg_fraction: 0.5 } transform_param { crop_size: 4 }"""
    one = One(text, n_top=2, context=Context(dtype=np.float32, seed=3, folder=source.parent))
    assert one.forward().shape == (4, 3, 4, 4)


def test_window_outside_of_its_image(source: Path) -> None:
    source.write_text(WINDOWS.replace("2 3 5 6", "40 40 45 45"))
    with pytest.raises(DragonError, match=r"window \(40, 40, 45, 45\) lies outside of its image"):
        make(source, "fg_threshold: 0.8 fg_fraction: 1").forward()
