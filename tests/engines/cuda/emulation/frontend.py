"""The calls of nvidia-cudnn-frontend that the engine makes, on NumPy: same names, same keywords."""

from __future__ import annotations

import ctypes
import math
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.engines.cuda.emulation import standin, timing
from tests.engines.cuda.emulation.cudnn import _convolve
from tests.engines.cuda.emulation.memory import owner_at
from tests.engines.cuda.emulation.sixteen import put, wide

DTYPES: dict[str, Any] = {"FLOAT": np.float32, "DOUBLE": np.float64, "HALF": np.float16, "BFLOAT16": np.uint16}
NOTES = ("NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION", "DOWN_CONVERT_INPUTS", "TENSOR_CORE")
WORKSPACE = 4096
PLANS = ((30, WORKSPACE), (20, 2 * WORKSPACE), (5, 1 << 40), (40, WORKSPACE))  # cost and bytes of workspace of each
ORDERS = ((0, 1, 2, 3), (0, 2, 3, 1))  # of the axes in memory: NCHW, NHWC


class GraphNotSupportedError(RuntimeError):
    """As the package's own."""


class Tensor:
    def __init__(self, name: str, dim: Sequence[int] | None, stride: Sequence[int] | None, data_type: Any) -> None:
        self.name, self.dim, self.stride, self.data_type = name, dim, stride, data_type
        self.is_output = False

    def set_output(self, value: bool) -> Tensor:
        self.is_output = value
        return self

    def set_data_type(self, dtype: Any) -> Tensor:
        self.data_type = dtype
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = stride
        return self


class Graph:
    def __init__(self, package: Package, *, name: str, io_data_type: str, intermediate_data_type: str,
                 compute_data_type: str, handle: Any) -> None:  # fmt: skip
        assert handle is package.handle
        self.package, self.compute = package, compute_data_type
        self.nodes: list[tuple[str, dict[str, Any], Tensor, dict[str, Any]]] = []
        self.stage = ""
        self.barred: list[str] = []
        self.index = 0  # of the plan that has run, outside a timing
        self.selected = 0
        self.built: set[int] = set()
        self.limit = 0

    def tensor(self, *, dim: list[int], stride: list[int], data_type: str, name: str) -> Tensor:
        return Tensor(name, dim, stride, data_type)

    def _node(self, kind: str, inputs: dict[str, Any], settings: dict[str, Any]) -> Tensor:
        out = Tensor(kind, None, None, None)
        self.nodes.append((kind, inputs, out, settings))
        return out

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **settings: Any) -> Tensor:
        return self._node("fprop", {"x": image, "w": weight}, settings)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **settings: Any) -> Tensor:
        return self._node("dgrad", {"y": loss, "w": filter}, settings)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **settings: Any) -> Tensor:
        return self._node("wgrad", {"x": image, "y": loss}, settings)

    def bias(self, *, input: Tensor, bias: Tensor, name: str) -> Tensor:
        return self._node("bias", {"input": input, "bias": bias}, {})

    def relu(self, *, input: Tensor, name: str) -> Tensor:
        return self._node("relu", {"input": input}, {})

    def _pass(self, stage: str, after: str) -> None:
        assert self.stage == after, f"{stage} follows {after}, not {self.stage}"
        self.stage = stage

    def validate(self) -> None:
        self._pass("valid", "")
        for kind, inputs, out, settings in self.nodes:
            if kind in ("bias", "relu"):
                continue
            assert set(settings) == {
                "pre_padding", "post_padding", "stride", "dilation", "compute_data_type", "name"
            }  # fmt: skip
            assert settings["pre_padding"] == settings["post_padding"]
            tensors = (*inputs.values(), *([out] if out.is_output else []))
            orders = [{order for order in ORDERS if tensor.stride == _strides(tensor.dim, order)} for tensor in tensors]
            assert set.intersection(*orders), "the engine gives all operands one layout"

    def build_operation_graph(self) -> None:
        self._pass("lowered", "valid")

    def create_execution_plans(self, heuristics: list[str]) -> None:
        self._pass("planned", "lowered")
        assert heuristics == ["A", "FALLBACK"]

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        assert self.stage == "planned"
        self.barred += notes

    def deselect_workspace_greater_than(self, limit: int) -> None:
        assert self.stage == "planned"
        self.limit = limit

    def check_support(self) -> None:
        self._pass("supported", "planned")
        kinds = {kind for kind, *_ in self.nodes}
        if kinds & self.package.refused:
            raise GraphNotSupportedError(f"no engine takes {kinds & self.package.refused}\nmore about it")

    def build_plans(self) -> None:
        self.build_plan_at_index(0)

    def get_execution_plan_count(self) -> int:
        assert self.stage in ("supported", "built")
        return len(self.package.plans)

    def build_plan_at_index(self, index: int) -> Graph:
        """Build a plan and select it. One that is built already is not selected, as in some releases."""
        assert self.stage in ("supported", "built")
        if self.package.plans[index][1] > self.limit:
            raise GraphNotSupportedError("Deselecting execution plan")
        self.stage = "built"
        if index not in self.built:
            self.selected = index
        self.built.add(index)
        return self

    def get_behavior_notes_for_plan_at_index(self, index: int) -> list[str]:
        return ["RUNTIME_COMPILATION"] if index in self.package.compiled else []

    def get_workspace_size(self) -> int:
        return self.get_workspace_size_plan_at_index(self.selected)

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return int(self.package.plans[index][1])

    def execute(self, pack: dict[Tensor, int], workspace: int, handle: Any) -> None:
        self.execute_plan_at_index(pack, workspace, self.selected, handle)

    def execute_plan_at_index(self, pack: dict[Tensor, int], workspace: int, index: int, handle: Any) -> None:
        assert index in self.built
        assert handle is self.package.handle
        if self.package.fails or index in self.package.failing:
            raise RuntimeError("cudnnBackendExecute failed")
        cost, size = self.package.plans[index]
        _memory(workspace, size)
        images = [inputs["x"] for _, inputs, _, _ in self.nodes if "x" in inputs]
        slow = sum(self.package.slow_channels(tensor.dim[1]) for tensor in images if tensor.dim is not None)
        standin.counts[timing.PLANS] += cost + slow
        if not timing.is_timing:
            self.index = index
            if self not in self.package.built:
                self.package.built.append(self)
        arrays = {tensor: _array(tensor, address) for tensor, address in pack.items()}
        standin.counts["frontend"] += 1
        standin.run(lambda: self._compute(arrays, self.package.wrong.get(index)))

    def _compute(self, arrays: dict[Tensor, Any], wrong: Callable[[Any], Any] | None) -> None:
        real = DTYPES[self.compute]
        values = {tensor: wide(array, real) for tensor, array in arrays.items()}
        (kind, inputs, out, settings), *rest = self.nodes
        wanted = {"fprop": "y", "dgrad": "x", "wgrad": "w"}[kind]
        final = rest[-1][2] if rest else out
        operands = {name: values[tensor] for name, tensor in inputs.items()}
        operands[wanted] = np.zeros(final.dim or (), real)
        groups = operands["x"].shape[1] // operands["w"].shape[1]
        _convolve(wanted, operands, {"pad": settings["pre_padding"], **settings, "groups": groups})
        result = operands[wanted]
        for kind, others, _, _ in rest:
            result = result + values[others["bias"]] if kind == "bias" else np.maximum(result, 0)
        put(arrays[final], result if wrong is None else wrong(result))


