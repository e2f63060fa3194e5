"""`dragon run`: old scripts with `caffe` meaning this project."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.conftest import Dragon

SCRIPT = """
import sys
import helper_beside_the_script
import caffe
from caffe.proto import caffe_pb2
from caffe import layers as L, params as P
import caffe.io

print(sys.argv)
print(__name__, helper_beside_the_script.VALUE)
caffe.set_mode_cpu()
net = caffe_pb2.NetParameter()
n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 2, 4, 4]))
n.pool = L.Pooling(n.data, kernel_size=2, stride=2, pool=P.Pooling.AVE)
with open('pool.prototxt', 'w') as f:
    f.write(str(n.to_proto()))
print(caffe.Net('pool.prototxt', caffe.TEST).blobs['pool'].data.shape)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_with_its_arguments_in_a_process_of_its_own(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "s.py").write_text(SCRIPT)
    (folder / "sub" / "helper_beside_the_script.py").write_text("VALUE = 5")
    args = [sys.executable, "-m", "dragon.tools.main", "run", "sub/s.py", "-gpu_id", "0", "--debug", "--logtostderr=1"]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(args, capture_output=True, text=True, env={"PYTHONPATH": root, "DRAGON_ENGINE": "numpy"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(["sub/s.py", "-gpu_id", "0", "--debug", "--logtostderr=1"]), "__main__ 5", "(1, 2, 2, 2)",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["print 'hello'\n", "print x\n", "if 1 <> 2: pass\n", "x = 0777\n"])
def test_a_script_for_python_2_is_told_in_one_line(folder: Path, dragon: Dragon, text: str) -> None:
    (folder / "s.py").write_text("import caffe\n" + text)
    result = dragon("run", "s.py")
    assert result.code == 2
    assert result.error.startswith("s.py:2: ")
    assert "written for Python 2" in result.error


def test_other_syntax_errors_are_no_python_2(folder: Path, dragon: Dragon) -> None:
    (folder / "s.py").write_text("print(1)\nx = = 2\n")
    assert dragon("run", "s.py").error == "s.py:2: invalid syntax"


def test_exit_codes_and_errors_of_the_script(folder: Path, dragon: Dragon) -> None:
    (folder / "s.py").write_text("import sys; sys.exit(3)")
    assert dragon("run", "s.py").code == 3
    (folder / "s.py").write_text("import sys; sys.exit('no model')")
    result = dragon("run", "s.py")
    assert (result.code, result.err) == (1, "no model\n")
    (folder / "s.py").write_text("def f():\n    return 1 / 0\nf()\n")
    result = dragon("run", "s.py")
    assert result.code == 1
    assert result.err.splitlines()[:2] == ["Traceback (most recent call last):", '  File "s.py", line 3, in <module>']
    assert result.err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    (folder / "s.py").write_text("import caffe; caffe.Net('missing.prototxt', caffe.TEST)")
    result = dragon("run", "s.py")
    assert (result.code, result.error) == (2, "missing.prototxt: cannot be read: No such file or directory")
    assert "cannot be read" in dragon("run", "missing.py").error


def test_what_is_no_script_is_named(folder: Path, dragon: Dragon) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    result = dragon("run", "a.png")
    assert (result.code, result.error) == (2, "a.png: not a Python script, but a PNG image")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("xrange(3)", "xrange"),
        ("{}.has_key(1)", "has_key"),
        ("{1: 2}.iteritems()", "iteritems"),
        ("import cPickle", "cPickle"),
        ("import itertools; itertools.izip", "izip"),
    ],
)
def test_what_only_python_2_has_is_told_behind_the_traceback(
    folder: Path, dragon: Dragon, text: str, name: str
) -> None:
    (folder / "s.py").write_text(f"import caffe\n{text}\n")
    result = dragon("run", "s.py")
    assert result.code == 1
    *trace, last = result.err.splitlines()
    assert trace[1] == '  File "s.py", line 2, in <module>'
    assert last == f"dragon: {name} is of Python 2: convert the script first, with 2to3 or by hand"


