"""Nets that read sequences, in the form of the public ones: they build in both phases, learn and are scored.

Structure, types, names of fields and what is left unset are those of warpctc-caffe, crnn.caffe, caffe_ocr and ChWick's
fork; widths are small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TEST, TRAIN, Net
from dragon.files.hdf5 import atomic_h5, write_values
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.types import SGDSolver

FILL = 'weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0 }'
RECURRENT = "\n".join(
    f'layer {{ name: "{name}" type: "LSTM" bottom: "{bottom}" bottom: "indicator" top: "{name}" '
    f"recurrent_param {{ num_output: 12 {FILL} }} }}"
    for name, bottom in (("lstm1", "permuted_data"), ("lstm2", "lstm1"))
)
READ = f"""
layer {{ name: "fc1" type: "InnerProduct" bottom: "lstm2" top: "fc1" param {{ lr_mult: 1 decay_mult: 1 }}
  param {{ lr_mult: 2 decay_mult: 0 }} inner_product_param {{ num_output: 11 axis: 2 {FILL} }} }}
layer {{ name: "ctc_loss" type: "CtcLoss" bottom: "fc1" bottom: "label" top: "ctc_loss" loss_weight: 1.0
  ctc_loss_param {{ blank_label: 10 alphabet_size: 11 time_step: 8 }} }}
layer {{ name: "permute_fc" type: "Permute" bottom: "fc1" top: "premuted_fc"
  permute_param {{ order: 1 order: 0 order: 2 }} }}
layer {{ name: "accuracy" type: "LabelsequenceAccuracy" bottom: "premuted_fc" bottom: "label" top: "accuracy"
  labelsequence_accuracy_param {{ blank_label: 10 }} }}
"""
INDICATOR = """
layer { name: "indicator" type: "ContinuationIndicator" top: "indicator"
  continuation_indicator_param { time_step: 8 batch_size: 16 } }
"""


def hdf5(folder: Path) -> str:
    """Two HDF5Data layers over columns that show a digit: 10 + digit at column 2 k, then darkness."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 10, (64, 3)).astype(np.float32)
    label[::2, 2] = 10  # filled up with the blank
    data = np.zeros((64, 1, 10, 8), np.float32)
    for n, row in enumerate(label):
        for k, digit in enumerate(row[row < 10]):
            data[n, 0, int(digit), 1 + 2 * k] = 1
    with atomic_h5(folder / "lines.h5") as file:
        write_values(file, "data", data)
        write_values(file, "label", label)
    (folder / "lines.list").write_text(f"{folder / 'lines.h5'}\n")
    return "".join(
        f'layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" include {{ phase: {phase} }} '
        f'hdf5_data_param {{ source: "{folder / "lines.list"}" batch_size: 16 }} }}\n'
        for phase in ("TRAIN", "TEST")
    )


def warpctc_caffe(data: str) -> str:
    """Columns of the image as steps, two LSTMs."""
    return f"""name: "lstm_ctc_net" {data} {INDICATOR}
layer {{ name: "permuted_data" type: "Permute" bottom: "data" top: "permuted_data"
  permute_param {{ order: 3 order: 0 order: 1 order: 2 }} }}
{RECURRENT} {READ}"""


def crnn_caffe(data: str) -> str:
    """Convolutions with BatchNorm, whose settings differ by phase, down to one row; then the same."""
    norm = "\n".join(
        f'layer {{ bottom: "conv0" top: "conv0" name: "bn_conv0" type: "BatchNorm" '
        f"batch_norm_param {{ use_global_stats: {use} }} include {{ phase: {phase} }} }}"
        for phase, use in (("TRAIN", "false"), ("TEST", "true"))
    )
    return f"""name: "crnn" {data}
layer {{ name: "conv0" type: "Convolution" bottom: "data" top: "conv0" param {{ lr_mult: 1 }} param {{ lr_mult: 2 }}
  convolution_param {{ num_output: 16 kernel_h: 10 kernel_w: 3 pad_h: 0 pad_w: 1 {FILL} }} }}
{norm}
layer {{ bottom: "conv0" top: "conv0" name: "scale_conv0" type: "Scale" scale_param {{ bias_term: true }} }}
layer {{ name: "relu0" type: "ReLU" bottom: "conv0" top: "conv0" }}
layer {{ name: "reshape" type: "Reshape" bottom: "conv0" top: "reshape"
  reshape_param {{ shape {{ dim: 16 dim: 16 dim: 8 }} }} }}
layer {{ name: "permuted_data" type: "Permute" bottom: "reshape" top: "permuted_data"
  permute_param {{ order: 2 order: 0 order: 1 }} }}
{INDICATOR} {RECURRENT} {READ}"""


