"""Names of pycaffe's modules that scripts use, besides those that its documents show."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import dragon as caffe
from dragon.proto import caffe_pb2

LOSSES = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param { shape { dim: 2 dim: 3 }
  data_filler { value: 3 } data_filler { value: 1 } } }
layer { name: "half" type: "EuclideanLoss" bottom: "x" bottom: "t" loss_weight: 0.5 }
"""


def in_a_script(code: str) -> None:
    """Run code in a fresh process in which `import caffe` gives this package."""
    code = f"from dragon.pycaffe import alias\nalias.install()\n{code}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_compiled_part_is_there_with_the_package() -> None:
    """Scripts that merge batch normalisation ask whether parameters are of type `caffe._caffe.BlobVec`."""
    in_a_script(
        "import caffe\n"
        "net = caffe.NetSpec()\n"
        "net.x = caffe.layers.Input(shape=dict(dim=[1, 2]))\n"
        "net.ip = caffe.layers.InnerProduct(net.x, num_output=1)\n"
        "net = caffe.Net(net.to_proto(), caffe.TEST)\n"
        "assert type(net.params['ip']) is caffe._caffe.BlobVec\n"
        "assert caffe._caffe.Net is caffe.Net"
    )


def test_everything_of_the_module_pycaffe() -> None:
    in_a_script(
        "from caffe.pycaffe import *\n"
        "import caffe\n"
        "assert Net is caffe.Net and AdaDeltaSolver is caffe.AdaDeltaSolver and NCCL and Timer"
    )


def test_where_settings_of_types_go() -> None:
    from dragon.pycaffe import net_spec

    names = net_spec.param_name_dict()
    assert names["InnerProduct"] == "inner_product"
    assert names["Convolution"] == "convolution"
    assert names["LRN"] == "lrn"
    for message, name in names.items():
        field = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name[f"{name}_param"]
        assert field.message_type is not None
        assert field.message_type.name.removesuffix("Parameter") == message
    assert net_spec._param_names == names
    assert net_spec.caffe_pb2 is caffe_pb2


def test_settings_names_that_a_script_adds_stay() -> None:
    """Scripts write into the table, which is made when the first of them asks."""
    in_a_script(
        "import caffe.net_spec\n"
        "assert '_param_names' not in vars(caffe.net_spec)\n"
        "from caffe.net_spec import _param_names\n"
        "_param_names['Deconvolution'] = 'convolution'\n"
        "assert caffe.net_spec._param_names is _param_names and len(_param_names) > 50"
    )


def test_vectors_of_the_compiled_part() -> None:
    """Lists stand in for C++'s vectors, so a script makes one, and asks whether it has one."""
    compiled = import_module("dragon.pycaffe._caffe")
    names = compiled.StringVec()
    names.append("data")
    assert names == ["data"]
    net = caffe.Net(caffe.to_proto(caffe.layers.Input(shape={"dim": [1, 2]})), caffe.TEST)
    assert isinstance(net.layers, compiled.LayerVec)
    assert isinstance(net._inputs, compiled.IntVec)
    assert isinstance(net._blob_names, compiled.StringVec)
    assert isinstance(net.layer_need_backward, compiled.BoolVec)
    assert compiled.LayerParameter is caffe_pb2.LayerParameter
    assert compiled.SolverParameter is caffe_pb2.SolverParameter


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        (caffe, "set_mode_gp", 'did you mean "set_mode_gpu"'),
        (caffe, "create_layer", "make a net of the one layer"),
        (caffe, "check_mode_gpu", "net.executor.name"),
        (caffe, "CaffeNet", "it is caffe.Net since 2014"),
        (caffe.io, "load_imag", 'did you mean "load_image"'),
        (caffe.draw, "pydot", "get_pydot_graph makes its graph without it"),
        (caffe.net_spec, "six", "import six itself"),
        (caffe.coord_map, "crops", 'did you mean "crop"'),
    ],
)
def test_missing_names_say_what_takes_their_place(module: Any, name: str, hint: str) -> None:
    where = module.__name__.replace(".pycaffe", "")
    with pytest.raises(AttributeError, match=rf"^module '{where}' has no attribute '{name}'.*{hint}.*\Z"):
        getattr(module, name)


