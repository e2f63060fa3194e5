"""The executor: where arrays are, what is captured, what it says when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options, cuda_problem
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.lowerings.transform import transform
from dragon.errors import DataError, EngineError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import close, compare, fill, inputs, make, parse, same

RANDOM = np.random.default_rng(8)
NET = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 5 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm" lrn_param { local_size: 3 } }
layer { name: "drop" type: "Dropout" bottom: "norm" top: "drop" dropout_param { dropout_ratio: 0.3 } }
layer { name: "ip" type: "InnerProduct" bottom: "drop" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
"""
TEXT = inputs({"data": (4, 3, 6, 6), "label": (4,)}) + NET
VALUES = {
    "data": RANDOM.standard_normal((4, 3, 6, 6)).astype(np.float32),
    "label": np.array([0, 3, 1, 2], np.float32),
}
needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")


def solver_of(
    engine: str, settings: str, text: str = TEXT, fuse: bool = True, values: Mapping[str, np.ndarray] = VALUES
) -> Solver:
    param = pb.SolverParameter(net_param=parse(text))
    from google.protobuf import text_format

    text_format.Merge(f'base_lr: 0.1 lr_policy: "step" stepsize: 2 gamma: 0.5 {settings}', param)
    solver = Solver(param, engine=engine, seed=4, options=Options(fuse=fuse))
    fill(solver.net, values)
    return solver


@needs_gpu
def test_a_whole_net_both_ways() -> None:
    net = same(TEXT, VALUES, passes=4, tolerance=1e-4, compare_diffs=False)
    notes = net.executor.describe()
    assert set(notes[2:]) == {"kernels", "kernels, with scale", "in bn"}


@looks_inside
def test_a_forked_process_is_told_to_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    net.forward()
    monkeypatch.setattr(net.executor.gpu, "_pid", -1)  # type: ignore[attr-defined]
    for run in (net.run_forward, net.forward_backward, lambda: Net(parse(TEXT), TRAIN, engine="cuda")):
        with pytest.raises(EngineError, match=r'forked.*get_context\("spawn"\)'):
            run()


@needs_gpu
@pytest.mark.parametrize("random", ["", 'data_filler { type: "gaussian" }'])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_script_writes_into_constant_dummy_data(random: str, phase: int) -> None:
    text = f"""
    layer {{ name: "x" type: "DummyData" top: "x" top: "z"
             dummy_data_param {{ data_filler {{ value: 2 }} {random} shape {{ dim: [2, 3] }} }} }}
    layer {{ name: "y" type: "Power" bottom: "x" top: "y" power_param {{ scale: 2 }} }}
    layer {{ name: "quiet" type: "Silence" bottom: "z" }}
    """
    net = make(text, "cuda", phase)
    for value in (2, 7, 8):
        if value > 2:
            net.blobs["x"].data[...] = value
        for _ in range(4):
            np.testing.assert_array_equal(net.forward()["y"], np.full((2, 3), 2 * value))
    net.blobs["x"].reshape(5, 4)
    np.testing.assert_array_equal(net.forward()["y"], np.full((5, 4), 4))


RELU6 = 'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" relu_param { relu6: true } }'
SCALED = 'layer { name: "bn" type: "BN" bottom: "x" top: "x" batch_norm_param { scale_filler { value: 9 } } }'


@needs_gpu
@pytest.mark.parametrize("layers", [RELU6, SCALED + RELU6])
def test_a_relu_that_ends_at_6(layers: str) -> None:
    same(inputs({"x": (4, 3, 6, 6)}) + layers, {"x": 9 * VALUES["data"]}, tolerance=1e-4)


RULES = {
    "SGD": "momentum: 0.9 weight_decay: 0.01",
    "SGD clipped": 'type: "SGD" momentum: 0.9 weight_decay: 0.01 regularization_type: "L1" clip_gradients: 0.5',
    "SGD, two batches": 'type: "SGD" iter_size: 2 momentum: 0.5',
    "Nesterov": 'type: "Nesterov" momentum: 0.9',
    "AdaGrad": 'type: "AdaGrad" delta: 1e-4',
    "RMSProp": 'type: "RMSProp" rms_decay: 0.9 delta: 1e-4',
    "AdaDelta": 'type: "AdaDelta" momentum: 0.9 delta: 1e-4',
    "Adam": 'type: "Adam" momentum: 0.9 momentum2: 0.999 delta: 1e-4 weight_decay: 0.01',
    "AdamW": 'type: "AdamW" momentum: 0.9 momentum2: 0.999 delta: 1e-4 weight_decay: 0.01',
}


