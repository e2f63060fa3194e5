"""Prepared operations: attributes and post-ops, a primitive with its layouts, and a call ready to run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from ctypes import byref, c_char_p, c_int, c_void_p
from dataclasses import dataclass
from functools import partial
from typing import Any

from dragon.engines.onednn.library.binding import CArray, ExecArg, check, library
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Query
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device, Owner
from dragon.engines.onednn.library.memory import Memory
from dragon.errors import EngineError

__all__ = [
    "Attributes",
    "BinaryPost",
    "Call",
    "EltwisePost",
    "PostOp",
    "Primitive",
    "SumPost",
    "binary_operands",
    "handles",
]

USER_SCRATCHPAD = 1


@dataclass(frozen=True)
class EltwisePost:
    """Apply an element-wise function to the result: ``EltwisePost(Alg.eltwise_relu)``."""

    alg: Alg
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class SumPost:
    """Add ``scale`` times what the destination held before (a residual sum in place)."""

    scale: float = 1.0


@dataclass(frozen=True)
class BinaryPost:
    """Combine the result with a tensor, broadcast along dimensions of 1; argument ``Arg.post_op(i)``."""

    alg: Alg
    operand: MemoryDesc


PostOp = EltwisePost | SumPost | BinaryPost


class Attributes:
    """Attributes of one primitive: scratchpad from the user, post-ops, arguments scaled when it runs.

    runtime_scales: for each argument that a float32 memory scales, the axes that its scales belong to, bit k for axis
    k; 0 for one scale of the whole tensor. A source or weights are multiplied by theirs, a destination is divided.
    """

    def __init__(self, post_ops: Sequence[PostOp] = (), runtime_scales: Mapping[int, int] | None = None) -> None:
        self.post_ops = tuple(post_ops)
        self.runtime_scales = dict(runtime_scales or {})

    @property
    def key(self) -> Hashable:
        """Equal for equal attributes."""
        return self.post_ops, tuple(self.runtime_scales.items())

    def made(self) -> Owner:
        """The attributes for the library."""
        lib = library()
        handle = c_void_p()
        check(lib.primitive_attr_create(byref(handle)), "attributes")
        attributes = Owner(handle, lib.primitive_attr_destroy)
        check(lib.primitive_attr_set_scratchpad_mode(attributes, USER_SCRATCHPAD), "scratchpad mode")
        for arg, axes in self.runtime_scales.items():
            check(lib.primitive_attr_set_scales_mask(attributes, arg, axes), "runtime scale")
        if not self.post_ops:
            return attributes
        chain = c_void_p()
        check(lib.post_ops_create(byref(chain)), "post-ops")
        try:
            for post in self.post_ops:
                status = self._append(chain, post)
                if status:
                    check(status, f"post-op {post}")
            check(lib.primitive_attr_set_post_ops(attributes, chain), "post-ops")
        finally:
            lib.post_ops_destroy(chain)
        return attributes

    @staticmethod
    def _append(chain: c_void_p, post: PostOp) -> int:
        lib = library()
        match post:
            case EltwisePost(alg, alpha, beta):
                return int(lib.post_ops_append_eltwise(chain, alg, alpha, beta))
            case SumPost(scale):
                return int(lib.post_ops_append_sum(chain, scale, 0, DataType.undef))
            case BinaryPost(alg, operand):
                return int(lib.post_ops_append_binary(chain, alg, operand))


class _Compiled(Owner):
    """What the library makes of an operation. Primitives of one device that do the same share it: it has no state."""

    def __init__(
        self,
        device: Device,
        create: str,
        arguments: Sequence[Any],
        inputs: Sequence[int],
        outputs: Sequence[int],
        attributes: Attributes,
        prefix: Sequence[Any] | None,
        layer: str,
    ) -> None:
        lib = library()
        self.operation = create.removesuffix("_primitive_desc_create").replace("_", " ")
        desc, handle = c_void_p(), c_void_p()
        head = [device.engine] if prefix is None else prefix
        status = getattr(lib, create)(byref(desc), *head, *arguments, attributes.made())
        check(status, self.operation, layer)
        self.desc = Owner(desc, lib.primitive_desc_destroy)
        check(lib.primitive_create(byref(handle), desc), self.operation, layer)
        super().__init__(handle, lib.primitive_destroy)
        self.inputs = self._descs(inputs)
        self.outputs = self._descs(outputs)
        self.scratchpad_desc = self._desc(Query.scratchpad_md)

    def _descs(self, args: Iterable[int]) -> dict[int, MemoryDesc]:
        found = {}
        for arg in args:
            what, index = (Query.workspace_md, 0) if arg == Arg.WORKSPACE else (Query.exec_arg_md, arg)
            desc = self._desc(what, index)
            if desc is None and arg != Arg.WORKSPACE:  # a kernel without a workspace has no descriptor of one
                raise EngineError(f"oneDNN {self.operation} has no argument {arg}")
            if desc is not None:
                found[arg] = desc
        return found

    def _desc(self, what: Query, index: int = 0) -> MemoryDesc | None:
        return MemoryDesc.part_of(self.desc, library().primitive_desc_query_md(self.desc, what, index))


class Primitive:
    """One operation compiled for fixed shapes and layouts.

    ``inputs`` and ``outputs`` have the descriptor of each execution argument. A workspace appears under Arg.WORKSPACE,
    among the outputs of forward and the inputs of backward.
    ``scratchpad`` is the number of bytes it needs while it runs.

    ``create`` names the descriptor function without prefix; ``arguments`` are those between the engine and
    the attributes. Raises UnimplementedError where the library has no implementation.
    """

    def __init__(
        self,
        device: Device,
        create: str,
        arguments: Sequence[Any],
        inputs: Iterable[int],
        outputs: Iterable[int],
        *,
        attributes: Attributes | None = None,
        prefix: Sequence[Any] | None = None,
        layer: str = "",
    ) -> None:
        attributes = attributes or Attributes()
        made_of = create, tuple(arguments), tuple(inputs), tuple(outputs)
        key = made_of, attributes.key
        compiled: _Compiled | None = device.compiled.get(key)
        if compiled is None:
            compiled = device.compiled[key] = _Compiled(device, *made_of, attributes, prefix, layer)
        self.device, self.layer = device, layer
        self.operation, self.desc = compiled.operation, compiled.desc
        self.inputs, self.outputs = compiled.inputs, compiled.outputs
        self.scratchpad_desc = compiled.scratchpad_desc
        self.scratchpad = self.scratchpad_desc.size if self.scratchpad_desc else 0
        self.post_ops = attributes.post_ops
        self._made_of, self._prefix, self._runtime_scales = made_of, prefix, attributes.runtime_scales
        self._compiled = compiled  # alive
        self._as_parameter_ = compiled._as_parameter_

    def __getitem__(self, arg: int) -> MemoryDesc:
        """The descriptor of an execution argument."""
        return self.inputs[arg] if arg in self.inputs else self.outputs[arg]

    def with_post_ops(self, post_ops: Sequence[PostOp]) -> Primitive:
        """The same operation with other post-ops."""
        attributes = Attributes(post_ops, self._runtime_scales)
        return Primitive(self.device, *self._made_of, attributes=attributes, prefix=self._prefix, layer=self.layer)

    @property
    def implementation(self) -> str:
        """The library's name of the kernel chosen, such as ``jit:avx512_core``."""
        text = c_char_p()
        check(library().primitive_desc_query(self.desc, Query.impl_info_str, 0, byref(text)), "query")
        return (text.value or b"").decode()

    @property
    def is_reference(self) -> bool:
        """Whether the kernel chosen is the library's reference, which computes value by value."""
        return self.implementation.startswith("ref")


