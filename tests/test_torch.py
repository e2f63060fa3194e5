"""`dragon.torch`: a net as a torch.nn.Module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.export.torch.module import export
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.export.torch.helpers import run_source

NET = """
name: "small"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }
layer {
  name: "conv.1" type: "Convolution" bottom: "x" top: "conv" param { lr_mult: 1 } param { lr_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { moving_average_fraction: 0.9 } }
layer {
  name: "scale" type: "Scale" bottom: "conv" top: "conv"
  scale_param { bias_term: true filler { value: 1.5 } bias_filler { value: 0.3 } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer {
  name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } }
}
"""


def test_without_torch_it_is_one_line() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport dragon.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'dragon.errors.UsageError: dragon.torch needs a package: pip install "dragon-caffe[torch]"'
    )


def make(engine: str = "numpy", dtype: Any = np.float64, text: str = NET, phase: int = TEST) -> Any:
    """The module of a net with statistics that are not 0."""
    pytest.importorskip("torch")
    from dragon.torch import NetModule

    module = NetModule(parse_text(text, pb.NetParameter()), engine=engine, dtype=dtype, seed=2, phase=phase)
    if "bn" in module.net.params:
        rng = np.random.default_rng(1)
        for blob in module.net.params["bn"][:2]:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
        module.net.params["bn"][2].data[...] = 1
    return module


def random_input(shape: tuple[int, ...] = (4, 3, 6, 6), dtype: Any = np.float64) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.random.default_rng(3).normal(size=shape).astype(dtype)).requires_grad_()


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("mode", [True, False])
def test_the_same_as_the_exported_module(mode: bool, engine: str) -> None:
    """Outputs, gradients and running statistics, against the same net in PyTorch's own arithmetic."""
    torch = pytest.importorskip("torch")
    dtype = np.float64 if engine == "numpy" else np.float32
    module = make(engine, dtype).train(mode)
    exported = export(module.net)
    other = run_source(exported).train(mode)
    x, y = random_input(dtype=dtype), random_input()
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5} if engine == "auto" else {"rtol": 1e-7, "atol": 1e-10}
    found, expected = module(x), other(y)
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), **close)
    weights = torch.from_numpy(np.random.default_rng(4).normal(size=found.shape))
    (found * weights.to(found.dtype)).sum().backward()
    (expected * weights).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), **close)
    learned = dict(other.named_parameters())
    for layer, entry in exported.entries:
        for key in {*entry.keys} & {*learned}:
            mine = dict(module.named_parameters())[f"{layer.name}/{entry.indices[0]}".replace(".", "_")]
            assert mine.requires_grad == learned[key].requires_grad
            if mine.requires_grad:
                np.testing.assert_allclose(mine.grad.numpy(), learned[key].grad.numpy().reshape(mine.shape), **close)
    mean = module.state_dict()["bn/0"] / module.state_dict()["bn/2"]
    np.testing.assert_allclose(mean.numpy(), other.state_dict()["bn.running_mean"].numpy(), **close)


@pytest.mark.parametrize("mode", [True, False])
def test_gradients_by_differences(mode: bool) -> None:
    torch = pytest.importorskip("torch")
    module = make().train(mode)
    parameters = [p for p in module.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (random_input((2, 3, 6, 6)), *parameters))


