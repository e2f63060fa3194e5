"""Layers that only a test net has: they get weights from files, keep them, and follow the parameters they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
name: "n"
layer { name: "d" type: "DummyData" top: "d" top: "t" dummy_data_param {
  shape { dim: 2 dim: 3 } shape { dim: 2 dim: 2 } data_filler { type: "gaussian" std: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "o" param { name: "w" } inner_product_param {
  num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "o" bottom: "t" top: "loss" }
layer { name: "extra" type: "InnerProduct" bottom: "o" top: "e" include { phase: TEST } inner_product_param {
  num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "same" type: "InnerProduct" bottom: "d" top: "s" include { phase: TEST } param { name: "w" }
  inner_product_param { num_output: 2 } }
"""
FORMS = {"caffemodel": pb.SolverParameter.BINARYPROTO, "h5": pb.SolverParameter.HDF5}


def solver(folder: Path, form: str = "caffemodel", tests: int = 1, **settings: object) -> dragon.Solver:
    param = pb.SolverParameter(base_lr=0.1, lr_policy="fixed", random_seed=1, test_interval=100, **settings)  # type: ignore[arg-type]
    param.test_iter.extend([1] * tests)
    param.snapshot_format = FORMS[form]
    param.snapshot_prefix = str(folder / "s")
    parse_text(NET, param.net_param)
    return dragon.get_solver(param, engine="numpy")


def trained(path: Path, value: float = 7, layers: tuple[str, ...] = ("ip", "extra", "same")) -> Path:
    """A weights file with these layers, filled with a number."""
    net = dragon.Net(parse_text(NET, pb.NetParameter()), phase=dragon.TEST, engine="numpy")
    for name in list(net.params):
        for blob in net.params[name]:
            blob.data[...] = value
        if name not in layers:
            del net.params[name]
    net.save(path)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tests", [1, 2])
def test_weights_reach_them(form: str, tests: int, tmp_path: Path) -> None:
    made = solver(tmp_path, tests=tests, weights=[str(trained(tmp_path / f"w.{form}"))])
    assert (made.net.params["ip"][0].peek() == 7).all()
    for net in made.test_nets:
        assert (net.params["extra"][0].peek() == 7).all()
        assert (net.params["extra"][1].peek() == 7).all()


def test_several_files_one_of_which_only_they_need(tmp_path: Path) -> None:
    files = [trained(tmp_path / "ip.caffemodel", 3, ("ip",)), trained(tmp_path / "extra.h5", 5, ("extra",))]
    for weights in ([",".join(map(str, files))], [str(file) for file in files]):
        made = solver(tmp_path, weights=weights)
        assert (made.net.params["ip"][0].peek() == 3).all()
        assert (made.test_nets[0].params["extra"][0].peek() == 5).all()


def test_a_shape_that_does_not_fit_them_is_refused(tmp_path: Path) -> None:
    path = trained(tmp_path / "w.caffemodel")
    net = pb.NetParameter.FromString(path.read_bytes())
    next(layer for layer in net.layer if layer.name == "extra").blobs[0].shape.dim[:] = [1, 8]
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match=r'layer "extra" .* expected shape \(4, 2\), the file has \(1, 8\)'):
        solver(tmp_path, weights=[str(path)])


def test_a_warning_names_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A TRAIN and a TEST layer that should be one, but have other names or none, train nothing for the test."""
    solver(tmp_path)
    (said,) = caplog.messages
    assert said.startswith('layer "extra" (InnerProduct): the train net has no layer of this name')


@pytest.mark.parametrize("form", FORMS)
def test_a_snapshot_keeps_all_digits_of_float64(form: str, tmp_path: Path) -> None:
    first, again = (dragon.Solver(solver(tmp_path, form).param, dtype=np.float64, engine="numpy") for _ in range(2))
    first.test_nets[0].params["extra"][0].data[...] = 1 / 3
    again.restore(first.snapshot())
    assert (again.test_nets[0].params["extra"][0].peek() == 1 / 3).all()


@pytest.mark.parametrize("form", FORMS)
def test_a_snapshot_keeps_them(form: str, tmp_path: Path) -> None:
    first = solver(tmp_path, form, tests=2, weights=[str(trained(tmp_path / "w.caffemodel"))])
    first.test_nets[1].params["extra"][0].data[...] = np.arange(8).reshape(4, 2)
    first.step(1)
    state = first.snapshot()
    again = solver(tmp_path, form, tests=2)
    again.restore(state)
    assert (again.test_nets[0].params["extra"][0].peek() == 7).all()
    assert (again.test_nets[1].params["extra"][0].peek() == np.arange(8).reshape(4, 2)).all()
    assert again.test()["e"].tolist() == first.test()["e"].tolist()


def test_a_parameter_they_share_is_the_trained_one(tmp_path: Path) -> None:
    made = solver(tmp_path)
    made.step(3)
    scores = made.test()
    np.testing.assert_array_equal(made.test_nets[0].params["same"][0].peek(), made.net.params["ip"][0].peek())
    assert "s" in scores


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_nets_of_other_types_of_numbers_do_not_share(engine: str) -> None:
    text = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }
    layer { name: "a" type: "InnerProduct" bottom: "d" top: "a" inner_product_param { num_output: 2 } }"""
    model = parse_text(text, pb.NetParameter())
    one = dragon.Net(model, phase=dragon.TEST, engine=engine)
    other = dragon.Net(model, phase=dragon.TEST, engine="numpy", dtype=np.float64)
    with pytest.raises(dragon.ShapeError, match='layer "a" blob 0: float32 here, float64 there'):
        one.share_with(other)


def test_share_with_keeps_apart_what_the_other_net_keeps_apart() -> None:
    def net(shared: str) -> dragon.Net:
        text = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }'
        for name in ("a", "b"):
            text += f'layer {{ name: "{name}" type: "InnerProduct" bottom: "d" top: "{name}" {shared} '
            text += "inner_product_param { num_output: 2 } }"
        return dragon.Net(parse_text(text, pb.NetParameter()), phase=dragon.TEST, engine="numpy")

    tied, apart = net('param { name: "w" }'), net("")
    tied.share_with(apart)
    for name in ("a", "b"):
        assert tied.params[name][0].data_storage is apart.params[name][0].data_storage
