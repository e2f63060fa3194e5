"""The layer type PriorBox."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["PriorBox"]

_RATIO_TOLERANCE = 1e-6  # aspect ratios closer than this count as equal


@register()
class PriorBox(NoGradient):
    """The default boxes of every position of a feature map (SSD, Liu et al. 2016).

    Bottoms: the feature map and the image, of which only the sizes count. Top: (1, 2, H * W * boxes * 4), in the first
    row xmin, ymin, xmax, ymax as fractions of the image, in the second their variances. For each position and min_size:
    the square of that size, the square of sqrt(min_size * max_size), then one box for each aspect ratio.
    """

    type = "PriorBox"
    settings = ("prior_box_param",)
    bottoms = (2, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.prior_box_param
        self.sizes = self._sizes()
        self.variance: list[float] = list(p.variance) or [0.1]
        if len(self.variance) not in (1, 4) or min(self.variance) <= 0:
            self.bad_param(f"variance must be 1 or 4 positive numbers, got {self.variance}")
        for whole, sides in (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w"))):
            given = [side for side in sides if p.HasField(side)]
            if p.HasField(whole) and given:
                self.bad_param(f"give {whole} or {sides[0]} and {sides[1]}, not both")
            if len(given) == 1:
                self.bad_param(f"{sides[0]} and {sides[1]} must be given together")
            if any(getattr(p, name) <= 0 for name in (whole, *sides) if p.HasField(name)):
                self.bad_param(f"{whole} must be positive")
        self.image = (p.img_size, p.img_size) if p.HasField("img_size") else (p.img_h, p.img_w)
        self.step = (p.step, p.step) if p.HasField("step") else (p.step_h, p.step_w)
        self.built: tuple[int, ...] = ()

    def _sizes(self) -> list[tuple[float, float]]:
        """(width, height) of each box of a position, in pixels. Raises PrototxtError."""
        p = self.param.prior_box_param
        if not p.min_size or min(p.min_size) <= 0:
            self.bad_param("needs at least one positive min_size")
        if p.max_size and len(p.max_size) != len(p.min_size):
            self.bad_param(f"expected a max_size for each of {len(p.min_size)} min_size, got {len(p.max_size)}")
        if any(not small < big < 1 << 31 for small, big in zip(p.min_size, p.max_size, strict=False)):
            self.bad_param("each max_size must exceed its min_size")
        ratios: list[float] = []
        for given in p.aspect_ratio:
            if given <= 0:
                self.bad_param(f"aspect_ratio must be positive, got {given:g}")
            for ratio in (given, 1 / given) if p.flip else (given,):
                if all(abs(ratio - known) >= _RATIO_TOLERANCE for known in [1.0, *ratios]):
                    ratios.append(ratio)
        found: list[tuple[float, float]] = []
        for i, exact in enumerate(p.min_size):
            if not exact < 1 << 31:
                self.bad_param(f"min_size must be less than 2^31, got {exact:g}")
            small = int(exact)  # truncated as in SSD, whose trained nets depend on it
            found.append((small, small))
            if p.max_size:
                between = math.sqrt(small * int(p.max_size[i]))
                found.append((between, between))
            found += [(small * math.sqrt(ratio), small / math.sqrt(ratio)) for ratio in ratios]
        return found

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].ndim != 4 or bottom[1].ndim != 4:
            self.bad_shape(f"needs bottoms of shape (N, C, H, W), got {bottom[0].shape} and {bottom[1].shape}")
        size = (*bottom[0].shape[2:], *bottom[1].shape[2:])
        if size != self.built:
            self.boxes = self._boxes(bottom[0].shape[2:], bottom[1].shape[2:])
            self.built = size
        top[0].reshape(1, 2, self.boxes.size)

    def _boxes(
        self, grid: tuple[int, ...], image: tuple[int, ...]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        p = self.param.prior_box_param
        height, width = (own or given for own, given in zip(self.image, image, strict=True))
        if not height or not width or not all(grid):
            self.bad_shape(f"no boxes for a map of size {grid} and an image of size {(height, width)}")
        step_h, step_w = (step or size / n for step, size, n in zip(self.step, (height, width), grid, strict=True))
        rows = (np.arange(grid[0]) + p.offset) * step_h
        columns = (np.arange(grid[1]) + p.offset) * step_w
        half = np.array(self.sizes) / 2
        boxes = np.empty((*grid, len(half), 4))
        boxes[..., 0] = (columns[None, :, None] - half[:, 0]) / width
        boxes[..., 1] = (rows[:, None, None] - half[:, 1]) / height
        boxes[..., 2] = (columns[None, :, None] + half[:, 0]) / width
        boxes[..., 3] = (rows[:, None, None] + half[:, 1]) / height
        return np.clip(boxes, 0, 1) if p.clip else boxes

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        xp = xp_of(y)
        y[0, 0] = xp.asarray(self.boxes.reshape(-1))
        y[0, 1].reshape(-1, 4)[...] = xp.asarray(self.variance)
