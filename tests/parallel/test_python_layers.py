"""A layer in Python learns on which of several ranks it runs, and can read its part of the data."""

from __future__ import annotations

from pathlib import Path

from tests.parallel.test_train import needs_mpi, run

LAYER = """
import caffe

class Numbers(caffe.Layer):
    def setup(self, bottom, top):
        self.rank, self.count = caffe.solver_rank(), caffe.solver_count()

    def reshape(self, bottom, top):
        top[0].reshape(1, 1)

    def forward(self, bottom, top):
        top[0].data[...] = 10 * caffe.solver_count() + self.rank + 100 * self.count

    def backward(self, top, propagate_down, bottom):
        pass
"""
NET = """
layer { name: "x" type: "Python" top: "x" python_param { module: "numbers_of_ranks" layer: "Numbers" } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "x" top: "loss" }
"""
SCRIPT = """
import sys
import dragon as caffe
from mpi4py import MPI
from dragon.parallel.ranks import Ranks

sys.path.insert(0, sys.argv[1])
ranks = Ranks(MPI.COMM_WORLD)
solver = caffe.Solver(sys.argv[1] + "/solver.prototxt", engine="numpy", verbose=False, ranks=ranks)
solver.step(1)
print(f"rank {caffe.solver_rank()} of {caffe.solver_count()}: {solver.net.blobs['x'].data[0, 0]:g}", flush=True)
caffe.set_solver_rank(ranks.rank)
caffe.set_solver_count(2)
solver.close()
"""


@needs_mpi
def test_a_python_layer_knows_its_rank(tmp_path: Path) -> None:
    (tmp_path / "numbers_of_ranks.py").write_text(LAYER)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 1')
    said = run(2, "-c", SCRIPT, str(tmp_path))
    assert "rank 0 of 2: 220" in said
    assert "rank 1 of 2: 221" in said
