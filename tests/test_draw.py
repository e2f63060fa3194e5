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


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize(("name", "start"), [("n.svg", b"<?xml"), ("n.png", b"\x89PNG")])
def test_pictures(tmp_path: Path, name: str, start: bytes) -> None:
    caffe.draw.draw_net_to_file(NET, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_faults_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="rankdir must be LR, TB, RL or BT"):
        caffe.draw.draw_net(NET, "XX")
    with pytest.raises(UsageError, match="must end in"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "picture")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="graphviz's program dot is missing"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "n.png")
    caffe.draw.draw_net_to_file(NET, tmp_path / "n.dot")
    assert list(tmp_path.iterdir()) == [tmp_path / "n.dot"]
