"""Names in binary files that are not UTF-8 text."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary_net import read_binary_net


@pytest.mark.parametrize(
    ("name", "where"),
    [("net", "name"), ("one", r"layer\[0\]\.name"), ("two", r"layer\[0\]\.bottom\[1\]"), ("given", r"input\[0\]")],
)
def test_a_name_that_is_not_text_is_one_line(tmp_path: Path, name: str, where: str) -> None:
    net = pb.NetParameter(name="net", input=["given"])
    net.layer.add(name="one", type="Eltwise", bottom=["given", "two"], top=["three"])
    content = net.SerializeToString().replace(name.encode(), b"\xff" * len(name))
    path = tmp_path / "w.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"damaged: {where} is not UTF-8 text"):
        read_binary_net(path)
