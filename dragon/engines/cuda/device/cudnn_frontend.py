"""Convolutions by NVIDIA's `nvidia-cudnn-frontend` (imported as `cudnn`), where it is installed (extra `cudnn`).

Each product is a graph of cuDNN, built when its geometry is first used, then executed on the engine's stream. Of the
plans that cuDNN's heuristics name, the first ones are timed and the fastest is kept. Only deterministic plans are used.
"""

from __future__ import annotations

import importlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.cudnn import MOST_WORKSPACE, Geometry
from dragon.engines.cuda.device.precision import BFLOAT16, FLOAT16, arithmetic, is_16_bit
from dragon.engines.cuda.device.timing import Operand
from dragon.errors import first_line

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Frontend", "forward_product", "load_package", "open_frontend", "strides"]

log = logging.getLogger("dragon")
MOST_PLANS = 8  # that are timed
MOST_TRIED = 40  # plans of cuDNN's list that are tried for them
MOST_SECONDS = 0.3  # for building them
TYPES = {"float32": "FLOAT", "float64": "DOUBLE", FLOAT16.name: "HALF", BFLOAT16.name: "BFLOAT16"}


@dataclass
class Product:
    """A built graph. tensors: in the order of the arrays of a run, the result last. workspace: bytes.

    plan: its position in cuDNN's list; None: the one that cuDNN has selected.
    """

    graph: Any
    tensors: list[Any]
    workspace: int
    plan: int | None = None
    proven: bool = False  # whether it has run without an error


def load_package() -> Any:
    """The package, or None when it is not installed or does not load."""
    try:
        return importlib.import_module("cudnn")
    except (ImportError, OSError) as error:
        log.debug("cuDNN's frontend is not used: %s", error)
        return None


def open_frontend(gpu: Gpu) -> Frontend | None:
    """The frontend on one GPU; None where it is not installed or finds no cuDNN."""
    package = load_package()
    if package is None:
        return None
    try:
        return Frontend(gpu, package)
    except Exception as error:  # of any kind, as the package raises
        log.warning("cuDNN's frontend is not used: %s", first_line(error))
        return None


def forward_product(bias: bool, relu: bool) -> str:
    """The name of the forward product with these post-operations."""
    return "forward" + "_bias" * bias + "_relu" * relu