def test_an_optimizer_changes_the_net_without_a_copy(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = make("auto", np.float32)
    for name, parameter in module.named_parameters():
        layer, _, index = name.rpartition("/")
        blob = module.net.params[layer.replace("_", ".")][int(index)]
        assert parameter.data_ptr() == blob.peek().ctypes.data
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x, losses = random_input(dtype=np.float32).detach(), []
    before = module.net.params["ip"][0].peek().copy()
    for _ in range(5):
        optimizer.zero_grad()
        loss = module.train()(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert not np.array_equal(module.net.params["ip"][0].peek(), before)
    module.net.save(tmp_path / "w.caffemodel")
    with Net(parse_text(NET, pb.NetParameter()), phase=TEST, engine="numpy") as net:
        net.copy_from(tmp_path / "w.caffemodel")
        net.blobs["x"].data[...] = x.numpy()
        expected = net.forward()["ip"]
    np.testing.assert_allclose(module.eval()(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_state_dict_goes_there_and_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module, other = make(), make()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.add_(0.25)
    assert set(module.state_dict()) == {
        "conv_1/0", "conv_1/1", "bn/0", "bn/1", "bn/2", "scale/0", "scale/1", "ip/0", "ip/1",
    }  # fmt: skip
    other.load_state_dict(module.state_dict())
    x = random_input()
    assert torch.equal(module.eval()(x), other.eval()(x))


def test_shapes_may_change_and_moved_tensors_are_copied() -> None:
    torch = pytest.importorskip("torch")
    module = make()
    first = module(random_input((4, 3, 6, 6)))
    assert module(random_input((2, 3, 6, 6))).shape == (2, 5)
    assert torch.equal(module(random_input((4, 3, 6, 6))), first)
    with torch.no_grad():
        for name, parameter in list(module.named_parameters()):
            module.register_parameter(name, torch.nn.Parameter(parameter.clone() * 0))
    assert not module(random_input((4, 3, 6, 6))).any()


LOSS = """
layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "a" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "a" loss_weight: 3 }
layer { name: "b" type: "Power" bottom: "x" top: "b" power_param { scale: 2 } }
"""


def test_several_inputs_and_outputs_by_name() -> None:
    module = make(text=LOSS)
    x, t = random_input((4, 3)), random_input((4, 3)).detach() * 0
    found = module(t=t, x=x)
    assert set(found) == {"a", "b"}
    (found["a"] * 5).backward()
    np.testing.assert_allclose(x.grad.numpy(), 5 * x.detach().numpy() / 4)


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        (0, (), 'input "x" is missing: the net has x, t'),
        (3, (), "the net has 2 inputs, got 3 tensors"),
        (2, ("x",), 'got input "x" twice'),
        (1, ("tt",), 'the net has no input "tt"'),
    ],
)
def test_wrong_inputs_are_one_line(given: int, named: tuple[str, ...], message: str) -> None:
    module, x = make(text=LOSS), random_input((4, 3))
    with pytest.raises(UsageError, match=message):
        module(*[x] * given, **dict.fromkeys(named, x))


DROPOUT = NET + 'layer { name: "drop" type: "Dropout" bottom: "ip" top: "drop" }'


def test_two_passes_may_go_backward_together() -> None:
    """As in siamese nets: the older pass is run again, with its own draws, and the statistics move once."""
    module, other = (make(text=DROPOUT).train() for _ in range(2))
    x, y = random_input(), random_input((2, 3, 6, 6))
    first, second = module(x), module(y)
    (first.sum() + 2 * second.sum()).backward()
    together = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    other(random_input()).sum().backward()
    (2 * other(random_input((2, 3, 6, 6))).sum()).backward()
    assert together
    for name, parameter in other.named_parameters():
        if parameter.grad is not None:
            np.testing.assert_allclose(together[name].numpy(), parameter.grad.numpy(), rtol=1e-10)
    for name, value in other.named_buffers():
        np.testing.assert_array_equal(dict(module.named_buffers())[name].numpy(), value.numpy())


def test_layers_that_read_data_are_refused() -> None:
    pytest.importorskip("torch")
    from dragon.torch import NetModule

    sizes = "batch_size: 1 channels: 1 height: 1 width: 1"
    text = f'layer {{ name: "m" type: "MemoryData" top: "x" top: "t" memory_data_param {{ {sizes} }} }}'
    with pytest.raises(UsageError, match='layer "m" reads data, which a module is given'):
        NetModule(parse_text(text, pb.NetParameter()), phase=TRAIN)
