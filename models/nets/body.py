"""The body of a net of the zoo, built layer by layer: its layers between the data and the scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dragon.proto import dragon_pb2 as pb

__all__ = ["DRAGON_2016", "GLOROT", "MERGED", "MSRA", "PLAIN", "SPLIT", "XAVIER", "Body", "gaussian"]


def gaussian(std: float) -> dict[str, Any]:
    """A filler of Gaussian noise with this standard deviation."""
    return {"type": "gaussian", "std": std}


XAVIER = {"type": "xavier"}  # of Caffe: the variance is 1 / fan_in
GLOROT = {"type": "xavier", "variance_norm": "AVERAGE"}  # as in the paper: 2 / (fan_in + fan_out)
MSRA = {"type": "msra"}
SPLIT, MERGED, PLAIN = "split", "merged", "plain"
DRAGON_2016 = "dragon-2016"  # merged, as the first Dragon writes it; also the name of its dialect


@dataclass
class Body:
    """The layers of a net under construction; each new one reads `top`, the top of the one before."""

    norm: str = PLAIN
    decay: float | None = None  # of the merged layer's running average
    lr: tuple[float, ...] | None = (1, 2)  # multipliers of weights and biases; None: leave them unset
    top: str = "data"
    layers: list[pb.LayerParameter] = field(default_factory=list)

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
        for spec, decay in zip(specs, decays or (), strict=False):
            spec["decay_mult"] = decay
        return specs

    def conv(
        self, name: str, n: int, kernel: int, filler: dict[str, Any], bias: bool | None = None, **geometry: int
    ) -> Body:
        """Add a Convolution with `n` outputs; by default with a bias only in a plain net.

        geometry: pad, stride and group.
        """
        bias = self.norm == PLAIN if bias is None else bias
        settings: dict[str, Any] = {"num_output": n, "kernel_size": [kernel], "weight_filler": filler}
        settings |= {k: v if k == "group" else [v] for k, v in geometry.items()}
        settings |= {"bias_filler": {"type": "constant"}} if bias else {"bias_term": False}
        return self.add(name, "Convolution", param=self._learned(bias, None), convolution_param=settings)

    def ip(
        self, name: str, n: int, filler: dict[str, Any], bias: bool = True, decays: tuple[float, float] | None = None
    ) -> Body:
        """Add an InnerProduct with `n` outputs. decays: decay_mult of weights and biases."""
        settings: dict[str, Any] = {"num_output": n, "weight_filler": filler}
        settings |= {"bias_filler": {"type": "constant"}} if bias else {"bias_term": False}
        return self.add(name, "InnerProduct", param=self._learned(bias, decays), inner_product_param=settings)

    def bn(self, name: str) -> Body:
        """Add batch normalisation in the body's form; nothing in a plain net."""
        if self.norm == SPLIT:
            self.add(name, "BatchNorm")
            self.add(name.replace("bn", "scale"), "Scale", in_place=True, scale_param={"bias_term": True})
        elif self.norm == MERGED:
            settings: dict[str, Any] = {} if self.decay is None else {"batch_norm_param": {"decay": self.decay}}
            self.add(name, "BN", **settings)
        elif self.norm == DRAGON_2016:
            self.add(name, "BatchNorm")
        return self

    def relu(self, name: str) -> Body:
        """Add an in-place ReLU."""
        return self.add(name, "ReLU", in_place=True)

    def sigmoid(self, name: str) -> Body:
        """Add an in-place Sigmoid."""
        return self.add(name, "Sigmoid", in_place=True)

    def dropout(self, name: str, ratio: float = 0.5) -> Body:
        """Add an in-place Dropout."""
        return self.add(name, "Dropout", in_place=True, dropout_param={"dropout_ratio": ratio})

    def pool(self, name: str, method: str, kernel: int = 3, stride: int = 2) -> Body:
        """Add a Pooling by `method`, MAX or AVE."""
        return self.add(name, "Pooling", pooling_param={"pool": method, "kernel_size": kernel, "stride": stride})

    def lrn(self, name: str) -> Body:
        """Add an LRN within channels, with the settings of CIFAR-10 full."""
        settings = {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "norm_region": "WITHIN_CHANNEL"}
        return self.add(name, "LRN", lrn_param=settings)
