"""Random nets with branches: several losses, shared and frozen weights, layers in place, and what no loss reads."""

from __future__ import annotations

import numpy as np

__all__ = ["BranchingNet"]

_NEURONS = ("TanH", "Sigmoid", "ELU", "Dropout", "NoisyBN")  # smooth, so that differences are right everywhere


class BranchingNet:
    """Grows a net of inner products by random steps; `text` is its prototxt."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.images, self.wanted = self._pick(2, 3, 5), self._pick(2, 3)
        self.layers: list[str] = []
        self.widths: dict[str, int] = {}  # of the blobs, by name
        self._shared: dict[tuple[int, int], str] = {}
        self._data()
        for _ in range(self._pick(2, 3, 4)):
            self._step()
            if self._chance(0.3):
                self._loss()
        self._loss()
        if self._chance(0.3):
            self._step()
        self.text = "".join(self.layers)

    def _pick(self, *values: int) -> int:
        return values[int(self.rng.integers(len(values)))]

    def _word(self, *words: str) -> str:
        return words[int(self.rng.integers(len(words)))]

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _add(self, kind: str, bottoms: list[str], settings: str = "", width: int = 0, in_place: bool = False) -> str:
        name = f"{kind.lower()}{len(self.layers)}"
        top = bottoms[0] if in_place else name
        ends = " ".join([*(f'bottom: "{bottom}"' for bottom in bottoms), f'top: "{top}"'])
        self.layers.append(f'layer {{ name: "{name}" type: "{kind}" {ends} {settings} }}\n')
        if width:
            self.widths[top] = width
        return top

    def _data(self) -> None:
        width = self._pick(3, 4)
        shapes = " ".join(
            f"shape {{ dim: {self.images} {dim} }}" for dim in (f"dim: {width}", f"dim: {self.wanted}", "")
        )
        self.layers.append(
            'layer { name: "data" type: "DummyData" top: "data" top: "target" top: "label" dummy_data_param { '
            + shapes
            + ' data_filler { type: "gaussian" } data_filler { type: "gaussian" } data_filler { value: 1 } } }\n'
        )
        self.widths["data"] = width

    def _product(self, bottom: str, outputs: int = 0) -> str:
        outputs = outputs or self._pick(2, 3, 4)
        param = self._word("", "", "param { lr_mult: 0 }", "param { lr_mult: 2 }")
        if self._chance(0.3):
            key = (self.widths[bottom], outputs)
            param = f'param {{ name: "{self._shared.setdefault(key, f"w{len(self._shared)}")}" }}'
        bias = self._word("true", "false")
        product = f'num_output: {outputs} bias_term: {bias} weight_filler {{ type: "gaussian" std: 0.6 }}'
        return self._add("InnerProduct", [bottom], f"{param} inner_product_param {{ {product} }}", outputs)

    def _step(self) -> None:
        top = self._product(self._word(*self.widths))
        width = self.widths[top]
        if self._chance(0.4):
            top = self._add(self._word("BN", "LayerNorm"), [top], width=width)
        if self._chance(0.7):
            top = self._add(self._word(*_NEURONS), [top], width=width, in_place=self._chance(0.6))
        alike = [name for name, other in self.widths.items() if other == width and name != top]
        if alike and self._chance(0.3):
            self._add("Eltwise", [top, self._word(*alike)], width=width)

    def _loss(self) -> None:
        bottom = self._word(*(name for name in self.widths if name != "data"))
        weight = self._word("", "loss_weight: 0.5")
        if self._chance(0.3):
            self._add("Reduction", [bottom], "reduction_param { operation: SUMSQ } loss_weight: 0.1")
        elif self._chance(0.5):
            self._add("EuclideanLoss", [self._product(bottom, self.wanted), "target"], weight)
        else:
            self._add("SoftmaxWithLoss", [self._product(bottom, self.wanted), "label"], weight)