class Call:
    """A primitive with its memories, prepared: calling it runs the operation and allocates nothing.

    ``memories`` must name every input and output (EngineError otherwise, or when a layout differs) and the
    runtime scales; others are ignored, so the memories of a layer's forward can be given to its backward.
    Calls that never run at the same time may share a ``scratchpad``.
    """

    __slots__ = ("_arguments", "_run", "memories", "primitive")

    def __init__(self, primitive: Primitive, memories: Mapping[int, Memory], scratchpad: Memory | None = None) -> None:
        where = f"layer {primitive.layer}: " if primitive.layer else ""
        wanted = primitive.inputs | primitive.outputs
        for arg, desc in wanted.items():
            if arg not in memories:
                raise EngineError(f"{where}oneDNN {primitive.operation}: no memory for argument {arg}")
            if memories[arg].desc != desc:
                message = f"argument {arg} expects {desc}, got {memories[arg].desc}"
                raise EngineError(f"{where}oneDNN {primitive.operation}: {message}")
        self.memories = {arg: memory for arg, memory in memories.items() if arg in wanted or arg & Arg.ATTR_SCALES}
        if primitive.scratchpad_desc is not None:
            if scratchpad is None:
                pad = Memory(primitive.device, primitive.scratchpad_desc)
            else:
                pad = scratchpad.view(primitive.scratchpad_desc)
            self.memories[Arg.SCRATCHPAD] = pad
        self.primitive = primitive
        self._arguments = (ExecArg * len(self.memories))(
            *(ExecArg(arg, memory._as_parameter_) for arg, memory in self.memories.items())
        )
        self._run = partial(
            library().primitive_execute,
            c_void_p(primitive._as_parameter_),
            primitive.device.stream,
            c_int(len(self.memories)),
            ctypes.cast(self._arguments, ctypes.POINTER(ExecArg)),
        )

    @property
    def execute(self) -> Callable[[], int]:
        """The bare call of the library: returns its status."""
        return self._run

    def __call__(self) -> None:
        status = self._run()
        if status:
            check(status, self.primitive.operation, self.primitive.layer)


def handles(descs: Sequence[MemoryDesc]) -> CArray:
    """A C array of descriptors, for operations with any number of sources."""
    array = (c_void_p * len(descs))(*(desc._as_parameter_ for desc in descs))
    return CArray(tuple(descs), ctypes.cast(array, ctypes.POINTER(c_void_p)))


def binary_operands(post_ops: Sequence[PostOp]) -> list[int]:
    """The execution arguments that the binary post-ops of a chain add."""
    return [Arg.post_op(i) for i, post in enumerate(post_ops) if isinstance(post, BinaryPost)]
