"""Random nets of what deployed nets are made of: chains behind convolutions, shuffles, squeeze and excitation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.engines.onednn.random_nets import RandomNet, Shape

__all__ = ["DeployedNet"]


@dataclass
class DeployedNet(RandomNet):
    """Grows a net pattern by pattern, with odd settings and layers in between that break a pattern. It has no loss."""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        n, high = self.pick(1, 1, 2, 3), self.pick(1, 3, 4, 7, 14)
        for name in ("x0", "x2")[: self.pick(1, 1, 2)]:
            self._input(name, (n, self._channels(), high, high if high == 1 else self.pick(4, 5, 8)))
        patterns = [self._chain, self._chain, self._chain, self._residual, self._squeeze, self._shuffle, self._join,
                    self._pool, self._neuron, self._affine, self._two, self._enlarge, self._reshape, self._tied,
                    self._inner_product]  # fmt: skip
        for _ in range(self.pick(1, 2, 4, 6)):
            bottom = self._bottom()
            patterns[int(self.rng.integers(len(patterns)))](bottom, self.shapes[bottom])

    def _channels(self) -> int:
        return self.pick(1, 3, 4, 8, 12, 16, 17, 24, 32)

    # -- convolutions and what is computed with them ---------------------------------------------------------
    def _conv(self, bottom: str, outputs: int = 0, plain: bool = False) -> str:
        """A convolution, an inner product of what has no map; plain: of the same size."""
        shape, top = self.shapes[bottom], self._new()
        if len(shape) < 3:
            outputs = outputs or self._channels()
            param = f"num_output: {outputs} bias_term: {self.flag(0.8)}"
            self.add("InnerProduct", f"inner_product_param {{ {param} }}", [bottom], top, (shape[0], outputs))
            return top
        n, channels, *size = shape
        kernel, stride, dilation = self.pick(1, 1, 3, 3, 5), self.pick(1, 1, 2, 3), self.pick(1, 1, 1, 2)
        if plain or kernel > 1:
            stride = 1 if plain else self.pick(1, 1, 2)
        groups = [g for g in range(2, channels + 1) if channels % g == 0 and (channels // g <= 8 or g == channels)]
        group = self.pick(*([1] * max(1, len(groups))), *groups, *([channels] * 2))
        if outputs:
            group = math.gcd(group, outputs)
        elif group > 1:
            outputs = group * self.pick(1, 2, channels // group)
        outputs = outputs or self._channels()
        pad = dilation * (kernel // 2)
        made = tuple((s - 1) // stride + 1 for s in size)
        param = (
            f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation} "
            f"group: {group} bias_term: {self.flag(0.7)}"
        )
        self.add("Convolution", f"convolution_param {{ {param} }}", [bottom], top, (n, outputs, *made))
        return top

    def _function(self, bottom: str) -> str:
        top, (kind, settings) = self._top(bottom), FUNCTIONS[int(self.rng.integers(len(FUNCTIONS)))]
        self.add(kind, settings, [bottom], top, self.shapes[bottom])
        return top

    def _norm(self, bottom: str) -> str:
        shape, top = self.shapes[bottom], self._top(bottom)
        kind = self.word("BatchNorm", "BN")
        self.add(kind, "", [bottom], top, shape)
        if kind == "BatchNorm" and self.chance(0.8):
            bottom, top = top, self._top(top)
            self.add("Scale", f"scale_param {{ bias_term: {self.flag(0.8)} }}", [bottom], top, shape)
        return top

    def _chain(self, bottom: str, shape: Shape) -> None:
        top = self._conv(bottom)
        top = self._norm(top) if self.chance(0.4) else top
        if self.chance(0.2):  # between the convolution and its function
            between = self._top(top)
            kind = self.word("Dropout", "Power", "Bias")
            settings = "power_param { scale: 0.5 shift: 0.25 }" if kind == "Power" else ""
            self.add(kind, settings, [top], between, self.shapes[top])
            top = between
        if self.chance(0.75):
            self._function(top)

    def _residual(self, bottom: str, shape: Shape) -> None:
        top = bottom
        for _ in range(self.pick(1, 2)):
            top = self._conv(top, shape[1], plain=True)
            top = self._norm(top) if self.chance(0.4) else top
            top = self._function(top) if self.chance(0.3) else top
        if self.shapes[top] != shape:
            return
        settings = self.word("", "", "operation: MAX", "operation: PROD", "coeff: 1 coeff: 1", "coeff: -1 coeff: 2")
        both, made = self.word("top", "bottom"), self._new()
        bottoms = [top, bottom] if both == "top" else [bottom, top]
        self.add("Eltwise", f"eltwise_param {{ {settings} }}", bottoms, made, shape)
        if self.chance(0.7):
            self._function(made)

    def _tied(self, bottom: str, shape: Shape) -> None:
        """Two convolutions with the same parameters."""
        name = f"w{self.count}"
        if len(shape) < 3:
            return
        param = f"convolution_param {{ num_output: {shape[1]} kernel_size: 3 pad: 1 bias_term: false }}"
        for _ in range(2):
            top = self._new()
            self.add("Convolution", f'{param} param {{ name: "{name}" }}', [bottom], top, shape)
            bottom = self._function(top) if self.chance(0.7) else top

    # -- squeeze and excitation --------------------------------------------------------------------------------
    def _squeeze(self, bottom: str, shape: Shape) -> None:
        if len(shape) != 4:
            return
        n, channels, *_ = shape
        top, y = self._new(), bottom
        method = self.word("AVE", "AVE", "MAX")
        self.add(
            "Pooling", f"pooling_param {{ pool: {method} global_pooling: true }}", [bottom], top, (n, channels, 1, 1)
        )
        for outputs in (self.pick(1, 2, 8), channels):
            top, before = self._new(), top
            flat = len(self.shapes[before]) == 2 or self.chance(0.3)
            ones: Shape = () if flat else (1, 1)
            kind, param = ("InnerProduct", "") if flat else ("Convolution", "kernel_size: 1")
            field = "inner_product_param" if flat else "convolution_param"
            self.add(kind, f"{field} {{ num_output: {outputs} {param} }}", [before], top, (n, outputs, *ones))
            kind = self.word("Sigmoid", "HardSigmoid", "TanH") if outputs == channels else self.word("ReLU", "Swish")
            top, before = self._top(top), top
            self.add(kind, "", [before], top, self.shapes[before])
        how, made = self.word("Scale", "Scale", "Axpy"), self._new()
        if how == "Axpy":
            self.add("Axpy", "", [top, bottom, y], made, shape)
        else:
            if len(self.shapes[top]) > 2:
                self.shared.add(made)
                self.add("Flatten", "", [top], made, (n, channels))
                top, made = made, self._new()
            made = self._top(bottom) if self.chance(0.3) else made
            self.add("Scale", f"scale_param {{ axis: {self.word('0', '-4')} }}", [bottom, top], made, shape)
        if self.chance(0.5):
            self._function(made)

    # -- channels ------------------------------------------------------------------------------------------------
    def _sliced(self, bottom: str, parts: int) -> list[str]:
        shape = self.shapes[bottom]
        cuts = sorted(self.rng.choice(np.arange(1, shape[1]), parts - 1, replace=False).tolist())
        if shape[1] % parts == 0 and self.chance(0.5):
            cuts = [shape[1] // parts * i for i in range(1, parts)]
        first, *more = [f"{self._new()}{letter}" for letter in "xyz"[:parts]]
        settings = " ".join(f"slice_point: {cut}" for cut in cuts)
        axis = self.pick(1, 1 - len(shape))
        self.add("Slice", f"slice_param {{ axis: {axis} {settings} }}", [bottom], first, shape, *more)
        edges = [0, *cuts, shape[1]]
        for i, name in enumerate((first, *more)):
            self.shapes[name] = (shape[0], edges[i + 1] - edges[i], *shape[2:])
        return [first, *more]

    def _shuffle(self, bottom: str, shape: Shape) -> None:
        """ShuffleNet's slice, branches, concatenation, shuffle and slice, of which each may be missing."""
        parts = self._sliced(bottom, 2) if self.chance(0.7) and shape[1] > 1 else [bottom]
        for i, part in enumerate(parts):
            if self.chance(0.6):
                top = self._conv(part, self.pick(0, self.shapes[part][1]), plain=True)
                parts[i] = self._function(top) if self.chance(0.7) else top
        joined = self._joined(parts) if len(parts) > 1 or self.chance(0.5) else parts[0]
        channels = self.shapes[joined][1]
        group = self.pick(2, 2, *(g for g in range(1, channels + 1) if channels % g == 0))
        if channels % group == 0:
            top = self._new()
            settings = f"shuffle_channel_param {{ group: {group} }}"
            self.add("ShuffleChannel", settings, [joined], top, self.shapes[joined])
            joined = top
        if self.chance(0.7) and channels > 2:
            self._conv(self._sliced(joined, self.pick(2, 3))[-1])

    def _joined(self, bottoms: list[str]) -> str:
        shape, top = self.shapes[bottoms[0]], self._new()
        total = sum(self.shapes[bottom][1] for bottom in bottoms)
        axis = self.pick(1, 1 - len(shape))
        if len(bottoms) == 1:  # a view
            self.shared |= {top, bottoms[0]}
        self.add("Concat", f"concat_param {{ axis: {axis} }}", bottoms, top, (shape[0], total, *shape[2:]))
        return top

    def _join(self, bottom: str, shape: Shape) -> None:
        alike = [name for name, s in self.shapes.items() if (s[:1], s[2:]) == (shape[:1], shape[2:]) and len(s) > 1]
        top = self._joined([bottom, *(self.word(*alike) for _ in range(self.pick(0, 1, 2)))])
        if self.chance(0.3):
            self._function(top)

    def _pool(self, bottom: str, shape: Shape) -> None:
        if len(shape) > 2:
            super()._pool(bottom, shape)

    def _enlarge(self, bottom: str, shape: Shape) -> None:
        if len(shape) != 4 or max(shape[2:]) > 8:
            return
        n, channels, high, wide = shape
        top = self._new()
        if self.chance(0.3):
            self.add("Upsample", "upsample_param { scale: 2 }", [bottom], top, (n, channels, 2 * high, 2 * wide))
        elif self.chance(0.3):
            size = (2 * high - 1, 2 * wide - 1)
            self.add("Interp", "interp_param { zoom_factor: 2 }", [bottom], top, (n, channels, *size))
        else:
            group = channels if self.chance(0.3) else 1
            outputs = channels if group > 1 else self.pick(3, 8)
            param = f"num_output: {outputs} kernel_size: 3 stride: 2 group: {group}"
            size = (2 * high + 1, 2 * wide + 1)
            self.add("Deconvolution", f"convolution_param {{ {param} }}", [bottom], top, (n, outputs, *size))
        if self.chance(0.5):
            self._function(top)


FUNCTIONS = [
    *[("ReLU", "")] * 3,
    ("ReLU", "relu_param { negative_slope: 0.1 }"),
    ("ReLU", "relu_param { negative_slope: -2 }"),
    ("ReLU", "relu_param { relu6: true }"),
    ("ReLU6", ""),
    ("ReLU6", "relu6_param { negative_slope: 0.1 }"),
    ("PReLU", ""),
    ("Sigmoid", ""),
    ("TanH", ""),
    ("ELU", "elu_param { alpha: 0.6 }"),
    ("ELU", "elu_param { alpha: -0.6 }"),
    ("BNLL", ""),
    ("Swish", "swish_param { beta: -1.4 }"),
    ("AbsVal", ""),
    ("HardSwish", ""),
    ("HardSigmoid", ""),
    ("Mish", ""),
    ("SeLU", ""),
    ("Clip", "clip_param { min: -0.7 max: 1.1 }"),
    ("Clip", "clip_param { min: 0.2 max: 0.4 }"),
    ("Clip", "clip_param { min: -1e38 max: 1e38 }"),
]
