"""The layer type Python."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, cast

from dragon.bases.layer import TRAIN, Context, Layer, create, register
from dragon.bases.rcnn_settings import STAND_INS, stand_in
from dragon.bases.user_code import mark_errors, user_code_allowed
from dragon.bases.user_names import KEPT_APART, attributes_for
from dragon.errors import DragonError, EngineError, LayerName, PrototxtError, nearest
from dragon.files import paths
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe import alias

__all__ = ["Python"]


class _OnHost(Layer):
    """Mixin before a class of the user: its code gets NumPy arrays on every engine."""

    runs_user_code = True
    host_only = "is written for NumPy"
    _users: Mapping[str, Any] = {}  # what the user's code keeps under names of `KEPT_APART`, while it does not run
    _of_class: frozenset[str] = frozenset()  # those of `KEPT_APART` that the user's class has and Layer has not
    _inside = False  # while it runs

    @property
    def param_str_(self) -> str:
        """`param_str`, as layers of Fast R-CNN spell it."""
        return self.param_str

    @property
    def phase(self) -> int:
        """TRAIN or TEST; what the user's code has set it to while that runs."""
        return self._phase

    @phase.setter
    def phase(self, phase: int) -> None:
        if self._inside:
            self._phase = phase
        elif phase != self._phase:
            self._phase = phase
            self.context.space.exchanged()

    @contextmanager
    def _user_code(self) -> Iterator[None]:
        """In the block blobs give host arrays, and exceptions are marked as raised by user code.

        Attributes of the user's with names of Dragon's own are there in the block, and Dragon's own outside of it.
        """
        if self._inside:  # the user's code calls a method that Dragon calls too
            yield
            return
        space, mine = self.context.space, vars(self)
        own = {name: mine[name] for name in KEPT_APART if name in mine}
        view, space.view = space.view, None
        for name in self._of_class:
            mine.pop(name, None)
        mine.update(self._users)
        self._inside = True
        try:
            with mark_errors(LayerName(own["name"], "Python")):
                yield
        finally:
            self._inside = False
            self._users = {n: mine.pop(n) for n in KEPT_APART if n in mine and mine[n] is not own.get(n, self)}
            mine.update(own)
            space.view = view

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self._user_code():
            super().setup(bottom, top)
        for method in ("reshape", "forward"):  # after setup, whose own error comes first, as in Caffe
            self._check_has(method)

    def _check_has(self, method: str) -> None:
        if _lacks(type(self), method):
            p = self.param.python_param
            self.bad_param(f"class {p.layer} of module {p.module} has no method {method}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self._user_code():
            super().reshape(bottom, top)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self._user_code():
            super().forward(bottom, top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self._check_has("backward")
        with self._user_code():
            super().backward(top, propagate_down, bottom)


@register()
class Python(_OnHost):
    """A layer that the user wrote, `python_param { module: "m" layer: "C" }`.

    The class derives from dragon.Layer and has setup, reshape, forward and backward; `self.param_str` is its setting.
    The module is looked for as usual, then in the working directory, then in the folder of the prototxt. It runs with
    the rights of the process, so a net has to be allowed to use one. The layers of py-faster-rcnn are Dragon's own
    where their modules are not found (`dragon.bases.rcnn_settings`). No object has this class: making one gives an
    instance of the user's class. Raises EngineError where user code is not allowed, PrototxtError for a module or
    class that cannot be used.
    """

    type = "Python"
    settings = ("python_param",)

    def __new__(cls, param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> Any:
        context = context or Context()
        who = LayerName(param.name, "Python")
        p = param.python_param
        if (p.module, p.layer) in STAND_INS and not _is_there(p.module, context):
            return _stand_in(param, phase, context, who)
        if not (user_code_allowed() if context.allow_python is None else context.allow_python):
            raise EngineError(
                f"would run the Python code of module {param.python_param.module}; pass --allow-python if you trust it",
                layer=who,
            )
        user = _user_class(param.python_param, context, who)
        try:
            own = attributes_for(user)
        except PrototxtError as error:
            error.at(who)
            raise
        made = type(user.__name__, (_OnHost, user), {**own, "__module__": user.__module__})
        with mark_errors(who):
            return _made(made, param, phase, context)


def _made(made: type[_OnHost], param: pb.LayerParameter, phase: int, context: Context) -> Layer:
    """An instance of the user's class; an `__init__` of its own gets the definition alone, as in pycaffe.

    Raises PrototxtError for one that takes other arguments.
    """
    signature = inspect.signature(made)
    if {"phase", "context"} <= set(signature.parameters):  # Layer's own, or one of its form
        return made(param, phase, context)
    try:
        signature.bind(param)
    except TypeError as error:
        p = param.python_param
        raise PrototxtError(
            f"class {p.layer} of module {p.module} has an __init__ of its own: {error}; it is called with the layer's "
            "definition alone",
            layer=LayerName(param.name, "Python"),
        ) from None
    layer = made.__new__(made)
    Layer.__init__(layer, param, phase, context)
    with layer._user_code():
        cast("Any", layer).__init__(param)
    return layer


def _user_class(p: pb.PythonParameter, context: Context, who: LayerName) -> type[Layer]:
    if not p.module or not p.layer:
        raise PrototxtError("needs python_param { module: ... layer: ... }", layer=who)
    module = _load(p.module, context, who)
    found = getattr(module, p.layer, None)
    classes = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, Layer)]
    if found is None:
        raise PrototxtError(f"module {p.module} has no class {p.layer}{nearest(p.layer, classes)}", layer=who)
    if not (isinstance(found, type) and issubclass(found, Layer)):
        raise PrototxtError(f"{p.module}.{p.layer} is not a class that derives from dragon.Layer", layer=who)
    return found


def _lacks(cls: type[Layer], method: str) -> bool:
    """Whether a class inherits a method from Layer, where it only raises NotImplementedError."""
    owners = [base for base in cls.__mro__ if method in vars(base) and base is not _OnHost]
    return owners[0] is Layer


def _folders(context: Context) -> list[str]:
    """Where modules are looked for besides sys.path."""
    return list(dict.fromkeys([str(Path.cwd()), *([str(context.folder.absolute())] if context.folder else [])]))


def _is_there(name: str, context: Context) -> bool:
    """Whether a module is found; none of its code runs."""
    if name in sys.modules:
        return True
    places: Sequence[str] | None = [*sys.path, *_folders(context)]
    parts = name.split(".")
    for i in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), places)
        if spec is None:
            return False
        places = spec.submodule_search_locations or []
    return True


def _stand_in(param: pb.LayerParameter, phase: int, context: Context, who: LayerName) -> Layer:
    """Dragon's layer in place of a Python layer of py-faster-rcnn."""

    def find(path: str) -> str:
        found = paths.find(path, context.folder)
        if found is None:
            raise PrototxtError(f'settings "{path}" do not exist{paths.missing_hint(path, context.folder)}')
        return str(found)

    try:
        return create(stand_in(param, phase, context.folder, find), phase, context)
    except DragonError as error:
        error.at(who)
        raise


def _load(name: str, context: Context, who: LayerName) -> Any:
    folders = _folders(context)
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    alias.install()  # such modules say `import caffe`
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PrototxtError(
            f"cannot import module {name}: {error} (looked on PYTHONPATH and in {', '.join(folders)})",
            layer=who,
        ) from error
    except DragonError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"  # it says so itself
        raise PrototxtError(
            f"importing module {name} failed: {type(error).__name__}: {error}{where}",
            layer=who,
        ) from error
    finally:
        for folder in added:
            sys.path.remove(folder)
