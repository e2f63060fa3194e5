"""A deep linear net and its samples (Santurkar et al. 2018, appendix): everything is made from the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.models.nets.body import GLOROT, MERGED, PLAIN, Body, gaussian
from dragon.models.nets.model import Model, Regression, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "Samples", "deep_linear"]


@dataclass(frozen=True)
class Samples:
    """Gaussian samples `data` (train, width) and a fixed linear map of them, `target`, the same in every iteration.

    Both are the outputs of inner products that do not learn, so the seed decides them as it does the weights.
    """

    train: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return (self.width,)

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """Nothing: no files are read."""
        return {}

    def layers(self) -> list[pb.LayerParameter]:
        """The layers that make the samples and their targets, in both phases."""
        one = pb.LayerParameter(name="one", type="DummyData", top=["one"])
        one.dummy_data_param.shape.add(dim=[1, 1])
        one.dummy_data_param.data_filler.add(type="constant", value=1)
        b = Body(lr=(0,), top="one", layers=[one])
        b.ip("samples", self.train * self.width, gaussian(1), bias=False)
        b.add("data", "Reshape", reshape_param={"shape": {"dim": [self.train, self.width]}})
        return b.ip("target", self.width, gaussian(1), bias=False).layers


def deep_linear(norm: str = PLAIN, depth: int = 25, width: int = 10) -> Body:
    """`depth` square inner products without biases, with `norm` after each but the last."""
    b = Body(norm, lr=None)
    for k in range(1, depth):
        b.ip(f"ip{k}", width, GLOROT, bias=False).bn(f"bn{k}")
    return b.ip(f"ip{depth}", width, GLOROT, bias=False)


_LINEAR = solver(10000, 1e-6, momentum=0, weight_decay=0, test_iter=[1])

MODELS: dict[str, Model] = {
    "deep_linear": Regression("A linear net of 25 layers", Samples(1000, 10), deep_linear, _LINEAR),
    "deep_linear_bn": Regression(
        "A linear net of 25 layers with BN", Samples(1000, 10), lambda: deep_linear(MERGED), _LINEAR
    ),
}  # fmt: skip
