"""Random nets around normalisations, as text with comments: phases, shared weights, branches, layers in between."""

from __future__ import annotations

import numpy as np

__all__ = ["NormalisedNet"]

Shape = tuple[int, ...]

_NORMS = {
    "split": ('"BatchNorm" batch_norm_param {{ {rule} }}', '"Scale" scale_param {{ bias_term: true }}'),
    "no shift": ('"BatchNorm" batch_norm_param {{ {rule} }}', '"Scale"'),
    "no scale": ('"BatchNorm" batch_norm_param {{ {rule} }}', ""),
    "merged": ('"BN" batch_norm_param {{ {rule} }}', ""),
    "synchronised": ('"SyncBN" batch_norm_param {{ {rule} }}', ""),
    "affine": ('"BatchNorm" batch_norm_param {{ scale_bias: true {rule} }}', ""),
    "of forks": ('"BN" bn_param {{ momentum: 0.7 }}', ""),
    "of SegNet": ('"BN" bn_param {{ bn_mode: INFERENCE }}', ""),
    "per item": ('"InstanceNorm"', ""),
}
_RULES = ("", "", "eps: 0.1", "eps: 1e-10", "average: EMA decay: 0.7", "average: CUMULATIVE", "average: LATEST",
          "moving_average_fraction: 0.8", "ghost_batch: 2", "gradient_through_statistics: false")  # fmt: skip
_NEURONS = ("ReLU", "PReLU", "Sigmoid", "TanH", "Dropout", "Power", "NoisyBN")


class NormalisedNet:
    """Grows a net by random blocks; `text` is its prototxt, `lines` those of its layers with their comments."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.shapes: dict[str, Shape] = {}
        shapes = [(4, 3, 4, 5), (4, 2, 3, 3), (4, 6), (4, 3, 4), (4, 2, 2, 3, 3)]
        for k in range(1 + int(self._chance(0.3))):
            shape = shapes[int(self.rng.integers(len(shapes)))]
            dims = " ".join(f"dim: {size}" for size in shape)
            self._add(f'"Input" input_param {{ shape {{ {dims} }} }}', [], f"x{k}", shape)
        blocks = [self._block, self._block, self._block, self._towers, self._pair, self._join, self._pool]
        for _ in range(3):
            bottom = self._word(*self.shapes)
            blocks[int(self.rng.integers(len(blocks)))](bottom)
        self.text = "\n".join(['name: "random"', "force_backward: true", *self.lines, "# the end", ""])

    def _word(self, *words: str) -> str:
        return words[int(self.rng.integers(len(words)))]

    def _pick(self, *numbers: int) -> int:
        return numbers[int(self.rng.integers(len(numbers)))]

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _add(
        self, what: str, bottoms: list[str], top: str, shape: Shape, name: str = "", more: str = "", rule: str = ""
    ) -> str:
        """A layer; what: its type in quotes and its settings. Returns its top, a new one where that is empty."""
        name = name or f"l{len(self.lines)}"
        top = top or f"b{len(self.lines)}"
        include = f"include {{ phase: {rule} }}" if rule else ""
        ends = " ".join([*(f'bottom: "{bottom}"' for bottom in bottoms), f'top: "{top}"'])
        comment = f"  # {len(self.lines)}" if self._chance(0.5) else ""
        self.lines.append(f'layer {{ name: "{name}" type: {what} {ends} {more} {include} }}{comment}')
        self.shapes[top] = shape
        return top

    def _product(self, bottom: str, name: str = "", top: str = "", rule: str = "", shared: str = "") -> str:
        shape = self.shapes[bottom]
        bias = self._chance(0.6)
        common = f'bias_term: {str(bias).lower()} weight_filler {{ type: "gaussian" std: 0.5 }}'
        specs = " ".join(f'param {{ name: "{shared}{k}" }}' for k in range(1 + bias)) if shared else ""
        if not shared and self._chance(0.2):
            specs = "param { lr_mult: 0 decay_mult: 0 }"
        if len(shape) < 4:
            outputs, axis = self._pick(2, 4), self._pick(1, 1, 2) if len(shape) == 3 else 1
            transpose = str(self._chance(0.4)).lower()
            param = f"num_output: {outputs} axis: {axis} transpose: {transpose} {common}"
            made = (*shape[:axis], outputs)
            return self._add(
                f'"InnerProduct" inner_product_param {{ {param} }}', [bottom], top, made, name, specs, rule
            )
        group = shape[1] if self._chance(0.3) else 1
        outputs, kernel = group * self._pick(1, 2), self._pick(1, 3)
        kind = "Deconvolution" if self._chance(0.3) else "Convolution"
        param = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} group: {group} {common}"
        made = (shape[0], outputs, *shape[2:])
        return self._add(f'"{kind}" convolution_param {{ {param} }}', [bottom], top, made, name, specs, rule)

    def _norm(self, bottom: str, kind: str = "", name: str = "", top: str = "", rule: str = "") -> str:
        shape = self.shapes[bottom]
        norm, scale = _NORMS[kind or self._word(*_NORMS)]
        top = top or self._word(bottom, "")
        made = self._add(norm.format(rule=self._word(*_RULES)), [bottom], top, shape, name, rule=rule)
        if scale:
            made = self._add(
                scale.replace("{{", "{").replace("}}", "}"), [made], made, shape, name and f"{name}_s", rule=rule
            )
        return made

    def _neuron(self, bottom: str) -> str:
        top = bottom if self._chance(0.5) else ""
        return self._add(f'"{self._word(*_NEURONS)}"', [bottom], top, self.shapes[bottom])

    def _block(self, bottom: str) -> None:
        top = self._product(bottom)
        top = self._neuron(top) if self._chance(0.2) else top
        top = self._norm(top) if self._chance(0.9) else top
        if self._chance(0.6):
            self._neuron(top)

    def _towers(self, bottom: str) -> None:
        """Two layers that share their weights, each with a normalisation of one kind."""
        other = self._word(*(name for name, shape in self.shapes.items() if shape == self.shapes[bottom]))
        shared, kind, state = f"w{len(self.lines)}", self._word(*_NORMS), self.rng.bit_generator.state
        tops = []
        for source in (bottom, other):
            self.rng.bit_generator.state = state
            tops.append(self._norm(self._product(source, shared=shared), kind))
        self._add('"Eltwise"', tops, "", self.shapes[tops[0]])

    def _pair(self, bottom: str) -> None:
        """One name for a layer of TRAIN and one of TEST: a normalisation, and perhaps what it normalises."""
        number, both, state = len(self.lines), self._chance(0.4), self.rng.bit_generator.state
        top = "" if both else self._product(bottom)
        kind, last = self._word("split", "merged", "affine"), self._chance(0.2)
        for phase in ("TRAIN", "TEST"):
            if both:
                self.rng.bit_generator.state = state
                top = self._product(bottom, f"pair{number}", f"p{number}", phase)
            if phase == "TRAIN" or not last:
                self.rng.bit_generator.state = state
                self._norm(top, kind, f"norm{number}", top if last else f"n{number}", phase)

    def _join(self, bottom: str) -> None:
        alike = [name for name, shape in self.shapes.items() if shape == self.shapes[bottom]]
        self._add('"Eltwise"', [bottom, self._word(*alike)], "", self.shapes[bottom])

    def _pool(self, bottom: str) -> None:
        shape = self.shapes[bottom]
        if len(shape) == 4:
            settings = "pooling_param { global_pooling: true pool: AVE }"
            self._add(f'"Pooling" {settings}', [bottom], "", (*shape[:2], 1, 1))