@needs_gpu
@pytest.mark.parametrize("rule", RULES)
def test_solvers_agree(rule: str) -> None:
    solvers = [solver_of(engine, RULES[rule]) for engine in ("numpy", "cuda")]
    for _ in range(5):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 1e-4
    whole = any(line == "whole iteration: graph" for line in solvers[1].net.executor.remarks())
    assert whole == ("two batches" not in rule)
    compare(solvers[1].net, solvers[0].net, rule, 2e-3, diffs=False)
    for ours, expected in zip(solvers[1].updater.history, solvers[0].updater.history, strict=True):
        for a, b in zip(ours, expected, strict=True):
            close(f"history of {rule}", a.peek(), b.peek(), 2e-3)


@needs_gpu
def test_a_blob_that_does_not_learn_stays() -> None:
    text = TEXT.replace('top: "ip"\n', 'top: "ip" param { lr_mult: 0 } param { lr_mult: 2 }\n')
    solver = solver_of("cuda", "momentum: 0.9", text)
    before = [blob.peek().copy() for blob in solver.net.params["ip"]]
    solver.step(3)
    after = [blob.peek() for blob in solver.net.params["ip"]]
    assert (before[0] == after[0]).all()
    assert (before[1] != after[1]).any()


@needs_gpu
def test_a_frozen_parameter_does_not_count_for_the_clipping() -> None:
    text = TEXT.replace('top: "ip"\n', 'top: "ip" param { lr_mult: 0 } param { lr_mult: 2 }\n')
    solvers = [solver_of(engine, "momentum: 0.9 clip_gradients: 0.05", text) for engine in ("numpy", "cuda")]
    for _ in range(3):
        for solver in solvers:
            solver.step(1)
    compare(solvers[1].net, solvers[0].net, "clipped", 2e-3, diffs=False)


@looks_inside
def test_a_training_step_copies_nothing_but_the_loss() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(3)
    before = standin.counts.copy()
    solver.step(2)
    made = standin.counts - before
    assert made["graph launches"] == 2
    assert made["launches"] == 0  # outside of the graphs
    assert made["to host"] == made["to host, asynchronous"] == 0  # the loss comes by the graph
    assert made["to device"] == 2  # the dropout's draw and the rate, by one copy


@needs_gpu
def test_the_rate_and_the_draws_change_in_a_replayed_graph() -> None:
    solver = solver_of("cuda", "momentum: 0")
    seen = []
    for _ in range(5):
        solver.step(1)
        seen.append(solver.net.blobs["drop"].peek() == 0)
    assert all((a != b).any() for a, b in pairwise(seen))


@looks_inside
def test_every_layer_without_kernels_runs_there_too() -> None:
    text = inputs({"data": (4, 3, 6, 6)})
    text += 'layer { name: "m" type: "BatchRenorm" bottom: "data" top: "m" }\n'
    text += 'layer { name: "r" type: "BatchRenorm" bottom: "m" top: "r" }\n'
    net = same(text, {"data": VALUES["data"]}, tolerance=1e-4)
    before = standin.counts.copy()
    net.forward_backward()
    assert (standin.counts - before)["to host"] == 0
    assert net.executor.describe()[1:] == ["array code", "array code"]
    assert any(note.endswith("eager: array code") for note in net.executor.remarks())


@needs_gpu
def test_python_layers_run_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice_layer.py").write_text(
        "import dragon\n"
        "class Twice(dragon.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
        "    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 2 * top[0].diff\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = inputs({"data": (4, 5)})
    text += 'layer { name: "a" type: "TanH" bottom: "data" top: "a" }\n'
    text += (
        'layer { name: "p" type: "Python" bottom: "a" top: "p" python_param { module: "twice_layer" layer: "Twice" } }'
    )
    text += 'layer { name: "b" type: "Sigmoid" bottom: "p" top: "b" }\n'
    net = same(text, {"data": VALUES["data"].reshape(-1)[:20].reshape(4, 5)})
    assert net.executor.describe() == ["host", "kernels", "host", "kernels"]


