"""Pictures of nets: the graph's text, and graphviz where it is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import dragon as caffe
from dragon.errors import EngineError, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = parse_text(
    """
name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 3 }
  convolution_param { num_output: 7 kernel_h: 3 kernel_w: 5 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" include { phase: TEST } pooling_param { global_pooling: true } }
""",
    pb.NetParameter(),
)


def test_the_graph_has_layers_blobs_and_labels() -> None:
    text = caffe.draw.draw_net(NET, "LR", "dot").decode()
    assert '"data_blob" -> "c_Convolution"' in text
    assert '"c_Convolution" -> "c_blob" [label="7"]' in text
    assert '"r_ReLU" -> "c_blob"' in text
    assert r"kernel size: 3x5\nstride: 2\npad: 0" in text
    assert r"(MAX Pooling)\nglobal" in text
    assert "lr mult" not in text
    assert "lr mult: 3" in caffe.draw.draw_net(NET, "TB", "dot", display_lrm=True).decode()


def test_phases() -> None:
    assert "Pooling" not in caffe.draw.get_pydot_graph(NET, "LR", phase=caffe.TRAIN).to_string()
    assert "Pooling" in caffe.draw.get_pydot_graph(NET, "LR", phase=caffe.TEST).to_string()


def test_layers_of_two_phases_with_one_name_are_two_boxes() -> None:
    net = parse_text(
        """
layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } data_param { source: "a" batch_size: 64 } }
layer { name: "d" type: "Data" top: "data" include { phase: TEST } data_param { source: "b" batch_size: 100 } }
layer { name: "s" type: "Silence" bottom: "data" exclude { phase: TEST } }
""",
        pb.NetParameter(),
    )
    text = caffe.draw.draw_net(net, "TB", "dot").decode()
    assert '"d_Data" -> "data_blob" [label="Batch 64"]' in text
    assert '"d_Data_1" -> "data_blob" [label="Batch 100"]' in text
    for label in (r"d (Data)\nTRAIN only", r"d (Data)\nTEST only", r"s (Silence)\nTRAIN only"):
        assert f'label="{label}"' in text
    assert "only" not in caffe.draw.draw_net(net, "TB", "dot", phase=caffe.TRAIN).decode()


def test_an_in_place_layer_stands_beside_its_blob() -> None:
    assert '{rank=same; "c_blob"; "r_ReLU"}' in caffe.draw.draw_net(NET, "TB", "dot").decode()


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_a_bitmap_of_a_deep_net_can_be_opened(tmp_path: Path) -> None:
    deep = pb.NetParameter(name="deep")
    for i in range(300):
        deep.layer.add(name=f"p{i}", type="Power", bottom=[f"b{i}"], top=[f"b{i + 1}"])
    caffe.draw.draw_net_to_file(deep, tmp_path / "n.png", "LR")
    width = int.from_bytes((tmp_path / "n.png").read_bytes()[16:20], "big")
    assert 11_000 < width <= 12_000


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize(("name", "start"), [("n.svg", b"<?xml"), ("n.png", b"\x89PNG")])
def test_pictures(tmp_path: Path, name: str, start: bytes) -> None:
    caffe.draw.draw_net_to_file(NET, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_faults_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="rankdir must be LR, TB, RL or BT"):
        caffe.draw.draw_net(NET, "XX")
    with pytest.raises(UsageError, match=r"must end in \.svg, \.png, \.pdf or \.dot$"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "picture")
    with pytest.raises(UsageError, match=r"must end in \.svg, \.png, \.pdf or \.dot, not \.bmpp$"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "n.bmpp")
    with pytest.raises(UsageError, match='"bmpp" is no picture format; svg, png, pdf and dot are'):
        caffe.draw.draw_net(NET, "LR", "bmpp")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="graphviz's program dot is missing"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "n.png")
    caffe.draw.draw_net_to_file(NET, tmp_path / "n.dot")
    assert list(tmp_path.iterdir()) == [tmp_path / "n.dot"]


def test_a_layer_looks_the_same_under_every_name() -> None:
    kinds = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "BN", "SyncBN", "Other")
    settings = "convolution_param { num_output: 7 kernel_size: 3 }"
    text = "".join(
        f'layer {{ name: "l{i}" type: "{kind}" bottom: "x" top: "y{i}" {settings} }}\n' for i, kind in enumerate(kinds)
    )
    graph = caffe.draw.get_pydot_graph(parse_text(text, pb.NetParameter()), "TB", display_lrm=True)
    boxes = [box for name, box in graph.nodes.items() if not name.endswith("_blob")]
    colors = [box["fillcolor"] for box in boxes]
    assert colors[0] == colors[1] == colors[2]
    assert colors[3] == colors[4]
    assert len({colors[0], colors[3], colors[5]}) == 3
    full = ["kernel size: 3" in box["label"] and "lr mult: 1" in box["label"] for box in boxes]
    assert full == [True, True, True, False, False, False]
    assert [label for _, target, label in graph.edges if target.startswith("y")] == ["7", "7", "7", "", "", ""]


def test_a_graph_makes_png_files_as_pydots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks show `get_pydot_graph(net, "TB").create_png()`."""
    asked: list[str] = []

    def create(graph: caffe.draw.Graph, format: str) -> bytes:
        asked.append(format)
        return b"picture"

    monkeypatch.setattr(caffe.draw.Graph, "create", create)
    graph = caffe.draw.get_pydot_graph(NET, "TB")
    assert graph.create_png() == b"picture"
    assert graph.write_png(str(tmp_path / "net.png")) is True
    assert (tmp_path / "net.png").read_bytes() == b"picture"
    assert asked == ["png", "png"]
    with pytest.raises(UsageError, match="cannot be written"):
        graph.write_png(tmp_path / "none" / "net.png")


def test_the_helpers_of_pycaffe() -> None:
    draw = caffe.draw
    assert draw.get_pooling_types_dict().items() >= {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}.items()
    data, convolution, relu, pooling = NET.layer
    colors = [draw.choose_color_by_layertype(layer.type) for layer in (data, convolution, relu, pooling)]
    assert colors == ["#6495ED", "#FF5050", "#6495ED", "#FF9900"]
    assert draw.choose_color_by_layertype("OfAFork") == draw.LAYER_STYLE_DEFAULT["fillcolor"]
    assert draw.get_layer_lr_mult(convolution) == 3
    with pytest.raises(ValueError, match="a layer of type ReLU has no multiplier"):
        draw.get_layer_lr_mult(relu)
    two = pb.LayerParameter()
    two.CopyFrom(convolution)
    two.param.add(lr_mult=0.5)
    assert draw.get_layer_lr_mult(two) == [3, 0.5]
    two.ClearField("param")
    assert draw.get_layer_lr_mult(two) == 1
    assert draw.get_pydot_graph(NET, "LR").to_string().count(draw.BLOB_STYLE["fillcolor"]) == 3


def test_a_script_changes_the_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(caffe.draw.NEURON_LAYER_STYLE, "fillcolor", "#123456")
    assert caffe.draw.get_pydot_graph(NET, "LR").to_string().count("#123456") == 1
