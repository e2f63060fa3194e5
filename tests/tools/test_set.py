"""--set of the commands that run nets and solvers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.site.command_page import commands
from dragon.bases.layer import TEST
from dragon.graph.net import Net
from dragon.models.facts import ROOT
from dragon.tools.common.models import WEIGHTS, ModelFile
from tests.tools.conftest import Dragon, edit


@pytest.fixture
def trained(work: Path, dragon: Dragon) -> str:
    assert dragon("train", "--solver", "solver.prototxt", "--engine", "numpy").code == 0
    return "out/x_iter_20.caffemodel"


def test_train(work: Path, dragon: Dragon) -> None:
    result = dragon(
        "train", "--solver", "solver.prototxt", "--engine", "numpy", "--set", "base_lr=.5", "-set", "max_iter=2",
        "--set=conv.num_output=2", "--set", "snapshot_prefix=out/y",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "lr = 0.5" in result.out + result.err
    net = Net("net.prototxt", phase=0, engine="numpy")
    assert net.params["conv"][0].shape[0] == 4
    net.close()
    assert Path("out/y_iter_2.caffemodel").is_file()


def test_a_changed_training_is_that_of_a_changed_file(work: Path, dragon: Dragon) -> None:
    line = ["train", "--solver", "solver.prototxt", "--engine", "numpy"]
    assert dragon(*line, "--set", "gamma=.25", "--set", "drop.dropout_ratio=.2", "--iterations", "10").code == 0
    changed = Path("out/x_iter_10.caffemodel").read_bytes()
    text = Path("solver.prototxt").read_text().replace("gamma: 0.5", "gamma: 0.25")
    Path("solver.prototxt").write_text(text)
    text = Path("net.prototxt").read_text()
    assert 'type: "Dropout"' in text
    text = text.replace('type: "Dropout"', 'type: "Dropout" dropout_param { dropout_ratio: 0.2 }')
    Path("net.prototxt").write_text(text)
    assert dragon(*line, "--iterations", "10").code == 0
    assert Path("out/x_iter_10.caffemodel").read_bytes() == changed


def test_commands_with_a_net(work: Path, dragon: Dragon, trained: str) -> None:
    net = ["--model", "net.prototxt", "--set", "data.batch_size=3"]
    assert "batches of 3" in dragon("test", *net, "--weights", trained, "--iterations", "1").out
    assert "batches of 3" in dragon("summarize", *net).out
    assert "batches of 3" in dragon("time", *net, "--iterations", "1").out
    assert "batches of 3" in dragon("time", "--solver", "solver.prototxt", *net[2:], "--iterations", "1").out
    assert dragon("probe", *net, "--probe", "weight_norm").code == 0
    assert dragon("probe", "--solver", "solver.prototxt", *net[2:], "--probe", "weight_norm").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --solver solver.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("time --solver solver.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("probe --solver solver.prototxt --probe weight_norm", 'type "cnov" (did you mean "conv"?)'),
        ("time --model net.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("summarize --model net.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("test --model net.prototxt --weights w", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
    ],
)
def test_an_unknown_layer(work: Path, dragon: Dragon, line: str, message: str) -> None:
    result = dragon(*line.split(), "--set", "cnov.num_output=3")
    assert result.code == 2
    assert result.error.startswith("--set cnov.num_output=3: ")
    assert message in result.error


# -- every command that makes a net ---------------------------------------------------------------------------
DEPLOY = """
name: "deploy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 24 dim: 24 } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 5 stride: 4 bias_term: false weight_filler { type: "xavier" } }
}
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def deployed(work: Path) -> str:
    """deploy.prototxt, a file of weights that fit it, and an image."""
    Path("deploy.prototxt").write_text(DEPLOY)
    with Net("deploy.prototxt", phase=TEST, engine="numpy", seed=1) as net:
        net.params["bn"][2].data[...] = 0.5
        net.params["ip"][0].data[...] = np.random.default_rng(1).standard_normal(net.params["ip"][0].shape)
        net.save("w.caffemodel")
    noise = np.random.default_rng(2).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save("a.png")
    Path("windows.csv").write_text("filename,ymin,xmin,ymax,xmax\na.png,0,0,24,24\n")
    return "--model deploy.prototxt --weights w.caffemodel --set"


