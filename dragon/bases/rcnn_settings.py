"""Settings of py-faster-rcnn: its Python layers' `param_str` and its configuration, as settings of Dragon's layers.

py-faster-rcnn's nets name these layers as type Python and take most settings from a global configuration. Here a
setting comes from, the first that has it: a key of `param_str`; the groups TRAIN and TEST in `param_str`; the YAML file
that the key `cfg` of `param_str` names; a file `rcnn.yml` beside the prototxt; py-faster-rcnn's default.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.bases.rcnn_defaults import DEFAULTS
from dragon.errors import PrototxtError, nearest
from dragon.files.reading import read_text
from dragon.proto import dragon_pb2 as pb

__all__ = ["STAND_INS", "StandIn", "configuration", "meant_type", "stand_in"]

log = logging.getLogger("dragon")
BESIDE = "rcnn.yml"  # read where it lies in the folder of the prototxt


class StandIn(NamedTuple):
    """A layer type of Dragon that takes the place of a Python layer.

    own: fields of `settings` by the names that `param_str` has for them. configured: fields by name in the
    configuration, "TRAIN.X", or "X" for one of both phases. beside: the same for further settings of the type.
    """

    type: str
    settings: str
    own: Mapping[str, str]
    configured: Mapping[str, str]
    beside: tuple[StandIn, ...] = ()


_ANCHORS = {name: name for name in ("feat_stride", "base_size")} | {
    name: field for field in ("scale", "ratio") for name in (f"{field}s", f"anchor_{field}s")
}

_KINDS: dict[int, tuple[type, ...]] = {FieldDescriptor.TYPE_BOOL: (bool,), FieldDescriptor.TYPE_STRING: (str,)}

_DATA = ("source", "image_set", "label_map_file", "use_difficult")

_IMAGES = StandIn(
    "RoIData",
    "roi_data_param",
    {"num_classes": "num_classes", **{name: name for name in _DATA}},
    {
        "SCALES": "scale",
        "MAX_SIZE": "max_size",
        "TRAIN.USE_FLIPPED": "use_flipped",
        "PIXEL_MEANS": "pixel_mean",
        **{f"DATA.{name}": name for name in _DATA},
    },
)

_TARGETS = StandIn(
    "ProposalTarget",
    "proposal_target_param",
    {"num_classes": "num_classes"},
    {
        "TRAIN.BATCH_SIZE": "batch_size",
        "TRAIN.FG_FRACTION": "fg_fraction",
        "TRAIN.FG_THRESH": "fg_thresh",
        "TRAIN.BG_THRESH_HI": "bg_thresh_hi",
        "TRAIN.BG_THRESH_LO": "bg_thresh_lo",
        "TRAIN.AGNOSTIC": "class_agnostic",
        "TRAIN.BBOX_NORMALIZE_TARGETS_PRECOMPUTED": "normalize_targets",
        "TRAIN.BBOX_NORMALIZE_MEANS": "bbox_mean",
        "TRAIN.BBOX_NORMALIZE_STDS": "bbox_std",
        "TRAIN.BBOX_INSIDE_WEIGHTS": "inside_weight",
    },
)

# RoIDataLayer with the tops of Fast R-CNN; there both kinds of targets are normalised unless TRAIN says otherwise
_REGIONS = StandIn(
    "RegionData",
    "roi_data_param",
    {**_IMAGES.own, "region_file": "region_file"},
    {**_IMAGES.configured, "DATA.region_file": "region_file"},
    (
        _TARGETS._replace(
            configured={key.removesuffix("_PRECOMPUTED"): field for key, field in _TARGETS.configured.items()}
        ),
    ),
)

STAND_INS = {
    ("roi_data_layer.layer", "RoIDataLayer"): _IMAGES,
    ("rpn.anchor_target_layer", "AnchorTargetLayer"): StandIn(
        "AnchorTarget",
        "anchor_target_param",
        {**_ANCHORS, "allowed_border": "allowed_border"},
        {
            "TRAIN.RPN_BATCHSIZE": "batch_size",
            "TRAIN.RPN_FG_FRACTION": "fg_fraction",
            "TRAIN.RPN_POSITIVE_OVERLAP": "positive_overlap",
            "TRAIN.RPN_NEGATIVE_OVERLAP": "negative_overlap",
            "TRAIN.RPN_CLOBBER_POSITIVES": "clobber_positives",
            "TRAIN.RPN_POSITIVE_WEIGHT": "positive_weight",
            "TRAIN.RPN_BBOX_INSIDE_WEIGHTS": "inside_weight",
        },
    ),
    ("rpn.proposal_layer", "ProposalLayer"): StandIn(
        "Proposal",
        "proposal_param",
        _ANCHORS,
        {
            "RPN_PRE_NMS_TOP_N": "pre_nms_topn",
            "RPN_POST_NMS_TOP_N": "post_nms_topn",
            "RPN_NMS_THRESH": "nms_thresh",
            "RPN_MIN_SIZE": "min_size",
        },
    ),
    ("rpn.proposal_target_layer", "ProposalTargetLayer"): _TARGETS,
}


def meant_type(param: pb.LayerParameter) -> str:
    """The type of a layer; of a Python layer of `STAND_INS` the one that takes its place."""
    p = param.python_param
    known = STAND_INS.get((p.module, p.layer)) if param.type == "Python" else None
    return known.type if known else param.type


def stand_in(
    param: pb.LayerParameter, phase: int, folder: Path | None, find: Callable[[str], str]
) -> pb.LayerParameter:
    """The definition of Dragon's layer for a Python layer of `STAND_INS`.

    folder: that of the prototxt. find: the path of a file that `param_str` names. Raises PrototxtError.
    """
    p = param.python_param
    known = STAND_INS[p.module, p.layer]
    if known is _IMAGES and ("rois" in param.top or len(param.top) == 6):
        known = _REGIONS
    given = _mapping(p.param_str, f"param_str of {p.layer}")
    groups = {key: given.pop(key) for key in list(given) if key in DEFAULTS}
    cfg = given.pop("cfg", None)
    values = _flat({}, DEFAULTS) | _file(Path(find(str(cfg)))) if cfg is not None else configuration(folder, param.name)
    values |= _flat(groups, groups, "param_str")
    made = pb.LayerParameter()
    made.CopyFrom(param)
    made.type = known.type
    parts = (known, *known.beside)
    for part in parts:
        settings = getattr(made, part.settings)
        settings.SetInParent()
        for key, field in part.configured.items():
            _set(settings, field, values[key if "." in key or key in values else f"{pb.Phase.Name(phase)}.{key}"], key)
    for key, value in given.items():
        takers = [part for part in parts if key in part.own]
        if not takers:
            raise PrototxtError(
                f'param_str of {p.layer} has no key "{key}"{nearest(key, [*known.own, "cfg", "TRAIN", "TEST"])}'
            )
        for part in takers:
            _set(getattr(made, part.settings), part.own[key], value, key)
    return made


def configuration(folder: Path | None, name: str) -> dict[str, Any]:
    """The settings of py-faster-rcnn, "TRAIN.X": value, for the layer or net `name` of a prototxt in `folder`.

    Those of the file rcnn.yml there, else py-faster-rcnn's defaults. Raises PrototxtError.
    """
    values = _flat({}, DEFAULTS)
    beside = folder / BESIDE if folder else None
    if beside is not None and beside.is_file():
        log.info("%s: settings of Faster R-CNN from %s", name, beside)
        values |= _file(beside)
    return values


def _mapping(text: str, what: str) -> dict[str, Any]:
    """The mapping that a YAML text holds. Raises PrototxtError."""
    import yaml  # which takes 15 ms, and few nets need

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:  # dates, numbers, depths it cannot hold
        raise PrototxtError(f"{what} is not YAML: {' '.join(str(error).split())}") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise PrototxtError(f"{what} must be a mapping, such as 'feat_stride': 16; got {text.strip()!r}")
    return found


def _file(path: Path) -> dict[str, Any]:
    """The values of a configuration file, "TRAIN.X": value. Raises PrototxtError."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PrototxtError(f"{path}: cannot be read: {error}") from None
    found = _mapping(text, str(path))
    return _flat(found, found, str(path))


