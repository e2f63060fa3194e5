"""The text of a solver, changed as the solver is: all that does not change stays as it was typed."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.lexer import Tokens
from dragon.proto.parser import Parser
from dragon.proto.text_edit import Editor, without_unknown
from dragon.proto.text_style import find_style
from dragon.proto.text_tree import read_tree

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
        tokens = Tokens(text, "<string>")
        tree = read_tree(tokens)
        editor = Editor(text, find_style(text, tree, tokens))
        editor.change(tree, self.raw, new)
        edited = editor.apply(0, len(text))
        found = pb.SolverParameter()
        try:
            Parser(Tokens(edited, "<string>"), True, lambda _: None).parse(found)
        except PrototxtError:
            return None
        return edited if found == new else None
