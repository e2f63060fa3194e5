"""What drawn images with boxes are made of: textures, colours apart from each other, boxes of masks, free places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.annotations import Object
from dragon.data.detection.geometry import covered

__all__ = ["Box", "Plane", "apart", "box_of", "is_free", "textured"]

Plane = NDArray[np.float32]
Box = tuple[float, float, float, float]

_HIDDEN = 0.2  # the largest part of a box that another may cover
_LEAST = 6  # pixels of a box's side


def is_free(box: Box | None, objects: Sequence[Object]) -> bool:
    """Whether a box is large enough, and hides little of the others, and they of it."""
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _LEAST:
        return False
    corners, others = np.array(box), np.array([one.box for one in objects]).reshape(-1, 4)
    return not len(others) or max(covered(others, corners).max(), covered(corners, others).max()) <= _HIDDEN


def box_of(mask: Plane, least: float = 0.5) -> Box | None:
    """The edges of the pixels (H, W) that are covered at least so far; None without one."""
    rows, columns = (np.flatnonzero((mask >= least).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def textured(rng: np.random.Generator, height: int, width: int, paint: tuple[NDArray[Any], float]) -> NDArray[Any]:
    """Pixels (3, H, W) of a colour with waves of some direction in them. paint: the colour, and the waves' height."""
    colour, amount = paint
    angle, length, phase = rng.uniform(0, np.pi), rng.uniform(5, 24), rng.uniform(0, 2 * np.pi)
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / length) + phase)
    made: NDArray[Any] = colour.reshape(3, 1, 1) + amount * wave * rng.uniform(0.6, 1, (3, 1, 1))
    return made


def apart(rng: np.random.Generator, colour: NDArray[Any], contrast: tuple[float, float]) -> NDArray[Any]:
    """A colour at a random distance from `colour`, within 0 to 255 as far as that goes."""
    direction = np.abs(rng.standard_normal(3)) * np.where(colour > 127, -1, 1)
    made: NDArray[Any] = colour + direction / np.sqrt((direction**2).mean()) * rng.uniform(*contrast)
    np.clip(made, 0, 255, out=made)
    return made
