"""Batches without an item, (0, ...), on any engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon
from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.recurrent import Carried
from dragon.layers.dense_block import DenseBlock
from tests.layers.catalogue import CASES, Case

__all__ = ["EMPTY", "FILTERED", "check_empty", "check_filtered"]

MakeNet = Callable[[str, str, int], dragon.Net]  # text, engine, phase

# the first axis of a bottom is none of the batch: an operand's, a matrix's, or that of a state to begin with; of the
# regions or the map of one image; of as many marks as a setting says
_OTHERWISE = ["InfogainLoss 0", "LSTM 1", "LSTM 2", "RNN 1", "RNN 2", "LSTMUnit 0"]
_OTHERWISE += ["Bias 2", "Bias 3", "Scale 3", "Scale 5"]
_OTHERWISE += ["AnchorTarget 0", "AnchorTarget 1", "Proposal 0", "Proposal 1", "ProposalTarget 0", "ProposalTarget 1"]
_OTHERWISE += ["RCNNDetectionOutput 0", "RCNNDetectionOutput 1"]
_OTHERWISE += ["ContinuationIndicator 2"]
EMPTY = [name for name, case in CASES.items() if case.inputs and name not in _OTHERWISE]


def check_empty(name: str, make: MakeNet, engine: str, phase: int) -> None:
    """A full batch, an empty one with gradients of zero, and the full one again with the numbers it had.

    A layer with states goes on after the empty batch as it does where there was none.
    """
    case = CASES[name]
    net = make(case.text(), engine, phase)
    layer = net.nodes[-1].layer
    if isinstance(layer, BatchStatistics) and not layer.normalization.by_running(phase):
        return  # without statistics of a batch
    if isinstance(layer, DenseBlock) and phase == dragon.TRAIN:
        return
    values = case.values()
    before = _outputs(net, values)
    carried = layer.state() if isinstance(layer, Carried) else {}
    if carried:
        going_on = values | {"x1": np.ones_like(values["x1"])}  # bottom 1 is 0 where a sequence begins
        expected = _outputs(net, going_on)
        layer.load_state({})
        _outputs(net, values)
    for bottom, given in zip(values, case.inputs, strict=True):
        shape = list(net.blobs[bottom].shape)
        shape[_batch_axis(case, given)] = 0
        net.blobs[bottom].reshape(*shape)
    net.reshape()
    net.clear_param_diffs()
    assert net.run_forward() == 0
    net.run_backward()
    for i, blob in enumerate(layer.blobs):
        assert np.isfinite(blob.peek()).all()
        assert i in layer.buffers or not blob.peek_diff().any()
    if isinstance(layer, Carried):
        assert layer.state() == carried  # no step was made
    if carried:
        _compare(_outputs(net, going_on), expected)
        layer.load_state({})  # a batch that goes on with sequences begins as the first one did
    after = _outputs(net, values)
    if phase == dragon.TEST and "STOCHASTIC" not in case.settings:
        _compare(after, before)
    net.close()


def _batch_axis(case: Case, given: tuple[int, ...] | str) -> int:
    """The axis of the batch: the second one of CTC's scores (T, N, C), marks (T, N) and labels (L, N)."""
    is_second = isinstance(given, tuple) or given in ("cont", "label sequences")
    return int(is_second and case.kind.upper().removeprefix("WARP").startswith("CTC"))


def _outputs(net: dragon.Net, values: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The tops of the last layer for these inputs."""
    for name, value in values.items():
        net.blobs[name].reshape(*value.shape)
        net.blobs[name].data[...] = value
    net.run_forward()
    return [top.peek().copy() for top in net.nodes[-1].tops]


def _compare(found: list[NDArray[Any]], expected: list[NDArray[Any]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


FILTERED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "keep" type: "Input" top: "keep" input_param { shape { dim: 4 } } }
layer { name: "first" type: "Convolution" bottom: "x" top: "first"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "filter" type: "Filter" bottom: "first" bottom: "label" bottom: "keep" top: "some" top: "their" }
layer { name: "conv" type: "Convolution" bottom: "some" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "flat" type: "Reshape" bottom: "pool" top: "flat" reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "their" top: "loss"
        propagate_down: true propagate_down: false }
"""


def check_filtered(make: MakeNet, engine: str) -> None:
    """Filter keeps two, none, and two items again."""
    net = make(FILTERED, engine, dragon.TRAIN)
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.standard_normal((4, 3, 8, 8))
    net.blobs["label"].data[...] = [0, 1, 2, 0]
    losses = []
    for keep in ([1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]):
        net.blobs["keep"].data[...] = keep
        net.clear_param_diffs()
        losses.append(net.run_forward())
        net.run_backward()
        diffs = [blob.peek_diff().any() for blobs in net.params.values() for blob in blobs]
        assert all(diffs) if any(keep) else not any(diffs)
    assert losses[1] == 0
    assert losses[2] == losses[0]
    net.close()
