"""Annotations in the form of PASCAL VOC: an XML file for each image, and folders of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from dragon.data.detection.annotations import Described, Object
from dragon.data.lists import number_in, read_lines
from dragon.errors import DataError, one_line
from dragon.files.reading import read_bytes

__all__ = ["read_split_list", "read_voc", "voc_xml"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _DoctypeError(Exception):
    """A file has a document type, in which entities can be defined."""


class _WithoutDoctype(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise _DoctypeError


def read_voc(path: str | Path) -> Described:
    """The objects of an annotation file, with the numbers that stand there. Raises DataError.

    Objects of objects, such as the parts of a person, are left out.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        root = ET.fromstring(content, ET.XMLParser(target=_WithoutDoctype()))
    except _DoctypeError:
        raise DataError(f"{path}: has a document type of its own, which is not read") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not an XML file: {one_line(str(error))}") from None
    if root.tag != "annotation":
        raise DataError(f"{path}: expected an <annotation> of VOC, got <{one_line(root.tag)[:40]}>")
    width, height = (_whole(root.findtext(f"size/{side}")) for side in ("width", "height"))
    return Described(tuple(_object(one, path) for one in root.findall("object")), width, height)


def _object(node: ET.Element, path: str | Path) -> Object:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{path}: has an <object> without a name")
    values = [number_in((node.findtext(f"bndbox/{corner}") or "").strip()) for corner in _CORNERS]
    if None in values:
        missing = _CORNERS[values.index(None)]
        raise DataError(f'{path}: the object "{name}" has no number as {missing} of its bndbox')
    xmin, ymin, xmax, ymax = (float(value) for value in values if value is not None)
    return Object(name, (xmin, ymin, xmax, ymax), (node.findtext("difficult") or "").strip() == "1")


def _whole(text: str | None) -> int | None:
    value = number_in((text or "").strip())
    return value if isinstance(value, int) and value > 0 else None


def read_split_list(folder: Path, split: str) -> list[str]:
    """The names of the images in ImageSets/Main/SPLIT.txt of a VOC folder. Raises DataError."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        there = sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem)
        others = f"; it has {', '.join(there)}" if there else ""
        raise DataError(f'"{folder}" has no ImageSets/Main/{split}.txt{others}')
    return [line.split()[0] for _, line in read_lines(str(path), "image set", '"NAME"')]


def voc_xml(file: str, width: int, height: int, objects: Sequence[Object]) -> bytes:
    """The annotation file of a colour image. Boxes of `objects` are edges, from 0 to width; VOC counts from pixel 1."""
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = file
    size = ET.SubElement(root, "size")
    for side, pixels in (("width", width), ("height", height), ("depth", 3)):
        ET.SubElement(size, side).text = str(pixels)
    for one in objects:
        node = ET.SubElement(root, "object")
        ET.SubElement(node, "name").text = str(one.kind)
        ET.SubElement(node, "difficult").text = str(int(one.difficult))
        box = ET.SubElement(node, "bndbox")
        for corner, value, first in zip(_CORNERS, one.box, (1, 1, 0, 0), strict=True):
            ET.SubElement(box, corner).text = str(round(value) + first)
    ET.indent(root)
    text: bytes = ET.tostring(root)
    return text + b"\n"
