"""Convolutions by cuDNN's frontend, by a stand-in; and that the calls exist in the real package, where it is."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.engines.cuda.device.cudnn import Geometry
from dragon.engines.cuda.device.cudnn_frontend import Frontend
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.frontend import NOTES, Package
from tests.engines.cuda.running import close, compare, fill, inputs, layer, parse, same
from tests.engines.cuda.test_layers import CONVOLUTIONS, IMAGES

looks_inside = pytest.mark.usefixtures("emulated")
FILLER = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
GEOMETRY = Geometry((3, 4, 6, 5), (6, 2, 3, 3), (3, 6, 3, 3), (1, 1), (2, 2), (1, 1), 2, "float32", False)


def net_of(kind: str, settings: str) -> str:
    return inputs({"x": IMAGES.shape}) + layer(kind, f"convolution_param {{ {settings} {FILLER} }}")


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("settings", CONVOLUTIONS)
def test_convolution(kind: str, settings: str, package: Package) -> None:
    net = same(net_of(kind, settings), {"x": IMAGES})
    own = not package.built
    pointwise = "kernel_size: 1 " in settings + " " and "stride" not in settings
    depthwise = kind == "Convolution" and "num_output: 4 kernel_size: 3 pad: 1 group: 4" in settings
    other = "kernel_size: [" in settings or "kernel_size: 3 kernel_size: 3 kernel_size: 3" in settings
    assert own == (pointwise or depthwise or other)
    assert any(line.endswith(": graph") for line in net.executor.remarks())
    if own:
        return
    kinds = sorted("+".join(kind for kind, *_ in graph.nodes) for graph in package.built)
    forward = "fprop+bias" if kind == "Convolution" and "bias_term: false" not in settings else "fprop"
    assert kinds == ["dgrad", forward, "wgrad"]
    assert standin.counts["launches of add_bias"] == 0 or kind == "Deconvolution"
    assert all(set(graph.barred) == set(NOTES) for graph in package.built)


CUT = layer("ReLU", "", "y", "y", "relu")


@pytest.mark.parametrize("settings", [CONVOLUTIONS[0], "num_output: 6 kernel_size: 3 stride: 2 bias_term: false"])
@pytest.mark.parametrize("refused", [(), ("relu",), ("fprop",)])
def test_a_relu_in_place_is_part_of_the_graph(settings: str, refused: tuple[str, ...], package: Package) -> None:
    package.refused = set(refused)
    net = same(net_of("Convolution", settings) + CUT, {"x": IMAGES})
    assert net.executor.describe()[1:] == ["kernels, with relu", "in one"]
    forward = [[kind for kind, *_ in graph.nodes] for graph in package.built if graph.nodes[0][0] == "fprop"]
    bias = [] if "bias_term" in settings else ["bias"]
    assert forward == {(): [["fprop", *bias, "relu"]], ("relu",): [["fprop", *bias]], ("fprop",): []}[refused]


@pytest.mark.parametrize("top", ["y", "z"])
def test_a_relu_that_leaks_or_goes_elsewhere_is_not(top: str, package: Package) -> None:
    relu = layer("ReLU", "relu_param { negative_slope: 0.1 }" if top == "y" else "", "y", top, "relu")
    net = same(net_of("Convolution", CONVOLUTIONS[0]) + relu, {"x": IMAGES})
    assert net.executor.describe()[1:] == ["kernels", "kernels"]


def test_parts_of_a_convolution_with_its_relu(package: Package) -> None:
    nets = [
        Net(parse("force_backward: true\n" + net_of("Convolution", CONVOLUTIONS[0]) + CUT), TRAIN, engine=e, seed=5)
        for e in ("numpy", "cuda")
    ]
    for net in nets:
        fill(net, {"x": IMAGES})
        for _ in range(3):
            net.run_forward()
        net.clear_param_diffs()
        net.blobs["y"].diff[...] = np.linspace(-1, 1, net.blobs["y"].count).reshape(net.blobs["y"].shape)
        net.run_backward(2, 2)
        net.run_backward(1, 1)
    compare(nets[1], nets[0], "after", 1e-4)


def test_tf32_may_use_tensor_cores(package: Package) -> None:
    net = Net(parse(net_of("Convolution", CONVOLUTIONS[0])), TRAIN, engine="cuda", options=Options(tf32=True))
    net.run_forward()
    assert {note for graph in package.built for note in graph.barred} == set(NOTES) - {"TENSOR_CORE"}


def test_without_a_plan_for_the_bias_it_is_added_after(package: Package) -> None:
    package.refused = {"bias"}
    same(net_of("Convolution", CONVOLUTIONS[0]), {"x": IMAGES})
    assert sorted(graph.nodes[0][0] for graph in package.built) == ["dgrad", "fprop", "wgrad"]
    assert standin.counts["launches of add_bias"]


def test_products_without_a_plan_go_to_the_c_interface(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    package.refused = {"wgrad"}
    same(net_of("Convolution", CONVOLUTIONS[0]), {"x": IMAGES})
    assert standin.counts["cudnn"]
    assert standin.counts["frontend"]


def test_a_plan_that_cannot_run_is_given_up(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    package.fails = True
    with caplog.at_level(logging.WARNING, logger="dragon"):
        same(net_of("Convolution", CONVOLUTIONS[0]), {"x": IMAGES})
    assert standin.counts["frontend"] == 0
    assert "cuDNN's frontend cannot run what it planned" in caplog.text


@looks_inside
def test_a_package_that_does_not_start_is_told_and_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Package):
        def create_handle(self) -> Any:
            raise RuntimeError("Unable to find symbol cudnnCreate\nand more")

    monkeypatch.setattr("dragon.engines.cuda.device.cudnn_frontend.load_package", Broken)
    with caplog.at_level(logging.WARNING, logger="dragon"):
        same(net_of("Convolution", CONVOLUTIONS[0]), {"x": IMAGES}, passes=1)
    assert "cuDNN's frontend is not used: Unable to find symbol cudnnCreate" in caplog.messages


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_activations_of_16_bits(precision: str, package: Package) -> None:
    text = "force_backward: true\n" + net_of("Convolution", CONVOLUTIONS[0]) + layer("TanH", "", "y", "z", "two")
    nets = [
        Net(parse(text), TRAIN, engine=engine, seed=5, options=Options(precision=chosen))
        for engine, chosen in (("numpy", "fp32"), ("cuda", precision))
    ]
    for net in nets:
        fill(net, {"x": IMAGES})
        net.clear_param_diffs()
        net.run_forward()
        net.blobs["z"].diff[...] = np.linspace(-1, 1, net.blobs["z"].count).reshape(net.blobs["z"].shape)
        net.run_backward()
    kind = {"bf16": "BFLOAT16", "fp16": "HALF"}[precision]
    assert {graph.nodes[0][1]["x"].data_type for graph in package.built if "x" in graph.nodes[0][1]} == {kind}
    assert all("TENSOR_CORE" not in graph.barred and graph.compute == "FLOAT" for graph in package.built)
    close("y", nets[1].blobs["y"].peek(), nets[0].blobs["y"].peek(), 0.02)
    close("weight", nets[1].params["one"][0].peek_diff(), nets[0].params["one"][0].peek_diff(), 0.05)


def test_a_test_net_plans_no_gradients(package: Package) -> None:
    net = Net(parse(net_of("Convolution", CONVOLUTIONS[0])), TEST, engine="cuda")
    net.run_forward()
    assert [graph.nodes[0][0] for graph in package.built] == ["fprop"]


def test_the_real_package_has_what_is_called() -> None:
    """Descriptions need no driver; of what does, the names and keywords are looked up."""
    try:
        package = importlib.import_module("cudnn")
    except (ImportError, OSError) as error:
        pytest.skip(f"nvidia-cudnn-frontend is not installed: its calls were not looked up ({error})")
    ours = Frontend.__new__(Frontend)
    ours._cudnn, ours._handle = package, None
    for dtype in ("float32", "float16", "uint16"):
        geometry = Geometry(**{**GEOMETRY.__dict__, "dtype": dtype})
        for product in ("forward", "forward_bias", "forward_bias_relu", "data", "weight"):
            graph, tensors = ours.describe(product, geometry)
            assert [list(tensor.get_dim()) for tensor in (tensors[0], tensors[-1])] == {
                "data": [[3, 6, 3, 3], [3, 4, 6, 5]], "weight": [[3, 4, 6, 5], [6, 2, 3, 3]],
            }.get(product, [[3, 4, 6, 5], [3, 6, 3, 3]])  # fmt: skip
        assert len(ours._barred(geometry)) >= 2
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "validate": ((), {}), "build_operation_graph": ((), {}), "create_execution_plans": (([],), {}),
        "deselect_numeric_notes": (([],), {}), "deselect_workspace_greater_than": ((1,), {}), "check_support": ((), {}),
        "build_plans": ((), {}), "get_workspace_size": ((), {}), "execute": (({}, 1), {"handle": None}),
        "get_behavior_notes_for_plan_at_index": ((0,), {}),
        "get_execution_plan_count": ((), {}), "build_plan_at_index": ((0,), {}),
        "get_workspace_size_plan_at_index": ((0,), {}), "execute_plan_at_index": (({}, 1, 0), {"handle": None}),
    }  # fmt: skip
    for name, (args, keywords) in calls.items():
        method = getattr(graph, name)
        try:
            signature = inspect.signature(method)
        except ValueError:
            continue  # compiled, without a signature: that it is there must do
        signature.bind(*args, **keywords)
    assert callable(package.create_handle)
    inspect.signature(package.set_stream).bind(handle=None, stream=1)
    assert package.heur_mode.A is not package.heur_mode.FALLBACK
    assert package.behavior_note.RUNTIME_COMPILATION
