"""Nets that train on the emulated GPU beside ones whose blobs do not share memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import text_format

from dragon.engines import Options
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.executor import CudaExecutor
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes
from dragon.engines.lifetimes.placing import Placement
from dragon.graph.net import Net
from dragon.memory.storage import Storage
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.running import fill, inputs, parse
from tests.engines.cuda.test_engine import NET

CONV = (
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } '
    "bias_filler { value: 0.1 } }"
)
NORM = 'type: "BN"'
FULL = 'type: "InnerProduct" inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
POOL = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 2 }'
PARTS = 'type: "Slice" slice_param { slice_point: 3 slice_point: 6 }'
PRODUCT = 'type: "Eltwise" eltwise_param { operation: PROD }'
INPUTS = inputs({"data": (4, 3, 6, 6), "label": (4,)})
RESIDUAL = f"""
layer {{ name: "c0" bottom: "data" top: "c0" {CONV} }}
layer {{ name: "c1" bottom: "c0" top: "c1" {CONV} }}
layer {{ name: "n1" bottom: "c1" top: "n1" {NORM} }}
layer {{ name: "r1" bottom: "n1" top: "n1" type: "ReLU" }}
layer {{ name: "c2" bottom: "n1" top: "c2" {CONV} }}
layer {{ name: "n2" bottom: "c2" top: "n2" {NORM} }}
layer {{ name: "sum" bottom: "n2" bottom: "c0" top: "sum" type: "Eltwise" }}
layer {{ name: "rs" bottom: "sum" top: "sum" type: "ReLU" }}
layer {{ name: "c3" bottom: "sum" top: "c3" {CONV} }}
layer {{ name: "sum2" bottom: "sum" bottom: "c3" top: "sum2" type: "Eltwise" }}
layer {{ name: "rs2" bottom: "sum2" top: "sum2" type: "ReLU" }}
layer {{ name: "pool" bottom: "sum2" top: "pool" {POOL} }}
layer {{ name: "f" bottom: "pool" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
"""
BRANCHES = f"""
layer {{ name: "s0" bottom: "data" top: "data" type: "Sigmoid" }}
layer {{ name: "c1" bottom: "data" top: "c1" {CONV} }}
layer {{ name: "d1" bottom: "c1" top: "c1" type: "Dropout" }}
layer {{ name: "c2" bottom: "c1" top: "c2" {CONV} }}
layer {{ name: "step" bottom: "c2" top: "step" type: "Threshold" }}
layer {{ name: "cat" bottom: "c2" bottom: "c1" top: "cat" type: "Concat" }}
layer {{ name: "parts" bottom: "cat" top: "a" top: "b" top: "unused" {PARTS} }}
layer {{ name: "product" bottom: "a" bottom: "b" top: "product" {PRODUCT} }}
layer {{ name: "flat" bottom: "product" top: "flat" type: "Flatten" }}
layer {{ name: "f" bottom: "flat" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
layer {{ name: "g" bottom: "b" top: "g" {FULL} }}
layer {{ name: "second" bottom: "g" bottom: "label" top: "second" type: "SoftmaxWithLoss" loss_weight: 0.3 }}
layer {{ name: "accuracy" bottom: "f" bottom: "label" top: "accuracy" type: "Accuracy" }}
"""
NETS = {"plain": NET, "residual": RESIDUAL, "branches": BRANCHES}
FROZEN = RESIDUAL.replace('layer { name: "c1"', 'layer { name: "c1" param { lr_mult: 0 } param { lr_mult: 0 }')
FROZEN = FROZEN.replace('layer { name: "c0"', 'layer { propagate_down: false name: "c0" param { lr_mult: 0 }')
LABELS = np.array([0, 3, 1, 2], np.float32)


def values(number: int, batch: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(number)
    return {"data": random.standard_normal((batch, 3, 6, 6)).astype(np.float32), "label": np.resize(LABELS, batch)}


def solver_of(
    text: str, settings: str = "", options: Options | None = None, above: str = "", rate: float = 0.05
) -> Solver:
    param = pb.SolverParameter(net_param=parse(above + INPUTS + text))
    text_format.Merge(f'base_lr: {rate} momentum: 0.9 lr_policy: "fixed" {settings}', param)
    solver = Solver(param, engine="cuda", seed=4, options=options or Options())
    fill(solver.net, values(0))
    return solver


def executor_of(owner: Any) -> CudaExecutor:
    executor = getattr(owner, "net", owner).executor
    assert isinstance(executor, CudaExecutor)
    return executor


def arena(net: Net) -> dict[Storage, Any]:
    """The arrays of the storages that lie in the arena."""
    storages = {s for blob in net.blobs.values() for s in (blob.data_storage, blob.diff_storage)}
    copies = {s: s.copy_at("cuda:0") for s in storages}
    return {s: copy.array for s, copy in copies.items() if isinstance(copy, DeviceCopy) and copy.shares}


def is_lost(net: Net, storage: Storage) -> bool:
    """Whether the last pass has overwritten a storage."""
    executor = executor_of(net)
    groups = executor.plan.groups
    lifetimes = BlobLifetimes(net, groups, executor.arrays.types, [g for g in reversed(groups) if g.need_backward])
    spans = lifetimes.in_arena(executor.sharing.own)
    return storage in spans.keys() - Placement(spans).survivors


def share(owner: Any, shares: bool) -> None:
    """Let an executor share memory in training however little it saves, or never."""
    executor_of(owner).sharing.worth = 0 if shares else 1 << 60


def pair(*args: Any, **kwargs: Any) -> list[Solver]:
    """Two solvers; blobs of the second one share memory."""
    solvers = [solver_of(*args, **kwargs) for _ in range(2)]
    for solver, shares in zip(solvers, (False, True), strict=True):
        share(solver, shares)
    return solvers


def same(what: str, a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a, b, err_msg=what)


def same_weights(nets: list[Net], when: str) -> None:
    for a, b in zip(nets[0].layers, nets[1].layers, strict=True):
        for j, (x, y) in enumerate(zip(a.blobs, b.blobs, strict=True)):
            same(f"{when}: blob {j} of {a.name}", x.peek(), y.peek())
            same(f"{when}: gradient {j} of {a.name}", x.peek_diff(), y.peek_diff())


def same_blobs(nets: list[Net], when: str) -> None:
    for name, blob in nets[0].blobs.items():
        same(f"{when}: {name}", blob.peek(), nets[1].blobs[name].peek())
        same(f"{when}: diff of {name}", blob.peek_diff(), nets[1].blobs[name].peek_diff())
