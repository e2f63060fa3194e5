"""Files that are no state_dict of PyTorch are named as what they are, whether PyTorch is there or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.export.torch.read_state import read_state
from dragon.proto import dragon_pb2 as pb


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    (tmp_path / "x.prototxt").write_text('layer { name: "x" type: "ReLU" }')
    layer = pb.LayerParameter(name="ip", type="InnerProduct", blobs=[pb.BlobProto(data=[1.0])])
    (tmp_path / "x.caffemodel").write_bytes(pb.NetParameter(name="n", layer=[layer]).SerializeToString())
    for name, kind in (
        ("x.npy", "a NumPy array"),
        ("x.prototxt", "the prototxt of a net"),
        ("x.caffemodel", ".caffemodel"),
    ):
        with pytest.raises(WeightsError, match=rf"expected a state_dict of PyTorch, this is .*{kind}"):
            read_state(tmp_path / name)
