"""Layer types of public forks that Dragon does not have: what each one is, and what to use instead."""

from __future__ import annotations

__all__ = ["describe_foreign", "describe_foreign_settings"]

_CRF = "the part of the net before it runs without it"
_TYPES = {
    "MultiStageMeanfield": ("CRF-RNN's recurrent layer", _CRF),
    "DenseCRF": ("DeepLab's random field", _CRF),
    "Correlation": ("FlowNet's comparison of feature maps", "a Python layer can do it"),
    "FlowWarp": ("FlowNet's warping", "a Python layer can do it"),
}


def describe_foreign(kind: str) -> str:
    """What a layer type of a fork is, and what to use instead, for an error message; "" for a type not known."""
    if kind not in _TYPES:
        return ""
    what, instead = _TYPES[kind]
    return f"{what}, which is not offered; {instead}"


def describe_foreign_settings(field: str) -> str:
    """What the layer type of a fork is that the settings `field` belong to; "" for other fields.

    Fields are named like types, in lower case, with underscores in varying places: `dense_crf_param`.
    """
    stem = field.removesuffix("_param").replace("_", "")
    kind = next((kind for kind in _TYPES if kind.lower() == stem and field.endswith("_param")), None)
    return f"it belongs to {kind}, {describe_foreign(kind)}" if kind else ""
