"""Network in Network (Lin et al. 2014)."""

from __future__ import annotations

from dragon.models.nets.body import Body, gaussian
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver

__all__ = ["MODELS", "nin_imagenet"]


def nin_imagenet() -> Body:
    """The net for ImageNet, with the names of its published Caffe file: 1x1 convolutions behind each larger one."""
    b = Body(decays=(1, 0))
    stages = ((96, 11, {"stride": 4}), (256, 5, {"pad": 2}), (384, 3, {"pad": 1}), (1024, 3, {"pad": 1}))
    relu = iter(range(12))
    for stage, (n, kernel, geometry) in enumerate(stages, 1):
        last = stage == len(stages)
        ending = "-1024" if last else ""
        first = gaussian(0.05 if last else 0.01)
        b.conv(f"conv{stage}{ending}", n, kernel, first, **geometry).relu(f"relu{next(relu)}")
        b.conv(f"cccp{2 * stage - 1}{ending}", n, 1, gaussian(0.05)).relu(f"relu{next(relu)}")
        scores, std = (1000, 0.01) if last else (n, 0.05)
        b.conv(f"cccp{2 * stage}{ending}", scores, 1, gaussian(std)).relu(f"relu{next(relu)}")
        if not last:
            b.pool(f"pool{stage}", "MAX")
        if stage == 3:
            b.dropout("drop")
    return b.pool("pool4", "AVE", 6, 1)


MODELS: dict[str, Model] = {
    "nin_imagenet": Model(
        "Network in Network on ImageNet", imagenet(224, 64), nin_imagenet,
        solver(
            450000, 0.01, lr_policy="step", stepsize=200000, gamma=0.1, weight_decay=5e-4, test_iter=[1000],
            test_interval=1000, snapshot=10000, display=20,
        ),
    ),
}  # fmt: skip
