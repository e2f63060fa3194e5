"""Recognises the kind of a file by its first bytes, for errors about a file of the wrong kind."""

from __future__ import annotations

import os
import re

from dragon.files.reading import SpecialFileError, open_regular

__all__ = [
    "BLOB",
    "CALIBRATION",
    "EXPERIMENT",
    "HEAD",
    "LFS",
    "PICKLES",
    "SAFETENSORS",
    "STATE",
    "WEB_PAGE",
    "instead",
    "is_safetensors",
    "kind_of",
    "kind_of_content",
    "other_text",
]

HEAD = 1 << 14  # bytes at the start of a file that are read
SAFETENSORS = "a safetensors file"
CALIBRATION = "a calibration, which belongs to --calibration"
STATE = "a .solverstate, which belongs to --snapshot"
BLOB = "a mean file or other single blob (.binaryproto)"
WEB_PAGE = "a web page (HTML), perhaps that of the file and not the file"
LFS = "a pointer of Git LFS, without the content: `git lfs pull` fetches it"
EXPERIMENT = "an experiment, which belongs to `dragon compare`"

_ZIP, _PICKLE = "a ZIP archive, as .npz and .pth files are", "a Python pickle"
PICKLES = (_ZIP, _PICKLE)  # what torch.save writes

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"%!PS": "a PostScript program",
    b"\xc5\xd0\xd3\xc6": "a PostScript program",
    b"%PDF-": "a PDF document",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": _ZIP,
    b"\x1f\x8b": "a file packed by gzip",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\xff\xfe\0\0": "text in UTF-32",
    b"\0\0\xfe\xff": "text in UTF-32",
    b"\x80\x02": _PICKLE,
    b"\x80\x04": _PICKLE,
}
_LMDB = b"\xde\xc0\xef\xbe"  # magic number at byte 16, after the header of the first page
_SAFETENSORS_HEAD = re.compile(rb'\{\s*("|\})')  # JSON, behind its length in eight bytes
_SOLVER, _NET = re.compile(rb"\b(base_lr|lr_policy)\s*:"), re.compile(rb"""\b(layers?\s*:?\s*\{|input\s*:\s*["'])""")
_TEXTS = {  # YAML, by keys at the outermost level that stand in this order; what a download gave in place of a file
    WEB_PAGE: re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE),
    LFS: re.compile(rb"\Aversion https://git-lfs\.github\.com/spec/"),
    CALIBRATION: re.compile(rb"^weights: sha256:[^\n]*\n(?:.*\n)?layers:", re.MULTILINE | re.DOTALL),
    EXPERIMENT: re.compile(rb"^variants:\s*(?:#[^\n]*)?$", re.MULTILINE),
}
_LOG = re.compile(rb"^(?:Log file created at: |[IWEF]\d{4,8} .*\] )", re.MULTILINE)
_METRICS = re.compile(rb'^\{"')
_BLOB_FIELDS = b"\x10\x2a\x3a"  # tags of channels, data, shape, which may follow in a BlobProto


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file ends in .safetensors."""
    return str(path).endswith(".safetensors")


def instead(path: str | os.PathLike[str], expected: str | None = None) -> str:
    """`; it is a PNG image`: an addition to an error about a file of another kind; "" where that is not known.

    expected: the kind of a file that is right, though damaged.
    """
    kind = kind_of(path)
    return "" if kind in (None, expected, "a text file") else f"; it is {kind}"


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """The kind of the file at `path` in words; None for an unknown kind or a file that cannot be read."""
    if os.path.isdir(path):
        return "a folder with an LMDB" if os.path.exists(os.path.join(path, "data.mdb")) else "a folder"
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except SpecialFileError as error:
        return error.kind
    except OSError:
        return None
    return kind_of_content(head)


def kind_of_content(head: bytes) -> str | None:
    """As `kind_of`, for the first HEAD bytes of a file."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # which names in a list begin with as well
        return "a BMP image"
    if head[8:9] == b"{" and _SAFETENSORS_HEAD.match(head, 8):
        return SAFETENSORS
    if head[16:20] == _LMDB:
        return "the file of an LMDB"
    return _text_kind(head) or _message_kind(head)  # names in a list begin like messages as well


def _message_kind(head: bytes) -> str | None:
    """The kind of a protobuf message by its first fields; None for an unknown one."""
    if head[:1] == b"\x08":
        rest = head[1:].lstrip(bytes(range(0x80, 0x100)))[1:]  # the last byte of a varint is the first below 0x80
        if rest[:1] == b"\x12" or rest[:1] == b"\x1a":
            return STATE
        if rest[:1] and rest[:1] in _BLOB_FIELDS:
            return BLOB
    if head[:1] in (b"\x2a", b"\x3a"):
        return BLOB
    return None


def other_text(head: bytes) -> str | None:
    """The kind of a text that is no prototxt by its first HEAD bytes, as CALIBRATION; None for any other."""
    return next((kind for kind, found in _TEXTS.items() if found.search(head)), None)


def _text_kind(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if not text or any(c < " " and c not in "\t\n\r\f" for c in text):
        return None
    if (kind := other_text(head)) is not None:
        return kind
    if _LOG.match(head):
        return "the log of a training"
    if _METRICS.match(head):
        return "a file of JSON, as metrics.jsonl is"
    if _SOLVER.search(head):
        return "the prototxt of a solver"
    return "the prototxt of a net" if _NET.search(head) else "a text file"
