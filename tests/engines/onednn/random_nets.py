"""Small random nets over the layers that have lowerings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Shape = tuple[int, ...]


@dataclass
class RandomNet:
    """Grows a net layer by layer from a seed; `text` is its prototxt, with inputs x0 (image) and x1 (labels)."""

    seed: int
    text: str = ""
    shapes: dict[str, Shape] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    count: int = 0
    fragile: str = ""  # made by a layer whose reference backward reads what one in place would have overwritten

    CLASSES = 4

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        n = self.pick(1, 2, 3)
        image = (n, self.pick(3, 5, 16, 17, 32), self.pick(4, 5, 7), self.pick(4, 6, 7))
        self.text = "force_backward: true\n" if self.chance(0.5) else ""
        self._input("x0", image)
        self._input("x1", (n,))
        self.used.add("x1")
        for _ in range(self.pick(2, 4, 6, 9)):
            self._grow()
        last = self._bottom()
        settings = f"inner_product_param {{ num_output: {self.CLASSES} }}"
        self.add("InnerProduct", settings, [last], "scores", (n, self.CLASSES))
        self.add("SoftmaxWithLoss", "", ["scores", "x1"], "loss", ())

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def labels(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.random.default_rng(self.seed).integers(0, self.CLASSES, self.shapes["x1"][0]).astype(np.float32)

    def _input(self, name: str, shape: Shape) -> None:
        dims = " ".join(f"dim: {dim}" for dim in shape)
        self.text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
        self.shapes[name] = shape

    def add(self, kind: str, settings: str, bottoms: list[str], top: str, shape: Shape, *more: str) -> None:
        self.count += 1
        wired = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        tops = " ".join(f'top: "{name}"' for name in (top, *more))
        self.text += f'layer {{ name: "{kind.lower()}{self.count}" type: "{kind}" {wired} {tops} {settings} }}\n'
        self.used.update(bottoms)
        if kind in ("BNLL", "ELU"):
            self.fragile = top
        for name in (top, *more):
            self.shapes[name] = shape
            self.used.discard(name)

    def _bottom(self) -> str:
        """Mostly a blob that nobody has read."""
        free = [name for name in self.shapes if name not in self.used]
        names = free if free and self.chance(0.8) else [name for name in self.shapes if name != "x1"]
        return str(self.rng.choice(names))

    def _grow(self) -> None:
        bottom = self._bottom()
        shape = self.shapes[bottom]
        image = len(shape) == 4
        steps = [self._neuron, self._neuron, self._affine, self._inner_product, self._two]
        if image:
            steps += [self._convolve, self._convolve, self._pool, self._normalize, self._normalize, self._rearrange]
        steps[int(self.rng.integers(len(steps)))](bottom, shape)

    def _top(self, bottom: str) -> str:
        """In place, where nobody else reads the blob, or a new one."""
        if bottom not in self.used and bottom not in ("x0", self.fragile) and self.chance(0.6):
            return bottom
        return f"b{self.count + 1}"

    def _new(self) -> str:
        return f"b{self.count + 1}"

    def _neuron(self, bottom: str, shape: Shape) -> None:
        kind, settings = _NEURONS[int(self.rng.integers(len(_NEURONS)))]
        self.add(kind, settings, [bottom], self._top(bottom), shape)

    def _affine(self, bottom: str, shape: Shape) -> None:
        if self.chance(0.5):
            bias = "true" if self.chance(0.7) else "false"
            self.add("Scale", f"scale_param {{ bias_term: {bias} }}", [bottom], self._top(bottom), shape)
        else:
            self.add("Bias", "", [bottom], self._top(bottom), shape)

    def _inner_product(self, bottom: str, shape: Shape) -> None:
        outputs = self.pick(3, 8, 16)
        axis = self.pick(1, 1, len(shape) - 1)
        transpose = "true" if self.chance(0.3) else "false"
        settings = f"inner_product_param {{ num_output: {outputs} axis: {axis} transpose: {transpose} }}"
        self.add("InnerProduct", settings, [bottom], self._new(), (*shape[:axis], outputs))

    def _two(self, bottom: str, shape: Shape) -> None:
        """A blob with another of its shape, or with itself."""
        same = [name for name, other in self.shapes.items() if other == shape and name not in ("x1", bottom)]
        other = str(self.rng.choice(same)) if same else bottom
        choice = self.pick(0, 0, 1, 2)
        if choice == 2:
            top = (shape[0], 2 * shape[1], *shape[2:])
            self.add("Concat", "", [bottom, other], self._new(), top)
            return
        settings = ("", "operation: PROD", "coeff: 0.5 coeff: -1")[self.pick(0, 0, 1, 2)]
        self.add("Eltwise", f"eltwise_param {{ {settings} }}", [bottom, other], self._new(), shape)

    def _convolve(self, bottom: str, shape: Shape) -> None:
        n, channels, h, w = shape
        kernel, stride, pad = self.pick(1, 3), self.pick(1, 1, 2), self.pick(0, 1)
        if min(h, w) + 2 * pad < kernel:
            pad = 1
        outputs = self.pick(4, 8, 16, 32)
        group = 1
        if self.chance(0.3):
            group = channels if channels <= 32 else 1
            outputs = group * self.pick(1, 2)
        kind = "Deconvolution" if self.chance(0.15) and max(h, w) < 9 else "Convolution"
        settings = (
            f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} "
            f"group: {group} bias_term: {'true' if self.chance(0.7) else 'false'} }}"
        )
        if kind == "Convolution":
            size = tuple((s + 2 * pad - kernel) // stride + 1 for s in (h, w))
        else:
            size = tuple(stride * (s - 1) + kernel - 2 * pad for s in (h, w))
        if min(size) < 1:
            return
        self.add(kind, settings, [bottom], self._new(), (n, outputs, *size))

    def _pool(self, bottom: str, shape: Shape) -> None:
        kernel, stride = self.pick(2, 3), self.pick(1, 2)
        pad = self.pick(0, 0, 1)
        if min(shape[2:]) + 2 * pad < kernel:
            return
        method = "MAX" if self.chance(0.5) else "AVE"
        settings = f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
        size = []
        for s in shape[2:]:
            out = -(-(s + 2 * pad - kernel) // stride) + 1
            if pad and (out - 1) * stride >= s + pad:
                out -= 1
            size.append(out)
        self.add("Pooling", settings, [bottom], self._new(), (*shape[:2], *size))

    def _normalize(self, bottom: str, shape: Shape) -> None:
        if shape[0] * shape[2] * shape[3] < 4:
            return  # statistics of a few values are a division by nearly nothing
        kind = self.pick(0, 1, 2, 3)
        if kind == 0:
            top = self._top(bottom)
            self.add("BatchNorm", "", [bottom], top, shape)
            if self.chance(0.7):
                self.add("Scale", "scale_param { bias_term: true }", [top], self._top(top), shape)
        elif kind == 1:
            self.add("BN", "", [bottom], self._top(bottom), shape)
        else:
            region = "WITHIN_CHANNEL" if kind == 2 else "ACROSS_CHANNELS"
            settings = f"lrn_param {{ local_size: {self.pick(3, 5)} alpha: 0.3 norm_region: {region} }}"
            self.add("LRN", settings, [bottom], self._top(bottom), shape)
        if self.chance(0.5):
            top = list(self.shapes)[-1] if bottom in self.used else bottom
            self.add("ReLU", "", [top], self._top(top), shape if self.shapes[top] == shape else self.shapes[top])

    def _rearrange(self, bottom: str, shape: Shape) -> None:
        choice = self.pick(0, 1, 2)
        if choice == 0:
            self.add("Flatten", "", [bottom], self._new(), (shape[0], shape[1] * shape[2] * shape[3]))
        elif choice == 1 and shape[1] % 2 == 0:
            half = (shape[0], shape[1] // 2, *shape[2:])
            self.add("Slice", "", [bottom], self._new(), half, self._new() + "x")
        else:
            settings = "reshape_param { shape { dim: 0 dim: -1 dim: 1 dim: 1 } }"
            self.add("Reshape", settings, [bottom], self._new(), (shape[0], shape[1] * shape[2] * shape[3], 1, 1))


_NEURONS = [
    ("ReLU", ""),
    ("ReLU", ""),
    ("ReLU", "relu_param { negative_slope: 0.1 }"),
    ("ReLU6", ""),
    ("PReLU", ""),
    ("Sigmoid", ""),
    ("TanH", ""),
    ("ELU", ""),
    ("BNLL", ""),
    ("Swish", ""),
    ("AbsVal", ""),
    ("HardSwish", ""),
    ("Clip", "clip_param { min: -0.7 max: 1.1 }"),
    ("Power", "power_param { scale: 0.7 shift: 0.2 }"),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 0.5 }"),
    ("Exp", "exp_param { scale: 0.3 }"),
    ("Dropout", ""),
    ("Softmax", ""),
]