def _array(tensor: Tensor, address: int) -> Any:
    dtype = np.dtype(DTYPES[tensor.data_type])
    assert tensor.dim is not None
    size = math.prod(tensor.dim) * dtype.itemsize
    flat = np.frombuffer(_memory(address, size), dtype)
    return np.lib.stride_tricks.as_strided(flat, tensor.dim, [s * dtype.itemsize for s in tensor.stride or ()])


def _strides(shape: Sequence[int], order: Sequence[int]) -> list[int]:
    """Those of a dense array, in elements, whose axes lie in memory in this order."""
    result, step = [0] * len(shape), 1
    for axis in reversed(order):
        result[axis], step = step, step * shape[axis]
    return result


def _memory(start: int, size: int) -> Any:
    if owner_at(start, start + size) is None:
        raise MemoryError("cuDNN: not inside an array")
    return (ctypes.c_char * size).from_address(start)


class Package(types.SimpleNamespace):
    """What `import cudnn` gives.

    refused: kinds of nodes without a plan. fails: nothing that was planned runs. plans: those of each graph. failing:
    those of them that do not run. wrong: for plans with wrong results, what they make of right ones. compiled: those of
    them that are compiled when they are built. built: the graphs that a net has run.
    """

    def __init__(self, refused: Sequence[str] = (), fails: bool = False) -> None:
        super().__init__()
        self.refused, self.fails = set(refused), fails
        self.plans: Sequence[tuple[int, int]] = PLANS
        self.failing: set[int] = set()
        self.wrong: dict[int, Callable[[Any], Any]] = {}
        self.compiled: set[int] = set()
        self.slow_channels: Callable[[int], int] = lambda number: 0  # the further cost of so many channels of images
        self.behavior_note = types.SimpleNamespace(RUNTIME_COMPILATION="RUNTIME_COMPILATION")
        self.built: list[Graph] = []
        self.handle = object()
        self.handles = 0
        self.data_type = types.SimpleNamespace(**{name: name for name in DTYPES})
        self.heur_mode = types.SimpleNamespace(A="A", FALLBACK="FALLBACK")
        self.numerical_note = types.SimpleNamespace(**{name: name for name in NOTES})

    def create_handle(self) -> Any:
        self.handles += 1
        return self.handle

    def set_stream(self, *, handle: Any, stream: int) -> None:
        assert handle is self.handle
        assert stream

    def pygraph(self, **settings: Any) -> Graph:
        return Graph(self, **settings)
