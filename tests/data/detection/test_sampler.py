"""Windows of the batch sampler and boxes in windows, against counts of cells of a grid and loops over boxes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import BOX, NONE, covered, project
from dragon.data.detection.sampler import check_sampler, draw_windows, sample, satisfying
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

CELLS = 40
RNG = np.random.default_rng(5)


def on_the_grid(count: int) -> np.ndarray:
    """Boxes whose corners lie on the grid, some without area, some at the edge of the image."""
    corners = RNG.integers(0, CELLS + 1, (count, 2, 2))
    corners.sort(axis=1)
    return corners.reshape(count, 4) / CELLS


def cells(box: np.ndarray) -> set[tuple[int, int]]:
    x0, y0, x1, y1 = np.rint(box * CELLS).astype(int)
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def part(some: set[tuple[int, int]], whole: set[tuple[int, int]]) -> float:
    return len(some) / len(whole) if whole else 0.0


def measures(window: np.ndarray, box: np.ndarray) -> dict[str, float]:
    """The three overlaps of sample_constraint, by counting."""
    w, b = cells(window), cells(box)
    return {"jaccard_overlap": part(w & b, w | b), "sample_coverage": part(w & b, w), "object_coverage": part(w & b, b)}


@pytest.mark.parametrize(
    "text",
    [
        "min_jaccard_overlap: 0.2", "max_jaccard_overlap: 0.1", "min_sample_coverage: 0.3", "max_sample_coverage: 0.25",
        "min_object_coverage: 0.5", "max_object_coverage: 0.6", "min_jaccard_overlap: 0.1 max_jaccard_overlap: 0.4",
        "min_jaccard_overlap: 0.05 min_object_coverage: 0.7 max_sample_coverage: 0.9", "",
    ],
)  # fmt: skip
def test_constraints(text: str) -> None:
    """A window is accepted if one object is within all limits."""
    constraint = text_format.Parse(text, pb.SampleConstraint())
    windows, objects = on_the_grid(60), np.array([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.95], [0.5, 0.5, 0.5, 0.5]])
    if text.startswith("max"):  # one object, or some other one would be within the limit
        objects = np.array([[0.3, 0.3, 0.7, 0.7]])
    limits = {field.name: value for field, value in constraint.ListFields()}

    def meets(window: np.ndarray, box: np.ndarray) -> bool:
        found = measures(window, box)
        good = True
        for name, value in limits.items():
            end, kind = name.split("_", 1)
            good &= found[kind] >= value if end == "min" else found[kind] <= value
        return good

    expected = [not limits or any(meets(window, box) for box in objects) for window in windows]
    assert satisfying(windows, objects, constraint).tolist() == expected
    assert not text or 0 < sum(expected) < 60


def test_an_image_without_objects_meets_no_constraint() -> None:
    windows = on_the_grid(3)
    assert satisfying(windows, NONE[:, BOX], pb.SampleConstraint()).all()
    assert not satisfying(windows, NONE[:, BOX], pb.SampleConstraint(max_jaccard_overlap=1)).any()


def test_windows_lie_in_the_image_and_have_the_drawn_shape() -> None:
    sampler = pb.Sampler(min_scale=0.3, max_scale=1, min_aspect_ratio=0.5, max_aspect_ratio=2)
    numbers = RNG.random((500, 4))
    windows = draw_windows(sampler, numbers)
    for (u, v, left, top), (x0, y0, x1, y1) in zip(numbers.tolist(), windows.tolist(), strict=True):
        scale = 0.3 + 0.7 * u
        low, high = max(0.5, scale**2), min(2.0, 1 / scale**2)
        aspect = low + v * (high - low)
        assert (x1 - x0) / (y1 - y0) == pytest.approx(aspect)
        assert (x1 - x0) * (y1 - y0) == pytest.approx(scale**2)
        assert x0 == pytest.approx(left * (1 - (x1 - x0)))
        assert y0 == pytest.approx(top * (1 - (y1 - y0)))
        assert min(x0, y0) >= 0
        assert max(x1, y1) <= 1 + 1e-12


def test_aspect_ratios_that_the_scale_does_not_allow() -> None:
    """A scale of 0.9 fits ratios up to 1.23; the sampler asks for 2 to 3."""
    windows = draw_windows(
        pb.Sampler(min_scale=0.9, max_scale=0.9, min_aspect_ratio=2, max_aspect_ratio=3), RNG.random((9, 4))
    )
    np.testing.assert_allclose(windows[:, 2] - windows[:, 0], 1)
    np.testing.assert_allclose(windows[:, 3] - windows[:, 1], 0.81)


def samplers(*texts: str) -> list[pb.BatchSampler]:
    return [text_format.Parse(text, pb.BatchSampler()) for text in texts]


def test_the_choice_is_even_among_all_that_were_found() -> None:
    """One sampler finds the image, another one three small windows: each is chosen in a quarter of the cases."""
    rules = samplers(
        "max_sample: 1 max_trials: 1",
        "sampler { min_scale: 0.2 max_scale: 0.2 } max_sample: 3 max_trials: 50",
        "use_original_image: false sampler { min_scale: 0.5 max_scale: 0.5 }",
        "sampler { min_scale: 0.7 max_scale: 0.7 } max_trials: 5 sample_constraint { min_jaccard_overlap: 0.9 }",
    )
    stream = Stream(1, "x")
    found = [sample(rules, np.array([[0.4, 0.4, 0.5, 0.5]]), Draws(stream.bits())) for _ in range(400)]
    widths = np.array([window[2] - window[0] for window in found if window is not None])
    assert len(widths) == 400
    assert set(np.round(widths, 6)) == {0.2, 1.0}
    assert 70 <= (widths > 0.5).sum() <= 130


def test_no_window_if_none_meets_the_constraint() -> None:
    rules = samplers("sampler { max_scale: 1 } sample_constraint { min_jaccard_overlap: 0.9 } max_trials: 20")
    assert sample(rules, np.array([[0.4, 0.4, 0.5, 0.5]]), Draws(Stream(1, "x").bits())) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("min_scale: 0", "min_scale and max_scale"), ("max_scale: 1.5", "min_scale and max_scale"),
        ("min_scale: 0.8 max_scale: 0.5", "in \\(0, 1\\], got 0.8 and 0.5"), ("min_aspect_ratio: 0", "above 0"),
        ("min_aspect_ratio: 2 max_aspect_ratio: 1", "in order, got 2 and 1"),
    ],
)  # fmt: skip
def test_ranges_are_checked(text: str, words: str) -> None:
    assert re.search(words, check_sampler(text_format.Parse(f"sampler {{ {text} }}", pb.BatchSampler())))
    assert not check_sampler(pb.BatchSampler())
    assert check_sampler(pb.BatchSampler(max_trials=10**6)) == "max_trials must be at most 100000, got 1000000"


@pytest.mark.parametrize("text", ["", "emit_type: CENTER", "emit_type: MIN_OVERLAP emit_overlap: 0.3"])
def test_boxes_in_a_window(text: str) -> None:
    """Box by box: which stay, and where they are, in cells of the window."""
    constraint = text_format.Parse(text, pb.EmitConstraint()) if text else None
    for window in on_the_grid(30):
        x0, y0, x1, y1 = window
        if x0 == x1 or y0 == y1:
            continue
        rows = np.zeros((12, 7))
        rows[:, 0], rows[:, 1], rows[:, 6] = 4, np.arange(12), np.arange(12) % 2
        rows[:, BOX] = on_the_grid(12)
        expected = []
        for row in rows:
            box = row[BOX]
            center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            if not cells(window) & cells(box):
                continue
            if "CENTER" in text and not (x0 <= center[0] <= x1 and y0 <= center[1] <= y1):
                continue
            if "MIN" in text and part(cells(window) & cells(box), cells(box)) <= 0.3:
                continue
            inner = np.clip((box - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0], 0, 1)
            expected.append([*row[:2], *inner, row[6]])
        np.testing.assert_allclose(project(rows, window, constraint), np.array(expected).reshape(-1, 7), atol=1e-12)


def test_coverage_of_boxes_without_area() -> None:
    assert covered(np.array([[0.5, 0.5, 0.5, 0.7]]), np.array([0, 0, 1, 1])).tolist() == [0]
    assert covered(np.array([[0.7, 0.5, 0.5, 0.7]]), np.array([0, 0, 1, 1])).tolist() == [0]
