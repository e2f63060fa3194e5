"""Random settings of images with boxes, against SSD's steps in plain Python, which draw the same random numbers.

TRANSFORMS=N tries N settings; TRANSFORMS_START=S begins with seed S.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.data.detection.draws import Draws
from dragon.data.detection.transform import BoxTransform
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

COUNT = int(os.environ.get("TRANSFORMS", "60"))
START = int(os.environ.get("TRANSFORMS_START", "0"))
Box = list[float]
KINDS = ("jaccard_overlap", "sample_coverage", "object_coverage")


class Row(NamedTuple):
    label: float
    instance: float
    box: Box
    difficult: float


def part(of: Box, by: Box, jaccard: bool = False) -> float:
    width, height = (min(of[k + 2], by[k + 2]) - max(of[k], by[k]) for k in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    own, other = ((b[2] - b[0]) * (b[3] - b[1]) for b in (of, by))
    return width * height / (own + other - width * height if jaccard else own)


class Case:
    """An image with boxes, settings, and what becomes of them."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, np.random.default_rng(seed)
        height, width = self.rng.integers(1, 30, 2).tolist()
        self.image = self.rng.integers(0, 256, (int(self.rng.choice([1, 3])), height, width), np.uint8)
        self.rows = [self._row(i) for i in range(int(self.rng.integers(5)))]
        self.train, self.mirror = self.some(0.7), self.some()
        crop = (int(self.rng.integers(1, 12)), int(self.rng.integers(1, 12)))
        self.crop = crop if self.some(0.3) else None
        self.mean = self.rng.integers(0, 256, int(self.rng.choice([1, len(self.image)]))).tolist()
        self.param = text_format.Parse(self._text(), pb.TransformationParameter())
        self.samplers = [self._sampler() for _ in range(int(self.rng.integers(4)))]

    def some(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def _row(self, i: int) -> Row:
        """A box, which may reach beyond the image or end before it begins."""
        corners: Any = self.rng.uniform(-0.2, 1.2, (2, 2)) if self.some() else self.rng.integers(-1, 6, (2, 2)) / 4
        corners = np.sort(corners, axis=0) if self.some(0.9) else corners
        return Row(float(self.rng.integers(1, 4)), float(i), corners.ravel().tolist(), float(self.some(0.3)))

    def _text(self) -> str:
        found = [f"mirror: {str(self.mirror).lower()}"]
        if self.some():
            kind = self.rng.choice(["CENTER", "MIN_OVERLAP"])
            found.append(f"emit_constraint {{ emit_type: {kind} emit_overlap: {self.rng.choice([0, 0.3, 0.7])} }}")
        if self.some(0.4):
            ratio = self.rng.choice([1, 1.005, 1.5, 4])
            found.append(f"expand_param {{ prob: {self.rng.choice([0, 0.5, 1])} max_expand_ratio: {ratio} }}")
        if self.some(0.7):
            mode = self.rng.choice(["WARP", "FIT_SMALL_SIZE", "FIT_LARGE_SIZE_AND_PAD"])
            height, width, high, wide = self.rng.integers(1, [25, 25, 6, 6]).tolist()
            scale = f"height_scale: {high} width_scale: {wide}" if self.some(0.3) else ""
            found.append(f"resize_param {{ resize_mode: {mode} height: {height} width: {width} pad_value: 7 {scale} }}")
        return " ".join(found)

    def _sampler(self) -> pb.BatchSampler:
        low, high = np.sort(self.rng.choice([0.05, 0.3, 0.5, 1], 2)).tolist()
        flat, steep = np.sort(self.rng.choice([0.1, 0.5, 1, 2, 5], 2)).tolist()
        limits = [f"{end}_{kind}: {self.rng.choice([0, 0.1, 0.3, 0.7, 1])}" for kind in KINDS for end in ("min", "max")]
        limits = [limit for limit in limits if self.some(0.12)]
        most = "" if self.some(0.3) else f"max_sample: {self.rng.integers(3)}"
        text = (
            f"sampler {{ min_scale: {low} max_scale: {high} min_aspect_ratio: {flat} max_aspect_ratio: {steep} }} "
            f"use_original_image: {str(self.some(0.9)).lower()} max_trials: {self.rng.choice([0, 1, 3, 20])} {most} "
            f"sample_constraint {{ {' '.join(limits)} }}"
        )
        return text_format.Parse(text, pb.BatchSampler())

    def projected(self, rows: list[Row], window: Box) -> list[Row]:
        found = []
        for row in rows:
            x0, y0, x1, y1 = row.box
            if self.param.HasField("emit_constraint"):
                emit = self.param.emit_constraint
                x, y = (x0 + x1) / 2, (y0 + y1) / 2
                inside = window[0] <= x <= window[2] and window[1] <= y <= window[3]
                if not (inside if emit.emit_type == emit.CENTER else part(row.box, window) > emit.emit_overlap):
                    continue
            if x0 >= window[2] or x1 <= window[0] or y0 >= window[3] or y1 <= window[1]:
                continue
            sides = window[2] - window[0], window[3] - window[1]
            box = [min(max((v - window[k % 2]) / sides[k % 2], 0), 1) for k, v in enumerate(row.box)]
            if box[2] > box[0] and box[3] > box[1]:
                found.append(row._replace(box=box))
        return found

    def expected(self) -> tuple[Any, list[Row]] | str:
        """The image and its boxes; words of an error."""
        draws = Draws(np.random.Philox(self.seed))
        image, rows = self._expanded(draws)
        image, rows = self._sampled(image, rows, draws)
        before = image.shape[1:]
        if self.param.resize_param:
            image, rows = self._resized(image, rows, draws)
        (height, width), window = image.shape[1:], [0.0, 0.0, 1.0, 1.0]
        if self.crop is not None:
            high, wide = self.crop
            if high > height or wide > width:
                return "is larger than the image"
            rest = height - high, width - wide
            top, left = (draws.below(n + 1) if self.train else n // 2 for n in rest)
            image = image[:, top : top + high, left : left + wide]
            window = [left / width, top / height, (left + wide) / width, (top + high) / height]
        rows = self.projected(rows, window)
        if self.mirror and draws.below(2):
            image = image[:, :, ::-1]
            rows = [row._replace(box=[1 - row.box[2], row.box[1], 1 - row.box[0], row.box[3]]) for row in rows]
        return self._scaled(image, rows, before, window)

    def _expanded(self, draws: Draws) -> tuple[Any, list[Row]]:
        if not self.param.HasField("expand_param"):
            return self.image, self.rows
        most = self.param.expand_param.max_expand_ratio
        if draws.uniform() > self.param.expand_param.prob or abs(most - 1) < 0.01:
            return self.image, self.rows
        channels, height, width = self.image.shape
        ratio = draws.uniform(1, most)
        high, wide = int(height * ratio), int(width * ratio)
        top, left = math.floor(draws.uniform(0, high - height)), math.floor(draws.uniform(0, wide - width))
        canvas = np.zeros((channels, high, wide), np.uint8) + np.array(self.mean, np.uint8).reshape(-1, 1, 1)
        canvas[:, top : top + height, left : left + width] = self.image
        return canvas, self.projected(
            self.rows, [-left / width, -top / height, (wide - left) / width, (high - top) / height]
        )

    def _sampled(self, image: Any, rows: list[Row], draws: Draws) -> tuple[Any, list[Row]]:
        found: list[Box] = []
        for rule in self.samplers:
            good: list[Box] = []
            if rule.use_original_image and rule.max_trials:
                for numbers in draws.many(4 * rule.max_trials).reshape(-1, 4).tolist():
                    window = self._drawn(rule.sampler, numbers)
                    if self._meets(rule.sample_constraint, window, rows):
                        good.append(window)
            found += good[: rule.max_sample] if rule.HasField("max_sample") else good
        if not found:
            return image, rows
        window = found[draws.below(len(found))]
        height, width = image.shape[1:]
        left, top = int(window[0] * width), int(window[1] * height)
        wide, high = (max(1, int((window[k + 2] - window[k]) * n)) for k, n in ((0, width), (1, height)))
        return image[:, top : top + high, left : left + wide], self.projected(rows, window)

    @staticmethod
    def _drawn(sampler: pb.Sampler, numbers: list[float]) -> Box:
        scale = sampler.min_scale + numbers[0] * (sampler.max_scale - sampler.min_scale)
        high = min(sampler.max_aspect_ratio, 1 / scale**2)
        low = min(max(sampler.min_aspect_ratio, scale**2), high)
        root = math.sqrt(low + numbers[1] * (high - low))
        width, height = min(scale * root, 1), min(scale / root, 1)
        x, y = numbers[2] * (1 - width), numbers[3] * (1 - height)
        return [x, y, x + width, y + height]

    @staticmethod
    def _meets(limits: pb.SampleConstraint, window: Box, rows: list[Row]) -> bool:
        if not limits.ListFields():
            return True
        for row in rows:
            shares = part(window, row.box, jaccard=True), part(window, row.box), part(row.box, window)
            if all(
                (not limits.HasField(f"min_{kind}") or share >= getattr(limits, f"min_{kind}"))
                and (not limits.HasField(f"max_{kind}") or share <= getattr(limits, f"max_{kind}"))
                for kind, share in zip(KINDS, shares, strict=True)
            ):
                return True
        return False

    def _resized(self, image: Any, rows: list[Row], draws: Draws) -> tuple[Any, list[Row]]:
        to = self.param.resize_param[0]
        rows = [row._replace(box=[min(max(v, 0), 1) for v in row.box]) for row in rows]
        aspect = image.shape[2] / image.shape[1]
        wide, high = (max(1, int(aspect * to.height)), to.height), (to.width, max(1, int(to.width / aspect)))
        if to.resize_mode == to.WARP:
            return resize_bilinear(image, to.height, to.width), rows
        if to.resize_mode == to.FIT_SMALL_SIZE:
            width, height = high if aspect < to.width / to.height else wide
            return resize_bilinear(image, height, width), rows
        width, height = high if aspect > to.width / to.height else wide
        whole = np.full((len(image), to.height, to.width), 7, np.uint8)
        top, left = (to.height - height) // 2, (to.width - width) // 2
        whole[:, top : top + height, left : left + width] = resize_bilinear(image, height, width)
        # margins of the boxes are not rounded
        margins = max(0, (to.width - aspect * to.height) / 2), max(0, (to.height - to.width / aspect) / 2)
        moved = []
        for row in rows:
            sides = (to.width, margins[0]), (to.height, margins[1])
            box = [(margin + v * (n - 2 * margin)) / n for v, (n, margin) in zip(row.box, sides * 2, strict=True)]
            moved.append(row._replace(box=box))
        return whole, moved

    def _scaled(self, image: Any, rows: list[Row], size: Any, window: Box) -> tuple[Any, list[Row]] | str:
        """In units of width_scale x height_scale pixels, where those are set with FIT_SMALL_SIZE."""
        to = self.param.resize_param[0] if self.param.resize_param else pb.ResizeParameter()
        if not to.height_scale or to.resize_mode != to.FIT_SMALL_SIZE:
            return image, rows
        aspect = size[1] / size[0]
        fitted = (to.width, to.width / aspect) if aspect < to.width / to.height else (aspect * to.height, to.height)
        wide, high = (n * (window[k + 2] - window[k]) for k, n in enumerate(fitted))
        if wide < to.width_scale or high < to.height_scale:
            return "is smaller than width_scale"
        factors = wide / to.width_scale, high / to.height_scale
        return image, [row._replace(box=[v * f for v, f in zip(row.box, factors * 2, strict=True)]) for row in rows]


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_images_and_boxes(seed: int) -> None:
    case = Case(seed)
    change = BoxTransform(case.param, case.samplers, case.crop, case.train, case.mean)
    rows = np.array([[r.label, r.instance, *r.box, r.difficult] for r in case.rows]).reshape(-1, 7)
    draws, expected = Draws(np.random.Philox(seed)), case.expected()
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            change.apply(case.image, rows, draws)
        return
    image, found = change.apply(case.image, rows, draws)
    np.testing.assert_array_equal(image, expected[0])
    wanted = np.array([[r.label, r.instance, *r.box, r.difficult] for r in expected[1]]).reshape(-1, 7)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
