"""Arithmetic of DecorrelatedBN: ZCA whitening of groups of channels, and its gradient.

Arrays of activations have the shape (N, G, D, S): items, groups, channels of a group, positions; m = N * S values for
each channel. Matrices have the shape (G, D, D). With x centred, S = x x^T / m + eps and its eigenvalues and vectors
S = V diag(l) V^T (Huang et al. 2018):

    forward   W = V diag(l^(-1/2)) V^T    y = W x
    backward  K_ij = -1 / (sqrt(l_i l_j) (sqrt(l_i) + sqrt(l_j)))    dW = dy x^T
              dS = V (K * (V^T (dW + dW^T) / 2 V)) V^T
              dx = W dy + 2 / m dS x    less its mean

K is the divided difference of l^(-1/2) (Daleckii & Krein 1965), written without the difference of eigenvalues: the same
numbers as by the formula of Huang et al., and right for equal eigenvalues too.
"""

from __future__ import annotations

from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["covariance", "product", "whitening", "whitening_gradient"]


def covariance(centred: Array) -> Array:
    """X x^T / m, (G, D, D), the sums of the items added in float64."""
    found: Array = _outer(centred, centred) / max(1, centred.shape[0] * centred.shape[3])
    return found


def whitening(covariance: Array, eps: float) -> tuple[Array, Array, Array]:
    """W (G, D, D), sqrt(l) (G, D) and V (G, D, D) in float64. W is NaN for a group whose covariance is not finite."""
    xp = xp_of(covariance)
    size = covariance.shape[-1]
    shifted = covariance.astype("float64") + eps * xp.eye(size)
    finite = xp.isfinite(shifted).all(axis=(1, 2), keepdims=True)
    values, vectors = xp.linalg.eigh(xp.where(finite, shifted, xp.eye(size)))
    # rounding can leave eigenvalues of a singular covariance below eps
    roots = xp.where(finite[:, 0], xp.sqrt(xp.maximum(values, eps)), float("nan"))
    return (vectors / roots[:, None, :]) @ vectors.swapaxes(1, 2), roots, vectors


def whitening_gradient(dy: Array, centred: Array, roots: Array, vectors: Array) -> Array:
    """2 / m dS, (G, D, D) in float64."""
    turned = vectors.swapaxes(1, 2) @ _outer(dy, centred) @ vectors
    a, b = roots[:, :, None], roots[:, None, :]
    within: Array = vectors @ ((turned + turned.swapaxes(1, 2)) / (-2 * a * b * (a + b))) @ vectors.swapaxes(1, 2)
    within *= 2 / max(1, dy.shape[0] * dy.shape[3])
    return within


def product(matrix: Array, x: Array, out: Array) -> None:
    """Multiply the channels of each group by its matrix; `out` must not be `x`."""
    xp_of(x).matmul(matrix.astype(x.dtype), x, out=out)


def _outer(x: Array, y: Array) -> Array:
    """X y^T summed over items and positions: (G, D, D) in float64."""
    if x.shape[3] == 1:  # one product instead of one for each item
        rows = x[..., 0].transpose(1, 2, 0) @ y[..., 0].transpose(1, 0, 2)
        wide: Array = rows.astype("float64")
        return wide
    total: Array = (x @ y.swapaxes(2, 3)).sum(axis=0, dtype="float64")
    return total
