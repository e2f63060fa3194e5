"""Run a primitive on float64 arrays: round to its types, reorder into its layouts, run, reorder back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.kernels.combine import reorder
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, Primitive
from dragon.memory.bf16 import from_bf16, to_bf16

Array = NDArray[np.float64]


def rounded(values: Array, dtype: DataType) -> Array:
    """The values that remain in ``dtype``."""
    single = values.astype(np.float32)
    return (from_bf16(to_bf16(single)) if dtype == DataType.bf16 else single).astype(np.float64)


def load(device: Device, desc: MemoryDesc, values: Array, host: MemoryDesc | None = None) -> Memory:
    """A memory of ``desc`` with these values, which lie row-major or as ``host`` says."""
    memory = Memory(device, desc)
    if host is None:
        source = Memory.wrap(device, values.astype(np.float32).reshape(desc.dims))
    else:
        source = Memory(device, host)
        source.buffer.view(np.float32)[: values.size] = values.astype(np.float32).ravel()
    Call(reorder(device, source.desc, desc), {Arg.SRC: source, Arg.DST: memory})()
    return memory


def fetch(memory: Memory, host: MemoryDesc | None = None) -> Array:
    """The values of a memory in its logical shape, or flat in the order of ``host``."""
    target = Memory(memory.device, host or MemoryDesc.plain(memory.desc.dims))
    Call(reorder(memory.device, memory.desc, target.desc), {Arg.SRC: memory, Arg.DST: target})()
    if host is not None:
        return target.buffer.view(np.float32).astype(np.float64)
    return target.numpy().astype(np.float64)


def run(
    primitive: Primitive,
    values: Mapping[int, Array | Memory],
    extra: Mapping[int, Memory] | None = None,
) -> dict[int, Memory]:
    """Run once; every argument's memory, inputs loaded from ``values``; outputs hold rubbish beforehand.

    ``extra`` gives memories that are passed as they are, such as a destination that a sum post-op reads.
    """
    device = primitive.device
    memories: dict[int, Memory] = dict(extra or {})
    for arg, desc in primitive.inputs.items():
        value = values[arg]
        memories[arg] = value if isinstance(value, Memory) else load(device, desc, value)
    for arg, desc in primitive.outputs.items():
        if arg not in memories:
            memories[arg] = rubbish(device, desc)
    Call(primitive, memories)()
    return memories


def rubbish(device: Device, desc: MemoryDesc) -> Memory:
    """A memory whose values a primitive must overwrite."""
    memory = Memory(device, desc)
    if desc.dtype in (DataType.f32, DataType.bf16):
        memory = load(device, desc, np.full(desc.dims, 777.0))
    return memory


def close(actual: Array, expected: Array, dtype: DataType = DataType.f32, scale: float = 1.0) -> None:
    """float32 within a few roundings, bf16 within its 8 bits of mantissa, relative to the largest value."""
    tolerance = (2e-2 if dtype == DataType.bf16 else 3e-6) * scale
    largest: Any = max(1e-3, np.abs(expected).max())
    np.testing.assert_allclose(actual / largest, expected / largest, rtol=0, atol=tolerance)