def test_types_of_layers_by_the_names_of_2014() -> None:
    text = 'layers { name: "c" type: CONVOLUTION } layers { name: "d" type: DATA }'
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    types = caffe_pb2.LayerParameter.LayerType  # type: ignore[attr-defined]
    assert [types.Name(layer.type) for layer in net.layers] == ["CONVOLUTION", "DATA"]
    assert net.layers[1].type == types.Value("DATA") == caffe_pb2.LayerParameter.DATA  # type: ignore[attr-defined]
    assert ("CONCAT", 3) in types.items()


def test_the_old_spelling_of_a_function() -> None:
    text = caffe.io.arraylist_to_blobprotovecor_str([np.ones((1, 2, 3, 4))])
    assert [a.shape for a in caffe.io.blobprotovector_str_to_arraylist(text)] == [(1, 2, 3, 4)]


def test_a_transformer_with_a_setting_of_its_own() -> None:
    class Cropping(caffe.io.Transformer):
        """Calls what is private in pycaffe too, as scripts do."""

        def set_crop(self, name: str, size: int) -> None:
            self._Transformer__check_input(name)  # type: ignore[attr-defined]
            self.size = size

    transformer = Cropping({"data": (1, 3, 4, 4)})
    transformer.set_crop("data", 2)
    with pytest.raises(Exception, match="dat is not one of the net inputs"):
        transformer.set_crop("dat", 2)


def test_tops_that_the_net_adds_have_the_name_that_caffe_gives_them(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(LOSSES)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    net.forward()
    assert net.blobs["(automatic)"].data == 6  # for each item half of three squares of 2
    assert net.blob_loss_weights["(automatic)"] == 0.5
    second = LOSSES + LOSSES[LOSSES.index('layer { name: "half"') :].replace("half", "again").replace('"t"', '"x"')
    (tmp_path / "net.prototxt").write_text(second)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    net.forward()
    assert net.blobs["(automatic)"].data == 0  # of the last of two
    with pytest.raises(KeyError, match=r'no blob "\(automatc\)"'):
        _ = net.blobs["(automatc)"]


def test_pictures_from_top_to_bottom_in_the_words_of_digits() -> None:
    net = caffe_pb2.NetParameter()
    net.layer.add(name="a", type="Input", top=["a"])
    assert b"rankdir=TB" in caffe.draw.draw_net(net, "UD", "dot")


def test_logging_is_disabled_as_flownet2_does() -> None:
    code = "import dragon as c; c.init_log(0); c.set_logging_disabled(); c.log('hidden')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("call", ["install_as_caffe()", "load_ipython_extension(None)"])
def test_caffe_in_notebooks_and_other_programs(call: str) -> None:
    """IPython calls the second for `%load_ext dragon`; twice does no harm."""
    code = (
        f"import dragon\ndragon.{call}\ndragon.{call}\nimport caffe.io\nfrom caffe import layers as L, params as P\n"
        f"dragon.{call}\nassert caffe is dragon and caffe.io is dragon.io and P.Pooling.MAX == 0"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_another_caffe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "caffe.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import caffe, dragon; dragon.install_as_caffe()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"another caffe is imported already, from {tmp_path / 'caffe.py'}" in done.stderr


def test_solvers_of_strings(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(LOSSES)
    text = f'net: "{tmp_path}/net.prototxt" type: "Adam" momentum: 0.9 base_lr: 0.1 lr_policy: "fixed"'
    message = text_format.Parse(text, caffe_pb2.SolverParameter()).SerializeToString()
    for given in (text, message):
        solver = caffe.get_solver_from_string(given, verbose=False)
        assert isinstance(solver, caffe.AdamSolver)
        assert solver.param.base_lr == pytest.approx(0.1)
    with pytest.raises(caffe.PrototxtError, match='has no field "nett"'):
        caffe.get_solver_from_string('nett: "x"')
    with pytest.raises(caffe.UsageError, match="these bytes are no serialised SolverParameter"):
        caffe.get_solver_from_string(b"\xff")