def one(kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


def caffe_ocr(data: str) -> str:
    """A pooled map turned to steps, Lstm in both directions with a residual sum; blank 0, nothing of it set."""
    cell = 'lstm_param { num_output: 16 weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" } }'
    return (
        data
        + one("Convolution", "data", "conv1", f"convolution_param {{ num_output: 16 kernel_size: 3 pad: 1 {FILL} }}")
        + one("Pooling", "conv1", "pool5_ave", "pooling_param { pool: AVE kernel_w: 1 kernel_h: 10 }")
        + one("Transpose", "pool5_ave", "turned", "transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }")
        + one("Reshape", "turned", "blstm_input", "reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 }")
        + one("Lstm", "blstm_input", "lstm1", cell)
        + one("Reverse", "blstm_input", "rlstm1_input", "reverse_param { axis: 0 }")
        + one("Lstm", "rlstm1_input", "rlstm1-output", cell)
        + one("Reverse", "rlstm1-output", "rlstm1", "reverse_param { axis: 0 }")
        + one("Eltwise", "lstm1", "blstm1", 'bottom: "rlstm1" bottom: "blstm_input"')
        + one("InnerProduct", "blstm1", "fc1x", f"inner_product_param {{ axis: 2 num_output: 11 {FILL} }}")
    )


OCR_SCORES = """
layer { name: "ctcloss" type: "WarpCTCLoss" bottom: "fc1x" bottom: "label" top: "ctcloss" loss_weight: 1 }
layer { name: "acc" type: "CTCGreedyDecoder" bottom: "fc1x" bottom: "label" top: "acc" include { phase: TEST } }
"""


def net_of(text: str) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter())


@pytest.mark.parametrize("form", [warpctc_caffe, crnn_caffe])
def test_warpctc_caffe_and_crnn_caffe(form: Any, tmp_path: Path) -> None:
    """The solver clips as theirs do and learns the lines by heart; the gradient is the sum's, so the rate is low."""
    solver = pb.SolverParameter(
        base_lr=0.02, lr_policy="fixed", momentum=0.9, clip_gradients=5, max_iter=150, random_seed=1,
        test_iter=[4], test_interval=1000, net_param=net_of(form(hdf5(tmp_path))),
    )  # fmt: skip
    with SGDSolver(solver, engine="onednn") as trained:
        first = trained.test()
        assert set(first) == {"ctc_loss", "accuracy"}
        trained.step(150)
        last = trained.test()
    assert last["ctc_loss"] < first["ctc_loss"] / 2
    assert last["accuracy"] > first["accuracy"]


def test_caffe_ocr(tmp_path: Path) -> None:
    text = caffe_ocr(hdf5(tmp_path)) + OCR_SCORES
    train, test = (Net(net_of(text), phase, engine="numpy", seed=1) for phase in (TRAIN, TEST))
    assert train.blobs["blstm1"].shape == (8, 16, 16)
    assert np.isfinite(train.forward_backward())
    assert train.outputs == ["ctcloss"]
    scores = test.forward()["acc"]
    assert scores.shape == (1, 2, 1, 1)
    assert ((scores >= 0) & (scores <= 1)).all()
    use = 'name: "densenet" input: "data" input_dim: 1 input_dim: 1 input_dim: 10 input_dim: 8\n' + caffe_ocr("")
    use += 'layer { name: "result" type: "CTCGreedyDecoder" bottom: "fc1x" top: "result" }'
    assert Net(net_of(use), TEST, engine="numpy", seed=1).forward()["result"].shape == (1, 8, 1, 1)


def test_chwicks_fork() -> None:
    """Steps, marks and labels over time, all from the program; the last class is the blank."""
    text = """
    layer { name: "in" type: "Input" top: "data" top: "seq_ind" top: "target_seq"
      input_param { shape { dim: 8 dim: 2 dim: 5 } shape { dim: 8 dim: 2 } shape { dim: 8 dim: 2 } } }
    layer { name: "lstm" type: "LSTM" bottom: "data" bottom: "seq_ind" top: "lstm"
      recurrent_param { num_output: 6 weight_filler { type: "uniform" min: -0.1 max: 0.1 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "lstm" top: "ip"
      inner_product_param { axis: 2 num_output: 5 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "CTCLoss" bottom: "ip" bottom: "seq_ind" bottom: "target_seq" top: "loss" }
    layer { name: "decoder" type: "CTCGreedyDecoder" bottom: "ip" bottom: "seq_ind" bottom: "target_seq"
      top: "decoded" top: "score" top: "accuracy" ctc_decoder_param { ctc_merge_repeated: true } }
    """
    net = Net(net_of(text), TRAIN, engine="numpy", seed=1)
    net.blobs["data"].data[...] = np.random.default_rng(1).standard_normal((8, 2, 5))
    net.blobs["seq_ind"].data[...] = np.array([[0, 1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0, 0, 0]]).T
    net.blobs["target_seq"].data[...] = np.array([[0, 1, 2, 3, -1, -1, -1, -1], [2, 2, -1, -1, -1, -1, -1, -1]]).T
    assert net.forward_backward() > 0
    assert net.params["lstm"][0].diff.any()
    assert set(net.outputs) == {"loss", "decoded", "score", "accuracy"}
