"""The text of a solver, changed as the solver is: all that does not change stays as it was typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.lexer import Tokens
from dragon.proto.net_text import NetSource, quiet
from dragon.proto.parser import Parser
from dragon.proto.text_edit import Editor, without_unknown
from dragon.proto.text_style import find_style
from dragon.proto.text_tree import Tree, read_tree
from dragon.proto.upgrade import upgrade_net_tracked

__all__ = ["SolverSource"]

_NETS = ("net_param", "train_net_param", "test_net_param")


@dataclass(frozen=True)
class SolverSource:
    """The text of a solver, and what it says, as it is written."""

    text: str
    raw: pb.SolverParameter

    def edit(self, new: pb.SolverParameter, drop_unknown: bool = False) -> str | None:
        """The text, changed to say what `new` says; None where that cannot be done.

        drop_unknown: leave out fields that the schema does not have, which else stay.
        """
        text = without_unknown(self.text, new) if drop_unknown else self.text
        tokens = Tokens(text, "<string>")
        tree = read_tree(tokens)
        editor = Editor(text, find_style(text, tree, tokens))
        for name in _NETS:
            for (_, item), old, net in zip(tree.items(name), _nets(self.raw, name), _nets(new, name), strict=True):
                assert item.body is not None
                _upgrade(editor, item.body, old, net)
        editor.change(tree, self.raw, new, _NETS)
        edited = editor.apply(0, len(text))
        found = pb.SolverParameter()
        try:
            Parser(Tokens(edited, "<string>"), True, lambda _: None).parse(found)
        except PrototxtError:
            return None
        return edited if found == new else None


def _nets(solver: pb.SolverParameter, name: str) -> Sequence[pb.NetParameter]:
    if name == "test_net_param":
        return solver.test_net_param
    return [getattr(solver, name)] if solver.HasField(name) else []


def _upgrade(editor: Editor, body: Tree, old: pb.NetParameter, new: pb.NetParameter) -> None:
    """Bring a net within the solver to the present form, as one in a file where it has lines of its own."""
    text = editor.text[body.opened : body.closed].rstrip(" \t")
    edited = None
    if body.entries and "\n" in editor.text[body.opened : body.entries[0].start]:
        with quiet():
            net, origin = upgrade_net_tracked(old)
        edited = NetSource(text, old, net, tuple(origin)).upgrade(new)
    if edited is None:
        editor.change(body, old, new)
    else:
        editor.edits.append((body.opened, body.opened + len(text), edited))
