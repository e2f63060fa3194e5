"""`dragon.__all__` is what the package offers: sorted, complete, and every name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dragon

# Public for scripts, but no name of Dragon's own API.
FOR_SCRIPTS = {"_caffe", "caffe_pb2"}


def test_sorted_without_doubles() -> None:
    by_kind = sorted(dragon.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert dragon.__all__ == by_kind
    assert len(set(dragon.__all__)) == len(dragon.__all__)


def test_every_name_can_be_had() -> None:
    assert [name for name in dragon.__all__ if not hasattr(dragon, name)] == []


def test_nothing_else_is_public() -> None:
    """In a fresh process: here other tests have loaded submodules, which Python then sets as attributes."""
    code = (
        "import types, dragon\n"
        "for name in sorted(vars(dragon)):\n"
        "    value = getattr(dragon, name)\n"
        "    own = isinstance(value, types.ModuleType) and value.__name__ == f'dragon.{name}'\n"
        "    if not name.startswith('_') and not own: print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    names = set(done.stdout.split()) - {"annotations", "import_module", "Any", "TYPE_CHECKING"}
    later = {name for names in dragon._LATER.values() for name in names}
    lazy = {*dragon._SUBMODULES, *dragon._ELSEWHERE, *later}
    assert names - FOR_SCRIPTS == set(dragon.__all__) - lazy - {"__version__"}


def test_lazy_names_are_listed() -> None:
    assert {*dragon._SUBMODULES, *dragon._ELSEWHERE} - FOR_SCRIPTS <= set(dragon.__all__)
    assert {name for names in dragon._LATER.values() for name in names} <= set(dragon.__all__)
    assert set(dragon._ELSEWHERE.values()) <= set(dragon._SUBMODULES)


def test_importing_loads_nothing_heavy() -> None:
    heavy = ["matplotlib", "h5py", "lmdb", "PIL", "cupy", "rich", "click", "yaml", "pickletools"]
    heavy += ["dragon.proto.text", "dragon.graph.facts", "dragon.layers.accuracy"]  # until a net is read or shown
    heavy += ["dragon.data", "dragon.solver", "dragon.pycaffe.runtime", "dragon.engines.onednn", "dragon.files.weights"]
    heavy += [
        "importlib.metadata",
        "importlib.abc",
        "http.client",
        "tempfile",
        "subprocess",
        "hashlib",
        "difflib",
        "json",
    ]
    code = f"import sys, dragon; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_that_nobody_imported_are_attributes() -> None:
    names = "dragon.solver.solver.Solver.__name__, dragon.data.Color.__name__, dragon.version.__name__"
    code = f"import dragon; print({names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["Solver", "Color", "dragon.version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dragon' has no attribute 'Nett'"):
        getattr(dragon, "Nett")  # noqa: B009
