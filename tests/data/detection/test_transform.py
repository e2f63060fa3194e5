"""Images and boxes together: after each change, the box of a rectangle is where its colour is."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import BOX, NONE
from dragon.data.detection.sampler import jittered
from dragon.data.detection.transform import BoxTransform
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from tests.data.detection.helpers import GROUND, found_box, painted, rows_of_boxes

HEIGHT, WIDTH = 64, 96
BOXES = [(5, 8, 35, 40), (50, 10, 90, 30), (40, 40, 64, 62)]
IMAGE, ROWS = painted(HEIGHT, WIDTH, BOXES), rows_of_boxes(HEIGHT, WIDTH, BOXES)


def transform(
    text: str = "", samplers: str = "", crop: tuple[int, int] | None = None, train: bool = True, mean: object = (0,)
) -> BoxTransform:
    param = text_format.Parse(text, pb.TransformationParameter())
    rules = text_format.Parse(samplers, pb.AnnotatedDataParameter()).batch_sampler
    return BoxTransform(param, rules, crop, train, mean)


def draws(n: int = 0, seed: int = 1) -> Draws:
    stream = Stream(seed, "images")
    stream.draws = n
    return Draws(stream.bits())


def check_boxes(image: np.ndarray, rows: np.ndarray, slack: float, partly: float = 0.0) -> None:
    """Each box is where its colour is, within `slack` pixels; colours without a box are out of sight, or nearly."""
    _, height, width = image.shape
    for k in range(3):
        seen, mine = found_box(image.astype(np.float32), k), rows[rows[:, 0] == k + 1]
        if len(mine):
            assert seen is not None
            np.testing.assert_allclose(mine[0, BOX] * [width, height, width, height], seen, atol=slack)
        elif seen is not None:
            assert min(seen[2] - seen[0], seen[3] - seen[1]) <= partly


CHANGES = {
    "nothing": ("", "", None),
    "mirror": ("mirror: true", "", None),
    "warp": ("resize_param { height: 90 width: 50 interp_mode: NEAREST }", "", None),
    "fit and pad, wide": ("resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 100 width: 100 }", "", None),
    "fit and pad, high": ("resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 60 width: 150 }", "", None),
    "fit the small side": ("resize_param { resize_mode: FIT_SMALL_SIZE height: 80 width: 80 }", "", None),
    "crop": ("", "", (48, 60)),
    "crop after warp": (
        "resize_param { height: 100 width: 100 interp_mode: [LINEAR, CUBIC] } mirror: true", "", (80, 70),
    ),
    "expand": ("expand_param { max_expand_ratio: 3 }", "", None),
    "expand and warp": (
        "expand_param { prob: 0.5 max_expand_ratio: 2 } resize_param { height: 64 width: 96 }", "", None,
    ),
    "sample": (
        "",
        "batch_sampler { sampler { min_scale: 0.4 max_scale: 0.9 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } "
        "max_sample: 1 sample_constraint { min_jaccard_overlap: 0.1 } }",
        None,
    ),
    "all": (
        "expand_param { prob: 0.5 max_expand_ratio: 2 } mirror: true resize_param { height: 120 width: 120 }",
        "batch_sampler { max_sample: 1 max_trials: 1 } "
        "batch_sampler { sampler { min_scale: 0.5 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } max_sample: 2 }",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_boxes_follow_the_image(name: str) -> None:
    change = transform(*CHANGES[name])
    for n in range(20):
        image, rows = change.apply(IMAGE, ROWS, draws(n))
        # windows are rounded to pixels, boxes are not; what is left of a cut rectangle may be too small for a box
        check_boxes(image, rows, slack=6.0 if "all" in name else 2.1, partly=3)
        assert (rows[:, 6] == (rows[:, 0] == 2)).all()
        assert (rows[:, BOX] >= 0).all()
        assert (rows[:, BOX] <= 1).all()


@pytest.mark.parametrize("mode", ["CONSTANT pad_value: [1, 2, 3]", "MIRRORED", "REPEAT_NEAREST"])
def test_padding(mode: str) -> None:
    text = f"resize_param {{ resize_mode: FIT_LARGE_SIZE_AND_PAD height: 97 width: 96 pad_mode: {mode} }}"
    image, _ = transform(text).apply(IMAGE, ROWS, draws())
    top = (97 - HEIGHT) // 2
    np.testing.assert_array_equal(image[:, top : top + HEIGHT], IMAGE)
    above = {"C": np.broadcast_to(np.reshape([1, 2, 3], (3, 1, 1)), (3, top, WIDTH)), "M": IMAGE[:, top:0:-1]}
    np.testing.assert_array_equal(image[:, :top], above.get(mode[0], np.repeat(IMAGE[:, :1], top, axis=1)))


def test_fitting_the_small_side_gives_sizes_of_their_own() -> None:
    change = transform("resize_param { resize_mode: FIT_SMALL_SIZE height: 80 width: 80 }")
    assert change.apply(IMAGE, ROWS, draws())[0].shape == (3, 80, 120)
    assert change.apply(IMAGE.transpose(0, 2, 1), NONE, draws())[0].shape == (3, 120, 80)
    assert not change.one_size
    assert change.size_of(IMAGE).shape == (3, 80, 120)


def test_boxes_in_units_of_a_scale() -> None:
    """With height_scale and width_scale, boxes are fractions of that many pixels, whatever the crop shows."""
    text = "resize_param { resize_mode: FIT_SMALL_SIZE height: 64 width: 64 height_scale: 32 width_scale: 40 }"
    plain, scaled = (
        transform(one, crop=(50, 60), train=False).apply(IMAGE, ROWS, draws())[1]
        for one in (text.replace("height_scale: 32 width_scale: 40", ""), text)
    )
    np.testing.assert_allclose(scaled[:, BOX], plain[:, BOX] * np.tile([60 / 40, 50 / 32], 2))
    with pytest.raises(DataError, match="smaller than width_scale 40"):
        transform(text, crop=(20, 60)).apply(IMAGE, ROWS, draws())


def test_the_canvas_has_the_mean() -> None:
    change = transform("expand_param { max_expand_ratio: 4 }", mean=(104, 117, 122.6))
    for n in range(5):
        image, rows = change.apply(IMAGE, ROWS, draws(n))
        seen = np.unique(image.reshape(3, -1), axis=1).T.tolist()
        assert [104, 117, 123] in seen
        assert list(GROUND) in seen
        assert len(rows) == 3
        assert HEIGHT <= image.shape[1] <= 4 * HEIGHT
        assert image.shape[1] / HEIGHT == pytest.approx(image.shape[2] / WIDTH, abs=0.03)


def test_emit_constraint_drops_boxes_whose_centre_is_outside() -> None:
    """The left half of the image: box 2 is outside, box 3 reaches into it with less than half of its width."""
    crop, whole = (HEIGHT, WIDTH // 2), [(5, 8, 35, 40), (60, 10, 90, 30), (40, 40, 64, 62)]
    text = "emit_constraint {{ emit_type: {} }}"
    rows = rows_of_boxes(HEIGHT, WIDTH, whole)
    labels = {}
    for kind in ("CENTER", "MIN_OVERLAP emit_overlap: 0.3", "MIN_OVERLAP emit_overlap: 0.34"):
        found = [
            transform(text.format(kind), crop=crop).apply(painted(HEIGHT, WIDTH, whole), rows, draws(n))
            for n in range(400)
        ]
        left = next(made for made in found if made[0].shape[2] == 48 and _is_left(made[0]))
        labels[kind] = left[1][:, 0].tolist()
    assert labels == {"CENTER": [1], "MIN_OVERLAP emit_overlap: 0.3": [1, 3], "MIN_OVERLAP emit_overlap: 0.34": [1]}


def _is_left(image: np.ndarray) -> bool:
    seen = found_box(image.astype(np.float32), 0)
    return seen is not None and seen[0] == 5


def test_an_image_without_boxes() -> None:
    for name in CHANGES:
        _, rows = transform(*CHANGES[name]).apply(IMAGE, None, draws())
        assert rows.shape == (0, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resize_param { height: 3 }", "needs height and width, got 3 and 0"),
        ("resize_param { height: 3 width: 3 prob: 0.5 }", "has prob 0.5"),
        ("resize_param { height: 3 width: 3 height_scale: 2 }", "height_scale and width_scale together"),
        ("resize_param { height: 3 width: 3 } resize_param { height: 4 width: 4 }", "2 resize_param, at most one"),
        ("noise_param { convert_to_lab: true }", "noise_param has convert_to_lab, which is not offered"),
        ("noise_param { saltpepper: true }", "without saltpepper_param"),
        ("noise_param { prob: 2 }", "prob and fraction in"),
        ("noise_param { jpeg: 101 }", "at most 100"),
        ("distort_param { hue_delta: -1 }", "hue_delta must be finite and not negative, got -1"),
        ("distort_param { brightness_delta: nan }", "brightness_delta must be finite and not negative, got nan"),
        ("distort_param { contrast_lower: 2 contrast_upper: 1 }", "in order, finite and not negative, got 2 and 1"),
        ("distort_param { contrast_upper: inf }", r"in order, finite and not negative, got [\d.]+ and inf"),
        ("expand_param { max_expand_ratio: 0.5 }", "at least 1, got 0.5"),
        ("expand_param { max_expand_ratio: inf }", "a finite max_expand_ratio of at least 1, got inf"),
        ("expand_param { max_expand_ratio: nan }", "at least 1, got nan"),
    ],
)
def test_settings_that_contradict_each_other(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        transform(text)
    with pytest.raises(DataError, match="min_scale"):
        transform("", "batch_sampler { sampler { min_scale: 2 } }")
    with pytest.raises(DataError, match="a crop of 70 x 10 is larger than the image, 64 x 96"):
        transform(crop=(70, 10)).apply(IMAGE, ROWS, draws())


def test_of_several_sizes_a_batch_follows_one_by_its_probability() -> None:
    change = transform(
        "resize_param { height: 30 width: 40 prob: 0.2 } resize_param { height: 50 width: 60 prob: 0.5 } "
        "resize_param { resize_mode: FIT_SMALL_SIZE height: 32 width: 32 prob: 0.3 }"
    )
    assert not change.one_size
    chosen = [change.draw_size(lambda n=n: draws(n)) for n in range(1000)]  # type: ignore[misc]
    assert [round(chosen.count(k) / 1000, 1) for k in range(3)] == [0.2, 0.5, 0.3]
    for k, size in enumerate([(30, 40), (50, 60), (32, 48)]):
        image, rows = change.apply(IMAGE, ROWS, draws(), k)
        assert image.shape[1:] == size
        check_boxes(image, rows, 1.5)
    one = transform("resize_param { height: 30 width: 40 }")
    assert one.one_size
    assert one.draw_size(lambda: pytest.fail("one size is no matter of chance")) == 0


def test_windows_of_yolo_keep_the_shape_before_padding() -> None:
    """A window of an image of 3 : 4 then fills a canvas of 3 : 4, without padding."""
    size = "resize_param { height: 30 width: 40 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 255 }"
    change = BoxTransform(text_format.Parse(size, pb.TransformationParameter()), [], None, True, (0,), 0.7)
    for n in range(20):
        image, _ = change.apply(np.zeros((3, 300, 400), np.uint8), ROWS, draws(n))
        assert not image[:, 1:-1, 1:-1].any()


def test_windows_of_yolo_lack_up_to_the_jitter_of_each_side() -> None:
    windows = np.array([jittered(0.3, draws(n)) for n in range(2000)])
    size = windows[:, 2:] - windows[:, :2]
    assert (windows >= 0).all()
    assert (windows <= 1 + 1e-12).all()
    assert 0.7 <= size.min() < 0.71
    whole = (size == 1).all(axis=1)
    assert whole.mean() == pytest.approx(0.2, abs=0.03)
    # of 0.6 + 0.2 images the half and all of the widths exceed 1 - jitter / 2
    assert (size[:, 0] < 0.85).mean() == pytest.approx(0.3, abs=0.03)
    image, rows = BoxTransform(pb.TransformationParameter(), [], None, True, (0,), 0.3).apply(IMAGE, ROWS, draws(7))
    check_boxes(image, rows, slack=1, partly=1)
    windows = np.array([jittered(0.3, draws(n), keep_shape=True) for n in range(200)])
    size = windows[:, 2:] - windows[:, :2]
    np.testing.assert_allclose(size[:, 0], size[:, 1], atol=1e-12)
    assert size.min() < 0.75
    with pytest.raises(DataError, match=r"yolo_data_jitter must lie in \[0, 1\), got 1"):
        BoxTransform(pb.TransformationParameter(), [], None, True, (0,), 1.0)