@pytest.mark.parametrize("command", ["classify a.png", "detect windows.csv"])
def test_images_go_through_the_changed_net(deployed: str, dragon: Dragon, command: str) -> None:
    """With weights that an assignment multiplies by 0, all classes are alike."""
    line = [*command.split(), *deployed.split()]
    as_it_is = dragon(*line, "ip.propagate_down=true")
    changed = dragon(*line, 'prob={type: "Power" name: "prob" bottom: "ip" top: "prob" power_param {scale: 0}}')
    assert changed.code == 2  # a layer is changed by its fields
    changed = dragon(*line, "prob.type=Power", "--set", "prob.power_param.scale=0", "--set", "prob.power_param.shift=3")
    assert as_it_is.code == changed.code == 0, changed.err
    assert "3.0000" not in as_it_is.out
    assert "3.0000" in changed.out


def test_features_of_the_changed_net(work: Path, dragon: Dragon, trained: str) -> None:
    line = ["extract-features", "--model", "net.prototxt", "--weights", trained, "--blob", "ip", "--batches", "2"]
    assert "ip, 6 rows" in dragon(*line, "--out", "ip.npy", "--set", "data.batch_size=3").out


def test_draws_the_changed_net(work: Path, dragon: Dragon) -> None:
    assert dragon("draw", "net.prototxt", "a.svg", "--set", "conv.num_output=77").code == 0
    assert "77" in Path("a.svg").read_text()


def test_lint_looks_at_the_changed_net(work: Path, dragon: Dragon) -> None:
    assert dragon("lint", "net.prototxt").code == 0
    result = dragon("lint", "net.prototxt", "--set", "bn.use_global_stats=true")
    assert result.code == 1
    assert "use_global_stats" in result.out


def test_recalibrate(work: Path, dragon: Dragon, trained: str) -> None:
    line = ["recalibrate", "--model", "net.prototxt", "--weights", trained, "--out-weights", "exact.caffemodel"]
    assert "batches of 5" in dragon(*line, "--set", "data.batch_size=5").out


def test_bn_show(deployed: str, dragon: Dragon) -> None:
    assert "0.25" in dragon("bn", "show", *deployed.split(), "bn.eps=0.25").out


def test_surgery_writes_the_changed_net(work: Path, dragon: Dragon, trained: str) -> None:
    """The text keeps what was not changed."""
    line = ["split", "--model", "net.prototxt", "--weights", trained, "--out-model", "new.prototxt"]
    assert dragon(*line, "--set", "drop.dropout_ratio=.25", "--set", "data.batch_size=4").code == 0
    text = Path("new.prototxt").read_text()
    assert "dropout_ratio: 0.25" in text
    assert text.count("batch_size: 4") == 2
    assert "transform_param { mirror: true crop_size: 24 scale: 0.01 mean_value: 128 }" in text


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("export --caffe out", "out/deploy.prototxt"),
        ("export --caffe out --for-deploy", "out/deploy.prototxt"),
        ("fold --out-model out.prototxt", "out.prototxt"),
        ("split --out-model out.prototxt", "out.prototxt"),
        ("bn remove --out-model out.prototxt", "out.prototxt"),
    ],
)
def test_files_hold_the_changed_net(deployed: str, dragon: Dragon, command: str, changed: str) -> None:
    result = dragon(*command.split(), *deployed.split(), "prob.softmax_param.axis=-1")
    assert result.code == 0, result.err
    assert "axis: -1" in Path(changed).read_text()


def test_export_to_onnx(deployed: str, dragon: Dragon) -> None:
    onnx = pytest.importorskip("onnx")
    assert dragon("export", *deployed.split(), "prob.type=Sigmoid", "--onnx", "a.onnx").code == 0
    operators = {node.op_type for node in onnx.load("a.onnx").graph.node}
    assert "Sigmoid" in operators
    assert "Softmax" not in operators


def test_export_to_torch(deployed: str, dragon: Dragon) -> None:
    pytest.importorskip("safetensors")
    for more in ([], ["--with-losses"]):
        result = dragon("export", *deployed.split(), "prob.type=TanH", "--torch", "a.py", *more)
        assert result.code == 0, result.err
        text = Path("a.py").read_text().lower()
        assert "tanh" in text
        assert "softmax" not in text


