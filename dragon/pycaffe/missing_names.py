"""Names of pycaffe, of its forks and of its first years that Dragon does not have, and what takes their place."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["missing_name"]

_PROTO = "messages are in caffe.proto.caffe_pb2"
_MODE = "each net has an engine of its own, net.executor.name"
_SIX = "import six itself, or do without, since scripts run on Python 3"
# by module, "" for caffe itself
_INSTEAD = {
    "": {
        "Blob": "a blob of no net is caffe._caffe.Blob(shape)",
        "CaffeNet": "it is caffe.Net since 2014",
        "LayerParameter": _PROTO,
        "NetParameter": _PROTO,
        "SolverParameter": _PROTO,
        "check_mode_cpu": _MODE,
        "check_mode_gpu": _MODE,
        "create_layer": "make a net of the one layer: caffe.Net(caffe.to_proto(top), caffe.TEST)",
        "get_device": _MODE,
    },
    "draw": {"pydot": "get_pydot_graph makes its graph without it; it has create, create_png and write_png"},
    "io": {"zoom": "resize_image resizes images; zoom is of scipy.ndimage"},
    "net_spec": {"protobuf": "import google.protobuf itself", "six": _SIX},
    "pycaffe": {"six": _SIX},
}


def missing_name(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module of pycaffe lacks; it says what takes its place, or the nearest known name.

    module: without "caffe."; "" for caffe itself.
    """
    from dragon.errors import nearest

    where = f"dragon.{module}" if module else "dragon"
    instead = _INSTEAD.get(module, {}).get(name)
    hint = f": {instead}" if instead else "" if name.startswith("_") else nearest(name, known)
    return AttributeError(f"module {where!r} has no attribute {name!r}{hint}")
