"""Weights of PyTorch come back: by the names of an exported module, and by order and shape from another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.export.deployed import read_deployed
from dragon.export.torch.bring_back import bring_back
from dragon.export.torch.module import export
from dragon.files.safetensors import write_safetensors

MODELS = Path(__file__).parents[3] / "models"
QUICK = {form: MODELS / f"cifar10_quick_bn_{form}/deploy.prototxt" for form in ("split", "merged")}
LAYERS = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "ip1", "ip2"]


def foreign_state() -> dict[str, Any]:
    """The state_dict of the plain PyTorch module for cifar10_quick with batch normalisation."""
    rng = np.random.default_rng(1)
    shapes = {"features.0": (32, 3, 5, 5), "features.4": (32, 32, 5, 5), "features.8": (64, 32, 5, 5)}
    state: dict[str, Any] = {}
    for i, (name, shape) in enumerate(shapes.items()):
        state[f"{name}.weight"] = rng.normal(size=shape)
        for word in ("weight", "bias", "running_mean", "running_var"):
            state[f"features.{4 * i + 1}.{word}"] = rng.uniform(0.5, 2, shape[:1])
    for i, shape2 in enumerate(((64, 1024), (10, 64))):
        state |= {
            f"classifier.{i}.weight": rng.normal(size=shape2),
            f"classifier.{i}.bias": rng.normal(size=shape2[:1]),
        }
    return {key: value.astype(np.float32) for key, value in state.items()}


def written(path: Path, state: dict[str, Any]) -> Path:
    write_safetensors(path, state, {})
    return path


@pytest.mark.parametrize("form", QUICK)
def test_an_exported_module_comes_back_by_name(form: str, tmp_path: Path) -> None:
    deployed = read_deployed(QUICK[form])
    with deployed.net(seed=5) as net:
        rng = np.random.default_rng(2)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = rng.uniform(0.5, 2, blob.shape)
        path = written(tmp_path / "m.safetensors", export(net).state())
        expected = {name: [blob.peek().copy() for blob in blobs] for name, blobs in net.params.items()}
    model, matched = bring_back(deployed, path, {})
    assert (matched.by, matched.unused) == ("name", [])
    for name, arrays in expected.items():
        for mine, its in zip(model.arrays[name], arrays, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-6)


@pytest.mark.parametrize("form", QUICK)
def test_another_module_comes_in_by_order_and_shape(form: str, tmp_path: Path) -> None:
    state = foreign_state()
    # a safetensors file has its own order: the names keep that of the module here
    path = written(tmp_path / "m.safetensors", state)
    model, matched = bring_back(read_deployed(QUICK[form]), path, {})
    assert matched.by == "order and shape"
    assert [layer for layer, _ in matched.pairs] == LAYERS
    bn2 = model.arrays["bn2"]
    mean, weight = (bn2[0], bn2[2]) if form == "split" else (bn2[2], bn2[4])
    np.testing.assert_array_equal(mean, state["features.5.running_mean"])
    assert weight == 1
    gamma = model.arrays["scale2"][0] if form == "split" else bn2[0]
    np.testing.assert_array_equal(gamma, state["features.5.weight"])


def test_torch_save_files_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {f"module.{key}": torch.from_numpy(value) for key, value in foreign_state().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "m.pth")
    model, _ = bring_back(read_deployed(QUICK["merged"]), tmp_path / "m.pth", {})
    np.testing.assert_array_equal(model.arrays["ip2"][1], state["module.classifier.1.bias"].numpy())
    torch.save([1], tmp_path / "m.pth")
    with pytest.raises(WeightsError, match=r"expected a state_dict of PyTorch, got list; save m\.state_dict\(\)"):
        bring_back(read_deployed(QUICK["merged"]), tmp_path / "m.pth", {})


class Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_nothing_of_a_torch_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Payload()}, "m.pth")
    with pytest.raises(WeightsError, match=r"^m\.pth: expected a state_dict of PyTorch, this is a ZIP archive[^\n]*$"):
        bring_back(read_deployed(QUICK["merged"]), "m.pth", {})
    assert not Path("executed").exists()


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 4 bias_term: false } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 4 bias_term: false } }
layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 2 bias_term: false } }
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path / "net.prototxt"


def test_a_choice_is_reported_and_settled_by_names(small: Path, tmp_path: Path) -> None:
    square, last = (np.full(shape, i, np.float32) for i, shape in enumerate(((4, 4), (2, 4))))
    # the layer with two outputs comes first in the file
    path = written(tmp_path / "m.safetensors", {"h.weight": last, "p.weight": square + 5, "q.weight": square + 6})
    with pytest.raises(WeightsError) as caught:
        bring_back(read_deployed(small), path, {})
    assert str(caught.value).endswith(
        'm.safetensors: the layers come in another order than in the file, and shapes leave a choice: "a", "b" '
        'could be "p", "q"; say which with --map LAYER=PREFIX, once for each'
    )
    model, matched = bring_back(read_deployed(small), path, {"a": "q"})
    assert [model.arrays[name][0][0, 0] for name in "abc"] == [6, 5, 1]
    assert ("a", "q") in matched.pairs


@pytest.mark.parametrize(
    ("state", "names", "message"),
    [
        ({"p.weight": (4, 4)}, {}, r"the net has 2 of a \(weight \(4, 4\)\), the file 1 of such shapes"),
        ({"p.weight": (4, 4)}, {"d": "p"}, 'the net has no layer "d" with weights'),
        ({"p.weight": (4, 4)}, {"a": "r"}, r'the file has no tensors "r\.\*"'),
        ({"p.weight": (4, 3)}, {"a": "p"}, r'layer "a" needs weight \(4, 4\), "p" has weight \(4, 3\)'),
        (
            {"a.weight": (4, 4), "b.weight": (4, 4), "c.weight": (3, 4)},
            {},
            r'"c\.weight" has shape \(3, 4\), the net needs',
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    small: Path, tmp_path: Path, state: dict[str, tuple[int, ...]], names: dict[str, str], message: str
) -> None:
    path = written(tmp_path / "m.safetensors", {key: np.zeros(shape, np.float32) for key, shape in state.items()})
    with pytest.raises(WeightsError, match=message):
        bring_back(read_deployed(small), path, names)
