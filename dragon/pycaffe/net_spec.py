"""Nets written in Python: ``n = NetSpec(); n.conv = layers.Convolution(n.data, num_output=8); n.to_proto()``.

`layers.TYPE(*bottoms, **settings)` makes a layer and returns its top (a tuple for `ntop` > 1, the layer itself for
`ntop=0`); `params.TYPE.NAME` is a constant of the settings of a type, such as `params.Pooling.MAX`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dragon.bases.registry import layer_types
from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.net_spec.caffe_pb2
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.layer_help import documentation_of, signature_of
from dragon.pycaffe.missing_names import missing_name
from dragon.pycaffe.settings import assign, assign_settings

__all__ = [
    "Function",
    "Layers",
    "NetSpec",
    "Parameters",
    "Top",
    "layer_function",
    "layers",
    "param_name_dict",
    "params",
    "to_proto",
]

_Layers = OrderedDict["Function", pb.LayerParameter]
_Names = dict[Any, str]


assign_proto = assign  # the name in pycaffe


def param_name_dict() -> dict[str, str]:
    """The field of LayerParameter that holds the settings of a type, without `_param`, by the name of its message.

    Such as "inner_product" for InnerProduct; of several fields with one message the oldest.
    """
    fields = pb.LayerParameter.DESCRIPTOR.fields
    found = [(f.message_type.name, f.name) for f in fields if f.name.endswith("_param") and f.message_type is not None]
    return {message.removesuffix("Parameter"): name.removesuffix("_param") for message, name in reversed(found)}


class Top:
    """Output `n` of the layer `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> pb.NetParameter:
        """The net that computes this top, with automatic names."""
        return to_proto(self)

    def _to_proto(self, layers: _Layers, names: _Names, autonames: Counter[str]) -> None:
        self.fn._to_proto(layers, names, autonames)

    def _update(self, params: dict[str, Any]) -> None:
        self.fn._update(params)


class Function:
    """A layer of a net under construction: its type, its bottoms `inputs`, its settings `params`, and its `tops`."""

    def __init__(self, type_name: str, inputs: Iterable[Any], params: dict[str, Any]) -> None:
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = tuple(inputs)
        for i, top in enumerate(self.inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(top)})")
        self.params = dict(params)
        self.given_name: str | None = self.params.pop("name", None)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        if self.in_place and (len(self.inputs) != 1 or self.ntop != 1):
            raise PrototxtError(f"{type_name}: in_place needs one bottom and one top")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _update(self, params: dict[str, Any]) -> None:
        self.params.update(params)

    def _name(self, names: _Names, autonames: Counter[str]) -> str:
        """The layer's name: given, else that of its first named top, else TYPE and a number."""
        if self.given_name:
            return self.given_name
        if self not in names:
            names[self] = self._top_name(self.tops[0], names, autonames) if self.tops else self._auto(names, autonames)
        return names[self]

    def _top_name(self, top: Top, names: _Names, autonames: Counter[str]) -> str:
        if top not in names:
            names[top] = self._auto(names, autonames)
        return names[top]

    def _auto(self, names: _Names, autonames: Counter[str]) -> str:
        taken = set(names.values())
        while True:
            autonames[self.type_name] += 1
            name = f"{self.type_name}{autonames[self.type_name]}"
            if name not in taken:
                return name

    def _to_proto(self, layers: _Layers, names: _Names, autonames: Counter[str]) -> None:
        for fn in self._order(layers):
            layers[fn] = fn._layer(layers, names, autonames)

    def _order(self, done: _Layers) -> list[Function]:
        """The layers that this one needs, itself included, that are not `done`; bottoms first.

        Without recursion, since nets may be deep.
        """
        order: list[Function] = []
        seen: set[Function] = set(done)
        stack: list[tuple[Function, int]] = [(self, 0)] if self not in seen else []
        seen.add(self)
        while stack:
            fn, i = stack.pop()
            if i == len(fn.inputs):
                order.append(fn)
                continue
            stack.append((fn, i + 1))
            below = fn.inputs[i].fn
            if below not in seen:
                seen.add(below)
                stack.append((below, 0))
        return order

    def _layer(self, layers: _Layers, names: _Names, autonames: Counter[str]) -> pb.LayerParameter:
        layer = pb.LayerParameter(type=self.type_name)
        for top in self.inputs:
            layer.bottom.append(layers[top.fn].top[top.n])
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._top_name(top, names, autonames) for top in self.tops)
        layer.name = self._name(names, autonames)
        try:
            assign_settings(layer, self.params)
        except PrototxtError as error:
            error.at(LayerName(layer.name, self.type_name))
            raise
        return layer

    def settings_proto(self) -> pb.LayerParameter:
        """The layer with its type and settings, without bottoms and tops. Raises PrototxtError."""
        layer = pb.LayerParameter(type=self.type_name, name=self.given_name or "")
        assign_settings(layer, self.params)
        return layer


class _NoTopError(AttributeError, KeyError):
    """Attributes raise the one, pycaffe's NetSpec raises the other."""

    __str__ = BaseException.__str__


def _top(tops: Mapping[str, Any], name: str) -> Any:
    if name not in tops:
        raise _NoTopError(f'the NetSpec has no top "{name}"{nearest(name, tops)}')
    return tops[name]


class NetSpec:
    """A net under construction: what is assigned to an attribute or an item gets that name."""

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        return _top(self.__dict__.get("tops", {}), name)

    def __setitem__(self, key: str, value: Any) -> None:
        self.tops[key] = value

    def __getitem__(self, key: str) -> Any:
        return _top(self.tops, key)

    def __delitem__(self, key: str) -> None:
        _top(self.tops, key)
        del self.tops[key]

    def __contains__(self, key: str) -> bool:
        return key in self.tops

    def keys(self) -> list[str]:
        """Names of the tops, in the order in which they were assigned."""
        return list(self.tops)

    def vals(self) -> list[Any]:
        """Tops, in the order in which they were assigned."""
        return list(self.tops.values())

    def update(self, name: str, params: dict[str, Any]) -> None:
        """Change settings of the layer that makes the top `name`."""
        _top(self.tops, name)._update(params)

    def to_proto(self) -> pb.NetParameter:
        """The net of all tops, in the order in which they were assigned, bottoms first. Raises PrototxtError."""
        names: _Names = {top: name for name, top in self.tops.items()}
        return _net(self.tops.values(), names)


def to_proto(*tops: Top | Function) -> pb.NetParameter:
    """The net that computes the tops, with automatic layer names. Raises PrototxtError."""
    return _net(tops, {})


def _net(tops: Iterable[Any], names: _Names) -> pb.NetParameter:
    autonames: Counter[str] = Counter()
    made: _Layers = OrderedDict()
    for top in tops:
        if not isinstance(top, (Top, Function)):
            raise TypeError(f"a net is made of tops, got {type(top)}")
        top._to_proto(made, names, autonames)
    return pb.NetParameter(layer=made.values())


@cache
def layer_function(type_name: str) -> Callable[..., Any]:
    """A function that makes layers of a type: bottoms as arguments, settings by keyword.

    Its signature and docstring name the settings of the type.
    """

    def make(*bottoms: Top, **settings: Any) -> Any:
        fn = Function(type_name, bottoms, settings)
        if fn.ntop == 0:
            return fn
        return fn.tops[0] if fn.ntop == 1 else fn.tops

    make.__name__ = make.__qualname__ = type_name
    make.__doc__ = documentation_of(type_name)
    make.__signature__ = signature_of(type_name)  # type: ignore[attr-defined]
    return make


class Layers:
    """`layers.TYPE(...)` makes a layer of any type, also of one that Dragon does not have."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return layer_function(name)

    def __dir__(self) -> list[str]:
        return layer_types()


class _Constants:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        message = getattr(pb, f"{self._name}Parameter", None)
        if message is None:
            raise AttributeError(f"there is no {self._name}Parameter{nearest(self._name, dir(params))}")
        if name.startswith("__") or name not in dir(self):
            raise AttributeError(f'{self._name}Parameter has no constant "{name}"{nearest(name, dir(self))}')
        return getattr(message, name)

    def __dir__(self) -> list[str]:
        message = getattr(pb, f"{self._name}Parameter", None)
        enums = message.DESCRIPTOR.enum_types if message is not None else ()
        return sorted(value.name for enum in enums for value in enum.values)


class Parameters:
    """`params.TYPE.NAME` is a constant of TYPEParameter."""

    def __getattr__(self, name: str) -> _Constants:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Constants(name)

    def __dir__(self) -> list[str]:
        names = [name.removesuffix("Parameter") for name in pb.DESCRIPTOR.message_types_by_name]
        return sorted(name for name in names if dir(_Constants(name)))


layers = Layers()
params = Parameters()


_param_names: dict[str, str]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """`_param_names`, which scripts for pycaffe read: what `param_name_dict` gives, made at first use."""
        if name != "_param_names":
            raise missing_name("net_spec", name, __all__)
        globals()[name] = found = param_name_dict()
        return found
