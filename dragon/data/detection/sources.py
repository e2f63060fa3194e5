"""Images with annotations as users have them: a list of pairs of files, a folder of VOC, a file of COCO."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dragon.data.detection.annotations import Described, label_map_of, labels_by_name, read_txt
from dragon.data.detection.coco import Instances, read_coco, read_coco_image
from dragon.data.detection.voc import read_split_list, read_voc
from dragon.data.list_forms import read_pairs
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

__all__ = ["READ", "Entry", "from_coco", "from_list", "from_voc"]

READ: dict[str, Callable[[str | Path], Described]] = {"xml": read_voc, "json": read_coco_image, "txt": read_txt}
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Entry:
    """An image: its file below the root, and how its objects are read.

    where, file: where the image is named, and where its objects are, for messages.
    """

    name: str
    where: str
    file: str
    read: Callable[[], Described]
    id: str = ""  # in files of results; the name without its ending if it is empty
    label: int | None = None  # of an image without annotations, for classification


def from_list(path: str, root: str, kind: str) -> list[Entry]:
    """The entries of lines "IMAGE ANNOTATIONS"; kind: one of `READ`. Raises DataError.

    An image whose file of annotations does not exist has no objects, as in SSD's fork.
    """
    found = []
    for pair in read_pairs(path, os.path.join(root, ""), '"IMAGE ANNOTATIONS"'):
        file = _below(root, pair.label or "")

        read = partial(READ[kind], file) if os.path.exists(file) else Described
        found.append(Entry(pair.image, f"{path}:{pair.line}", file, read))
    return found


def _same(described: Described) -> Described:
    return described


def _below(root: str, name: str) -> str:
    joined = root + name
    return joined if os.path.isfile(joined) else os.path.join(root, name)


def from_voc(folder: str, split: str) -> tuple[list[Entry], pb.LabelMap]:
    """The entries of a split of a VOC folder, and a label map of the classes in it by name. Raises DataError."""
    root = Path(folder)
    entries, names = [], set()
    for name in read_split_list(root, split):
        described = read_voc(root / "Annotations" / f"{name}.xml")
        names |= {str(one.kind) for one in described.objects}
        images = root / "JPEGImages"
        file = next((f"{name}{end}" for end in _PICTURES if (images / f"{name}{end}").is_file()), f"{name}.jpg")
        where = str(root / "Annotations" / f"{name}.xml")
        entries.append(Entry(f"JPEGImages/{file}", where, where, partial(_same, described), name))
    return entries, label_map_of(sorted(names))


def from_coco(path: str, given: pb.LabelMap | None) -> tuple[list[Entry], pb.LabelMap]:
    """The entries of a file of instances, and the label map to read them by. Raises DataError.

    given: a label map whose names are COCO's ids, as in the fork, or names of classes; None: classes by their ids.
    """
    found = read_coco(path)
    made = _named_by_id(found, given, path)
    entries = [
        Entry(name, path, f"{path}: image {name}", partial(_same, described), Path(name).stem)
        for name, described in found.images
    ]
    return entries, made


def _named_by_id(found: Instances, given: pb.LabelMap | None, path: str) -> pb.LabelMap:
    ids, names = [str(one) for one, _ in found.categories], [name for _, name in found.categories]
    if given is None:
        return label_map_of(ids, names)
    labels = labels_by_name(given)
    if all(one in labels for one in ids):
        return given
    missing = [name for name in names if name not in labels]
    if missing:
        raise DataError(f'{path}: class "{missing[0]}" is not in the label map, neither is its id')
    made = pb.LabelMap()
    for one, name in zip(ids, names, strict=True):
        made.item.add(name=one, label=labels[name], display_name=name)
    return made
