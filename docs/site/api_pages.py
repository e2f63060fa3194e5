"""Pages of the reference made from docstrings, by mkdocstrings, which reads the source without importing it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import dragon

__all__ = ["MODULES", "api_pages", "public_names"]

# The modules that a user's program imports from, with the title of their page
MODULES = {
    "dragon": "dragon: nets, solvers, pycaffe's names",
    "dragon.lab": "dragon.lab: experiments, surgery, probes",
    "dragon.torch": "dragon.torch: a net inside PyTorch",
    "dragon.surgery.model": "dragon.surgery.model: a net with its weights",
    "dragon.probes": "dragon.probes: measuring a training",
    "dragon.data": "dragon.data: data sources and sets",
    "dragon.files.weights": "dragon.files.weights: weights in files",
    "dragon.proto.text": "dragon.proto.text: prototxt",
    "dragon.importing.convert": "dragon.importing.convert: ONNX to nets",
    "dragon.bases.layer": "dragon.bases.layer: writing layers",
    "dragon.gradient": "dragon.gradient: checking gradients",
    "dragon.engines": "dragon.engines: how nets are run",
    "dragon.errors": "dragon.errors: exceptions",
    "dragon.rng": "dragon.rng: streams of random numbers",
}


def api_pages() -> dict[str, str]:
    """A page for each public module, path on the site -> Markdown with the directives of mkdocstrings."""
    return {f"reference/python/{module}.md": _page(module, title) for module, title in MODULES.items()}


def _page(module: str, title: str) -> str:
    parts = [f"# {title}", f"::: {module}\n    options:\n      members: false\n      show_root_heading: false"]
    parts.extend(f"::: {module}.{name}" for name in public_names(module))
    return "\n\n".join(parts) + "\n"


def public_names(module: str) -> list[str]:
    """The names that a module offers, read from its source since what it imports may not be installed; no modules."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (listed,) = [
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    ]
    names: list[str] = ast.literal_eval(listed)
    return [name for name in names if not (module == "dragon" and inspect.ismodule(getattr(dragon, name)))]
