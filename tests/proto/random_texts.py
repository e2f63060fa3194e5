"""Random texts of nets in older forms, in mixed styles, with comments everywhere."""

from __future__ import annotations

import random

__all__ = ["RandomText"]

_Entry = tuple[str, "str | list[_Entry]"]
_KINDS = {  # kind: types of V1, types of today and of forks
    "convolution": (("CONVOLUTION", "4", "DECONVOLUTION"), ("Convolution", "NdConvolution", "ConvolutionRistretto")),
    "pooling": (("POOLING", "17"), ("Pooling", "NdPooling")),
    "inner_product": (("INNER_PRODUCT",), ("InnerProduct", "FcRistretto")),
    "relu": (("RELU",), ("ReLU",)),
    "loss": (("SOFTMAX_LOSS",), ("SoftmaxWithLoss",)),
    "data": (("DATA",), ("Data",)),
    "batch_norm": ((), ("BatchNorm",)),
}


class RandomText:
    """`text` is a net. Comments that must stay, on lines of their own between entries, are `# keep N`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.kept = 0
        self._v1, self._commented = self._chance(0.5), self._chance(0.7)
        self._short, self._shared = self.rng.choice([0, 0.3, 1]), self.rng.choice([0, 0.2])
        self._brackets, self._unit = self.rng.choice(["{}", "<>"]), self.rng.choice(["  ", "\t"])
        self.text = self._lines([*self._inputs(), *(self._layer(k) for k in range(self.rng.randrange(1, 6)))], "")
        if self._chance(0.2):
            self.text = self.text.replace("\n", "\r\n")

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _some(self, *entries: _Entry) -> list[_Entry]:
        return [entry for entry in entries if self._chance(0.5)]

    # -- what it says ------------------------------------------------------------------------------------------
    def _inputs(self) -> list[_Entry]:
        if self._chance(0.5):
            return [("name", '"net"')]
        if self._chance(0.5):
            return [("input", "'data'"), ("input_shape", [("dim", size) for size in ("1", "3", "0x20", "32")])]
        return [("name", '"net"'), ("input", '"data"'), *(("input_dim", size) for size in ("1", "3", "0x20", "32"))]

    def _layer(self, number: int) -> _Entry:
        kind = self.rng.choice([kind for kind, types in _KINDS.items() if types[0] or not self._v1])
        one = self.rng.choice(_KINDS[kind][0 if self._v1 else 1])
        entries: list[_Entry] = [("type", one if self._v1 else f'"{one}"'), ("top", f'"t{number}"')]
        entries += [("name", f'"l{number}"')] if self._chance(0.9) else []
        entries += [("top", '"label"')] if kind == "data" else [("bottom", '"data"')]
        entries += [("bottom", '"label"')] if kind == "loss" else []
        if kind in ("convolution", "inner_product"):
            entries += self._specs()
        if kind == "batch_norm":
            entries += [("param", [("lr_mult", "0")])] * self.rng.choice([0, 3])
        if kind != "relu":
            entries.append((f"{kind}_param", self._settings(kind)))
        entries += self._some(("include", [("phase", "TEST")]))
        self.rng.shuffle(entries)
        return "layers" if self._v1 else "layer", entries

    def _specs(self) -> list[_Entry]:
        rates: list[_Entry] = [("blobs_lr", "1."), ("blobs_lr", "2"), ("weight_decay", "1"), ("param", '"w"')]
        return self._some(*rates) if self._v1 else self._some(("param", [("lr_mult", "1."), ("decay_mult", "0")]))

    def _settings(self, kind: str) -> list[_Entry]:
        fused: list[_Entry] = [("relu", self.rng.choice(["true", "false"]))] if self._chance(0.3) else []
        deep = self._chance(0.3)
        found: list[_Entry] = {
            "convolution": [("num_output", "0x4"), ("kernel_size", "3"), *fused, *self._some(("negative_slope", ".1"))],
            "inner_product": [("num_output", "10"), *fused],
            "pooling": [("kernel_size", "3"), ("pool", "AVE"), *self._some(("stride", "2"))],
            "loss": self._some(("normalize", "false"), ("ignore_label", "255")),
            "data": [("source", '"db"'), *self._some(("scale", "0.5"), ("mean_file", '"m"'), ("mirror", "true"))],
            "batch_norm": [*self._some(("eps", "1e-3")), *fused],
        }[kind]
        if deep and kind in ("convolution", "pooling"):
            found += [("kernel_depth", "2"), *self._some(("temporal_stride", "2"))]
        self.rng.shuffle(found)
        return found

    # -- how it is written -------------------------------------------------------------------------------------
    def _lines(self, entries: list[_Entry], indent: str) -> str:
        """Entries with a line for most of them."""
        out = ""
        for name, value in entries:
            if self._commented and (not out or out.endswith("\n")) and self._chance(0.2):
                self.kept += 1
                out += f"{indent}# keep {self.kept}\n"
            out += (indent if not out or out.endswith("\n") else " ") + self._entry(name, value, indent)
            if self._commented and self._chance(0.2):
                out += "  # of the line\n"
            elif not self._chance(self._shared):
                out += "\n"
        return out if out.endswith("\n") or not out else f"{out}\n"

    def _entry(self, name: str, value: str | list[_Entry], indent: str) -> str:
        first, last = tuple(self._brackets)
        if isinstance(value, str):
            gap = f" # within\n{indent}" if self._commented and self._chance(0.05) else " "
            return f"{name}:{gap}{value}{self.rng.choice(['', '', ',', ';'])}"
        if self._chance(self._short) or not value:
            inside = [self._entry(*entry, indent) for entry in value]
            return f"{name} {first} {' '.join(inside)} {last}"
        return f"{name} {first}\n{self._lines(value, indent + self._unit)}{indent}{last}"