NET = "n = caffe.NetSpec(); n.x = caffe.layers.Input(shape=dict(dim=[1, 2])); net = caffe.Net(n.to_proto(), caffe.TEST)"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("net.blobs.keys()[0]", "give no lists in Python 3"),
        ("net.layer_dict.values()[0]", "give no lists in Python 3"),
        ("net.blobs['x'].data[...] = map(float, [1, 2])", "give no lists in Python 3"),
        ("len(map(float, [1, 2]))", "give no lists in Python 3"),
        ("range(4 / 2)", "a / b is a float in Python 3"),
        ("[1, 2][:2 / 2]", "a / b is a float in Python 3"),
        ("half = 2 / 2; [1, 2][half]", "a / b is a float in Python 3"),
        ("net.blobs['x'].data[4 / 4]", "if the index is a / b: that is a float in Python 3"),
        ("net.blobs['x'].data['0']", "if the index is a / b: that is a float in Python 3"),
        ("caffe.proto.caffe_pb2.Datum(); b'a'.split('a')", "text and bytes are two types in Python 3"),
        ("with open('f', 'w') as f: f.write(caffe.proto.caffe_pb2.Datum().SerializeToString())", "text and bytes are"),
        ("import yaml; yaml.load('a: 1')", "PyYAML 6 wants yaml.safe_load"),
        ("class A: pass\nA().tostring()", "NumPy has tobytes()"),
        ("import numpy; numpy.asscalar(1)", "NumPy has array.item()"),
        ("import types; types.ModuleType('scipy.misc').imread('a')", "SciPy has left images to others"),
        ("raise ImportError(\"cannot import name 'imresize' from 'scipy.misc'\")", "SciPy has left images to others"),
        ("import lmdb; lmdb.open('db').begin(write=True).put('0', b'')", "text and bytes are two types in Python 3"),
    ],
)
def test_what_newer_versions_do_otherwise_is_told_behind_the_traceback(
    folder: Path, dragon: Dragon, text: str, hint: str
) -> None:
    (folder / "s.py").write_text(f"import caffe\n{NET}\n{text}\n")
    result = dragon("run", "s.py")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("dragon: ")
    assert hint in result.err.splitlines()[-1]


def test_other_errors_of_types_get_no_hint(folder: Path, dragon: Dragon) -> None:
    (folder / "s.py").write_text("1 + 'a'")
    assert dragon("run", "s.py").err.splitlines()[-1].startswith("TypeError: unsupported operand")


def test_notebooks_and_what_is_left_of_them(folder: Path, dragon: Dragon) -> None:
    (folder / "00-classification.ipynb").write_text('{"cells": [], "metadata": null}')
    result = dragon("run", "00-classification.ipynb")
    assert (result.code, result.out) == (2, "")
    assert "00-classification.ipynb: a notebook: open it in Jupyter, with %load_ext dragon" in result.err
    (folder / "s.py").write_text("get_ipython().run_line_magic('matplotlib', 'inline')")
    assert dragon("run", "s.py").err.splitlines()[-1] == (
        "dragon: get_ipython() is there in notebooks alone: leave such lines out"
    )


def test_names_that_no_python_has_get_no_hint(folder: Path, dragon: Dragon) -> None:
    (folder / "s.py").write_text("xxrange(3)")
    own = "NameError: name 'xxrange' is not defined"
    assert dragon("run", "s.py").err.splitlines()[-1] in (own, f"{own}. Did you mean: 'range'?")  # Python 3.13's
    (folder / "s.py").write_text("import no_such_module")
    assert dragon("run", "s.py").err.splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_module'"


FORK_MODULE = """
from caffe import layers as L
from caffe.extra.depth import DEPTH

def body(net):
    net.conv = L.Convolution(net.data, num_output=DEPTH, kernel_size=1)
"""
FORK_SCRIPT = """
import sys
sys.path.insert(0, 'python')
import caffe
from caffe.net_helpers import *
import caffe.io

net = caffe.NetSpec()
net.data = caffe.layers.Input(shape=dict(dim=[1, 2, 4, 4]))
body(net)
print(net.to_proto().layer[1].convolution_param.num_output, caffe.io.__name__)
print(sys.modules['caffe.net_helpers'].__name__)
"""


