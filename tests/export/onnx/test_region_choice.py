"""Proposal and RCNNDetectionOutput in ONNX Runtime, with settings that drop, cut and find nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TEST, Net
from dragon.errors import UsageError
from dragon.export.onnx.model import check_types, model_of
from dragon.export.samples import random_weights
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text, read_net
from dragon.surgery.samples import sample_inputs
from tests.export.onnx.helpers import agree, filled, run_onnx
from tests.export.onnx.test_geometries import net

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[3] / "models"
INFO = np.array([[40.0, 48.0, 2.0]])


def proposals(settings: str, tops: int = 2, info: np.ndarray = INFO) -> tuple[np.ndarray, np.ndarray]:
    """Assert that the file finds the layer's regions; regions and scores."""
    rng = np.random.default_rng(3)
    inputs = {"x0": rng.uniform(size=(1, 12, 5, 6)), "x1": rng.standard_normal((1, 24, 5, 6)) / 3, "x2": info}
    text = f'type: "Proposal" proposal_param {{ feat_stride: 8 base_size: 8 scale: 1 scale: 2 {settings} }}'
    with filled(net(text, *(value.shape for value in inputs.values()), tops=tops), inputs) as made:
        found = run_onnx(agree(made, inputs, 2e-6), inputs)
    return found["y0"], found.get("y1", found["y0"])


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0, 2.0])
def test_regions(threshold: float) -> None:
    rois, scores = proposals(f"nms_thresh: {threshold} min_size: 2")
    assert len(rois) > 20
    assert (np.diff(scores[:, 0]) <= 0).all()


def test_few_candidates_and_few_regions() -> None:
    assert len(proposals("pre_nms_topn: 30 post_nms_topn: 7 nms_thresh: 0.6 min_size: 1")[0]) == 7
    assert len(proposals("pre_nms_topn: 9 post_nms_topn: 0 nms_thresh: 1 min_size: 1", tops=1)[0]) == 9


def test_narrow_regions_are_dropped_before_candidates_are_counted() -> None:
    rois, _ = proposals("pre_nms_topn: 20 nms_thresh: 1 min_size: 6")
    assert len(rois) == 20
    assert (rois[:, 3:] - rois[:, 1:3] + 1 >= 12).all()


def test_without_a_region_the_image_is_one() -> None:
    rois, scores = proposals("min_size: 100")
    np.testing.assert_array_equal(rois, [[0, 0, 0, 47, 39]])
    np.testing.assert_array_equal(scores, [[0]])


def test_the_size_of_the_image_is_read_when_the_file_runs() -> None:
    rois, _ = proposals("min_size: 1", info=np.array([[20.0, 25.0, 1.0]]))
    assert rois[:, 1:].max(axis=0).tolist() == [24, 19, 24, 19]


def boxes(settings: str, offsets: int, classes: int = 4) -> Any:
    """Assert that the file finds the layer's boxes; their rows."""
    rng = np.random.default_rng(6)
    low = rng.uniform(0, 30, (25, 2))
    rois = np.concatenate([np.zeros((25, 1)), low, low + rng.uniform(2, 20, (25, 2))], axis=1)
    inputs = {
        "x0": rois,
        "x1": rng.dirichlet(np.ones(classes), 25),
        "x2": rng.standard_normal((25, offsets)) / 3,
        "x3": INFO,
    }
    text = f'type: "RCNNDetectionOutput" rcnn_detection_output_param {{ {settings} }}'
    with filled(net(text, *(value.shape for value in inputs.values())), inputs) as made:
        return run_onnx(agree(made, inputs, 2e-6), inputs)["y0"][0, 0]


@pytest.mark.parametrize("offsets", [8, 16])
def test_boxes(offsets: int) -> None:
    scaled = (
        "bbox_mean: 0.1 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0.2 bbox_std: 0.5 bbox_std: 0.5 bbox_std: 1 bbox_std: 1"
    )
    found = boxes(f"confidence_threshold: 0.2 nms_threshold: 0.4 {scaled}", offsets)
    assert set(found[:, 1]) == {1, 2, 3}
    assert found[:, 3:].max() <= 1
    best = boxes(f"confidence_threshold: 0.2 nms_threshold: 0.4 keep_top_k: 7 {scaled}", offsets)
    assert len(best) == 7 < len(found)
    least = np.sort(found[:, 2])[-7]
    np.testing.assert_array_equal(best, found[found[:, 2] >= least])


def test_no_box() -> None:
    np.testing.assert_array_equal(boxes("confidence_threshold: 1.5", 16), [[0, *[-1] * 6]])
    np.testing.assert_array_equal(boxes("keep_top_k: 0", 16), [[0, *[-1] * 6]])


def test_the_number_of_regions_of_a_whole_net_is_open() -> None:
    with Net(read_net(MODELS / "faster_rcnn_scenes" / "deploy.prototxt"), phase=TEST, engine="numpy", seed=1) as made:
        random_weights(made)
        model = model_of(made)
        counts = set()
        for side in (96, 12):
            inputs: dict[str, Any] = sample_inputs(made, seed=side) | {
                "im_info": np.array([[side, side, 1]], np.float32)
            }
            made.forward(blobs=["rois"], **inputs)
            counts.add(len(made.blobs["rois"].data))
            (found,) = run_onnx(model, inputs).values()
            np.testing.assert_allclose(found, made.blobs["detection_out"].data, rtol=0, atol=1e-4)
    assert len(counts) == 2


def test_an_output_of_as_many_rows_as_regions_is_open_and_another_is_not() -> None:
    text = net('type: "Proposal"', (1, 18, 3, 4), (1, 36, 3, 4), (1, 3))
    text += """layer { name: "pool" type: "ROIPooling" bottom: "x0" bottom: "y0" top: "pool"
                       roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }
               layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
               layer { name: "relu" type: "ReLU" bottom: "x1" top: "relu" }"""
    with Net(parse_text(text, pb.NetParameter()), phase=TEST, engine="numpy", seed=1) as made:
        rows = made.blobs["fc"].shape[0]
        outputs = {one.name: one.type.tensor_type.shape.dim for one in model_of(made).graph.output}
        assert made.blobs["fc"].shape == (rows, 5)
    assert [dim.dim_param or dim.dim_value for dim in outputs["fc"]] == ["R", 5]
    assert [dim.dim_value for dim in outputs["relu"]] == [1, 36, 3, 4]


def test_python_layers_that_have_a_place_are_known() -> None:
    param = pb.NetParameter()
    layer = param.layer.add(name="p", type="Python")
    layer.python_param.module, layer.python_param.layer = "rpn.proposal_layer", "ProposalLayer"
    check_types(Definition(param))
    layer.python_param.layer = "Other"
    with pytest.raises(UsageError, match=r'"p" \(Python\)'):
        check_types(Definition(param))
