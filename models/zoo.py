"""The zoo by name: the files of a net, its weights, here or on the web, and how it wants its images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import unquote, urlsplit

from dragon.errors import UsageError, nearest
from dragon.models.facts import ROOT, read_facts
from dragon.models.recipes import read_recipe

__all__ = [
    "DEPLOY", "SOLVER", "TRAIN_VAL", "NetFile", "Offer", "cache_folder", "file_of", "find_weights", "how_to_get",
    "may_be_net", "name_of", "names", "offers", "require_weights", "resolve",
]  # fmt: skip

DEPLOY, TRAIN_VAL, SOLVER = "deploy.prototxt", "train_val.prototxt", "solver.prototxt"
_WEIGHTS = (".caffemodel", ".h5", ".safetensors")


class NetFile(str):
    """The path of a file of the zoo that a user asked for by the name of its net. net: that name."""

    net: str

    def __new__(cls, path: Path, net: str) -> Self:
        """The path as text, with the name."""
        made = super().__new__(cls, path)
        made.net = net
        return made


@dataclass(frozen=True)
class Offer:
    """A file of weights for a net: what it is, where it lies or would lie, where it can be had, and its checksum.

    url: None for weights of Dragon's own that ship with it. checksum: that of what lies at the address: the algorithm,
    as hashlib names it, and the digest in hexadecimal; None if nobody has published one.
    """

    what: str
    path: Path
    url: str | None
    checksum: tuple[str, str] | None
    license: str | None = None
    member: str | None = None

    @property
    def is_direct(self) -> bool:
        """Whether the address gives the file or an archive with it, not a page for a browser."""
        return self.url is not None and (self.member is not None or _suffix(self.url) in _WEIGHTS)


def _suffix(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).suffix


def names(root: Path = ROOT) -> list[str]:
    """The names of all nets of the zoo, sorted."""
    return sorted(path.parent.name for path in root.glob(f"*/{DEPLOY}"))


def file_of(name: str, file: str, root: Path = ROOT) -> Path:
    """A prototxt file of a net; `deploy` in place of a `train_val` that the net lacks.

    Raises UsageError for a name that the zoo does not have, and for a solver of a net that is only for use.
    """
    if not (root / name / DEPLOY).is_file():
        raise UsageError(f'the zoo has no net "{name}"{nearest(name, names(root))}; `dragon zoo list` shows all')
    path = root / name / file
    if path.is_file():
        return path
    if file == SOLVER:
        raise UsageError(f'"{name}" has no solver: Dragon can run this net of the zoo, but not train it')
    return root / name / DEPLOY


def resolve(text: str, file: str, root: Path = ROOT) -> str:
    """The path that a user means by the path of a file or the name of a net of the zoo.

    A file that exists goes before a net of that name. Other text is returned as it is, unless it is close to the name
    of a net and has neither a folder nor an ending of a file: then UsageError is raised, with that name.
    """
    if os.path.isfile(text):
        return text
    if _is_net(text, root):
        return NetFile(file_of(text, file, root), text)
    if os.path.exists(text) or not may_be_net(text):
        return text
    near = nearest(text, names(root))
    if near:
        raise UsageError(f'"{text}" is neither a file nor a net of the zoo{near}')
    return text


def may_be_net(text: str) -> bool:
    """Whether the text has the form of a net's name: no folder, no comma, no ending of a file."""
    return bool(text) and "/" not in text and os.sep not in text and "," not in text and not _has_ending(text)


def _is_net(text: str, root: Path) -> bool:
    return bool(text) and "/" not in text and text not in (".", "..") and os.path.isfile(root / text / DEPLOY)


def _has_ending(text: str) -> bool:
    """Whether the text ends like a file: names of nets have a point only before a digit, as squeezenet_v1.1."""
    ending = PurePosixPath(text).suffix[1:]
    return bool(ending) and not ending.isdigit()


def name_of(path: str) -> str | None:
    """The net that the user named, if `resolve` gave this path for a name; None for a path that the user gave."""
    return path.net if isinstance(path, NetFile) else None


def cache_folder() -> Path:
    """Where downloaded weights are kept: `dragon/zoo` in $XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "dragon" / "zoo"


def offers(name: str, root: Path = ROOT) -> list[Offer]:
    """All weights that are known for a net, those of Dragon's own first. Raises UsageError for a damaged readme."""
    found = []
    recipe = read_recipe(name, root)
    if recipe is not None and recipe.file is not None:
        checksum = None if recipe.sha256 is None else ("sha256", recipe.sha256)
        folder = root / name if recipe.url is None else cache_folder() / name
        found.append(Offer("trained with Dragon", folder / recipe.file, recipe.url, checksum, "BSD-2-Clause"))
    for entry in read_facts(name, root).weights:
        known = (("sha256", entry.sha256), ("sha1", entry.sha1), ("md5", entry.md5))
        checksum = next(((kind, digest) for kind, digest in known if digest), None)
        base = PurePosixPath(entry.member or unquote(urlsplit(entry.url).path))
        file = base.name if base.suffix in _WEIGHTS else f"{name}.caffemodel"
        path = cache_folder() / name / file
        found.append(Offer(entry.what, path, entry.url, checksum, entry.license, entry.member))
    return found


def find_weights(name: str, root: Path = ROOT) -> Path | None:
    """The weights of a net that lie on this machine: shipped with Dragon, or downloaded."""
    return next((offer.path for offer in offers(name, root) if offer.path.is_file()), None)


def require_weights(name: str, root: Path = ROOT) -> Path:
    """As find_weights. Raises UsageError if there are none here, with what can be done."""
    found = find_weights(name, root)
    if found is not None:
        return found
    raise UsageError(f'no weights of "{name}" are here: {how_to_get(name, root)}')


def how_to_get(name: str, root: Path = ROOT) -> str:
    """Where weights that are not here come from, in words."""
    ways = []
    listed = offers(name, root)
    if any(offer.is_direct for offer in listed):
        ways.append(f"`dragon zoo download {name}` fetches them")
    elif listed and listed[0].url:
        ways.append(f"fetch {listed[0].what} from {listed[0].url} yourself, and give the file by --weights")
    if read_recipe(name, root) is not None:
        ways.append(f"`dragon zoo train {name}` trains them")
    if not ways:
        trains = (root / name / SOLVER).is_file()
        ways.append("nobody offers any" + (f"; `dragon train --solver {name}` trains the net" if trains else ""))
    return ", ".join(ways)
