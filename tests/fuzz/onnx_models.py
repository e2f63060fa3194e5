"""The kind of ONNX models: one node each, from the tests of the operators."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dragon.bases.layer import TEST
from dragon.importing.convert import import_onnx
from dragon.surgery.prove import build_net
from tests.fuzz.kinds import Example, kind, quiet, survives
from tests.fuzz.messages import damage_message
from tests.fuzz.mutate import damage

_MOST = 1 << 20  # values of a net that is run


def models() -> list[bytes]:
    """The model of every case."""
    package = importlib.import_module("tests.importing.operators")
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    return [one.model().SerializeToString() for module in modules for one in getattr(module, "CASES", ())]


@kind
def onnx_model(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """ONNX models: imported with Dragon's layers or BVLC's, built and run."""
    import onnx

    quiet()
    good = models()
    path = folder / "model.onnx"

    def example(chance: random.Random) -> bytes:
        content = chance.choice(good)
        if chance.random() < 0.7:
            return damage_message(content, onnx.ModelProto, chance, chance.choice(good))
        return damage(content, chance)

    def read(content: bytes) -> None:
        path.write_bytes(content)

        def use() -> None:
            imported = import_onnx(path, bvlc=bool(content and content[-1] % 2))
            shapes = imported.graph.shapes.values()
            if sum(int(np.prod([float(n) for n in shape])) for shape in shapes) < _MOST:
                net = build_net(imported.model, TEST, None)
                if sum(blob.count for blob in net.blobs.values()) < _MOST:
                    with np.errstate(all="ignore"):
                        net.run_forward()
                net.close()

        survives(use)

    return example, read
