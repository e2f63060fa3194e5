"""Writes a net as the source of a torch.nn.Module, and the values of its state_dict."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from dragon.bases.layer import Layer
from dragon.errors import PrototxtError
from dragon.export.refused import Refused, named, refuse
from dragon.export.torch.form import Call, NoForm, form_of, number, reason_of
from dragon.export.torch.names import Names
from dragon.export.torch.parts_text import part_names, text_of_parts
from dragon.export.torch.state import Array, Entry
from dragon.export.torch.values import Values
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.graph.overwriting import check_values_last
from dragon.graph.own_phase import trains_always
from dragon.layers.silence import Silence
from dragon.layers.split import Split
from dragon.version import __version__

__all__ = ["Exported", "export", "missing_forms"]

_LOAD = '''def load(path: str | os.PathLike[str] | None = None) -> {name}:
    """The module with the values of `path`, by default the .safetensors file beside this one; it is in train()."""
    data = bytearray(pathlib.Path(path or pathlib.Path(__file__).with_suffix(".safetensors")).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    state = {{}}  # as safetensors.torch.load_file reads it
    for key, entry in json.loads(data[8:start]).items():
        if key != "__metadata__":
            first, last = entry["data_offsets"]
            state[key] = torch.frombuffer(data, dtype=torch.float32, count=(last - first) // 4, offset=start + first)
            state[key] = state[key].reshape(entry["shape"])
    module = {name}()
    module.load_state_dict(state)
    return module
'''

_WIDTH = 120


@dataclass
class Exported:
    """The source of a module, and for each layer with blobs the entries of its state_dict."""

    source: str
    entries: list[tuple[Layer, Entry]]
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, str] = field(default_factory=dict)  # of the module, by layer

    def state(self) -> dict[str, Array]:
        """The values of the state_dict by key, those of shared parameters under each of their keys."""
        found: dict[str, Array] = {}
        for layer, entry in self.entries:
            found |= entry.to_torch([blob.peek() for blob in layer.blobs])
        return found


def missing_forms(net: Net) -> list[Refused]:
    """For each layer type of the net that cannot be written in PyTorch: its layers, what to do, a place."""
    found: dict[str, list[Node]] = {}
    for node in net.nodes:
        cls = type(node.layer)
        if not _skipped(node) and not _is_argument(node.layer) and form_of(cls) is None:
            why = reason_of(cls) or "is not known to the export: write it as a torch.nn.Module, and leave it out here"
            found.setdefault(f"{node.layer.where.type} {why}", []).append(node)
    return [
        (
            ", ".join(named(f'"{node.name}"', node.position, nodes[0].position) for node in nodes) + ":",
            why,
            nodes[0].position,
        )
        for why, nodes in found.items()
    ]


def _skipped(node: Node) -> bool:
    return isinstance(node.layer, Split | Silence)


def _is_argument(layer: Layer) -> bool:
    return layer.is_input or layer.reads_data or layer.takes_arrays


def export(net: Net, about: str = "") -> Exported:
    """The module of a net, whose data layers and Inputs become arguments of forward.

    about: a line on where the net comes from. Raises PrototxtError that names all layers without a form.
    """
    missing = missing_forms(net)
    writer = _Writer(net)
    if not missing:
        for node in net.nodes:
            try:
                writer.add(node)
            except NoForm as error:
                missing.append((f"{error.layer or node.layer.where}:", error.message, node.position))
    if missing:
        raise refuse(PrototxtError, missing, "cannot be written in PyTorch")
    return writer.finish(about)


class _Writer:
    """Collects the lines of a module, layer by layer."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.attributes = Names.of_attributes()
        reserved = (
            "self",
            "torch",
            "nn",
            "F",
            "Tensor",
            "json",
            "os",
            "pathlib",
            "load",
            "float",
            "int",
            "tuple",
            "dict",
        )
        check_values_last(net.nodes, net.outputs)
        self.values = Values(net, Names((*reserved, *part_names())))
        self.declarations: list[str] = []
        self.lines: list[str] = []
        self.parts: set[str] = set()
        self.entries: list[tuple[Layer, Entry]] = []
        self.arguments: list[str] = []
        self.of_layer: dict[str, str] = {}
        self._owners: dict[tuple[int, ...], Entry] = {}

    def add(self, node: Node) -> None:
        """Write one layer. Raises NoForm."""
        made = [value.variable for value in self.values.made[node.index]]
        if _skipped(node):
            return
        if _is_argument(node.layer):
            self.arguments += made
            return
        read = [value.variable for value in self.values.read[node.index]]
        write = form_of(type(node.layer))
        assert write is not None  # missing_forms would have said so
        if why := trains_always(node.layer):
            raise NoForm(why, layer=node.layer.where)
        call = Call(node.layer, node, read, self.attributes.new(node.name))
        result = write(call)
        self.parts |= call.parts
        if call.declared:
            self.of_layer[node.name] = call.attribute
            self._declare(call)
        expressions = [result] if isinstance(result, str) else list(result)
        known = call.declared and call.attribute == node.name
        comment = "" if known else f"  # {_plain(node.name)} ({node.layer.where.type})"
        if len(expressions) == len(made) > 1 and not {*made} & {*read}:
            for variable, expression in zip(made, expressions, strict=True):
                self.lines.append(f"{variable} = {expression}{comment}")
                comment = ""
        else:
            self.lines.append(f"{', '.join(made)} = {', '.join(expressions)}{comment}")

    def _declare(self, call: Call) -> None:
        comment = f"  # {call.note}" if call.note else ""
        self.declarations.append(f"self.{call.attribute} = {call.declared}{comment}")
        for unnamed in call.entries:
            entry = unnamed.named(call.attribute)
            self.entries.append((call.layer, entry))
            storages = tuple(id(call.layer.blobs[i].data_storage) for i in entry.indices)
            owner = self._owners.setdefault(storages, entry)
            if owner is not entry:
                self._tie(call.layer, entry, owner)
            elif _is_frozen(call.layer, entry):
                (key,) = entry.keys
                self.declarations.append(f"self.{key}.requires_grad_(False)  # lr_mult: 0")

    def _tie(self, layer: Layer, entry: Entry, owner: Entry) -> None:
        if [*entry.keys.values()] != [*owner.keys.values()]:
            raise NoForm("shares parameters of another shape: give it parameters of its own", layer=layer.where)
        for mine, its in zip(entry.keys, owner.keys, strict=True):
            self.declarations.append(f"self.{mine} = self.{its}  # shared")

    def finish(self, about: str) -> Exported:
        """The file."""
        name = _class_name(self.net.name or "Net")
        returned = {blob: value.variable for blob, value in self.values.returned.items()}
        losses = self.values.losses
        several = len(returned) != 1 or bool(losses)
        arguments = ", ".join(["self", *(f"{a}: Tensor" for a in self.arguments)])
        kind = "dict[str, Tensor]" if several else "Tensor"
        result = ", ".join(f'"{_plain(blob)}": {v}' for blob, v in returned.items())
        result = f"{{{result}}}" if several else next(iter(returned.values()))
        body = [
            f"class {name}(nn.Module):",
            *(f"    {line}".rstrip() for line in self._docstring(several)),
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *(part for line in self.declarations for part in _wrapped(line, 8)),
            "",
            f"    def forward({arguments}) -> {kind}:",
            *(part for line in self.lines for part in _wrapped(line, 8)),
            f"        return {result}",
        ]
        if losses:
            terms = " + ".join(f'{number(w)} * outputs["{_plain(blob)}"].sum()' for blob, (_, w) in losses.items())
            body += [
                "",
                "    def loss(self, outputs: dict[str, Tensor]) -> Tensor:",
                '        """The weighted sum of the losses: its backward() gives the gradients of a training step."""',
                f"        return {terms}",
            ]
        code = text_of_parts(self.parts) + "\n".join(body) + "\n\n\n" + _LOAD.format(name=name)
        title = f"The net {_plain(self.net.name)}" if self.net.name else "A net"
        origin = f" from {_plain(about)}" if about else ""
        head = f'"""{title} as a PyTorch module, written by Dragon {__version__}{origin}."""'
        source = f"{head}\n\n{_imports(code)}\n\n\n{code}"
        return Exported(source, self.entries, self.arguments, [*returned], self.of_layer)

    def _docstring(self, several: bool) -> Iterable[str]:
        lines = ["Attributes have the names of the layers, other characters than letters and digits as _."]
        for node in self.net.nodes:
            if _is_argument(node.layer):
                for value, top in zip(self.values.made[node.index], node.tops, strict=True):
                    shape = " x ".join(map(str, top.shape)) or "a scalar"
                    transform = str(node.layer.param.transform_param).replace("\n", " ").strip()
                    note = f"; prepared with {_plain(transform)}" if transform else ""
                    lines.append(f"{value.variable}: {shape} in the net; the first axis is the batch{note}.")
        lines.append("forward returns the outputs by name." if several else "forward returns the output.")
        return ['"""' + lines[0], "", *lines[1:], '"""']


