"""Names that PyTorch's newer exporter keeps beside its nodes: the module of the network that a node belongs to."""

from __future__ import annotations

from typing import Any

__all__ = ["title_of"]

_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_LEAF, _CONTAINER = "torch.nn.modules.", "torch.nn.modules.container."
_LEARNED = ".weight"


def title_of(proto: Any) -> str:
    """The path of a node's module, as in a state_dict, with what is done there behind it; "" where nobody says.

    "layer1.0.conv1" for a module of torch.nn, "layer1.0.add" for a sum in a module of one's own. The exporter folds
    batch normalisations into convolutions, which are then called as the convolution, by its weight.
    """
    known = {one.key: one.value for one in proto.metadata_props}
    scopes, classes = _listed(known.get(_SCOPES, "")), _listed(known.get(_CLASSES, ""))
    if len(scopes) < 2 or len(scopes) != len(classes):
        return ""
    weight = proto.input[1] if len(proto.input) > 1 else ""
    if proto.op_type in ("Conv", "ConvTranspose", "Gemm") and weight.endswith(_LEARNED):
        return weight[: -len(_LEARNED)]
    module, kind, call = scopes[-2], classes[-2], classes[-1]
    if module and kind.startswith(_LEAF) and not kind.startswith(_CONTAINER):
        return module
    parts = call.split(".")  # aten.add.Tensor
    done = parts[1] if len(parts) == 3 and parts[0] == "aten" else scopes[-1]
    done = done.strip("_").removeprefix("native_").removesuffix("_legit_no_training") or proto.op_type
    return f"{module}.{done}" if module else done


def _listed(text: str) -> list[str]:
    """The texts of a list as Python prints it."""
    return [part.strip().strip("'\"") for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
