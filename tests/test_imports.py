"""The order of the packages in docs/architecture.md is that of the imports, and nobody takes a private name."""

from __future__ import annotations

import re

from tests.imports import ROOT, files, imports, is_private, package_of, private_uses

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
TOP = ("__main__",)  # imports all the others


def order() -> dict[str, int]:
    """The place of each package, from the page."""
    block = re.search(r"```text\n(counting.*?)```", PAGE, re.DOTALL)
    assert block is not None
    names = [re.split(r" {2,}", line)[0].split(", ") for line in block[1].splitlines()]
    return {name: place for place, line in enumerate(names) for name in line}


def exceptions() -> set[tuple[str, str]]:
    """The arrows that the page names: from a module, to a module or a package."""
    table = PAGE[PAGE.index("| from | to | why |") :].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    names = [[re.findall(r"`([\w.*]+)`", cell) for cell in row] for row in rows]
    arrows = [(start, end) for starts, ends in names for start in starts for end in ends]
    return {(f"dragon.{start}", f"dragon.{end}") for start, end in arrows}


def is_named(module: str, source: str, start: str, end: str) -> bool:
    """Whether an import is the named arrow; a name of the form PACKAGE.* stands for all modules of a package."""
    begins = module.startswith(start[:-1]) if start.endswith(".*") else module == start
    return begins and f"{source}.".startswith(f"{end}.")


def wrong_arrows() -> dict[tuple[str, str], str]:
    """Imports against the order, by importing and imported module."""
    place, found = order(), {}
    for one in imports():
        start, end = package_of(one.module), package_of(one.source)
        if start not in TOP and start != end and place[end] >= place[start]:
            found[one.module, one.source] = str(one)
    return found


def test_every_package_has_a_place() -> None:
    assert {package_of(module) for module in files()} - set(TOP) == set(order())


def test_no_import_goes_against_the_order() -> None:
    named = exceptions()
    assert not [text for arrow, text in wrong_arrows().items() if not any(is_named(*arrow, *one) for one in named)]


def test_every_exception_that_the_page_names_is_one() -> None:
    assert not [one for one in exceptions() if not any(is_named(*arrow, *one) for arrow in wrong_arrows())]
    assert exceptions()


def test_no_private_name_crosses_packages() -> None:
    """The folders of the engines are packages of their own here."""
    crossing = [
        str(one)
        for one in imports()
        if package_of(one.module) not in TOP
        and (package_of(one.module) != package_of(one.source) or folder(one.module) != folder(one.source))
        and any(map(is_private, [*one.source.split("."), one.name]))
    ]
    assert not crossing
    assert not list(private_uses())


def folder(module: str) -> str:
    return files()[module].parent.as_posix()


def test_no_part_of_an_engine_knows_its_executor() -> None:
    """Each part is given what it needs; only what makes executors imports one."""
    knowing = {one.module for one in imports() if re.fullmatch(r"dragon\.engines\.\w+\.executor", one.source)}
    assert knowing <= {"dragon.engines", "dragon.engines.cuda", "dragon.engines.onednn"}
