"""The layers that read YOLO's boxes in ONNX Runtime: settings, ties, saturated maps, batches of any size, the zoo's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon import TEST, Net
from dragon.export.deployed import read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import NEWEST_OPSET, OLDEST_OPSET, model_of
from dragon.export.onnx.verify import choosers, difference, runtime, verify
from dragon.export.samples import random_weights
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from tests.export.onnx.helpers import Values, agree, filled, reference, run_onnx
from tests.export.onnx.test_geometries import net
from tests.layers.test_yolo_outputs import V2, V3

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[3] / "models"
HEADS = {"yolo_v2": "YoloDetectionOutput", "yolo_v3": "Yolov3DetectionOutput"}


def head(version: int, settings: str, *shapes: tuple[int, ...]) -> str:
    known, name = (V2, "Yolo") if version == 2 else (V3, "Yolov3")
    text = f'type: "{name}DetectionOutput" {name.lower()}_detection_output_param {{ {known} {settings} }}'
    return net(text, *shapes)


def maps(values: int = 8, items: int = 3, scale: float = 1.5, count: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(values)
    sizes = ((3, 4), (6, 8))[:count]
    return {f"x{k}": rng.standard_normal((items, 2 * values, *size)) * scale for k, size in enumerate(sizes)}


def found(version: int, settings: str, inputs: Values, tolerance: float = 2e-6, opset: int = 17) -> np.ndarray:
    """Assert that the file finds the layer's boxes; their rows."""
    with filled(head(version, settings, *(x.shape for x in inputs.values())), inputs) as made:
        rows: np.ndarray = run_onnx(agree(made, inputs, tolerance, opset), inputs)["y0"][0, 0]
    return rows


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("least", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.45, 1.0, 1.5])
def test_settings(version: int, least: float, threshold: float) -> None:
    settings = f"confidence_threshold: {least} nms_threshold: {threshold}"
    rows = found(version, settings, maps())
    assert set(rows[:, 0]) == {0, 1, 2}
    assert (np.diff(rows[rows[:, 0] == 1, 2]) <= 0).all()
    if threshold == 0:
        assert len(rows) == 3
    elif threshold == 1.5:  # nothing is dropped
        boxes = 2 * (3 * 4 + 6 * 8)
        assert least or len(rows) == 3 * boxes * (3 if version == 3 else 1)
    else:
        assert set(rows[:, 1]) == {1, 2, 3}


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize("version", [2, 3])
def test_opsets(version: int, opset: int) -> None:
    assert len(found(version, "confidence_threshold: 0.1", maps(), opset=opset)) > 3


def test_gaussian_boxes() -> None:
    assert len(found(3, "confidence_threshold: 0.1 nms_threshold: 0.3 gaussian_box: true", maps(12))) > 3


@pytest.mark.parametrize("version", [2, 3])
def test_one_map_and_one_class(version: int) -> None:
    inputs = maps(6, count=1)
    if version == 2:
        kind = "num_classes: 1 num_box: 2 biases: 0.8 biases: 1.1 biases: 1.9 biases: 1.2 confidence_threshold: 0.3"
        text = f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {kind} }}'
    else:
        kind = "num_classes: 1 num_box: 2 mask_group_num: 1 mask: 1 mask: 0 anchors_scale: 32 confidence_threshold: 0.3"
        kind += " biases: 10 biases: 14 biases: 23 biases: 27"
        text = f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {kind} }}'
    with filled(net(text, inputs["x0"].shape), inputs) as made:
        agree(made, inputs, 2e-6)
        assert reference(made, inputs)["y0"].shape[2] > 3


@pytest.mark.parametrize("version", [2, 3])
def test_items_without_a_box(version: int) -> None:
    """They have no row, unless no item has a box: then each has one."""
    inputs = maps()
    for x in inputs.values():
        x[1] = -5
    assert set(found(version, "confidence_threshold: 0.2", inputs)[:, 0]) == {0, 2}
    rows = found(version, "confidence_threshold: 2", inputs)
    np.testing.assert_array_equal(rows, [[n, *[-1] * 6] for n in range(3)])


@pytest.mark.parametrize("version", [2, 3])
def test_equal_scores_come_in_the_order_of_places(version: int) -> None:
    """All positions have the same numbers, so that only places tell boxes apart."""
    rng = np.random.default_rng(1)
    inputs = {key: np.zeros_like(x) + rng.standard_normal((1, 16, 1, 1)) for key, x in maps().items()}
    assert len(found(version, "confidence_threshold: 0.01 nms_threshold: 0.9", inputs)) > 100