def _flat(checked: Mapping[str, Any], groups: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Groups of values as one mapping, "TRAIN.X": value. Raises PrototxtError for names that `checked` has wrong."""
    for key, value in checked.items():
        default = DEFAULTS.get(key)
        if key not in DEFAULTS:
            raise PrototxtError(f'{where}: py-faster-rcnn has no setting "{key}"{nearest(key, list(DEFAULTS))}')
        if not isinstance(default, dict):
            continue
        if not isinstance(value, dict):
            raise PrototxtError(f"{where}: {key} must be a mapping, got {value!r}")
        for name in value:
            if name not in default:
                raise PrototxtError(f'{where}: {key} has no setting "{name}"{nearest(str(name), list(default))}')
    found: dict[str, Any] = {}
    for key, value in groups.items():
        if isinstance(value, dict):
            # py-R-FCN's first spelling of the setting
            found |= {f"{key}.{name}".replace("AGONISTIC", "AGNOSTIC"): one for name, one in value.items()}
        else:
            found[key] = value
    return found


def _set(message: Message, name: str, value: Any, key: str) -> None:
    """Set a field of settings. Raises PrototxtError for a value of another kind."""
    field = message.DESCRIPTOR.fields_by_name[name]
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    kinds = _KINDS.get(field.type, (int, float))
    fits = all(isinstance(one, kinds) and isinstance(one, bool) == (bool in kinds) for one in values)
    if not fits or (len(values) != 1 and not field.is_repeated):
        raise PrototxtError(f"{key}: {value!r} is not a value for it")
    try:
        if field.is_repeated:
            message.ClearField(name)
            getattr(message, name).extend(values)
        else:
            setattr(message, name, values[0])
    except (TypeError, ValueError):
        raise PrototxtError(f"{key}: {value!r} is not a value for it") from None