class Frontend:
    """The three products of a convolution, and the forward one with its bias and a ReLU."""

    accumulates = False  # a gradient is written, not added
    fuses = True

    def __init__(self, gpu: Gpu, package: Any) -> None:
        self._gpu, self._cudnn = gpu, package
        self._handle = package.create_handle()
        package.set_stream(handle=self._handle, stream=gpu.stream.ptr)
        self._products: dict[tuple[str, Geometry, bool], Product | None] = {}  # the last: whether plans were timed

    def serves(self, product: str, g: Geometry) -> bool:
        """Whether there is a plan for a product: forward (with _bias, with _relu), data or weight."""
        key = product, g, self._gpu.timed_plans
        if key not in self._products:
            try:
                self._products[key] = self._build(product, g)
            except Exception as error:  # the kinds differ between the package's releases
                log.debug("cuDNN's frontend does not take %s of %s: %s", product, g, first_line(error))
                self._products[key] = None
        return self._products[key] is not None

    # -- graphs -------------------------------------------------------------------------------------------------
    def _build(self, product: str, g: Geometry) -> Product:
        graph, tensors = self.describe(product, g)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([self._cudnn.heur_mode.A, self._cudnn.heur_mode.FALLBACK])
        graph.deselect_numeric_notes(self._barred(g))
        graph.deselect_workspace_greater_than(MOST_WORKSPACE)
        graph.check_support()
        chosen = self._gpu.fastest(
            ("cuDNN's plan", product, g), _operands(product, g), lambda: self._plans(graph, tensors),
            Check(f"{product} of {g}", called="plan {} of cuDNN's frontend"),
        )  # fmt: skip
        if chosen is None:
            graph.build_plans()
            return Product(graph, tensors, int(graph.get_workspace_size()))
        plan = int(chosen)
        graph.build_plan_at_index(plan)
        # It is always run by its position: building a plan again does not select it in all releases of the package.
        return Product(graph, tensors, int(graph.get_workspace_size_plan_at_index(plan)), plan)

    def _plans(self, graph: Any, tensors: Sequence[Any]) -> Iterator[Way]:
        """The first plans that can be built, named by their positions in cuDNN's list.

        A plan whose kernel is compiled when it is built, which may take a second, is left out unless it is the first.
        """
        built, end = 0, time.monotonic() + MOST_SECONDS
        for index in range(min(MOST_TRIED, graph.get_execution_plan_count())):
            try:
                if built and self._is_compiled_now(graph, index):
                    continue
                graph.build_plan_at_index(index)
                size = int(graph.get_workspace_size_plan_at_index(index))
            except Exception as error:  # barred, or not supported; the kinds differ between the package's releases
                log.debug("plan %d is not used: %s", index, first_line(error))
                continue
            if size > MOST_WORKSPACE:
                continue

            def run(*arrays: Any, index: int = index, size: int = size) -> None:
                pack, workspace = _pack(tensors, arrays), self._workspace(size)
                graph.execute_plan_at_index(pack, workspace, index, handle=self._handle)

            yield str(index), run
            built += 1
            if built == MOST_PLANS or time.monotonic() > end:
                return

    def _is_compiled_now(self, graph: Any, index: int) -> bool:
        notes = graph.get_behavior_notes_for_plan_at_index(index)
        return self._cudnn.behavior_note.RUNTIME_COMPILATION in notes

    def _workspace(self, size: int) -> int:
        return int(self._gpu.workspace(max(1, -(-size // 8)), np.float64).data.ptr)

    def describe(self, product: str, g: Geometry) -> tuple[Any, list[Any]]:
        """The graph of a product, and its tensors, the result last."""
        cudnn = self._cudnn
        kind = getattr(cudnn.data_type, TYPES[g.dtype])
        computed = cudnn.data_type.DOUBLE if g.dtype == "float64" else cudnn.data_type.FLOAT
        graph = cudnn.pygraph(
            name=product, io_data_type=kind, intermediate_data_type=computed, compute_data_type=computed,
            handle=self._handle,
        )  # fmt: skip
        settings = {
            "pre_padding": list(g.pad), "post_padding": list(g.pad), "stride": list(g.stride),
            "dilation": list(g.dilation), "compute_data_type": computed,
        }  # fmt: skip

        def tensor(name: str, shape: Sequence[int], of: Any = kind) -> Any:
            return graph.tensor(name=name, dim=list(shape), stride=strides(shape, g.channels_last), data_type=of)

        if product == "weight":
            shape = g.weight
            inputs = [tensor("wide", g.wide), tensor("narrow", g.narrow)]
            out = graph.conv_wgrad(image=inputs[0], loss=inputs[1], name=product, **settings)
        elif product == "data":
            shape = g.wide
            inputs = [tensor("narrow", g.narrow), tensor("weight", g.weight)]
            out = graph.conv_dgrad(loss=inputs[0], filter=inputs[1], name=product, **settings)
        else:
            shape = g.narrow
            inputs = [tensor("wide", g.wide), tensor("weight", g.weight)]
            out = graph.conv_fprop(image=inputs[0], weight=inputs[1], name=product, **settings)
            if "bias" in product:
                inputs.append(tensor("bias", (1, g.narrow[1], 1, 1), computed))  # parameters are never 16-bit
                out = graph.bias(name="bias_added", input=out, bias=inputs[2])
            if "relu" in product:
                out = graph.relu(name="rectified", input=out)
        out.set_output(True).set_data_type(kind).set_dim(list(shape)).set_stride(strides(shape, g.channels_last))
        return graph, [*inputs, out]

    def _barred(self, g: Geometry) -> list[Any]:
        """Notes of plans to refuse: nondeterministic ones, and those that round more than the precision allows."""
        note = self._cudnn.numerical_note
        barred = [note.NONDETERMINISTIC, note.REDUCED_PRECISION_REDUCTION]
        if not is_16_bit(np.dtype(g.dtype)):
            barred.append(note.DOWN_CONVERT_INPUTS)
            if not g.tf32:
                barred.append(note.TENSOR_CORE)  # which takes float32 as TF32
        return barred

    # -- products -----------------------------------------------------------------------------------------------
    def _run(self, product: str, g: Geometry, arrays: Sequence[Any]) -> bool:
        key = product, g, self._gpu.timed_plans
        found = self._products.get(key)
        if found is None:
            return False
        workspace, pack = self._workspace(found.workspace), _pack(found.tensors, arrays)
        if found.proven:
            self._execute(found, pack, workspace)
            return True
        try:
            self._execute(found, pack, workspace)
        except Exception as error:
            log.warning("cuDNN's frontend cannot run what it planned, and is not used for it: %s", first_line(error))
            self._products[key] = None
            return False
        found.proven = True
        return True

    def _execute(self, found: Product, pack: dict[Any, int], workspace: int) -> None:
        if found.plan is None:
            found.graph.execute(pack, workspace, handle=self._handle)
        else:
            found.graph.execute_plan_at_index(pack, workspace, found.plan, handle=self._handle)

    def narrow_from_wide(
        self, g: Geometry, wide: Any, weight: Any, narrow: Any, bias: Any = None, relu: bool = False
    ) -> bool:
        """Compute narrow = convolution of wide + `bias` (K), max(that, 0) if `relu`. False: nothing has changed."""
        product = forward_product(bias is not None, relu)
        return self._run(product, g, (wide, weight, narrow) if bias is None else (wide, weight, bias, narrow))

    def wide_from_narrow(self, g: Geometry, narrow: Any, weight: Any, wide: Any) -> bool:
        """Compute wide = the transposed convolution of narrow. False: nothing has changed."""
        return self._run("data", g, (narrow, weight, wide))

    def weight_gradient(self, g: Geometry, wide: Any, narrow: Any, diff: Any, add: bool) -> bool:
        """Compute diff = the weight's gradient. False: nothing has changed."""
        assert not add
        return self._run("weight", g, (wide, narrow, diff))


def _operands(product: str, g: Geometry) -> list[Operand]:
    """Shapes and types of the arrays of a product, the result last."""
    shapes = {"data": (g.narrow, g.weight, g.wide), "weight": (g.wide, g.narrow, g.weight)}
    found: list[Operand] = [(shape, g.dtype) for shape in shapes.get(product, (g.wide, g.weight, g.narrow))]
    if "bias" in product:
        found.insert(2, ((g.narrow[1],), arithmetic(g.dtype)))
    return found


def _pack(tensors: Sequence[Any], arrays: Sequence[Any]) -> dict[Any, int]:
    """The arrays' addresses by tensor."""
    return {tensor: int(array.data.ptr) for tensor, array in zip(tensors, arrays, strict=True)}


def strides(shape: Sequence[int], channels_last: bool) -> list[int]:
    """Those of a dense array (N, C, H, W), in elements. channels_last: it lies in memory as (N, H, W, C)."""
    if channels_last:
        _, c, h, w = shape
        return [h * w * c, 1, w * c, c]
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]