def test_export_of_weights_alone(deployed: str, dragon: Dragon) -> None:
    """Weights of a layer that the changed net does not have are left out."""
    pytest.importorskip("safetensors")
    line = ["export", *deployed.split(), "ip.name=renamed", "--safetensors", "a.safetensors"]
    assert "of 2 layers" in dragon(*line).out


def test_import_of_torch_weights(deployed: str, dragon: Dragon) -> None:
    pytest.importorskip("safetensors")
    line = "--model deploy.prototxt --weights w.caffemodel --torch a.py"
    assert dragon("export", *line.split()).code == 0
    back = ["import", "--torch-weights", "a.safetensors", "--model", "deploy.prototxt", "--caffemodel", "b.caffemodel"]
    assert dragon(*back, "--set", "prob.axis=1").code == 0
    result = dragon(*back, "--set", "ip.num_output=11")
    assert result.code == 2
    assert "ip" in result.error


def test_zoo_run(work: Path, dragon: Dragon) -> None:
    result = dragon(
        "zoo", "run", "nin_cifar10", "--engine", "numpy", "--set", "data.shape={dim: 2 dim: 3 dim: 32 dim: 32}"
    )
    assert "input   data (2, 3, 32, 32)" in result.out


def test_zoo_run_with_an_image(deployed: str, dragon: Dragon) -> None:
    with Net(str(ROOT / "cifar10_quick/deploy.prototxt"), phase=TEST, engine="numpy", seed=1) as net:
        net.save("quick.caffemodel")
    result = dragon("zoo", "run", "cifar10_quick", "a.png", "--weights", "quick.caffemodel", "--set", "porb.axis=1")
    assert result.code == 2
    assert 'no layer has the name or type "porb" (did you mean "prob"?)' in result.error


def test_every_command_that_takes_a_net_has_the_flag() -> None:
    """Not those that take the net as it is: the weights of the zoo are those of its own nets."""
    takes = {
        name: {flag for option in found.params for flag in option.opts}
        for name, found in commands()
        if any(isinstance(option.type, ModelFile) and option.type is not WEIGHTS for option in found.params)
    }
    assert len(takes) > 15
    assert [name for name, flags in takes.items() if "--set" not in flags] == []


LINES = [
    "classify a.png", "detect windows.csv", "export --safetensors out.safetensors", "export --caffe out",
    "fold --out-model out.prototxt", "merge --out-model out.prototxt", "split --out-model out.prototxt",
    "bn remove --out-model out.prototxt", "bn show", "recalibrate --out-weights out.caffemodel",
    "extract-features --blob ip --batches 1 --out out.npy",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_an_unknown_layer_is_one_line(deployed: str, dragon: Dragon, line: str) -> None:
    for end, message in (
        ("cnov.num_output=3", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("conv.num_otput=3", "num_output"),
        ("conv.num_output=many", "num_output"),
    ):
        result = dragon(*line.split(), *deployed.split(), end)
        assert result.code == 2
        assert result.error.startswith(f"--set {end}: ")
        assert message in result.error
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize(
    "line", ["draw deploy.prototxt out.svg", "lint deploy.prototxt", "lint --model deploy.prototxt"]
)
def test_an_unknown_layer_of_an_argument_is_one_line(deployed: str, dragon: Dragon, line: str) -> None:
    result = dragon(*line.split(), "--set", "cnov.num_output=3")
    assert result.code == 2
    assert 'no layer has the name or type "cnov" (did you mean "conv"?)' in result.error
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize("more", [[], ["--set", "conv.num_output=3"]])
def test_what_is_wrong_with_the_text_of_a_net_is_said_once(work: Path, dragon: Dragon, more: list[str]) -> None:
    """Though a solver trains the net and tests it."""
    edit(work / "net.prototxt", 'name: "small"', 'name: "small" flavour: 3 input: "unused"')
    line = ["train", "--solver", "solver.prototxt", "--engine", "numpy", "--allow-unknown", "--iterations", "1"]
    result = dragon(*line, *more)
    said = (result.out + result.err).splitlines()
    assert result.code == 0, result.err
    assert sum('no field "flavour"' in one for one in said) == 1
    assert sum("1 net input without a shape" in one for one in said) == 1
    assert sum("Test net output" in one for one in said) > 0
