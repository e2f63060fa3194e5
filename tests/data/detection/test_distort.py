"""Changes of colour and noise, each against a formula for single pixels."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.data.detection.clahe import clahe
from dragon.data.detection.distort import distort
from dragon.data.detection.draws import Draws
from dragon.data.detection.noise import apply_noise
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

IMAGE = np.random.default_rng(6).integers(0, 256, (3, 12, 15), dtype=np.uint8)
GREY = IMAGE[:1]


def draws(n: int = 0) -> Draws:
    stream = Stream(2, "images")
    stream.draws = n
    return Draws(stream.bits())


def distorted(text: str, n: int = 0, image: np.ndarray = IMAGE) -> np.ndarray:
    return distort(image, text_format.Parse(text, pb.DistortionParameter()), draws(n))


def saturated(values: np.ndarray) -> np.ndarray:
    made: np.ndarray = np.clip(np.rint(values), 0, 255)
    return made


def test_nothing_without_a_probability() -> None:
    np.testing.assert_array_equal(distorted("brightness_delta: 32 hue_delta: 18 contrast_upper: 2"), IMAGE)


def test_brightness_is_added() -> None:
    shifts = set()
    for n in range(30):
        made = distorted("brightness_prob: 1 brightness_delta: 32", n).astype(int)
        inner = (made > 0) & (made < 255)
        (shift,) = set((made - IMAGE)[inner].tolist())
        np.testing.assert_array_equal(made, saturated(IMAGE.astype(int) + shift))
        shifts.add(shift)
    assert -32 <= min(shifts) < -20
    assert 20 < max(shifts) <= 32


def test_contrast_is_a_factor() -> None:
    for n in range(10):
        made = distorted("contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.5", n)
        wide = IMAGE.astype(float)
        (factor,) = {round(float(np.median(made[(made < 255) & (wide > 100)] / wide[(made < 255) & (wide > 100)])), 2)}
        assert 0.49 <= factor <= 1.51
        np.testing.assert_allclose(made, saturated(wide * factor), atol=2)


@pytest.mark.parametrize("kind", ["saturation", "hue"])
def test_saturation_and_hue(kind: str) -> None:
    """A fixed amount: saturation times 0.6, or hue up by 2 * 18 degrees, from the standard library's formulas."""
    text = {
        "saturation": "saturation_prob: 1 saturation_lower: 0.6 saturation_upper: 0.6",
        "hue": "hue_prob: 1 hue_delta: 18",
    }
    made = distorted(text[kind], 3).reshape(3, -1).T
    with_hue = [colorsys.rgb_to_hsv(*(p[::-1] / 255)) for p in IMAGE.reshape(3, -1).T]
    after = [colorsys.rgb_to_hsv(*(p[::-1] / 255)) for p in made]
    clear = [i for i, (h, s, v) in enumerate(with_hue) if s > 0.3 and v > 0.4 and 0.15 < h < 0.8]
    if kind == "saturation":
        np.testing.assert_allclose([after[i][1] for i in clear], [0.6 * with_hue[i][1] for i in clear], atol=0.02)
        np.testing.assert_allclose([after[i][0] for i in clear], [with_hue[i][0] for i in clear], atol=0.02)
    else:
        turned = np.array([after[i][0] - with_hue[i][0] for i in clear])
        assert np.ptp(turned) < 0.03
        assert 0 < abs(turned.mean()) <= 18 / 180 + 0.01


def test_the_order_of_the_steps_is_drawn() -> None:
    """Contrast before or behind saturation: where contrast saturates first, the results differ."""
    text = "contrast_prob: 1 contrast_lower: 2 contrast_upper: 2 "
    text += "saturation_prob: 1 saturation_upper: 0.5 saturation_lower: 0.5"
    kinds = {distorted(text, n).tobytes() for n in range(20)}
    assert len(kinds) == 2


def test_the_order_of_the_channels() -> None:
    found = {
        tuple(int(np.flatnonzero((one == IMAGE).all(axis=(1, 2)))[0]) for one in distorted("random_order_prob: 1", n))
        for n in range(60)
    }
    assert len(found) == 6


def test_each_has_its_probability() -> None:
    changed = sum(bool((distorted("brightness_prob: 0.3 brightness_delta: 32", n) != IMAGE).any()) for n in range(300))
    assert 60 <= changed <= 120


def test_colours_need_three_channels() -> None:
    with pytest.raises(DataError, match="needs images of 3 channels, got 1"):
        distorted("hue_prob: 1 hue_delta: 1", image=GREY)
    assert distorted("brightness_prob: 1 brightness_delta: 9", image=GREY).shape == GREY.shape


# -- noise_param ---------------------------------------------------------------------------------------------
def noisy(text: str, image: np.ndarray = IMAGE, n: int = 0) -> np.ndarray:
    return apply_noise(image, text_format.Parse(text, pb.NoiseParameter()), draws(n))


