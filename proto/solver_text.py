"""The text of a solver, changed as the solver is: all that does not change stays as it was typed."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.net_text import NetSource, quiet, silent
from dragon.proto.text import parse_text
from dragon.proto.text_edit import Editor, without_unknown
from dragon.proto.text_tree import Tree
from dragon.proto.upgrade import nets_inside, upgrade_net_tracked

__all__ = ["SolverSource"]


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
        editor = Editor(text)
        before, after = nets_inside(self.raw), nets_inside(new)
        for name in before:
            for (_, item), old, net in zip(editor.tree.items(name), before[name], after[name], strict=True):
                assert item.body is not None
                _upgrade(editor, item.body, old, net)
        editor.change(editor.tree, self.raw, new, before)
        edited = editor.apply()
        try:
            found = parse_text(edited, pb.SolverParameter(), allow_unknown=True, warn=silent)
        except PrototxtError:
            return None
        return edited if found == new else None


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
