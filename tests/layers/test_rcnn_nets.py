"""Nets of the structure of py-faster-rcnn's, without its source: they are built, trained and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.rcnn_nets import end_to_end, input_boxes, ohem

TRUE = [[4.0, 5, 20, 18, 1], [22.0, 20, 44, 42, 2]]


def solver(engine: str, prefix: str = "", net: str = "") -> dragon.Solver:
    param = pb.SolverParameter(
        base_lr=0.05, lr_policy="fixed", momentum=0.9, max_iter=100, random_seed=4, snapshot_prefix=prefix
    )
    param.net_param.CopyFrom(parse_text(net or end_to_end(input_boxes()), pb.NetParameter()))
    made = dragon.Solver(param, engine=engine)
    random = np.random.default_rng(0)
    image = random.standard_normal((1, 3, 48, 48)) / 10
    for x1, y1, x2, y2, label in np.array(TRUE, int):
        image[0, label, y1 : y2 + 1, x1 : x2 + 1] += 1
    made.net.blobs["data"].data[...] = image
    made.net.blobs["im_info"].data[...] = [[48, 48, 1]]
    made.net.blobs["gt_boxes"].data[...] = TRUE
    return made


def losses(made: dragon.Solver, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        made.step(1)
        found.append(sum(float(made.net.blobs[name].data) for name in ("rpn_cls_loss", "rpn_loss_bbox", "loss_cls")))
    return found


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_net_learns_one_image_without_the_python_source(engine: str) -> None:
    made = solver(engine)
    found = losses(made, 40)
    assert np.mean(found[-5:]) < 0.6 * np.mean(found[:5])
    assert made.net.blobs["rois"].shape[1] == 5
    assert np.abs(made.net.params["rpn_bbox_pred"][0].diff).max() > 0


def test_engines_agree() -> None:
    a, b = losses(solver("numpy"), 3), losses(solver("onednn"), 3)
    np.testing.assert_allclose(a, b, rtol=1e-3)


def test_a_resume_is_exact(tmp_path: Path) -> None:
    first = solver("numpy", str(tmp_path / "snap"))
    losses(first, 3)
    state = first.snapshot()
    expected = losses(first, 4)
    second = solver("numpy")
    second.restore(state)
    assert losses(second, 4) == expected


def test_hard_examples_are_mined_as_in_r_fcn() -> None:
    made = solver("numpy", net=ohem(input_boxes()))
    found = losses(made, 40)
    blobs = made.net.blobs
    assert 0 < (blobs["labels_ohem"].data >= 0).sum() <= 16 < blobs["labels"].count
    each = blobs["per_roi_loss"].data.ravel()
    mined = blobs["labels_ohem"].data.ravel() >= 0
    assert each[mined].min() >= each[~mined].max()
    assert np.mean(found[-5:]) < 0.7 * np.mean(found[:5])