def test_modules_that_a_fork_adds_to_pycaffe(folder: Path, dragon: Dragon) -> None:
    package = folder / "python" / "caffe"
    (package / "extra").mkdir(parents=True)
    for file in (package, package / "extra"):
        (file / "__init__.py").write_text("")
    (package / "net_helpers.py").write_text(FORK_MODULE)
    (package / "extra" / "depth.py").write_text("DEPTH = 7\n")
    (package / "io.py").write_text("raise RuntimeError('the fork\\'s own io was imported')\n")
    (folder / "s.py").write_text(FORK_SCRIPT)
    args = [sys.executable, "-m", "dragon.tools.main", "run", "s.py"]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(args, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["7", "dragon.pycaffe.io", "caffe.net_helpers"]


def test_layers_in_python_that_a_fork_keeps_in_caffe_layers(folder: Path, dragon: Dragon) -> None:
    """As NVCaffe's for DetectNet, whose prototxts name them; caffe.layers itself stays Dragon's."""
    package = folder / "python" / "caffe" / "layers" / "detectnet"
    package.mkdir(parents=True)
    for made in (package, package.parent, package.parent.parent):
        (made / "__init__.py").touch()
    (package / "settings.py").write_text("VALUE = 4")
    (package / "clustering.py").write_text(
        "import caffe\n"
        "from caffe.layers.detectnet.settings import VALUE\n"
        "class Cluster(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(1)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = VALUE\n"
    )
    (folder / "s.py").write_text(
        "import sys\n"
        "sys.path.insert(0, 'python')\n"
        "import caffe\n"
        "from caffe import layers as L\n"
        "net = caffe.NetSpec()\n"
        "net.y = L.Python(module='caffe.layers.detectnet.clustering', layer='Cluster')\n"
        "print(caffe.Net(net.to_proto(), caffe.TEST).forward()['y'])\n"
    )
    done = dragon("run", "s.py")
    assert (done.code, done.out) == (0, "[4.]\n"), done.err


def test_a_module_of_a_fork_that_is_not_found(folder: Path, dragon: Dragon) -> None:
    for name in ("net_helpers", "net_helpers.deep"):
        (folder / "s.py").write_text(f"import caffe.{name}\n")
        result = dragon("run", "s.py")
        assert result.code == 1
        assert result.err.splitlines()[-1] == (
            "dragon: Dragon has no caffe.net_helpers; if a fork has it, put the folder that holds its "
            "caffe/net_helpers.py on PYTHONPATH"
        )


WORKERS = """
import multiprocessing
import os
import sys

import caffe

os.chdir(os.path.dirname(sys.executable))


def loss(weight):
    net = caffe.NetSpec()
    filler = dict(type="constant", value=weight)
    net.x = caffe.layers.DummyData(shape=dict(dim=[1, 2]), data_filler=dict(value=1))
    net.y = caffe.layers.InnerProduct(net.x, num_output=1, weight_filler=filler)
    return float(caffe.Net(net.to_proto(), caffe.TEST).forward()["y"][0, 0]), sys.argv[1:]


if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(loss, [1, 2.5]))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_of_a_script_import_caffe_too(folder: Path, method: str) -> None:
    """Python 3.14 starts them by a fork server, and macOS and Windows have always begun them anew."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    (folder / "workers.py").write_text(WORKERS)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "dragon", "run", "workers.py", method],
        cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"[(2.0, ['{method}']), (5.0, ['{method}'])]\n"


def test_afterwards_processes_are_started_as_before(folder: Path, dragon: Dragon) -> None:
    from multiprocessing import spawn

    before = spawn.get_preparation_data
    (folder / "nothing.py").write_text("import caffe\n")
    assert dragon("run", "nothing.py").code == 0
    assert spawn.get_preparation_data is before