@pytest.mark.parametrize("version", [2, 3])
def test_saturated_maps(version: int) -> None:
    """Scores of 0 and 1, and of boxes as large as can be."""
    assert len(found(version, "confidence_threshold: 0.01", maps(scale=30.0))) > 10


@pytest.mark.parametrize("version", [2, 3])
def test_extreme_sizes(version: int) -> None:
    """Boxes without an area overlap nothing, not even themselves; of enormous ones all but the best are dropped."""
    sizes = {}
    for logarithm in (-800, 80):
        inputs = maps()
        for x in inputs.values():
            x.reshape(3, 2, 8, *x.shape[2:])[:, :, 2:4] = logarithm
        sizes[logarithm] = len(found(version, "confidence_threshold: 0.05", inputs))
    assert sizes[-800] > 100 > sizes[80]


@pytest.mark.parametrize("version", [2, 3])
def test_a_batch_of_any_size(version: int) -> None:
    shapes = [(2, *x.shape[1:]) for x in maps().values()]
    with Net(parse_text(head(version, "confidence_threshold: 0.2", *shapes), pb.NetParameter()), phase=TEST) as made:
        model = model_of(made, dynamic_batch=True)
        for items in (1, 5):
            inputs = maps(items=items)
            rows = run_onnx(model, inputs)["y0"]
            np.testing.assert_allclose(rows, reference(made, inputs)["y0"], rtol=2e-6, atol=2e-6)
            assert set(rows[0, 0, :, 0]) == set(range(items))
            nothing = run_onnx(model, {key: np.full_like(x, -9) for key, x in inputs.items()})["y0"]
            np.testing.assert_array_equal(nothing[0, 0, :, 0], range(items))


def zoo_head(name: str, items: int) -> str:
    """The layer of a net of the zoo, which reads maps of an image of 416 by 416."""
    (layer,) = (one for one in read_net(MODELS / name / "train_val.prototxt").layer if one.type == HEADS[name])
    p = pb.NetParameter()
    sizes = (13, 26, 52) if name == "yolo_v3" else (13,)
    for k, size in enumerate(sizes):
        shape = pb.BlobShape(dim=[items, 125 if name == "yolo_v2" else 255, size, size])
        p.layer.add(name=f"x{k}", type="Input", top=[f"x{k}"]).input_param.shape.add().CopyFrom(shape)
    added = p.layer.add()
    added.CopyFrom(layer)
    added.bottom[:] = [f"x{k}" for k in range(len(sizes))]
    del added.include[:]
    return str(p)


@pytest.mark.parametrize("program", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", [*HEADS])
def test_layers_of_the_zoo(name: str, program: str, tmp_path: Path) -> None:
    """As they stand, on maps in which a few of the thousands of boxes have objects."""
    pytest.importorskip(program)
    path = tmp_path / "net.onnx"
    with Net(parse_text(zoo_head(name, 2), pb.NetParameter()), phase=TEST, engine="numpy", dtype=np.float64) as made:
        rng = np.random.default_rng(4)
        inputs = {}
        for key in made.inputs:
            x = rng.standard_normal(made.blobs[key].shape).astype(np.float32)
            anchors = x.reshape(2, 5 if name == "yolo_v2" else 3, -1, *x.shape[2:])
            anchors[:, :, 4] -= 4 if name == "yolo_v2" else 7
            anchors[:, :, 5:] *= 2
            inputs[key] = x
        write_onnx(model_of(made), path)
        for key, x in inputs.items():
            made.blobs[key].data[...] = x
        made.run_forward()
        expected = made.blobs["detection_out"].data
        rows = runtime(program)(str(path), inputs)["detection_out"]
        assert rows.shape == expected.shape
        assert rows.shape[2] > 100
        if program == "openvino":  # orders by float32, so that scores which are equal there may be exchanged
            assert difference(rows, expected).share < 0.01
        else:
            np.testing.assert_allclose(rows, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.heavy
@pytest.mark.parametrize("name", [*HEADS])
def test_whole_nets_of_the_zoo(name: str, tmp_path: Path) -> None:
    deployed = read_deployed(MODELS / name / "train_val.prototxt", shape=(1, 3, 64, 64))
    assert deployed.definition.message.layer[-1].type == HEADS[name]
    made = deployed.net(engine="auto")
    random_weights(made)
    with deployed.fold(made) as made:
        write_onnx(model_of(made), tmp_path / "net.onnx")
        (one,) = verify(tmp_path / "net.onnx", made, scales=(0.5,)).values()
        assert one.largest < 1e-4
        assert choosers(made) == ["detection_out"]
