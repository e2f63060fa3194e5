"""What editors, type checkers and help() know of layers and settings is that of the schema."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dragon
from dragon import layers as L
from dragon import params as P
from dragon.bases.registry import layer_types
from dragon.pycaffe import stubs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("path", "text"),
    [("layers/__init__.pyi", stubs.layers_stub()), ("dragon/pycaffe/params.pyi", stubs.params_stub())],
    ids=["layers", "params"],
)
def test_the_files_are_those_of_the_schema(path: str, text: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == text, "run python -m dragon.pycaffe.stubs"


def test_help_shows_settings_defaults_and_meanings() -> None:
    text = inspect.getdoc(L.Convolution)
    assert text is not None
    assert text.startswith("Convolution over any number of spatial axes")
    assert "    group: parts of the channels that are convolved apart (default 1)\n" in text
    parameters = inspect.signature(L.Convolution).parameters
    assert parameters["bias_term"].default is True
    assert parameters["kernel_size"].annotation == "int | Sequence[int]"
    assert parameters["weight_filler"].annotation == "FillerParameter"
    assert {"bottoms", "name", "ntop", "param", "loss_weight", "convolution_param"} <= set(parameters)


def test_a_type_may_have_a_default_of_its_own() -> None:
    assert "    eps: added to the variance" in str(inspect.getdoc(L.BatchNorm))


@pytest.mark.parametrize("name", layer_types())
def test_every_type_has_a_signature(name: str) -> None:
    function = getattr(L, name)
    assert function is getattr(L, name)
    assert "Settings:" in str(function.__doc__)
    assert inspect.signature(function)


def test_a_type_that_dragon_does_not_have_is_still_made() -> None:
    n = dragon.NetSpec()
    n.x = L.SomethingElse(L.Input())
    assert n.to_proto().layer[1].type == "SomethingElse"


def test_completion_lists_types_and_constants() -> None:
    assert dir(L) == layer_types()
    assert {"Pooling", "Eltwise", "Data", "Filler"} <= set(dir(P))
    assert {"MAX", "AVE", "STOCHASTIC"} <= set(dir(P.Pooling))
    assert P.Pooling.AVE == 1
    with pytest.raises(AttributeError, match=r'no constant "AVG" \(did you mean "AVE"\?\)'):
        getattr(P.Pooling, "AVG")  # noqa: B009
    with pytest.raises(AttributeError, match=r'no PolingParameter \(did you mean "Pooling"\?\)'):
        getattr(getattr(P, "Poling"), "MAX")  # noqa: B009


SAMPLE = """
import dragon
from dragon import layers as L, params as P

n = dragon.NetSpec()
n.data, n.label = L.Data(source="x", backend=P.Data.LMDB, batch_size=8, ntop=2, transform_param={"scale": 0.5})
n.conv = L.Convolution(
    n.data, num_output=4, kernel_size=[3, 3], weight_filler={"type": "msra"}, param=[{"lr_mult": 1}, {"lr_mult": 2}]
)
noise = {"type": "gaussian", "std": 1}
n.ip = L.InnerProduct(n.conv, num_output=4, weight_filler=noise)
n.pool = L.Pooling(n.conv, pool="MAX", kernel_size=2)
n.own = L.OfMyOwn(n.pool, anything=1)
n.loss = L.SoftmaxWithLoss(n.pool, n.label, loss_weight=2)
top: dragon.net_spec.Top = L.ReLU(n.pool, in_place=True)
"""
WRONG = """
L.Convolution(n.data, num_outptu=4)
L.Convolution(n.data, num_output="4")
L.Convolution(n.data, weight_filler="msra")
L.Pooling(n.conv, pool="MAXIMUM")
P.Pooling.MEAN
"""


def test_a_type_checker_passes_a_net_and_names_its_mistakes(tmp_path: Path) -> None:
    right = tmp_path / "right.py"
    wrong = tmp_path / "wrong.py"
    right.write_text(SAMPLE)
    wrong.write_text(SAMPLE + WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"]
    done = subprocess.run(
        [*command, str(right), str(wrong)], capture_output=True, text=True, cwd=ROOT, check=False, timeout=300
    )
    lines = done.stdout.splitlines()
    assert not [line for line in lines if "right.py" in line]
    first = SAMPLE.count("\n") + 2
    found = [line.split(":")[1] for line in lines if " error: " in line]
    assert found == [str(first + k) for k in range(5)], done.stdout
    assert 'did you mean "num_output"' in done.stdout