def test_noise_of_single_pixels() -> None:
    np.testing.assert_array_equal(noisy("inverse: true"), 255 - IMAGE)
    np.testing.assert_array_equal(noisy("posterize: true"), np.array([32, 96, 160, 224])[IMAGE // 64])
    blue, green, red = IMAGE.astype(float)
    grey = np.rint(0.299 * red + 0.587 * green + 0.114 * blue)
    np.testing.assert_allclose(noisy("decolorize: true"), np.stack([grey] * 3), atol=1)


def test_erosion_takes_the_least_of_a_cross() -> None:
    made = noisy("erode: true")
    for y in range(1, 11):
        for x in range(1, 14):
            cross = IMAGE[:, [y, y - 1, y + 1, y, y], [x, x, x, x - 1, x + 1]]
            np.testing.assert_array_equal(made[:, y, x], cross.min(axis=1))


def test_blur() -> None:
    kernel = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    made = noisy("gauss_blur: true")
    for y in range(3, 9):
        for x in range(3, 12):
            part = IMAGE[:, y - 3 : y + 4, x - 3 : x + 4]
            np.testing.assert_allclose(made[:, y, x], (part * kernel).sum(axis=(1, 2)), atol=0.51)


def test_an_even_histogram() -> None:
    made = noisy("hist_eq: true", GREY)
    order = np.argsort(GREY.ravel(), kind="stable")
    assert (np.diff(made.ravel()[order].astype(int)) >= 0).all()
    assert made.min() == 0
    assert made.max() == 255
    np.testing.assert_allclose(np.quantile(made, [0.25, 0.5, 0.75]), [64, 128, 191], atol=6)
    assert noisy("hist_eq: true").shape == IMAGE.shape


def test_salt_and_pepper() -> None:
    made = noisy("saltpepper: true saltpepper_param { fraction: 0.2 value: [7, 8, 9] }")
    changed = (made != IMAGE).any(axis=0)
    assert 20 <= changed.sum() <= 36
    assert (made[:, changed] == np.array([[7], [8], [9]])).all()
    with pytest.raises(DataError, match="2 value, expected 1 or 3"):
        noisy("saltpepper: true saltpepper_param { fraction: 0.2 value: [7, 8] }")


def test_through_a_jpeg() -> None:
    smooth = np.clip(np.add.outer(np.arange(40), np.arange(40)) * 3, 0, 255).astype(np.uint8)
    made = noisy("jpeg: 80", np.stack([smooth] * 3))
    assert 0 < np.abs(made.astype(int) - smooth).mean() < 4


def test_a_probability_of_noise() -> None:
    changed = sum(bool((noisy("inverse: true prob: 0.3", n=n) != IMAGE).any()) for n in range(300))
    assert 60 <= changed <= 120


@pytest.mark.parametrize("size", [(64, 96), (67, 96), (41, 50), (9, 9)])
@pytest.mark.parametrize("limit", [4.0, 40.0])
def test_clahe_as_opencv(size: tuple[int, int], limit: float) -> None:
    """Also with sides that the tiles do not divide, and where nearly nothing is cut off."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(5)
    grey = np.clip(rng.normal(90, 30, size) + np.linspace(0, 60, size[1]), 0, 255).astype(np.uint8)
    expected = cv2.createCLAHE(clipLimit=limit).apply(grey)
    np.testing.assert_allclose(clahe(grey, limit), expected, atol=1)
    if limit == 4:
        np.testing.assert_allclose(noisy("clahe: true", grey[None])[0], expected, atol=1)


def test_an_even_histogram_around_each_place() -> None:
    """In the middle of the corner's tile its curve alone counts: a loop over the levels."""
    rng = np.random.default_rng(6)
    grey = rng.integers(0, 40, (48, 64), np.uint8)
    counts = [int((grey[:6, :8] == level).sum()) for level in range(256)]
    most = max(1, int(4 * 48 / 256))
    excess = sum(max(0, count - most) for count in counts)
    counts = [min(count, most) + excess // 256 for count in counts]
    for k in range(excess % 256):
        counts[k * (256 // (excess % 256))] += 1
    for y, x in ((0, 0), (2, 1), (1, 3)):
        assert clahe(grey, 4)[y, x] == pytest.approx(sum(counts[: grey[y, x] + 1]) * 255 / 48, abs=1)
    made = noisy("clahe: true")
    assert made.shape == IMAGE.shape
    assert (made != IMAGE).any()


@pytest.mark.parametrize(
    "text", ["gauss_blur: true", "hist_eq: true", "clahe: true", "erode: true", "decolorize: true"]
)
def test_noise_as_opencv(text: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.ascontiguousarray(IMAGE.transpose(1, 2, 0))
    if "blur" in text:
        expected = cv2.GaussianBlur(image, (7, 7), 1.5)
    elif "erode" in text:
        expected = cv2.erode(image, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    elif "hist" in text or "clahe" in text:
        luma = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
        even = cv2.equalizeHist if "hist" in text else cv2.createCLAHE(clipLimit=4).apply
        luma[..., 0] = even(np.ascontiguousarray(luma[..., 0]))
        expected = cv2.cvtColor(luma, cv2.COLOR_YCrCb2BGR)
    else:
        expected = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert np.abs(noisy(text).astype(int) - expected.transpose(2, 0, 1)).max() <= 3
