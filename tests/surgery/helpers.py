"""Nets with batch normalisation in several forms, and weights with statistics that are not trivial."""

from __future__ import annotations

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.model import Model
from dragon.surgery.prove import prove

HEAD = """
name: "n"
layer { name: "data" type: "DummyData" top: "data" dummy_data_param {
  shape { dim: 5 dim: 4 dim: 6 dim: 6 } data_filler { type: "gaussian" mean: 2 std: 3 } } }
"""
CONV = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 group: 2 weight_filler { type: "xavier" } } }
"""
TAIL = """layer { name: "relu" type: "ReLU" bottom: "NAME" top: "NAME" }
layer { name: "ip" type: "InnerProduct" bottom: "NAME" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
"""
SPLIT = """layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" batch_norm_param { eps: 0.01 } }
layer { name: "scale1" type: "Scale" bottom: "bn1" top: "s1" param { lr_mult: 2 } param { lr_mult: 3 }
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } } }
"""
FORMS = {
    "split": (SPLIT, "s1"),
    "split in place": (SPLIT.replace('"bn1" batch', '"conv1" batch').replace('"bn1" top: "s1"', '"conv1" top: "conv1"')
                       , "conv1"),
    "split, no shift": (SPLIT.replace("bias_term: true", "").replace("param { lr_mult: 3 }", ""), "s1"),
    "split, EMA": (SPLIT.replace("eps: 0.01", "average: EMA decay: 0.7"), "s1"),
    "split, fraction": (SPLIT.replace("eps: 0.01", "moving_average_fraction: 0.8"), "s1"),
    "split, ghost": (SPLIT.replace("eps: 0.01", "ghost_batch: 2"), "s1"),
    "split, constant": (SPLIT.replace("eps: 0.01", "gradient_through_statistics: false"), "s1"),
    "split, cumulative": (SPLIT.replace("eps: 0.01", "average: CUMULATIVE"), "s1"),
    "scale_bias": ('layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "s1" batch_norm_param { '
                   'scale_bias: true scale_filler { type: "uniform" min: 0.5 max: 2 } '
                   'bias_filler { type: "uniform" } } }', "s1"),
    "merged": ('layer { name: "bn1" type: "BN" bottom: "conv1" top: "s1" batch_norm_param { '
               'scale_filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } } }', "s1"),
    "merged, SyncBN": ('layer { name: "bn1" type: "SyncBN" bottom: "conv1" top: "s1" batch_norm_param { decay: 0.6 '
                       'scale_filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } } }', "s1"),
    "merged, ghost": ('layer { name: "bn1" type: "BN" bottom: "conv1" top: "s1" batch_norm_param { ghost_batch: 2 '
                      'gradient_through_statistics: false } }', "s1"),
    "merged, latest": ('layer { name: "bn1" type: "BN" bottom: "conv1" top: "s1" '
                       'batch_norm_param { average: LATEST } }', "s1"),
    "renorm": (SPLIT.replace("BatchNorm", "BatchRenorm").replace("batch_norm_param", "batch_renorm_param"), "s1"),
    "merged, fork": ('layer { name: "bn1" type: "BN" bottom: "conv1" top: "s1" bn_param { eps: 0.001 momentum: 0.8 '
                     'slope_filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } } }', "s1"),
}  # fmt: skip


def definition(form: str, conv: str = CONV) -> pb.NetParameter:
    text, top = FORMS[form]
    return parse_text(HEAD + conv + text + TAIL.replace("NAME", top), pb.NetParameter())


def trained(net: pb.NetParameter) -> Model:
    """The net with the weights and statistics that three training batches leave."""
    run = Net(net, TRAIN, engine="numpy", seed=11)
    for _ in range(3):
        run.run_forward()
    model = Model(net, {name: [np.array(b.peek()) for b in blobs] for name, blobs in run.params.items()})
    for name in ("conv1", "bn1", "scale1"):  # shifts and biases that are not zero
        if name in model.arrays and name != "bn1":
            model.arrays[name][-1] = model.arrays[name][-1] + 0.25
    return model


def largest(old: Model, new: Model, phases: tuple[int, ...]) -> float:
    """The largest relative difference of what two models compute."""
    return max(d.relative for d in prove(old, new, phases, batches=3))
