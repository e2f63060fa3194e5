"""Old import names: `import caffe` for this package, and `dragon.io` and others for modules of `dragon.pycaffe`.

An old name gives the module itself, not a second copy: `caffe.io`, `dragon.io` and
`dragon.pycaffe.io` are one object. What this package does not have is looked for in folders `caffe` of `sys.path`:
forks add modules of their own to pycaffe, such as SSD's `caffe.model_libs` and DetectNet's `caffe.layers.detectnet`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["MODULES", "install", "install_as_caffe", "install_modules", "load_ipython_extension"]

# the modules that are directly under `caffe` in pycaffe
MODULES = ("_caffe", "classifier", "coord_map", "detector", "draw", "io", "net_spec", "params")
_CAFFE, _OWN = "caffe", "dragon"


if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    Loader = object  # importlib.abc loads the modules of temporary files and archives


class _Alias(Loader):
    """A finder and loader of names under one root, `caffe` or `dragon`."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = self._own(fullname)
        found = _find(own) if own not in (None, fullname) else None
        if found is None:
            return _fork_spec(fullname) if self.root == _CAFFE else None
        return ModuleSpec(fullname, self, is_package=found.submodule_search_locations is not None)

    def _own(self, fullname: str) -> str | None:
        """The real name of the module with an old name; None for a name outside `root`."""
        root, _, rest = fullname.partition(".")
        if root != self.root:
            return None
        first = rest.partition(".")[0]
        return ".".join(filter(None, (_OWN, "pycaffe" if first in MODULES else "", rest)))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._own(spec.name) or spec.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # the import system has set the alias's spec; put the module's own back
        alias = module.__spec__
        if alias is not None and alias.loader is self:
            module.__spec__ = alias.loader_state


def _find(name: str) -> ModuleSpec | None:
    """The spec of a module of this package; None if there is none."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:  # the package that it would be in
        if error.name is not None and name.startswith(f"{error.name}."):
            return None
        raise


def _fork_spec(fullname: str) -> ModuleSpec | None:
    """The spec of `caffe.NAME` from a folder `caffe` of sys.path; None for other names, and where none has it.

    Also of `caffe.layers.NAME` from `caffe/layers`, and of modules in other packages that this one has too. Those of
    packages that it does not have are found in the package.
    """
    root, *names = fullname.split(".")
    if root != _CAFFE or not names:
        return None
    return PathFinder.find_spec(fullname, [str(Path(folder or ".", _CAFFE, *names[:-1])) for folder in sys.path])


def _installed(root: str) -> bool:
    return any(isinstance(finder, _Alias) and finder.root == root for finder in sys.meta_path)


def install_modules() -> None:
    """Let `import dragon.io` and others give the modules of `dragon.pycaffe`."""
    if not _installed(_OWN):
        sys.meta_path.append(_Alias(_OWN))  # last: only for names that no file of the package has


def install() -> None:
    """Let `import caffe` give this package from now on, unless another `caffe` has been imported already."""
    if sys.modules.get(_CAFFE) is None and not _installed(_CAFFE):
        sys.meta_path.insert(0, _Alias(_CAFFE))


def install_as_caffe() -> None:
    """Let `import caffe` and its submodules give this package from now on, in notebooks and programs of all kinds.

    Raises UsageError if another `caffe` has been imported already.
    """
    other = sys.modules.get(_CAFFE)
    if other is not None and other is not sys.modules[_OWN]:
        from dragon.errors import UsageError

        where = getattr(other, "__file__", None) or "an unknown place"
        raise UsageError(f"another caffe is imported already, from {where}: call install_as_caffe() before")
    install()


def load_ipython_extension(shell: object) -> None:
    """Call `install_as_caffe`: what `%load_ext dragon` does in a notebook."""
    install_as_caffe()
