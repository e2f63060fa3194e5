"""Small random nets over all layers that have lowerings, with their options."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

Shape = tuple[int, ...]


@dataclass
class RandomNet:
    """Grows a net layer by layer from a seed; `text` is its prototxt, with inputs x0 (image or volume) and x1 (labels).

    In a net with `IGNORED` among its labels the loss leaves those out.
    """

    seed: int
    text: str = ""
    shapes: dict[str, Shape] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)  # views of what others read as well: not to be overwritten
    count: int = 0

    CLASSES = 4
    IGNORED = 255

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        n = self.pick(1, 2, 3)
        channels = self.pick(3, 5, 16, 17, 32)
        image: Shape = (n, channels, self.pick(4, 5, 7), self.pick(4, 6, 7))
        if self.chance(0.1):
            image = (n, self.pick(3, 8, 16), self.pick(3, 4), self.pick(3, 4), self.pick(3, 5))
        elif self.chance(0.05):
            image = (n, channels, self.pick(5, 8))
        self.text = "force_backward: true\n" if self.chance(0.5) else ""
        self._input("x0", image)
        self.spatial_loss = self.chance(0.2)
        self.labels_shape: Shape = (n, 2) if self.spatial_loss else (n,)
        self._input("x1", self.labels_shape)
        self.used.add("x1")
        for _ in range(self.pick(2, 4, 6, 9)):
            self._grow()
        self._finish(n)

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def word(self, *choices: str) -> str:
        return str(self.rng.choice(choices))

    def flag(self, probability: float = 0.5) -> str:
        return "true" if self.chance(probability) else "false"

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def labels(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        rng = np.random.default_rng(self.seed)
        labels = rng.integers(0, self.CLASSES, self.labels_shape).astype(np.float32)
        if self.ignores:
            labels[rng.random(labels.shape) < 0.3] = self.IGNORED
        return labels

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
        for name in (top, *more):
            self.shapes[name] = shape
            self.used.discard(name)

    def _finish(self, n: int) -> None:
        last = self._bottom()
        if self.shapes[last][0] != n:  # joined or cut along the batch
            last = "x0"
        outputs = self.CLASSES * (2 if self.spatial_loss else 1)
        self.add("InnerProduct", f"inner_product_param {{ num_output: {outputs} }}", [last], "scores", (n, outputs))
        if self.spatial_loss:
            dims = f"dim: 0 dim: {self.CLASSES} dim: 2"
            self.add("Reshape", f"reshape_param {{ shape {{ {dims} }} }}", ["scores"], "grid", (n, self.CLASSES, 2))
        self.ignores = self.chance(0.3)
        ignored = f"ignore_label: {self.IGNORED}" if self.ignores else ""
        mode = self.word("FULL", "VALID", "BATCH_SIZE", "NONE")
        settings = f"loss_param {{ normalization: {mode} {ignored} }}"
        settings += " loss_weight: 0.7" if self.chance(0.2) else ""
        self.add("SoftmaxWithLoss", settings, ["grid" if self.spatial_loss else "scores", "x1"], "loss", ())

    def _bottom(self) -> str:
        """Mostly a blob that nobody has read."""
        free = [name for name in self.shapes if name not in self.used]
        names = free if free and self.chance(0.8) else list(self.shapes)
        names = [name for name in names if name != "x1" and len(self.shapes[name]) > 1]
        return self.word(*names) if names else "x0"

    def _grow(self) -> None:
        bottom = self._bottom()
        shape = self.shapes[bottom]
        steps = [
            self._neuron,
            self._neuron,
            self._affine,
            self._inner_product,
            self._two,
            self._rows,
            self._cut,
            self._reshape,
        ]
        if len(shape) >= 3:
            steps += [self._convolve, self._convolve, self._pool, self._normalize, self._normalize]
        steps[int(self.rng.integers(len(steps)))](bottom, shape)

    def _top(self, bottom: str) -> str:
        """In place, where nobody else reads the blob, or a new one."""
        return bottom if bottom not in self.used | self.shared and self.chance(0.6) else self._new()

    def _new(self) -> str:
        return f"b{self.count + 1}"

    def _neuron(self, bottom: str, shape: Shape) -> None:
        kind, settings = _NEURONS[int(self.rng.integers(len(_NEURONS)))]
        if kind == "Log":  # of what is surely positive
            top = self._top(bottom)
            self.add("Sigmoid", "", [bottom], top, shape)
            bottom = top
        if kind == "Softmax":
            settings = f"softmax_param {{ axis: {self.pick(*range(1, len(shape)))} }}"
        if kind == "PReLU":
            settings = f"prelu_param {{ channel_shared: {self.flag(0.3)} }}"
        self.add(kind, settings, [bottom], self._top(bottom), shape)

    def _affine(self, bottom: str, shape: Shape) -> None:
        axis, many = self.pick(*([1] * 4), *range(len(shape))), 1
        if self.chance(0.3):
            many = self.pick(-1, 0, *range(1, len(shape) - axis + 1))
        if self.chance(0.15) and axis < len(shape):  # the operand is a blob
            other = f"o{self.count + 1}"
            self._input(other, shape[axis : axis + max(many, 1)] if many != -1 else shape[axis:])
            self.add("Scale", f"scale_param {{ axis: {axis} bias_term: {self.flag()} }}", [bottom, other],
                     self._top(bottom), shape)  # fmt: skip
            return
        place = f"axis: {axis} num_axes: {many}"
        if self.chance(0.6):
            settings = f"scale_param {{ {place} bias_term: {self.flag(0.7)} }}"
            self.add("Scale", settings, [bottom], self._top(bottom), shape)
        else:
            self.add("Bias", f"bias_param {{ {place} }}", [bottom], self._top(bottom), shape)

    def _inner_product(self, bottom: str, shape: Shape) -> None:
        outputs = self.pick(3, 8, 16)
        axis = self.pick(1, 1, max(1, len(shape) - 1))
        settings = (
            f"inner_product_param {{ num_output: {outputs} axis: {axis} transpose: {self.flag(0.3)} "
            f"bias_term: {self.flag(0.8)} }}"
        )
        self.add("InnerProduct", settings, [bottom], self._new(), (*shape[:axis], outputs))

    def _two(self, bottom: str, shape: Shape) -> None:
        """A blob with others of its shape, or with itself."""
        same = [name for name, other in self.shapes.items() if other == shape and name not in ("x1", bottom)]
        bottoms = [bottom, *(self.word(*same) if same else bottom for _ in range(self.pick(1, 1, 2, 3)))]
        if self.chance(0.3):
            axis = self.pick(1, 1, *range(len(shape)))
            joined = tuple(size * (len(bottoms) if i == axis else 1) for i, size in enumerate(shape))
            self.add("Concat", f"concat_param {{ axis: {axis} }}", bottoms, self._new(), joined)
            return
        settings = self.word("", "", "operation: MAX", "operation: PROD", "coeff")
        if settings == "coeff":
            settings = " ".join(f"coeff: {self.word('0.5', '-1', '1', '2')}" for _ in bottoms)
        self.add("Eltwise", f"eltwise_param {{ {settings} }}", bottoms, self._new(), shape)

    def _convolve(self, bottom: str, shape: Shape) -> None:
        n, channels, *size = shape
        kernel, stride, pad, dilation = self.pick(1, 3, 3), self.pick(1, 1, 2), self.pick(0, 1), self.pick(1, 1, 1, 2)
        reach = dilation * (kernel - 1) + 1
        if min(size) + 2 * pad < reach:
            pad = -(-(reach - min(size)) // 2)
        group = self.pick(1, 1, channels, *(g for g in (2, 4) if channels % g == 0))
        outputs = group * self.pick(1, 2, 4) if group > 1 else self.pick(4, 8, 16, 32)
        kind = "Deconvolution" if self.chance(0.2) and max(size) < 9 else "Convolution"
        settings = (
            f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} "
            f"dilation: {dilation} group: {group} bias_term: {self.flag(0.7)} }}"
        )
        if kind == "Convolution":
            made = tuple((s + 2 * pad - reach) // stride + 1 for s in size)
        else:
            made = tuple(stride * (s - 1) + reach - 2 * pad for s in size)
        if min(made) < 1 or math.prod(made) > 400:
            return
        self.add(kind, settings, [bottom], self._new(), (n, outputs, *made))

    def _pool(self, bottom: str, shape: Shape) -> None:
        method = self.word("MAX", "AVE")
        if self.chance(0.1):
            settings = f"pooling_param {{ pool: {method} global_pooling: true }}"
            self.add("Pooling", settings, [bottom], self._new(), (*shape[:2], *[1] * (len(shape) - 2)))
            return
        kernel, stride = self.pick(2, 3), self.pick(1, 2)
        pad = self.pick(0, 0, 1)
        if min(shape[2:]) + 2 * pad < kernel:
            return
        up = self.chance(0.8)
        mode = "CEIL" if up else "FLOOR"
        settings = f"pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {mode}"
        size = []
        for s in shape[2:]:
            room = s + 2 * pad - kernel
            out = (-(-room // stride) if up else room // stride) + 1
            if pad and (out - 1) * stride >= s + pad:
                out -= 1
            size.append(out)
        self.add("Pooling", f"pooling_param {{ {settings} }}", [bottom], self._new(), (*shape[:2], *size))

    def _normalize(self, bottom: str, shape: Shape) -> None:
        if shape[0] * math.prod(shape[2:]) < 4:
            return  # statistics of a few values are a division by nearly nothing
        kind = self.pick(0, 1, 2, 3)
        if kind < 2:
            rule = self.word("", "", "average: CAFFE", "average: EMA", "average: CUMULATIVE", "average: LATEST")
            fixed = "use_global_stats: true" if self.chance(0.2) else ""
            affine = "scale_bias: true" if kind == 0 and self.chance(0.2) else ""
            top = self._top(bottom)
            settings = f"batch_norm_param {{ {rule} {fixed} {affine} }}"
            self.add("BN" if kind else "BatchNorm", settings, [bottom], top, shape)
            bottom = top
            if not kind and self.chance(0.7):
                top = self._top(bottom)
                self.add("Scale", f"scale_param {{ bias_term: {self.flag(0.8)} }}", [bottom], top, shape)
                bottom = top
        else:
            region = "WITHIN_CHANNEL" if kind == 2 and len(shape) == 4 else "ACROSS_CHANNELS"
            settings = f"lrn_param {{ local_size: {self.pick(3, 5)} alpha: 0.3 norm_region: {region} }}"
            top = self._top(bottom)
            self.add("LRN", settings, [bottom], top, shape)
            bottom = top
        if self.chance(0.5):
            self.add("ReLU", "", [bottom], self._top(bottom), shape)

    def _rows(self, bottom: str, shape: Shape) -> None:
        """Normalisation of each item by itself."""
        learns = self.flag(0.7)
        if len(shape) < 3 or self.chance(0.4):
            axis = self.pick(*range(1, len(shape)))
            if math.prod(shape[axis:]) >= 4:
                settings = f"layer_norm_param {{ axis: {axis} scale_bias: {learns} }}"
                self.add("LayerNorm", settings, [bottom], self._top(bottom), shape)
        elif self.chance(0.4) and math.prod(shape[2:]) >= 4:
            settings = f"instance_norm_param {{ scale_bias: {learns} }}"
            self.add("InstanceNorm", settings, [bottom], self._top(bottom), shape)
        else:
            groups = self.pick(*(g for g in (1, 2, 4) if shape[1] % g == 0))
            if math.prod(shape[1:]) // groups >= 4:
                settings = f"group_norm_param {{ num_groups: {groups} scale_bias: {learns} }}"
                self.add("GroupNorm", settings, [bottom], self._top(bottom), shape)

    def _cut(self, bottom: str, shape: Shape) -> None:
        axis = self.pick(1, 1, *range(len(shape)))
        parts = self.pick(2, 2, 3)
        if shape[axis] % parts:
            return
        part = tuple(size // parts if i == axis else size for i, size in enumerate(shape))
        more = [f"{self._new()}{letter}" for letter in "xyz"[: parts - 1]]
        self.add("Slice", f"slice_param {{ axis: {axis} }}", [bottom], self._new(), part, *more)

    def _reshape(self, bottom: str, shape: Shape) -> None:
        if bottom in self.used | self.shared or bottom == "x0":
            self.shared.add(self._new())
        else:  # nobody else may read what a layer in place on the view will overwrite
            del self.shapes[bottom]
        rest = math.prod(shape[1:])
        if self.chance(0.5):
            axis = self.pick(*range(1, len(shape)))
            flat = (*shape[:axis], math.prod(shape[axis:]))
            self.add("Flatten", f"flatten_param {{ axis: {axis} }}", [bottom], self._new(), flat)
            return
        made = (shape[0], rest // 4, 2, 2) if rest % 4 == 0 and self.chance(0.5) else (shape[0], rest, 1, 1)
        dims = " ".join(f"dim: {size}" for size in (0, -1, *made[2:]))
        self.add("Reshape", f"reshape_param {{ shape {{ {dims} }} }}", [bottom], self._new(), made)


_NEURONS = [
    ("ReLU", ""),
    ("ReLU", ""),
    ("ReLU", "relu_param { negative_slope: 0.1 }"),
    ("ReLU", "relu_param { negative_slope: -0.3 }"),
    ("ReLU", "relu_param { relu6: true }"),
    ("ReLU6", ""),
    ("PReLU", ""),
    ("Sigmoid", ""),
    ("TanH", ""),
    ("ELU", ""),
    ("ELU", "elu_param { alpha: 0.6 }"),
    ("BNLL", ""),
    ("Swish", ""),
    ("Swish", "swish_param { beta: 1.4 }"),
    ("AbsVal", ""),
    ("HardSwish", ""),
    ("Mish", ""),
    ("Clip", "clip_param { min: -0.7 max: 1.1 }"),
    ("Power", "power_param { scale: 0.7 shift: 0.2 }"),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 0.5 }"),
    ("Power", "power_param { power: 3 scale: 0.4 }"),
    ("Exp", "exp_param { scale: 0.3 }"),
    ("Exp", "exp_param { base: 2 scale: -0.3 shift: 0.2 }"),
    ("Log", "log_param { scale: 2 shift: 0.1 }"),
    ("Dropout", ""),
    ("Dropout", "dropout_param { dropout_ratio: 0.2 }"),
    ("Softmax", ""),
]
