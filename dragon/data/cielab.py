"""CIE L*a*b* images to RGB, as libtiff shows them, through which OpenCV reads TIFF.

CIE 15 gives X, Y and Z of a colour. The screen is that of libtiff's table `display_sRGB`: a matrix of four decimals,
gamma 2.4, white and black of 100 and 1 cd/m^2, and 1,501 levels of light. The white of the image is not adapted to the
screen's, so that white of D50, the default, is slightly yellow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["D50", "rgb_of_lab"]

D50 = (96.4250, 82.4680)  # X and Z of white, of which Y is 100

_SCREEN = np.array([[3.2410, -1.5374, -0.4986], [-0.9692, 1.8760, 0.0416], [0.0556, -0.2040, 1.0570]], np.float32)
_BLACK, _WHITE = 1.0, 100.0  # luminance
_GAMMA = 2.4
_STEPS = 1500
_LEVELS = np.rint(255 * (np.arange(_STEPS + 1) / _STEPS) ** (1 / _GAMMA)).astype(np.uint8)

# below these L* and cube roots the curve is a line
_LEAST_L, _LEAST_ROOT = 8.856, 0.2069
_SLOPE, _AT_ZERO = 7.787, 16 / 116
_CROSSING = 0.13793


def rgb_of_lab(lab: NDArray[np.uint8], white: tuple[float, float] = D50) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of `lab` (H, W, 3): L* from 0 to 255 for 0 to 100, and a* and b* as signed bytes.

    white: X and Z of the image's white, of which Y is 100.
    """
    light = lab[..., 0].astype(np.float32) * np.float32(100 / 255)
    a, b = (lab[..., i].view(np.int8).astype(np.float32) for i in (1, 2))
    dark = light < _LEAST_L
    line = light * (100 / 903.292)
    root = np.where(dark, _SLOPE * line / 100 + _AT_ZERO, (light + 16) / 116)
    y = np.where(dark, line, 100 * root**3)
    x, z = (_unroot(part, of) for part, of in zip((a / 500 + root, root - b / 200), white, strict=True))
    shown = np.stack([x, y, z], -1) @ _SCREEN.T
    step = (_WHITE - _BLACK) / _STEPS
    return _LEVELS[np.minimum(_STEPS, (np.maximum(shown, _BLACK) - _BLACK) / step).astype(np.intp)]


def _unroot(root: NDArray[np.floating], white: float) -> NDArray[np.floating]:
    return np.where(root < _LEAST_ROOT, white * (root - _CROSSING) / _SLOPE, white * root**3)
