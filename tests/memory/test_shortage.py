"""Memory that is not there: the layer, the GiB and what helps, from every engine and on the command line."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.library.binding import check
from dragon.errors import DragonError, EngineError, ShapeError
from dragon.memory import storage
from dragon.memory.shortage import shortage
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: {batch} dim: 65536 }} }} }}
layer {{ name: "big" type: "{type}" bottom: "x" top: "y" {more} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "y" top: "z" inner_product_param {{ num_output: 1 }} }}
"""
# 2**26 images of 65,536 values are 16 TiB, more than a machine has
LARGE = NET.format(batch=1 << 26, type="Exp", more="")


def _error() -> MemoryError:
    """What NumPy raises for a PiB."""
    with pytest.raises(MemoryError) as caught:
        np.zeros(1 << 50, np.uint8)
    return caught.value


def test_numpy_tells_the_size() -> None:
    assert shortage(_error()) == "out of memory: 1.05e+06 GiB were asked for"
    assert shortage(MemoryError()) == "out of memory"
    assert shortage(MemoryError("4 GiB")) == "out of memory: 4 GiB"


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_run_names_the_layer(engine: str) -> None:
    net = dragon.Net(parse_text(NET.format(batch=32, type="Exp", more=""), pb.NetParameter()), engine=engine, seed=1)
    net.blobs["x"].data[...] = 1
    with (
        mock.patch.object(storage, "_aligned_zeros", side_effect=_error()),
        mock.patch("dragon.engines.onednn.library.memory.aligned_bytes", side_effect=_error()),
        pytest.raises(EngineError) as caught,
    ):
        net.forward()
    assert 'layer "' in str(caught.value)
    assert "GiB were asked for; lower batch_size" in str(caught.value)
    net.close()


def test_building_names_the_layer() -> None:
    text = NET.format(batch=1, type="InnerProduct", more="inner_product_param { num_output: 20000000 }")
    with pytest.raises(
        (ShapeError, EngineError), match=r'layer "big".*takes 4,883 GiB, this machine has [\d.,]+ GiB; lower batch_size'
    ):
        dragon.Net(parse_text(text, pb.NetParameter()), engine="numpy", seed=1)


def test_status_of_onednn() -> None:
    with pytest.raises(DragonError, match=r"layer c: oneDNN convolution: out of memory; lower batch_size"):
        check(1, "convolution", "c")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dragon.tools.main import run

    path = tmp_path / "n.prototxt"
    path.write_text(LARGE)
    assert run(["time", "--model", str(path), "--iterations", "1", "--engine", "numpy"]) == 2
    assert "lower batch_size" in capsys.readouterr().err
