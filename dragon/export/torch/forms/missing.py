"""Layer types that have no form in PyTorch, why, and what to do."""

from __future__ import annotations

from dragon.export.torch.form import without_form
from dragon.layers.anchor_target import AnchorTarget
from dragon.layers.center_loss import CenterLoss
from dragon.layers.detection_evaluate import DetectionEvaluate
from dragon.layers.detection_output import DetectionOutput
from dragon.layers.hdf5_output import HDF5Output
from dragon.layers.label_specific_add import LabelSpecificAdd
from dragon.layers.large_margin_inner_product import LargeMarginInnerProduct
from dragon.layers.malis_loss import MalisLoss
from dragon.layers.margin_inner_product import MarginInnerProduct
from dragon.layers.multi_box_loss import MultiBoxLoss
from dragon.layers.proposal import Proposal
from dragon.layers.proposal_target import ProposalTarget
from dragon.layers.python import Python
from dragon.layers.roi_align import ROIAlign

__all__: list[str] = []

_MARGIN = "has a margin that changes in training: remove it, and for testing write an InnerProduct with its weights"
_SAMPLES = "samples regions for training: remove it, and compute its tops beside the module"
without_form(
    {
        AnchorTarget: _SAMPLES,
        CenterLoss: "moves its centres by a rule that is no gradient: remove it, and write it beside the optimizer",
        DetectionEvaluate: "compares detections with labels one by one: remove it, and score what the module finds",
        DetectionOutput: "suppresses overlapping boxes one by one: remove it and use torchvision.ops.batched_nms",
        HDF5Output: "writes files: remove it, and save what the module returns",
        LabelSpecificAdd: "sets a margin for training: remove it, scores for testing are those of its bottom",
        LargeMarginInnerProduct: _MARGIN,
        MalisLoss: "joins segments edge by edge: remove it, and compute the loss beside the module",
        MarginInnerProduct: _MARGIN,
        MultiBoxLoss: "matches boxes with labels one by one: remove it, and compute the loss beside the module",
        Proposal: "suppresses overlapping regions one by one: remove it and use torchvision.ops.nms",
        ProposalTarget: _SAMPLES,
        Python: "runs code of its own: write it as a torch.nn.Module, and export the net without it",
        ROIAlign: "is not in PyTorch itself: remove it and use torchvision.ops.roi_align",
    }
)
