"""Layers in Python whose attributes have names that Dragon's own layers have, and pycaffe's have not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dragon as caffe

LAYER = """
import caffe

class Scaling(caffe.Layer):
    def setup(self, bottom, top):
        self.NAME = eval(self.param_str)
        self.reshape(bottom, top)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.NAME['factor']

    def backward(self, top, propagate_down, bottom):
        self.NAME['calls'] += 1
        bottom[0].diff[...] = top[0].diff * self.NAME['factor']
"""
NET = """
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {
  num_output: 2 weight_filler { type: "constant" value: 1 } } }
layer { name: "py" type: "Python" bottom: "ip" top: "y" python_param {
  module: "scaling_of_the_test" layer: "Scaling" param_str: "{'factor': 3, 'calls': 0}" } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
"""


@pytest.fixture
def solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 test_iter: 1 test_interval: 9 '
        'snapshot_prefix: "s" random_seed: 1'
    )
    yield "solver.prototxt"
    sys.modules.pop("scaling_of_the_test", None)


@pytest.mark.parametrize(
    "name", ["param", "name", "rng", "context", "state", "phase", "where", "close", "dtype", "top_range", "identity"]
)
def test_attributes_are_the_users(solver: str, name: str) -> None:
    Path("scaling_of_the_test.py").write_text(LAYER.replace("NAME", name))
    made = caffe.SGDSolver(solver)
    made.step(2)
    # every weight and bias has the gradient 2 items x 3, so a step of rate 0.1 takes 0.6 from it
    weight, bias = 1 - 2 * 0.6, -2 * 0.6
    assert made.net.forward()["loss"] == pytest.approx(2 * 2 * 3 * (3 * weight + bias), rel=1e-5)
    again = caffe.SGDSolver(solver)
    again.restore(made.snapshot())
    for each in (made, again):
        each.step(1)
        each.test_all()
        each.net.save("w.caffemodel")
    np.testing.assert_array_equal(again.net.params["ip"][0].data, made.net.params["ip"][0].data)
    layer = made.net.layers[2]
    assert (layer.phase, layer.name, layer.param.name) == (caffe.TRAIN, "py", "py")
    assert "py" in made.net.summary()
    made.close()


@pytest.mark.parametrize("name", ["param", "name", "rng", "context", "dtype", "identity", "loss_weights"])
@pytest.mark.parametrize(
    "form",
    [
        "NAME = dict(factor=3, calls=0)",
        "def NAME(self): return 3",
        "VALUE = dict(factor=3, calls=0)\n    @property\n    def NAME(self): return self.VALUE",
    ],
    ids=["constant", "method", "property"],
)
def test_so_are_those_of_its_class(solver: str, name: str, form: str) -> None:
    text = LAYER.replace("    def setup", f"    {form}\n\n    def setup", 1).replace(
        "self.NAME = eval(self.param_str)", ""
    )
    if form.startswith("def"):
        text = text.replace("self.NAME['factor']", "self.NAME()").replace("self.NAME['calls'] += 1", "")
    Path("scaling_of_the_test.py").write_text(text.replace("NAME", name))
    made = caffe.SGDSolver(solver)
    made.step(1)
    assert made.net.forward()["loss"] == pytest.approx(2 * 2 * 3 * (3 * 0.4 - 0.6), rel=1e-5)
    assert (made.net.layers[2].name, made.net.layers[2].param.name) == ("py", "py")
    made.close()


@pytest.mark.parametrize("name", ["bottoms", "close", "load_state", "multiply_adds", "settings", "tops"])
def test_constants_where_dragon_has_methods_and_settings(solver: str, name: str) -> None:
    text = LAYER.replace("    def setup", "    NAME = dict(factor=3, calls=0)\n\n    def setup", 1)
    text = text.replace("self.NAME = eval(self.param_str)", "")
    Path("scaling_of_the_test.py").write_text(text.replace("NAME", name))
    made = caffe.SGDSolver(solver)
    made.step(1)
    assert made.net.forward()["loss"] == pytest.approx(2 * 2 * 3 * (3 * 0.4 - 0.6), rel=1e-5)
    again = caffe.SGDSolver(solver)
    again.restore(made.snapshot())
    assert "py" in made.net.summary()
    again.close()
    made.close()


@pytest.mark.parametrize("name", ["name", "param", "rng", "state", "own"])
def test_slots(solver: str, name: str) -> None:
    text = LAYER.replace("    def setup", f"    __slots__ = ({name!r},)\n\n    def setup", 1)
    Path("scaling_of_the_test.py").write_text(text.replace("NAME", name))
    made = caffe.SGDSolver(solver)
    made.step(1)
    assert made.net.forward()["loss"] == pytest.approx(2 * 2 * 3 * (3 * 0.4 - 0.6), rel=1e-5)
    made.snapshot()
    layer = made.net.layers[2]
    assert (layer.name, layer.param.name) == ("py", "py")
    made.close()


@pytest.mark.parametrize("name", ["blobs", "param_str"])
def test_properties_of_caffes_own_names_are_refused(solver: str, name: str) -> None:
    text = LAYER.replace("    def setup", f"    {name} = property(lambda self: 3)\n\n    def setup", 1)
    Path("scaling_of_the_test.py").write_text(text.replace("NAME", "own"))
    with pytest.raises(caffe.PrototxtError, match=f'"py".*class Scaling has a property {name} that cannot be set'):
        caffe.SGDSolver(solver)
