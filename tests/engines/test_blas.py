from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dragon.engines import Options
from dragon.engines.blas import blas_threads, set_blas_threads
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb


@pytest.fixture
def threads() -> Iterator[int]:
    before = blas_threads()
    if before is None:
        pytest.skip("NumPy's BLAS does not tell its threads")
    yield before
    set_blas_threads(before)


def test_set_threads(threads: int) -> None:
    for count in (1, 2, 1):
        assert set_blas_threads(count)
        assert blas_threads() == count


def test_threads_of_the_numpy_engine(threads: int) -> None:
    set_blas_threads(1)
    net = pb.NetParameter(name="n")
    net.layer.add(name="in", type="Input", top=["x"]).input_param.shape.add(dim=[2, 4])
    Net(net, phase=pb.TEST, engine="numpy")
    assert blas_threads() == 1
    Net(net, phase=pb.TEST, engine="numpy", options=Options(threads=2))
    assert blas_threads() == 2


def test_products_are_right_with_any_number_of_threads(threads: int) -> None:
    a = np.arange(64.0).reshape(8, 8)
    set_blas_threads(2)
    np.testing.assert_array_equal(a @ np.eye(8), a)
