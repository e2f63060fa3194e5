"""Names of layers and blobs, which may be any text, as names in HDF5 files and as file names.

HDF5 splits names at "/": BVLC Caffe writes layer "inc/a" as group "a" in group "inc". Names for which that works are
written so. All others ("/a", "a//b", ".", "", or "inc/a" beside "inc") are escaped as in a URL, made distinct by "%" at
the end, and marked by the attribute `escaped`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["file_names", "find_item", "links", "mark", "named_groups"]

_ESCAPED = "escaped"
_MAX_BYTES = 200  # of a file name; file systems allow 255, and suffixes are added


def links(names: Iterable[str]) -> dict[str, str]:
    """The name of the HDF5 link for each of `names` in one group; distinct names have distinct links."""
    known = list(dict.fromkeys(names))
    found = {name: name for name in known if _is_path(name) and not set(known).intersection(_folders(name))}
    taken = {name.partition("/")[0] for name in found}
    for name in known:
        if name not in found:
            found[name] = _free(_quoted(name), taken)
            taken.add(found[name])
    return found


def _free(name: str, taken: Collection[str]) -> str:
    """A quoted name with "%" appended until it is not taken; quoted names never end in "%" themselves."""
    while not name or name in taken:
        name += "%"
    return name


def _quoted(name: str) -> str:
    return quote(name, safe="").replace(".", "%2E")


def _is_path(name: str) -> bool:
    """Whether HDF5 can find the name after splitting it at each "/"."""
    return "\0" not in name and all(part not in ("", ".") for part in name.split("/"))


def _folders(name: str) -> Iterator[str]:
    """The names of the groups that contain a name: a and a/b for a/b/c."""
    parts = name.split("/")
    return ("/".join(parts[:i]) for i in range(1, len(parts)))


def mark(item: Any, name: str, link: str) -> None:
    """Mark a group or dataset as escaped if its `link` is not its `name`."""
    if link != name:
        item.attrs[_ESCAPED] = 1


def find_item(group: Any, name: str) -> Any:
    """The group or dataset `name` in `group`, escaped or not; None if there is none."""
    link = _quoted(name) or "%"
    while link in group:
        item = group[link]
        if _ESCAPED in item.attrs:
            return item
        link += "%"
    item = group[name] if _is_path(name) and name in group else None
    return None if item is None or _ESCAPED in item.attrs else item


def named_groups(group: Any) -> Iterator[tuple[str, Any]]:
    """Name and group of all groups below `group`, nested ones as "outer/inner"; each once, even with several links."""
    import h5py

    seen = set()
    pending = [("", group)]
    while pending:
        prefix, outer = pending.pop()
        inner = []
        for link, item in outer.items():
            if not isinstance(item, h5py.Group):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address not in seen:
                seen.add(address)
                name = prefix + (unquote(link.rstrip("%")) if _ESCAPED in item.attrs else link)
                yield name, item
                inner.append((f"{name}/", item))
        pending += reversed(inner)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name, without suffix, for each of `names`; distinct names have distinct ones, and none is a path.

    "/" becomes "_" unless that name is taken. What cannot be a file name is escaped as in a URL, and if it is too long
    its end is replaced by a hash.
    """
    known = list(dict.fromkeys(names))
    found = {name: name for name in known if "/" not in name and _is_file_name(name)}
    taken = set(found.values())
    for name in known:
        if name not in found:
            plain = name.replace("/", "_")
            if not _is_file_name(plain) or plain in taken:
                plain = _free(_quoted(name), taken)
            if not _is_file_name(plain):
                import hashlib

                plain = f"{plain[: _MAX_BYTES // 2]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
            found[name] = plain
            taken.add(plain)
    return found


def _is_file_name(name: str) -> bool:
    return name.strip(".") != "" and name.isprintable() and len(name.encode()) <= _MAX_BYTES