@needs_gpu
def test_shapes_may_change_between_runs() -> None:
    nets = [make(TEXT, engine) for engine in ("numpy", "cuda")]
    for count in (4, 4, 4, 2, 2, 2, 4):
        values = {name: value[:count] for name, value in VALUES.items()}
        for net in nets:
            fill(net, values)
            net.clear_param_diffs()
        losses = [net.forward_backward() for net in nets]
        assert abs(losses[0] - losses[1]) < 1e-4
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)


@needs_gpu
def test_train_and_test_net_share_weights_on_the_gpu() -> None:
    text = TEXT + 'layer { name: "out" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }'
    results = []
    for engine in ("numpy", "cuda"):
        solver = solver_of(engine, 'test_iter: 1 test_interval: 2 test_state { } momentum: 0.9', text)  # fmt: skip
        fill(solver.test_nets[0], VALUES)
        solver.step(4)
        fill(solver.test_nets[0], VALUES)
        results.append(solver.test(0))
    for name, value in results[0].items():
        close(name, results[1][name], value, 1e-3)


@needs_gpu
def test_a_view_that_somebody_keeps_is_read_and_written() -> None:
    net = make(TEXT, "cuda", TEST)
    fill(net, VALUES)
    data, out = net.blobs["data"].data, net.blobs["ip"].data
    net.run_forward()
    first = out.copy()
    assert first.any()
    data[...] = 2 * data
    net.run_forward()
    assert (out != first).any()


@needs_gpu
def test_hooks_see_every_layer() -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    seen: list[int] = []
    net.before_forward_hooks.append(seen.append)
    net.run_forward()
    assert seen == list(range(len(net.layers)))


@needs_gpu
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_label_that_is_no_class_is_an_error(phase: int) -> None:
    net = make(TEXT, "cuda", phase)
    fill(net, VALUES)
    net.run_forward()
    net.blobs["label"].data[2] = 9
    message = r'layer "loss" \(SoftmaxWithLoss\): label 9 at position \(2,\) is out of range: expected 0 to 3 for 4 '
    with pytest.raises(DataError, match=message):
        net.run_forward()
    net.blobs["label"].data[2] = 1
    net.run_forward()


@looks_inside
def test_out_of_memory_names_the_layer_and_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    monkeypatch.setattr(standin.Memory, "limit", 3000)
    with pytest.raises(
        EngineError, match=r'layer "conv" \(Convolution\): out of memory on GPU 0: asked for [\d,]+ byt'
    ):
        net.run_forward()


@needs_gpu
def test_layers_are_timed_and_memory_is_told() -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    for _ in range(3):
        net.forward_backward()
    assert "backward loss .. conv: graph" in net.executor.remarks()
    assert net.executor.remarks()[-1].startswith("Peak memory of the GPU")
    times = net.executor.profile(1)
    assert [t.name for t in times] == net.layer_names
    assert all(t.forward_ms >= 0 for t in times)


@needs_gpu
def test_debug_info_shows_each_layer(caplog: pytest.LogCaptureFixture) -> None:
    net = make("debug_info: true\n" + TEXT, "cuda")
    fill(net, VALUES)
    with caplog.at_level("INFO", logger="dragon"):
        net.forward_backward()
    assert "[Forward] Layer relu, top blob conv data" in caplog.text
    assert "[Backward] Layer conv, param blob 0 diff" in caplog.text


def test_without_cupy_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(EngineError, match=r"CuPy .*: pip install 'dragon-caffe\[cuda13\]'") as caught:
        make(TEXT, "cuda")
    assert "\n" not in str(caught.value)


def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in standin.make(devices=0).items():
        monkeypatch.setitem(sys.modules, name, module)
    assert cuda_problem() is not None
    with pytest.raises(EngineError, match="there is no GPU: CuPy is installed"):
        make(TEXT, "cuda")


@needs_gpu
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="there is no GPU 3, only 0"):
        Net(parse(TEXT), TRAIN, engine="cuda", options=Options(device=3))


