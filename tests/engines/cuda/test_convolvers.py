"""The products of both interfaces of cuDNN, without a net, in both orders of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device import cudnn, cudnn_frontend
from dragon.engines.cuda.device.cudnn import Convolver, Geometry, open_cudnn
from dragon.engines.cuda.device.cudnn_frontend import open_frontend
from dragon.engines.cuda.device.gpu import Gpu, open_gpu
from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation.cudnn import Cudnn, _convolve
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.running import close

SHAPES: dict[str, Any] = {"wide": (3, 4, 6, 5), "weight": (6, 2, 3, 3), "narrow": (3, 6, 3, 3)}
NAMES = {"x": "wide", "w": "weight", "y": "narrow"}
SETTINGS: dict[str, Any] = {"pad": (1, 1), "stride": (2, 2), "dilation": (1, 1), "groups": 2}
OPEN: dict[str, Callable[[Gpu], Any]] = {"frontend": open_frontend, "C": open_cudnn}


@pytest.fixture(params=list(OPEN))
def convolver(request: pytest.FixtureRequest, cuda: None, monkeypatch: pytest.MonkeyPatch) -> Convolver:
    if not ON_A_GPU:
        monkeypatch.setattr(cudnn_frontend, "load_package", Package)
        monkeypatch.setattr(cudnn, "load_library", Cudnn)
    gpu = open_gpu(0)
    with gpu.active():
        found: Convolver | None = OPEN[request.param](gpu)
    if found is None:
        pytest.skip(f"cuDNN's interface {request.param} is not installed")
    return found


def in_memory(array: np.ndarray[Any, Any], channels_last: bool) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if channels_last else array)


def expected(wanted: str, values: dict[str, Any]) -> Any:
    """The product in float64, with axes (N, C, H, W)."""
    arrays = {short: values[name].astype(np.float64) for short, name in NAMES.items()}
    arrays[wanted] = np.zeros_like(arrays[wanted])
    _convolve(wanted, arrays, SETTINGS)
    return arrays[wanted]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("product", ["forward", "forward_bias", "forward_bias_relu", "data", "weight"])
def test_products_in_both_orders_of_axes(product: str, channels_last: bool, convolver: Convolver) -> None:
    rng = np.random.default_rng(3)
    values = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    bias = rng.standard_normal(SHAPES["narrow"][1]).astype(np.float32)
    g = Geometry(**SHAPES, **SETTINGS, dtype="float32", tf32=False, channels_last=channels_last)
    gpu = open_gpu(0)
    target = {"data": "wide", "weight": "weight"}.get(product, "narrow")
    with gpu.active():
        on_device = {name: gpu.cupy.asarray(in_memory(values[name], channels_last)) for name in SHAPES}
        on_device["bias"] = gpu.cupy.asarray(bias)
        on_device[target].fill(np.nan)
        if product.startswith("forward_") and not convolver.fuses:
            assert not convolver.serves(product, g)
            return
        if not convolver.serves(product, g):
            pytest.skip(f"cuDNN has no plan for {product} here")
        wide, weight, narrow = (on_device[name] for name in SHAPES)
        if product == "data":
            done = convolver.wide_from_narrow(g, narrow, weight, wide)
        elif product == "weight":
            done = convolver.weight_gradient(g, wide, narrow, weight, add=False)
        else:
            of_bias = on_device["bias"] if "bias" in product else None
            done = convolver.narrow_from_wide(g, wide, weight, narrow, of_bias, "relu" in product)
        got = on_device[target].get(stream=gpu.stream)
    assert done
    if channels_last:
        n, c, h, w = SHAPES[target]
        got = got.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    wanted = expected({"data": "x", "weight": "w"}.get(product, "y"), values)
    if "bias" in product:
        wanted += bias[:, None, None]
    if "relu" in product:
        wanted = np.maximum(wanted, 0)
    close(product, got, wanted, 2e-5)
