"""Maximum and average pooling of images whose channels lie last, by channels_last.cu."""

from __future__ import annotations

from typing import Any

from dragon.engines.cuda.kernels import channels_last as kernels
from dragon.engines.cuda.kernels.kernel import VECTOR_BYTES
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned

__all__ = ["MOST_PLACES", "backward_last", "forward_last"]

MOST_PLACES = 256  # elements of a window, whose maximum's place is kept in a byte


def _sizes(images: Any, outputs: Any) -> dict[str, Any]:
    """The kernels' arguments; images: the array whose elements a launch computes, with those of `outputs`."""
    channels = images.shape[1]
    lanes = VECTOR_BYTES // images.dtype.itemsize
    vectors = channels % lanes == 0 and aligned(images, outputs)
    parts = channels // lanes if vectors else channels
    return {"count": images.size, "channels": channels, "parts": parts, "vectors": vectors}


def _mask(lowering: Lowering, like: Any) -> Any:
    """For each output the place of its maximum in the window, from forward to backward."""
    return lowering.buffer("places", like.shape, "uint8")


def forward_last(
    lowering: Lowering, x: Any, y: Any, window: dict[str, int], more: dict[str, Any], is_maximum: bool
) -> None:  # fmt: skip
    """Launch y = the maximum or the average of each window of x. more: further arguments of the kernel."""
    given = {"x": x, "y": y, **_sizes(y, x), **window, **more}
    if is_maximum:
        lowering.launch(kernels.max_forward_last, mask=_mask(lowering, y), **given)
    else:
        lowering.launch(kernels.average_forward_last, **given)


def backward_last(
    lowering: Lowering, dy: Any, dx: Any, window: dict[str, int], more: dict[str, Any], is_maximum: bool
) -> None:  # fmt: skip
    """Launch dx = the gradient of `forward_last`. more: further arguments of the kernel."""
    given = {"dy": dy, "dx": dx, **_sizes(dx, dy), **window, **more}
    if is_maximum:
        lowering.launch(kernels.max_backward_last, mask=_mask(lowering, dy), **given)
    else:
        lowering.launch(kernels.average_backward_last, **given)
