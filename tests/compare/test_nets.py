"""The data that the nets of a comparison read."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare.nets import use_dataset
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb


@pytest.mark.parametrize("folder", ["data/cifar10", "data/mnist"])
def test_a_data_set_that_is_not_there(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = pb.NetParameter()
    net.layer.add(name="data", type="Data", top=["data"])
    fetches = rf"does not exist \(looked for from .*; `dragon {folder.replace('/', ' ')}` fetches it\)$"
    with pytest.raises(DataError, match=f'^the data folder "{folder}" {fetches}'):
        use_dataset(net, folder)
    Path(folder).mkdir(parents=True)
    with pytest.raises(DataError, match="holds 0 folders"):
        use_dataset(net, folder)