def _is_frozen(layer: Layer, entry: Entry) -> bool:
    """Whether an entry is a parameter that training leaves alone."""
    index = entry.indices[0]
    return len(entry.indices) == 1 and index not in layer.buffers and not layer.param_propagate_down[index]


def _wrapped(line: str, indent: int) -> list[str]:
    """A line with indentation; the arguments of the call that a long one ends in are put on lines of their own."""
    head, _, comment = line.partition("  # ")
    ahead = " " * indent
    if len(line) + indent <= _WIDTH:
        return [ahead + line]
    lines = [f"{ahead}# {comment}"] if comment else []
    start = _last_call(head)
    if len(head) + indent <= _WIDTH or start is None:
        return [*lines, ahead + head]
    inside = textwrap.wrap(head[start + 1 : -1], _WIDTH - indent - 4, break_long_words=False, break_on_hyphens=False)
    return [*lines, ahead + head[: start + 1], *(f"{ahead}    {part}" for part in inside), f"{ahead})"]


def _last_call(text: str) -> int | None:
    """Where the bracket opens that the last character closes; None for a line with a string or without a bracket."""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[i], 0)
        if depth == 0:
            return i if text[i] == "(" and '"' not in text[i:] else None
    return None


def _imports(code: str) -> str:
    standard = [f"import {name}" for name in ("json", "os", "pathlib") if re.search(rf"\b{name}\.", code)]
    torch = ["import torch", "from torch import Tensor, nn"]
    if re.search(r"\bF\.", code):
        torch.append("from torch.nn import functional as F")
    return "\n".join(["from __future__ import annotations", "", *standard, "", *torch])


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    found = "".join(word[:1].upper() + word[1:] for word in words) or "Net"
    found = found if found[0].isalpha() else f"Net{found}"
    return f"{found}Net" if found in (*part_names(), "F", "Tensor") else found


def _plain(text: str) -> str:
    """Text from a file within a comment or a string: without what could end it."""
    return (
        text.encode("ascii", "backslashreplace").decode().replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    )
