"""Winograd's minimal filtering along one axis: m outputs of k taps take m + k - 1 products instead of m k.

    y = A^T ((G w) * (B^T x))        x: m + k - 1 inputs, w: k taps, y: m outputs, * element by element

by interpolation at m + k - 2 points and infinity (A. Toom and S. Cook; S. Winograd, Arithmetic Complexity of
Computations, 1980; for networks A. Lavin and S. Gray, arXiv 1509.09308). The transposed formulas give the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["ONE", "POINTS", "Tiling", "toom_cook"]

Matrix = NDArray[np.float64]

# With these seven the float32 error is about 5 times that of the direct sum; with eleven, 40 times.
POINTS = ("0", "1", "-1", "2", "-1/2", "-2", "1/2")
ONE = 1  # index of the point 1: adding b to its product adds b to every output


@cache
def toom_cook(outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """A^T (outputs x n), G (n x taps) and B^T (n x n), with n = outputs + taps - 1 at most len(POINTS) + 1."""
    n = outputs + taps - 1
    if not 3 <= n <= len(POINTS) + 1:
        raise ValueError(f"{outputs} outputs of {taps} taps need {n} points, which is not among 3 to {len(POINTS) + 1}")
    from fractions import Fraction  # with decimal; most nets have no layer to filter

    points = [Fraction(point) for point in POINTS[: n - 1]]

    def powers(count: int) -> list[list[Fraction]]:
        return [[p**j for j in range(count)] for p in points] + [[Fraction(int(j == count - 1)) for j in range(count)]]

    inverse = _inverse(powers(n))
    # Rows of B^T are multiplied by factors that make them integers, and rows of G divided by the same.
    rows = [[inverse[j][i] for j in range(n)] for i in range(n)]
    factors = [lcm(*(value.denominator for value in row)) for row in rows]
    bt = [[value * factor for value in row] for row, factor in zip(rows, factors, strict=True)]
    g = [[value / factor for value in row] for row, factor in zip(powers(taps), factors, strict=True)]
    return _array(powers(outputs)).T, _array(g), _array(bt)


@dataclass(frozen=True)
class Tiling:
    """The tiles of an axis: `size` inputs, `pad` zeros before them and as many after them as `outputs` sums need.

    taps: of the filter. tile: outputs of one tile. The matrices are for the whole axis; the rows in the transformed
    domain are ordered (point, tile).
    """

    size: int
    pad: int
    taps: int
    outputs: int
    tile: int

    @property
    def points(self) -> int:
        """Inputs of one tile, which are also its products."""
        return self.tile + self.taps - 1

    @property
    def tiles(self) -> int:
        """The number of tiles."""
        return -(-self.outputs // self.tile)

    def scatter(self) -> Matrix:
        """(points * tiles, size): every tile's B^T."""
        bt = toom_cook(self.tile, self.taps)[2]
        full = np.zeros((self.points, self.tiles, self.size))
        for tile in range(self.tiles):
            for j in range(self.points):
                at = tile * self.tile - self.pad + j
                if 0 <= at < self.size:
                    full[:, tile, at] = bt[:, j]
        return full.reshape(-1, self.size)

    def gather(self) -> Matrix:
        """(outputs, points * tiles): every tile's A^T."""
        at = toom_cook(self.tile, self.taps)[0]
        full = np.zeros((self.outputs, self.points, self.tiles))
        for y in range(self.outputs):
            full[y, :, y // self.tile] = at[y % self.tile]
        return full.reshape(self.outputs, -1)

    def weights(self) -> Matrix:
        """(points, taps): G."""
        return toom_cook(self.tile, self.taps)[1]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    n, zero = len(matrix), matrix[0][0] * 0
    rows = [[*row, *(zero + int(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(n):
            if r != i and rows[r][i]:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[n:] for row in rows]


def _array(rows: list[list[Fraction]]) -> Matrix:
    return np.array([[float(value) for value in row] for row in rows])
