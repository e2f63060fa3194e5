"""Nets and solvers give back threads and files: when closed, at the end of a `with` block, and when dropped."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.bases.layer import TRAIN
from dragon.data import encode_datum, write_lmdb
from dragon.errors import DataError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver

REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOURCES = {
    "Data": 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 2 }',
    "Data, shuffled": 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 2 shuffle: true }',
    "ImageData": 'type: "ImageData" image_data_param { source: "list.txt" batch_size: 2 }',
    "ImageData, shuffled": 'type: "ImageData" image_data_param { source: "list.txt" batch_size: 2 shuffle: true }',
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 4, 5), np.uint8)
    write_lmdb("lmdb", ((b"%d" % i, encode_datum(image, i % 3)) for i, image in enumerate(images)))
    for i, image in enumerate(images):
        PIL.Image.fromarray(image.transpose(1, 2, 0)).save(f"{i}.png")
    Path("list.txt").write_text("".join(f"{i}.png {i % 3}\n" for i in range(6)))


def definition(source: str) -> pb.NetParameter:
    return parse_text(f'layer {{ name: "data" top: "data" top: "label" {SOURCES[source]} }}{REST}', pb.NetParameter())


def make_net(source: str, engine: str) -> Net:
    net = Net(definition(source), phase=TRAIN, engine=engine, seed=1)
    net.forward_backward()
    return net


def make_solver(source: str, engine: str) -> Solver:
    solver = Solver(pb.SolverParameter(base_lr=0.1, lr_policy="fixed", net_param=definition(source)), engine=engine)
    solver.step(1)
    return solver


class Use:
    """What nets of this test hold: reading threads that started since, and open files of its database."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())  # an earlier test's may end at any time

    def threads(self) -> int:
        return sum(thread.name == "prefetch" for thread in set(threading.enumerate()) - self._before)

    def files(self) -> int:
        opened = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
        return sum(name == os.path.realpath("lmdb/data.mdb") for name in opened)

    def ends(self) -> bool:
        """Whether nothing is held any more, after some time and with the collector's help."""
        for _ in range(100):
            gc.collect()
            if not self.threads() and not self.files():
                return True
            time.sleep(0.1)  # a thread may be at work on a batch
        return False


@pytest.mark.parametrize("make", [make_net, make_solver])
@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_dropped_gives_all_back(make: Callable[[str, str], Net | Solver], engine: str, source: str) -> None:
    use = Use()
    for _ in range(5):
        made: Net | Solver | None = make(source, engine)
        assert use.threads() > 0
        assert (use.files() > 0) == source.startswith("Data")
    made = None
    assert made is None
    assert use.ends()


@pytest.mark.parametrize("make", [make_net, make_solver])
@pytest.mark.parametrize("source", SOURCES)
def test_the_end_of_a_with_block_closes(make: Callable[[str, str], Net | Solver], source: str) -> None:
    use = Use()
    with make(source, "onednn") as made:
        assert use.threads() == 1
    assert (use.threads(), use.files()) == (0, 0)
    made.close()
    net = made.net if isinstance(made, Solver) else made
    assert net.blobs["ip"].data.shape == (2, 3)
    with pytest.raises(DataError, match=r'layer "data" .*: the data source is closed'):
        net.forward()


def test_a_net_that_cannot_be_built_leaves_nothing_open() -> None:
    use = Use()
    broken = definition("Data, shuffled")
    broken.layer[1].bottom[0] = "nowhere"
    for _ in range(3):
        with pytest.raises(Exception, match="nowhere"):
            Net(broken, phase=TRAIN)
    assert use.ends()
