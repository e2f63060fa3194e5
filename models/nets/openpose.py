"""OpenPose (Cao et al. 2016, arXiv 1611.08050): the joints of people, and which belong together."""

from __future__ import annotations

from dragon.models.nets.body import Body, gaussian
from dragon.models.nets.maps import Fitted, Rows
from dragon.models.nets.model import Model, behind, solver
from dragon.models.nets.vgg import features
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "openpose"]

BRANCHES = {"L1": 38, "L2": 19}  # maps of the limbs' directions; maps of 18 joints and the background (COCO)
STAGES = 6
_SMALL = gaussian(0.01)


def openpose() -> Body:
    """Ten convolutions of VGG-19, then six stages of two branches; each stage reads the results of the one before.

    The last stage's results are joined in net_output (N, 57, H / 8, W / 8): first the joints, then the limbs.
    """
    b = features(Body(), 19, _SMALL, stages=3, last_pool=False).pool("pool3_stage1", "MAX", 2)
    for name, width in (("4_1", 512), ("4_2", 512), ("4_3_CPM", 256), ("4_4_CPM", 128)):
        b.conv(f"conv{name}", width, 3, _SMALL, pad=1).relu(f"relu{name}")
    shared = b.top
    for branch, maps in BRANCHES.items():
        b.at(shared)
        for k in (1, 2, 3):
            b.conv(f"conv5_{k}_CPM_{branch}", 128, 3, _SMALL, pad=1).relu(f"relu5_{k}_CPM_{branch}")
        b.conv(f"conv5_4_CPM_{branch}", 512, 1, _SMALL).relu(f"relu5_4_CPM_{branch}")
        b.conv(f"conv5_5_CPM_{branch}", maps, 1, _SMALL)
    for stage in range(2, STAGES + 1):
        found = [*(result(stage - 1, branch) for branch in BRANCHES), shared]
        start = b.join(f"concat_stage{stage}", "Concat", found).top
        for branch, maps in BRANCHES.items():
            b.at(start)
            for k in range(1, 6):
                b.conv(f"Mconv{k}_stage{stage}_{branch}", 128, 7, _SMALL, pad=3)
                b.relu(f"Mrelu{k}_stage{stage}_{branch}")
            b.conv(f"Mconv6_stage{stage}_{branch}", 128, 1, _SMALL).relu(f"Mrelu6_stage{stage}_{branch}")
            b.conv(f"Mconv7_stage{stage}_{branch}", maps, 1, _SMALL)
    return b


def result(stage: int, branch: str) -> str:
    """The blob with a stage's result."""
    return f"conv5_5_CPM_{branch}" if stage == 1 else f"Mconv7_stage{stage}_{branch}"


def _losses(top: str) -> list[pb.LayerParameter]:
    """A loss for each branch of each stage, where the masks are 1: people without labels do not count."""
    made = []
    for branch, what in (("L1", "vec"), ("L2", "heat")):
        for stage in range(1, STAGES + 1):
            name = f"weight_stage{stage}_{branch}"
            product = {"operation": "PROD"}
            made.append(behind("Eltwise", result(stage, branch), f"{what}_weight", name=name, eltwise_param=product))
            made.append(behind("EuclideanLoss", name, f"label_{what}", name=f"loss_stage{stage}_{branch}"))
    return made


def _answers(top: str) -> list[pb.LayerParameter]:
    bottoms = [result(STAGES, branch) for branch in ("L2", "L1")]
    return [pb.LayerParameter(name="concat_stage7", type="Concat", bottom=bottoms, top=["net_output"])]


_COCO = Rows(
    "data/coco_pose", "pose",
    {
        "data": (3, 368, 368), "vec_weight": (38, 46, 46), "heat_weight": (19, 46, 46), "label_vec": (38, 46, 46),
        "label_heat": (19, 46, 46),
    },
    train=10,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "openpose": Fitted(
        "OpenPose for the 18 joints of COCO", _COCO, openpose,
        solver(
            600000, 4e-5, lr_policy="step", gamma=0.333, stepsize=136106, weight_decay=5e-4, test_interval=2000,
            snapshot=2000,
        ),
        losses=_losses, answers=_answers,
    ),
}  # fmt: skip