@needs_gpu
@pytest.mark.parametrize("settings", ["mirror: true crop_size: 4 scale: 0.5 mean_value: 7", "mean_value: [1, 2, 3]"])
def test_images_are_transformed_as_on_the_host(settings: str) -> None:
    from google.protobuf import text_format

    from dragon.data.transform import Transformer
    from dragon.rng import Stream

    param = pb.TransformationParameter()
    text_format.Parse(settings, param)
    images = RANDOM.integers(0, 256, (5, 3, 6, 7)).astype(np.uint8)
    host = Transformer(param, TRAIN, Stream(1, "images"))
    expected = np.empty((5, *host.output_shape((3, 6, 7))), np.float32)
    host.apply(images, expected)
    drawn = Transformer(param, TRAIN, Stream(1, "images")).draw(images)
    gpu = open_gpu(0)
    with gpu.active():
        out, mean = gpu.empty(expected.shape, np.float32), np.array(param.mean_value, np.float32)
        places = gpu.cupy.asarray(drawn)
        transform(gpu, gpu.cupy.asarray(images), places, gpu.cupy.asarray(mean), param.scale, out)
        close("images", out.get(), expected, 1e-6)
    for mean_image in (None, RANDOM.standard_normal((3, 6, 7)).astype(np.float32)):
        with gpu.active():
            whole = gpu.empty(images.shape, np.float32)
            places = gpu.zeros((5, 3), np.int32)
            mean = gpu.cupy.asarray(mean_image) if mean_image is not None else None  # type: ignore[assignment]
            transform(gpu, gpu.cupy.asarray(images), places, mean, 1.0, whole)
            shift = 0 if mean_image is None else mean_image
            close("whole images", whole.get(), images - np.float32(shift), 1e-6)


def test_figures_need_no_gpu() -> None:
    net = Net(parse(TEXT), TRAIN, engine="numpy")
    draws = net.layers[net.layer_index("drop")].rng.draws
    fused, separate = plan_figures(net), plan_figures(net, fuse=False)
    assert net.layers[net.layer_index("drop")].rng.draws == draws
    assert separate.launches > fused.launches
    assert separate.bytes > fused.bytes
    by_name = {f.name: f for f in fused.layers}
    size = net.blobs["conv"].count * 4
    merged = by_name["bn .. relu"]
    # one launch each way. forward: x is read, y and a copy of x written. backward: dy, x and y are read, dx is written
    assert 3 * size + 4 * size <= merged.bytes <= 7.5 * size
    assert merged.launches == 2
    assert fused.floor_seconds == max(fused.bytes / 4.3e12, fused.launches * 2e-6)
    assert "nothing ran on a GPU" in fused.lines()[-1]


@looks_inside
def test_figures_count_what_is_launched() -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    before = standin.counts.copy()
    net.forward_backward()
    made = standin.counts - before
    counted = sum(f.launches for f in plan_figures(net).layers)
    assert made["launches"] + made["gemm"] + 1 == counted  # and one upload of the dropout's draw


@looks_inside
def test_large_inputs_come_by_pinned_memory_on_another_stream() -> None:
    shape = (10, 3, 24, 24)
    text = inputs({"x": shape}) + 'layer { name: "y" type: "TanH" bottom: "x" top: "y" }'
    net = make(text, "cuda")
    for number in range(5):
        x = RANDOM.standard_normal(shape).astype(np.float32)
        fill(net, {"x": x})
        standin.counts.clear()
        net.run_forward()
        assert standin.counts["from pinned memory"] == (number > 0)  # weights come once, batches again and again
        assert standin.counts["to device"] == 1
        close(f"pass {number}", net.blobs["y"].peek(), np.tanh(x), 1e-6)


@needs_gpu
def test_scripts_choose_the_gpu_for_all_nets_to_come() -> None:
    try:
        dragon.set_mode_gpu()
        dragon.set_device(0)
        assert Net(parse(TEXT), TRAIN).executor.name == "cuda"
        dragon.set_device(1)
        with pytest.raises(EngineError, match="there is no GPU 1"):
            Net(parse(TEXT), TRAIN)
    finally:
        dragon.set_device(0)
        dragon.set_mode_cpu()
    assert Net(parse(TEXT), TRAIN).executor.name != "cuda"
