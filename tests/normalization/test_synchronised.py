"""Statistics over the rows of several ranks, which threads imitate: the parts of a batch as the whole of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import Context
from dragon.share import Share, Total
from tests.layers.helpers import One

ROWS = (7, 5, 4)  # of each rank
LAYERS = {
    "BatchNorm": 'type: "BatchNorm"',
    "BatchNorm with scale": 'type: "BatchNorm" batch_norm_param { scale_bias: true scale_filler { value: 1.5 } }',
    "BN": 'type: "BN" batch_norm_param { eps: 0.01 scale_filler { type: "gaussian" std: 1 } }',
    "BN of PSPNet": 'type: "BN" bn_param { momentum: 0.8 slope_filler { value: 2 } }',
    "BN of SegNet": 'type: "BN" bn_param { bn_mode: LEARN scale_filler { value: 2 } }',
    "BN of neopenx": 'type: "BN" profile: "neopenx"',
    "BatchNorm of 2016": 'type: "BatchNorm" profile: "dragon-2016"',
    "BatchRenorm": 'type: "BatchRenorm" batch_renorm_param { r_max: 2 d_max: 1 step_to_init: 1 step_to_r_max: 2 '
    "step_to_d_max: 2 }",
}  # fmt: skip


class Ring:
    """Adds up vectors of several threads in their order."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(len(ROWS), timeout=30)
        self.given: list[NDArray[Any]] = [np.zeros(0)] * len(ROWS)
        self.calls = [0] * len(ROWS)

    def total(self, rank: int) -> Total:
        def add_up(values: NDArray[Any]) -> None:
            self.calls[rank] += 1
            self.given[rank] = values.copy()
            self.barrier.wait()
            values[...] = sum(self.given)
            self.barrier.wait()

        return add_up


def share(ring: Ring, rank: int, synchronised: bool = True) -> Share:
    return Share(rank, len(ROWS), total=ring.total(rank), synchronised=synchronised)


def made(text: str, x: NDArray[Any], context: Context, in_place: bool = False) -> One:
    return One(text, x, dtype=np.float64, context=context, in_place=in_place)


def parts_of(all_rows: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(all_rows, np.cumsum(ROWS)[:-1])


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_parts_are_normalised_as_one_batch(name: str, in_place: bool) -> None:
    rng = np.random.default_rng(1)
    batches = [rng.standard_normal((sum(ROWS), 3, 2, 2)) + 3 for _ in range(3)]
    diff = rng.standard_normal(batches[0].shape)
    alone = made(LAYERS[name], batches[0], Context(np.float64, 3), in_place)
    ring = Ring()
    layers = [
        made(LAYERS[name], part, Context(np.float64, 3, share=share(ring, rank)), in_place)
        for rank, part in enumerate(parts_of(batches[0]))
    ]

    def run(rank: int, batch: NDArray[Any], diff: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        top = layers[rank].forward(batch).copy()
        return top, layers[rank].backward(diff).copy()

    with ThreadPoolExecutor(len(ROWS)) as pool:
        for batch in batches:
            expected = alone.forward(batch).copy(), alone.backward(diff).copy()
            found = list(pool.map(run, range(len(ROWS)), parts_of(batch), parts_of(diff)))
            for k in (0, 1):
                np.testing.assert_allclose(np.concatenate([f[k] for f in found]), expected[k], rtol=1e-9, atol=1e-11)
    buffers = alone.layer.buffers
    for k, blob in enumerate(alone.layer.blobs):
        for one in layers if k in buffers else ():
            np.testing.assert_allclose(one.layer.blobs[k].data, blob.data, rtol=1e-12)
        if k not in buffers:  # each rank has the gradient of its own rows
            total = sum(one.layer.blobs[k].diff for one in layers)
            np.testing.assert_allclose(total, blob.diff, rtol=1e-9, atol=1e-11)
    assert ring.calls == [9] * len(ROWS)  # in each pass twice forward, once backward


@pytest.mark.parametrize(
    ("text", "all_layers", "together"),
    [
        ('type: "SyncBN"', False, True),
        ('type: "BN"', False, False),
        ('type: "BN"', True, True),
        ('type: "SyncBN" batch_norm_param { ghost_batch: 2 }', True, False),
    ],
)
def test_which_layers_take_the_rows_of_all(text: str, all_layers: bool, together: bool) -> None:
    x = np.zeros((4, 3, 2, 2))
    layer = cast(BatchStatistics, made(text, x, Context(share=share(Ring(), 0, all_layers))).layer)
    assert (layer.total is not None) == together
    assert layer.by_kernels == (not together and "ghost" not in text)
    alone = cast(BatchStatistics, made(text, x, Context()).layer)
    assert alone.total is None


def test_running_statistics_need_no_rank() -> None:
    ring = Ring()
    text = 'type: "SyncBN" batch_norm_param { use_global_stats: true }'
    one = made(text, np.ones((4, 3, 2, 2)), Context(np.float64, share=share(ring, 0)))
    one.forward()
    one.backward(np.ones((4, 3, 2, 2)))
    assert ring.calls[0] == 0


def test_a_channel_that_is_constant_has_a_variance_of_0() -> None:
    ring = Ring()
    ones = [
        made('type: "BN"', np.full((n, 1, 2, 2), 100.1, np.float64), Context(np.float64, share=share(ring, rank)))
        for rank, n in enumerate(ROWS)
    ]
    with ThreadPoolExecutor(len(ROWS)) as pool:
        tops = list(pool.map(lambda one: one.forward(), ones))
    for top in tops:
        np.testing.assert_allclose(top, 0, atol=1e-9)
