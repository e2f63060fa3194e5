"""Names of layers and blobs as Python identifiers."""

from __future__ import annotations

import keyword
import re

from dragon.surgery.values import free_name

__all__ = ["Names"]

# what torch.nn.Module has itself, and so no submodule may be called
_MODULE = (
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu",
    "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
    "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook",
    "register_buffer", "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad", "loss",
)  # fmt: skip


class Names:
    """Gives each name one identifier that no other has: letters, digits and underscores, `_` in place of the rest."""

    def __init__(self, reserved: tuple[str, ...] = ()) -> None:
        self._taken = {*reserved}
        self._of: dict[str, str] = {}

    @classmethod
    def of_attributes(cls) -> Names:
        """Names for the attributes of a torch.nn.Module."""
        return cls(_MODULE)

    def new(self, name: str) -> str:
        """An identifier like `name` that has not been given before."""
        base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "layer"
        if not base[0].isalpha() or keyword.iskeyword(base) or keyword.issoftkeyword(base):
            base = f"layer_{base}" if base[0].isdigit() else f"{base}_"
        found = free_name(base, self._taken)
        self._taken.add(found)
        return found

    def __getitem__(self, name: str) -> str:
        """The identifier of a name, the same each time."""
        if name not in self._of:
            self._of[name] = self.new(name)
        return self._of[name]
