"""The body of a net of the zoo, built layer by layer: its layers between the data and the scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dragon.proto import dragon_pb2 as pb

__all__ = ["ACROSS", "DRAGON_2016", "GLOROT", "MERGED", "MSRA", "PLAIN", "SPLIT", "XAVIER", "Body", "gaussian", "same"]


def gaussian(std: float) -> dict[str, Any]:
    """A filler of Gaussian noise with this standard deviation."""
    return {"type": "gaussian", "std": std}


def same(kernel: int, stride: int = 1, group: int = 1) -> dict[str, int]:
    """The geometry of a convolution that keeps the size of its map, but for the stride; defaults are left out."""
    geometry = {"pad": (kernel // 2, 0), "stride": (stride, 1), "group": (group, 1)}
    return {name: value for name, (value, default) in geometry.items() if value != default}


XAVIER = {"type": "xavier"}  # of Caffe: the variance is 1 / fan_in
GLOROT = {"type": "xavier", "variance_norm": "AVERAGE"}  # as in the paper: 2 / (fan_in + fan_out)
MSRA = {"type": "msra"}
ACROSS: dict[str, Any] = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}  # of LRN in AlexNet and GoogLeNet
SPLIT, MERGED, PLAIN = "split", "merged", "plain"
DRAGON_2016 = "dragon-2016"  # merged, as the first Dragon writes it; also the name of its dialect


@dataclass
class Body:
    """The layers of a net under construction; each new one reads `top`, the top of the one before."""

    norm: str = PLAIN
    decay: float | None = None  # of the merged layer's running average
    eps: float | None = None  # of batch normalisation; None: leave it unset
    lr: tuple[float, ...] | None = (1, 2)  # multipliers of weights and biases; None: leave them unset
    decays: tuple[float, float] | None = None  # decay_mult of weights and biases; None: leave them unset
    top: str = "data"
    layers: list[pb.LayerParameter] = field(default_factory=list)
    training: set[str] = field(default_factory=set)  # names of the layers that a deployed net lacks

    def at(self, top: str) -> Body:
        """Continue from another blob, where a branch begins."""
        self.top = top
        return self

    def join(self, name: str, kind: str, bottoms: Sequence[str], *tops: str, **settings: Any) -> Body:
        """Add a layer of type `kind` that reads several blobs, such as Concat or Eltwise, or makes several.

        tops: by default one, of the layer's name. The body continues from the first.
        """
        self.layers.append(pb.LayerParameter(name=name, type=kind, bottom=bottoms, top=tops or [name], **settings))
        return self.at(self.layers[-1].top[0])

    def slice(self, name: str, tops: Sequence[str], *points: int) -> Body:
        """Add a Slice of the channels at `points`; the net stays where it was."""
        settings = {"axis": 1, "slice_point": points}
        self.layers.append(
            pb.LayerParameter(name=name, type="Slice", bottom=[self.top], top=tops, slice_param=settings)
        )
        return self

    @contextmanager
    def only_training(self) -> Iterator[None]:
        """Within: layers that the deployed net lacks. Afterwards the net continues from where it was."""
        top, first = self.top, len(self.layers)
        yield
        self.training |= {layer.name for layer in self.layers[first:]}
        self.top = top

    def add(self, name: str, kind: str, in_place: bool = False, **settings: Any) -> Body:
        """Add a layer of type `kind`; returns the body itself, as all methods do."""
        top = self.top if in_place else name
        self.layers.append(pb.LayerParameter(name=name, type=kind, bottom=[self.top], top=[top], **settings))
        self.top = top
        return self

    def _learned(self, bias: bool, decays: tuple[float, float] | None) -> list[dict[str, float]]:
        if self.lr is None:
            return []
        specs = [{"lr_mult": rate} for rate in self.lr[: 1 + bias]]
        for spec, decay in zip(specs, decays or self.decays or (), strict=False):
            spec["decay_mult"] = decay
        return specs

    def conv(
        self,
        name: str,
        n: int,
        kernel: int | tuple[int, int],
        filler: dict[str, Any],
        bias: bool | float | None = None,
        **geometry: int | tuple[int, int],
    ) -> Body:
        """Add a Convolution with `n` outputs; by default with a bias only in a plain net.

        kernel: one number or (height, width). bias: also the value that it starts from. geometry: pad, stride,
        dilation and group; pad may be (height, width).
        """
        bias = self.norm == PLAIN if bias is None else bias
        settings: dict[str, Any] = {"num_output": n, "weight_filler": filler} | _sides("kernel", kernel)
        for key, value in geometry.items():
            settings |= {key: value} if key == "group" else _sides(key, value)
        settings |= _bias(bias)
        return self.add(name, "Convolution", param=self._learned(bias is not False, None), convolution_param=settings)

    def deconv(
        self,
        name: str,
        n: int,
        kernel: int,
        filler: dict[str, Any],
        bias: bool | None = None,
        **geometry: int | tuple[int, int],
    ) -> Body:
        """Add a Deconvolution; the arguments are those of `conv`."""
        self.conv(name, n, kernel, filler, bias, **geometry)
        self.layers[-1].type = "Deconvolution"
        return self

    def ip(
        self,
        name: str,
        n: int,
        filler: dict[str, Any],
        bias: bool | float = True,
        decays: tuple[float, float] | None = None,
        **more: Any,
    ) -> Body:
        """Add an InnerProduct with `n` outputs. bias: also the value that it starts from.

        decays: decay_mult of weights and biases, in place of the body's. more: other settings, such as axis.
        """
        settings: dict[str, Any] = {"num_output": n, "weight_filler": filler} | _bias(bias) | more
        return self.add(
            name, "InnerProduct", param=self._learned(bias is not False, decays), inner_product_param=settings
        )

    def bn(self, name: str, scale: str = "") -> Body:
        """Add batch normalisation in the body's form; nothing in a plain net. scale: the name of a Scale layer."""
        settings = {} if self.eps is None else {"eps": self.eps}
        if self.norm == MERGED and self.decay is not None:
            settings["decay"] = self.decay
        given: dict[str, Any] = {"batch_norm_param": settings} if settings else {}
        if self.norm == SPLIT:
            self.add(name, "BatchNorm", **given)
            self.add(scale or name.replace("bn", "scale"), "Scale", in_place=True, scale_param={"bias_term": True})
        elif self.norm == MERGED:
            self.add(name, "BN", **given)
        elif self.norm == DRAGON_2016:
            self.add(name, "BatchNorm")
        return self

    def relu(self, name: str) -> Body:
        """Add an in-place ReLU."""
        return self.add(name, "ReLU", in_place=True)

    def prelu(self, name: str) -> Body:
        """Add an in-place PReLU."""
        return self.add(name, "PReLU", in_place=True)

    def sigmoid(self, name: str) -> Body:
        """Add an in-place Sigmoid."""
        return self.add(name, "Sigmoid", in_place=True)

    def dropout(self, name: str, ratio: float = 0.5) -> Body:
        """Add an in-place Dropout."""
        return self.add(name, "Dropout", in_place=True, dropout_param={"dropout_ratio": ratio})

    def pool(self, name: str, method: str, kernel: int = 3, stride: int = 2, **geometry: Any) -> Body:
        """Add a Pooling by `method`, MAX or AVE. geometry: pad, round_mode."""
        settings = {"pool": method, "kernel_size": kernel, "stride": stride} | geometry
        return self.add(name, "Pooling", pooling_param=settings)

    def pool_with_mask(self, name: str) -> Body:
        """Add a Pooling MAX of 2 x 2 with a second top, NAME_mask: where each maximum was."""
        settings = {"pool": "MAX", "kernel_size": 2, "stride": 2}
        return self.join(name, "Pooling", [self.top], name, f"{name}_mask", pooling_param=settings)

    def global_pool(self, name: str) -> Body:
        """Add a Pooling to the mean of each channel."""
        return self.add(name, "Pooling", pooling_param={"pool": "AVE", "global_pooling": True})

    def lrn(self, name: str, **settings: Any) -> Body:
        """Add an LRN; without settings within channels, as in CIFAR-10 full."""
        within = {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "norm_region": "WITHIN_CHANNEL"}
        return self.add(name, "LRN", lrn_param=settings or within)


def _sides(name: str, value: int | tuple[int, int]) -> dict[str, Any]:
    """Fields of a ConvolutionParameter for a number, or for one of each side."""
    if isinstance(value, tuple):
        return {f"{name}_h": value[0], f"{name}_w": value[1]}
    return {"kernel_size" if name == "kernel" else name: [value]}


def _bias(value: bool | float) -> dict[str, Any]:
    """Fields for a bias that starts from a value (True: from zero), or for none (False)."""
    if value is False:
        return {"bias_term": False}
    return {"bias_filler": {"type": "constant"} | ({} if value is True else {"value": value})}
