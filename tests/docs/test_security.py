"""docs/security.md: each sentence of its lists names the tests that hold it; some of them are here."""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.checksum import stored_checksum
from dragon.proto.text import parse_text
from tests.helpers import toy_solver
from tests.imports import files

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ITEMS = [line for line in PAGE.splitlines() if line.startswith("- ")]
LOADERS = {  # and how they have to be called
    **dict.fromkeys(("np.load", "numpy.load"), "allow_pickle=False"),
    "torch.load": "weights_only=True",
    "yaml.compose": "SafeLoader",
}
_STARTS = re.compile(r"os\.(fork|exec|spawn|posix_spawn|startfile)")
_ITEM = re.compile(r"- (.+\.) <!-- (\S+(?:, \S+)*) -->")


def test_every_item_is_one_sentence_with_a_test() -> None:
    for item in ITEMS:
        found = _ITEM.fullmatch(item)
        assert found, item
        assert not re.search(r"[.!?] [A-Z]", found[1]), f"several sentences: {item}"


@pytest.mark.parametrize("name", sorted({name for item in ITEMS for name in item[:-4].split("<!-- ")[-1].split(", ")}))
def test_the_test_is_there(name: str) -> None:
    path, _, function = name.strip().partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_other_paragraphs_are_few() -> None:
    """What stands outside of the lists is the introduction and what is not promised."""
    plain = [p for p in PAGE.split("\n\n") if not p.startswith(("#", "- "))]
    assert len(plain) == 2
    assert plain[1].startswith("There is no bound on time")


@dataclass(frozen=True)
class Module:
    """What a module imports, as dotted names, and what it calls: a name, dotted or not, and the text for LOADERS."""

    imports: frozenset[str]
    calls: tuple[tuple[str, str], ...]


@cache
def _modules() -> dict[str, Module]:
    """The modules of the package, each parsed once; the syntax itself is let go, since it is large."""
    found = {}
    for module, path in files().items():
        imports, calls = set[str](), []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imports.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imports.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
            elif isinstance(node, ast.Call) and (name := _dotted(node.func)):
                calls.append((name, ast.unparse(node) if name in LOADERS else ""))
        found[module] = Module(frozenset(imports), tuple(calls))
    return found


def _calls() -> Iterator[tuple[str, str, str]]:
    """Each call in the package: the module, the name that is called, the text for LOADERS."""
    return ((module, *call) for module, one in _modules().items() for call in one.calls)


def _dotted(node: ast.expr) -> str:
    """The dotted name that an expression is; "" for others."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else ""


def _importers(*names: str) -> set[str]:
    """Modules of the package that import one of these, or a part of it."""
    return {
        module
        for module, one in _modules().items()
        if any(f"{source}.".startswith(f"{name}.") for source in one.imports for name in names)
    }


def test_nothing_is_unpickled_or_evaluated() -> None:
    assert not _importers("pickle", "marshal", "shelve", "dill", "joblib")
    assert _importers("runpy", "code") == {"dragon.tools.run", "dragon.pycaffe.children"}
    for module, called, text in _calls():
        assert called not in ("eval", "exec", "__import__", "os.system", "os.popen", "yaml.load"), module
        assert LOADERS.get(called, "") in text, module


def test_who_starts_programs() -> None:
    starters = {"dragon.compare.process", "dragon.pycaffe.draw", "dragon.data.download"}
    of_ranks = {"dragon.parallel.launcher", "dragon.parallel.mpiexec"}
    assert _importers("subprocess", "pty") == starters | of_ranks
    assert _importers("dragon.parallel.launcher", "dragon.parallel.mpiexec") <= {
        "dragon.tools.common.launch",
        *of_ranks,
    }
    assert _importers("dragon.tools.common.launch") == {"dragon.tools.train", "dragon.tools.test"}
    assert {module for module, called, _ in _calls() if _STARTS.match(called)} == {
        "dragon.parallel.watcher"
    }  # which runs the command of a rank
    children = {"dragon.pycaffe.children"}  # those of a script under `dragon run`
    assert _importers("multiprocessing") == {"dragon.compare.executors.dask"} | children  # its resource tracker


def test_who_uses_libraries_that_pickle() -> None:
    assert _importers("mpi4py") == {"dragon.compare.executors.mpi"}
    assert _importers("distributed", "dask") == {"dragon.compare.executors.dask"}
    makers = {"dragon.compare.executors", "dragon.compare.executors.dask", "dragon.compare.executors.mpi"}
    assert _importers("dragon.compare.executors.dask", "dragon.compare.executors.mpi") <= makers


def test_who_uses_the_network() -> None:
    users = _importers("socket", "urllib.request", "http", "ssl", "ftplib", "requests", "asyncio", "xmlrpc")
    assert users == {"dragon.data.download"}
    assert _importers("dragon.data.download") <= {
        "dragon.data.fetch", "dragon.data", "dragon.tools.zoo.download",
        "dragon.tools.zoo.verify",  # for its check of digests
    }  # fmt: skip


def test_a_prototxt_may_name_any_file(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "elsewhere").mkdir()
    with h5py.File(tmp_path / "elsewhere" / "x.h5", "w") as file:
        file["x"] = np.arange(2.0)
    (tmp_path / "elsewhere" / "list").write_text(str(tmp_path / "elsewhere" / "x.h5"))
    path = tmp_path / "nets" / "n.prototxt"
    for source in (tmp_path / "elsewhere" / "list", "../elsewhere/list"):
        path.write_text(f"""layer {{ name: "d" type: "HDF5Data" top: "x"
          hdf5_data_param {{ source: "{source}" batch_size: 2 }} }}""")
        with dragon.Net(str(path), dragon.TEST, engine="numpy") as net:
            assert net.forward()["x"].tolist() == [0, 1]


def test_training_writes_where_the_prefix_says(tmp_path: Path) -> None:
    (tmp_path / "toy_iter_1.caffemodel").write_text("something else")
    with toy_solver(tmp_path) as solver:
        solver.step(1)
        solver.snapshot()
    assert list(iter_layers(tmp_path / "toy_iter_1.caffemodel"))


def test_anybody_can_write_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    text = """layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }"""
    with dragon.Net(parse_text(text, pb.NetParameter()), dragon.TEST, engine="numpy") as net:
        net.params["ip"][0].data[...] = 7
        net.save(path)
    before = stored_checksum(path)
    assert before is not None
    content = path.read_bytes()
    old, new = np.float32(7).tobytes(), np.float32(9).tobytes()
    forged = content.replace(old, new)
    assert forged != content
    left = forged[: forged.rindex(b"dragon crc32 ") - 2]
    forged = forged.replace(b"%08x" % before, b"%08x" % zlib.crc32(left))
    path.write_bytes(forged)
    assert next(blob.array.tolist() for layer in iter_layers(path) for blob in layer.blobs) == [[9, 9]]
